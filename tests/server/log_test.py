"""A log that nobody reads: requests are answered all the same, and what was not written is counted."""
import json
import signal
import socket
import subprocess
import tempfile
import unittest

from server import PROGRAM, Server, environment, read_all

LONG_PATH = "/" + "a" * 4000


class UnreadServer(Server):
    """Its standard error is a pipe that is read when the test says so."""

    def __init__(self, *flags):
        self.home = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen([PROGRAM, "serve", "--port", "0", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment(self.home.name))
        self.context = None
        self.host, self.port = "127.0.0.1", int(self.process.stdout.readline().decode().strip().rsplit(":", 1)[1])

    def forget(self):
        self.process.stderr.close()
        self.home.cleanup()

    def ask(self, path, times, at_once=100):
        """So many answers over one connection; their number."""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        n = 0
        while n < times:
            batch = min(at_once, times - n)
            with socket.create_connection((self.host, self.port), timeout=60) as client:
                client.sendall((request + b"\r\n") * (batch - 1) + request + b"Connection: close\r\n\r\n")
                answered = read_all(client).count(b"HTTP/1.1 ")
            if answered != batch:
                raise AssertionError(f"{n + answered} of {times} requests were answered")
            n += batch
        return n


class Log(unittest.TestCase):
    def test_nobody_reads(self):
        for flags in ((), ("--sandbox",)):
            with UnreadServer(*flags) as server:
                server.ask("/health", 2000)
                self.assertEqual(server.stop(signal.SIGTERM), 0)

    def test_what_is_dropped_is_counted(self):
        """A pipe holds 64 KiB and the server 1 MiB: of 4 KB each some lines have no room."""
        with UnreadServer() as server:
            n_asked = server.ask(LONG_PATH, 500)
            with open(server.process.stderr.fileno(), closefd=False) as reader:
                events = []
                # Once some were read there is room for a line, which says what came before it.
                while sum(event["event"] == "answer" for event in events) < 100:
                    events.append(json.loads(reader.readline()))
                n_asked += server.ask("/health", 1)
                server.process.send_signal(signal.SIGTERM)
                events += [json.loads(line) for line in reader]
            self.assertEqual(server.process.wait(60), 0)
        dropped = [event for event in events if event["event"] == "dropped"]
        answers = [event for event in events if event["event"] == "answer"]
        self.assertEqual(len(dropped), 1, dropped)
        self.assertEqual(set(dropped[0]), {"event", "lines"})
        self.assertGreater(dropped[0]["lines"], 0)
        self.assertEqual(len(answers) + dropped[0]["lines"], n_asked)
        self.assertEqual(answers[-1]["path"], "/health")  # and stands where they are missing
        self.assertGreater(events.index(dropped[0]), events.index(answers[-2]))
        self.assertEqual([event["event"] for event in events[-2:]], ["draining", "stopped"])

    def test_the_reader_is_gone(self):
        with UnreadServer() as server:
            server.process.stderr.close()
            server.ask("/health", 10)
            self.assertEqual(server.stop(signal.SIGTERM), 0)


if __name__ == "__main__":
    unittest.main()
