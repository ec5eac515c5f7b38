#!/usr/bin/env python3
"""Proof that the cases bite: the careful implementation (adapters/numpy_careful.py) with one thing broken at a time. Every
mistake must make cases fail, among them the one named here.

    bite.py            a Markdown table; exit code 1 if a mistake goes unnoticed
"""
import sys
from pathlib import Path

import numpy as np

import cases as file
import run

careful = run.load(Path(__file__).parent / "adapters" / "numpy_careful.py").Attention
F = np.float32
MISTAKES = []


def mistake(text, case, **methods):
    """A subclass with other methods; `case` must fail."""
    MISTAKES.append((text, case, type("Broken", (careful,), methods)()))


def rows(change):
    """A whole-row override: change(self, parent, case, b, h, i)."""
    return lambda self, case, b, h, i: change(self, super(type(self), self).row, case, b, h, i)


# Position, window, padding.
mistake("window one key too wide", "window_3_keys", left_edge=lambda self, p, left: p - left - 1)
mistake("window edge exclusive", "window_3_keys", left_edge=lambda self, p, left: p - left + 1)
mistake("right bound one key too far", "window_symmetric", right_edge=lambda self, p, right: p + right + 1)
mistake("right bound exclusive", "window_symmetric", right_edge=lambda self, p, right: p + right - 1)
mistake("causal aligned top left, whatever the offset", "causal_decode", position=lambda self, case, b, i: i)
mistake("causal aligned bottom right, whatever the offset", "causal_top_left", position=lambda self, case, b, i: case.n_kv - case.n_q + i)
mistake("own token not visible", "causal_square", causal_limit=lambda self, case, p: p - 1 if case.mask.causal else None)
mistake("one future token visible", "causal_square", causal_limit=lambda self, case, p: p + 1 if case.mask.causal else None)
mistake("causal dropped when there is padding", "left_padding_causal",
        causal_limit=lambda self, case, p: p if case.mask.causal and case.mask.valid is None else None)
mistake("offset of batch entry 0 for all", "causal_offset_per_entry", position=lambda self, case, b, i: careful.position(self, case, 0, i))
mistake("lengths ignored", "right_padding", span=lambda self, case, b: (careful.span(self, case, b)[0], case.n_kv))
mistake("left padding ignored", "left_padding", span=lambda self, case, b: (0, careful.span(self, case, b)[1]))
mistake("one key too many at the end", "lengths_at_tile_edges",
        span=lambda self, case, b: (careful.span(self, case, b)[0], min(case.n_kv, careful.span(self, case, b)[1] + 1)))
mistake("last key dropped", "keys_64", span=lambda self, case, b: (careful.span(self, case, b)[0], min(case.n_kv - 1, careful.span(self, case, b)[1])))
mistake("keys after the last whole group of 16 dropped", "keys_17",
        span=lambda self, case, b: (careful.span(self, case, b)[0], min(max(1, case.n_kv // 16 * 16), careful.span(self, case, b)[1])))
# Chunk, prefix, keep-first, documents, trees, blocks, bitmaps.
mistake("chunks counted from the padding", "chunk_left_padding", chunk_origin=lambda self, begin: 0)
mistake("prefix ignored", "prefix_lm", prefix=lambda self, case, b, j: np.zeros(len(j), bool))
mistake("prefix one key too long", "prefix_lm", prefix=lambda self, case, b, j: careful.prefix(self, case, b, j - 1))
mistake("prefix shows padding", "prefix_left_padding", joined=lambda self, keep, reach, prefix: (keep & reach) | prefix)
mistake("first keys counted from the padding", "keep_first_left_padding", keep_first_begin=lambda self, begin: 0)
mistake("first keys shown to earlier queries", "keep_first_never_future",
        in_reach=lambda self, case, p, j, begin: careful.in_reach(self, case, p, j, begin) | ((j >= begin) & (j < begin + (case.mask.keep_first or 0))))
mistake("documents ignored", "documents_causal", segments=lambda self, case, b, i: np.ones(case.n_kv, bool))
mistake("documents compared by order, not equality", "documents_unordered",
        segments=lambda self, case, b, i: case.mask.q_segments[b, i] >= case.mask.k_segments[b])
mistake("siblings of a tree visible", "tree_behind_cache", tree=lambda self, case, i, j: j <= case.n_kv - case.n_q + i)
mistake("a tree node does not see itself", "tree_alone", tree=lambda self, case, i, j: careful.tree(self, case, i, j) & (j != case.n_kv - case.n_q + i))
mistake("blocks of head 0 for all heads", "blocks_per_head", block_bits=lambda self, case, b, h, i, j: careful.block_bits(self, case, b, 0, i, j))
mistake("mask of head 0 for all heads", "bitmap_per_head", bits=lambda self, array, b, h, i: careful.bits(self, array, b, 0, i))
mistake("mask of batch entry 0 for all", "bitmap_per_batch", bits=lambda self, array, b, h, i: careful.bits(self, array, 0, h, i))
mistake("mask of query 0 for all", "bitmap_random", bits=lambda self, array, b, h, i: careful.bits(self, array, b, h, 0))
mistake("query head h reads key head h % n", "gqa_4_2", kv_head=lambda self, case, h: h % case.n_kv_head)


# Masking by arithmetic.
def add(sentinel):
    return lambda self, s, k, v, keep: (s + np.where(keep, F(0), F(sentinel)), v)


mistake("masked by adding -inf (0 * NaN)", "poison_padding_v_nan", mask=add(-np.inf))
mistake("masked by adding -1e9", "empty_middle_row", mask=add(-1e9))
mistake("masked by adding -10000", "sentinel_lattice", mask=add(-1e4))
mistake("masked by adding -65504", "sentinel_logits_below_245000", mask=add(-65504))
mistake("masked by adding finfo.min", "empty_one_head", mask=add(np.finfo(F).min))
mistake("masked scores set to -1e9", "sentinel_logits_below_1e9", mask=lambda self, s, k, v, keep: (np.where(keep, s, F(-1e9)), v))
mistake("scores multiplied by the mask", "bitmap_random", mask=lambda self, s, k, v, keep: (s * keep, v))
mistake("masked values multiplied by 0", "poison_bitmap_v_inf", mask=lambda self, s, k, v, keep: (np.where(keep, s, -np.inf) if keep.any() else s[keep], v if keep.any() else v[keep]))
mistake("empty row: NaN", "empty_middle_row", empty=lambda self, case, v, sink: (np.full(v.shape[1], np.nan), -np.inf))
mistake("empty row: mean of all values", "empty_middle_row", empty=lambda self, case, v, sink: (v.mean(axis=0) if len(v) else 0, -np.inf))
mistake("empty row: lse 0", "empty_middle_row", empty=lambda self, case, v, sink: (np.zeros(v.shape[1]), 0))
mistake("empty row: lse +inf", "empty_all_rows", empty=lambda self, case, v, sink: (np.zeros(v.shape[1]), np.inf))
mistake("running maximum starts at -1e4", "low_logits_1e4", highest=lambda self, s: np.maximum(s.max(), F(-1e4)))
mistake("running maximum starts at -5e4", "low_logits_5e4", highest=lambda self, s: np.maximum(s.max(), F(-5e4)))
mistake("running maximum starts at -1e9", "low_logits_1e9", highest=lambda self, s: np.maximum(s.max(), F(-1e9)))
mistake("no maximum subtracted", "scores_1e4", highest=lambda self, s: F(0))
mistake("maximum of the absolute scores", "low_logits_1e4", highest=lambda self, s: np.abs(s).max())
mistake("maximum loses NaN", "nan_in_first_tile", highest=lambda self, s: np.fmax.reduce(s),
        scores=lambda self, case, q, k, bias: np.where(np.isnan(careful.scores(self, case, q, k, bias)), F(-np.inf), careful.scores(self, case, q, k, bias)))
mistake("NaN results become 0", "nan_in_query", finish=lambda self, out, lse: (np.nan_to_num(out, nan=0), lse))
mistake("NaN row reported as empty (lse -inf)", "nan_in_query", finish=lambda self, out, lse: (out, F(-np.inf) if np.isnan(lse) else lse))


@rows
def first_tile(self, parent, case, b, h, i):
    keep = self.visible(case, b, h, i)
    if case.mask.bias is not None:
        keep = keep & ~np.isneginf(self.bias(case, b, h, i))
    hidden_tile = len(keep) > 512 and keep.any() and not keep[:512].any()
    return (np.full(case.v.shape[3], np.nan), np.nan) if hidden_tile else parent(case, b, h, i)


mistake("NaN where the first 512 keys are hidden", "tile_first_512_bias", row=first_tile)
mistake("additive mask taken as yes or no", "bias_not_binary", dense_bias=lambda self, case, b, h, i: np.where(np.isneginf(careful.dense_bias(self, case, b, h, i)), F(-np.inf), F(0)))
# The score.
mistake("scale counted twice", "scale_once", scale=lambda self, case: F(case.scale) * F(case.scale))
mistake("given scale ignored", "scale_once", scale=lambda self, case: F(case.k.shape[-1] ** -.5))
mistake("no scale", "scale_default", scale=lambda self, case: F(1))
mistake("bias scaled too", "bias_after_scale", dense_bias=lambda self, case, b, h, i: careful.dense_bias(self, case, b, h, i) * F(case.scale))
mistake("soft cap ignored", "softcap_50", cap=lambda self, s, softcap: s)
mistake("soft cap after the bias", "softcap_before_bias",
        scores=lambda self, case, q, k, bias: self.cap(self.dot(q, k) * self.scale(case) + (0 if bias is None else bias), case.softcap))
mistake("soft cap after the mask", "softcap_before_mask",
        mask=lambda self, s, k, v, keep: (s[keep], v[keep]) if not getattr(self, "softcap", 0) else (np.where(keep, s, F(-self.softcap)), v),
        cap=lambda self, s, softcap: (setattr(self, "softcap", softcap), careful.cap(self, s, softcap))[1])
mistake("sinks ignored", "sinks_causal", sink=lambda self, case, h: None)
mistake("sink of head 0 for all", "sinks_causal", sink=lambda self, case, h: careful.sink(self, case, 0))
mistake("sink lost on empty rows", "sinks_empty_rows", empty=lambda self, case, v, sink: (np.zeros(v.shape[1]), -np.inf))
mistake("sink left out of the maximum", "sinks_dominant",
        row=rows(lambda self, parent, case, b, h, i: (np.full(case.v.shape[3], np.nan), np.nan) if case.sinks is not None and case.sinks[h] > 88 else parent(case, b, h, i)))
mistake("ALiBi counts from the row, not the position", "alibi_decode", alibi=lambda self, case, h, p, j: careful.alibi(self, case, h, p - (case.n_kv - case.n_q), j))
mistake("ALiBi sign turned for keys ahead", "alibi_bidirectional", alibi=lambda self, case, h, p, j: -(case.mask.alibi[h] * (p - j).astype(F)))
mistake("ALiBi slope of the key head", "alibi_gqa", alibi=lambda self, case, h, p, j: careful.alibi(self, case, self.kv_head(case, h), p, j))
mistake("relative table turned round", "relative_bias", relative=lambda self, case, h, p, j: careful.relative(self, case, h, -p, -j))
mistake("relative table of head 0", "relative_bias", relative=lambda self, case, h, p, j: careful.relative(self, case, 0, p, j))
mistake("lse in base 2", "causal_square", lse=lambda self, highest, total: (highest + np.log(total)) * F(1.442695))
mistake("lse without the maximum", "causal_square", lse=lambda self, highest, total: np.log(total))
# Numbers.
mistake("score * scale against max * scale rounded apart (fused)", "scores_bf16_133120",
        scores=lambda self, case, q, k, bias: careful.scores(self, case, q, k, bias) * F(1 + 2.0**-22) if case.dtype == "bf16" and case.scale != 1 else careful.scores(self, case, q, k, bias),
        highest=lambda self, s: s.max() / F(1 + 2.0**-22) if s.max() > 1e9 else s.max())
mistake("weights in half precision", "causal_square", total=lambda self, weights: weights.astype(np.float16).sum(dtype=F),
        mix=lambda self, weights, v: (weights.astype(np.float16).astype(F)[:, None] * v).sum(axis=0))
mistake("sums in half precision", "keys_8192", total=lambda self, weights: F(np.add.accumulate(weights.astype(np.float16))[-1]))
mistake("denormals flushed", "denormal_values", finish=lambda self, out, lse: (np.where(np.abs(out) < 2.0**-126, F(0), out), lse))
mistake("order of sums depends on where the padding is", "bits: padding",
        total=lambda self, weights: np.add.reduce(weights[::-1]) if getattr(self, "odd", 0) else careful.total(self, weights),
        span=lambda self, case, b: (setattr(self, "odd", careful.span(self, case, b)[0] % 2), careful.span(self, case, b))[1])
mistake("order of sums depends on the number of queries", "bits: last row",
        total=lambda self, weights: np.add.reduce(weights[::-1]) if getattr(self, "one", 0) else careful.total(self, weights),
        span=lambda self, case, b: (setattr(self, "one", case.n_q == 1), careful.span(self, case, b))[1])


def main():
    cases = file.read()
    names = {case.name for case in cases}
    print("| broken | failing checks | among them |\n|---|---|---|")
    unnoticed = 0
    for text, named, broken in MISTAKES:
        assert named in names or named.startswith(run.BITS), named
        records = run.run_all(run_adapter(broken), cases)
        failing = [record["name"] for record in records if record["outcome"] in ("fail", "crash")]
        if named not in failing:
            unnoticed += 1
            print(f"UNNOTICED: {text}: {named} passes; failing: {failing[:5]}", file=sys.stderr)
        print(f"| {text} | {len(failing)} | {named} |")
    return 1 if unnoticed else 0


def run_adapter(attention):
    return type("Adapter", (), {"attention": staticmethod(attention)})


if __name__ == "__main__":
    sys.exit(main())
