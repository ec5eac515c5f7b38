#!/usr/bin/env python3
"""Many sequences at once: rowmax beside other engines on the same model files, prompts and generation.

    many.py --build BUILD --model FILE.gguf... [--peer NAME='LLAMA_BATCHED_BENCH FLAGS']... [-s 1,8,64] [-p 128] [-n 32] [-t 1]
            [--rounds 3]

Every engine in turn in each round: -p tokens of each sequence in one batch, then -n steps with a token of each behind them.
Tokens a second are those of all sequences. A peer is a program with the options of llama-batched-bench (llama.cpp's,
ik_llama.cpp's), with more flags behind it where it wants them. Processor time is that of all threads: rowmax says its own; of a
peer it is what a run with the prompt takes longer than one without, and one with both than one with the prompt alone. On a
machine that others use as well, only that column compares. Nothing is fetched or built."""
import argparse
import json
import os
import tempfile
import time

from speed import Peer, Refused, Rowmax, finished, middle, numbers


class Many(Rowmax):
    def measure(self, model, sequences, prompt, steps, threads):
        """{"pp": (tokens a second, tokens a processor second), "tg": ...}"""
        found = {}
        for test, flags, n in (("pp", ["-p", prompt, "-n", 0], prompt), ("tg", ["-p", 0, "-n", steps, "-d", prompt], steps)):
            out, _ = finished([self.program, "bench", "-m", model, *flags, "-s", sequences, "-t", threads, "-r", 1, "--json"])
            got = json.loads(out)
            self.facts = {key: got[key] for key in ("cpu", "kernels")}
            row = got["results"][0]
            found[test] = row["samples"][0], n * sequences / row["processor_seconds"][0]
        return found


COLUMNS = ["PP", "TG", "B", "N_KV", "T_PP", "S_PP", "T_TG", "S_TG", "T", "S"]


class ManyPeer(Peer):
    def bench(self, model, sequences, prompt, steps, threads):
        context = sequences * ((prompt + steps + 255) // 256 * 256)
        # ik_llama.cpp's writes its table among its messages, and a llama.log where it runs.
        out, processor = finished(["sh", "-c", 'cd "$0" && exec "$@" 2>&1', tempfile.gettempdir(), os.path.abspath(self.command[0]),
                                   "-m", os.path.abspath(model), "-npl", sequences, "-npp", prompt, "-ntg", steps, "-c", context,
                                   "-t", threads, *self.command[1:]])
        rows = [row for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()
                                if line.startswith("|")) if len(row) == len(COLUMNS) and row[0].isdigit()]
        if not rows:
            raise Refused(f"measured nothing with {sequences} sequences")
        return dict(zip(COLUMNS, map(float, rows[-1]))), processor

    def measure(self, model, sequences, prompt, steps, threads):
        _, loading = self.bench(model, sequences, 1, 1, threads)
        _, one_step = self.bench(model, sequences, prompt, 1, threads)
        got, both = self.bench(model, sequences, prompt, 1 + steps, threads)
        speed = lambda n, seconds: n * sequences / seconds if seconds > 0 else None
        return {"pp": (got["S_PP"], speed(prompt - 1, one_step - loading)), "tg": (got["S_TG"], speed(steps, both - one_step))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("-s", "--sequences", default="1,8,64")
    parser.add_argument("-p", "--prompt", type=int, default=128)
    parser.add_argument("-n", "--steps", type=int, default=32)
    parser.add_argument("-t", "--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    engines = [Many(args.build), *(ManyPeer(text) for text in args.peer)]
    header = True
    for model in args.model:
        for sequences in numbers(args.sequences):
            found, refused = {}, {}
            for _ in range(args.rounds):
                for engine in engines:
                    try:
                        for test, pair in engine.measure(model, sequences, args.prompt, args.steps, args.threads).items():
                            found.setdefault(test, {}).setdefault(engine.name, []).append(pair)
                    except Refused as error:
                        refused[engine.name] = str(error)
            if header:
                print(f"{engines[0].facts['cpu']}, kernels {engines[0].facts['kernels']}, {args.threads} threads, "
                      f"{time.strftime('%Y-%m-%d')}\n\n| model | sequences | test | engine | tok/s (smallest - largest) | tok per "
                      "processor s | rowmax / peer | the same, processor time |\n|---|---:|---|---|---:|---:|---:|---:|")
                header = False
            for test, by_engine in found.items():
                ours = [middle(v[i] for v in by_engine.get("rowmax", [])) for i in (0, 1)]
                for name, pairs in by_engine.items():
                    wall, processor = (middle(pair[i] for pair in pairs) for i in (0, 1))
                    ratio = lambda own, other: "" if name == "rowmax" or not own or not other else f"{own[0] / other[0]:.2f}"
                    spent = f"{processor[0]:.4g}" if processor else "-"
                    size = args.prompt if test == "pp" else args.steps
                    print(f"| {os.path.basename(model)} | {sequences} | {test}{size} | {name} | {wall[0]:.4g} ({wall[1]:.4g} - "
                          f"{wall[2]:.4g}) | {spent} | {ratio(ours[0], wall)} | {ratio(ours[1], processor)} |", flush=True)
            for name, words in refused.items():
                print(f"| {os.path.basename(model)} | {sequences} | | {name} | refused: {words} | | | |")


if __name__ == "__main__":
    main()
