"""`rowmax embed`: its forms of input and output; the vectors themselves are held against transformers' by embed_test.cc."""
import json
import math
import unittest

import gguf_bytes
from command import GOLDEN, CommandTest

QWEN3 = GOLDEN / "bitnet_embed_qwen3.gguf"  # pooling_type 3, last
GEMMA3 = GOLDEN / "bitnet_embed_gemma3.gguf"  # 1, mean
TEXTS = ["the other word", "a", "how said an each she", "the " * 90]


class Embed(CommandTest):
    def lines(self, *arguments):
        return [json.loads(line) for line in self.output("embed", "-q", *arguments).splitlines()]

    def fails_with(self, *arguments, says):
        err = self.fails(*arguments)
        for text in says:
            self.assertIn(text, err)

    def test_a_text_in_any_form_and_company(self):
        alone = [self.lines("-m", QWEN3, text)[0] for text in TEXTS]
        together = self.lines("-m", QWEN3, *TEXTS)
        self.assertEqual([line["index"] for line in together], [0, 1, 2, 3])
        file = self.home / "texts.jsonl"
        file.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS) + "\n\n")
        one = self.home / "one.txt"
        one.write_text(TEXTS[0] + "\n")
        self.assertEqual(self.lines("-m", QWEN3, "-f", one), alone[:1])
        for more in (["--batch", 1], ["--batch", 3], ["-t", 1, "--isa", "scalar"], ["--pooling", "last"]):
            found = self.lines("-m", QWEN3, "--jsonl", file, *more)
            self.assertEqual([line["embedding"] for line in found], [line["embedding"] for line in alone])
        self.assertEqual([line["embedding"] for line in together], [line["embedding"] for line in alone])
        for line in alone:
            self.assertEqual(len(line["embedding"]), 40)
            self.assertAlmostEqual(math.fsum(x * x for x in line["embedding"]), 1, places=6)
        whole = self.json("embed", "-q", "-m", QWEN3, *TEXTS, "--normalize", "none")
        self.assertEqual((whole["n_embd"], whole["pooling"], whole["normalize"]), (40, "last", "none"))
        for line, plain in zip(alone, whole["embeddings"]):
            length = math.sqrt(math.fsum(x * x for x in plain["embedding"]))
            for x, y in zip(line["embedding"], plain["embedding"]):
                self.assertAlmostEqual(x, y / length, places=6)

    def test_tokens_are_taken_as_they_are(self):
        ids = self.json("tokenize", "-m", QWEN3, "-p", TEXTS[0])["tokens"]
        file = self.home / "tokens.jsonl"
        file.write_text(json.dumps({"tokens": ids}))
        self.assertEqual(self.lines("-m", QWEN3, "--jsonl", file), self.lines("-m", QWEN3, TEXTS[0]))

    def test_pooling_is_the_files_or_said(self):
        mean = self.lines("-m", GEMMA3, TEXTS[0])
        self.assertEqual(self.lines("-m", GEMMA3, TEXTS[0], "--pooling", "mean"), mean)
        self.assertNotEqual(self.lines("-m", GEMMA3, TEXTS[0], "--pooling", "last"), mean)
        self.assertIn("--pooling last", self.run_command("embed", "-m", GEMMA3, "a")[2])
        last = self.lines("-m", GEMMA3, TEXTS[0], "--pooling", "last")
        self.assertEqual(self.lines("-m", GEMMA3, TEXTS[0], "--set", "gemma3.pooling_type=3"), last)
        keys = {row["key"]: row["use"] for row in self.json("inspect", "-m", GEMMA3)["keys"]}
        self.assertEqual(keys["gemma3.pooling_type"], "read")
        # The file is there and well-formed, and says no pooling: unsupported, as `chat` without a template.
        self.fails_with(4, "embed", "-m", GOLDEN / "qwen3.gguf", "a",
                        says=["qwen3.gguf: key 'qwen3.pooling_type' is missing", "--pooling last, mean or cls"])
        # It is said before any weight is read.
        damaged = self.home / "damaged.gguf"
        gguf_bytes.with_f32(GOLDEN / "qwen3.gguf", damaged, "blk.0.attn_norm.weight", 0, math.nan)
        self.fails_with(3, "embed", "-m", damaged, "a", "--pooling", "last", says=["blk.0.attn_norm.weight"])
        self.fails_with(4, "embed", "-m", damaged, "a", says=["key 'qwen3.pooling_type' is missing"])
        self.fails_with(4, "embed", "-m", QWEN3, "a", "--set", "qwen3.pooling_type=0",
                        says=["key 'qwen3.pooling_type': expected 1 (mean), 2 (cls) or 3 (last), found 0", "--pooling"])
        self.fails_with(4, "embed", "-m", QWEN3, "a", "--set", "qwen3.pooling_type=4", says=["found 4", "--pooling"])

    def test_words_win_over_variables(self):
        alone = self.lines("-m", QWEN3, TEXTS[0])
        for name in ("ROWMAX_FILE", "ROWMAX_JSONL"):
            out = self.output("embed", "-q", "-m", QWEN3, TEXTS[0], env={name: "/no/such/file"})
            self.assertEqual([json.loads(line) for line in out.splitlines()], alone)
            self.fails(8, "embed", "-q", "-m", QWEN3, env={name: "/no/such/file"}, says="/no/such/file")
        self.fails(2, "embed", "-m", QWEN3, TEXTS[0], "--keep-newline", says="--keep-newline: has no effect beside text")
        self.fails(2, "embed", "-m", QWEN3, "--keep-newline", env={"ROWMAX_JSONL": "x"},
                   says="--keep-newline: has no effect beside --jsonl (ROWMAX_JSONL)")
        self.fails(2, "tokenize", "-m", QWEN3, "-p", "a", "--keep-newline", says="--keep-newline")
        self.fails(2, "run", "-m", QWEN3, "--system", "a", env={"ROWMAX_TOKENS": "1,2"}, says="ROWMAX_TOKENS")

    def test_what_cannot_be_embedded_is_named(self):
        self.fails_with(2, "embed", "-m", QWEN3, says=["give texts"])
        self.fails_with(2, "embed", "-m", QWEN3, "a", "-f", "x", says=["give texts"])
        file = self.home / "texts.jsonl"
        file.write_text('{"text": "a"}\n{"text": ""}\n')
        self.fails_with(2, "embed", "-m", QWEN3, "--jsonl", file, says=["texts.jsonl:2", "at least one token"])
        file.write_text('{"text": "a"}\n{"txt": "b"}\n')
        self.fails_with(3, "embed", "-m", QWEN3, "--jsonl", file, says=["texts.jsonl:2", "expected"])
        self.fails_with(5, "embed", "-m", QWEN3, "-c", 16, TEXTS[3], says=["text 0", "the context is 16"])


if __name__ == "__main__":
    unittest.main()
