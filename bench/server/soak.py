#!/usr/bin/env python3
"""`rowmax serve` under load for long, and killed under load. Standard library alone.

    soak.py idle PROGRAM [-m stories] [--minutes 10] [--idle 1000] [--busy 64]
    soak.py kill PROGRAM [-m stories] [--times 5] [--minutes 0] [--busy 16] [--seed 0]

idle: --idle clients that stream a token now and then and hold their connections in between, and --busy ones that stream all the time
(a third of them hang up in the middle). Every ten seconds a line with requests, failures, memory, descriptors and threads. Fails
where an answer is not the one that the same request had before, a client is refused, the server's memory grows by more than an
eighth (and 16 MiB) between the second fifth of the time and its end, or descriptors remain when all have gone.

kill: SIGKILL at a random moment while --busy clients stream, all with one folder of cached prefixes (--cache-dir, half of the prompts
go on from what was kept); each client must be told within seconds. Then a new server at the same port must give the answers of the one
before, whole ones and what the killed one had streamed, byte for byte. --times kills at least, and for --minutes.
"""
import argparse
import asyncio
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


class Server:
    all = []

    def __init__(self, args, port=0):
        self.process = subprocess.Popen(
            [args.program, "serve", "-m", args.model, "--port", str(port), "--chat-template", TEMPLATE, "--parallel", "64", "--queue",
             "2000", "-q", *args.flags], stdout=subprocess.PIPE, preexec_fn=lambda: raise_limit())
        Server.all.append(self.process)
        line = self.process.stdout.readline().decode()
        if not line.startswith("http://"):
            raise SystemExit(f"the server does not start: {line}")
        self.port = int(line.rsplit(":", 1)[1])

    def status(self, name):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(rf"^{name}:\s+(\d+)", file.read(), re.M)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code != 0:
            raise SystemExit(f"exit code {code} after SIGTERM")


def raise_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def request_bytes(number, n_predict, long=False):
    content = f"{LONG if long else ''}a story about number {number}"
    body = json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": n_predict,
                       "stream": True, "temperature": 0}).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
            + str(len(body)).encode() + b"\r\n\r\n" + body)


class Client:
    """A connection that is kept, as SDKs keep theirs."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    async def ask(self, number, n_predict, give_up_after=None, long=False, parts=None):
        """The text of the stream; None where it hung up itself after some events. parts: gets each piece as it comes."""
        if self.writer is None:
            await self.connect()
        self.writer.write(request_bytes(number, n_predict, long))
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head.split(b"\r\n")[0].decode())
        text, events = "", 0
        while True:  # chunks of a stream
            size = int((await self.reader.readuntil(b"\r\n")).strip() or b"0", 16)
            data = await self.reader.readexactly(size + 2)
            if size == 0:
                return text
            for line in data.split(b"\n"):
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise OSError(event["error"]["message"])
                    for choice in event["choices"]:
                        piece = choice["delta"].get("content") or ""
                        text += piece
                        if parts is not None:
                            parts.append(piece)
            events += 1
            if give_up_after is not None and events >= give_up_after:
                self.close()
                return None


class Tally:
    def __init__(self):
        self.answers, self.requests, self.hung_up, self.failures = {}, 0, 0, []

    def add(self, key, text):
        self.requests += 1
        if text is None:
            self.hung_up += 1
        elif self.answers.setdefault(key, text) != text:
            self.failures.append(f"{key}: {text!r} after {self.answers[key]!r}")


async def idle_client(port, number, tally, end):
    client = Client(port)
    # Connections are closed by the server after 75 seconds without a request.
    while time.time() < end:
        try:
            tally.add((number % 50, 1), await client.ask(number % 50, 1))
        except (OSError, asyncio.IncompleteReadError) as error:
            tally.failures.append(f"idle client: {error!r}")
            client.close()
        await asyncio.sleep(min(20 + number % 30, max(0, end - time.time())))
    client.close()


async def busy_client(port, number, tally, end):
    client = Client(port)
    turn = 0
    while time.time() < end:
        turn += 1
        key = ((number + turn) % 40 + 100, 20 + turn % 3 * 30)
        try:
            tally.add(key, await client.ask(*key, give_up_after=3 + turn % 5 if number % 3 == 0 else None))
        except (OSError, asyncio.IncompleteReadError) as error:
            tally.failures.append(f"busy client: {error!r}")
            client.close()
    client.close()


async def watch(server, tally, begun, end):
    rows = []
    while time.time() < end:
        await asyncio.sleep(min(10, max(0.1, end - time.time())))
        rows.append((time.time() - begun, server.status("VmRSS") / 1024))
        print(f"{rows[-1][0]:6.0f} s  {tally.requests:7d} requests  {tally.hung_up:6d} hung up  {len(tally.failures):3d} failures  "
              f"{rows[-1][1]:8.1f} MiB  {server.descriptors():5d} descriptors  {server.status('Threads'):3d} threads", flush=True)
    return rows


async def idle(args):
    server = Server(args)
    before = server.descriptors()
    tally, begun = Tally(), time.time()
    end = begun + 60 * args.minutes
    clients = [idle_client(server.port, i, tally, end) for i in range(args.idle)] + [busy_client(server.port, i, tally, end) for i in range(args.busy)]
    rows, *_ = await asyncio.gather(watch(server, tally, begun, end), *clients)
    for _ in range(100):
        if server.descriptors() <= before:
            break
        await asyncio.sleep(0.1)
    problems = tally.failures[:5]
    if server.descriptors() > before:
        problems.append(f"{server.descriptors()} descriptors when all have gone, {before} before")
    settled = [memory for seconds, memory in rows if seconds >= 0.4 * 60 * args.minutes]
    early = max([memory for seconds, memory in rows if seconds < 0.4 * 60 * args.minutes] or settled)
    if settled[-1] > early * 1.125 + 16:
        problems.append(f"memory grew from {early:.1f} to {settled[-1]:.1f} MiB")
    server.stop()
    print(f"{tally.requests} requests, {len(tally.answers)} different ones, {tally.hung_up} hung up, {len(tally.failures)} failures, memory "
          f"{early:.1f} to {settled[-1]:.1f} MiB")
    return problems


LONG = "Once there was a town. " + " ".join(f"In house {i} lived a cat that counted to {i * 7 % 100}." for i in range(12))


async def until_it_dies(client, number, received):
    """Asks until the connection ends; `received` has what each request had been given."""
    turn = 0
    while True:
        turn += 1
        key = (number + turn) % 60
        parts = []
        received.append((key, parts))
        await client.ask(key, 60 + key % 3 * 40, long=key % 2, parts=parts)


async def check_answers(port, keys, reference, problems, when):
    """Whole answers of some requests; the first ones are the truth."""
    for key in keys:
        probe = Client(port)
        text = await probe.ask(key, 60 + key % 3 * 40, long=key % 2)
        probe.close()
        if reference.setdefault(key, text) != text:
            problems.append(f"number {key} {when}: {text!r}, before {reference[key]!r}")


async def kill_once(args, server, rng, reference, problems, number):
    clients, received = [Client(server.port) for _ in range(args.busy)], []
    tasks = [asyncio.create_task(until_it_dies(client, rng.randrange(1000), received)) for client in clients]
    await asyncio.sleep(rng.uniform(0.02, 3))
    server.process.kill()
    killed = time.time()
    _, waiting = await asyncio.wait(tasks, timeout=10)
    for task in tasks:
        if task.done() and not isinstance(task.exception(), (OSError, asyncio.IncompleteReadError)):
            problems.append(f"a client ended with {task.exception()!r}")
    if waiting:
        problems.append(f"{len(waiting)} clients still wait ten seconds after the kill")
    for task in waiting:
        task.cancel()
    for client in clients:
        client.close()
    server.process.wait()
    for key, parts in received:
        if not reference[key].startswith("".join(parts)):
            problems.append(f"number {key} before kill {number}: {''.join(parts)!r} is no beginning of {reference[key]!r}")
    return len(received), time.time() - killed


async def kill(args):
    problems, reference, rng = [], {}, random.Random(args.seed)
    plain = Server(args)
    await check_answers(plain.port, range(60), reference, problems, "at first")
    plain.stop()
    begun, kills, asked, slowest, port = time.time(), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as parent:
        args.flags = ["--cache-dir", parent + "/pages", "--cache-disk", "16", *args.flags]
        while kills < args.times or time.time() < begun + 60 * args.minutes:
            server = Server(args, port)
            port = server.port
            await check_answers(port, rng.sample(range(60), 6), reference, problems, f"after {kills} kills")
            kills += 1
            n, seconds = await kill_once(args, server, rng, reference, problems, kills)
            asked, slowest = asked + n, max(slowest, seconds)
            if kills % 10 == 0:
                print(f"{time.time() - begun:6.0f} s  {kills:4d} kills  {asked:7d} requests  {len(problems):3d} problems", flush=True)
        last = Server(args, port)
        await check_answers(port, range(60), reference, problems, "after the last kill")
        pages = len(os.listdir(parent + "/pages"))
        last.stop()
    print(f"{kills} kills in {time.time() - begun:.0f} s at port {port}: {asked} requests were compared as far as they came, 60 whole after each other; "
          f"clients were told within {slowest:.2f} s; {pages} pages are left; {len(problems)} problems")
    return problems[:10]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, busy in (("idle", 64), ("kill", 16)):
        command = commands.add_parser(name)
        command.add_argument("program")
        command.add_argument("-m", "--model", default="stories")
        command.add_argument("--busy", type=int, default=busy)
        command.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="more flags of rowmax serve; last")
    commands.choices["idle"].add_argument("--minutes", type=float, default=10)
    commands.choices["idle"].add_argument("--idle", type=int, default=1000)
    commands.choices["kill"].add_argument("--times", type=int, default=5)
    commands.choices["kill"].add_argument("--minutes", type=float, default=0)
    commands.choices["kill"].add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    raise_limit()
    try:
        problems = asyncio.run(idle(args) if args.command == "idle" else kill(args))
    finally:
        for process in Server.all:
            process.kill()
    for problem in problems:
        print("FAILED", problem)
    return 1 if problems else 0


sys.exit(main())
