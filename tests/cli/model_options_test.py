"""What a file leaves open and a flag or the architecture settles."""
import unittest

from command import GOLDEN, CommandTest


class ModelOptions(CommandTest):
    def test_missing_pre_tokenizer(self):
        """BitNet files name none and mean llama-bpe; of other files nothing is known."""
        for name, known in (("bitnet", True), ("qwen3", False)):
            bytes_ = (GOLDEN / f"{name}.gguf").read_bytes()
            self.assertEqual(bytes_.count(b"tokenizer.ggml.pre"), 1)
            path = self.home / f"{name}.gguf"
            path.write_bytes(bytes_.replace(b"tokenizer.ggml.pre", b"general.other_name"))
            with self.subTest(name):
                if known:
                    self.assertEqual(self.json("inspect", "-m", path)["tokenizer"]["pre"], "llama-bpe")
                    code, out, err = self.run_command("tokenize", "-m", path, "-p", "the hand")
                    self.assertEqual(code, 0, err)
                    self.assertIn("tokenizer.ggml.pre is missing", err)
                    self.assertEqual(out, self.output("tokenize", "-m", path, "--pre", "llama-bpe", "-p", "the hand"))
                    self.assertIn("tokenizer.ggml.pre is missing",
                                  self.run_command("run", "-m", path, "-p", "the hand", "-n", "2")[2])
                else:
                    self.fails(4, "tokenize", "-m", path, "-p", "a", says="--pre")

    def test_unknown_layout(self):
        for command in (["run", "-p", "a"], ["inspect"], ["tokenize", "-p", "a"]):
            self.fails(2, *command, "-m", GOLDEN / "bitnet.gguf", "--format", "I2_S_7", says="I2_S_7")


if __name__ == "__main__":
    unittest.main()
