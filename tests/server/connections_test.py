"""Connections that behave badly, or well in unusual ways: the server answers what it can, and never hangs or falls."""
import json
import platform
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from server import PROGRAM, SLOW_MODEL, Server, ServerTest, environment, http_head, read_all, together

BODY = json.dumps({"prompt": "Once upon a time", "max_tokens": 3}).encode()
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG = {"prompt": "Once", "max_tokens": 4000, "ignore_eos": True}


def status_lines(data):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def read_answer(client):
    """One answer with a length, on a connection that stays."""
    data = b""
    while b"\r\n\r\n" not in data or len(data) < data.index(b"\r\n\r\n") + 4 + int(re.search(rb"Content-Length: (\d+)", data)[1]):
        part = client.recv(4096)
        if not part:
            break
        data += part
    return data


class Connections(ServerTest):
    def tearDown(self):
        self.assertEqual(self.server.get("/health").status, 200)

    def connect(self, timeout=20):
        client = socket.create_connection((self.server.host, self.server.port), timeout=timeout)
        self.addCleanup(client.close)
        return client

    def test_keep_alive(self):
        client = self.connect()
        for _ in range(3):
            client.sendall(GET)
            self.assertTrue(read_answer(client).startswith(b"HTTP/1.1 200"))
        client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertIn(b"Connection: close", read_all(client))

    def test_http_1_0(self):
        self.assertIn(b"Connection: close", self.server.raw(b"GET /health HTTP/1.0\r\n\r\n"))
        body = json.dumps({"prompt": "Once", "max_tokens": 2, "stream": True}).encode()
        got = self.server.raw(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertNotIn(b"Transfer-Encoding", got)
        self.assertTrue(got.endswith(b"data: [DONE]\n\n"))

    def test_pipelining(self):
        """Requests that are sent at once are answered in order, each with its own answer."""
        client = self.connect()
        post = http_head("/v1/completions", length=len(BODY)) + BODY
        client.sendall(GET + post + GET + post + GET.replace(b"/health", b"/none").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = read_all(client)
        self.assertEqual(status_lines(got), [200, 200, 200, 200, 404])

    def test_chunked_bodies(self):
        head = http_head("/v1/completions", headers="Transfer-Encoding: chunked\r\nConnection: close\r\n")
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(BODY[i:i + 7]), BODY[i:i + 7]) for i in range(0, len(BODY), 7))
        self.assertEqual(status_lines(self.server.raw(head + chunks + b"0\r\n\r\n")), [200])
        self.assertEqual(status_lines(self.server.raw(head + b"-2\r\nab\r\n0\r\n\r\n")), [400])
        self.assertEqual(status_lines(self.server.raw(head + b"ffffffff\r\n")), [413])

    def test_smuggling(self):
        """What could be read in two ways is refused, and nothing behind it is looked at."""
        inner = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for headers in ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                        "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunked, identity\r\n",
                        "Content-Length: 4\r\nContent-Length: 0\r\n", "Content-Length: 0, 4\r\n", "Content-Length: +0\r\n",
                        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding : chunked\r\n",
                        "X: y\r\n\tz: w\r\nContent-Length : 0\r\n", "X: y\r\n Content-Length: 0\r\n", "X: y\r\n\tz: w\r\n"):
            got = self.server.raw(http_head("/v1/completions", headers=headers) + b"0\r\n\r\n" + inner)
            self.assertEqual(len(status_lines(got)), 1, headers)
            self.assertIn(status_lines(got)[0], (400, 413), headers)
            self.assertIn(b'"error"', got)

    def test_malformed(self):
        for data, status in [(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"GET / HTTP/3\r\n\r\n", 505),
                             (b"GET / HTTP/1.1\r\n\r\n", 400), (b"\r\n\r\n", 400), (b"GET / HTTP/1.1\nHost: a\n\n", None),
                             (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
                             (b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", 400), (b"A" * 100000, 431), (b"GET /" + b"a" * 10000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
                             (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
                             (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 50000 + b"\r\n\r\n", 431),
                             (b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nExpect: rain\r\n\r\n", 417)]:
            got = self.server.raw(data, timeout=3 if status is None else 20)
            if status is not None:
                self.assertEqual(status_lines(got), [status], data[:60])
                self.assertIn(b'"type":"invalid_request_error"', got)

    def test_expect_continue(self):
        client = self.connect()
        client.sendall(http_head("/v1/completions", headers="Expect: 100-continue\r\nConnection: close\r\n", length=len(BODY)))
        self.assertEqual(client.recv(4096), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(BODY)
        self.assertEqual(status_lines(read_all(client)), [200])
        # A body that will not be read is not asked for.
        client = self.connect()
        client.sendall(http_head("/nothing", headers="Expect: 100-continue\r\n", length=len(BODY)))
        self.assertEqual(status_lines(read_all(client)), [404])

    def test_refused_bodies_are_not_the_next_request(self):
        got = self.server.raw(http_head("/nothing", length=len(GET)) + GET)
        self.assertEqual(status_lines(got), [404])

    def test_half_closed(self):
        """Who closes its side while it waits for an answer is gone; an answer that is there already is still written."""
        self.assertEqual(status_lines(self.server.raw(GET, shut=True)), [200])
        self.server.raw(http_head("/v1/completions", length=100) + b"{", shut=True)
        self.server.raw(b"GET /hea", shut=True)
        self.server.raw(b"", shut=True)

    def test_cut_connections(self):
        post = http_head("/v1/completions", length=len(BODY)) + BODY
        for end in range(0, len(post) + 1, 9):
            client = self.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
            client.sendall(post[:end])
            client.close()

    def test_who_goes_is_not_computed_for(self):
        for stream in (True, False):
            before = self.server.metric("requests_cancelled_total")
            client = self.connect()
            body = json.dumps({**LONG, "stream": stream, "n": 4}).encode()
            client.sendall(http_head("/v1/completions", length=len(body)) + body)
            self.server.wait_for(lambda: self.server.metric("requests_running") > 0)
            client.close()
            self.server.wait_for(lambda: self.server.metric("requests_cancelled_total") == before + 1, 20)
            self.server.wait_for(lambda: self.server.metric("requests_running") == 0, 20)

    def test_many_idle_clients(self):
        clients = [self.connect() for _ in range(500)]
        self.assertEqual(self.server.get("/health").status, 200)
        for client in clients[::50]:
            client.sendall(GET)
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))


class SlowReaders(unittest.TestCase):
    """Streams on a Unix socket, whose buffers are small."""
    BODY = {"prompt": "Once", "max_tokens": 150, "ignore_eos": True, "stream": True, "n": 4, "logprobs": 20, "temperature": 1}
    OTHER = {"prompt": "The fox", "max_tokens": 20, "seed": 5}

    def serve(self, *flags):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name + "/socket"
        return Server("--unix", self.path, *flags)

    def ask(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(60)
        client.connect(self.path)
        body = json.dumps(self.BODY).encode()
        client.sendall(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return client

    def events(self, data):
        """What a stream said, without what no answer depends on."""
        lines = [line[6:] for line in data.decode().split("\n") if line.startswith("data: ")]
        self.assertEqual(lines.pop(), "[DONE]")
        events = []
        for line in lines:
            event = json.loads(line)
            for name in ("id", "created", "timings", "usage", "rowmax"):
                event.pop(name, None)
            events.append(json.dumps(event))
        # Which choice comes first in a step is the scheduler's.
        return sorted(events)

    def test_who_waits_gets_the_same(self):
        """A reader that takes nothing for a while: its request is paused, the others go on, and it misses nothing."""
        with self.serve("--parallel", 4) as server:
            expected = self.events(read_all(self.ask()))
            other = server.post("/v1/completions", self.OTHER).json["choices"]
            self.assertEqual(server.metric("requests_paused"), 0)
            slow = self.ask()
            server.wait_for(lambda: server.metric("requests_paused") == 4, 60)
            self.assertEqual(server.metric("requests_running"), 0)
            made = server.metric("tokens_predicted_total")
            for _ in range(3):  # with all sequences in the slow one's hands
                self.assertEqual(server.post("/v1/completions", self.OTHER).json["choices"], other)
            # A step's figures are there after its answers.
            server.wait_for(lambda: server.metric("tokens_predicted_total") >= made + 60)
            self.assertEqual(server.metric("tokens_predicted_total"), made + 60)
            self.assertEqual(server.metric("requests_paused"), 4)
            self.assertEqual(self.events(read_all(slow)), expected)
            self.assertEqual(server.metric("http_abandoned_total"), 0)

    def test_who_never_reads_is_cancelled(self):
        with self.serve("--stream-wait", 1) as server:
            self.ask()
            server.wait_for(lambda: server.metric("http_abandoned_total") == 1, 60)
            server.wait_for(lambda: server.metric("requests_cancelled_total") == 1, 60)
            server.wait_for(lambda: server.metric("requests_paused") + server.metric("requests_running") == 0)
            server.wait_for(lambda: server.metric("kv_held_bytes") == 0)

    def test_a_paused_one_does_not_outlive_the_drain(self):
        with self.serve("--drain", 1) as server:
            self.ask()
            server.wait_for(lambda: server.metric("requests_paused") == 4, 60)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(60), 0)


class Limits(unittest.TestCase):
    def test_too_many_connections(self):
        with Server("--max-connections", 4) as server:
            clients = [socket.create_connection((server.host, server.port), timeout=20) for _ in range(4)]
            time.sleep(0.2)
            got = server.raw(GET)
            self.assertEqual(status_lines(got), [503])
            self.assertIn(b"Retry-After", got)
            for client in clients:
                client.close()
            server.wait_for(lambda: status_lines(server.raw(GET[:-2] + b"Connection: close\r\n\r\n")) == [200], 5)

    def test_full_queue(self):
        with Server("--queue", 1, "--parallel", 1, "-c", 100000, model=SLOW_MODEL) as server:
            body = {"prompt": [1, 2, 3], "max_tokens": 90000, "ignore_eos": True, "stream": True}
            def begin():
                client = socket.create_connection((server.host, server.port), timeout=20)
                data = json.dumps(body).encode()
                client.sendall(http_head("/v1/completions", length=len(data)) + data)
                return client
            running = begin()
            server.wait_for(lambda: server.metric("requests_running") == 1)
            waiting = begin()
            server.wait_for(lambda: server.metric("requests_waiting") == 1)
            answer = server.post("/v1/completions", body)
            self.assertEqual(answer.status, 429, answer.body[:300])
            self.assertEqual(answer.json["error"]["code"], "queue_full")
            self.assertIn("Retry-After", answer.headers)
            running.close()
            waiting.close()
            server.wait_for(lambda: server.metric("requests_running") + server.metric("requests_waiting") == 0, 10)

    def test_more_prompts_than_may_wait(self):
        """What could never be admitted is no matter of another try."""
        with Server("--queue", 2, "--parallel", 1, "--pooling", "mean") as server:
            answer = server.post("/v1/completions", {"prompt": ["a", "b", "c"], "max_tokens": 1})
            self.assertEqual(answer.status, 400, answer.body)
            self.assertEqual(answer.json["error"]["param"], "prompt")
            self.assertIn("ask for 2 at a time, or start the server with a larger --queue", answer.json["error"]["message"])
            self.assertEqual(server.post("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 1}).status, 200)
            answer = server.post("/v1/embeddings", {"input": ["a", "b", "c", "d", "e"]})
            self.assertEqual((answer.status, len(answer.json["data"])), (200, 5))

    def test_slow_heads_and_bodies(self):
        """A head has ten seconds; the others are not kept waiting."""
        with Server() as server:
            begin = time.time()
            with socket.create_connection((server.host, server.port), timeout=30) as client:
                client.sendall(b"GET /health HTTP/1.1\r\n")
                client.settimeout(1)
                got = b""
                while time.time() - begin < 25 and not got.endswith(b"}"):
                    try:
                        part = client.recv(4096)
                        if not part:
                            break
                        got += part
                    except socket.timeout:
                        client.sendall(b"X: y\r\n")
                        self.assertEqual(server.get("/health").status, 200)
            self.assertEqual(status_lines(got), [408])
            self.assertLess(9, time.time() - begin)
            self.assertLess(time.time() - begin, 20)

    def test_drain(self):
        """SIGTERM: what runs is finished, what is new is refused, and then the server ends with 0."""
        with Server("-c", 20000, model=SLOW_MODEL) as server:
            body = {"prompt": [1, 2, 3], "max_tokens": 2000, "ignore_eos": True, "n": 4, "logprobs": 0}
            whole = [c["logprobs"]["tokens"] for c in server.post("/v1/completions", body).json["choices"]]
            results = []
            def ask():
                results.append(server.post("/v1/completions", {**body, "stream": True}))
            def end():
                server.wait_for(lambda: server.metric("requests_running") > 0)
                server.process.send_signal(signal.SIGTERM)
                server.wait_for(lambda: server.get("/ready").status == 503, 20)
                answer = server.post("/v1/completions", {"prompt": "a"})
                self.assertEqual((answer.status, answer.json["error"]["code"]), (503, "shutting_down"))
                self.assertIn("Retry-After", answer.headers)
                self.assertEqual(server.get("/health").status, 200)
            together([ask, end])
            choices = [c for e in results[0].events[:-1] for c in e["choices"]]
            self.assertEqual([[t for c in choices if c["index"] == i and c["logprobs"] for t in c["logprobs"]["tokens"]] for i in range(4)], whole)
            self.assertEqual(server.process.wait(20), 0)

    def test_drain_ends(self):
        for flags, signals in ((("--drain", 0), 1), ((), 2)):
            with Server("-c", 100000, *flags, model=SLOW_MODEL) as server:
                client = socket.create_connection((server.host, server.port), timeout=20)
                body = json.dumps({"prompt": [1], "max_tokens": 90000, "ignore_eos": True, "stream": True}).encode()
                client.sendall(http_head("/v1/completions", length=len(body)) + body)
                server.wait_for(lambda: server.metric("requests_running") == 1)
                for _ in range(signals):
                    server.process.send_signal(signal.SIGINT)
                    time.sleep(0.3)
                self.assertEqual(server.process.wait(20), 0)
                client.close()

    def test_slow_reading_holds_nobody_up(self):
        """Both workers read what takes them long: what needs neither is answered, and SIGTERM still ends the server in time."""
        # Each rule looks at 12 states for each byte, within its bound: a minute for all of them.
        rules = [flag for i in range(400) for flag in ("--normalise", f"r{i}:/a{{12}}b/T/")]
        body = json.dumps({"messages": [{"role": "system", "content": "a" * 1_000_000}, {"role": "user", "content": "x"}]}).encode()
        with Server("--drain", 1, "--log-prompts", *rules) as server:
            clients = []
            for _ in range(2):
                clients.append(socket.create_connection((server.host, server.port), timeout=20))
                clients[-1].sendall(http_head("/v1/chat/completions", length=len(body)) + body)
            server.wait_for(lambda: sum(e["event"] == "body" for e in server.log_events()) == 2)
            for path in ("/health", "/ready", "/metrics", "/openapi.json", "/v1/models", "/api/tags", "/api/version", "/"):
                self.assertEqual(server.get(path, timeout=20).status, 200, path)
            clients[0].close()  # and the other one waits
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(20), 0)
            self.assertEqual(read_all(clients[1]), b"")
            clients[1].close()
            last = server.log_events()[-1]
            self.assertEqual((last["event"], last["abandoned"]), ("stopped", 2))

    def test_loading(self):
        """The port answers before the model does."""
        server = Server(wait=False, model="nothing-here.gguf")
        self.assertEqual(server.process.wait(30), 8)
        self.assertEqual(server.process.stdout.read(), b"")
        self.assertIn("listening", server.log_text())
        server.stop()
        server.forget()

    def test_port_in_use(self):
        with Server() as server:
            result = subprocess.run([PROGRAM, "serve", "--port", str(server.port)], capture_output=True, timeout=60,
                                    env=environment(server.home.name))
            self.assertEqual(result.returncode, 7)
            self.assertIn(b"Address already in use", result.stderr)

    @unittest.skipUnless(platform.libc_ver()[0] == "glibc", "another allocator")
    def test_memory_is_given_back(self):
        """What large answers took to be made does not stay the server's."""
        if re.search(rb"__[at]san_init", Path(PROGRAM).read_bytes()):
            self.skipTest("a sanitizer's allocator")
        with Server("-t", 1) as server:
            def resident_mib():
                return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1]) >> 10
            def ask():
                self.assertEqual(server.post("/tokenize", {"content": "~" * (1 << 18), "with_pieces": True}).status, 200)
                time.sleep(0.5)
            ask()
            ask()
            def given_back():  # at some answer's end: what another thread still holds just then goes with the next one
                ask()
                return resident_mib() < 140
            server.wait_for(given_back)

    def test_unix_socket(self):
        with Server() as other:
            path = Path(other.home.name) / "s.sock"
            def start(**more):
                return Server("--unix", path, **more)
            with start() as server:
                self.assertEqual(path.stat().st_mode & 0o777, 0o600)
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(20)
                    client.connect(str(path))
                    client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: any.name.org\r\nConnection: close\r\n\r\n")
                    self.assertEqual(status_lines(read_all(client)), [200])
                second = subprocess.run([PROGRAM, "serve", "--port", "0", "--unix", str(path)], capture_output=True, timeout=60,
                                        env=environment(server.home.name))
                self.assertEqual(second.returncode, 7)
                self.assertIn(b"another process listens there", second.stderr)
            self.assertFalse(path.exists())
            with start() as server:
                server.stop(signal.SIGKILL)
            self.assertTrue(path.exists())
            with start():  # what nobody listens on is replaced
                pass
            path.write_text("a file")
            third = subprocess.run([PROGRAM, "serve", "--port", "0", "--unix", str(path)], capture_output=True, timeout=60,
                                   env=environment(other.home.name))
            self.assertEqual(third.returncode, 2)
            self.assertEqual(path.read_text(), "a file")
            long = subprocess.run([PROGRAM, "serve", "--port", "0", "--unix", "/" + "a" * 200], capture_output=True, timeout=60,
                                  env=environment(other.home.name))
            self.assertEqual(long.returncode, 2)


if __name__ == "__main__":
    unittest.main()
