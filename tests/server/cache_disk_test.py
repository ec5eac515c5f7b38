"""The part of the cache that lies on a disk: restarts, kills, damage, a full disk; and what --normalise makes of prompts."""
import os
import random
import resource
import signal
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import server as tools
from server import Server

LONG = " ".join(f"word {i} of a long text" for i in range(44))


def ask(server, prompt, tokens=12, **more):
    got = server.post("/v1/completions", {"prompt": prompt, "max_tokens": tokens, "temperature": 1, **more}).json
    return got["choices"][0]["text"], got["rowmax"]["cache"]


class Folder(unittest.TestCase):
    def setUp(self):
        self.parent = tempfile.TemporaryDirectory()
        self.addCleanup(self.parent.cleanup)
        self.folder = Path(self.parent.name) / "pages"

    def server(self, *flags, **more):
        return Server("--cache-dir", self.folder, "--cache-disk", 64, *flags, **more)

    def pages(self):
        return sorted(self.folder.glob("*.page"))


class Restart(Folder):
    def test_prefixes_outlive_the_server(self):
        with Server() as plain:
            truth, _ = ask(plain, LONG)
        with self.server() as first:
            text, cache = ask(first, LONG)
            self.assertEqual((text, cache["disk_tokens"]), (truth, 0))
        whole = cache["computed_tokens"] - 1 - (cache["computed_tokens"] - 1) % 64
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        self.assertEqual({p.stat().st_mode & 0o777 for p in self.pages()}, {0o600})
        with self.server() as second:
            opened = [e for e in second.log_events() if e["event"] == "cache_disk"]
            self.assertEqual((opened[0]["what"], opened[0]["pages_of_others"]), ("opened", 0))
            self.assertEqual(opened[0]["pages"], len(self.pages()))
            text, cache = ask(second, LONG)
            self.assertEqual((text, cache["disk_tokens"], cache["cause"]), (truth, whole, "complete"))
            self.assertIn(f"({whole} from the disk)", cache["report"])
            self.assertEqual(second.metric("disk_tokens_total"), whole)
        # Another type of keys is another model's folder, and a damaged page is computed again.
        with self.server("--kv-type", "f32") as other:
            opened = [e for e in other.log_events() if e["event"] == "cache_disk"]
            self.assertEqual(opened[0]["pages"], 0)
            self.assertGreater(opened[0]["pages_of_others"], 0)
            self.assertEqual(ask(other, LONG)[1]["disk_tokens"], 0)
        for page in self.pages():
            data = bytearray(page.read_bytes())
            data[len(data) // 2] ^= 1
            page.write_bytes(data)
        with self.server() as third:
            text, cache = ask(third, LONG)
            self.assertEqual((text, cache["disk_tokens"]), (truth, 0))
            said = [e for e in third.log_events() if e["event"] == "cache_disk" and e["what"] == "damaged"]
            self.assertEqual(len(said), 1)
            self.assertIn("sum", said[0]["why"])

    def test_a_folder_that_others_see_is_refused(self):
        self.folder.mkdir(mode=0o755)
        os.chmod(self.folder, 0o755)
        result = subprocess.run([tools.PROGRAM, "serve", "--port", "0", "--cache-dir", str(self.folder)], capture_output=True,
                                timeout=60, env=tools.environment(self.parent.name))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("chmod 700", result.stderr.decode())

    def test_a_full_disk_is_survived(self):
        with Server() as plain:
            truth, _ = ask(plain, LONG)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))  # the server's, which also bounds its log
        try:
            limited = self.server()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with limited:
            for prompt in (LONG, LONG + " and more", "other " + LONG):
                text, _ = ask(limited, prompt)
                if prompt == LONG:
                    self.assertEqual(text, truth)
            limited.stop()
            said = [e for e in limited.log_events() if e["event"] == "cache_disk" and e["what"] == "write_failed"]
            self.assertEqual(len(said), 1)
        self.assertEqual(list(self.folder.iterdir()), [])


class Kill(Folder):
    """Killed at any moment while pages are written: the next server is right, and no page is half there."""
    ROUNDS = int(os.environ.get("ROWMAX_KILL_ROUNDS", "5"))

    def test_kill_at_random_moments(self):
        chance = random.Random(int(os.environ.get("ROWMAX_KILL_SEED", "1")))
        with Server() as plain:
            truth = lambda prompt: ask(plain, prompt)[0]
            asked = []
            for turn in range(self.ROUNDS):
                # New prompts are written, those of the turns before are read.
                prompts = [f"{turn} {i} {LONG[:800 + 40 * i]}" for i in range(6)] + chance.sample(asked, min(2, len(asked)))
                with self.server() as victim:
                    timer = threading.Timer(chance.uniform(0.01, 0.5), lambda: victim.process.send_signal(signal.SIGKILL))
                    timer.start()
                    for prompt in prompts:
                        try:
                            text, _ = ask(victim, prompt)
                        except (OSError, ValueError, tools.http.client.HTTPException):
                            break
                        self.assertEqual(text, truth(prompt))
                        asked.append(prompt)
                    timer.join()
                    victim.stop(signal.SIGKILL)
            with self.server() as last:
                for prompt in asked[-12:]:
                    self.assertEqual(ask(last, prompt)[0], truth(prompt))
                self.assertEqual([e for e in last.log_events() if e["event"] == "cache_disk" and e["what"] == "damaged"], [])
        self.assertEqual([p.name for p in self.folder.iterdir() if not p.name.endswith(".page")], [])
        with self.server() as again:
            for prompt in asked[-12:]:
                _, cache = ask(again, prompt)
                self.assertEqual(cache["cause"], "complete")
                self.assertGreater(cache["disk_tokens"] + cache["reused_tokens"], 0)


class Normalise(unittest.TestCase):
    def chat(self, server, system, **more):
        body = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "id=77"}], "max_tokens": 8, **more}
        return server.post("/v1/chat/completions", body).json

    def test_what_is_declared_is_replaced(self):
        with Server("--normalise", "id:/id=[0-9]+/id=0/", "--normalise", "date") as server:
            first = self.chat(server, f"Of 2024-05-06, id=123. {LONG}")
            self.assertEqual(first["rowmax"]["normalised"], [{"rule": "id", "message": 0, "count": 1}, {"rule": "date", "message": 0, "count": 1}])
            second = self.chat(server, f"Of 2025-07-08, id=4567. {LONG}")
            self.assertEqual(second["rowmax"]["cache"]["cause"], "complete")
            self.assertEqual(second["choices"], first["choices"])
            none = self.chat(server, "Nothing of the kind.")
            self.assertNotIn("normalised", none["rowmax"])
            body = {"messages": [{"role": "system", "content": "id=12"}, {"role": "user", "content": "id=77"}]}
            prompt = server.post("/apply-template", body).json["prompt"]
            self.assertIn("id=0", prompt)
            self.assertIn("id=77", prompt)  # a user's own words are his
            anthropic = server.post("/v1/messages", {"system": "id=5", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}).json
            self.assertEqual(anthropic["rowmax"]["normalised"][0]["rule"], "id")
            fingerprint = first["system_fingerprint"]
        with Server() as plain:
            self.assertNotEqual(self.chat(plain, "Hello")["system_fingerprint"], fingerprint)

    def test_what_would_take_too_long_is_refused(self):
        with Server("--normalise", "date", "--normalise", "far:/a|a.*Z/T/") as server:
            body = {"messages": [{"role": "system", "content": "a" * 200_000}, {"role": "user", "content": "Hi"}], "max_tokens": 2}
            answer = server.post("/v1/chat/completions", body)
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json["error"]["param"], "messages")
            self.assertIn("--normalise far: ", answer.json["error"]["message"])
            self.assertEqual(self.chat(server, "a" * 100)["rowmax"]["normalised"], [{"rule": "far", "message": 0, "count": 100}])

    def test_wrong_rules_are_named(self):
        with tempfile.TemporaryDirectory() as home:
            result = subprocess.run([tools.PROGRAM, "serve", "--port", "0", "--normalise", "id:/(/x/"], capture_output=True, timeout=60,
                                    env=tools.environment(home))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("character 2", result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
