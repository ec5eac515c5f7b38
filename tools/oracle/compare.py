#!/usr/bin/env python3
"""Compares two sets of numbers of the same model on the same ids. One JSON object out; exit status 1 past a limit.

    compare.py logits REF CAND [--max-rel D] [--max-kl D] [--min-top1 F] [--list 10]
        REF and CAND: .npz with `logits` [r, n_vocab] (and `rows`, `tokens` when both have them they must match), or
        .npy [r, n_vocab]. Reports max |delta| over the range (max - min) of REF's logits, mean and max
        KL(REF || CAND) in nats, top-1 agreement, and the rows whose first choice differs with REF's margin.
    compare.py kl REF_PREFIX CAND_PREFIX [...]
        the same over all pairs PREFIX_wNN.npy that both sides have.
    compare.py scores REF.npz CAND.npz [--max-ppl-rel D]
        files with `tokens` and `logprobs` (also `top1`, `margin`): perplexities, their ratio, the largest difference.
    compare.py greedy REF.json CAND.json [--judge OTHER.json]
        greedy runs of the same prompts (peer_llama_cpp.py, hf_greedy.py, or a list of `rowmax run --json` objects
        under "runs"): every first divergence with the ids and the margin REF saw between the two choices.
"""
import argparse
import glob
import json
import sys

import numpy as np

from windows import log_softmax


def load_logits(path):
    data = np.load(path, mmap_mode="r" if path.endswith(".npy") else None)
    return ({"logits": data}) if isinstance(data, np.ndarray) else dict(data)


class LogitsComparison:
    """Accumulates rows of two logits arrays."""

    def __init__(self):
        self.max_delta, self.low, self.high = 0.0, np.inf, -np.inf
        self.kl, self.divergences, self.square = [], [], 0.0
        self.at = self.n_values = self.non_finite = 0

    def add(self, ref, cand, label=""):
        if ref.shape != cand.shape:
            raise SystemExit(f"shapes differ: {ref.shape} and {cand.shape}")
        for at in range(0, len(ref), 16):
            r, c = np.asarray(ref[at : at + 16], np.float64), np.asarray(cand[at : at + 16], np.float64)
            self.non_finite += int((~np.isfinite(c)).sum())
            delta = np.abs(r - c)
            self.max_delta = max(self.max_delta, float(delta.max()))
            self.square += float((delta**2).sum())
            self.n_values += delta.size
            self.low, self.high = min(self.low, float(r.min())), max(self.high, float(r.max()))
            lr, lc = log_softmax(r), log_softmax(c)
            self.kl.append((np.exp(lr) * (lr - lc)).sum(axis=-1))
            tr, tc = r.argmax(axis=-1), c.argmax(axis=-1)
            for i in np.nonzero(tr != tc)[0]:
                self.divergences.append({"row": f"{label}{at + int(i)}", "ref": int(tr[i]), "cand": int(tc[i]),
                                         "ref_margin": float(r[i, tr[i]] - r[i, tc[i]]),
                                         "cand_margin": float(c[i, tc[i]] - c[i, tr[i]])})
        self.at += len(ref)

    def result(self, n_list):
        kl = np.concatenate(self.kl)
        worst = sorted(self.divergences, key=lambda d: -d["ref_margin"])
        return {"rows": self.at, "max_abs_delta": self.max_delta, "logit_range": self.high - self.low,
                "max_rel_delta": self.max_delta / (self.high - self.low),
                "rms_delta": float(np.sqrt(self.square / self.n_values)), "kl_mean": float(kl.mean()),
                "kl_max": float(kl.max()), "top1_agreement": 1.0 - len(self.divergences) / self.at,
                "non_finite": self.non_finite, "n_divergences": len(worst), "divergences": worst[:n_list]}


def over_limits(result, args):
    return (result["non_finite"] > 0 or (args.max_rel is not None and not result["max_rel_delta"] <= args.max_rel)
            or (args.max_kl is not None and not result["kl_mean"] <= args.max_kl)
            or (args.min_top1 is not None and not result["top1_agreement"] >= args.min_top1))


def cmd_logits(args):
    ref, cand = load_logits(args.ref), load_logits(args.cand)
    for name in ("tokens", "rows"):
        if name in ref and name in cand and not np.array_equal(ref[name], cand[name]):
            raise SystemExit(f"the two files differ in {name}")
    compare = LogitsComparison()
    compare.add(ref["logits"], cand["logits"])
    result = compare.result(args.list)
    return result, over_limits(result, args)


def cmd_kl(args):
    compare, pairs = LogitsComparison(), 0
    for path in sorted(glob.glob(args.ref + "_w[0-9][0-9].npy")):
        suffix = path[len(args.ref) :]
        if glob.glob(args.cand + suffix):
            compare.add(np.load(path, mmap_mode="r"), np.load(args.cand + suffix, mmap_mode="r"), suffix[1:4] + ":")
            pairs += 1
    if not pairs:
        raise SystemExit("no window that both sides have")
    result = {"windows": pairs} | compare.result(args.list)
    return result, over_limits(result, args)


def cmd_scores(args):
    ref, cand = np.load(args.ref), np.load(args.cand)
    if not np.array_equal(ref["tokens"], cand["tokens"]):
        raise SystemExit("the scored tokens differ")
    r, c = ref["logprobs"].astype(np.float64), cand["logprobs"].astype(np.float64)
    pr, pc = float(np.exp(-r.mean())), float(np.exp(-c.mean()))
    result = {"n_scored": len(r), "ref_perplexity": pr, "cand_perplexity": pc, "relative": pc / pr - 1.0,
              "max_abs_logprob_delta": float(np.abs(r - c).max()),
              "rms_logprob_delta": float(np.sqrt(((r - c) ** 2).mean()))}
    if "top1" in ref and "top1" in cand:
        differ = np.nonzero(ref["top1"] != cand["top1"])[0]
        result |= {"top1_agreement": 1.0 - len(differ) / len(r),
                   "divergences": [{"at": int(i), "ref": int(ref["top1"][i]), "cand": int(cand["top1"][i]),
                                    "ref_margin": float(ref["margin"][i])} for i in differ[: args.list]]}
    return result, args.max_ppl_rel is not None and not abs(result["relative"]) <= args.max_ppl_rel


def load_runs(path):
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    return data["runs"] if isinstance(data, dict) and "runs" in data else data


def first_difference(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return None if len(a) == len(b) else min(len(a), len(b))


def cmd_greedy(args):
    ref, cand = load_runs(args.ref), load_runs(args.cand)
    judge = load_runs(args.judge) if args.judge else None
    if len(ref) != len(cand):
        raise SystemExit(f"{len(ref)} runs against {len(cand)}")
    divergences, matched = [], 0
    for n, (r, c) in enumerate(zip(ref, cand)):
        if r["prompt_tokens"] != c["prompt_tokens"]:
            raise SystemExit(f"run {n}: the prompts' ids differ")
        step = first_difference(r["tokens"], c["tokens"])
        if step is None:
            matched += 1
            continue
        x, y = (t["tokens"][step] if step < len(t["tokens"]) else None for t in (r, c))
        found = {"run": n, "prompt": r.get("prompt", ""), "step": step, "ref": x, "cand": y}
        for side, run, other in (("ref", r, y), ("cand", c, x)):
            if "steps" in run and step < len(run["steps"]):
                seen = dict(map(tuple, run["steps"][step]))
                found[f"{side}_margin"] = run["steps"][step][0][1] - seen[other] if other in seen else None
        if judge and first_difference(judge[n]["tokens"][:step], r["tokens"][:step]) is None:
            found["judge"] = judge[n]["tokens"][step] if step < len(judge[n]["tokens"]) else None
        divergences.append(found)
    return {"runs": len(ref), "identical": matched, "divergences": divergences}, False


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for name, run in (("logits", cmd_logits), ("kl", cmd_kl), ("scores", cmd_scores), ("greedy", cmd_greedy)):
        s = sub.add_parser(name)
        s.add_argument("ref")
        s.add_argument("cand")
        s.add_argument("--list", type=int, default=10, help="divergences shown, largest margin first")
        s.add_argument("--max-rel", type=float)
        s.add_argument("--max-kl", type=float)
        s.add_argument("--min-top1", type=float)
        s.add_argument("--max-ppl-rel", type=float)
        s.add_argument("--judge")
        s.set_defaults(run=run)
    args = p.parse_args()
    result, failed = args.run(args)
    print(json.dumps(result, indent=1))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
