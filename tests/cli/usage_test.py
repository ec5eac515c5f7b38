"""Flags, variables, help and exit codes."""
import os
import unittest

from command import MODEL, CommandTest


class Usage(CommandTest):
    def test_help_of_everything(self):
        out = self.output("--help")
        for command in ("run", "chat", "inspect", "tokenize", "score", "bench", "pull", "convert", "quantize"):
            self.assertIn(command, out)
            text = self.output(command, "--help")
            self.assertIn("Examples:", text)
        self.assertIn("Exit codes: 0 done", out)

    def test_exit_codes_in_help_and_docs_agree(self):
        words = " ".join(self.output("--help").split())
        listed = words[words.index("Exit codes:"):words.index("130 interrupted")]
        docs = (os.path.dirname(__file__) + "/../../docs/cli.md")
        with open(docs) as file:
            table = file.read()
        for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9):
            self.assertIn(f" {code} ", listed)
            self.assertIn(f"| {code} |", table)

    def test_bad_flags_and_values(self):
        for arguments in (["--no-such-flag"], ["fly"], ["run", "--no-such-flag"], ["run", "-t", "-1"], ["run", "-n", "x"],
                          ["run", "-n", "-2", "-p", "a"], ["run", "--seed", "-1"], ["run", "--kv-type", "q8"], ["run", "-t"],
                          ["run", "-m", MODEL, "-p", "a", "--tokens", "1"], ["run", "-m", MODEL, "--tokens", "1,x"],
                          ["run", "-m", MODEL, "--tokens", "99999999"], ["run", "-m", MODEL, "--tokens=-1"],
                          ["run", "-m", MODEL, "-p", "a", "--temp", "nan"], ["run", "-m", MODEL, "-p", "a", "--top-p", "2"],
                          ["run", "-m", MODEL, "-p", "a", "--logit-bias", "x=1"], ["run", "-m", MODEL, "-p", "a", "--isa", "mmx"],
                          ["run", "-m", MODEL, "-p", "a", "--raw", "--system", "b"], ["run", "-m", MODEL],
                          ["score", "-m", MODEL], ["score", "-m", MODEL, "-f", "a", "--ctx", "1"],
                          ["bench", "-m", MODEL, "-p", "1,,2"], ["bench", "-m", MODEL, "-p", "0", "-n", "0"],
                          ["tokenize", "-m", MODEL], ["pull"]):
            with self.subTest(arguments):
                self.fails(2, *arguments)

    def test_no_command_shows_help(self):
        code, out, err = self.run_command()
        self.assertEqual((code, out), (2, ""))
        self.assertIn("rowmax pull smollm2", err)

    def test_missing_files_and_models(self):
        self.fails(8, "run", "-m", "/no/such/file.gguf", "-p", "a", says="/no/such/file.gguf")
        self.fails(8, "run", "-m", "smollm2", "-p", "a", says="rowmax pull smollm2")
        self.fails(8, "run", "-m", MODEL, "-f", "/no/such/prompt", says="/no/such/prompt")
        self.fails(8, "pull", "llama9", says="smollm2")

    def test_broken_model(self):
        path = self.home / "broken.gguf"
        with open(MODEL, "rb") as model:
            path.write_bytes(model.read(1000))
        self.fails(3, "run", "-m", path, "-p", "a", says="broken.gguf")
        path.write_bytes(b"PK\x03\x04" + bytes(2000))
        self.fails(3, "inspect", "-m", path, says="broken.gguf")

    def test_unknown_instruction_set(self):
        for command in (["--version"], ["run", "-m", MODEL, "-p", "a"]):
            code, _, err = self.run_command(*command, env={"ROWMAX_ISA": "unknown"})
            self.assertEqual(code, 2)
            self.assertIn("unknown", err)
            self.assertIn("scalar", err)  # what there is

    def test_variables(self):
        tokens = ["run", "-m", MODEL, "--tokens", "1,2,3", "--greedy", "--ignore-eos"]
        self.assertEqual(len(self.json(*tokens, env={"ROWMAX_N_PREDICT": "3"})["tokens"]), 3)
        self.assertEqual(len(self.json(*tokens, "-n", 2, env={"ROWMAX_N_PREDICT": "3"})["tokens"]), 2)
        self.assertEqual(len(self.json(*tokens, "-n", 2, "-n", 5)["tokens"]), 5)  # the later one wins
        self.fails(2, *tokens, env={"ROWMAX_N_PREDICT": "three"})
        # A variable that another command reads as a list does no harm.
        self.output("tokenize", "-m", MODEL, "-p", "a", env={"ROWMAX_THREADS": "1,2"})

    def test_no_colour_outside_a_terminal(self):
        _, out, err = self.run_command("run", "-m", MODEL, "--tokens", "1,2", "-n", 2)
        self.assertNotIn("\x1b", out + err)
        self.assertIn("tok/s", err)
        self.assertNotIn("tok/s", self.run_command("run", "-m", MODEL, "--tokens", "1,2", "-n", 2, "-q")[2])

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        import subprocess
        from command import PROGRAM
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "tokenize", "-m", MODEL, "-p", "abc", "--json"], stdout=full,
                                    stderr=subprocess.PIPE, env=self.environment())
        self.assertEqual(result.returncode, 7)


if __name__ == "__main__":
    unittest.main()
