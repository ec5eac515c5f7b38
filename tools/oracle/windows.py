"""The scoring windows of llama.cpp's perplexity tool, shared by the oracle scripts and the peers' benches.

A text's ids (with the leading BOS that the tokenizer adds, if it does) are cut into consecutive windows of `ctx`; a
remainder is dropped. Where the model adds a BOS, the first id of each window is replaced by it. Rows ctx/2 ... ctx-2
of each window are scored: row i predicts id i+1, so 255 predictions of a window of 512.
"""
import json

import numpy as np


def load_ids(path):
    """A JSON list of ids, or an object with the list under "tokens"."""
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    return data["tokens"] if isinstance(data, dict) else data


def bos_of(gguf_path):
    """The id that starts each window, or None: from the file's add_bos_token (absent: SPM models add, BPE do not)."""
    import gguf

    fields = gguf.GGUFReader(gguf_path).fields

    def get(key, default):
        return fields[key].contents() if key in fields else default

    add = get("tokenizer.ggml.add_bos_token", get("tokenizer.ggml.model", "") == "llama")
    return get("tokenizer.ggml.bos_token_id", None) if add else None


def windows(ids, ctx, bos=None, limit=None):
    """Arrays int64[ctx], in order."""
    for w in range(min(len(ids) // ctx, limit or len(ids))):
        window = np.asarray(ids[w * ctx : (w + 1) * ctx], dtype=np.int64)
        if bos is not None:
            window[0] = bos
        yield window


def scored_rows(ctx):
    return slice(ctx // 2, ctx - 1)


def log_softmax(logits):
    """Natural log of the softmax along the last axis, in fp64."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


class Score:
    """Collects the scored positions of all windows: ids, log-probabilities, top-1 ids, and logits of the first few."""

    def __init__(self, ctx, keep_logits=0, logits_prefix=None):
        self.ctx, self.keep, self.prefix = ctx, keep_logits, logits_prefix
        self.tokens, self.logprobs, self.top1, self.margin = [], [], [], []
        self.n_windows = 0

    def add(self, window, logits):
        """logits float[rows, n_vocab] of exactly the scored rows of `window`."""
        rows = scored_rows(self.ctx)
        targets = window[rows.start + 1 : rows.stop + 1]
        assert len(logits) == len(targets)
        # In slices: a fp64 copy of all rows of a 262144-word model would take half a gigabyte.
        for at in range(0, len(targets), 32):
            lp = log_softmax(logits[at : at + 32])
            part = targets[at : at + 32]
            self.logprobs.append(lp[np.arange(len(part)), part])
            top = np.argmax(lp, axis=-1)
            best = lp[np.arange(len(part)), top].copy()
            lp[np.arange(len(part)), top] = -np.inf
            self.top1.append(top)
            self.margin.append(best - lp.max(axis=-1))
        self.tokens.append(targets)
        if self.n_windows < self.keep:
            np.save(f"{self.prefix}_w{self.n_windows:02d}.npy", np.asarray(logits, dtype=np.float32))
        self.n_windows += 1

    def finish(self, out=None, n_tokens=None):
        tokens, logprobs = np.concatenate(self.tokens), np.concatenate(self.logprobs)
        if out:
            np.savez(out, tokens=tokens, logprobs=logprobs, top1=np.concatenate(self.top1),
                     margin=np.concatenate(self.margin))
        nll = float(-logprobs.mean())
        return {"n_tokens": n_tokens, "n_windows": self.n_windows, "n_scored": len(tokens), "nll": nll,
                "perplexity": float(np.exp(nll))}
