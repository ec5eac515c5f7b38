#!/usr/bin/env python3
"""`rowmax serve` beside another engine's server on the same model files: tokens a second by clients, first tokens, turns.

    server.py run   --build BUILD --model FILE.gguf... --samples FILE [--peer NAME='COMMAND {model} {port} {threads} {slots} {context}']
                    [--isa avx2] [-t 2] [--load 1,4,16,64] [-p 32] [-n 32] [--turns 10] [--system 4096] [--seconds 170]
    server.py table --samples FILE [--json]

Both servers answer in turn, alone on the machine, each started anew for each part. Load: C clients at once, each asks for -n
tokens behind -p tokens of its own, until C or eight requests are answered, whichever is more; all are streams over HTTP, so that
the first token is timed. Turns: one conversation with a system prompt of --system tokens; every turn appends 60 tokens to all
that was said and asks for 16. Prompts are token ids, so both servers get the same ones. A peer is a command that starts a
server with /health and OpenAI's /v1/completions (bench/peers/llama_server.py starts that of the PyPI package xllamacpp). Processor
time is that of the server's threads. Nothing is fetched or built; what is not measured when --seconds are over is left out.

`table` prints medians of all samples and ratios; above 1: rowmax is faster.
"""
import argparse
import json
import os
import selectors
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TURN_TOKENS, TURN_ANSWER = 60, 16
TICKS = os.sysconf("SC_CLK_TCK")


class Stream:
    """One streamed completion, without a parser: a busy client would take the server's processor away."""

    def __init__(self, port, prompt, n_predict, extra=None):
        body = json.dumps({"model": "m", "prompt": prompt, "max_tokens": n_predict, "temperature": 0, "stream": True,
                           "ignore_eos": True, "stream_options": {"include_usage": True}, **(extra or {})}).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=170)
        self.started, self.first, self.ended, self.data = time.time(), None, None, b""
        self.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def read(self):
        """False at the end."""
        part = self.socket.recv(65536)
        self.data += part
        # rowmax begins with an event that says how it samples, before there is a token.
        if self.first is None and any(line.startswith(b"data: {") and b'"rowmax":' not in line
                                      for line in self.data.split(b"\n")[:-1]):
            self.first = time.time()
        if not part or b"data: [DONE]" in self.data[-200:]:
            self.ended = time.time()
            self.first = self.first or self.ended
            self.socket.close()
            return False
        return True

    def usage(self):
        for line in reversed(self.data.split(b"\n")):
            if line.startswith(b"data: {") and b'"usage":{' in line:
                return json.loads(line[6:])["usage"]
        raise SystemExit(f"no usage in {self.data[:300]!r} ... {self.data[-300:]!r}")

    def finish(self):
        while self.read():
            pass
        return self


class Server:
    def __init__(self, command):
        self.log = tempfile.TemporaryFile("w+")
        self.command = [str(c) for c in command]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def wait(self, port):
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        self.log.seek(0)
        raise RuntimeError(f"{self.command[0]} is not ready: {self.log.read()[-500:]}")

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def token_ids(number, n):
    """Ids that every vocabulary has, other ones for every number from the first on."""
    state, out = number * 2654435761 % 2**32, []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(300 + (state >> 8) % 400)
    return out


def load(server, port, clients, n_prompt, n_predict, first_number):
    total, begun, done, running = max(clients, 8), 0, [], selectors.DefaultSelector()
    processor, start = server.processor_seconds(), time.time()
    while len(done) < total:
        while begun < total and len(running.get_map()) < clients:
            stream = Stream(port, token_ids(first_number + begun, n_prompt), n_predict)
            running.register(stream.socket, selectors.EVENT_READ, stream)
            begun += 1
        for key, _ in running.select(170):
            descriptor, stream = key.fileobj, key.data
            if not stream.read():
                running.unregister(descriptor)
                done.append(stream)
    wall, processor = time.time() - start, server.processor_seconds() - processor
    tokens = sum(s.usage()["completion_tokens"] for s in done)
    firsts = sorted(s.first - s.started for s in done)
    return {"tokens_per_second": tokens / wall, "tokens": tokens, "seconds": wall, "processor_seconds": processor,
            "first_p50": firsts[len(firsts) // 2], "first_p99": firsts[min(len(firsts) - 1, int(0.99 * len(firsts)))]}


def turns(port, n_system, n_turn, deadline):
    said, rows = token_ids(7, n_system), []
    for turn in range(1, n_turn + 1):
        said += token_ids(1000 + turn, TURN_TOKENS)
        stream = Stream(port, said, TURN_ANSWER).finish()
        usage = stream.usage()
        rows.append({"turn": turn, "first": stream.first - stream.started, "seconds": stream.ended - stream.started,
                     "prompt_tokens": usage["prompt_tokens"],
                     "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens")})
        # What it answered, as any client would send it back: here ids of its own, the same for both servers.
        said += token_ids(2000 + turn, TURN_ANSWER)
        if time.time() > deadline:
            break
    return rows


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run(args):
    begun, rowmax = time.time(), os.path.join(args.build, "apps/cli/rowmax")
    engines = {"rowmax": shlex.quote(rowmax) + " serve -m {model} --port {port} -t {threads} --parallel {slots} -q"}
    for isa in args.isa:
        engines[f"rowmax, {isa}"] = engines["rowmax"] + f" --isa {isa}"
    for peer in args.peer:
        name, command = peer.split("=", 1)
        engines[name] = command
    widths = [int(w) for w in args.load.split(",") if w]

    def started(engine, model, slots, context):
        port = free_port()
        command = [word.format(model=model, port=port, threads=args.threads, slots=slots, context=context)
                   for word in shlex.split(engines[engine])]
        server = Server(command)
        try:
            server.wait(port)
        except RuntimeError:
            server.stop()
            raise
        Stream(port, token_ids(5, 8), 2).finish()  # what is set up at the first request
        return server, port

    def keep(**sample):
        with open(args.samples, "a") as file:
            file.write(json.dumps(sample) + "\n")
        print(json.dumps(sample)[:400], flush=True)

    for model in args.model:
        name = os.path.basename(model).removesuffix(".gguf")
        parts = [("load", width) for width in widths] + ([("turns", args.turns)] if args.turns else [])
        for part, amount in parts:
            for engine in engines:
                if time.time() - begun > args.seconds:
                    print(f"no time for {name} {part} {amount} of {engine}", flush=True)
                    continue
                each = args.prompt + args.predict + 8 if part == "load" else args.system + amount * (TURN_TOKENS + TURN_ANSWER) + 64
                slots = max(amount, 4) if part == "load" else 4
                try:
                    server, port = started(engine, model, slots, slots * ((each + 255) // 256 * 256))
                except RuntimeError as error:
                    keep(model=name, engine=engine, part=part, amount=amount, refused=str(error)[-300:])
                    continue
                try:
                    if part == "load":
                        keep(model=name, engine=engine, part=part, amount=amount,
                             **load(server, port, amount, args.prompt, args.predict, 10000 + int(time.time()) % 1000 * 100))
                    else:
                        before = server.processor_seconds()
                        rows = turns(port, args.system, amount, begun + args.seconds)
                        keep(model=name, engine=engine, part=part, amount=amount, rows=rows,
                             processor_seconds=server.processor_seconds() - before)
                finally:
                    server.stop()


def table(args):
    samples = [json.loads(line) for line in open(args.samples)]
    rows = {}

    def put(model, what, unit, engine, value, faster_is_more):
        rows.setdefault((model, what, unit, faster_is_more), {}).setdefault(engine, []).append(value)

    for s in samples:
        if "refused" in s:
            continue
        if s["part"] == "load":
            clients = f"{s['amount']} client" + ("s" if s["amount"] > 1 else "")
            put(s["model"], clients, "tokens/s", s["engine"], s["tokens_per_second"], True)
            put(s["model"], clients, "tokens/processor s", s["engine"], s["tokens"] / s["processor_seconds"], True)
            put(s["model"], clients, "first token, p50 ms", s["engine"], 1000 * s["first_p50"], False)
            put(s["model"], clients, "first token, p99 ms", s["engine"], 1000 * s["first_p99"], False)
        else:
            put(s["model"], "turn 1", "first token, ms", s["engine"], 1000 * s["rows"][0]["first"], False)
            later = [row["first"] for row in s["rows"][1:]]
            if later:
                put(s["model"], "turns 2 and on, median", "first token, ms", s["engine"], 1000 * statistics.median(later), False)
                put(s["model"], "turns 2 and on, median", "whole answer, ms", s["engine"],
                    1000 * statistics.median(row["seconds"] for row in s["rows"][1:]), False)
            put(s["model"], "all turns", "processor s", s["engine"], s["processor_seconds"], False)
    engines = list(dict.fromkeys(s["engine"] for s in samples))
    ours, peers = [e for e in engines if e.startswith("rowmax")], [e for e in engines if not e.startswith("rowmax")]
    found = []
    for (model, what, unit, more), values in rows.items():
        medians = {engine: statistics.median(v) for engine, v in values.items()}
        ratios = {}
        for our, peer in ((o, p) for o in ours for p in peers):
            if our in medians and peer in medians:
                ratios[f"{our} to {peer}"] = medians[our] / medians[peer] if more else medians[peer] / medians[our]
        found.append({"model": model, "what": what, "unit": unit, "medians": medians, "ratios": ratios,
                      "samples": max(len(v) for v in values.values())})
    if args.json:
        return print(json.dumps(found))
    pairs = [f"{o} to {p}" for o in ours for p in peers]
    print("| model | | | " + " | ".join(engines) + " | " + " | ".join(pairs) + " |")
    print("|---" * (3 + len(engines) + len(pairs)) + "|")
    for row in found:
        cells = [f"{row['medians'][e]:.4g}" if e in row["medians"] else "-" for e in engines]
        ratios = [f"{row['ratios'][p]:.2f}x" if p in row["ratios"] else "-" for p in pairs]
        print(f"| {row['model']} | {row['what']} | {row['unit']} | " + " | ".join(cells + ratios) + " |")
    for s in samples:
        if "refused" in s:
            print(f"\n{s['engine']} refuses {s['model']}: {s['refused']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--build", required=True)
    runner.add_argument("--model", required=True, nargs="+")
    runner.add_argument("--samples", required=True)
    runner.add_argument("--peer", action="append", default=[])
    runner.add_argument("--isa", action="append", default=[], help="rowmax with these instructions too, which a peer was built for")
    runner.add_argument("-t", "--threads", type=int, default=2)
    runner.add_argument("--load", default="1,4,16,64")
    runner.add_argument("-p", "--prompt", type=int, default=32)
    runner.add_argument("-n", "--predict", type=int, default=32)
    runner.add_argument("--turns", type=int, default=10)
    runner.add_argument("--system", type=int, default=4096)
    runner.add_argument("--seconds", type=float, default=170)
    tabler = commands.add_parser("table")
    tabler.add_argument("--samples", required=True)
    tabler.add_argument("--json", action="store_true")
    args = parser.parse_args()
    return run(args) if args.command == "run" else table(args)


sys.exit(main())
