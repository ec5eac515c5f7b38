#!/usr/bin/env python3
"""Speed of ternary models beside other engines: every engine in turn, the same weights, ratios of medians.

    ternary_speed.py make  --build BUILD --models DIR [--cases NAME,...]
    ternary_speed.py run   --build BUILD --models DIR --samples FILE [--driver bitnet=PATH] [--driver ik=PATH]
                           [--driver llama=PATH] [--cases NAME,...] [--rounds 1] [-t 2] [--engines NAME,...]
    ternary_speed.py table --samples FILE [--json]

`make` writes the models (tools/make_model --repeat). `run` appends one line of JSON a measurement to FILE: in each round
the machine's limits, then every engine once, A B C A B C ..., so that several short runs at quiet moments add up to one
comparison. BUILD: a build folder of rowmax with make_model, rowmax and rowmax_machine_limits (ROWMAX_BENCH=ON). PATH:
llama_driver.cc built against that engine (llama_driver.sh). `table` prints medians as Markdown.

A case is a shape and a type; a peer gets the same file, or its own best form of the same weights (ik_llama.cpp: IQ2_BN as
it is, and repacked to IQ2_BN_R4 while loading). Generation's GB/s: weights that a token reads (all matrices, one row of
the embedding unless it is the head) times tokens a second. GOPS of a prompt: two operations a weight (without the head,
which is multiplied once) and token. Limits, the best seen in the case's rounds: reading by all threads
(of several streams the best), and the fastest integer products of the machine (rowmax_machine_limits).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

# case: (model, options of make_model, prompt tokens, generated tokens, peers)
# peer: (name, driver, options that replace the case's, driver's flags, prompt tokens, generated tokens)
BITNET_PEERS = lambda head, p: [("bitnet.cpp", "bitnet", ["--head-type", head], [], p, 32),
                                ("ik IQ2_BN", "ik", ["--head-type", head, "--type", "IQ2_BN"], ["--flash"], p, 32),
                                ("ik IQ2_BN_R4", "ik", ["--head-type", head, "--type", "IQ2_BN"], ["--flash", "--repack"], p, 32)]
LLAMA = lambda options, prompt, n: [("llama.cpp", "llama", options, [], prompt, n)]
BINARY = ["--type", "Q1_0", "--values", "binary"]
CASES = {
    "2B-4T F16 head": ("bitnet-2b-4t", ["--head-type", "F16"], 512, 32, BITNET_PEERS("F16", 512)),
    "2B-4T Q6_K head": ("bitnet-2b-4t", ["--head-type", "Q6_K"], 512, 32, BITNET_PEERS("Q6_K", 512)),
    "Llama-1B Q2_0": ("llama-1b", ["--type", "Q2_0"], 512, 32, LLAMA(["--type", "Q2_0"], 16, 6)),
    "Llama-1B Q2_0 g128": ("llama-1b", ["--type", "Q2_0_128"], 512, 32, []),
    "Llama-1B PTQ1_0": ("llama-1b", ["--type", "PTQ1_0"], 512, 32, []),
    "Llama-1B Q1_0": ("llama-1b", BINARY, 512, 32, LLAMA(BINARY, 128, 16)),
    "Bonsai-8B Q2_0": ("bonsai-8b", ["--type", "Q2_0"], 128, 16, LLAMA(["--type", "Q2_0"], 0, 2)),
    "Bonsai-8B Q2_0 g128": ("bonsai-8b", ["--type", "Q2_0_128"], 128, 16, []),
    "Bonsai-8B PTQ1_0": ("bonsai-8b", ["--type", "PTQ1_0"], 128, 16, []),
    "Bonsai-8B Q1_0": ("bonsai-8b", BINARY, 128, 16, LLAMA(BINARY, 64, 8)),
}


def model_path(args, model, options):
    name = "-".join([model, *(o.lstrip("-") for o in options if o not in ("--type", "--head-type", "--values", "binary"))])
    return os.path.join(args.models, name + ".gguf")


def make(args, model, options):
    path = model_path(args, model, options)
    if not os.path.exists(path):
        subprocess.run([os.path.join(args.build, "tools/make_model"), "--model", model, *options, "--repeat", "--out", path],
                       check=True)
    return path


def measured(command):
    """Standard output, peak memory in bytes and wall time of a child; None for one that fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([str(c) for c in command], stdout=out, stderr=errors, text=True)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        if child.returncode != 0:
            print(f"{command[0]} failed ({child.returncode}): {errors.read()[-500:]}", file=sys.stderr)
            return None, 0, 0.0
        return out.read(), usage.ru_maxrss * 1024, time.monotonic() - start


def run_rowmax(args, path, prompt, generated):
    rowmax = os.path.join(args.build, "apps/cli/rowmax")
    text, rss, _ = measured([rowmax, "bench", "-m", path, "-p", prompt, "-n", generated, "-r", 1, "-t", args.threads, "--json"])
    if text is None:
        return None
    got = json.loads(text)
    speeds = {r["test"]: r["tokens_per_second"]["median"] for r in got["results"]}
    _, run_rss, first = measured([rowmax, "run", "-m", path, "-p", "the", "-n", 1, "--greedy", "--raw", "-t", args.threads])
    return {"prompt": speeds.get("pp"), "generation": speeds.get("tg"), "first_token_s": first, "peak_rss_bytes": run_rss,
            "bytes_per_token": got["bytes_per_token"], "cpu": got["cpu"], "isa": got["isa"]}


def run_peer(args, driver, path, flags, prompt, generated):
    text, rss, _ = measured([args.drivers[driver], "bench", path, prompt, generated, 1, "-t", args.threads, *flags])
    if text is None:
        return None
    got = json.loads(text)
    one = lambda values: values[0] if values else None
    return {"prompt": one(got["prompt"]), "generation": one(got["generation"]), "first_token_s": got["first_token_s"],
            "peak_rss_bytes": rss}


def limits(args):
    text, _, _ = measured([os.path.join(args.build, "bench/rowmax_machine_limits"), args.threads])
    got = json.loads(text)["limits"][0]
    return {"read_gb_per_s": max(got["read_gb_per_s"].values()),
            "int8_gops": max((peak["gops"] for peak in got["peaks"] if peak["integer"]), default=0)}


def chosen(args):
    return args.cases.split(",") if args.cases else list(CASES)


def cmd_make(args):
    for name in chosen(args):
        model, options, _, _, peers = CASES[name]
        make(args, model, options)
        for _, driver, peer_options, *_ in peers:
            make(args, model, peer_options)


def cmd_run(args):
    for case in chosen(args):
        model, options, prompt, generated, peers = CASES[case]
        path = make(args, model, options)
        for _ in range(args.rounds):
            rows = [("limits", limits(args))]
            if not args.engines or "rowmax" in args.engines:
                rows.append(("rowmax", run_rowmax(args, path, prompt, generated)))
            for name, driver, peer_options, flags, p, n in peers:
                if driver in args.drivers and (not args.engines or name in args.engines):
                    rows.append((name, run_peer(args, driver, make(args, model, peer_options), flags, p, n)))
            rows.append(("limits", limits(args)))
            with open(args.samples, "a", encoding="utf-8") as f:
                for engine, row in rows:
                    if row is not None:
                        record = {"case": case, "engine": engine, "threads": args.threads, "load": os.getloadavg()[0]}
                        f.write(json.dumps(record | {"file_bytes": os.path.getsize(path)} | row) + "\n")


# Weights of all matrices but embedding and head, for operations a token.
def body_weights(model):
    embd, layers, heads, kv_heads, head_dim, ff = {"bitnet-2b-4t": (2560, 30, 20, 5, 128, 6912),
                                                   "llama-1b": (2048, 16, 32, 8, 64, 8192),
                                                   "bonsai-8b": (4096, 36, 32, 8, 128, 12288)}[model]
    return layers * embd * (2 * heads * head_dim + 2 * kv_heads * head_dim + 3 * ff)


def summary(args):
    by_case = {}
    with open(args.samples, encoding="utf-8") as f:
        for line in f:
            record = json.loads(line)
            by_case.setdefault(record["case"], {}).setdefault(record["engine"], []).append(record)
    rows = []
    for case in [c for c in CASES if c in by_case]:
        engines = by_case[case]
        middle = lambda engine, key: (lambda v: statistics.median(v) if v else None)(
            [r[key] for r in engines.get(engine, []) if r.get(key) is not None])
        best = lambda key: max(r[key] for r in engines["limits"])
        row = {"case": case, "rounds": len(engines.get("rowmax", [])), "read_gb_per_s": best("read_gb_per_s"),
               "int8_gops": best("int8_gops"), "file_bytes": engines["limits"][0]["file_bytes"],
               "bytes_per_token": middle("rowmax", "bytes_per_token"), "operations_per_token": 2 * body_weights(CASES[case][0])}
        row["engines"] = {e: {k: middle(e, k) for k in ("prompt", "generation", "first_token_s", "peak_rss_bytes")}
                          for e in engines if e != "limits"}
        rows.append(row)
    return rows


def cmd_table(args):
    rows = summary(args)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    number = lambda v, form: "-" if v is None else format(v, form)
    print("| model | engine | prompt tok/s | generation tok/s | first token s | peak memory MB | rowmax is faster by (prompt, generation) |")
    print("|---|---|---:|---:|---:|---:|---|")
    for row in rows:
        ours = row["engines"].get("rowmax", {})
        for engine, e in row["engines"].items():
            ratio = lambda key: "-" if not e[key] or not ours.get(key) else f"{ours[key] / e[key]:.2f}"
            print(f"| {row['case']} | {engine} | {number(e['prompt'], '.1f')} | {number(e['generation'], '.2f')} | "
                  f"{number(e['first_token_s'], '.2f')} | {number(e['peak_rss_bytes'] and e['peak_rss_bytes'] / 1e6, '.0f')} | "
                  f"{'' if engine == 'rowmax' else ratio('prompt') + ', ' + ratio('generation')} |")
    print("\n| model | MB a token | rowmax reads GB/s | machine reads GB/s | share | prompt GOPS | int8 peak GOPS | share | file MB | rounds |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        ours = row["engines"].get("rowmax")
        if not ours:
            continue
        rate, gops = ours["generation"] * row["bytes_per_token"] / 1e9, ours["prompt"] * row["operations_per_token"] / 1e9
        print(f"| {row['case']} | {row['bytes_per_token'] / 1e6:.0f} | {rate:.1f} | {row['read_gb_per_s']:.1f} | "
              f"{100 * rate / row['read_gb_per_s']:.0f} % | {gops:.0f} | {row['int8_gops']:.0f} | "
              f"{100 * gops / row['int8_gops']:.0f} % | {row['file_bytes'] / 1e6:.0f} | {row['rounds']} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for name, run in (("make", cmd_make), ("run", cmd_run), ("table", cmd_table)):
        s = sub.add_parser(name)
        s.set_defaults(run=run)
        if name != "table":
            s.add_argument("--build", required=True)
            s.add_argument("--models", required=True)
            s.add_argument("--cases")
        if name != "make":
            s.add_argument("--samples", required=True)
        if name == "run":
            s.add_argument("--driver", action="append", default=[], help="ENGINE=PATH")
            s.add_argument("--rounds", type=int, default=1)
            s.add_argument("--engines", help="only these")
            s.add_argument("-t", "--threads", type=int, default=2)
        if name == "table":
            s.add_argument("--json", action="store_true")
    args = p.parse_args()
    if hasattr(args, "driver"):
        args.drivers = dict(d.split("=", 1) for d in args.driver)
        args.engines = args.engines.split(",") if args.engines else None
    args.run(args)


if __name__ == "__main__":
    main()
