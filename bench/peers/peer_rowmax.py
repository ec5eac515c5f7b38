#!/usr/bin/env python3
"""Our own command line beside the peers.

    peer_rowmax.py greedy MODEL --rowmax BIN --prompts prompts.txt [--steps 32] --out greedy.json [-- FLAGS]
        `rowmax run --greedy --raw --json` on every prompt, in the form that tools/oracle/compare.py greedy reads.
Flags after `--` go to rowmax (for example `-- --activations f32`).
"""
import argparse
import json
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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    s = sub.add_parser("greedy")
    s.add_argument("--prompts", required=True)
    s.add_argument("--steps", type=int, default=32)
    s.add_argument("--out", required=True)
    s.set_defaults(run=cmd_greedy)
    s.add_argument("model")
    s.add_argument("--rowmax", required=True, help="the rowmax binary")
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    args = p.parse_args(own)
    print(json.dumps(args.run(args, flags)))


if __name__ == "__main__":
    main()
