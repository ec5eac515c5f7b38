#!/usr/bin/env python3
"""Tiny models of random shapes, ours beside transformers and fp64. A line a model; exit status 1 if any is wrong.

    random_models.py [--arch qwen3moe,qwen35,qwen35moe,lfm2,lfm2moe] [--count 20] [--seed 1] [--published]
                     [--dump-logits PROGRAM] [--rowmax PROGRAM] [--llama-cpp] [--keep DIR]

Sizes, heads, the list of layers, value heads a key head, experts, tied heads, a block that predicts a further token and
the length of the sequence are drawn; --published keeps to what published models have (kernel 4, keys as wide as values,
layers of both kinds). --arch also takes qwen3.
Each model's logits come from transformers (f32) and forward.py (fp64, the judge). A difference is a share of the range
of the logits. How far f32 takes a model is known from transformers and from a run of forward.py with inputs disturbed by
an f32 rounding; another program may go five times as far, and 3e-6. Models where an expert is nearly a tie are redrawn.

    --dump-logits  build/.../tools/dump_logits, in f32: within the limit, the same bits for chunks of 1, 7, 64 and 256
    --rowmax       `rowmax score --logprobs` within the limit; `rowmax convert` of the same model as a Hugging Face folder
                   (at times nested as published ones are, its experts fused) scores with the same bits
    --llama-cpp    PyPI's xllamacpp, a few rows (it takes no model without a recurrent layer, and none whose keys and
                   values are of different sizes)
    --keep DIR     wrong models stay there, with ids.json
Needs what make_goldens.py needs. Without a program it checks transformers against forward.py alone.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import against_llama_cpp
import forward
import make_goldens as goldens
import make_hf_folders as folders

goldens.N_VOCAB = 288
CHUNKS = (64, 1, 7, 256)
MIN_MARGIN = 1e-3


def draw(arch, rng, published):
    pick = lambda *values: values[rng.integers(len(values))]
    maybe = lambda share=0.5: bool(rng.random() < share)
    n_kv_head, head_dim = pick(1, 2, 3), pick(8, 12, 16, 20, 24, 32)
    c = dict(arch=arch, seed=int(rng.integers(1 << 30)), n_embd=4 * int(rng.integers(4, 15)), n_layer=int(rng.integers(1, 6)),
             n_head=n_kv_head * pick(1, 2, 3), n_kv_head=n_kv_head, head_dim=head_dim, eps=1e-6, tied=maybe(),
             base=pick(1e4, 1e6, 1e7))
    if arch in ("lfm2", "lfm2moe"):
        return draw_lfm2(c, rng, pick)
    if arch != "qwen35moe":
        c["n_ff"] = 4 * int(rng.integers(4, 16))
    if arch in ("qwen3moe", "qwen35moe"):
        n_experts = int(rng.integers(2, 10))
        c["experts"] = dict(E=n_experts, used=int(rng.integers(1, min(n_experts, 4) + 1)), ff=4 * int(rng.integers(2, 9)))
    if arch in ("qwen3", "qwen3moe"):
        return c | dict(qk_norm=True)
    if "experts" in c:
        c["experts"]["shared"] = 4 * int(rng.integers(2, 9))
    n_k, d_k = pick(1, 2, 3), pick(4, 8, 12, 16)
    even = published or maybe(0.8)
    c["delta"] = dict(n_k=n_k, n_v=n_k * pick(1, 2, 3, 4), d_k=d_k, d_v=d_k if even else pick(4, 8, 12),
                      kernel=4 if published else pick(4, 4, 3, 2))
    n_rot = 2 * int(rng.integers(1, head_dim // 2 + 1))
    pairs = n_rot // 2
    c |= dict(rotary=(n_rot + 0.5) / head_dim if n_rot < head_dim else 1.0, mtp=maybe(0.3), nested=maybe(0.3),
              sections=[(pairs + 2) // 3, (pairs + 1) // 3, pairs // 3])
    if published:
        c["n_layer"] = max(c["n_layer"], 2)
    if maybe(0.4):
        layers = [pick("r", "a") for _ in range(c["n_layer"])]
        place = rng.integers(len(layers))
        layers[place] = "a"
        if published:
            layers[place - 1] = "r"
        return c | dict(layers="".join(layers))
    c["interval"] = min(pick(2, 3, 4), c["n_layer"])  # one attention layer at least
    return c | dict(interval_only=maybe())


def draw_lfm2(c, rng, pick):
    layers = [pick("c", "a") for _ in range(c["n_layer"])]
    layers[rng.integers(len(layers))] = "a"
    c |= dict(n_embd=c["n_head"] * c["head_dim"], layers="".join(layers), taps=pick(2, 3, 3, 4, 7),
              n_ff=4 * int(rng.integers(4, 16)))
    if c["arch"] == "lfm2moe":
        n_experts = int(rng.integers(2, 10))
        c |= dict(dense=int(rng.integers(0, c["n_layer"] + 1)),
                  experts=dict(E=n_experts, used=int(rng.integers(1, min(n_experts, 4) + 1)), ff=4 * int(rng.integers(2, 9)),
                               normed=pick(True, True, False), scale=pick(1.0, 1.0, 2.5)))
    return c


def difference(logits, ref):
    return float(np.abs(logits - ref).max() / np.ptp(ref))


class Case:
    """One model and what is known of it."""

    def __init__(self, arch, rng, published, work):
        self.path, self.ids_path = os.path.join(work, "model.gguf"), os.path.join(work, "ids.json")
        self.work = work
        while True:
            self.c = draw(arch, rng, published)
            self.tokens = [int(t) for t in rng.integers(len(goldens.SPECIALS), goldens.N_VOCAB, rng.integers(4, 161))]
            weights, self.logits = goldens.hf_logits(self.c, self.tokens)
            goldens.write_gguf(self.path, "random", self.c, weights)
            model = forward.Model(self.path)
            self.ref = model.forward(self.tokens)
            if model.router_margin > MIN_MARGIN:
                break
        disturbed = forward.Model(self.path, jitter=np.random.default_rng(1)).forward(self.tokens)
        self.transformers = difference(self.logits, self.ref)
        self.limit = 3e-6 + 5 * max(self.transformers, difference(disturbed, self.ref))
        with open(self.ids_path, "w") as f:
            json.dump(self.tokens, f)

    def run(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{os.path.basename(command[0])}: {done.stderr.strip()[-300:]}")

    def dump_logits(self, program):
        """(difference, what is wrong)"""
        first = None
        for chunk in CHUNKS:
            out = os.path.join(self.work, f"chunk{chunk}.npy")
            self.run(program, self.path, self.ids_path, out, "--first", len(self.tokens), "--chunk", chunk,
                     "--activations", "f32", "--kv-type", "f32")
            logits = np.load(out)
            first = logits if first is None else first
            if not np.array_equal(logits, first):
                return difference(logits, self.ref), f"chunks of {chunk} give other bits than of {CHUNKS[0]}"
        delta = difference(first, self.ref)
        return delta, "dump_logits" if not delta <= self.limit else None

    def rowmax(self, program):
        n = len(self.tokens)
        rows = np.arange(n // 2, n - 1)
        told = against_llama_cpp.log_softmax(self.ref[rows])[np.arange(len(rows)), np.asarray(self.tokens)[rows + 1]]

        def scores(model):
            out = os.path.join(self.work, "scores.npz")
            self.run(program, "score", "-m", model, "--token-ids", self.ids_path, "--ctx", n, "--activations", "f32",
                     "--kv-type", "f32", "--logprobs", out, "--force", "-q")
            return np.load(out)["logprobs"]

        ours = scores(self.path)
        delta = float(np.abs(ours - told).max() / np.ptp(self.ref))
        if not delta <= 2 * self.limit:  # a logit and the logarithm of a sum
            return delta, "rowmax score"
        folder, converted = os.path.join(self.work, "folder"), os.path.join(self.work, "converted.gguf")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        folders.write_folder(folder, self.c, full=True)
        folders.write_tokenizer(folder)
        self.run(program, "convert", folder, converted, "--type", "F32", "--force")
        same = np.array_equal(scores(converted), ours)
        return delta, None if same else "rowmax convert: other bits than the GGUF of gguf-py"

    def llama_cpp(self):
        rows = sorted({0, len(self.tokens) // 2, len(self.tokens) - 1})
        child = ("import sys, json, numpy, against_llama_cpp as a; path, ids, rows, out = sys.argv[1:]; "
                 "numpy.save(out, a.peer_logprobs(path, json.load(open(ids)), json.loads(rows), %d, 512))" % goldens.N_VOCAB)
        out = os.path.join(self.work, "peer.npy")  # a process for each: the library ends the process when it fails
        done = subprocess.run([sys.executable, "-c", child, self.path, self.ids_path, json.dumps(rows), out],
                              capture_output=True, text=True, cwd=os.path.dirname(os.path.abspath(__file__)))
        if done.returncode:
            d = self.c.get("delta", {"d_k": 0, "d_v": 0})
            known = d["d_k"] != d["d_v"] or "delta" in self.c and not any(goldens.recurrent_layers(self.c))
            return None, None if known else "llama.cpp does not run it"
        delta = np.abs(np.load(out) - against_llama_cpp.log_softmax(self.ref[rows]))
        delta = float(delta[np.isfinite(delta)].max() / np.ptp(self.ref))
        return delta, "llama.cpp" if delta > 4 * self.limit else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", default="qwen3moe,qwen35,qwen35moe,lfm2,lfm2moe")
    p.add_argument("--count", type=int, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--published", action="store_true")
    p.add_argument("--dump-logits")
    p.add_argument("--rowmax")
    p.add_argument("--llama-cpp", action="store_true")
    p.add_argument("--keep")
    args = p.parse_args()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    n_wrong, archs = 0, args.arch.split(",")
    for i in range(args.count):
        rng = np.random.default_rng([args.seed, i])
        with tempfile.TemporaryDirectory() as work:
            case = Case(archs[i % len(archs)], rng, args.published, work)
            found, wrong = {"transformers": case.transformers, "limit": case.limit}, []
            if not case.transformers < 2e-4:
                wrong.append("transformers and forward.py differ")
            for name, check in (("dump_logits", args.dump_logits and (lambda: case.dump_logits(args.dump_logits))),
                                ("rowmax", args.rowmax and (lambda: case.rowmax(args.rowmax))),
                                ("llama_cpp", args.llama_cpp and case.llama_cpp)):
                if not check:
                    continue
                try:
                    found[name], what = check()
                except RuntimeError as error:
                    found[name], what = None, str(error)
                if what:
                    wrong.append(what)
            print(json.dumps({"model": i, "wrong": wrong, "n_tokens": len(case.tokens),
                              **{k: v and float(f"{v:.2g}") for k, v in found.items()}, "shape": case.c}), flush=True)
            if wrong:
                n_wrong += 1
                if args.keep:
                    shutil.copytree(work, os.path.join(args.keep, f"model{i}"), dirs_exist_ok=True)
    print(json.dumps({"models": args.count, "wrong": n_wrong}))
    sys.exit(n_wrong > 0)


if __name__ == "__main__":
    main()
