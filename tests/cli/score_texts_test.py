"""`rowmax score --jsonl`: the loss of each text, whatever batch it is in and however that is padded."""
import json
import math
import unittest

from command import GOLDEN, CommandTest
from trace_test import read_safetensors

TEXTS = ["the quick brown fox jumps over the lazy dog, and then it sleeps", "a", "", "Hi there", "one two three four",
         "zebra " * 40]
# One with every kind of attention's sliding windows, one with recurrent layers, one that does not add BOS.
MODELS = ("llama_bias.gguf", "gemma3.gguf", "qwen35moe.gguf")


class ScoreTexts(CommandTest):
    def write(self, lines):
        file = self.home / "texts.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file

    def scores(self, model, file, *more):
        out = self.output("score", "-q", "-m", GOLDEN / model, "--jsonl", file, *more)
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([row["index"] for row in rows], list(range(len(rows))))
        return [(row["n_scored"], row["nll"]) for row in rows]

    def tokens(self, model, text):
        """As a text is scored: with BOS in front where the model adds one."""
        return self.json("run", "-q", "-m", GOLDEN / model, "--raw", "-p", text, "-n", 1)["prompt_tokens"]

    def test_padding_and_batch_change_nothing(self):
        """The NaN of left padding in other engines' evaluation: a loss is finite, and the one it is alone."""
        for model in MODELS:
            alone = []
            for text in TEXTS:
                alone += self.scores(model, self.write([{"text": text}]), "--batch", 1)
            for n_scored, nll in alone:
                self.assertEqual(nll is None, n_scored == 0)
                self.assertTrue(nll is None or math.isfinite(nll))
            self.assertGreater(alone[0][0], 5)
            self.assertGreater(alone[5][0], 64)  # more than a page, longer than the window of gemma3
            file = self.write([{"text": text} for text in TEXTS])
            for batch in (1, 2, 3, 4, 5, 8):
                for padding in ("left", "right", "none"):
                    self.assertEqual(self.scores(model, file, "--batch", batch, "--padding", padding), alone,
                                     f"{model} {batch} {padding}")
            self.assertEqual(self.scores(model, file), alone)
            self.assertEqual(self.scores(model, file, "--isa", "scalar", "-t", 1, "--padding", "left"), alone)

    def test_a_loss_is_what_the_logits_say(self):
        """Held against a softmax in Python of the logits that `dump` writes."""
        for model in MODELS:
            tokens = [5, 17, 99, 17, 23, 8, 1, 64, 33]
            file = self.home / "logits.safetensors"
            self.output("dump", "-q", "-m", GOLDEN / model, "--tokens", ",".join(map(str, tokens)), "--stages", "logits", file,
                        "--force")
            shape, values = read_safetensors(file)[1]["logits"]
            total = 0
            for i, token in enumerate(tokens[1:]):
                row = values[i * shape[1]:(i + 1) * shape[1]]
                most = max(row)
                total -= row[token] - most - math.log(math.fsum(math.exp(x - most) for x in row))
            scores = self.scores(model, self.write([{"tokens": [7] * 30}, {"tokens": tokens}]), "--padding", "left")
            self.assertEqual(scores[1][0], len(tokens) - 1)
            self.assertAlmostEqual(scores[1][1], total / (len(tokens) - 1), 9)

    def test_beside_plain_score(self):
        """A window's later half is the whole text less its beginning."""
        model, window = "llama_bias.gguf", 64
        tokens = [1] + [(3 + 7 * i) % 200 for i in range(window - 1)]  # BOS, as plain score puts there
        ids = self.home / "ids.json"
        ids.write_text(json.dumps(tokens))
        plain = self.json("score", "-q", "-m", GOLDEN / model, "--token-ids", ids, "-c", window)
        tokens[0] = self.tokens(model, "x")[0] if len(self.tokens(model, "x")) > 1 else tokens[0]
        file = self.write([{"tokens": tokens}, {"tokens": tokens[:window // 2 + 1]}])
        (n, whole), (m, start) = self.scores(model, file, "--padding", "left")
        self.assertEqual(plain["n_scored"], n - m)
        self.assertAlmostEqual(plain["nll"], (n * whole - m * start) / (n - m), 9)

    def test_refusals(self):
        score = ("score", "-q", "-m", GOLDEN / "llama_bias.gguf")
        good = self.write([{"text": "a"}])
        self.fails(2, *score, "-f", good, "--padding", "left", says="--jsonl")
        self.fails(2, *score, "-f", good, "--jsonl", good, says="give one of")
        self.fails(2, *score, "--jsonl", good, "--padding", "middle")
        self.fails(2, *score, "--jsonl", good, "--batch", 0)
        self.fails(2, *score, "--jsonl", good, "--logprobs", self.home / "x.npz", says="--logprobs")
        self.fails(5, *score, "--jsonl", self.write([{"text": "a"}, {"tokens": [1] * 9}]), "-c", 8,
                   says="texts.jsonl:2: 9 tokens, the context is 8")
        for line in ('["a"]', '{"text": 1}', '{"text": "a"', '{"tokens": [1, 99999]}'):
            good.write_text('{"text": "a"}\n\n' + line + "\n")
            self.fails(3, *score, "--jsonl", good, says="texts.jsonl:3")
        for both in ('{"text": "a", "tokens": [1]}', '{"tokens": [1], "text": 1}'):
            good.write_text('{"text": "a"}\n' + both + "\n")
            self.fails(3, *score, "--jsonl", good, says='texts.jsonl:2: both "text" and "tokens"')
        good.write_text('{"text": "a"}\n')
        self.assertEqual(self.output(*score, "--jsonl", good, "--json"), self.output(*score, "--jsonl", good))
        good.write_text("")
        self.assertEqual(self.output(*score, "--jsonl", good), "")


if __name__ == "__main__":
    unittest.main()
