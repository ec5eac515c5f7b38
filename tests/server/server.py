"""Helpers of the tests in this folder: a server that runs while a test does, and clients of it."""
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

# X_test.py PROGRAM SLOW_MODEL [unittest's arguments]: the command, and a model too slow to be done at once.
PROGRAM, SLOW_MODEL = sys.argv.pop(1), sys.argv.pop(1)
# A model without a chat template.
PLAIN_MODEL = str(Path(__file__).resolve().parents[1] / "golden" / "llama_bias.gguf")
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"


def environment(home, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROWMAX_", "XDG_"))}
    return {**kept, "HOME": str(home), **more}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """What a stream's data lines hold; "[DONE]" stays a text."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


class Server:
    """`rowmax serve` on a free port, ready when this returns. context: of a client of https."""

    def __init__(self, *flags, model="stories", template=True, wait=True, context=None, **env):
        self.context, self.quiet, self.n_marks = context, "-q" in flags, 0
        self.home = tempfile.TemporaryDirectory()
        arguments = [PROGRAM, "serve", "-m", model, "--port", "0", *map(str, flags)]
        if template:
            arguments += ["--chat-template", TEMPLATE]
        self.log = open(Path(self.home.name) / "log", "w+")
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log,
                                        env=environment(self.home.name, **env))
        self.addresses = []
        if not wait:
            return
        self.addresses = [self.process.stdout.readline().decode().strip()]
        if not self.addresses[0].startswith("https://" if context else "http://"):
            self.stop()
            raise AssertionError(f"no address: {self.addresses} {self.log_text()}")
        self.host, self.port = "127.0.0.1", int(self.addresses[0].rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.forget()

    def stop(self, with_signal=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        return code

    def forget(self):
        self.log.close()
        self.home.cleanup()

    def log_text(self):
        """All that was logged before: the server's lines are written by a thread of its own, in their order."""
        read = (Path(self.home.name) / "log").read_text
        if self.addresses and not self.quiet and self.process.poll() is None:
            self.n_marks += 1
            mark = f"/mark-{self.n_marks}"
            self.get(mark)
            self.wait_for(lambda: f'"{mark}"' in read())
        return "".join(line for line in read().splitlines(keepends=True) if '"/mark-' not in line)

    def log_events(self):
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def request(self, method, path, body=None, headers=None, timeout=120):
        if self.context:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            given = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body=body, headers={**given, **(headers or {})})
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def raw(self, data, timeout=20, shut=False):
        """What comes back on a connection of its own until it is closed or silent."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as client:
            client.sendall(data)
            if shut:
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(f"rowmax_{name} "):
                return float(line.split()[-1])
        raise AssertionError(f"no metric {name}")

    def wait_for(self, what, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            if what():
                return
            time.sleep(0.02)
        raise AssertionError("waited in vain")


def read_all(client):
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except (socket.timeout, ConnectionResetError):
        pass
    return b"".join(parts)


def http_head(path, method="POST", headers="", length=None):
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{size}{headers}\r\n".encode()


def run_command(*arguments, stdin=None):
    """The command itself, as the judge of what a server writes."""
    with tempfile.TemporaryDirectory() as home:
        result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=300, stdin=subprocess.DEVNULL,
                                env=environment(home))
    if result.returncode != 0:
        raise AssertionError(result.stderr.decode())
    return result.stdout.decode()


def together(calls):
    """All calls at once, each in a thread; their results in order. What one of them raises is raised."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


class ServerTest(unittest.TestCase):
    """One server for all tests of a class."""
    FLAGS = ()
    MODEL = "stories"

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.FLAGS, model=cls.MODEL)

    @classmethod
    def tearDownClass(cls):
        code, log = cls.server.stop(), cls.server.log_text()
        cls.server.forget()
        if code != 0:
            raise AssertionError(f"exit code {code}: {log[-2000:]}")

    def good(self, answer):
        self.assertEqual(answer.status, 200, answer.body[:500])
        return answer.json

    def refused(self, answer, status, param=None, says=""):
        self.assertEqual(answer.status, status, answer.body[:500])
        error = answer.json["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        if param is not None:
            self.assertEqual(error["param"], param, error)
        self.assertIn(says, error["message"])
        return error
