#!/usr/bin/env python3
"""Ternary models: rowmax, other engines and the fp64 oracle on the same weights, as a table.

    ternary_peers.py --build BUILD --driver bitnet=PATH --driver ik=PATH --driver llama=PATH --work DIR
                     [--shape full|short] [--layers 4] [--tokens 48] [--steps 32] [--cases NAME,...] [--no-oracle] [--json FILE]
    ternary_peers.py ... --model FILE.gguf --driver bitnet=PATH

BUILD: a build folder of rowmax with make_model, dump_logits and rowmax. PATH: bench/peers/llama_driver.cc built against
that engine (llama_driver.sh). Models are made in DIR (tools/make_model; the same values in every type, so that a file of
type F16 serves the oracle) and kept there. `full`: the published shapes; `short`: a few layers and 4000 tokens of them.
--model: an I2_S file for bitnet.cpp and rowmax in place of the made ones, on a text that it writes itself; `rowmax
quantize` makes the oracle's F32 file of it.

For every case: teacher-forced logits of random tokens: mean KL, largest |difference|, share of the same first
choice, and greedy continuations from rowmax's prompt: the first step that differs and the margin of the peer there.
The oracle is `forward.py`, with BitNet's int8 rule where rowmax applies it (types with one scale a tensor or row) and
with real activations elsewhere. A network of roundings to 8 bits amplifies the smallest difference (another value falls
to the other side of a half, all outputs of its matrix move by some 1e-4, more values fall; a cache in f16 does the same), so the oracle is also run
with inputs disturbed as rounding to f32 does: no right engine can agree better than that. An exit status of 1: some mean
KL between rowmax and the oracle is above 1e-3 and above twice that of the disturbed oracle.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import forward  # noqa: E402
from windows import log_softmax  # noqa: E402

LIMIT = 1e-3
KV = {"bitnet": "f16", "ik": "f16", "llama": "f32"}  # cache, of both sides; bitnet.cpp refuses f32
# name: engine, shape, type, more options of make_model, whether rowmax takes BitNet's rule
CASES = {
    "I2_S": ("bitnet", "bitnet-2b-4t", [], True),
    "IQ2_BN": ("ik", "bitnet-2b-4t", [], True),
    "TQ1_0": ("llama", "llama-1b", ["--head-type", "F16"], False),
    "TQ2_0": ("llama", "llama-1b", ["--head-type", "F16"], False),
    "Q2_0": ("llama", "bonsai-1.7b", [], False),
    "Q1_0": ("llama", "bonsai-1.7b", ["--values", "binary"], False),
}


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return done.stdout


def compare(reference, other):
    """Mean KL(reference || other), largest |difference|, share of the same first choice."""
    kl = []
    for r, o in zip(reference.astype(np.float64), other.astype(np.float64)):
        lr, lo = log_softmax(r[None])[0], log_softmax(o[None])[0]
        kl.append(float((np.exp(lr) * (lr - lo)).sum()))
    same = float((reference.argmax(-1) == other.argmax(-1)).mean())
    delta = float(np.abs(reference.astype(np.float64) - other).max())
    return {"kl": float(np.mean(kl)), "delta": delta, "top1": same}


class Case:
    def __init__(self, args, name):
        self.args, self.name = args, name
        self.engine, self.shape, self.more, self.int8 = CASES[name]
        self.path = args.model or self.made(name)

    def made(self, type_name):
        """A file of this case's shape and values in that type."""
        values = "binary" if "binary" in self.more else "ternary"
        path = os.path.join(self.args.work, f"{self.shape}-{self.args.size}-{values}-{type_name}.gguf")
        if not os.path.exists(path):
            size = [] if self.args.shape == "full" else ["--layers", self.args.layers, "--vocab", "4000"]
            run([os.path.join(self.args.build, "tools/make_model"), "--model", self.shape, "--type", type_name, *size,
                 *self.more, "--out", path])
        return path

    def in_work(self, suffix):
        return os.path.join(self.args.work, f"{self.name}-{'given' if self.args.model else self.args.size}{suffix}")

    def rowmax(self, ids, kv):
        out = self.in_work(f"-rowmax-{kv}.npy")
        run([os.path.join(self.args.build, "tools/dump_logits"), self.path, ids, out, "--first", self.args.tokens,
             "--kv-type", kv, "--threads", self.args.threads])
        return np.load(out)

    def peer(self, ids, *flags):
        out = self.in_work("-peer.npy")
        run([self.args.drivers[self.engine], "logits", self.path, ids, out, "--kv", KV[self.engine], "-t", self.args.threads, *flags])
        return np.load(out)

    def oracle(self, tokens, jitter=False):
        cache = self.in_work("-jitter.npy" if jitter else "-oracle.npy")
        if not os.path.exists(cache):
            exact = self.args.exact if self.args.model else self.made("F16")
            noise = np.random.default_rng(2) if jitter else None
            np.save(cache, forward.Model(exact, self.int8, noise).forward(tokens).astype(np.float32))
        return np.load(cache)

    def greedy(self):
        """Steps that agree; the first that does not, with the peer's margin."""
        ours = json.loads(run([os.path.join(self.args.build, "apps/cli/rowmax"), "run", "-m", self.path, "-p", self.args.prompt,
                               "-n", self.args.steps, "--greedy", "--raw", "--json", "--kv-type", KV[self.engine],
                               "-t", self.args.threads]))
        ids = self.in_work("-prompt.txt")
        with open(ids, "w", encoding="utf-8") as f:
            f.write(" ".join(map(str, ours["prompt_tokens"])))
        steps = json.loads(run([self.args.drivers[self.engine], "greedy", self.path, ids, self.args.steps, "--kv", KV[self.engine],
                                "-t", self.args.threads]))["steps"]
        for i, (token, best) in enumerate(zip(ours["tokens"], steps)):
            if token != best[0][0]:
                return {"same": i, "of": len(ours["tokens"]), "margin": best[0][1] - best[1][1]}
        return {"same": len(ours["tokens"]), "of": len(ours["tokens"]), "margin": None}


def own_text(args):
    """The ids of args.prompt and of what the model adds to it, --tokens of them; the oracle's file is made beside."""
    rowmax = os.path.join(args.build, "apps/cli/rowmax")
    args.exact = os.path.join(args.work, "given-F32.gguf")
    run([rowmax, "quantize", args.model, args.exact, "F32", "--output-type", "F32", "--embedding-type", "F32", "--force"])
    got = json.loads(run([rowmax, "run", "-m", args.model, "-p", args.prompt, "-n", args.tokens, "--raw", "--json",
                          "--temperature", "0.8", "--seed", "1"]))
    return (got["prompt_tokens"] + got["tokens"])[: args.tokens]


def run_case(case, tokens, ids):
    row = {"case": case.name, "engine": case.engine, "shape": case.shape, "size": case.args.size}
    rowmax = case.rowmax(ids, "f32")
    row["range"] = float(rowmax.max() - rowmax.min())
    if case.engine in case.args.drivers:
        peer = case.peer(ids)
        row["rowmax_peer"] = compare(case.rowmax(ids, KV[case.engine]), peer)
        row["greedy"] = case.greedy()
    if not case.args.no_oracle:
        oracle = case.oracle(tokens)
        row["oracle_rowmax"] = compare(oracle, rowmax)
        row["oracle_jitter"] = compare(oracle, case.oracle(tokens, jitter=True))
        if case.engine in case.args.drivers:
            row["oracle_peer"] = compare(oracle, peer)
    return row


def print_table(rows):
    cell = lambda c: f"{c['kl']:.1e}, {c['delta']:.2g}, {100 * c['top1']:.0f} %" if c else "-"
    print("| type, shape | peer | rowmax to peer: mean KL, max difference, top 1 | fp64 to rowmax | fp64 to peer | "
          "fp64 to itself with f32 rounding | greedy steps |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        greedy = row.get("greedy")
        steps = "-" if not greedy else f"{greedy['same']} of {greedy['of']}"
        if greedy and greedy["margin"] is not None:
            steps += f" (then a margin of {greedy['margin']:.2g})"
        print(f"| {row['case']}, {row['shape']} | {row['engine']} | {cell(row.get('rowmax_peer'))} | "
              f"{cell(row.get('oracle_rowmax'))} | {cell(row.get('oracle_peer'))} | "
              f"{cell(row.get('oracle_jitter'))} | {steps} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--driver", action="append", default=[], help="ENGINE=PATH")
    p.add_argument("--shape", choices=("full", "short"), default="short")
    p.add_argument("--layers", type=int, default=4, help="of the short shapes")
    p.add_argument("--tokens", type=int, default=48)
    p.add_argument("--steps", type=int, default=32)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--cases")
    p.add_argument("--model")
    p.add_argument("--prompt", default="the cat was on the", help="of the greedy runs")
    p.add_argument("--no-oracle", action="store_true")
    p.add_argument("--json")
    args = p.parse_args()
    args.drivers = dict(d.split("=", 1) for d in args.driver)
    args.size = "full" if args.shape == "full" else f"{args.layers}-layers"
    names = ["I2_S"] if args.model else args.cases.split(",") if args.cases else list(CASES)
    rows = []
    for name in names:
        case = Case(args, name)
        tokens = own_text(args) if args.model else [int(t) for t in np.random.default_rng(1).integers(3, 300, args.tokens)]
        ids = os.path.join(args.work, "ids.txt")
        with open(ids, "w", encoding="utf-8") as f:
            f.write(" ".join(map(str, tokens)))
        rows.append(run_case(case, tokens, ids))
        print(json.dumps(rows[-1]), file=sys.stderr)
    print_table(rows)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)
    far = [r for r in rows if "oracle_rowmax" in r and r["oracle_rowmax"]["kl"] > max(LIMIT, 2 * r["oracle_jitter"]["kl"])]
    sys.exit(1 if far else 0)


if __name__ == "__main__":
    main()
