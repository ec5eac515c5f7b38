#!/usr/bin/env python3
"""Hybrids and mixtures of experts beside other engines: load, memory, prompt, generation, and what depth costs.

    hybrid_speed.py run   --build BUILD --models DIR --samples FILE [--peer NAME=LLAMA_BENCH]... [--cases NAME,...]
                          [-t 2] [--depths 0,4096] [--keep]
    hybrid_speed.py table --samples FILE

A case is a published shape with random weights (tools/make_model --repeat) and a type; every engine runs the same file, one
after the other, and FILE gets a line of JSON for each. BUILD: a build folder of rowmax with make_model and rowmax. A peer is
a program with the options of llama-bench (llama.cpp's, ik_llama.cpp's); one that refuses the file is told so. Files are
deleted after their case, unless --keep.

Prompt: 512 tokens; generation: tokens one by one behind DEPTH tokens. Memory: the process' peak. GB/s: weights that a token
reads, times tokens a second, beside the most that this machine reads (rowmax bench --json has both).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# case: (shape, options of make_model, tokens of a generation, tokens of a peer's prompt and generation (0: left out),
# whether peers run at depth)
Q4 = ["--type", "Q4_0"]
CASES = {
    "Qwen3.5-0.8B Q4_0": ("qwen3.5-0.8b", Q4, 32, (512, 32), True),
    "Qwen3.5-0.8B Q4_K": ("qwen3.5-0.8b", ["--type", "Q4_K"], 32, (512, 32), True),
    "Qwen3.5-4B Q4_0": ("qwen3.5-4b", Q4, 16, (512, 16), True),
    "Qwen3.5-9B Q4_0": ("qwen3.5-9b", Q4, 16, (256, 8), True),
    "Bonsai-2-9B Q2_0": ("bonsai-2-9b", ["--type", "Q2_0"], 16, (16, 4), False),
    "Bonsai-2-9B PQ2_0": ("bonsai-2-9b", ["--type", "Q2_0_128"], 16, (0, 0), False),
    "Bonsai-2-9B PTQ1_0": ("bonsai-2-9b", ["--type", "PTQ1_0"], 16, (0, 0), False),
    "Bonsai-2-27B PQ2_0": ("bonsai-2-27b", ["--type", "Q2_0_128"], 8, (0, 0), False),
    "Bonsai-2-27B PTQ1_0": ("bonsai-2-27b", ["--type", "PTQ1_0"], 8, (0, 0), False),
    # Of 48 and 40 layers as many as 10 GB hold.
    "Qwen3-30B-A3B Q4_0, 24 layers": ("qwen3-30b-a3b", [*Q4, "--layers", "24"], 16, (256, 8), True),
    "Qwen3.6-35B-A3B Q4_0, 20 layers": ("qwen3.6-35b-a3b", [*Q4, "--layers", "20"], 16, (256, 8), True),
    # Experts MXFP4, the rest Q8_0, as its published files have them; of 24 layers all.
    "gpt-oss-20b MXFP4": ("gpt-oss-20b", [], 16, (256, 8), True),
    "Gemma-4-E2B Q4_0": ("gemma-4-e2b", Q4, 16, (512, 16), True),
    "Gemma-4-E4B Q4_0": ("gemma-4-e4b", Q4, 16, (256, 8), True),
    "Phi-4-mini Q4_0": ("phi-4-mini", Q4, 16, (256, 8), True),
}


def measured(command, timeout=1500):
    """(standard output, peak memory in GB, seconds, exit status)"""
    start = time.time()
    with subprocess.Popen(["/usr/bin/env", "-i", f"PATH={os.environ['PATH']}", *command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return "", "no end within the time given", 0, timeout, 1
    return out, err, peak_of(err), time.time() - start, process.returncode


def peak_of(text):
    for line in text.splitlines():
        if line.startswith("rowmax-peak-kb "):
            return int(line.split()[1]) / 1e6
    return None


# Runs a program and says its peak on standard error.
WITH_PEAK = ("import resource, subprocess, sys; c = subprocess.run(sys.argv[1:]); "
             "print('rowmax-peak-kb', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); "
             "sys.exit(c.returncode if c.returncode >= 0 else 128 - c.returncode)")


def with_peak(command):
    return measured([sys.executable, "-c", WITH_PEAK, *command])


def last_words(text, status):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("rowmax-peak-kb")]
    return (lines[-1] if lines else "no message") + f" (exit status {status})"


def run_rowmax(args, model, n_gen, depths):
    rowmax = os.path.join(args.build, "apps/cli/rowmax")
    bench = [rowmax, "bench", "-m", model, "-t", str(args.threads), "-r", "2", "--json"]
    rows, peak, limit = [], 0, 0
    for depth in depths.split(","):
        # The prompt alone at depth 0: behind thousands of tokens its second measurement would take as long again.
        out, err, used, _, status = with_peak([*bench, "-p", "512" if depth == "0" else "0", "-n", str(n_gen), "-d", depth])
        if status != 0:
            return {"error": last_words(err, status), "rows": rows}
        report = json.loads(out)
        limit, peak = max(limit, report["machine"][0]["read_gb_per_s"]), max(peak, used or 0)
        for row in report["results"]:
            rows.append({"test": row["test"], "depth": row["depth"], "tps": row["tokens_per_second"]["median"],
                         "gb_per_s": row.get("weights_gb_per_s")})
    load = with_peak([rowmax, "run", "-m", model, "-t", str(args.threads), "-p", "a", "-n", "1", "-q"])[3]
    return {"rows": rows, "peak_gb": peak, "read_gb_per_s": limit, "load_s": load, "cpu": report["cpu"], "isa": report["isa"]}


def run_peer(args, program, model, n_prompt, n_gen, depths):
    program = [program, "-m", model, "-t", str(args.threads), "-o", "json"]
    rows, peak = [], 0
    for depth in depths.split(","):
        # Once behind thousands of tokens, which some peers compute anew for each repetition.
        base = [*program, "-r", "2" if depth == "0" else "1"]
        # llama.cpp has -d; ik_llama.cpp measures generation behind a prompt with -gp.
        ways = [["-p", str(n_prompt), "-n", str(n_gen)]] if depth == "0" else \
            [["-p", "0", "-n", str(n_gen), "-d", depth], ["-p", "0", "-n", "0", "-gp", f"{depth},{n_gen}"]]
        # Without repacking where a peer does not survive it. What is told is the first refusal: later ways may not exist.
        words = None
        for way in [*ways, *([*way, "--repack", "0"] for way in ways)]:
            out, err, used, _, status = with_peak([*base, *way])
            if status == 0:
                break
            words = words or last_words(err, status)
        if status != 0:
            return {"error": words, "rows": rows}
        peak = max(peak, used or 0)
        for row in json.loads(out):
            rows.append({"test": "tg" if row["n_gen"] else "pp", "depth": int(depth), "tps": row["avg_ts"]})
    load = with_peak([*program, "-r", "1", "-p", "1", "-n", "0"])[3]
    return {"rows": rows, "peak_gb": peak, "load_s": load}


def run(args):
    peers = dict(p.split("=", 1) for p in args.peer)
    names = args.cases.split(";") if args.cases else list(CASES)
    os.makedirs(args.models, exist_ok=True)
    for name in names:
        shape, options, n_gen, (peer_prompt, peer_gen), deep = CASES[name]
        model = os.path.join(args.models, shape + "".join(options).replace("--", "-") + ".gguf")
        if not os.path.exists(model):
            subprocess.run([os.path.join(args.build, "tools/make_model"), "--model", shape, *options, "--repeat", "--out", model],
                           check=True)
        results = {"rowmax": run_rowmax(args, model, n_gen, args.depths)}
        for peer, program in peers.items() if peer_gen else ():
            results[peer] = run_peer(args, program, model, peer_prompt, peer_gen, args.depths if deep else "0")
        for engine, result in results.items():
            with open(args.samples, "a") as file:
                file.write(json.dumps({"case": name, "engine": engine, "file_gb": os.path.getsize(model) / 1e9, **result}) + "\n")
            print(name, engine, json.dumps(result)[:300], flush=True)
        if not args.keep:
            os.remove(model)


def table(args):
    samples = [json.loads(line) for line in open(args.samples)]
    cases = list(dict.fromkeys(s["case"] for s in samples))
    print("| shape | engine | file, peak GB | load s | prompt | generation | at 4096 | GB/s of |\n|---|---|---|---|---|---|---|---|")
    for case in cases:
        ours = None
        for engine in dict.fromkeys(s["engine"] for s in samples if s["case"] == case):
            mine = [s for s in samples if s["case"] == case and s["engine"] == engine]
            if all("error" in s for s in mine):
                print(f"| {case} | {engine} | | | refused: {mine[-1]['error']} ||||")
                continue
            mine = [s for s in mine if "error" not in s]
            speeds = {}
            for sample in mine:
                for row in sample["rows"]:
                    speeds.setdefault((row["test"], row["depth"]), []).append(row["tps"])
            medians = {key: statistics.median(values) for key, values in speeds.items()}
            ours = ours or medians
            cells = []
            for key in (("pp", 0), ("tg", 0), ("tg", 4096)):
                if key not in medians:
                    cells.append("-")
                elif medians is ours or key not in ours:
                    cells.append(f"{medians[key]:.4g}")
                else:
                    cells.append(f"{medians[key]:.4g} (ours {ours[key] / medians[key]:.1f}x)")
            peak, load = max(s.get("peak_gb") or 0 for s in mine), min(s.get("load_s") or 0 for s in mine)
            read = [row["gb_per_s"] for s in mine for row in s["rows"] if row.get("gb_per_s") and row["depth"] == 0]
            share = f"{statistics.median(read):.1f} of {max(s['read_gb_per_s'] for s in mine):.1f}" if read else "-"
            print(f"| {case} | {engine} | {mine[0]['file_gb']:.2f}, {peak:.2f} | {load:.1f} | " + " | ".join(cells) + f" | {share} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--build", required=True)
    runner.add_argument("--models", required=True)
    runner.add_argument("--samples", required=True)
    runner.add_argument("--peer", action="append", default=[])
    runner.add_argument("--cases", help="names, with ; between")
    runner.add_argument("-t", "--threads", type=int, default=2)
    runner.add_argument("--depths", default="0,4096")
    runner.add_argument("--keep", action="store_true")
    tabler = commands.add_parser("table")
    tabler.add_argument("--samples", required=True)
    args = parser.parse_args()
    run(args) if args.command == "run" else table(args)


main()
