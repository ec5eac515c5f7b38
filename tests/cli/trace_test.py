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
        for name in ("embedding", "logits", "output_norm", "blk.0.state", "blk.3.scores", "blk.3.experts", "blk.0.q"):
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

    def test_refusals(self):
        file = self.home / "out.safetensors"
        dump = ("dump", "-m", HYBRID, file)
        self.fails(2, *dump, says="--tokens")
        self.fails(2, *dump, *TOKENS, "--stages", "q,Q", says='found "Q"')
        self.fails(2, *dump, *TOKENS, "--layers", "1-9", says='found "1-9"')
        self.fails(2, *dump, *TOKENS, "--convention", "rope_pairing", says="NAME=VALUE")
        self.fails(2, *dump, *TOKENS, "--convention", "pairing=halves", says="rope_pairing")
        self.fails(2, *dump, *TOKENS, "--convention", "tensor_layout=Q2_0", says="--layout")
        self.fails(2, "dump", "-m", GOLDEN / "llama_bias.gguf", file, *TOKENS, "--stages", "state", says="none of")
        self.fails(2, "trace", "-m", HYBRID, *TOKENS, "--token", 4, says="-4 to 3")
        self.fails(2, "trace", "-m", HYBRID, *TOKENS, "--head", 77, says="--head 77")
        self.assertFalse(file.exists())
        file.write_text("mine")
        self.fails(2, *dump, *TOKENS, says="exists")
        self.assertEqual(file.read_text(), "mine")
        self.output(*dump, *TOKENS, "--force")
        self.fails(2, "dump", "-m", HYBRID, HYBRID, *TOKENS, "--force")


if __name__ == "__main__":
    unittest.main()
