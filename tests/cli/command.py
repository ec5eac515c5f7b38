"""Helpers of the tests in this folder: run the command in an empty home, with nothing of the caller's settings."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MODEL = str(GOLDEN / "llama_bias.gguf")
# X_test.py PROGRAM SLOW_MODEL [unittest's arguments]: the command, and a model too slow to be done before a signal.
PROGRAM, SLOW_MODEL = sys.argv.pop(1), sys.argv.pop(1)


class CommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROWMAX_", "XDG_", "NO_COLOR"))}
        return {**kept, "HOME": str(self.home), "TERM": "xterm", **more}

    def run_command(self, *arguments, stdin="", stdin_file=None, env=None):
        """Returns (exit code, standard output, standard error). stdin is piped in; stdin_file is a name instead."""
        source = {"input": stdin.encode()} if stdin_file is None else {"stdin": open(stdin_file, "rb")}
        result = subprocess.run([PROGRAM, *map(str, arguments)], **source, capture_output=True, timeout=300,
                                env=self.environment(**(env or {})))
        if stdin_file is not None:
            source["stdin"].close()
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    def output(self, *arguments, **more):
        code, out, err = self.run_command(*arguments, **more)
        self.assertEqual(code, 0, f"{arguments}: {err}")
        return out

    def json(self, *arguments, **more):
        """The one JSON object that must be all of standard output."""
        out = self.output(*arguments, "--json", **more)
        self.assertEqual(out.count("\n"), 1, out[:200])
        return json.loads(out)

    def fails(self, code, *arguments, says="", **more):
        got, out, err = self.run_command(*arguments, **more)
        self.assertEqual(got, code, f"{arguments}: {out[:200]} {err}")
        self.assertEqual(out, "")
        self.assertIn("rowmax: error:", err)
        self.assertIn(says, err)
        return err
