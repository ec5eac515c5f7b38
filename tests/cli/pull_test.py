"""rowmax pull from Hugging Face, against a server on this machine that has the faults of the real ones."""
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from command import MODEL, PROGRAM, CommandTest
from hub_server import COMMIT, Hub, cut_after, sha256, status, whole

DATA = random.Random(1).randbytes(400_000)
FOLDER = ".cache/huggingface/hub/models--test--tiny"


class PullTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.hub = Hub()
        self.addCleanup(self.hub.close)
        self.hub.files["model.gguf"] = DATA

    def environment(self, **more):
        kept = {k: v for k, v in super().environment().items()
                if not k.startswith(("HF_", "HUGGING", "CURL_", "SSL_")) and not k.lower().endswith("_proxy")}
        return {**kept, "HF_ENDPOINT": self.hub.url, **more}

    def pull(self, name="hf:test/tiny", *flags, **more):
        return self.json("pull", name, *flags, **more)

    def path(self, *parts):
        return self.home.joinpath(FOLDER, *parts)

    def blob(self, data=DATA):
        return self.path("blobs", sha256(data))

    def part(self, data=DATA):
        return self.path("blobs", sha256(data) + ".part")

    def assert_whole(self, result, data=DATA):
        with open(result["path"], "rb") as file:
            self.assertTrue(file.read() == data, "other bytes")
        self.assertEqual(sorted(os.listdir(self.path("blobs"))), [sha256(data)])

    def storage_requests(self):
        return [r for r in self.hub.requests if r["server"] == "storage"]


class Cache(PullTest):
    def test_layout_and_facts(self):
        result = self.pull()
        self.assertEqual(result, {"name": "hf:test/tiny", "path": str(self.path("snapshots", COMMIT, "model.gguf")),
                                  "bytes": len(DATA), "sha256": sha256(DATA), "fetched": True,
                                  "repository": "test/tiny", "commit": COMMIT, "file": "model.gguf"})
        self.assert_whole(result)
        self.assertEqual(os.readlink(result["path"]), "../../blobs/" + sha256(DATA))
        self.assertEqual(self.path("refs/main").read_text(), COMMIT)
        self.assertEqual(self.hub.paths("/resolve/"), [f"/test/tiny/resolve/{COMMIT}/model.gguf"])

    def test_a_second_time_nothing_is_fetched(self):
        self.pull()
        again = self.pull()
        self.assertFalse(again["fetched"])
        self.assertEqual(len(self.hub.paths("/resolve/")), 1)
        self.assertIn("here already", self.output("pull", "hf:test/tiny/model.gguf"))

    def test_a_broken_blob_is_fetched_again(self):
        self.pull()
        for broken in (DATA[:-1], DATA[:-1] + b"!"):
            self.blob().write_bytes(broken)
            result = self.pull()
            self.assertTrue(result["fetched"])
            self.assert_whole(result)

    def test_what_another_tool_fetched_is_used(self):
        self.blob().parent.mkdir(parents=True)
        self.blob().write_bytes(DATA)
        result = self.pull()
        self.assertFalse(result["fetched"])
        self.assert_whole(result)

    def test_where_the_cache_is(self):
        for env, folder in (({"HF_HOME": str(self.home / "h")}, "h/hub"), ({"HF_HOME": "~/t"}, "t/hub"),
                            ({"HF_HUB_CACHE": str(self.home / "c"), "HF_HOME": "/nowhere"}, "c"),
                            ({"XDG_CACHE_HOME": str(self.home / "x")}, "x/huggingface/hub")):
            path = self.pull(env=env)["path"]
            self.assertTrue(path.startswith(str(self.home / folder / "models--test--tiny/snapshots")), path)

    def test_revisions_and_folders(self):
        self.hub.files["deep/er/model name.gguf"] = b"deep"
        result = self.pull("hf:test/tiny@v1.0/deep/er/model name.gguf")
        self.assertEqual(os.readlink(result["path"]), "../../../../blobs/" + sha256(b"deep"))
        self.assertEqual(self.path("refs/v1.0").read_text(), COMMIT)
        self.assertEqual(self.hub.requests[-1]["url"].split("?")[0], "/storage/deep/er/model%20name.gguf")
        self.pull("hf:test/tiny@refs/pr/7/model.gguf")
        self.assertEqual(self.path("refs/refs/pr/7").read_text(), COMMIT)
        self.assertEqual(self.hub.requests[3]["url"], "/api/models/test/tiny/revision/refs%2Fpr%2F7?blobs=true")
        self.pull(f"hf:test/tiny@{COMMIT}/model.gguf")
        self.assertFalse(self.path("refs", COMMIT).exists())

    def test_a_file_that_git_keeps(self):
        git_blob = "3b0fe338fd2cd71b48732336440ee29a8f8e10dc"  # printf 'small file' | git hash-object --stdin
        self.hub.files = {"small.gguf": b"small file"}
        listing = self.hub.listing()
        del listing["siblings"][1]["lfs"]
        listing["siblings"][1]["blobId"] = git_blob
        self.hub.fail("/api/", *[status(200, json.dumps(listing).encode())] * 2)
        self.hub.digests["small.gguf"] = git_blob
        self.assertEqual(self.pull()["git_blob"], git_blob)
        shutil.rmtree(self.path())
        self.hub.files = {"small.gguf": b"smell file"}
        self.fails(3, "pull", "hf:test/tiny", says=git_blob)

    def test_offline(self):
        off = {"HF_HUB_OFFLINE": "1"}
        self.fails(8, "pull", "hf:test/tiny", env=off, says="HF_HUB_OFFLINE")
        self.assertEqual(self.hub.requests, [])
        self.pull()
        seen = len(self.hub.requests)
        for name in ("hf:test/tiny", "hf:test/tiny/model.gguf", f"hf:test/tiny@{COMMIT}"):
            self.assertFalse(self.pull(name, env=off)["fetched"])
        self.fails(8, "pull", "hf:test/tiny/other.gguf", env=off, says="other.gguf")
        self.fails(8, "pull", "hf:test/tiny@v1.0", env=off)
        self.fails(8, "pull", "bonsai-1.7b", env=off, says="Ternary-Bonsai-1.7B-Q2_0.gguf")
        self.blob().write_bytes(DATA[:-1] + b"!")
        self.fails(8, "pull", "hf:test/tiny", env=off, says="not whole")
        self.assertEqual(len(self.hub.requests), seen)

    def test_models_run_by_their_names(self):
        with open(MODEL, "rb") as file:
            model = file.read()
        self.hub.files = {"a.gguf": model}
        run = ["run", "--tokens", "1,2,3", "-n", "4", "--greedy"]
        self.fails(8, *run, "-m", "hf:test/tiny/a.gguf", says="rowmax pull hf:test/tiny/a.gguf")
        self.fails(8, *run, "-m", "bonsai-8b", says="rowmax pull bonsai-8b")
        self.assertEqual(self.hub.requests, [])
        expected = self.json(*run, "-m", MODEL)["tokens"]
        self.assertEqual(self.json(*run, "--pull", "-m", "hf:test/tiny/a.gguf")["tokens"], expected)
        seen = len(self.hub.requests)
        for name in ("hf:test/tiny/a.gguf", "hf:test/tiny"):
            self.assertEqual(self.json(*run, "--pull", "-m", name)["tokens"], expected)
        self.output("inspect", "-m", "hf:test/tiny/a.gguf")
        self.assertEqual(len(self.hub.requests), seen)
        self.hub.files["b.gguf"] = model
        self.pull("hf:test/tiny/b.gguf")
        self.fails(2, *run, "-m", "hf:test/tiny", says="hf:test/tiny/b.gguf")


class Choice(PullTest):
    def test_several_files_are_listed(self):
        self.hub.files.update({"b-Q8_0.GGUF": b"x" * 1_500_000, "c/d.gguf": b"y", "readme.md": b"z"})
        err = self.fails(2, "pull", "hf:test/tiny")
        for line in ("hf:test/tiny/model.gguf  400 kB", "hf:test/tiny/b-Q8_0.GGUF  1.50 MB", "hf:test/tiny/c/d.gguf  1 B"):
            self.assertIn(line, err)
        self.assertNotIn("readme", err)
        self.assertEqual(self.hub.paths("/resolve/"), [])
        err = self.fails(8, "pull", "hf:test/tiny/model.ggu")
        self.assertIn("hf:test/tiny/model.gguf", err)

    def test_split_models_are_fetched_as_one(self):
        parts = {f"q/big-0000{i}-of-00003.gguf": DATA[i:] for i in (1, 2, 3)}
        self.hub.files = dict(parts)
        self.hub.fail("/storage/q/big-00002", cut_after(150_000))
        for name in ("hf:test/tiny/q/big-00002-of-00003.gguf", "hf:test/tiny"):
            _, _, err = self.run_command("pull", name, "--retries", 1)
            self.assertIn("1.20 MB to fetch", err)
            result = self.pull(name, env={"HF_HUB_OFFLINE": "1"})
            self.assertEqual(result["path"], str(self.path("snapshots", COMMIT, "q/big-00001-of-00003.gguf")))
            self.assertEqual([p["file"] for p in result["parts"]], sorted(parts))
            for file, data in parts.items():
                self.assertTrue(self.path("snapshots", COMMIT, file).read_bytes() == data)
            shutil.rmtree(self.path())
        self.assertIn("bytes=150000-", [r.get("range") for r in self.storage_requests()])
        self.hub.files["other.gguf"] = b"1"
        err = self.fails(2, "pull", "hf:test/tiny", says="hf:test/tiny/q/big-00001-of-00003.gguf  1.20 MB")
        self.assertNotIn("00002", err)

    def test_no_model_and_missing_parts(self):
        self.hub.files = {"big-00001-of-00002.gguf": b"1"}
        self.fails(8, "pull", "hf:test/tiny", says="big-00002-of-00002.gguf")
        self.assertEqual(self.hub.paths("/resolve/"), [])
        self.hub.files = {"big-00000-of-00000.gguf": b"1"}
        self.fails(3, "pull", "hf:test/tiny/big-00000-of-00000.gguf", says="no parts")
        self.hub.files = {"model.safetensors": b"1"}
        self.fails(8, "pull", "hf:test/tiny", says="no GGUF")
        self.assertEqual(self.pull("hf:test/tiny/model.safetensors")["bytes"], 1)  # any file, when it is named

    def test_bad_names(self):
        for name in ("hf:", "hf:tiny", "hf:test/", "hf:/tiny", "hf:test/tiny/../x", "hf:test/tiny//x", "hf:test/tiny/x/",
                     "hf:../tiny", "hf:te--st/tiny", "hf:test/ti ny", "hf:test/tiny@/x", "hf:test/tiny@..", "hf:t/t/a\\b"):
            with self.subTest(name):
                self.fails(2, "pull", name, says="hf:OWNER/REPO")
        self.assertEqual(self.hub.requests, [])

    def test_catalog_names_ask_for_one_file_at_one_commit(self):
        self.hub.repository = "microsoft/bitnet-b1.58-2B-4T-gguf"
        self.fails(8, "pull", "bitnet-2b-4t", says="bitnet-b1.58-2B-4T-gguf")
        self.hub.files["ggml-model-i2_s.gguf"] = DATA
        self.fails(3, "pull", "bitnet-2b-4t", says=sha256(DATA))  # announced as another file: not even begun
        path = "/microsoft/bitnet-b1.58-2B-4T-gguf/resolve/a1f2f1c765812aa8af3f6eda4a313707064bba15/ggml-model-i2_s.gguf"
        self.assertEqual([r["path"] for r in self.hub.requests if r["server"] == "hub"], [path, path])
        listed = {m["name"]: m for m in self.json("pull", "--list")["models"]}
        self.assertEqual({"bitnet-2b-4t", "bonsai-1.7b", "bonsai-4b", "bonsai-8b", "smollm2", "gemma3"}, set(listed))
        self.assertIn("/models--prism-ml--Ternary-Bonsai-4B-gguf/snapshots/", listed["bonsai-4b"]["path"])


class Resume(PullTest):
    def test_a_cut_connection_is_gone_on_with(self):
        self.hub.fail("/storage/", cut_after(150_000), cut_after(100_000))
        self.assert_whole(self.pull(env={"ROWMAX_RETRIES": "1"}))
        ranges = [(r.get("range"), r.get("if-range")) for r in self.storage_requests()]
        etag = self.hub.etag("model.gguf")
        self.assertEqual(ranges, [(None, None), ("bytes=150000-", etag), ("bytes=250000-", etag)])

    def test_a_later_call_goes_on(self):
        self.hub.fail("/storage/", cut_after(150_000))
        err = self.fails(7, "pull", "hf:test/tiny", "--retries", 0, says="model.gguf")
        self.assertIn(self.hub.storage_url, err)
        self.assertNotIn("secret", err)
        self.assertEqual(self.part().read_bytes(), DATA[:150_000])
        self.assertFalse(self.path("snapshots").exists())
        self.assert_whole(self.pull("hf:test/tiny", "--retries", 0))
        self.assertEqual(self.storage_requests()[-1]["range"], "bytes=150000-")

    def test_a_server_without_ranges_starts_again(self):
        self.hub.fail("/storage/", cut_after(150_000), whole(DATA, ETag='"x"'))
        self.fails(7, "pull", "hf:test/tiny", "--retries", 0)
        code, _, err = self.run_command("pull", "hf:test/tiny")
        self.assertEqual(code, 0, err)
        self.assertIn("starting again", err)
        self.assert_whole(self.pull())

    def test_a_changed_version_starts_again(self):
        # The server keeps to If-Range and sends the whole of it, or does not and sends the rest of another version.
        for faults in ([], [lambda handler: handler.headers.replace_header("If-Range", self.hub.etag("model.gguf"))
                            or False]):
            self.hub.etags["model.gguf"] = '"old"'
            self.hub.files["model.gguf"] = bytes(len(DATA))
            self.hub.digests["model.gguf"] = sha256(DATA)
            self.hub.fail("/storage/", cut_after(150_000))
            self.fails(7, "pull", "hf:test/tiny", "--retries", 0)
            self.hub.etags["model.gguf"] = '"new"'
            self.hub.files["model.gguf"] = DATA
            self.hub.fail("/storage/", *faults)
            before = len(self.storage_requests())
            code, _, err = self.run_command("pull", "hf:test/tiny", "--retries", 1)
            self.assertEqual(code, 0, err)
            self.assertEqual('of version "new" where' in err, bool(faults), err)  # seen before it is mixed
            requests = self.storage_requests()[before:]
            self.assert_whole(self.pull())
            self.assertEqual([r.get("range") for r in requests], ["bytes=150000-"] + [None] * len(faults))
            shutil.rmtree(self.path())

    def test_a_changed_repository_starts_another_file(self):
        self.hub.fail("/storage/", cut_after(150_000))
        self.fails(7, "pull", "hf:test/tiny", "--retries", 0)
        new = DATA[::-1]
        self.hub.files["model.gguf"] = new
        with open(self.pull()["path"], "rb") as file:
            self.assertTrue(file.read() == new)
        self.assertNotIn("range", self.storage_requests()[-1])

    def test_a_damaged_part_starts_again(self):
        self.hub.fail("/storage/", cut_after(150_000))
        self.fails(7, "pull", "hf:test/tiny", "--retries", 0)
        self.part().write_bytes(bytes(150_000))
        self.assert_whole(self.pull())
        for left in (DATA, DATA + b"!"):  # whole, but not renamed; longer than it should be
            shutil.rmtree(self.path())
            self.part().parent.mkdir(parents=True)
            self.part().write_bytes(left)
            self.path("blobs", sha256(DATA) + ".part.etag").write_text('"x"')
            before = len(self.storage_requests())
            self.assert_whole(self.pull())
            self.assertEqual(len(self.storage_requests()) - before, int(left != DATA))

    def test_a_range_beyond_the_end(self):
        self.hub.fail("/storage/", cut_after(150_000), status(416, b""))
        self.assert_whole(self.pull("hf:test/tiny", "--retries", 2))

    def test_ctrl_c_keeps_what_arrived(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def stall(handler):
            handler.send_response(200)
            handler.send_header("ETag", self.hub.etag("model.gguf"))
            handler.send_header("Content-Length", str(len(DATA)))
            handler.end_headers()
            handler.wfile.write(DATA[:150_000])
            go.wait(60)
        self.hub.fail("/storage/", stall)
        process = subprocess.Popen([PROGRAM, "pull", "hf:test/tiny"], env=self.environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        while not (self.part().exists() and self.part().stat().st_size == 150_000) and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, b""))
        self.assertIn(b"kept", err)
        self.assert_whole(self.pull())
        self.assertEqual(self.storage_requests()[-1]["range"], "bytes=150000-")

    def test_two_at_once_fetch_once(self):
        self.hub.fail("/storage/", lambda handler: time.sleep(0.5) or False)
        flags = {"env": self.environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        pulls = [subprocess.Popen([PROGRAM, "pull", "hf:test/tiny", "--json"], **flags) for _ in range(2)]
        results = []
        for each in pulls:
            out, err = each.communicate(timeout=60)
            self.assertEqual(each.returncode, 0, err)
            results.append(json.loads(out))
        self.assertEqual(sorted(r["fetched"] for r in results), [False, True])
        self.assertEqual(len(self.storage_requests()), 1)
        self.assert_whole(results[0])


class Bodies(PullTest):
    def test_chunked_and_compressed(self):
        for n, fault in enumerate((whole(DATA, chunked=True), whole(DATA, encoding="gzip"),
                                   whole(DATA, encoding="gzip", chunked=True))):
            with self.subTest(n):
                self.hub.fail("/storage/", fault)
                self.assert_whole(self.pull("hf:test/tiny", "--retries", 0))
                shutil.rmtree(self.path())

    def test_a_cut_compressed_body_is_not_gone_on_with(self):
        self.hub.fail("/storage/", whole(DATA, encoding="gzip", end_early=True, ETag='"gz"'))
        self.assert_whole(self.pull("hf:test/tiny", "--retries", 1))
        self.assertNotIn("range", self.storage_requests()[-1])

    def test_a_cut_chunked_body_is_gone_on_with(self):
        self.hub.fail("/storage/", whole(DATA, chunked=True, end_early=True, ETag=self.hub.etag("model.gguf")))
        self.assert_whole(self.pull("hf:test/tiny", "--retries", 1))
        self.assertEqual(self.storage_requests()[-1]["range"], "bytes=50000-")

    def test_wrong_content_leaves_nothing(self):
        wrong = DATA[:-1] + b"!"
        for n, fault in enumerate((whole(wrong), whole(DATA + b"!"), whole(DATA[:-1]), whole(DATA + b"!", chunked=True),
                                   whole(DATA + bytes(3_000_000), encoding="gzip"))):
            with self.subTest(n):
                self.hub.fail("/storage/", fault)
                self.fails(3, "pull", "hf:test/tiny", "--retries", 0)
                self.assertEqual(os.listdir(self.path("blobs")), [])
                self.assertFalse(self.path("snapshots").exists())

    def test_a_body_that_just_ends(self):
        self.hub.fail("/storage/", whole(DATA[:70_000], chunked=True))
        self.fails(7, "pull", "hf:test/tiny", "--retries", 0, says="70000 of 400000")


class Refusals(PullTest):
    def test_licences_and_tokens(self):
        gated = status(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        self.hub.fail("/api/", gated)
        err = self.fails(7, "pull", "hf:test/tiny", says="licence")
        for word in ("HF_TOKEN", self.hub.url + "/test/tiny", "403", "Access is restricted"):
            self.assertIn(word, err)
        self.hub.fail("/resolve/", gated)
        self.fails(7, "pull", "hf:test/tiny", says="licence")
        err = self.fails(7, "pull", "hf:test/other", says="401")
        self.assertIn("HF_TOKEN", err)
        err = self.fails(7, "pull", "hf:test/other", env={"HF_TOKEN": "hf_abcdef"}, says="not accepted")
        self.assertNotIn("hf_abcdef", err)
        self.fails(2, "pull", "hf:test/tiny", env={"HF_TOKEN": "a\r\nX-Evil: 1"}, says="HF_TOKEN")

    def test_what_is_not_there(self):
        self.fails(8, "pull", "hf:test/tiny@v9", says="revision v9")
        self.hub.fail("/api/", status(404))
        self.fails(8, "pull", "hf:test/tiny", says="404")
        self.hub.fail("/resolve/", status(404, b"", X_Error_Code="EntryNotFound"))
        self.fails(8, "pull", "hf:test/tiny", says="model.gguf")

    def test_the_token_stays_at_home(self):
        self.pull(env={"HF_TOKEN": " hf_secret\n"})
        self.assertEqual({r["server"]: r.get("authorization") for r in self.hub.requests},
                         {"hub": "Bearer hf_secret", "storage": None})
        # Nor does it follow to another port of the same host, nor come back from there to a third place.
        other = f"http://127.0.0.1:{self.hub.servers[1].server_port}/storage/model.gguf"
        shutil.rmtree(self.path())
        self.hub.fail("/resolve/", status(302, Location=other))
        self.pull(env={"HF_TOKEN": "hf_secret"})
        self.assertIsNone(self.storage_requests()[-1].get("authorization"))
        # A relative redirect stays there.
        shutil.rmtree(self.path())
        self.hub.fail("/api/", status(307, Location="/api/models/test/tiny/revision/v1.0?blobs=true"))
        self.pull(env={"HF_TOKEN": "hf_secret"})
        self.assertEqual([r.get("authorization") for r in self.hub.requests if r["path"].endswith("v1.0")],
                         ["Bearer hf_secret"])

    def test_where_the_token_comes_from(self):
        file = self.home / "elsewhere"
        file.write_text("hf_file\n")
        default = self.home / ".cache/huggingface/token"
        default.parent.mkdir(parents=True)
        default.write_text("hf_default")
        for env, token in (({"HF_TOKEN_PATH": str(file)}, "hf_file"), ({}, "hf_default"),
                           ({"HF_TOKEN": "hf_env", "HF_TOKEN_PATH": str(file)}, "hf_env"),
                           ({"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, None), ({"HF_HOME": str(self.home / "h")}, None)):
            self.pull(env=env)
            api = [r for r in self.hub.requests if r["path"].startswith("/api/")]
            self.assertEqual(api[-1].get("authorization"), token and "Bearer " + token)

    def test_busy_servers(self):
        self.hub.fail("/api/", status(429, Retry_After="0"), status(429, Retry_After="0"),
                      status(429, RateLimit='"api";r=0;t=0'))
        self.hub.fail("/resolve/", status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), status(500, Retry_After="0"))
        code, _, err = self.run_command("pull", "hf:test/tiny")
        self.assertEqual(code, 0, err)
        self.assertEqual(err.count("trying again"), 5)
        # Bounded: in number, and in the time that is asked for.
        self.hub.fail("/api/", *[status(429, Retry_After="0")] * 9)
        before = len(self.hub.requests)
        self.fails(7, "pull", "hf:test/tiny", "--retries", 2, says="429")
        self.assertEqual(len(self.hub.requests) - before, 3)
        self.hub.faults.clear()
        self.hub.fail("/api/", status(429, Retry_After="4000"))
        self.fails(7, "pull", "hf:test/tiny", says="4000 s")
        self.hub.fail("/api/", status(429, RateLimit='"api";r=0;t=900'))
        self.fails(7, "pull", "hf:test/tiny", says="900 s")

    def test_waits_longer_each_time(self):
        self.hub.fail("/api/", status(502), status(504))
        start = time.monotonic()
        _, _, err = self.run_command("pull", "hf:test/tiny")
        self.assertGreaterEqual(time.monotonic() - start, 3)
        self.assertEqual(re.findall(r"trying again in (\d) s", err), ["1", "2"])

    def test_nobody_there_and_silence(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            self.fails(7, "pull", "hf:test/tiny", "--retries", 0, env={"HF_ENDPOINT": url}, says=url)
            unused.listen()
            self.fails(7, "pull", "hf:test/tiny", "--retries", 0, "--timeout", 1, env={"HF_ENDPOINT": url}, says=url)
        self.fails(2, "pull", "hf:test/tiny", env={"HF_ENDPOINT": "ftp://x"}, says="HF_ENDPOINT")
        self.fails(2, "pull", "hf:test/tiny", env={"HF_ENDPOINT": "file:///etc"}, says="HF_ENDPOINT")

    def test_certificates(self):
        self.fails(7, "pull", "hf:test/tiny", "--retries", 0, env={"HF_ENDPOINT": self.hub.url.replace("http", "https")},
                   says="https://")
        if shutil.which("openssl") is None:
            self.skipTest("no openssl program to make a certificate with")
        pem = self.home / "host.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem, "-out",
                        self.home / "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.home / "cert.pem", pem)
        server = self.hub.servers[0]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}"
        self.fails(7, "pull", "hf:test/tiny", env={"HF_ENDPOINT": url}, says="certificate")
        known = {"HF_ENDPOINT": url, "SSL_CERT_FILE": str(self.home / "cert.pem")}
        # The storage is reached over plain http: a step down, which is not taken.
        self.fails(7, "pull", "hf:test/tiny", env=known, says="does not follow")
        self.hub.fail("/resolve/", lambda handler: handler.send_file(self.hub, "model.gguf"))
        self.assert_whole(self.pull(env=known))


class Hostile(PullTest):
    def listing(self, **changes):
        listing = self.hub.listing()
        listing["siblings"][1].update(changes)
        return status(200, json.dumps(listing).encode())

    def test_names_that_lead_elsewhere(self):
        for name in ("../../../../evil.gguf", "/evil.gguf", "a/../b.gguf", "a//b.gguf", "", "a\u0000b.gguf", "a\\..\\b.gguf",
                     "x" * 1001 + ".gguf"):
            with self.subTest(name[:30]):
                self.hub.fail("/api/", self.listing(rfilename=name))
                self.fails(3, "pull", "hf:test/tiny")
        self.assertEqual(self.hub.paths("/resolve/"), [])
        self.assertEqual(list(self.home.rglob("*.gguf")), [])

    def test_listings_that_are_none(self):
        lfs = {"size": len(DATA), "sha256": sha256(DATA)}
        for n, fault in enumerate((
                status(200, b"<html>"), status(200, b"[]"), status(200, b'{"sha": "main"}'),
                status(200, b'{"sha": "%s"}' % COMMIT.encode()), status(200, b'{"a":' * 5000 + b"1" + b"}" * 5000),
                status(200, json.dumps(self.hub.listing()).encode() + b"\0"),  # the parser would end there
                status(200, b"[" * 1_000_000), self.listing(lfs={**lfs, "sha256": "../../x"}),
                self.listing(lfs={**lfs, "sha256": None}), self.listing(lfs={**lfs, "size": -1}),
                self.listing(lfs={**lfs, "size": 1e300}))):
            with self.subTest(n):
                self.hub.fail("/api/", fault)
                self.fails(3, "pull", "hf:test/tiny")
        self.hub.fail("/api/", status(200, b" " * (17 << 20)))
        self.fails(5, "pull", "hf:test/tiny", says="longer than")
        self.hub.fail("/api/", whole(b" " * (17 << 20), encoding="gzip"))
        self.fails(5, "pull", "hf:test/tiny", says="longer than")

    def test_long_listings_stay_cheap(self):
        """16 MB of files, of parts of one model, of one file again and again, and of keys; in memory (in time: tests/growth)."""
        entry = {"lfs": {"size": 1, "sha256": "0" * 64}}
        many = 100_000
        for n, (files, code, says) in enumerate((
                ([{"rfilename": f"{i}.gguf", **entry} for i in range(many)], 2, f"and {many - 30} more"),
                ([{"rfilename": f"a-{i + 1:05}-of-99999.gguf", **entry} for i in range(99_998)], 8, "a-99999-of-99999.gguf"),
                ([{"rfilename": "a-00001-of-00002.gguf", **entry}] * many, 8, "a-00002-of-00002.gguf"),
                ([{"rfilename": "a", **{f"key{i}": 0 for i in range(10 * many)}}], 8, "no GGUF"))):
            with self.subTest(n):
                listing = json.dumps({"sha": COMMIT, "siblings": files}, separators=(",", ":")).encode()
                self.assertLess(len(listing), 16 << 20)
                self.hub.fail("/api/", status(200, listing))
                self.fails(code, "pull", "hf:test/tiny", says=says)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                self.assertLess(after.ru_maxrss, 1_000_000)  # KiB

    def test_redirects_without_end(self):
        self.hub.fail("/resolve/", *[lambda handler: handler.answer(302, Location=handler.path)] * 50)
        self.fails(7, "pull", "hf:test/tiny", says="redirects more than")
        self.assertLess(len(self.hub.paths("/resolve/")), 15)
        self.hub.faults.clear()
        for location in ("file:///etc/passwd", "ftp://localhost/x", "gopher://localhost/"):
            self.hub.fail("/resolve/", status(302, Location=location))
            self.fails(7, "pull", "hf:test/tiny", says="does not follow")
        self.hub.fail("/resolve/", status(302))
        self.fails(7, "pull", "hf:test/tiny", says="redirects to nowhere")

    def test_text_from_servers_cannot_steer_the_terminal(self):
        self.hub.fail("/api/", status(404, b"", X_Error_Message="\x1b[2Jgone"))
        self.assertNotIn("\x1b", self.fails(8, "pull", "hf:test/tiny", says="gone"))

    def test_no_space(self):
        self.hub.fail("/api/", self.listing(lfs={"size": 10**18, "sha256": sha256(DATA)}))
        self.fails(7, "pull", "hf:test/tiny", says="free")
        self.assertEqual(self.hub.paths("/resolve/"), [])
        # A disk that is full in the middle: the process may write no more than 150,000 bytes to a file.
        result = subprocess.run([PROGRAM, "pull", "hf:test/tiny"], env=self.environment(), capture_output=True,
                                restore_signals=False,
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)))
        self.assertEqual(result.returncode, 7, result.stderr)
        self.assertIn(b".part", result.stderr)
        self.assert_whole(self.pull())
        self.assertEqual(self.storage_requests()[-1]["range"], "bytes=150000-")

    def test_a_cache_that_cannot_be_written(self):
        (self.home / "file").write_text("")
        self.fails(7, "pull", "hf:test/tiny", env={"HF_HUB_CACHE": str(self.home / "file")}, says="file")


class Killed(PullTest):
    """A pip that does not end: what a signal, or a kill, leaves of it and of the download's folder."""
    def setUp(self):
        super().setUp()
        self.bin = self.home / "bin"
        self.bin.mkdir()
        # Python writes the ids of itself and of a child of its own where TMPDIR is, and stays.
        script = ("import os, subprocess, time; child = subprocess.Popen(['sleep', '300']); "
                  "open(os.environ['TMPDIR'] + '/../ids', 'w').write(f'{os.getpid()} {child.pid} '); time.sleep(300)")
        (self.bin / "python3").write_text(f'#!/bin/sh\nexec {shutil.which("python3")} -c "{script}"\n')
        (self.bin / "python3").chmod(0o755)
        self.models = self.home / ".cache/rowmax/models"

    def environment(self, **more):
        return super().environment(**{"PATH": f"{self.bin}:{os.environ['PATH']}", **more})

    def start(self):
        """A pull in the middle of its download, and the ids of what it runs."""
        process = subprocess.Popen([PROGRAM, "pull", "smollm2"], env=self.environment(), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for file in self.models.glob(".pull-*/ids"):
                ids = file.read_text()
                if ids.endswith(" "):
                    for each in ids.split():
                        self.addCleanup(self.forget, int(each))
                    return process, [int(each) for each in ids.split()]
            time.sleep(0.02)
        self.fail("python3 was not started")

    def forget(self, process):
        if self.runs(process):
            os.kill(process, signal.SIGKILL)

    def runs(self, process):
        try:
            with open(f"/proc/{process}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    def assert_ends(self, process):
        end = time.monotonic() + 30
        while self.runs(process) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse(self.runs(process))

    def test_signals_leave_nothing(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)):
            with self.subTest(number):
                process, ids = self.start()
                process.send_signal(number)
                self.assertEqual(process.wait(30), code)
                for each in ids:
                    self.assert_ends(each)
                self.assertEqual(os.listdir(self.models), [])

    def test_a_kill_ends_the_child_and_the_next_pull_cleans(self):
        alive, _ = self.start()
        living = set(os.listdir(self.models))
        process = subprocess.Popen([PROGRAM, "pull", "smollm2"], env=self.environment(), stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        end = time.monotonic() + 60
        while not (left := set(os.listdir(self.models)) - living) and time.monotonic() < end:
            time.sleep(0.02)
        folder = self.models / left.pop()
        while not (folder / "ids").exists() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.1)
        first = int((folder / "ids").read_text().split()[0])
        self.addCleanup(self.forget, int((folder / "ids").read_text().split()[1]))
        process.kill()
        self.assert_ends(first)
        self.assertTrue(folder.exists())
        self.fails(8, "pull", "smollm2", env={"PATH": "/nonexistent"})
        self.assertEqual(set(os.listdir(self.models)), living)  # its owner lives
        alive.terminate()
        alive.wait(30)
        self.assertEqual(os.listdir(self.models), [])


class Looks(PullTest):
    def test_a_bar_on_a_terminal_and_lines_elsewhere(self):
        _, out, err = self.run_command("pull", "hf:test/tiny")
        self.assertNotIn("\x1b", err)
        self.assertRegex(err, r"note: fetching model.gguf of test/tiny, 400 kB\n")
        self.assertRegex(out, r"^hf:test/tiny: fetched, checksum right\n/.*/model.gguf\n$")
        shutil.rmtree(self.path())
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, [PROGRAM, "pull", "hf:test/tiny"], self.environment())
        text = b""
        try:
            while block := os.read(terminal, 65536):
                text += block
        except OSError:
            pass
        os.close(terminal)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertIn("fetching model.gguf █".encode(), text)
        self.assertIn("checking model.gguf █".encode(), text)


if __name__ == "__main__":
    unittest.main()
