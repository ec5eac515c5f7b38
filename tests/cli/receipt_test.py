"""Receipts: what a generation was, with hashes that hashlib gives, too; computed again elsewhere; and the set of
`rowmax receipt`, where nothing passes that was not compared."""
import hashlib
import json
import math
import shutil
import struct
import unittest

from command import GOLDEN, CommandTest
from trace_test import read_safetensors

LLAMA = GOLDEN / "llama_bias.gguf"
STORIES = GOLDEN.parents[1] / "models" / "stories.gguf"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sha256_of_ids(ids):
    return sha256(struct.pack(f"<{len(ids)}i", *ids))


class Receipt(CommandTest):
    def setUp(self):
        super().setUp()
        self.file = self.home / "receipt.json"

    def run_with_receipt(self, *arguments):
        out = self.json("run", "-q", *arguments, "--receipt", self.file, "--force")
        return out, json.loads(self.file.read_text())

    def verify(self, code, *arguments, file=None):
        """(verdict, {name: comparison})"""
        got, out, err = self.run_command("verify-receipt", file or self.file, "-q", "--json", *arguments)
        self.assertEqual(got, code, out + err)
        said = json.loads(out)
        self.assertEqual(said["verdict"], {0: "pass", 10: "fail", 11: "inconclusive"}[code])
        self.not_checked = said["not_checked"]
        return {one["name"]: one for one in said["comparisons"]}

    def changed(self, change):
        receipt = json.loads(self.file.read_text())
        change(receipt)
        file = self.home / "changed.json"
        file.write_text(json.dumps(receipt))
        return file

    def test_what_it_says(self):
        said, receipt = self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 6, "--seed", 7, "-t", 2, "--isa",
                                              "scalar", "--temp", 0.9, "--kv-type", "f32", "--activations", "f32")
        self.assertEqual((receipt["schema"], receipt["schema_version"], receipt["kind"]), ("rowmax-receipt", "1.0.0", "generation"))
        (file,) = receipt["model"]["files"]
        self.assertEqual(file, {"path": str(LLAMA), "bytes": LLAMA.stat().st_size, "sha256": sha256(LLAMA.read_bytes())})
        self.assertEqual(receipt["prompt"], {"tokens": said["prompt_tokens"], "sha256": sha256_of_ids(said["prompt_tokens"])})
        self.assertEqual(receipt["tokens"], {"tokens": said["tokens"], "sha256": sha256_of_ids(said["tokens"])})
        self.assertEqual([step["token"] for step in receipt["steps"]][:len(said["tokens"])], said["tokens"])
        self.assertEqual(receipt["stop"], said["stop"])
        self.assertEqual(receipt["template"], {"source": "none", "sha256": None})
        self.assertEqual((receipt["machine"]["isa"], receipt["machine"]["kernels"], receipt["machine"]["threads"]), ("scalar", "scalar", 2))
        version = self.output("--version").split()[1]
        self.assertEqual(receipt["build"]["version"], version)
        self.assertEqual((receipt["sampling"]["seed"], receipt["sampling"]["top_k"]), ("7", 40))
        self.assertEqual({k: receipt["computation"][k] for k in ("activations", "kv_type", "convention")},
                         {"activations": "f32", "kv_type": "f32", "convention": []})
        facts = self.json("inspect", "-m", LLAMA)["model"]["facts"]
        self.assertEqual(receipt["facts"], facts)
        # It has compared nothing yet.
        self.assertEqual(receipt["verdict"], "inconclusive")
        (comparison,) = receipt["comparisons"]
        self.assertEqual((comparison["verdict"], comparison["reference"], comparison["n_compared"]), ("inconclusive", "none", 0))
        # Log probabilities and margins, from the logits that `dump` writes.
        dumped = self.home / "logits.safetensors"
        prompt = said["prompt_tokens"]
        self.output("dump", "-q", "-m", LLAMA, "--tokens", ",".join(map(str, prompt + said["tokens"])), "--stages", "logits",
                    "--kv-type", "f32", "--activations", "f32", dumped)
        (n, width), values = read_safetensors(dumped)[1]["logits"]
        for i, step in enumerate(receipt["steps"]):
            row = values[(len(prompt) - 1 + i) * width:(len(prompt) + i) * width]
            order = sorted(range(width), key=lambda t: (-row[t], t))
            other = order[1] if order[0] == step["token"] else order[0]
            self.assertEqual(step["runner_up"], other)
            self.assertAlmostEqual(step["margin"], row[step["token"]] - row[other], 5)
            most = max(row)
            self.assertAlmostEqual(step["log_prob"], row[step["token"]] - most - math.log(math.fsum(math.exp(v - most) for v in row)), 6)

    def test_every_norm_names_its_eps(self):
        names = {t["name"] for t in self.json("inspect", "-m", LLAMA)["tensors"] if "norm" in t["name"]}
        self.assertIn("output_norm.weight", names)
        _, receipt = self.run_with_receipt("-m", LLAMA, "--raw", "-p", "a", "-n", 2)
        self.assertEqual({norm["tensor"] for norm in receipt["norms"]}, names)
        self.assertEqual({(norm["eps"], norm["source"]) for norm in receipt["norms"]},
                         {(1e-05, "key llama.attention.layer_norm_rms_epsilon")})
        _, receipt = self.run_with_receipt("-m", LLAMA, "--raw", "-p", "a", "-n", 2, "--convention", "rms_norm_eps=0.25")
        self.assertEqual({(norm["eps"], norm["source"]) for norm in receipt["norms"]}, {(0.25, "convention rms_norm_eps=0.25")})
        self.verify(0)

    def test_scales_are_reported_as_they_are(self):
        """One block's half of TQ2_0 made 0, one subnormal; the file loads, and the receipt counts them."""
        from gguf_bytes import tensors
        model = self.home / "ternary.gguf"
        self.output("quantize", "-q", STORIES, model, "TQ2_0")
        data = bytearray(model.read_bytes())
        rows = {name: row for name, row in tensors(data).items() if row[1] == 35}
        self.assertTrue(rows)
        name = next(iter(rows))
        shape, _, at = rows[name]
        struct.pack_into("<H", data, at + 64, 0)
        struct.pack_into("<H", data, at + 66 + 64, 0x0001)
        model.write_bytes(data)
        _, receipt = self.run_with_receipt("-m", model, "--raw", "-p", "a", "-n", 2)
        found = {row["tensor"]: row for row in receipt["ternary_scales"] if row["type"] == "TQ2_0"}
        self.assertEqual(set(found), set(rows))
        for tensor, row in found.items():
            shape, _, at = rows[tensor]
            halves = [struct.unpack_from("<H", data, at + 66 * i + 64)[0] for i in range(math.prod(shape) // 256)]
            self.assertEqual(row["n"], len(halves))
            self.assertEqual(row["zero"], halves.count(0))
            self.assertEqual(row["subnormal"], sum(0 < half < 0x0400 for half in halves))
            self.assertEqual((row["negative"], row["non_finite"], row["clamped"]), (0, 0, 0))
        self.assertGreaterEqual(found[name]["zero"], 1)
        self.assertGreaterEqual(found[name]["subnormal"], 1)

    def test_a_template_has_its_hash(self):
        template = "{{ messages[0].content }}!"
        _, receipt = self.run_with_receipt("-m", LLAMA, "-p", "a", "-n", 2, "--chat-template", template)
        self.assertEqual(receipt["template"], {"source": "--chat-template", "sha256": sha256(template.encode())})

    def test_the_model_in_the_program(self):
        _, receipt = self.run_with_receipt("-n", 4)
        (file,) = receipt["model"]["files"]
        self.assertEqual((file["sha256"], file["bytes"]), (sha256(STORIES.read_bytes()), STORIES.stat().st_size))
        self.assertEqual(self.verify(0)["generation"]["n_compared"], 4)

    def test_it_is_computed_again_anywhere(self):
        for more in (("--greedy",), ("--seed", 2**64 - 1, "--temp", 1.5), ("--logit-bias", "5=2.5,7=-1", "--repeat-penalty", 1.3),
                     ("--convention", "rope_base=500", "--stop", "q")):
            said, _ = self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 20, *more)
            for other in ((), ("--isa", "scalar", "-t", 1), ("-t", 3)):
                found = self.verify(0, *other)
                self.assertEqual(found["model_sha256"]["n_compared"], 1)
                self.assertGreaterEqual(found["generation"]["n_compared"], len(said["tokens"]))
        copy = self.home / "elsewhere.gguf"
        shutil.copy(LLAMA, copy)
        self.verify(0, "-m", copy)

    def test_what_differs_is_named(self):
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 8, "--greedy")

        def other_token(receipt):
            receipt["steps"][3]["token"] ^= 1
            receipt["tokens"]["tokens"][3] ^= 1
            receipt["tokens"]["sha256"] = sha256_of_ids(receipt["tokens"]["tokens"])
        found = self.verify(10, file=self.changed(other_token))
        self.assertIn("step 3: token", found["generation"]["detail"])

        # The ids beside the steps are the steps'.
        found = self.verify(10, file=self.changed(lambda r: r["steps"][3].update(token=r["steps"][3]["token"] ^ 1)))
        self.assertIn("step 3: token", found["generation"]["detail"])
        self.assertIn("token 3: ", found["tokens"]["detail"])

        def other_probability(receipt):
            receipt["steps"][5]["log_prob"] = math.nextafter(receipt["steps"][5]["log_prob"], 0)
        self.assertIn("step 5: ", self.verify(10, file=self.changed(other_probability))["generation"]["detail"])

        def fewer(receipt):
            receipt["steps"].pop()
            receipt["tokens"]["tokens"].pop()
            receipt["tokens"]["sha256"] = sha256_of_ids(receipt["tokens"]["tokens"])
        self.assertIn("step 7: ", self.verify(10, file=self.changed(fewer))["generation"]["detail"])

        # Another file: no token is compared.
        found = self.verify(10, "-m", GOLDEN / "qwen2.gguf")
        self.assertEqual(set(found), {"model_sha256"})
        self.assertIn(sha256((GOLDEN / "qwen2.gguf").read_bytes()), found["model_sha256"]["detail"])

    def test_every_claim_is_held_against_this_run(self):
        """Each field that can be computed again, changed by itself: the comparison that has it fails, and no other."""
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 8, "--greedy")
        found = self.verify(0)
        receipt = json.loads(self.file.read_text())
        self.assertEqual({name: one["n_compared"] for name, one in found.items()},
                         {"model_sha256": 1, "facts": len(receipt["facts"]), "norms": len(receipt["norms"]), "verdict": 2,
                          "generation": 8, "tokens": 8})

        def forge_token(r):
            r["tokens"]["tokens"][3] ^= 1
            r["tokens"]["sha256"] = sha256_of_ids(r["tokens"]["tokens"])

        def fewer_tokens(r):
            r["tokens"]["tokens"].pop()
            r["tokens"]["sha256"] = sha256_of_ids(r["tokens"]["tokens"])
        token, eps = receipt["tokens"]["tokens"][3], 'eps 0.125 in the receipt, 1e-05 here'
        for name, change, says in (
                ("tokens", forge_token, f"token 3: {token ^ 1} in the receipt, {token} in its steps, {token} here"),
                ("tokens", fewer_tokens, "7 in the receipt, 8 here"),
                ("generation", lambda r: r["steps"][2].update(margin=math.nextafter(r["steps"][2]["margin"], 0)), "step 2: margin "),
                ("generation", lambda r: r["steps"][4].update(margin=None), "step 4: margin null in the receipt"),
                ("generation", lambda r: r["steps"][4].update(runner_up=r["steps"][4]["runner_up"] ^ 1), "step 4: runner_up "),
                ("generation", lambda r: r["steps"][7].pop("runner_up"), "step 7: runner_up null in the receipt"),
                ("generation", lambda r: r.update(stop="eos"), "ends with eos"),
                ("facts", lambda r: r["facts"][0].update(value="x"), receipt["facts"][0]["name"] + ': value "x" in the receipt'),
                ("facts", lambda r: r["facts"][1].update(source="x"), receipt["facts"][1]["name"] + ': source "x" in the receipt'),
                ("facts", lambda r: r["facts"].pop(), "in the receipt, "),
                ("norms", lambda r: r["norms"][0].update(eps=0.125), receipt["norms"][0]["tensor"] + ": " + eps),
                ("norms", lambda r: r["norms"][-1].update(source="x"), receipt["norms"][-1]["tensor"] + ': source "x"'),
                ("template", lambda r: r["template"].update(sha256=sha256(b"")), "here"),
                ("model_sha256", lambda r: r["model"]["files"][0].update(bytes=1), "the receipt says 1"),
                ("verdict", lambda r: r.update(verdict="pass"), "pass in the receipt, inconclusive by definition"),
                ("verdict", lambda r: r["comparisons"][0].update(verdict="pass"), "comparison 0 (generation): pass"),
                ("verdict", lambda r: r["comparisons"][0].update(n_compared=32), "n_compared 32 in the receipt, 0 by definition"),
                ("verdict", lambda r: r["comparisons"][0].update(verdict="pass", n_compared=32), "comparison 0 (generation)"),
                ("verdict", lambda r: r.update(comparisons=[], verdict="pass"), "inconclusive by definition")):
            found = self.verify(10, file=self.changed(change))
            self.assertEqual([one for one in found if found[one]["verdict"] == "fail"], [name], says)
            self.assertIn(says, found[name]["detail"])

    def test_scales_and_templates_are_held_against_this_run(self):
        self.output("quantize", "-q", STORIES, self.home / "ternary.gguf", "TQ2_0")
        _, receipt = self.run_with_receipt("-m", self.home / "ternary.gguf", "--raw", "-p", "a", "-n", 2)
        self.assertEqual(self.verify(0)["ternary_scales"]["n_compared"], len(receipt["ternary_scales"]))
        for key in ("n", "zero", "min", "max", "clamped"):
            found = self.verify(10, file=self.changed(lambda r: r["ternary_scales"][1].update({key: 0.75})))
            self.assertIn(f"{receipt['ternary_scales'][1]['tensor']}: {key} 0.75", found["ternary_scales"]["detail"])
        # A model with a template of its own, and one that was given.
        _, receipt = self.run_with_receipt("-m", STORIES, "-p", "a", "-n", 2)
        self.assertEqual(receipt["template"]["source"], "model")
        self.assertEqual(self.verify(0)["template"]["n_compared"], 1)
        self.assertNotIn("template.sha256", self.not_checked)
        found = self.verify(10, file=self.changed(lambda r: r["template"].update(sha256=sha256(b""))))
        self.assertIn(sha256(b"")[:16], found["template"]["detail"])
        self.run_with_receipt("-m", LLAMA, "-p", "a", "-n", 2, "--chat-template", "{{ messages[0].content }}!")
        self.assertNotIn("template", self.verify(0))
        self.assertIn("template.sha256", self.not_checked)

    def test_what_is_not_checked_is_listed(self):
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 2)
        self.verify(0)
        beyond = ["created", "build", "machine", "model.name", "model.files[].path", "template.source", "comparisons[0].detail"]
        self.assertEqual(sorted(self.not_checked), sorted(beyond))
        # Another engine's comparison, and a field that a later version added.
        foreign = {"name": "parity", "reference": "transformers", "verdict": "pass", "n_compared": 32, "detail": ""}
        file = self.changed(lambda r: r.update(comparisons=[foreign], verdict="pass", later=1))
        self.verify(0, file=file)
        self.assertEqual(sorted(self.not_checked), sorted(beyond[:-1] + ["comparisons[0] (against transformers)", "later"]))
        code, out, _ = self.run_command("verify-receipt", "-q", file)
        self.assertEqual(code, 0)
        (line,) = [line for line in out.splitlines() if line.startswith("not checked: ")]
        self.assertEqual(line.removeprefix("not checked: ").split(", "), self.not_checked)
        # Of another model nothing else is looked at.
        self.verify(10, "-m", GOLDEN / "qwen2.gguf")
        self.assertLessEqual({"facts", "norms", "steps", "tokens", "verdict"}, set(self.not_checked))

    def test_a_text_that_was_cut_short_is_compared_as_far_as_it_goes(self):
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 8, "--greedy")

        def cut(receipt):
            receipt.update(stop="cancelled", max_tokens=-1)
        self.assertEqual(self.verify(0, file=self.changed(cut))["generation"]["n_compared"], 8)

    def test_a_receipt_that_says_nothing_is_inconclusive(self):
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 4, "--greedy")

        def no_tokens(r):
            r["tokens"] = {"tokens": [], "sha256": sha256(b"")}
        found = self.verify(11, file=self.changed(lambda r: (no_tokens(r), r.update(steps=[]))))
        for name in ("generation", "tokens"):
            self.assertEqual((found[name]["verdict"], found[name]["n_compared"]), ("inconclusive", 0))
        for name, change in (("tokens", no_tokens), ("generation", lambda r: r.update(steps=[])), ("generation", lambda r: r.pop("steps")),
                             ("facts", lambda r: r.update(facts=[])), ("norms", lambda r: r.update(norms=[]))):
            found = self.verify(11, file=self.changed(change))
            self.assertEqual([one for one in found if found[one]["verdict"] != "pass"], [name])
            self.assertIn("the receipt has no ", found[name]["detail"])

    def test_nothing_compared_is_no_pass(self):
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 0)
        self.assertEqual(self.verify(11)["generation"]["verdict"], "inconclusive")

    def test_refusals(self):
        self.run_with_receipt("-m", LLAMA, "--raw", "-p", "the quick", "-n", 4)
        before = self.file.read_text()
        self.fails(2, "run", "-q", "-m", LLAMA, "--raw", "-p", "x", "--receipt", self.file, says="exists")
        self.assertEqual(self.file.read_text(), before)
        copy = self.home / "model.gguf"
        shutil.copy(LLAMA, copy)
        self.fails(2, "run", "-q", "-m", copy, "--raw", "-p", "x", "--receipt", copy, "--force")
        self.assertEqual(copy.read_bytes(), LLAMA.read_bytes())

        def verify(code, change, says):
            self.assertIn("changed.json: ", self.fails(code, "verify-receipt", self.changed(change), says=says))

        def ids(name, wrong):
            def change(receipt):
                receipt[name]["tokens"][0] = wrong
                receipt[name]["sha256"] = sha256_of_ids([(id + 2**31) % 2**32 - 2**31 for id in receipt[name]["tokens"]])
            return change
        verify(3, lambda r: r["tokens"]["tokens"].reverse(), "the receipt was changed")
        verify(3, lambda r: r["prompt"]["tokens"].append(1), "the receipt was changed")
        verify(3, lambda r: r["sampling"].pop("top_k"), "top_k")
        verify(3, lambda r: r.pop("schema"), "no receipt")
        verify(4, lambda r: r.update(schema_version="2.0.0"), "2.0.0")
        verify(3, lambda r: r.pop("schema_version"), "expected a text as schema_version, found null")
        verify(4, lambda r: r.update(kind="other"), "other")
        verify(3, lambda r: r.pop("kind"), "expected a text as kind, found null")
        for name in ("prompt", "tokens"):
            verify(3, ids(name, 99999), f'token 99999 in "{name}"; the model\'s ids are 0 to ')
            verify(3, ids(name, -1), f'token -1 in "{name}"')
            verify(3, ids(name, 2**32 + 1), "4294967297")  # not token 1
        verify(3, lambda r: r["steps"][1].update(token=99999), 'token 99999 in "steps"')
        for name in ("facts", "norms", "ternary_scales", "comparisons", "verdict", "template"):
            verify(3, lambda r: r.pop(name), name)
        verify(3, lambda r: r.update(steps=5), "expected a list as steps")
        verify(3, lambda r: r["sampling"].update(temperature=200), "temperature: expected 0")
        verify(3, lambda r: r["sampling"].update(top_k=2**32 + 40), "top_k")
        verify(3, lambda r: r["sampling"].update(seed="7x"), "seed")
        verify(3, lambda r: r.pop("ignore_eos"), "ignore_eos")
        verify(3, lambda r: r["computation"].update(context=0), "context")
        verify(5, lambda r: r["computation"].update(context=10**6), "context")
        verify(5, lambda r: r["computation"].update(context=1), "context")
        verify(2, lambda r: r["computation"].update(convention=["none=1"]), "none")
        verify(8, lambda r: r["model"].update(name="/no/such.gguf"), "/no/such.gguf")
        verify(3, lambda r: r["computation"].update(kv_type="f99"), "kv_type")
        verify(3, lambda r: r["computation"].update(activations="f99"), "activations")
        self.fails(8, "verify-receipt", self.home / "none.json")
        self.assertEqual([p.name for p in self.home.iterdir() if p.name.endswith(".tmp")], [])


class ReceiptSet(CommandTest):
    def make(self, code, *arguments, folder="set"):
        got, out, err = self.run_command("receipt", "-q", "-m", LLAMA, "-o", self.home / folder, "--force", "--json", *arguments)
        self.assertEqual(got, code, out + err)
        return json.loads(out)

    def read(self, name, folder="set"):
        return json.loads((self.home / folder / name).read_text())

    def test_the_set(self):
        prompt = "the quick brown"
        said = self.make(11, "-p", prompt)
        parity, stability, receipt = (self.read(name) for name in ("decode_parity.json", "attention_stability.json", "receipt.json"))
        greedy = self.json("run", "-q", "-m", LLAMA, "--raw", "-p", prompt, "-n", 32, "--greedy", "--ignore-eos")
        self.assertEqual(parity, [{"step": i, "token": token} for i, token in enumerate(greedy["tokens"])])
        self.assertEqual(len(parity), 32)
        verdicts = {one["name"]: one["verdict"] for one in stability}
        self.assertEqual(verdicts, {"fully_masked_row": "pass", "one_token_prompt": "pass", "long_sequence_100_tokens": "pass",
                                    "decode_parity": "inconclusive"})
        for one in stability:
            self.assertEqual(one["n_compared"] > 0, one["verdict"] == "pass")
            self.assertEqual(one["reference"] == "none", one["name"] == "decode_parity")
        self.assertEqual(stability[0]["n_compared"], 7 * 4 * 10)
        self.assertEqual(stability[1]["n_compared"], 2 * 4)  # layers and heads
        self.assertEqual(stability[2]["n_compared"], 100)
        self.assertEqual(receipt["comparisons"], stability)
        self.assertEqual((receipt["verdict"], receipt["kind"], said["verdict"]), ("inconclusive", "parity", "inconclusive"))
        self.assertEqual(receipt["model"]["files"][0]["sha256"], sha256(LLAMA.read_bytes()))
        self.assertEqual(receipt["prompt"]["tokens"], greedy["prompt_tokens"])
        self.assertTrue(receipt["norms"])

    def test_with_a_reference(self):
        reference = self.home / "reference.json"
        self.make(11, "--isa", "scalar", "-t", 1, folder="other")
        rows = self.read("decode_parity.json", "other")

        def against(code, value, *more):
            reference.write_text(json.dumps(value))
            self.make(code, "--reference", reference, *more)
            return self.read("attention_stability.json")[3]
        one = against(0, rows, "--reference-name", "llama.cpp")
        self.assertEqual((one["verdict"], one["reference"], one["n_compared"]), ("pass", "llama.cpp", 32))
        self.assertEqual(against(0, rows)["reference"], str(reference))
        prompt = self.read("receipt.json", "other")["prompt"]["tokens"]
        self.assertEqual(against(0, {"engine": "transformers", "prompt_tokens": prompt, "steps": rows})["reference"], "transformers")
        self.assertEqual(against(11, {"prompt_tokens": prompt + [1], "steps": rows})["verdict"], "inconclusive")
        for nothing in ([], {"steps": []}):
            one = against(11, nothing)
            self.assertEqual((one["verdict"], one["n_compared"]), ("inconclusive", 0))
            self.assertIn("the reference is empty", one["detail"])
        # Less than what was decoded is no pass, whichever steps they are.
        for some in (rows[:5], rows[20:25], rows[:31]):
            one = against(11, some)
            self.assertEqual((one["verdict"], one["n_compared"]), ("inconclusive", len(some)))
            self.assertIn(f"{len(some)} of 32 steps compared", one["detail"])
        self.assertIn("0 of 32 steps compared", against(11, [{"step": 32, "token": 1}])["detail"])
        wrong = [dict(row) for row in rows]
        wrong[9]["token"] ^= 1
        one = against(10, wrong)
        self.assertIn("step 9: token", one["detail"])
        self.assertEqual((one["verdict"], one["n_compared"]), ("fail", 10))
        # A reader who did not ask for JSON hears it, too.
        code, out, _ = self.run_command("receipt", "-q", "-m", LLAMA, "-o", self.home / "set", "--force", "--reference", reference)
        self.assertEqual(code, 10)
        self.assertIn(f"decode_parity: fail, 10 compared; step 9: token {wrong[9]['token']} in the reference, {rows[9]['token']} here", out)
        self.assertTrue(out.endswith(f"{self.home / 'set'}: fail\n"))
        wrong[9]["token"] = rows[9]["token"] + 2**32
        self.assertIn(f"step 9: token {wrong[9]['token']} in the reference", against(10, wrong)["detail"])
        self.assertEqual(against(11, {"prompt_tokens": [id + 2**32 for id in prompt], "steps": rows})["n_compared"], 0)
        reference.write_text(json.dumps(rows + [{"step": 9, "token": 1}]))
        self.fails(3, "receipt", "-m", LLAMA, "-o", self.home / "x", "--reference", reference, says="reference.json: step 9 is there twice")
        reference.write_text('[{"step": 1}]')
        self.fails(3, "receipt", "-m", LLAMA, "-o", self.home / "x", "--reference", reference, says="expected [{")
        self.assertFalse((self.home / "x").exists())

    def test_every_kind_of_model(self):
        for model in ("gemma3.gguf", "qwen35moe.gguf", "bitnet.gguf"):
            got, out, err = self.run_command("receipt", "-q", "-m", GOLDEN / model, "-o", self.home / model, "--json")
            self.assertEqual(got, 11, err)
            verdicts = [one["verdict"] for one in json.loads(out)["comparisons"]]
            self.assertEqual(verdicts, ["pass", "pass", "pass", "inconclusive"], model)

    def test_a_model_that_breaks_fails(self):
        got, out, _ = self.run_command("receipt", "-q", "-m", GOLDEN / "qwen3moe.gguf", "-o", self.home / "set", "--json",
                                       "--convention", "rope_base=1e-300")
        self.assertEqual(got, 10)
        parity = json.loads(out)["comparisons"][3]
        self.assertEqual(parity["verdict"], "fail")
        self.assertIn("generation failed at step 0: a logit is not finite", parity["detail"])

    def test_refusals(self):
        self.make(11)
        before = {p.name: p.read_bytes() for p in (self.home / "set").iterdir()}
        self.fails(2, "receipt", "-m", LLAMA, "-o", self.home / "set", says="exists")
        self.assertEqual({p.name: p.read_bytes() for p in (self.home / "set").iterdir()}, before)
        self.assertEqual(set(before), {"receipt.json", "attention_stability.json", "decode_parity.json"})
        self.fails(2, "receipt", "-m", LLAMA, says="-o DIR")
        self.fails(2, "receipt", "-m", LLAMA, "-o", self.home / "y", "-p", "a", "--tokens", "1", says="one prompt")
        self.fails(5, "receipt", "-m", LLAMA, "-o", self.home / "y", "-c", 16, says="do not fit the context")


if __name__ == "__main__":
    unittest.main()
