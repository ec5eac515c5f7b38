"""-q: neither notes nor progress, at a terminal too. And what is said only once of a file."""
import os
import pty
import shutil
import struct
import subprocess
import unittest
from pathlib import Path

from command import GOLDEN, MODEL, PROGRAM, CommandTest
from hub_server import Hub


def model_with_what_looks_like_an_end():
    """A golden model whose second token is a file separator by its text and ordinary by its type, as </s> of Gemma 3 is."""
    data = bytearray(Path(MODEL).read_bytes())
    tokens = data.index(b"tokenizer.ggml.tokens")
    at = data.index(b"<|im_start|>", tokens)
    data[at:at + 12] = b"<|file_sep|>"
    types = data.index(b"tokenizer.ggml.token_type") + len(b"tokenizer.ggml.token_type")
    array, element, count = struct.unpack_from("<IIQ", data, types)
    assert (array, element) == (9, 5) and count > 2  # an array of i32
    struct.pack_into("<i", data, types + 16 + 4, 1)
    return bytes(data)


class Quiet(CommandTest):
    def setUp(self):
        super().setUp()
        self.model = self.home / "model.gguf"
        self.model.write_bytes(model_with_what_looks_like_an_end())
        self.text = self.home / "text"
        self.text.write_text("the other word is how and that said " * 40)
        self.hub = Hub()
        self.addCleanup(self.hub.close)

    def environment(self, **more):
        kept = {k: v for k, v in super().environment().items()
                if not k.startswith(("HF_", "HUGGING", "CURL_", "SSL_")) and not k.lower().endswith("_proxy")}
        return {**kept, "HF_ENDPOINT": self.hub.url, **more}

    def on_a_terminal(self, *arguments):
        """What the command writes to standard error, which is a terminal."""
        master, slave = pty.openpty()
        child = subprocess.Popen([PROGRAM, *map(str, arguments)], env=self.environment(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        text = b""
        try:
            while block := os.read(master, 4096):
                text += block
        except OSError:  # how Linux tells the end
            pass
        os.close(master)
        self.assertEqual(child.wait(60), 0, text)
        return text.decode()

    def commands(self):
        out = self.home / "out"
        return {"run": ["run", "-m", self.model, "-p", "the", "-n", 2], "score": ["score", "-m", self.model, "-f", self.text, "-c", 16],
                "story": ["run", "-n", 2], "chat": ["chat", "-m", self.model, "--chat-template", "{{ messages[0].content }}"],
                "quantize": ["quantize", self.model, out, "Q8_0", "--force"],
                "convert": ["convert", self.model, out, "--type", "Q8_0", "--force"],
                "bench": ["bench", "-m", self.model, "-p", 4, "-n", 2, "-r", 1],
                "pull": ["pull", "hf:test/tiny"], "run --pull": ["run", "-m", "hf:test/tiny", "-p", "the", "-n", 2, "--pull"],
                "tokenize": ["tokenize", "-m", self.model, "-p", "the", "--pre", "llama-bpe"]}

    def test_nothing_on_standard_error(self):
        silent = set()
        for name, command in self.commands().items():
            for quiet in (True, False):
                with self.subTest(name, quiet=quiet):
                    shutil.rmtree(self.home / ".cache", ignore_errors=True)
                    # Large enough for a bar. Not a model for `pull` alone.
                    self.hub.files["model.gguf"] = bytes(300_000) if name == "pull" else self.model.read_bytes()
                    text = self.on_a_terminal(*command, *(["-q"] if quiet else []))
                    if quiet:
                        self.assertEqual(text, "")
                    elif not text:
                        silent.add(name)
        self.assertEqual(silent - {"chat"}, set())  # a chat without a word has nothing to say

    REMARK = "'<|file_sep|>' is not marked as a control token in the file; it is ordinary text and ends nothing"

    def test_a_remark_is_made_once(self):
        self.hub.files["model.gguf"] = self.model.read_bytes()
        name = "hf:test/tiny/model.gguf"
        self.assertIn(self.REMARK, self.run_command("pull", name)[2])
        self.assertNotIn(self.REMARK, self.run_command("pull", name)[2])  # here already
        self.assertIn(self.REMARK, self.output("inspect", name))
        for command in (["run", "-p", "the", "-n", 1], ["score", "-f", self.text, "-c", 16], ["tokenize", "-p", "the"],
                        ["chat", "--chat-template", "{{ messages[0].content }}"], ["bench", "-p", 4, "-n", 1, "-r", 1]):
            code, _, err = self.run_command(*command, "-m", name)
            self.assertEqual(code, 0, err)
            self.assertNotIn("file_sep", err)
        shutil.rmtree(self.home / ".cache")
        self.assertNotIn(self.REMARK, self.run_command("pull", "-q", name)[2])


if __name__ == "__main__":
    unittest.main()
