"""Two hundred requests of twenty kinds have the same bytes alone, in crowds, in other orders, beside clients that hang up, and behind
a server that was killed. bench/server/replay.py does it for longer and with other models."""
import collections
import json
import signal
import tempfile
import threading
import time
import unittest

import recorded
from server import Server

ALL = recorded.requests()


def served(*flags):
    return Server(*recorded.FLAGS, *flags, template=False)


class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with served("-t", 1, "--parallel", 1) as server:
            cls.truth = recorded.Asker(server.host, server.port).replay(ALL)

    def check(self, given, at_least=len(ALL)):
        self.assertGreaterEqual(len(given), at_least)
        self.assertEqual(recorded.differing(ALL, self.truth, given)[:3], [])

    def test_they_are_of_many_kinds(self):
        self.assertEqual((len(ALL), len({(path, body) for _, path, body in ALL})), (200, 200))
        found = collections.Counter((name.rsplit(" ", 1)[0], json.loads(self.truth[i])[0]) for i, (name, _, _) in enumerate(ALL))
        self.assertEqual(found, {**{(kind, 200): 10 for kind in recorded.KINDS if kind != "refused"}, ("refused", 400): 9, ("refused", 404): 1})
        self.assertGreater(sum(b"tool_calls" in text or b"tool_use" in text or b"function_call" in text for text in self.truth.values()), 12)
        self.assertGreater(sum(len(text) for text in self.truth.values()), 300_000)

    def test_in_crowds(self):
        with served("-t", 2, "--parallel", 16, "--ngram-drafts", "--kv-budget", 4) as server:
            asker = recorded.Asker(server.host, server.port)
            self.check(asker.replay(ALL, 64, recorded.shuffled(200, 1)))
            self.check(asker.replay(ALL, 16, recorded.shuffled(200, 2), hang_up=lambda number: number % 4 == 0), at_least=150)
            self.check(asker.replay(ALL, 4, recorded.shuffled(200, 3)))
            self.assertGreater(server.metric("draft_tokens_total"), 20)

    def test_behind_a_killed_server(self):
        with tempfile.TemporaryDirectory() as parent:
            flags = ("--parallel", 8, "--cache-dir", parent + "/pages", "--cache-disk", 64)
            with served(*flags) as server:
                asker = recorded.Asker(server.host, server.port)
                self.check(asker.replay(ALL, 16, recorded.shuffled(200, 4)[:100]), at_least=100)
                crowd = threading.Thread(target=lambda: self.assertRaises(AssertionError, asker.replay, ALL * 50, 16, recorded.shuffled(10_000, 5)))
                crowd.start()
                time.sleep(0.3)
                server.stop(signal.SIGKILL)
                crowd.join()
            with served(*flags) as server:
                self.check(recorded.Asker(server.host, server.port).replay(ALL, 16, recorded.shuffled(200, 6)))
                self.assertGreater(server.metric("disk_tokens_total"), 64)


if __name__ == "__main__":
    unittest.main()
