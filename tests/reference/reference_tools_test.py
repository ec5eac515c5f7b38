#!/usr/bin/env python3
"""The tools that write references of other engines: what they make of small traces in those engines' forms.

    reference_tools_test.py TOOLS_FOLDER"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(sys.argv.pop(1))
sys.path.insert(0, str(TOOLS))
import reference_file  # noqa: E402

CONFIG = {"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "dtype": "float32"}


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)

    def run_tool(self, tool, *arguments):
        return subprocess.run([sys.executable, "-B", TOOLS / tool, *map(str, arguments)], capture_output=True, text=True)

    def written(self, path):
        data = path.read_bytes()
        (n,) = struct.unpack_from("<Q", data)
        return json.loads(data[8:8 + n])["__metadata__"], reference_file.read_safetensors(path)

    # ---- transformers' debugger

    def tensor(self, name, rows):
        """As its use_repr=False writes one: a file with one tensor, data, and where it lies."""
        values = [x for row in rows for x in row]
        whole = all(isinstance(x, int) for x in values)
        raw = struct.pack(f"<{len(values)}{'q' if whole else 'f'}", *values)
        header = json.dumps({"data": {"dtype": "I64" if whole else "F32", "shape": [1, len(rows), len(rows[0])],
                                      "data_offsets": [0, len(raw)]}}).encode()
        (self.home / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + raw)
        return {"shape": f"torch.Size([1, {len(rows)}, {len(rows[0])}])",
                "dtype": "torch.int64" if whole else "torch.float32", "value": f"./{name}.safetensors"}

    def trace(self):
        def row(first):
            return [[first + i + 10.0 * t for i in range(8)] for t in range(3)]

        def leaf(path, given, gives):
            return {"module_path": f"LlamaForCausalLM.model.{path}",
                    "inputs": {"args": [self.tensor(path + "_in", given)]}, "outputs": self.tensor(path + "_out", gives)}

        layers = []
        for i in range(2):
            base = 100.0 * i
            children = [leaf(f"layers.{i}.input_layernorm", row(base), row(base + 1)),
                        leaf(f"layers.{i}.self_attn.q_proj", row(base + 1), row(base + 2)),
                        leaf(f"layers.{i}.self_attn.o_proj", row(base + 3), row(base + 4)),
                        leaf(f"layers.{i}.post_attention_layernorm", row(base + 5), row(base + 6)),
                        leaf(f"layers.{i}.mlp.down_proj", row(base + 7), row(base + 8)),
                        leaf(f"layers.{i}.mlp.shared_expert.up_proj", row(base + 9), row(base + 10)),
                        leaf(f"layers.{i}.mlp.shared_expert.down_proj", row(base + 11), row(base + 12))]
            layers.append({"module_path": f"LlamaForCausalLM.model.layers.{i}",
                           "inputs": {"args": [self.tensor(f"layer{i}", row(base))]}, "children": children})
        tree = {"module_path": "LlamaForCausalLM", "children": [
            {"module_path": "LlamaForCausalLM.model.embed_tokens",
             "inputs": {"args": [self.tensor("ids", [[5], [6], [7]])]}, "outputs": self.tensor("emb", row(0.0))},
            *layers, leaf("norm", row(300.0), row(301.0))]}
        (self.home / "tree.json").write_text(json.dumps(tree))
        (self.home / "config.json").write_text(json.dumps(CONFIG))
        return row

    def test_debugger_json(self):
        row = self.trace()
        out = self.home / "out.safetensors"
        done = self.run_tool("from_debugger_json.py", self.home / "tree.json", self.home / "config.json", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        metadata, stages = self.written(out)
        self.assertEqual(json.loads(metadata["tokens"]), [5, 6, 7])
        self.assertEqual(metadata["activations"], "f32")
        flat = {first: [x for r in row(first) for x in r] for first in (0.0, 1.0, 3.0, 4.0, 6.0, 7.0, 8.0, 10.0, 11.0, 100.0, 300.0, 301.0)}
        for name, first in (("embedding", 0.0), ("blk.0.attn_norm", 1.0), ("blk.0.attn_out", 3.0), ("blk.0.mixer_out", 4.0),
                            ("blk.0.ffn_norm", 6.0), ("blk.0.act", 7.0), ("blk.0.block_out", 8.0),
                            ("blk.0.shared.up", 10.0), ("blk.0.shared.act", 11.0),
                            ("blk.0.residual", 100.0), ("blk.1.residual", 300.0), ("output_norm", 301.0)):
            self.assertEqual(list(stages[name][1]), flat[first], name)
            self.assertEqual(stages[name][0], [3, 8])
        # Heads of 4 numbers: the halves of each become pairs.
        self.assertEqual(list(stages["blk.0.q_raw"][1])[:8], [2.0, 4.0, 3.0, 5.0, 6.0, 8.0, 7.0, 9.0])

    def test_what_the_class_changes(self):
        for kind, pairs, norm in (("granite", True, True), ("ministral3", True, True), ("olmo2", False, False), ("qwen3", False, True)):
            self.trace()
            (self.home / "config.json").write_text(json.dumps(CONFIG | {"model_type": kind}))
            out = self.home / "out.safetensors"
            done = self.run_tool("from_debugger_json.py", self.home / "tree.json", self.home / "config.json", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            _, stages = self.written(out)
            self.assertEqual(list(stages["blk.0.q_raw"][1])[:4], [2.0, 4.0, 3.0, 5.0] if pairs else [2.0, 3.0, 4.0, 5.0], kind)
            # OLMo 2's norm of that name is of what attention gives.
            self.assertEqual("blk.0.ffn_norm" in stages, norm, kind)

    def test_a_printed_trace_is_refused(self):
        self.trace()
        tree = json.loads((self.home / "tree.json").read_text())
        tree["children"][1]["inputs"]["args"][0]["value"] = ["tensor([[1., ..., 2.]])"]
        (self.home / "tree.json").write_text(json.dumps(tree))
        done = self.run_tool("from_debugger_json.py", self.home / "tree.json", self.home / "config.json", self.home / "out")
        self.assertEqual(done.returncode, 1)
        self.assertIn("use_repr=False", done.stderr)

    # ---- llama.cpp's eval callback

    EVAL = """\
noise before
common_debug_cb_eval:                 inp_embd = (f32)   GET_ROWS(token_embd.weight{4, 9, 1, 1}, inp_tokens{2, 1, 1, 1}}) = {4, 2, 1, 1}
    [
        [
            [      0.1000,       0.2000,       0.3000,      -0.4000  ],
            [      1.0000,       2.0000,       3.0000,       4.0000  ],
        ],
    ]
    sum = 10.200000
common_debug_cb_eval:                   Qcur-0 = (f32)    MUL_MAT(blk.0.attn_q.weight{4, 4, 1, 1}, attn_norm-0{4, 2, 1, 1}}) = {4, 2, 1, 1}
    [
        [
            [      1.0000,       2.0000,       3.0000,       4.0000  ],
            [      5.0000,       6.0000,       7.0000,       8.0000  ],
        ],
    ]
    sum = 36.000000
common_debug_cb_eval:                   Qcur-0 = (f32)       ROPE(Qcur-0{2, 2, 2, 1}, inp_pos{2, 1, 1, 1}}) = {2, 2, 2, 1}
    [
        [
            [      1.5000,       2.5000  ],
            [      3.5000,       4.5000  ],
        ],
        [
            [      5.5000,       6.5000  ],
            [      7.5000,       8.5000  ],
        ],
    ]
    sum = 40.000000
common_debug_cb_eval:            kq_soft_max-0 = (f32)   SOFT_MAX(kq-0{3, 2, 2, 1}, mask{3, 2, 1, 1}}) = {3, 2, 2, 1}
    [
        [
            [      1.0000,       0.0000,       0.0000  ],
            [      0.2500,       0.7500,       0.0000  ],
        ],
        [
            [      1.0000,       0.0000,       0.0000  ],
            [      0.5000,       0.5000,       0.0000  ],
        ],
    ]
    sum = 4.000000
"""

    def test_eval_callback(self):
        text, out = self.home / "eval.txt", self.home / "out.safetensors"
        text.write_text(self.EVAL)
        done = self.run_tool("from_llama_eval.py", text, out, "--tokens", "3,4")
        self.assertEqual(done.returncode, 0, done.stderr)
        metadata, stages = self.written(out)
        self.assertEqual(json.loads(metadata["tokens"]), [3, 4])
        close = {name: [round(x, 4) for x in values] for name, (_, values) in stages.items()}
        self.assertEqual(close["embedding"], [0.1, 0.2, 0.3, -0.4, 1, 2, 3, 4])
        self.assertEqual(close["blk.0.q_raw"], [1, 2, 3, 4, 5, 6, 7, 8])
        self.assertEqual(close["blk.0.q"], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5])
        # [token][head][key], without the padding of keys.
        self.assertEqual(close["blk.0.scores"], [1, 0, 1, 0, 0.25, 0.75, 0.5, 0.5])

        # What build_ffn calls ffn_gate is the shared expert's where the layer has experts.
        def one(name):
            return (f"common_debug_cb_eval: {name} = (f32) MUL_MAT(w{{2, 2, 1, 1}}, x{{2, 2, 1, 1}}}}) = {{2, 2, 1, 1}}\n"
                    "[ 1.0, 2.0 ]\n[ 3.0, 4.0 ]\nsum = 10.0\n")

        text.write_text(self.EVAL + one("ffn_gate-0") + one("ffn_moe_logits-1") + one("ffn_gate-1") + one("ffn_swiglu-1"))
        done = self.run_tool("from_llama_eval.py", text, out, "--tokens", "3,4")
        self.assertEqual(done.returncode, 0, done.stderr)
        _, stages = self.written(out)
        self.assertEqual({name for name in stages if name[6:] not in ("q", "q_raw", "scores") and name != "embedding"},
                         {"blk.0.gate", "blk.1.shared.gate", "blk.1.shared.act"})

        text.write_text(self.EVAL.replace("2.0000,       3.0000", "..., 3.0000"))
        done = self.run_tool("from_llama_eval.py", text, out, "--tokens", "3,4")
        self.assertEqual(done.returncode, 1)
        self.assertIn("inp_embd is shortened", done.stderr)

    def test_a_row_a_token(self):
        reference = reference_file.Reference([1, 2, 3])
        with self.assertRaises(SystemExit):
            reference.add("q", 0, [1.0] * 7)
        reference.add("q", 0, [1.0] * 6)
        reference.add("q", 0, [2.0] * 6)
        self.assertEqual(list(reference.stages["blk.0.q"]), [1.0] * 6)


if __name__ == "__main__":
    unittest.main()
