"""`--debug`: every figure held against the stages that `dump` writes, recomputed here by their definitions; numbers that
are not finite are planted in models and found where a scan of all stages finds them."""
import math
import re
import shlex
import struct
import unittest

from command import GOLDEN, CommandTest
from gguf_bytes import tensors, with_f32
from trace_test import read_safetensors

LLAMA = GOLDEN / "llama_bias.gguf"
HYBRID = GOLDEN / "qwen35moe.gguf"
TOKENS = [5, 17, 99, 17, 23, 8, 1, 64, 33]
# In the order of the forward pass.
ORDER = ("attn_norm", "q_raw", "q", "k_raw", "k", "v", "scores", "attn_out", "mixer_out", "ffn_norm", "router", "experts",
         "gate", "up", "act", "shared.gate", "shared.up", "shared.act", "block_out", "residual")
# What the stages that can be independent origins here are computed from.
INPUTS = {"q": ("q_raw",), "k": ("k_raw",), "act": ("gate", "up"), "gate": ("ffn_norm",), "up": ("ffn_norm",),
          "block_out": ("act", "shared.act", "ffn_norm"),
          "shared.gate": ("ffn_norm",), "shared.up": ("ffn_norm",), "shared.act": ("shared.gate", "shared.up")}


def events(text):
    """[(kind, {key: value})] of the lines of standard error."""
    found = []
    for line in text.splitlines():
        if line.startswith("debug "):
            words = shlex.split(line)
            found.append((words[1], dict(word.split("=", 1) for word in words[2:])))
    return found


def l2(values):
    return math.sqrt(math.fsum(v * v for v in values))


class Debug(CommandTest):
    def dump(self, model, *more, code=0):
        file = self.home / "stages.safetensors"
        got, _, err = self.run_command("dump", "-q", "-m", model, "--tokens", ",".join(map(str, TOKENS)), "--stages", "all",
                                       "--kv-type", "f32", "--force", file, *more)
        self.assertEqual(got, code, err)
        stages = {}
        for name, (shape, values) in read_safetensors(file)[1].items():
            stages[name] = [values[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])]
        return stages

    def debug(self, model, kinds, *more, code=0, kv="f32"):
        got, out, err = self.run_command("trace", "-q", "-m", model, "--tokens", ",".join(map(str, TOKENS)), "--stages", "residual",
                                         "--kv-type", kv, "--debug", kinds, *more)
        self.assertEqual(got, code, err)
        return events(err)

    def near(self, text, value, relative=2e-6):
        self.assertAlmostEqual(float(text), value, delta=relative * (1 + abs(value)))

    def test_norms(self):
        stages = self.dump(LLAMA)
        rows = self.debug(LLAMA, "rmsnorm")
        self.assertEqual(len(rows), 5 * len(TOKENS))  # two a layer and the last
        stream = stages["embedding"]
        inputs = {}
        for layer in (0, 1):
            inputs["attn_norm", layer] = stream
            inputs["ffn_norm", layer] = [[a + b for a, b in zip(x, y)]
                                         for x, y in zip(stream, stages[f"blk.{layer}.mixer_out"])]
            stream = stages[f"blk.{layer}.residual"]
        inputs["output_norm", -1] = stream
        for kind, row in rows:
            layer, token, name = int(row["layer"]), int(row["token"]), row["norm"]
            x = inputs[name, layer][token]
            y = stages[name if layer < 0 else f"blk.{layer}.{name}"][token]
            mean = math.fsum(v * v for v in x) / len(x)
            self.assertEqual((kind, row["head"], row["non_finite"]), ("rmsnorm", "-1", "0"))
            self.near(row["mean_square"], mean)
            self.near(row["rms"], math.sqrt(mean))
            self.near(row["output_l2"], l2(y))
            self.near(row["eps"], 1e-5, 1e-9)
            self.assertEqual(row["source"], "key llama.attention.layer_norm_rms_epsilon")
        (_, row), *_ = self.debug(LLAMA, "rmsnorm", "--convention", "rms_norm_eps=0.25")
        self.assertEqual((row["eps"], row["source"]), ("0.25", "convention rms_norm_eps=0.25"))

    def test_every_kind_of_norm_is_there(self):
        for model, names in (("gemma3.gguf", {"attn_norm", "attn_q_norm", "attn_k_norm", "post_attention_norm", "ffn_norm",
                                              "post_ffw_norm", "output_norm"}),
                             ("bitnet.gguf", {"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm", "output_norm"}),
                             ("qwen35.gguf", {"attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm", "ssm_norm", "output_norm"})):
            rows = self.debug(GOLDEN / model, "rmsnorm")
            self.assertEqual({row["norm"] for _, row in rows}, names, model)

    def test_attention(self):
        stages = self.dump(LLAMA)
        found = {}
        for kind, row in self.debug(LLAMA, "scale,range,max,sum,gqa"):
            found.setdefault(kind, {})[int(row["layer"]), int(row["head"]), int(row["token"])] = row
        n_head, n_kv, d = 4, 2, 10
        self.assertEqual(set(found["scale"]), {(0, 0, 0), (1, 0, 0)})
        for row in found["scale"].values():
            self.near(row["scale"], 1 / math.sqrt(d))
            self.near(row["expected"], 1 / math.sqrt(d), 1e-8)
            self.assertLessEqual(abs(float(row["measured"]) - float(row["scale"])), float(row["error"]))
            self.assertEqual((row["head_dim"], row["source"]), (str(d), "1 / sqrt(head_dim)"))
        for kind in ("range", "max", "sum"):
            self.assertEqual(len(found[kind]), 2 * n_head * len(TOKENS))
        for layer in (0, 1):
            q, k, v = (stages[f"blk.{layer}.{name}"] for name in "qkv")
            for token in range(len(TOKENS)):
                for head in range(n_head):
                    mine = q[token][head * d:(head + 1) * d]
                    at = head // (n_head // n_kv) * d
                    scores = [math.fsum(a * b for a, b in zip(mine, k[key][at:at + d])) / math.sqrt(d)
                              for key in range(token + 1)]
                    place = layer, head, token
                    self.near(found["range"][place]["min"], min(scores), 1e-5)
                    self.near(found["range"][place]["max"], max(scores), 1e-5)
                    self.near(found["range"][place]["rms"], l2(scores) / math.sqrt(len(scores)), 1e-5)
                    self.assertEqual(found["range"][place]["visible"], str(token + 1))
                    self.assertEqual(found["range"][place]["keys"], str(len(TOKENS)))
                    self.near(found["max"][place]["max"], max(scores), 1e-5)
                    self.near(found["max"][place]["largest_exp"], 1)
                    exponentials = math.fsum(math.exp(s - max(scores)) for s in scores)
                    self.near(found["sum"][place]["sum"], exponentials, 1e-5)
                    self.near(found["sum"][place]["weights"], 1)
                    self.near(found["sum"][place]["lse"], max(scores) + math.log(exponentials), 1e-5)
                row = found["gqa"][layer, -1, token]
                self.assertEqual((row["heads"], row["kv_heads"], row["head_dim"], row["map"]), ("4", "2", "10", "0:0,1:0,2:1,3:1"))
                self.near(row["q_mean"], math.fsum(q[token]) / len(q[token]))
                for name, values in (("k_means", k[token]), ("v_means", v[token])):
                    for text, head in zip(row[name].split(","), range(n_kv), strict=True):
                        self.near(text, math.fsum(values[head * d:(head + 1) * d]) / d)
        # Another scale than expected is seen, with where it comes from.
        (_, row), *_ = self.debug(LLAMA, "scale", "--convention", "attention_scale=0.5")
        self.assertEqual((row["scale"], row["source"]), ("0.5", "convention attention_scale=0.5"))
        self.assertLessEqual(abs(float(row["measured"]) - 0.5), float(row["error"]))

    def test_logits_mlp_rope_quant(self):
        stages = self.dump(LLAMA)
        rows = self.debug(LLAMA, "logits,mlp,rope,quant")
        n = {"logits": 0, "mlp": 0, "rope": 0, "quant": 0}
        types = {t["name"]: t["type"] for t in self.json("inspect", "-m", LLAMA)["tensors"]}
        for kind, row in rows:
            n[kind] += 1
            layer, token = int(row["layer"]), int(row["token"])
            if kind == "logits":
                values = stages["logits"][token]
                mean = math.fsum(values) / len(values)
                self.near(row["mean"], mean)
                self.near(row["std"], math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)))
                self.near(row["min"], min(values))
                self.near(row["max"], max(values))
                top = sorted(range(len(values)), key=lambda i: (-values[i], i))[:5]
                self.assertEqual([int(part.split(":")[0]) for part in row["top"].split(",")], top)
                self.near(row["top"].split(",")[4].split(":")[1], values[top[4]])
            elif kind == "mlp":
                for name in ("gate", "up", "act"):
                    values = stages[f"blk.{layer}.{name}"][token]
                    self.near(row[name + "_min"], min(values))
                    self.near(row[name + "_max"], max(values))
                    self.near(row[name + "_rms"], l2(values) / math.sqrt(len(values)))
                self.assertEqual(int(row["zeros"]), sum(v == 0 for v in stages[f"blk.{layer}.act"][token]))
            elif kind == "rope":
                self.assertEqual((row["pairing"], row["base"], row["dims"], row["scale"]), ("adjacent", "10000", "10", "1"))
                self.near(row["q_before"], l2(stages[f"blk.{layer}.q_raw"][token]))
                self.near(row["q_after"], l2(stages[f"blk.{layer}.q"][token]))
            else:
                self.assertEqual(row["activations"], "int8")
                for name, value in row.items():
                    tensor = (f"blk.{layer}." if layer >= 0 else "") + name + ".weight"
                    if tensor in types:
                        self.assertEqual(value, types[tensor])
                        n["quant", layer] = n.get(("quant", layer), 0) + 1
        self.assertEqual(n, {"logits": 9, "mlp": 18, "rope": 18, "quant": 3, ("quant", -1): 1, ("quant", 0): 7, ("quant", 1): 7})
        # Layers with another base are shown with theirs.
        bases = {row["layer"]: row["base"] for _, row in self.debug(GOLDEN / "gemma3.gguf", "rope", "--debug-tokens", 3)}
        self.assertEqual(set(bases.values()), {"10000", "1e+06"})

    def test_mlp_of_the_shared_expert(self):
        """A line of its own a row; the stages it is made of are the expert's products and SiLU, by their definitions."""
        stages = self.dump(HYBRID, "--activations", "f32")
        rows = [row for _, row in self.debug(HYBRID, "mlp", "--activations", "f32")]
        shared = [row for row in rows if row.get("expert") == "shared"]
        self.assertEqual((len(rows), len(shared)), (2 * 4 * len(TOKENS), 4 * len(TOKENS)))
        data = HYBRID.read_bytes()
        table = tensors(data)
        for row in shared:
            layer, token = int(row["layer"]), int(row["token"])
            at = {name: stages[f"blk.{layer}.{name}"][token]
                  for name in ("ffn_norm", "shared.gate", "shared.up", "shared.act")}
            for name in ("gate", "up"):
                (n, width), _, begin = table[f"blk.{layer}.ffn_{name}_shexp.weight"]
                self.assertEqual(len(at["shared." + name]), width)
                for c, value in enumerate(at["shared." + name]):
                    column = struct.unpack_from(f"<{n}f", data, begin + 4 * n * c)
                    self.assertAlmostEqual(value, math.fsum(a * b for a, b in zip(column, at["ffn_norm"])), delta=1e-5)
            for act, gate, up in zip(at["shared.act"], at["shared.gate"], at["shared.up"]):
                self.assertAlmostEqual(act, gate / (1 + math.exp(-gate)) * up, delta=1e-6)
            for name in ("gate", "up", "act"):
                self.near(row[name + "_min"], min(at["shared." + name]))
                self.near(row[name + "_max"], max(at["shared." + name]))
                self.near(row[name + "_rms"], l2(at["shared." + name]) / math.sqrt(len(at["shared." + name])))
            self.assertEqual(int(row["width"]), len(at["shared.act"]))

    def test_a_shared_expert_that_overflows_is_found(self):
        """One weight of its up product that is finite and too large for some token."""
        stages = self.dump(HYBRID)
        data = HYBRID.read_bytes()
        normed = [abs(row[0]) for row in stages["blk.1.ffn_norm"]]
        model = self.home / "planted.gguf"
        with_f32(HYBRID, model, "blk.1.ffn_up_shexp.weight", 0, 3.4e38 / (0.98 * max(normed)))
        self.assertEqual(tensors(data)["blk.1.ffn_up_shexp.weight"][1], 0)
        row = self.check_found(model, {})
        self.assertEqual((row["layer"], row["op"], row["column"]), ("1", "product", "0"))
        self.assertEqual(row["stage"], "shared.up")

    def test_layers_and_tokens_are_chosen(self):
        rows = self.debug(LLAMA, "all", "--debug-layers", "1", "--debug-tokens", "2,4-5")
        self.assertEqual({row["layer"] for kind, row in rows if kind != "quant"}, {"1", "-1"})
        self.assertEqual({row["token"] for kind, row in rows if kind != "quant"}, {"2", "4", "5"})
        self.assertNotIn("nan", {kind for kind, _ in rows})
        self.assertEqual({kind for kind, _ in rows},
                         {"scale", "range", "max", "sum", "rmsnorm", "gqa", "logits", "mlp", "rope", "quant"})
        for line in (f"debug {kind} " for kind, _ in rows):
            self.assertTrue(re.match(r"debug [a-z]+ ", line))

    def test_every_command_that_computes_has_it(self):
        text = self.home / "text.txt"
        text.write_text("some words of a text " * 20)
        lines = self.home / "lines.jsonl"
        lines.write_text('{"text": "some words"}\n{"text": "and others"}\n')
        for arguments, stdin in ((("run", "--raw", "-p", "Hi", "-n", 2, "--greedy"), ""),
                                 (("score", "-f", text, "-c", 8), ""), (("score", "--jsonl", lines), ""),
                                 (("chat", "--chat-template", "{{ messages[0].content }}", "-n", 2, "--greedy"), "Hi\n")):
            command = (*arguments, "-q", "-m", LLAMA)
            code, plain, err = self.run_command(*command, stdin=stdin)
            self.assertEqual((code, events(err)), (0, []), err)
            code, out, err = self.run_command(*command, "--debug", "logits,max", "--debug-layers", "0", stdin=stdin)
            self.assertEqual(code, 0, err)
            self.assertEqual(out, plain)
            self.assertEqual({kind for kind, _ in events(err)}, {"logits", "max"}, arguments)
            code, out, err = self.run_command(*command, stdin=stdin, env={"ROWMAX_DEBUG": "scale"})
            self.assertEqual({kind for kind, _ in events(err)}, {"scale"})
            self.assertEqual(out, plain)

    def test_refusals(self):
        trace = ("trace", "-m", LLAMA, "--tokens", "1,2")
        self.fails(2, *trace, "--debug", "rmsnrom", says="did you mean rmsnorm?")
        self.fails(2, *trace, "--debug", "scale,", says='found ""')
        self.fails(2, *trace, "--debug", "all", "--debug-layers", "2", says="--debug-layers: expected numbers or ranges")
        self.fails(2, *trace, "--debug", "all", "--debug-tokens", "5-3", says="--debug-tokens")
        self.fails(2, *trace, "--debug-tokens", "3", says="--debug KINDS")

    def first_non_finite(self, stages, n_layer, groups):
        """(layer, token, stage, head, column, value, in that row), by a scan of everything in the order of computation."""
        for layer in range(n_layer):
            for stage in ORDER:
                for token, row in enumerate(stages.get(f"blk.{layer}.{stage}", [])):
                    bad = [i for i, v in enumerate(row) if not math.isfinite(v)]
                    if bad:
                        n_group = groups.get(stage, 1)
                        width = len(row) // n_group
                        return (layer, token, stage, bad[0] // width if n_group > 1 else -1, bad[0] % width, row[bad[0]], len(bad))
        return None

    def check_found(self, model, groups, n_layer=2, kv="f32", more=()):
        stages = self.dump(model, *more, "--kv-type", kv, code=6)
        want = self.first_non_finite(stages, n_layer, groups)
        found = [row for kind, row in self.debug(model, "nan", *more, code=6, kv=kv) if kind == "nan"]
        row = found[0]
        got = (int(row["layer"]), int(row["token"]), row["stage"], int(row["head"]), int(row["column"]), float(row["value"]),
               int(row["non_finite"]))
        self.assertEqual(str(got), str(want))
        self.assertEqual((row["inputs"], row["row"]), ("finite", row["token"]))
        # What follows from it is no origin: any other one, too, came of finite numbers.
        for other in found[1:]:
            at, token = f"blk.{other['layer']}.", int(other["token"])
            self.assertTrue(any(not math.isfinite(v) for v in stages[at + other["stage"]][token]), other)
            for source in INPUTS[other["stage"]]:
                self.assertTrue(all(math.isfinite(v) for v in stages[at + source][token]), other)
        # The choice of layers and tokens does not hide it.
        again = self.debug(model, "nan", "--debug-layers", "0", "--debug-tokens", "0", *more, code=6, kv=kv)
        self.assertEqual([row for kind, row in again if kind == "nan"], found)
        return row

    def test_a_norm_that_overflows_is_found(self):
        """A finite weight that is too large for one token's value of column c."""
        stages = self.dump(LLAMA)
        model = self.home / "planted.gguf"
        for layer, name, column in ((1, "ffn_norm", 7), (0, "attn_norm", 31)):
            tensor = f"blk.{layer}.{name}.weight"
            _, _, at = tensors(LLAMA.read_bytes())[tensor]
            (weight,) = struct.unpack_from("<f", LLAMA.read_bytes(), at + 4 * column)
            normed = [abs(row[column] / weight) for row in stages[f"blk.{layer}.{name}"]]
            largest = max(normed)
            with_f32(LLAMA, model, tensor, column, 3.4e38 / (0.98 * largest))
            row = self.check_found(model, {})
            self.assertEqual((row["layer"], row["stage"], row["op"], row["column"]), (str(layer), name, "rms_norm", str(column)))
            self.assertGreater(normed[int(row["token"])], 0.97 * largest)

    def test_keys_too_large_for_the_cache_are_found(self):
        """A key of 1e6 is finite and no half: what comes of it is the softmax's, of a row with finite inputs."""
        model = self.home / "planted.gguf"
        with_f32(LLAMA, model, "blk.1.attn_k.bias", 3, 1e6)
        row = self.check_found(model, {"q": 4, "scores": 4, "attn_out": 4}, kv="f16")
        self.assertEqual((row["layer"], row["op"], row["keys"]), ("1", "softmax" if row["stage"] == "scores" else "weighted_sum", "9"))
        self.assertEqual(int(row["visible"]), int(row["token"]) + 1)
        # In f32 it is a number like others.
        code, _, err = self.run_command("trace", "-q", "-m", model, "--tokens", "5,6", "--kv-type", "f32", "--debug", "nan")
        self.assertEqual((code, events(err)), (0, []))

    def test_values_too_large_for_the_cache_are_found(self):
        model = self.home / "planted.gguf"
        with_f32(LLAMA, model, "blk.0.attn_v.bias", 2, 1e6)
        row = self.check_found(model, {"scores": 4, "attn_out": 4}, kv="f16")
        self.assertEqual((row["layer"], row["stage"], row["head"], row["column"], row["value"]), ("0", "attn_out", "0", "2", "inf"))

    def test_rope_is_found(self):
        row = self.check_found(GOLDEN / "qwen3moe.gguf", {"q": 4, "k": 2, "scores": 4, "attn_out": 4},
                               more=("--convention", "rope_base=1e-300"))
        self.assertEqual((row["layer"], row["stage"]), ("0", "q"))


if __name__ == "__main__":
    unittest.main()
