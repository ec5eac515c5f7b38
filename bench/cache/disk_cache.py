#!/usr/bin/env python3
"""What a prefix costs: computed, from memory, from the disk after a restart; and servers that are killed while they write.

    disk_cache.py speed --rowmax PROGRAM --model FILE [--tokens 4096] [--rounds 3] [-t 2] [--dir DIR]
    disk_cache.py kill  --rowmax PROGRAM [--rounds 100] [--seed 1]

speed: a prompt of random token ids; milliseconds to the first token as the server's `timings` have them, medians, and the pages'
bytes. "disk" is read from the system's cache of files, unless that was dropped between (which needs root: --drop). kill: the
test of tests/server, for longer.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path


class Server:
    def __init__(self, program, model, *flags):
        self.process = subprocess.Popen([program, "serve", "-m", model, "--port", "0", "-q", *map(str, flags)], stdout=subprocess.PIPE)
        self.address = self.process.stdout.readline().decode().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=3600) as reply:
            return json.loads(reply.read())

    def prompt(self, tokens):
        got = self.ask("/v1/completions", {"prompt": tokens, "max_tokens": 4, "temperature": 0, "ignore_eos": True})
        return got["timings"]["first_token_ms"], got["rowmax"]["cache"], got["choices"][0]["text"]


def speed(args):
    flags = ["-t", args.threads, "-c", args.tokens + 64, "--parallel", 1, "--cache-disk", 32768]
    rows = {"computed": [], "memory": [], "disk": []}
    n_bytes = 0
    for turn in range(args.rounds):
        random.seed(turn)
        tokens = [random.randrange(100, 1000) for _ in range(args.tokens)]
        with tempfile.TemporaryDirectory(dir=args.dir) as parent:
            folder = Path(parent) / "pages"
            with Server(args.rowmax, args.model, *flags, "--cache-dir", folder) as server:
                ms, cache, truth = server.prompt(tokens)
                assert cache["reused_tokens"] == 0, cache
                rows["computed"].append(ms)
                ms, cache, text = server.prompt(tokens)
                assert cache["disk_tokens"] == 0 and cache["reused_tokens"] > 0 and text == truth, cache
                rows["memory"].append(ms)
            n_bytes = sum(p.stat().st_size for p in folder.iterdir())
            if args.drop:
                os.sync()
                Path("/proc/sys/vm/drop_caches").write_text("1")
            with Server(args.rowmax, args.model, *flags, "--cache-dir", folder) as server:
                ms, cache, text = server.prompt(tokens)
                assert cache["disk_tokens"] > 0 and text == truth, cache
                rows["disk"].append(ms)
    medians = {name: round(statistics.median(values), 1) for name, values in rows.items()}
    print(json.dumps({"model": Path(args.model).stem, "tokens": args.tokens, "first_token_ms": medians, "disk_tokens": cache["disk_tokens"],
                      "bytes": n_bytes, "disk_gb_per_s": round(n_bytes / medians["disk"] / 1e6, 2), "all": rows}))


def kill(args):
    test = Path(__file__).resolve().parents[2] / "tests" / "server" / "cache_disk_test.py"
    env = {**os.environ, "ROWMAX_KILL_ROUNDS": str(args.rounds), "ROWMAX_KILL_SEED": str(args.seed)}
    return subprocess.run([sys.executable, "-B", test, os.path.abspath(args.rowmax), "none", "Kill"], cwd=test.parent, env=env).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "kill"])
    parser.add_argument("--rowmax", required=True)
    parser.add_argument("--model")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--dir")
    parser.add_argument("--drop", action="store_true")
    args = parser.parse_args()
    return speed(args) if args.what == "speed" else kill(args)


if __name__ == "__main__":
    sys.exit(main())
