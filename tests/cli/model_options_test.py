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

    def test_conventions_of_every_scope(self):
        model = ("-m", GOLDEN / "llama3rope.gguf")
        facts = {row["name"]: row for row in self.json("inspect", *model)["conventions"]}
        for name, scope in (("rope_pairing", "session"), ("qk_permutation", "tensor"), ("pre_tokenizer", "tokens")):
            self.assertEqual(facts[name]["scope"], scope)
            other = {"rope_pairing": "halves", "qk_permutation": "none", "pre_tokenizer": "gpt-2"}[name]
            self.assertNotEqual(facts[name]["value"], other)
            self.assertIn(other, facts[name]["values"])
            changed = self.json("inspect", *model, "--convention", f"{name}={other}")["conventions"]
            self.assertEqual([row["value"] for row in changed if row["name"] == name], [other])
            self.assertEqual([row for row in changed if row["name"] != name],
                             [row for row in facts.values() if row["name"] != name])
            self.assertRegex(self.output("inspect", *model), rf"{name} +{facts[name]['value']} ")
            for command in (["run", "-p", "a"], ["inspect"], ["tokenize", "-p", "a"]):
                if command[0] == "run" or name == "pre_tokenizer":
                    self.fails(2, *command, *model, "--convention", f"{name}=sideways", says=name)
        self.assertNotIn("tensor_layout", facts)
        self.assertNotIn("expert_used_count", facts)
        self.fails(2, "tokenize", *model, "-p", "a", "--convention", "pre=gpt-2", says="pre_tokenizer")
        for wrong in ("tensor_layout=I2_S_64", "rope_pairing=sideways"):  # the report, and then what is wrong
            code, out, err = self.run_command("inspect", *model, "--convention", wrong)
            self.assertEqual(code, 2)
            self.assertIn("general.architecture", out)
            self.assertIn(wrong.split("=")[0], err)

    def test_a_convention_that_changes_nothing_is_said(self):
        model, run = ("-m", GOLDEN / "llama3rope.gguf"), ("-p", "a", "-n", 1)
        facts = {row["name"]: row["value"] for row in self.json("inspect", *model)["conventions"]}
        for edit in ("sub_norms=no", "rope_pairing=adjacent", f"rope_base={float(facts['rope_base']):.3f}",
                     "layer_order=" + ",".join(str(i) for i in range(self.json("inspect", *model)["model"]["shape"]["n_layer"])),
                     "qk_permutation=llama"):
            name = edit.split("=")[0]
            says = f"--convention {name} changes nothing: it is {facts.get(name, 'no')} already"
            code, _, err = self.run_command("run", *model, *run, "--convention", edit)
            self.assertEqual((code, err.count("changes nothing"), says in err), (0, 1, True), err)
            self.assertEqual(self.run_command("run", *model, *run, "-q", "--convention", edit)[2], "")
            self.assertIn(says, self.output("inspect", *model, "--convention", edit))
        # The scale of the file's heads is not that of other heads.
        for edits in (("rope_pairing=halves",), ("qk_permutation=none",), ("add_bos=true",),
                      ("attention_scale=0.25", "rope_factors=none", "head_count=6")):
            more = [word for edit in edits for word in ("--convention", edit)]
            code, _, err = self.run_command("run", *model, *run, *more)
            self.assertEqual((code, "changes nothing" in err), (0, False), err)

    def test_a_convention_has_one_value(self):
        twice = ("--convention", "rope_pairing=adjacent", "--convention", "rope_pairing=halves")
        for command in (("run", "-p", "a"), ("inspect",), ("doctor", "--quick")):
            self.fails(2, *command, "-m", GOLDEN / "llama3rope.gguf", *twice, says="'adjacent' and 'halves'")

    def test_an_unknown_architecture_has_a_neighbour(self):
        # jamba is known, and lacks something: it is not taken for another.
        for golden, name, says in (("qwen3", "qwem3", "found 'qwem3' (did you mean qwen3?)"),
                                   ("qwen3", "zzzzz", "found 'zzzzz'"), ("qwen3", "jamba", "it would need")):
            data = (GOLDEN / f"{golden}.gguf").read_bytes()
            at = data.index(b"general.architecture") + len(b"general.architecture") + 4 + 8
            self.assertEqual(data[at:at + len(name)], golden.encode())
            path = self.home / "other.gguf"
            path.write_bytes(data[:at] + name.encode() + data[at + len(name):])
            for command in (("run", "-p", "a"), ("inspect",)):
                code, out, err = self.run_command(*command, "-m", path)
                self.assertEqual(code, 4, err)
                self.assertIn(says, err)
                self.assertEqual("did you mean" in err, name == "qwem3", err)

    def test_a_convention_is_the_flag(self):
        text = ("tokenize", "-m", GOLDEN / "llama3rope.gguf", "-q", "-p", "is  12 and   more")
        outs = {pre: self.output(*text, "--pre", pre) for pre in ("gpt-2", "smollm", "deepseek-coder", "tekken")}
        for pre, out in outs.items():
            self.assertEqual(self.output(*text, "--convention", f"pre_tokenizer={pre}"), out)
        path, found = GOLDEN / "llama3rope.gguf", []
        for bos in ("true", "false"):
            flags = (("--convention", f"add_bos={bos}"), ("--set", f"tokenizer.ggml.add_bos_token={bos}"))
            tokens = [self.json("dump", "-m", path, "-p", "the hand", self.home / f"{bos}{i}.safetensors", *flag)["tokens"]
                      for i, flag in enumerate(flags)]
            self.assertEqual(tokens[0], tokens[1])
            found.append(tokens[0])
            about = self.json("inspect", "-m", path, *flags[0])["tokenizer"]
            self.assertEqual(about["add_bos"], bos == "true")
        self.assertEqual(found[0], [about["bos"], *found[1]])


if __name__ == "__main__":
    unittest.main()
