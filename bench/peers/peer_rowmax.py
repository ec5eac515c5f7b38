#!/usr/bin/env python3
"""Our own command line beside the peers.

    peer_rowmax.py greedy MODEL --rowmax BIN --prompts prompts.txt [--steps 32] --out greedy.json [-- FLAGS]
        `rowmax run --greedy --raw --json` on every prompt, in the form that tools/oracle/compare.py greedy reads.
    peer_rowmax.py speed MODEL --rowmax BIN --llama-bin DIR [-p 512] [-n 128] [-t 1,2] [--rounds 5]
        rowmax bench and llama-bench in turn, one repetition each a round, so that both meet the same states of the
        machine; medians, spread and ratio as a markdown table on standard error and as JSON on standard output.
Flags after `--` go to rowmax (for example `-- --activations f32`).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys


def run_json(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def cmd_greedy(args, flags):
    with open(args.prompts, encoding="utf-8") as f:
        prompts = [line.rstrip("\n") for line in f if line.strip()]
    runs = []
    for prompt in prompts:
        got = run_json([args.rowmax, "run", "-m", args.model, "-p", prompt, "-n", str(args.steps), "--greedy", "--raw",
                        "--json", *flags])
        runs.append({"prompt": prompt} | {k: got[k] for k in ("prompt_tokens", "tokens", "stop")})
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump({"engine": "rowmax", "runs": runs}, f)
    return {"prompts": len(runs), "steps": args.steps, "out": args.out}


def rowmax_speed(args, flags, threads):
    got = run_json([args.rowmax, "bench", "-m", args.model, "-p", args.pp, "-n", args.tg, "-d", args.depth,
                    "-t", threads, "-r", "1", "--json", *flags])
    return {f"{r['test']}{r['n']}@{r['depth']}": r["tokens_per_second"]["median"] for r in got["results"]}


def llama_speed(args, threads):
    got = run_json([os.path.join(args.llama_bin, "llama-bench"), "-m", args.model, "-p", args.pp, "-n", args.tg,
                    "-d", args.depth, "-t", threads, "-r", "1", "-fa", "auto", "-o", "json"])
    return {(f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}") + f"@{r['n_depth']}": r["avg_ts"]
            for r in got}


def cmd_speed(args, flags):
    samples = {}
    for round_number in range(args.rounds):
        for threads in args.threads.split(","):
            for engine, speeds in (("rowmax", rowmax_speed(args, flags, threads)),
                                   ("llama.cpp", llama_speed(args, threads))):
                for test, value in speeds.items():
                    samples.setdefault((test, int(threads)), {}).setdefault(engine, []).append(value)
        print(f"round {round_number + 1} of {args.rounds}, load {os.getloadavg()[0]:.2f}", file=sys.stderr)
    rows = []
    print("| test | threads | rowmax tok/s | llama.cpp tok/s | ratio |\n|---|---|---|---|---|", file=sys.stderr)
    for (test, threads), by_engine in sorted(samples.items(), key=lambda s: (s[0][1], s[0][0])):
        row, cells = {"test": test, "threads": threads}, []
        for engine in ("rowmax", "llama.cpp"):
            v = by_engine[engine]
            row[engine] = {"median": statistics.median(v), "min": min(v), "max": max(v), "samples": v}
            cells.append(f"{statistics.median(v):.1f} ({min(v):.1f}-{max(v):.1f})")
        row["ratio"] = row["rowmax"]["median"] / row["llama.cpp"]["median"]
        rows.append(row)
        print(f"| {test} | {threads} | {cells[0]} | {cells[1]} | {row['ratio']:.2f} |", file=sys.stderr)
    return {"model": os.path.basename(args.model), "rounds": args.rounds, "results": rows}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    s = sub.add_parser("greedy")
    s.add_argument("--prompts", required=True)
    s.add_argument("--steps", type=int, default=32)
    s.add_argument("--out", required=True)
    s.set_defaults(run=cmd_greedy)
    t = sub.add_parser("speed")
    t.add_argument("--llama-bin", required=True, help="folder of llama-bench")
    t.add_argument("-p", "--pp", default="512")
    t.add_argument("-n", "--tg", default="128")
    t.add_argument("-d", "--depth", default="0")
    t.add_argument("-t", "--threads", default="1,2")
    t.add_argument("--rounds", type=int, default=5)
    t.set_defaults(run=cmd_speed)
    for c in (s, t):
        c.add_argument("model")
        c.add_argument("--rowmax", required=True, help="the rowmax binary")
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    args = p.parse_args(own)
    print(json.dumps(args.run(args, flags)))


if __name__ == "__main__":
    main()
