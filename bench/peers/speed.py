#!/usr/bin/env python3
"""rowmax beside other engines on the same model files: speed by the clock and by processor time, ratios, a roofline.

    speed.py run     --build BUILD --samples FILE --model FILE.gguf... [--peer NAME='LLAMA_BENCH FLAGS']... [-t 1,2]
                     [-p 512] [-n 64] [-d 0] [--rounds 3]
    speed.py table   --samples FILE [--json]
    speed.py picture --samples FILE --out FILE.svg [-t 1]

`run` measures, for each model and number of threads: the machine's limits, then in each round every engine once, in turn,
so that all of them meet the same states of the machine; a line of JSON a measurement is appended to FILE, so that several
runs add up. BUILD: a build folder of rowmax with apps/cli/rowmax and bench/rowmax_machine_limits (ROWMAX_BENCH=ON). A peer
is a program with the options of llama-bench (llama.cpp's, ik_llama.cpp's), with more flags behind it where it wants them
('ik=PATH -rtr 1'). Nothing is fetched or built. A peer that refuses a file is told so and left out of the ratios.

Processor time is that of all threads. rowmax says its own; of a peer it is what a run with one repetition more takes longer,
so that loading and warming up do not count. On a machine that others use as well, only that column compares.

`table` prints medians, spreads, ratios (above 1: rowmax is faster), and how near rowmax comes to the limits: bytes of weights
read in generation, two operations a weight and token in prompts. `picture` draws both under the machine's roofs.
"""
import argparse
import html
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time


class Refused(Exception):
    pass


def finished(command):
    """(standard output, processor seconds) of a program that ended well; Refused with its last words otherwise."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=errors, text=True)
        except OSError as error:
            raise SystemExit(f"{command[0]}: {error.strerror}")
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        if child.returncode != 0:
            lines = [line for line in errors.read().splitlines() if line.strip()]
            raise Refused(f"{lines[-1] if lines else 'no message'} (exit status {child.returncode})")
        return out.read(), usage.ru_utime + usage.ru_stime


class Rowmax:
    name = "rowmax"

    def __init__(self, build):
        self.program = os.path.join(build, "apps/cli/rowmax")
        self.facts = {}

    def measure(self, model, test, n, depth, threads):
        sizes = ["-p", n, "-n", 0] if test == "pp" else ["-p", 0, "-n", n]
        out, _ = finished([self.program, "bench", "-m", model, *sizes, "-d", depth, "-t", threads, "-r", 1, "--json"])
        got = json.loads(out)
        self.facts = {key: got[key] for key in ("cpu", "isa", "kernels", "bytes_per_token", "weights_per_token")}
        row = got["results"][0]
        return row["samples"][0], n / row["processor_seconds"][0]


class Peer:
    def __init__(self, text):
        self.name, _, command = text.partition("=")
        self.command = shlex.split(command)
        if not self.name or not self.command:
            raise SystemExit(f"--peer {text}: expected NAME=PROGRAM, with flags behind it or not")
        self.short = {}  # processor seconds of a run with one repetition
        self.facts = {}

    def bench(self, model, test, n, depth, threads, repetitions):
        sizes = ["-p", n, "-n", 0] if test == "pp" else ["-p", 0, "-n", n]
        # llama.cpp has -d; ik_llama.cpp measures generation behind a prompt with -gp.
        ways = [[*sizes]] if depth == 0 else [[*sizes, "-d", depth]]
        if depth > 0 and test == "tg":
            ways.append(["-p", 0, "-n", 0, "-gp", f"{depth},{n}"])
        for way in ways:
            try:
                out, processor = finished([self.command[0], "-m", model, *way, "-t", threads, "-r", repetitions, "-o", "json",
                                           *self.command[1:]])
                return json.loads(out)[-1], processor
            except Refused as error:
                refused = error
        raise refused

    def measure(self, model, test, n, depth, threads):
        case = (model, test, n, depth, threads)
        if case not in self.short:
            self.short[case] = self.bench(*case, 1)[1]
        got, processor = self.bench(*case, 2)
        spent = processor - self.short[case]
        return got["avg_ts"], n / spent if spent > 0 else None


def numbers(text):
    return [int(part) for part in text.split(",")]


def cmd_run(args):
    engines = [Rowmax(args.build), *(Peer(text) for text in args.peer)]
    limits_program = os.path.join(args.build, "bench/rowmax_machine_limits")
    tests = [("pp", n) for n in numbers(args.prompts) if n] + [("tg", n) for n in numbers(args.generations) if n]
    cases = [(model, threads, test, n, depth) for model in args.model for threads in numbers(args.threads)
             for depth in numbers(args.depths) for test, n in tests]
    refused = set()
    for index, (model, threads, test, n, depth) in enumerate(cases):
        limits = json.loads(finished([limits_program, threads])[0])["limits"][0]
        for number in range(args.rounds):
            for engine in engines:
                if (engine.name, model) in refused:
                    continue
                case = {"model": os.path.basename(model), "test": test, "n": n, "depth": depth, "threads": threads}
                if sys.stderr.isatty():
                    print(f"\r\x1b[K{index + 1} of {len(cases)}: {case['model']} {test}{n}@{depth}, {threads} threads, round "
                          f"{number + 1}, {engine.name}", end="", file=sys.stderr, flush=True)
                record = {**case, "engine": engine.name, "date": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[0]}
                try:
                    wall, processor = engine.measure(model, test, n, depth, threads)
                    record |= {"tps": wall, "processor_tps": processor, "limits": limits, **engine.facts}
                except Refused as error:
                    refused.add((engine.name, model))
                    record["refused"] = str(error)
                    print(f"\n{engine.name}: {case['model']}: {error}", file=sys.stderr)
                with open(args.samples, "a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def middle(values):
    values = sorted(v for v in values if v is not None)
    return (statistics.median(values), values[0], values[-1]) if values else None


def summary(path):
    """A row for each case: what every engine reached, and how near rowmax came to the limits."""
    cases, refused = {}, {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            sample = json.loads(line)
            if "refused" in sample:
                refused.setdefault(sample["model"], {})[sample["engine"]] = sample["refused"]
                continue
            key = tuple(sample[k] for k in ("model", "test", "n", "depth", "threads"))
            cases.setdefault(key, {}).setdefault(sample["engine"], []).append(sample)
    rows = []
    for (model, test, n, depth, threads), engines in cases.items():
        row = {"model": model, "test": test, "n": n, "depth": depth, "threads": threads, "refused": refused.get(model, {}),
               "engines": {name: {"tps": middle(s["tps"] for s in samples),
                                  "processor_tps": middle(s["processor_tps"] for s in samples), "rounds": len(samples)}
                           for name, samples in engines.items()}}
        every = [s for samples in engines.values() for s in samples]
        row["read_gb_per_s"] = max(gb for s in every for gb in s["limits"]["read_gb_per_s"].values())
        peaks = {}
        for sample in every:
            for peak in sample["limits"]["peaks"]:
                name = peak["instruction"]
                peaks[name] = {**peak, "gops": max(peak["gops"], peaks.get(name, peak)["gops"])}
        row["peaks"] = list(peaks.values())
        if "rowmax" in engines:
            facts = engines["rowmax"][-1]
            row |= {key: facts[key] for key in ("cpu", "isa", "kernels", "bytes_per_token", "weights_per_token", "date")}
            speed = row["engines"]["rowmax"]["tps"][0]
            row["gb_per_s"] = speed * row["bytes_per_token"] / 1e9 if test == "tg" else None
            row["gops"] = 2 * speed * row["weights_per_token"] / 1e9
        rows.append(row)
    return rows


def cmd_table(args):
    rows = summary(args.samples)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    number = lambda v: "-" if v is None else f"{v:.3g}" if v < 1000 else f"{v:.0f}"
    shown = lambda m: "-" if m is None else f"{number(m[0])} ({number(m[1])} - {number(m[2])})"
    if rows:
        print(f"{rows[0].get('cpu', '')}, {', '.join(sorted({row.get('date', '') for row in rows}))}\n")
    print("| model | test | threads | engine | tok/s (smallest - largest) | tok per processor s | rowmax / peer | the same, "
          "processor time | rowmax of the limit |\n|---|---|---:|---|---:|---:|---:|---:|---|")
    for row in rows:
        ours = row["engines"].get("rowmax")
        for name, engine in row["engines"].items():
            ratio = lambda key: "" if name == "rowmax" or not ours or not ours[key] or not engine[key] \
                else f"{ours[key][0] / engine[key][0]:.2f}"
            limit = ""
            if name == "rowmax" and row["gb_per_s"]:
                limit = f"{row['gb_per_s']:.1f} of {row['read_gb_per_s']:.1f} GB/s"
            elif name == "rowmax":
                best = max((p for p in row["peaks"] if p["integer"]), key=lambda p: p["gops"], default=None)
                limit = f"{row['gops']:.0f}" + (f" of {best['gops']:.0f} GOPS ({best['instruction']})" if best else " GOPS")
            test = f"{row['test']}{row['n']}" + (f"@{row['depth']}" if row["depth"] else "")
            print(f"| {row['model']} | {test} | {row['threads']} | {name} | {shown(engine['tps'])} | "
                  f"{number(engine['processor_tps'] and engine['processor_tps'][0])} | {ratio('tps')} | {ratio('processor_tps')} | "
                  f"{limit} |")
        for name, words in row["refused"].items():
            if name not in row["engines"]:
                print(f"| {row['model']} | {row['test']}{row['n']} | {row['threads']} | {name} | refused: {words} | | | | |")


COLOURS = ["#c0392b", "#2c6fbb", "#2e8b57", "#8e5ea2", "#b8860b"]


def cmd_picture(args):
    """Operations a byte of weights against operations a second, both by powers of ten, under the roofs."""
    rows = [row for row in summary(args.samples) if row["threads"] == args.threads and "gops" in row]
    if not rows:
        raise SystemExit(f"{args.samples}: nothing of rowmax with {args.threads} threads")
    points = []
    for row in rows:
        tokens = row["n"] if row["test"] == "pp" else 1
        operations = 2 * row["weights_per_token"]
        for name, engine in row["engines"].items():
            points.append((name, row, operations * tokens / row["bytes_per_token"], engine["tps"][0] * operations / 1e9))
    bandwidth = max(row["read_gb_per_s"] for row in rows)
    peaks = {p["instruction"]: p["gops"] for row in rows for p in row["peaks"]}
    top = max([*peaks.values(), *(y for *_, y in points)]) * 2
    left, right = min(x for *_, x, _ in points) / 2, max(x for *_, x, _ in points) * 2
    low = min(y for *_, y in points) / 3
    width, height, margin = 860, 520, 70
    px = lambda x: margin + (width - 2 * margin) * math.log(x / left) / math.log(right / left)
    py = lambda y: height - margin - (height - 2 * margin) * math.log(max(y, low) / low) / math.log(top / low)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    text = lambda x, y, words, more="": svg.append(f'<text x="{x:.1f}" y="{y:.1f}" {more}>{html.escape(words)}</text>')
    line = lambda a, b, c, d, more: svg.append(f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" {more}/>')
    for power in range(-3, 9):
        for value, is_x in ((10.0 ** power, True), (10.0 ** power, False)):
            if is_x and left <= value <= right:
                line(px(value), margin, px(value), height - margin, 'stroke="#ddd"')
                text(px(value), height - margin + 16, f"{value:g}", 'text-anchor="middle"')
            if not is_x and low <= value <= top:
                line(margin, py(value), width - margin, py(value), 'stroke="#ddd"')
                text(margin - 6, py(value) + 4, f"{value:g}", 'text-anchor="end"')
    highest = max(peaks.values(), default=top)
    knee = highest / bandwidth
    start, end = max(left, low / bandwidth), min(knee, right)  # prompts alone lie beyond it
    if start < end:
        line(px(start), py(bandwidth * start), px(end), py(bandwidth * end), 'stroke="#333" stroke-width="2"')
        text(px(start) + 6, py(bandwidth * start) - 8, f"{bandwidth:.1f} GB/s")
    for name, gops in peaks.items():
        start = max(left, min(gops / bandwidth, right))
        line(px(start), py(gops), width - margin, py(gops), 'stroke="#333" stroke-dasharray="5 3"')
        text(width - margin, py(gops) - 4, f"{name}: {gops:.0f}", 'text-anchor="end" font-size="10"')
    names = list(dict.fromkeys(name for name, *_ in points))
    for name, row, x, y in points:
        label = f"{row['model']} {row['test']}{row['n']}: {name}, {y:.1f} GOPS"
        svg.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="{5 if name == "rowmax" else 4}" '
                   f'fill="{COLOURS[names.index(name) % len(COLOURS)]}" fill-opacity="0.8"><title>{html.escape(label)}</title></circle>')
    for index, name in enumerate(names):
        svg.append(f'<circle cx="{margin + 12 + 110 * index}" cy="24" r="5" fill="{COLOURS[index % len(COLOURS)]}"/>')
        text(margin + 22 + 110 * index, 28, name)
    text(width / 2, height - 18, "operations a byte of weights", 'text-anchor="middle"')
    text(20, height / 2, "GOPS", f'text-anchor="middle" transform="rotate(-90 20 {height / 2})"')
    text(width - margin, 28, f"{rows[0]['cpu']}, {args.threads} threads, {rows[0]['date']}", 'text-anchor="end"')
    svg.append("</svg>")
    with open(args.out, "w", encoding="utf-8") as file:
        file.write("\n".join(svg) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, command in (("run", cmd_run), ("table", cmd_table), ("picture", cmd_picture)):
        sub = commands.add_parser(name)
        sub.set_defaults(command=command)
        sub.add_argument("--samples", required=True)
        if name == "run":
            sub.add_argument("--build", required=True)
            sub.add_argument("--model", action="append", required=True)
            sub.add_argument("--peer", action="append", default=[])
            sub.add_argument("-t", "--threads", default="1")
            sub.add_argument("-p", "--prompts", default="512")
            sub.add_argument("-n", "--generations", default="64")
            sub.add_argument("-d", "--depths", default="0")
            sub.add_argument("--rounds", type=int, default=3)
        elif name == "table":
            sub.add_argument("--json", action="store_true")
        else:
            sub.add_argument("-t", "--threads", type=int, default=1)
            sub.add_argument("--out", required=True)
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
