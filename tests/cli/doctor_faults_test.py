"""A dozen planted faults, of files and of the graph, in models that lie here: `rowmax doctor` must name each, and must find
nothing in the models themselves. All faults, and more models: bench/doctor."""
import json
import sys
import unittest
from pathlib import Path

from command import GOLDEN, PROGRAM, CommandTest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "doctor"))
from gguf_edit import Gguf  # noqa: E402
from suite import FAULTS, Suite, changes, judge  # noqa: E402

# Fault -> what of the file differs from the base: names of keys and tensors, or how many.
DOZEN = {
    "rope_pairing.qwen2": None,
    "activation_relu2.llama": None,
    "norm_missing.qwen2": ["blk.1.ffn_norm.weight"],
    "rope_base_key.qwen2": ["qwen2.rope.freq_base"],
    "biases_zero.qwen2": 9,
    "biases_missing.qwen2": 9,
    "zero_down.qwen2": ["blk.1.ffn_down.weight"],
    "nan_norm.qwen2": ["blk.1.attn_norm.weight"],
    "i2s_scale_nan.stories": ["blk.2.attn_q.weight"],
    "value_heads_grouped.qwen35": 24,
    "pre_lost.qwen2": ["tokenizer.ggml.pre"],
    "template_broken.qwen2": ["tokenizer.chat_template"],
    "cut_half.qwen2": None,
}
# A look at the file is enough; the others are found by computing.
QUICK = {"biases_zero.qwen2", "zero_down.qwen2", "template_broken.qwen2", "pre_lost.qwen2", "cut_half.qwen2"}


class DoctorFaults(CommandTest):
    def setUp(self):
        super().setUp()
        self.suite = Suite(PROGRAM, GOLDEN / "doctor", self.home)
        self.faults = {fault.id: fault for fault in FAULTS}

    def test_each_fault_is_named_first(self):
        for name in DOZEN:
            with self.subTest(name):
                fault, self.suite.quick = self.faults[name], name in QUICK
                answer = self.suite.ask(self.suite.file_of(fault), *self.suite.flags(fault))
                verdict = judge(fault, answer)
                self.assertTrue(verdict["detected"] and verdict["first"], answer)
                self.assertNotEqual(verdict["place"], False, answer)

    def test_models_without_a_fault(self):
        for name in ("qwen2", "qwen35", "gemma3", "llama"):
            with self.subTest(name):
                self.suite.quick = name != "qwen2"
                answer = self.suite.ask(self.suite.base(name))
                self.assertEqual((answer["verdict"], answer["causes"], answer["failed"]), ("healthy", [], []), answer)

    def test_planting_changes_what_it_says(self):
        for name, wanted in DOZEN.items():
            fault = self.faults[name]
            if wanted is None:
                continue
            with self.subTest(name):
                data, before = self.suite.gguf(fault.base)
                self.suite.plant(fault, self.home / "planted.gguf")
                found = changes(before, Gguf.load(self.home / "planted.gguf"))
                self.assertEqual(len(found) if isinstance(wanted, int) else found, wanted)

    def test_faults_of_models_that_are_not_stored(self):
        """Trained where they are wanted (bench/doctor/README.md): random models of the same names show what each row hits."""
        suite, ids = Suite(PROGRAM, GOLDEN / "doctor", self.home, more=GOLDEN), self.home / "ids.json"
        ids.write_text(json.dumps(list(range(3, 123))))

        def score(fault, *flags):
            said = suite.run("score", "-m", suite.base(fault.base), "--token-ids", ids, "--ctx", 60, "--json", "-q", *flags)
            self.assertEqual(said.returncode, 0, (fault.id, said.stderr))
            return json.loads(said.stdout)["nll"]

        rows = [fault for fault in FAULTS if not self.suite.base(fault.base) and fault.base != "smollm2"]
        self.assertEqual(len({fault.base for fault in rows}), 9)
        for fault in rows:
            with self.subTest(fault.id):
                if fault.kind == "graph":
                    self.assertNotEqual(score(fault, *suite.flags(fault)), score(fault))
                else:
                    suite.plant(fault, self.home / "planted.gguf")
                    self.assertTrue(changes(suite.gguf(fault.base)[1], Gguf.load(self.home / "planted.gguf")))

    def test_what_is_not_changed_stays(self):
        for path in [*GOLDEN.glob("*.gguf"), *(GOLDEN / "doctor").glob("*.gguf"), ROOT / "models" / "stories.gguf"]:
            self.assertEqual(Gguf.load(path).bytes(), path.read_bytes(), path)


if __name__ == "__main__":
    unittest.main()
