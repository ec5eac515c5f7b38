"""`rowmax trace` and `rowmax dump`: what a stage computed, as a table and as a file."""
import json
import math
import struct
import unittest

from command import GOLDEN, CommandTest

HYBRID = GOLDEN / "qwen35moe.gguf"
TOKENS = ("--tokens", "5,6,7,8")


def read_safetensors(path):
    """(metadata, {name: (shape, values)})"""
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header, data = json.loads(data[8:8 + n]), data[8 + n:]
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, row in header.items():
        begin, end = row["data_offsets"]
        assert row["dtype"] == "F32"
        tensors[name] = (row["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[begin:end]))
    return metadata, tensors


class Trace(CommandTest):
    def test_a_dump_is_what_trace_shows(self):
        file = self.home / "out.safetensors"
        said = self.json("dump", "-m", HYBRID, *TOKENS, "--stages", "all", file)
        metadata, tensors = read_safetensors(file)
        self.assertEqual(said["n_tensors"], len(tensors))
        self.assertEqual(json.loads(metadata["tokens"]), [5, 6, 7, 8])
        self.assertTrue(any(len(v) == 64 for k, v in metadata.items() if k.startswith("sha256:")), metadata)
        self.assertEqual(json.loads(metadata["facts"])["architecture"], "qwen35moe")
        self.assertEqual(json.loads(metadata["edits"]), {})
        for name in ("embedding", "logits", "output_norm", "blk.0.state", "blk.3.scores", "blk.3.experts", "blk.0.q",
                     "blk.0.gate", "blk.0.shared.gate", "blk.3.shared.up", "blk.3.shared.act"):
            self.assertIn(name, tensors)
        rows = self.json("trace", "-m", HYBRID, *TOKENS, "--stages", "residual", "--token", 2)["rows"]
        self.assertGreater(len(rows), 2)
        for row in rows:
            shape, values = tensors[row["stage"]]
            width = shape[1]
            values = values[2 * width:3 * width]
            self.assertEqual(row["width"], width)
            self.assertEqual([struct.unpack("<f", struct.pack("<f", v))[0] for v in row["first"]], list(values[:8]))
            self.assertAlmostEqual(row["rms"], math.sqrt(sum(v * v for v in values) / width), 5)
            self.assertEqual(row["n_non_finite"], 0)
        # One head of many.
        (row,) = self.json("trace", "-m", HYBRID, *TOKENS, "--stages", "scores", "--layers", 3, "--head", 1)["rows"]
        self.assertEqual((row["stage"], row["head"]), ("blk.3.scores", 1))
        self.assertAlmostEqual(sum(row["first"]), 1, 5)
        text = self.output("trace", "-m", HYBRID, *TOKENS, "--layers", "0-1")
        self.assertIn("blk.1.residual", text)
        self.assertNotIn("blk.2.residual", text)

    def test_a_long_prompt_is_one_tensor_a_stage(self):
        """It is computed in pieces, and hybrids cut it at page edges: that is nobody's business here."""
        for n in (65, 500):
            tokens = ("--tokens", ",".join(str(3 + i % 200) for i in range(n)))
            file = self.home / f"{n}.safetensors"
            said = self.json("dump", "-m", GOLDEN / "qwen35.gguf", *tokens, "--stages", "all", file)
            _, tensors = read_safetensors(file)
            self.assertEqual(said["n_tensors"], len(tensors))
            for name, (shape, values) in tensors.items():
                self.assertEqual(shape[0], 1 if name.endswith(".state") else n, name)
                self.assertEqual(len(values), shape[0] * shape[1], name)
            # Keys that a token does not see have no weight; those that it sees add up to 1.
            shape, values = tensors["blk.3.scores"]
            for row in (0, 63, 64, n - 1):
                head = values[row * shape[1]:row * shape[1] + n]
                self.assertAlmostEqual(sum(head[:row + 1]), 1, 5)
                self.assertEqual(sum(head[row + 1:]), 0)
            (last,) = self.json("trace", "-m", GOLDEN / "qwen35.gguf", *tokens, "--stages", "logits")["rows"]
            self.assertEqual([struct.unpack("<f", struct.pack("<f", v))[0] for v in last["last"]],
                             list(tensors["logits"][1][-8:]))

    def test_numbers_that_are_not_finite_are_shown_and_said(self):
        fault = (*TOKENS, "--convention", "rope_base=1e-300")
        code, out, err = self.run_command("trace", "-m", GOLDEN / "qwen3moe.gguf", *fault)
        self.assertEqual(code, 6, err)
        self.assertIn("blk.1.residual", out)
        self.assertIn("not finite", err)
        file = self.home / "nan.safetensors"
        code, _, err = self.run_command("dump", "-m", GOLDEN / "qwen3moe.gguf", *fault, "--stages", "all", file)
        self.assertEqual(code, 6, err)
        self.assertTrue(any(v != v for v in read_safetensors(file)[1]["logits"][1]))

    def test_gates_of_every_row(self):
        """Every model that attends: as many rows as layers that attend, tokens and heads, none of which fails."""
        shape = {"llama_bias": (2, 4), "gemma2": (3, 4), "qwen35": (2, 3), "bitnet": (3, 4)}  # layers that attend, heads
        tokens = ("--tokens", ",".join(str(3 + i % 50) for i in range(80)))
        for name, (layers, heads) in shape.items():
            said = self.json("trace", "-m", GOLDEN / f"{name}.gguf", *tokens, "--gates")
            rows = {r["name"]: r for r in said["gates"]}
            self.assertEqual(list(rows), ["scale", "mask", "row_max", "sum", "parity"])
            self.assertEqual((said["n_prefill"], said["n_decode"]), (72 * layers * heads, 8 * layers * heads), name)
            for gate in rows.values():
                self.assertEqual(gate["failed"], 0, (name, gate))
                self.assertGreater(gate["passed"], 0.9 * said["n_rows"], (name, gate))
            self.assertEqual(said["rows"], [])
        one = ("trace", "-m", GOLDEN / "llama_bias.gguf", *tokens, "--gates", "--layers", 1, "--head", 2)
        said = self.json(*one, "--token", 20)
        (row,) = said["rows"]
        self.assertEqual((row["layer"], row["head"], row["token"], row["n_visible"], row["decode"]), (1, 2, 20, 21, False))
        self.assertEqual(row["largest_exp"], 1)
        self.assertEqual(said["n_rows"], 80)
        # The weights are those of the stage.
        (scores,) = self.json(*one[:5], "--stages", "scores", "--layers", 1, "--head", 2, "--token", 20)["rows"]
        self.assertEqual(scores["first"], row["first_weights"])
        text = self.output(*one)
        for word in ("scale ", "mask ", "row max ", "sum ", "parity ", "first keys", "last keys", "80 rows"):
            self.assertIn(word, text)
        self.fails(2, *one[:5], "--gates", "--head", 9, says="--head")

    def test_a_prompt_must_fit(self):
        self.fails(5, "trace", "-m", HYBRID, *TOKENS, "--ctx", 3, says="4 tokens does not fit the 3 of --ctx")

    def test_another_convention_is_another_computation(self):
        outs = []
        for more in ((), ("--convention", "rope_pairing=adjacent"), ("--convention", "rope_pairing=halves")):
            file = self.home / f"{len(outs)}.safetensors"
            self.output("dump", "-m", HYBRID, *TOKENS, "--stages", "logits", file, *more)
            outs.append(read_safetensors(file))
        self.assertEqual(outs[0][1], outs[2][1])
        self.assertNotEqual(outs[0][1], outs[1][1])
        self.assertEqual(json.loads(outs[1][0]["edits"]), {"rope_pairing": "adjacent"})
        run = ("run", "-m", GOLDEN / "llama_bias.gguf", "--raw", "-p", "the", "-n", 8, "--greedy")
        self.assertNotEqual(self.output(*run), self.output(*run, "--convention", "rope_base=10"))

        self.assertIn("tg", self.output("bench", "-m", HYBRID, "-p", 4, "-n", 2, "-r", 1, "--convention", "rope_base=5"))
        self.fails(2, "bench", "-m", HYBRID, "-p", 4, "-n", 2, "--convention", "base=5", says="rope_base")

    def test_refusals(self):
        file = self.home / "out.safetensors"
        dump = ("dump", "-m", HYBRID, file)
        self.fails(2, *dump, says="--tokens")
        self.fails(2, *dump, *TOKENS, "--stages", "q,Q", says='found "Q"')
        self.fails(2, *dump, *TOKENS, "--layers", "1-9", says='found "1-9"')
        self.fails(2, *dump, *TOKENS, "--convention", "rope_pairing", says="NAME=VALUE")
        self.fails(2, *dump, *TOKENS, "--convention", "pairing=halves", says="rope_pairing")
        self.fails(2, *dump, *TOKENS, "--convention", "tensor_layout=Q2_0", says="no tensor of this file")
        self.fails(2, "dump", "-m", GOLDEN / "llama_bias.gguf", file, *TOKENS, "--stages", "state", says="none of")
        self.fails(2, "trace", "-m", HYBRID, *TOKENS, "--token", 4, says="-4 to 3")
        self.fails(2, "trace", "-m", HYBRID, *TOKENS, "--head", 77, says="row 77 of --head")
        self.assertFalse(file.exists())
        file.write_text("mine")
        self.fails(2, *dump, *TOKENS, says="exists")
        self.assertEqual(file.read_text(), "mine")
        self.output(*dump, *TOKENS, "--force")
        self.fails(2, "dump", "-m", HYBRID, HYBRID, *TOKENS, "--force")


if __name__ == "__main__":
    unittest.main()
