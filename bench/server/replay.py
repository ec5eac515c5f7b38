#!/usr/bin/env python3
"""The two hundred requests of tests/server/recorded.py, replayed with any model for as long as wanted; every byte is compared.

    replay.py PROGRAM [-m stories] [--rounds 10] [--at-once 4,16,64] [--flags ...]
    replay.py PROGRAM --save FILE            what they were given, alone
    replay.py PROGRAM --against FILE         ... of another version, other flags, another machine

First all of them alone (one thread, one sequence, in their order). Then rounds, each with a server of its own: other orders, so many at
once, other threads and widths, with and without guesses, a third of the clients hanging up, and in every second round a
folder of cached prefixes, in which the server is killed (SIGKILL) with requests in flight and started again. Exits with 1 where an
answer differs.
"""
import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "server"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("-m", "--model", default="stories")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--at-once", default="4,16,64")
    parser.add_argument("--save")
    parser.add_argument("--against")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="more flags of rowmax serve; last")
    args = parser.parse_args()
    sys.argv[1:] = [args.program, "none"]  # what the tests' helpers read
    import recorded
    import server as helpers
    helpers.PROGRAM = args.program
    requests = recorded.requests()

    def served(*flags):
        return helpers.Server(*recorded.FLAGS, *flags, *args.flags, model=args.model, template=False)

    def same(name, given, begun, least):
        found = recorded.differing(requests, truth, given)
        print(f"{name}: {len(given)} answers in {time.time() - begun:.1f} s, {len(found)} differ", flush=True)
        for sentence in found[:5]:
            print("   ", sentence[:500])
        return bool(found) or len(given) < least

    begun = time.time()
    with served("-t", 1, "--parallel", 1) as server:
        truth = recorded.Asker(server.host, server.port, 3600).replay(requests)
    print(f"alone: {len(truth)} answers, {sum(map(len, truth.values()))} bytes in {time.time() - begun:.1f} s", flush=True)
    if args.save:
        Path(args.save).write_text(json.dumps({requests[i][0]: text.decode() for i, text in sorted(truth.items())}, indent=0))
        return 0
    if args.against:
        saved = json.loads(Path(args.against).read_text())
        given, truth = truth, {i: saved[name].encode() for i, (name, _, _) in enumerate(requests)}
        return int(same("against " + args.against, given, begun, 200))
    failed, total = False, 0
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as parent:
            flags = ["-t", 1 + number % 2, "--parallel", (2, 8, 64)[number % 3], *(["--ngram-drafts"] if number % 3 == 1 else [])]
            if number % 2:
                flags += ["--cache-dir", parent + "/pages", "--cache-disk", 256]
                with served(*flags) as server:
                    asker = recorded.Asker(server.host, server.port, 3600)

                    def until_it_dies():
                        try:
                            asker.replay(requests * 100, 16, recorded.shuffled(20_000, number))
                        except AssertionError:  # its connections end when it is killed
                            pass

                    crowd = threading.Thread(target=until_it_dies)
                    crowd.start()
                    time.sleep(0.2 + number % 7 / 3)
                    server.stop(9)
                    crowd.join()
            with served(*flags) as server:
                asker = recorded.Asker(server.host, server.port, 3600)
                for at_once in map(int, args.at_once.split(",")):
                    hangs = number % 3 == 2
                    name = f"round {number + 1}, {at_once} at once ({' '.join(map(str, flags[:5]))}{', a third hang up' if hangs else ''})"
                    begun, order = time.time(), recorded.shuffled(200, 1000 * number + at_once)
                    given = asker.replay(requests, at_once, order, hang_up=lambda i: hangs and i % 3 == 0)
                    total += len(given)
                    failed = same(name, given, begun, 133 if hangs else 200) or failed
                if number % 2:
                    print(f"    {server.metric('disk_tokens_total'):.0f} tokens of prompts came from the disk")
    print(f"{total} answers compared")
    return int(failed)


sys.exit(main())
