"""A model file that somebody truncates while a command works with it: exit code 3, the file named, no output left.

Each is caught at a point where the command is known to wait or to go on for long, so that the file was whole when it
was opened and is not when it is looked at again.
"""
import os
import shutil
import signal
import subprocess
import time
import unittest

from command import PROGRAM, SLOW_MODEL, CommandTest


class Truncated(CommandTest):
    def setUp(self):
        super().setUp()
        self.model = self.home / "model.gguf"
        shutil.copy(SLOW_MODEL, self.model)

    def start(self, *arguments):
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment())
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def truncate(self):
        os.truncate(self.model, 5000)

    def ends_with_3(self, process):
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3, err)
        self.assertIn(f"rowmax: error: {self.model}: the file was truncated", err.decode())
        self.assertEqual(sorted(p.name for p in self.home.iterdir() if not p.name.startswith(".")), self.left)
        return out

    def test_score(self):
        """Loaded, it waits for the text. The weights are in memory of its own by then: the size of the file tells."""
        text = self.home / "text"
        os.mkfifo(text)
        for as_json in ((), ("--json",)):
            shutil.copy(SLOW_MODEL, self.model)
            process = self.start("score", "-m", self.model, "-f", text, "-c", 16, "--logprobs", self.home / "out.npz", *as_json)
            with open(text, "w") as feed:  # waits until the command opens its end
                self.truncate()
                feed.write("the other word is how and that said " * 20)
            self.left = ["model.gguf", "text"]
            self.assertEqual(self.ends_with_3(process), b"")

    def test_run(self):
        """It writes, and has to look at the file again for the next token."""
        self.left = ["model.gguf"]
        process = self.start("run", "-m", self.model, "--tokens", "5,6,7", "-c", 100000, "--ignore-eos", "--logit-bias",
                             "0=-50,1=-50,2=-50")
        self.assertTrue(process.stdout.read(1))
        self.truncate()
        self.ends_with_3(process)

    def test_quantize(self):
        """Stopped while it writes, with matrices that it has still to read from the map: the reads fault."""
        for more in ((), ("--split-max-size", "1M")):
            shutil.copy(SLOW_MODEL, self.model)
            process = self.start("quantize", self.model, self.home / "out.gguf", "Q4_K", "-q", "-t", 1, *more)
            deadline = time.monotonic() + 60
            # The second temporary file of a name is the one with the weights.
            while not [p for p in self.home.glob("out*.tmp") if not p.name.endswith("-0.tmp")]:
                self.assertLess(time.monotonic(), deadline)
                self.assertIsNone(process.poll())
            process.send_signal(signal.SIGSTOP)
            self.truncate()
            process.send_signal(signal.SIGCONT)
            self.left = ["model.gguf"]
            self.ends_with_3(process)


if __name__ == "__main__":
    unittest.main()
