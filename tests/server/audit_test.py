"""`rowmax audit`: rowmax serve passes with counted comparisons, and servers that depend on one thing fail by its name."""
import hashlib
import json
import select
import shlex
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from server import PROGRAM, Server, environment

KEY = "sk-test"


def is_open(connection):
    try:
        return not select.select([connection], [], [], 0)[0] or connection.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):  # clients that hang up
        pass


class FakeServer:
    """A language model by hashes: the next words follow from the prompt. `fault` is what else they follow from."""

    def __init__(self, fault="", logprobs=True, says_cached=True, routes=("/v1/completions", "/v1/chat/completions"), key=None,
                 rubbish=None, salt="", hang_after=None):
        self.fault, self.logprobs, self.says_cached, self.routes, self.key = fault, logprobs, says_cached, routes, key
        self.rubbish, self.salt, self.hang_after = rubbish, salt, hang_after
        self.lock = threading.Lock()
        self.seen, self.last, self.before_last, self.running, self.count, self.streams = {}, "", "", 0, 0, []
        self.released = threading.Event()
        self.http = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"owner": self}))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()

    def streams_open(self):
        """How many clients still read a stream: one that went away has closed its socket before it asks again."""
        return sum(is_open(s) for s in list(self.streams))

    def answer(self, prompt, body, n_prompt, at_once):
        fault, more = self.fault, self.salt
        with self.lock:
            if prompt != self.last:
                self.before_last, self.last = self.last, prompt
            known = prompt in self.seen and body.get("cache_prompt") is not False
            grown = sum(1 for other in self.seen if len(other) < len(prompt) and prompt.startswith(other))
            pieces = self.seen.setdefault(prompt, grown) if body.get("cache_prompt") is not False else 0
            self.count += 1
            if fault == "cache" and known:
                more += "warm"
            if fault == "order":
                more += self.before_last
            if fault == "at once" and at_once > 1:
                more += "at once"
            if fault == "list" and n_prompt > 1:
                more += "list"
            if fault == "beside" and self.streams_open():
                more += "beside"
            if fault == "pieces":
                more += f"pieces {pieces}"
            if fault == "anew" and body.get("cache_prompt") is False and grown == 0:
                more += "anew"
            if body["temperature"] > 0:
                more += str(self.count if fault == "seed" else body.get("seed"))
        digest = hashlib.sha256(prompt.encode()).digest()
        other = hashlib.sha256((prompt + more).encode()).digest()
        words = [f" w{b}" for b in digest[:8]]
        values = [-b / 256 for b in digest[8:16]]
        if more:  # the text parts at the fourth word; with log-probabilities in the third one
            words[3:] = [f" w{b}" for b in other[3:8]]
            values[2:] = [-b / 300 for b in other[10:16]]
        return words, values, 50 if known else 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send(200, {"data": [{"id": "fake"}]}) if self.path == "/v1/models" else self.send(404, {})

    def do_POST(self):
        owner = self.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if owner.key and self.headers["Authorization"] != "Bearer " + owner.key:
            return self.send(401, {"error": {"message": "who are you?"}})
        if self.path not in owner.routes:
            return self.send(404, {"error": {"message": "no such route"}})
        if owner.hang_after is not None and owner.count >= owner.hang_after:
            return owner.released.wait(60)
        if owner.rubbish is not None:
            return self.send(200, owner.rubbish)
        if body.get("logprobs") and owner.logprobs == "refused":
            return self.send(400, {"error": {"message": "logprobs are not supported"}})
        if body.get("stream"):
            return self.stream()
        chat = "messages" in body
        prompts = ["\n".join(m["content"] for m in body["messages"])] if chat else body["prompt"]
        prompts = prompts if isinstance(prompts, list) else [prompts]
        with owner.lock:
            owner.running += 1
            at_once = owner.running
        # Those at once meet here; one that is alone waits in vain, for a moment.
        end = time.time() + (0.02 if owner.fault == "at once" else 0)
        while time.time() < end:
            time.sleep(0.002)
            at_once = max(at_once, owner.running)
        answers = [owner.answer(p, body, len(prompts), at_once) for p in prompts]
        with owner.lock:
            owner.running -= 1
        choices = []
        for index, (words, values, cached) in enumerate(answers):
            choice = {"index": index, "finish_reason": "length", "logprobs": None}
            choice.update({"message": {"role": "assistant", "content": "".join(words)}} if chat else {"text": "".join(words)})
            if body.get("logprobs") and owner.logprobs is True:
                choice["logprobs"] = ({"content": [{"token": w, "logprob": v, "top_logprobs": [{"token": w, "logprob": v}]}
                                                   for w, v in zip(words, values)]} if chat else
                                      {"tokens": words, "token_logprobs": values, "top_logprobs": [{w: v} for w, v in zip(words, values)]})
            choices.append(choice)
        usage = {"prompt_tokens": 60, "completion_tokens": 8}
        if owner.says_cached:
            usage["prompt_tokens_details"] = {"cached_tokens": answers[0][2]}
        self.send(200, {"id": "x", "choices": list(reversed(choices)), "usage": usage})  # clients go by the index

    def stream(self):
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.owner.streams.append(self.connection)
        while is_open(self.connection) and not self.owner.released.wait(0.005):
            self.wfile.write(b'data: {"choices": []}\n\n')
        self.owner.streams.remove(self.connection)


def audit(*arguments, **env):
    """(exit code, report or None, standard error)"""
    with tempfile.TemporaryDirectory() as home:
        result = subprocess.run([PROGRAM, "audit", "--json", *map(str, arguments)], capture_output=True, timeout=300,
                                stdin=subprocess.DEVNULL, env=environment(home, **env))
    return result.returncode, json.loads(result.stdout) if result.stdout else None, result.stderr.decode()


def failed(report):
    return {p["name"] for p in report["probes"] if p["verdict"] == "fail"}


def probe(report, name):
    return next(p for p in report["probes"] if p["name"] == name)


QUICK = ("--rounds", 1, "--seconds", 100, "--timeout", 100, "--at-once", 8)


class OneFault(unittest.TestCase):
    def report(self, server, code, *more):
        got, report, err = audit("--url", server.url, *QUICK, *more)
        self.assertEqual(got, code, (report and [(p["name"], p["verdict"], p["remark"]) for p in report["probes"]], err))
        return report

    def test_none(self):
        with FakeServer() as server:
            report = self.report(server, 0)
        self.assertEqual(report["verdict"], "pass")
        self.assertEqual(report["model"], "fake")
        self.assertTrue(report["chat"]["logprobs"] and report["completions"]["logprobs"])
        for each in report["probes"]:
            if each["name"] == "restart":
                self.assertEqual((each["verdict"], each["compared"]), ("inconclusive", 0))
            else:
                self.assertGreater(each["compared"], 0, each)
                self.assertEqual((each["verdict"], each["failed"], each["differing"]), ("pass", 0, 0), each)

    def test_each_fault_is_named(self):
        for fault, names in [("cache", {"cache", "pieces"}), ("order", {"order"}), ("at once", {"at once", "same at once", "seed"}),
                             ("list", {"list"}), ("beside", {"beside"}), ("pieces", {"pieces"}), ("anew", {"anew"}),
                             ("seed", {"seed"})]:
            for logprobs in (True, False, "refused"):
                with self.subTest(fault=fault, logprobs=logprobs), FakeServer(fault, logprobs) as server:
                    report = self.report(server, 10)
                    found = failed(report)
                    # An answer that hangs on what came before hangs on it wherever the order is another.
                    self.assertTrue(found >= names if fault == "order" else found == names, (fault, found))
                    self.assertNotIn("cache", found - names)
                    self.assertEqual(report["chat"]["logprobs"], logprobs is True)
                    example = probe(report, fault)["example"]
                    self.assertTrue(example["text_differs"])
                    if logprobs is True:
                        self.assertEqual(example["token"], 2)  # the third token's log-probability parts first
                        self.assertGreater(example["gap"], 0)
                        self.assertEqual(example["first"]["piece"], example["second"]["piece"])
                    else:
                        self.assertIn("byte", example)
                    self.assertNotEqual(example["first"]["text"], example["second"]["text"])
                    # The line for a shell is the request.
                    words = shlex.split(example["curl"])
                    self.assertTrue(words[2].startswith(server.url), words)
                    self.assertEqual(json.loads(words[words.index("-d") + 1])["model"], "fake")

    def test_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "saved.json"
            with FakeServer() as server:
                self.report(server, 0, "--save", saved)
            with FakeServer() as server:
                report = self.report(server, 0, "--against", saved)
                self.assertEqual(probe(report, "restart")["compared"], 8)
            with FakeServer(salt="another start") as server:
                self.assertEqual(failed(self.report(server, 10, "--against", saved)), {"restart"})
            self.assertEqual(audit("--url", "http://127.0.0.1:9", "--save", saved)[0], 2)  # it is there
            for broken in ("", "[]", '{"rowmax_audit": 1}', saved.read_text()[:-20],
                           saved.read_text().replace('"api":"chat"', '"api":"chats"')):
                (Path(folder) / "broken").write_text(broken)
                self.assertEqual(audit("--url", "http://127.0.0.1:9", "--against", Path(folder) / "broken")[0], 3, broken[:100])

    def test_one_api_alone(self):
        with FakeServer(routes=("/v1/chat/completions",)) as server:
            report = self.report(server, 0)
            self.assertEqual(report["completions"], {"there": False, "logprobs": False})
            self.assertEqual(probe(report, "list")["verdict"], "inconclusive")
        with FakeServer(routes=("/v1/completions",), says_cached=False) as server:
            report = self.report(server, 0)
            self.assertFalse(report["chat"]["there"])
            self.assertIn("does not say", probe(report, "cache")["remark"])
        with FakeServer(routes=()) as server:
            self.assertEqual(audit("--url", server.url, *QUICK)[0], 8)

    def test_the_page(self):
        with FakeServer("order") as server:
            result = subprocess.run([PROGRAM, "audit", "--url", server.url + "/v1/", *map(str, QUICK)], capture_output=True)
        page = result.stdout.decode()
        self.assertEqual(result.returncode, 10)
        self.assertLess(len(page.splitlines()), 60)
        for words in ("FAIL", "PASS", "inconclusive", "alone:", "other:", "curl -s " + server.url + "/v1/", "a gap of"):
            self.assertIn(words, page)

    def test_keys(self):
        with FakeServer(key=KEY) as server:
            code, _, err = audit("--url", server.url, *QUICK)
            self.assertEqual(code, 7)
            self.assertIn("who are you?", err)
            code, report, _ = audit("--url", server.url, *QUICK, ROWMAX_API_KEY=KEY)
            self.assertEqual(code, 0)
            self.assertNotIn(KEY, json.dumps(report))
        self.assertEqual(audit("--url", "http://192.0.2.1", "--api-key", KEY)[0], 2)  # it could be read on the way
        self.assertEqual(audit("--url", "http://localhost.example.org", "--api-key", KEY)[0], 2)
        self.assertEqual(audit("--url", "http://127.0.0.1:9", "--api-key", "a\nX-Other: b")[0], 2)

    def test_bad_addresses(self):
        self.assertEqual(audit()[0], 2)
        self.assertEqual(audit("--url", "127.0.0.1:9")[0], 2)
        self.assertEqual(audit("--url", "file:///etc/passwd")[0], 2)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.assertEqual(audit("--url", f"http://127.0.0.1:{port}")[0], 7)


class Hostile(unittest.TestCase):
    def test_one_that_hangs(self):
        with FakeServer(hang_after=0) as server:
            code, report, err = audit("--url", server.url, "--timeout", 1, "--seconds", 1)
            self.assertEqual((code, report), (7, None), err)
        for after in (9, 30, 60):  # while answers are collected, or later
            with FakeServer(hang_after=after) as server:
                code, report, err = audit("--url", server.url, "--timeout", 1, "--seconds", 1)
                self.assertIn(code, (7, 11), (after, err))
                if code == 11:
                    self.assertTrue(any(p["verdict"] == "inconclusive" and p["failed"] for p in report["probes"]))

    def test_rubbish(self):
        good = {"index": 0, "text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [-1.0]}}
        for rubbish in (b"", b"<html>busy</html>", b"null", b"[]", b'{"choices": [', b"\xff\xfe" * 100, b"[" * 5000, b"{}",
                        {"choices": []}, {"choices": {}}, {"choices": [5]}, {"choices": [{"index": 7, "text": "a"}]},
                        {"choices": [good, good]}, {"error": {"message": "no"}}, {"choices": [{**good, "index": 1 << 62}]},
                        {"choices": [{**good, "logprobs": {"tokens": ["a", "b"], "token_logprobs": [-1.0]}}]},
                        {"choices": [{**good, "logprobs": {"content": [{"token": "a"}]}}]},
                        {"choices": [{**good, "logprobs": {"tokens": ["a"], "token_logprobs": [None]}}]},
                        b'{"choices": [{"text": "a", "text": "b"}]}', b'{"choices": [{"text": "' + b"a" * (5 << 20) + b'"}]}',
                        {"choices": [{"index": i, "text": "a"} for i in range(3)]}):
            with self.subTest(rubbish=str(rubbish)[:60]), FakeServer(rubbish=rubbish) as server:
                code, report, err = audit("--url", server.url, *QUICK)
                self.assertIn(code, (3, 5), err)
                self.assertIsNone(report)
                self.assertIn("/v1/", err)

    def test_without_end(self):
        """An answer that never ends is not read for ever."""
        with FakeServer(rubbish=b" " * (17 << 20)) as server:
            code, _, err = audit("--url", server.url, *QUICK)
            self.assertEqual(code, 5, err)
            self.assertIn("16 MiB", err)


class Ours(unittest.TestCase):
    def test_rowmax_serve_passes(self):
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "saved.json"
            with Server("--parallel", 4) as server:
                code, report, err = audit("--url", server.addresses[0], *QUICK, "--save", saved)
                self.assertEqual(code, 0, (report, err))
            self.assertTrue(report["chat"]["logprobs"] and report["completions"]["logprobs"])
            for name in ("cache", "order", "same at once", "at once", "list", "beside", "pieces", "seed"):
                self.assertGreaterEqual(probe(report, name)["compared"], 2, name)
                self.assertEqual(probe(report, name)["failed"], 0, name)
            self.assertIn("cached: ", probe(report, "cache")["remark"])
            # Another start, with other threads and other widths, and drafts.
            with Server("--parallel", 2, "-t", 1, "--ngram-drafts") as server:
                code, report, err = audit("--url", server.addresses[0], *QUICK, "--against", saved)
            self.assertEqual(code, 0, (report, err))
            self.assertEqual(probe(report, "restart")["compared"], 8)


if __name__ == "__main__":
    unittest.main()
