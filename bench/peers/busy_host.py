#!/usr/bin/env python3
"""Generation beside other work on the same cores: rowmax and llama.cpp (PyPI's xllamacpp), in turn, in one run.

    bench/peers/busy_host.py ROWMAX MODEL.gguf [--loops 0,2,8] [--threads 1,2] [--tokens 64] [--rounds 3]

For each number of busy loops (a shell that counts) and of threads: tokens a second, the median and the range of the
rounds. The last column is what that number of threads makes of one thread in the same surroundings. Run it with a python
that has xllamacpp."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def rowmax(program, model, threads, tokens):
    out = subprocess.run([program, "bench", "-m", model, "-p", "0", "-n", str(tokens), "-t", str(threads), "-r", "1", "--json"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)["results"][0]["tokens_per_second"]["median"]


LLAMA = """
import json, sys
import xllamacpp as x
p = x.CommonParams()
p.model.path, p.n_ctx = sys.argv[1], 512
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(sys.argv[2])
s = x.Server(p)
def go(n):
    r = s.handle_completions(({"prompt": "Once upon a time", "n_predict": n, "temperature": 0, "ignore_eos": True,
                                         "cache_prompt": False, "timings_per_token": True}))
    return json.loads(r) if isinstance(r, (str, bytes)) else r
go(8)
print("RESULT", go(int(sys.argv[3]))["timings"]["predicted_per_second"])
"""


def llama(python, model, threads, tokens):
    out = subprocess.run([python, "-c", LLAMA, model, str(threads), str(tokens)], capture_output=True, text=True)
    lines = [line for line in out.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(out.stdout[-500:] + out.stderr[-1500:])
    return float(lines[-1].split()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--loops", default="0,2,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    threads = [int(n) for n in options.threads.split(",")]
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    print("| busy loops | engine | threads | tok/s | range | of 1 thread |\n|---|---|---|---|---|---|")
    for loops in [int(n) for n in options.loops.split(",")]:
        busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(loops)]
        try:
            time.sleep(1)
            seen = {}
            for _ in range(options.rounds):
                for n in threads:
                    seen.setdefault(("rowmax", n), []).append(rowmax(options.program, options.model, n, options.tokens))
                    seen.setdefault(("llama.cpp", n), []).append(llama(sys.executable, options.model, n, options.tokens))
        finally:
            for child in busy:
                child.kill()
        for engine in ("rowmax", "llama.cpp"):
            for n in threads:
                runs = seen[engine, n]
                share = statistics.median(runs) / statistics.median(seen[engine, threads[0]])
                print(f"| {loops} | {engine} | {n} | {statistics.median(runs):.1f} | {min(runs):.1f} - {max(runs):.1f} "
                      f"| {share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
