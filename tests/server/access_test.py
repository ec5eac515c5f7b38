"""Keys on every route, pages of other sites, public addresses, and what the log says."""
import json
import subprocess
import unittest
from pathlib import Path

from server import PROGRAM, Server, ServerTest, environment

KEY, OTHER = "a-key-of-ours", "another-key-of-ours"
ROUTES = [("GET", "/v1/models", None), ("GET", "/models/stories", None), ("GET", "/ready", None), ("GET", "/metrics", None),
          ("POST", "/v1/chat/completions", {}), ("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1}), ("POST", "/completions", {}),
          ("POST", "/v1/embeddings", {}), ("POST", "/tokenize", {"content": "a"}), ("POST", "/detokenize", {"tokens": []}),
          ("POST", "/apply-template", {}), ("GET", "/tokenizer_info", None), ("GET", "/nothing", None), ("DELETE", "/v1/models", None)]


class Keys(ServerTest):
    FLAGS = ("--api-key", KEY, "--api-key", OTHER)

    def test_every_route(self):
        for method, path, body in ROUTES:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": KEY[:-1]}, {"Authorization": KEY}, {"X-Api-Key": ""},
                            {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"}):
                answer = self.server.request(method, path, body, headers=headers)
                error = self.refused(answer, 401)
                self.assertEqual(error["type"], "authentication_error")
                self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
            for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-Api-Key": OTHER}, {"authorization": f"bearer {OTHER}"}):
                self.assertNotEqual(self.server.request(method, path, body, headers=headers).status, 401, path)

    def test_health_is_for_all(self):
        self.assertEqual(self.server.get("/health").status, 200)

    def test_bodies_are_not_read_without_a_key(self):
        answer = self.server.request("POST", "/v1/completions", b"x" * 100000)
        self.refused(answer, 401)

    def test_wrong_keys_are_no_faster(self):
        """The log shows no key."""
        self.server.get("/v1/models", headers={"X-Api-Key": "secret-guess"})
        self.server.get("/v1/models", headers={"X-Api-Key": KEY})
        self.assertNotIn("secret-guess", self.server.log_text())
        self.assertNotIn(KEY, self.server.log_text())


class Origins(ServerTest):
    FLAGS = ("--allow-origin", "https://page.example")

    def test_other_sites(self):
        body = {"prompt": "a", "max_tokens": 1}
        own = f"http://127.0.0.1:{self.server.port}"
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "https://page.example.evil.org"):
            answer = self.server.post("/v1/completions", body, headers={"Origin": origin})
            self.refused(answer, 403, "Origin")
            self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
            self.assertEqual(self.server.get("/health", headers={"Origin": origin}).status, 403)
        self.assertEqual(self.server.post("/v1/completions", body, headers={"Origin": own}).status, 200)
        answer = self.server.post("/v1/completions", body, headers={"Origin": "https://page.example"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://page.example")
        self.assertEqual(answer.headers["Vary"], "Origin")
        stream = self.server.post("/v1/completions", {**body, "stream": True}, headers={"Origin": "https://page.example"})
        self.assertEqual(stream.headers["Access-Control-Allow-Origin"], "https://page.example")

    def test_preflight(self):
        headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST",
                   "Access-Control-Request-Headers": "authorization, content-type"}
        answer = self.server.request("OPTIONS", "/v1/chat/completions", headers=headers)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://page.example")
        self.assertIn("POST", answer.headers["Access-Control-Allow-Methods"])
        self.assertEqual(answer.headers["Access-Control-Allow-Headers"], "authorization, content-type")
        self.refused(self.server.request("OPTIONS", "/v1/models", headers={**headers, "Origin": "https://evil.example"}), 403)

    def test_names_that_were_made_to_point_here(self):
        for host, status in (("evil.example", 403), (f"evil.example:{self.server.port}", 403), ("localhost", 200), ("127.0.0.1:9", 200),
                             ("page.example", 200), ("box", 200)):
            self.assertEqual(self.server.get("/v1/models", headers={"Host": host}).status, status, host)


class Addresses(unittest.TestCase):
    def run_serve(self, *flags):
        with Server() as other:
            return subprocess.run([PROGRAM, "serve", "-q", *map(str, flags)], capture_output=True, timeout=60,
                                  env=environment(other.home.name))

    def test_public_addresses_want_a_key(self):
        for host in ("0.0.0.0", "::", ""):
            result = self.run_serve("--port", 0, "--host", host)
            if host == "::" and b"Address family" in result.stderr:
                continue
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(b"--allow-public-without-key" if host else b"--host", result.stderr)
        for flags in (("--api-key", KEY), ("--allow-public-without-key",)):
            server = Server("--host", "0.0.0.0", *flags)
            self.assertTrue(server.addresses[0].startswith("http://0.0.0.0:"))
            self.assertEqual(server.get("/health").status, 200)
            self.assertEqual(server.stop(), 0)
            server.forget()

    def test_keys_that_are_none(self):
        for keys in (["short"], ["with space in it"], [""], ["ümlaut-key"]):
            result = self.run_serve("--port", 0, "--api-key", *keys)
            self.assertEqual(result.returncode, 2, keys)
            self.assertNotIn(keys[0].encode() if keys[0] else b"--nothing", result.stderr)
        result = self.run_serve("--port", 0, "--host", "no.such.host.invalid")
        self.assertEqual(result.returncode, 8)

    def test_key_file(self):
        with Server() as other:
            path = Path(other.home.name) / "keys"
            path.write_text(f"# ours\n{KEY}\r\n\n{OTHER}")
            with Server("--api-key-file", path) as server:
                self.assertEqual(server.get("/v1/models").status, 401)
                for key in (KEY, OTHER):
                    self.assertEqual(server.get("/v1/models", headers={"X-Api-Key": key}).status, 200)


class Log(unittest.TestCase):
    def test_lines(self):
        with Server() as server:
            server.post("/v1/completions", {"prompt": "a secret prompt", "max_tokens": 1})
            server.get("/v1/models?secret-query")
            server.stop()
            events = server.log_events()
            self.assertEqual([e["event"] for e in events][:2], ["listening", "ready"])
            answer = next(e for e in events if e["event"] == "answer")
            self.assertEqual((answer["method"], answer["path"], answer["status"], answer["complete"]), ("POST", "/v1/completions", 200, True))
            generation = next(e for e in events if e["event"] == "generation")
            self.assertEqual((generation["request"], generation["generated_tokens"], generation["succeeded"]), (answer["request"], 1, True))
            self.assertEqual(events[-1]["event"], "stopped")
            for word in ("secret prompt", "secret-query"):
                self.assertNotIn(word, server.log_text())

    def test_prompts_where_asked_for(self):
        with Server("--log-prompts") as server:
            server.post("/v1/completions", {"prompt": "a secret prompt", "max_tokens": 1})
            server.stop()
            self.assertIn("a secret prompt", json.dumps(server.log_events()))

    def test_quiet(self):
        with Server("-q") as server:
            server.get("/v1/models")
            server.stop()
            self.assertEqual(server.log_text(), "")


if __name__ == "__main__":
    unittest.main()
