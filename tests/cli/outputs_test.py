"""What commands write: regular files that are no input, whole or not at all, nothing left behind."""
import os
import shutil
import signal
import subprocess
import time
import unittest

from command import MODEL, PROGRAM, SLOW_MODEL, CommandTest


class Outputs(CommandTest):
    def setUp(self):
        super().setUp()
        self.model = self.home / "model.gguf"
        shutil.copy(MODEL, self.model)
        self.text = self.home / "text"
        self.text.write_text("the other word is how and that said " * 8)

    def writers(self, out, force=True):
        """The commands that write a file, each for this one."""
        more = ("--force",) if force else ()
        return [("quantize", self.model, out, "Q8_0", *more), ("convert", self.model, out, "--type", "Q8_0", *more),
                ("score", "-m", self.model, "-f", self.text, "-c", 32, "--logprobs", out, *more)]

    def test_neither_devices_nor_inputs_nor_without_force(self):
        fifo, hard, soft, dangling = (self.home / n for n in ("fifo", "hard", "soft", "dangling"))
        os.mkfifo(fifo)
        os.link(self.model, hard)
        soft.symlink_to(self.model)
        dangling.symlink_to("nowhere")
        before, text = self.model.read_bytes(), self.text.read_text()
        for out in ("/dev/null", fifo, hard, soft, dangling, self.model, self.home, "-"):
            for command in self.writers(out):
                with self.subTest(command):
                    self.fails(2, *command, says=str(out))
        self.fails(2, "score", "-m", self.model, "-f", self.text, "-c", 32, "--logprobs", self.text, "--force",
                   says="the output is the input")
        mine = self.home / "mine"
        mine.write_text("mine")
        for command in self.writers(mine, force=False):
            self.fails(2, *command, says="--force")
        self.assertEqual((mine.read_text(), self.model.read_bytes(), self.text.read_text()), ("mine", before, text))
        for command in self.writers(mine):
            self.output(*command)
            self.assertGreater(mine.stat().st_size, 100)
        self.assertEqual(len(list(self.home.glob("*.tmp"))), 0)

    def stop_while_writing(self, number, *more, ignored=()):
        """Sends the signal when the temporary file is there; returns how the command ended. `ignored`: the signals that
        the command is started with as ignored (nohup)."""
        out = self.home / "out.gguf"
        process = subprocess.Popen([PROGRAM, "quantize", SLOW_MODEL, out, "Q4_K", "-q", "-t", "1", *more],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment(),
                                   preexec_fn=lambda: [signal.signal(each, signal.SIG_IGN) for each in ignored])
        deadline = time.monotonic() + 60
        # The second temporary file of a name is the one with the weights.
        first = "out-00001-of-*.gguf" if more else "out.gguf"
        while not [p for p in self.home.glob(first + ".rowmax-*.tmp") if not p.name.endswith("-0.tmp")] and process.poll() is None:
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(number)
        return process.wait(60)

    def test_signals_leave_nothing(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXCPU, signal.SIGINT):
            with self.subTest(number):
                code = self.stop_while_writing(number)
                self.assertEqual(code, 130 if number == signal.SIGINT else -number)
                self.assertEqual(list(self.home.glob("out.gguf*")), [])

    def test_a_signal_that_was_ignored_stays_so(self):
        numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
        for number in numbers:
            with self.subTest(number):
                out = self.home / "out.gguf"
                out.unlink(missing_ok=True)
                self.assertEqual(self.stop_while_writing(number, ignored=numbers), 0)
                self.assertIn("tensors", self.json("inspect", out))

    def test_signals_leave_no_parts(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                self.stop_while_writing(number, "--split-max-size", "1M")
                self.assertEqual(list(self.home.glob("out*")), [])
        self.stop_while_writing(signal.SIGKILL, "--split-max-size", "1M")
        self.assertGreater(len(list(self.home.glob("out*.tmp"))), 0)
        self.output("quantize", SLOW_MODEL, self.home / "out.gguf", "Q4_K", "--split-max-size", "1M")
        self.assertEqual(list(self.home.glob("out*.tmp")), [])

    def test_a_folder_that_is_removed_meanwhile_is_said_of_the_output(self):
        """Where nothing is renamed yet; the message names neither the input nor a missing model."""
        for more in ((), ("--split-max-size", "1M")):
            folder = self.home / "folder"
            folder.mkdir()
            out = folder / "out.gguf"
            process = subprocess.Popen([PROGRAM, "quantize", SLOW_MODEL, out, "Q4_K", "-q", "-t", "1", *more],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment())
            deadline = time.monotonic() + 60
            while not any(folder.iterdir()):
                self.assertLess(time.monotonic(), deadline)
            process.send_signal(signal.SIGSTOP)
            shutil.rmtree(folder)
            process.send_signal(signal.SIGCONT)
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 7, err)
            self.assertRegex(err.decode(), f"error: {folder}/out[-0-9of]*.gguf: .*")
            self.assertNotIn(SLOW_MODEL, err.decode())

    def test_long_names(self):
        out = self.home / ("n" * 250 + ".gguf")
        for command in self.writers(out):
            self.output(*command)
            self.assertEqual([len(p.name) for p in self.home.glob("nnn*")], [255])

    def test_a_persons_file_is_no_leftover(self):
        mine = self.home / "out.gguf.tmp.1.1"
        mine.write_text("mine")
        self.output("quantize", self.model, self.home / "out.gguf", "Q8_0")
        self.assertEqual(mine.read_text(), "mine")

    def test_the_next_run_removes_what_a_kill_left(self):
        self.assertEqual(self.stop_while_writing(signal.SIGKILL), -signal.SIGKILL)
        self.assertEqual(len(list(self.home.glob("out.gguf.rowmax-*.tmp"))), 1)
        self.output("quantize", self.model, self.home / "out.gguf", "Q8_0")
        self.assertEqual([p.name for p in self.home.glob("out.gguf*")], ["out.gguf"])


if __name__ == "__main__":
    unittest.main()
