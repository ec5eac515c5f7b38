#!/usr/bin/env python3
"""llama.cpp beside us: token ids, teacher-forced scores and logits, greedy decodes, speed. One JSON object out.

    peer_llama_cpp.py tokenize MODEL --file TEXT [--special] [--no-bos] --out ids.json
    peer_llama_cpp.py score    MODEL --token-ids ids.json [--ctx 512] [--out scores.npz]
                                     [--logits-prefix PATH --logits-windows 2]
    peer_llama_cpp.py logits   MODEL --token-ids ids.json [--first 64] --out logits.npz
    peer_llama_cpp.py greedy   MODEL --prompts prompts.txt [--steps 32] --out greedy.json
    peer_llama_cpp.py bench    MODEL --bin DIR [-p 512] [-n 128] [-t 1,2] [-r 5]
    common: [-t THREADS] [--kv f16|f32] [--ubatch 512]

The library is reached through the ctypes module of the PyPI package llama-cpp-python (its low-level `llama_cpp`); a
library built elsewhere from the same source is used with LLAMA_CPP_LIB_PATH=DIR. `bench` runs that build's
llama-bench. The files have the forms of tools/oracle, so tools/oracle/compare.py reads them.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "oracle"))
import windows  # noqa: E402

TOP = 10  # candidates stored at each greedy step


class Peer:
    """One model and one context of one sequence."""

    def __init__(self, path, n_ctx, threads=1, kv="f16", ubatch=512):
        import llama_cpp

        self.c = c = llama_cpp
        self._log = c.llama_log_callback(self._keep_errors)
        c.llama_log_set(self._log, None)
        c.llama_backend_init()
        mp = c.llama_model_default_params()
        mp.n_gpu_layers = 0
        self.model = c.llama_model_load_from_file(path.encode(), mp)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocab = c.llama_model_get_vocab(self.model)
        self.n_vocab = c.llama_vocab_n_tokens(self.vocab)
        cp = c.llama_context_default_params()
        cp.n_ctx = cp.n_batch = n_ctx
        cp.n_ubatch = ubatch
        cp.n_threads = cp.n_threads_batch = threads
        cp.type_k = cp.type_v = {"f16": c.GGML_TYPE_F16, "f32": c.GGML_TYPE_F32}[kv]
        self.ctx = c.llama_init_from_model(self.model, cp)
        if not self.ctx:
            raise RuntimeError("llama.cpp cannot make a context")
        self.batch = c.llama_batch_init(n_ctx, 0, 1)

    @staticmethod
    def _keep_errors(level, text, _):
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            sys.stderr.write(text.decode(errors="replace"))

    def system_info(self):
        return self.c.llama_print_system_info().decode()

    def tokenize(self, text, special=False, add_bos=True):
        data = text if isinstance(text, bytes) else text.encode()
        ids = (self.c.llama_token * (len(data) + 8))()
        n = self.c.llama_tokenize(self.vocab, data, len(data), ids, len(ids), add_bos, special)
        if n < 0:
            raise RuntimeError("llama_tokenize failed")
        return list(ids[:n])

    def clear(self):
        self.c.llama_memory_clear(self.c.llama_get_memory(self.ctx), True)

    def decode(self, tokens, begin, rows):
        """Feeds tokens at positions begin ...; returns float32[rows, n_vocab] of the row indices asked for."""
        b, wanted = self.batch, set(rows)
        b.n_tokens = len(tokens)
        for i, t in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = int(t), begin + i, 1, i in wanted
            b.seq_id[i][0] = 0
        if self.c.llama_decode(self.ctx, b) != 0:
            raise RuntimeError("llama_decode failed")
        out = np.empty((len(rows), self.n_vocab), dtype=np.float32)
        for at, i in enumerate(rows):
            out[at] = np.ctypeslib.as_array(self.c.llama_get_logits_ith(self.ctx, i), (self.n_vocab,))
        return out


def cmd_tokenize(args):
    with open(args.file, "rb") as f:
        data = f.read()
    ids = Peer(args.model, 64).tokenize(data, args.special, not args.no_bos)
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump(ids, f)
    return {"n_tokens": len(ids), "first": ids[:8], "last": ids[-4:]}


def cmd_score(args):
    ids = windows.load_ids(args.token_ids)
    peer = Peer(args.model, args.ctx, args.threads, args.kv, args.ubatch)
    score = windows.Score(args.ctx, args.logits_windows, args.logits_prefix)
    rows = range(args.ctx)[windows.scored_rows(args.ctx)]
    for window in windows.windows(ids, args.ctx, windows.bos_of(args.model), args.max_windows):
        peer.clear()
        score.add(window, peer.decode(window, 0, rows))
    return score.finish(args.out, len(ids)) | {"kv": args.kv, "system": peer.system_info()}


def cmd_logits(args):
    ids = windows.load_ids(args.token_ids)[: args.first]
    peer = Peer(args.model, max(64, len(ids)), args.threads, args.kv, args.ubatch)
    logits = peer.decode(ids, 0, range(len(ids)))
    np.savez(args.out, tokens=np.asarray(ids), rows=np.arange(len(ids)), logits=logits)
    return {"n_tokens": len(ids), "kv": args.kv, "system": peer.system_info()}


def greedy(peer, prompt, steps):
    ids = peer.tokenize(prompt)
    peer.clear()
    logits = peer.decode(ids, 0, [len(ids) - 1])[0]
    out, stop = [], "length"
    for step in range(steps):
        top = np.argsort(-logits, kind="stable")[:TOP]  # stable: ties to the lowest id
        token = int(top[0])
        out.append({"token": token, "top": [[int(t), float(logits[t])] for t in top]})
        if peer.c.llama_vocab_is_eog(peer.vocab, token):
            stop = "eos"
            break
        if step + 1 < steps:
            logits = peer.decode([token], len(ids) + step, [0])[0]
    return {"prompt": prompt, "prompt_tokens": ids, "tokens": [s["token"] for s in out],
            "steps": [s["top"] for s in out], "stop": stop}


def cmd_greedy(args):
    with open(args.prompts, encoding="utf-8") as f:
        prompts = [line.rstrip("\n") for line in f if line.strip()]
    peer = Peer(args.model, 512, args.threads, args.kv, args.ubatch)
    eog = [t for t in range(peer.n_vocab) if peer.c.llama_vocab_is_eog(peer.vocab, t)]
    result = {"engine": "llama.cpp", "kv": args.kv, "eog": eog, "runs": [greedy(peer, p, args.steps) for p in prompts]}
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump(result, f)
    return {"prompts": len(prompts), "steps": args.steps, "out": args.out, "system": peer.system_info()}


def cmd_bench(args):
    rows = []
    for threads in args.bench_threads.split(","):
        command = [os.path.join(args.bin, "llama-bench"), "-m", args.model, "-p", args.pp, "-n", args.tg, "-t", threads,
                   "-r", str(args.repetitions), "-d", args.depth, "-fa", args.flash, "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for r in json.loads(done.stdout):
            samples = sorted(r["samples_ts"])
            rows.append({"test": f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}", "depth": r["n_depth"],
                         "threads": r["n_threads"], "median_ts": samples[len(samples) // 2], "min_ts": samples[0],
                         "max_ts": samples[-1], "kv": r["type_k"], "model": os.path.basename(args.model)})
    return {"engine": "llama.cpp", "results": rows}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)

    def command(name, run):
        s = sub.add_parser(name)
        s.add_argument("model")
        s.set_defaults(run=run)
        if name not in ("bench", "tokenize"):
            s.add_argument("-t", "--threads", type=int, default=1)
            s.add_argument("--kv", choices=("f16", "f32"), default="f16")
            s.add_argument("--ubatch", type=int, default=512)
        return s

    s = command("tokenize", cmd_tokenize)
    s.add_argument("--file", required=True)
    s.add_argument("--special", action="store_true")
    s.add_argument("--no-bos", action="store_true")
    s.add_argument("--out", required=True)
    s = command("score", cmd_score)
    s.add_argument("--token-ids", required=True)
    s.add_argument("--ctx", type=int, default=512)
    s.add_argument("--max-windows", type=int)
    s.add_argument("--out")
    s.add_argument("--logits-prefix")
    s.add_argument("--logits-windows", type=int, default=0)
    s = command("logits", cmd_logits)
    s.add_argument("--token-ids", required=True)
    s.add_argument("--first", type=int, default=64)
    s.add_argument("--out", required=True)
    s = command("greedy", cmd_greedy)
    s.add_argument("--prompts", required=True)
    s.add_argument("--steps", type=int, default=32)
    s.add_argument("--out", required=True)
    s = command("bench", cmd_bench)
    s.add_argument("--bin", required=True, help="folder of llama-bench")
    s.add_argument("-p", "--pp", default="512")
    s.add_argument("-n", "--tg", default="128")
    s.add_argument("-d", "--depth", default="0")
    s.add_argument("-t", "--bench-threads", default="1,2")
    s.add_argument("-r", "--repetitions", type=int, default=5)
    s.add_argument("--flash", default="auto", help="llama-bench -fa")
    args = p.parse_args()
    print(json.dumps(args.run(args)))


if __name__ == "__main__":
    main()
