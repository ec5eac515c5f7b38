"""--sandbox: the same answers as without it, by threads that all have given up their rights."""
import json
import signal
import sys
import unittest
from pathlib import Path

import apis_test
import cache_disk_test
import constraint_test
import routes_test
from server import PLAIN_MODEL, Server, http_head, together

BODY = {"prompt": "Once upon a time", "max_tokens": 12, "seed": 7, "temperature": 0.8}


def setUpModule():
    server = Server("--sandbox", wait=False)
    line = server.process.stdout.readline()
    code, log = server.stop(), server.log_text()
    server.forget()
    if not line and code == 4 and "a sandbox needs" in log:
        print("skipped: " + log.splitlines()[-1], file=sys.stderr)
        sys.exit(77)


# What the other files of this folder ask of plain servers.
class Completions(routes_test.Completions):
    FLAGS = ("--sandbox",)


class Chat(routes_test.Chat):
    FLAGS = (*routes_test.Chat.FLAGS, "--sandbox")


class Others(routes_test.Others):
    FLAGS = (*routes_test.Others.FLAGS, "--sandbox")


class Apis(apis_test.Apis):
    FLAGS = (*apis_test.Apis.FLAGS, "--sandbox")


class Constraints(constraint_test.Constraints):
    FLAGS = (*constraint_test.Constraints.FLAGS, "--sandbox")


class CacheOnADisk(cache_disk_test.Restart):
    """Its folder stays open, where Landlock can close all others."""
    def server(self, *flags, **more):
        try:
            return super().server("--sandbox", *flags, **more)
        except AssertionError as problem:
            if "needs Landlock" not in str(problem):
                raise
            self.skipTest("no Landlock")


class Sandbox(unittest.TestCase):
    def states(self, process):
        """Of each thread: whether it may gain rights, how its system calls are filtered."""
        found = {}
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            found[status.parent.name] = (fields["NoNewPrivs"], fields["Seccomp"])
        return found

    def test_all_threads(self):
        with Server("--sandbox", "--threads", 3) as server:
            ready = next(event for event in server.log_events() if event["event"] == "ready")
            self.assertLessEqual({"no_new_programs", "no_new_connections", "no_new_code", "no_files"}, set(ready["sandbox"]["enforced"]))
            self.assertGreaterEqual(ready["sandbox"]["landlock"], 0)
            server.post("/v1/completions", BODY)
            states = self.states(server.process)
            self.assertGreater(len(states), 4)
            self.assertEqual(set(states.values()), {("1", "2")}, states)
        with Server() as server:
            ready = next(event for event in server.log_events() if event["event"] == "ready")
            self.assertIsNone(ready["sandbox"])
            self.assertEqual(set(self.states(server.process).values()), {("0", "0")})

    def test_the_same_answers(self):
        """Sixteen at once, a client that goes, more threads than one, and the end."""
        bodies = [{**BODY, "seed": seed, "n": 2} for seed in range(16)]
        def ask(*flags):
            with Server("--parallel", 16, *flags) as server:
                long = json.dumps({**BODY, "max_tokens": 4000, "ignore_eos": True, "stream": True}).encode()
                server.raw(http_head("/v1/completions", length=len(long)) + long[:-5], shut=True)
                answers = together([lambda body=body: server.post("/v1/completions", body) for body in bodies])
                self.assertEqual([a.status for a in answers], [200] * 16)
                self.assertEqual(server.stop(), 0)
                self.assertIn("stopped", server.log_text())
                return [a.json["choices"] for a in answers]
        self.assertEqual(ask("--sandbox", "--threads", 2), ask())

    def test_a_model_in_a_file(self):
        """Which stays mapped, and is seen to be whole at each step."""
        body = {"prompt": [1, 2, 3, 4], "max_tokens": 8}
        answers = []
        for flags in ((), ("--sandbox",)):
            with Server(*flags, model=PLAIN_MODEL, template=False) as server:
                answers.append(server.post("/v1/completions", body))
        self.assertEqual([a.status for a in answers], [200, 200], answers[1].body[:300])
        self.assertEqual(answers[0].json["choices"], answers[1].json["choices"])

    def test_unix_socket(self):
        """The way in is removed at the end where Landlock lets nothing else be."""
        with Server() as other:
            path = Path(other.home.name) / "s.sock"
            with Server("--sandbox", "--unix", path) as server:
                ready = next(event for event in server.log_events() if event["event"] == "ready")
                self.assertTrue(path.exists())
                self.assertEqual(server.stop(signal.SIGINT), 0)
                self.assertEqual(path.exists(), ready["sandbox"]["landlock"] == 0)


if __name__ == "__main__":
    unittest.main()
