"""The model in the program: what the command does where nobody names a model, with an empty home and no network."""
import os
import unittest

from command import GOLDEN, MODEL, PROGRAM, CommandTest

STORY = (GOLDEN / "stories.txt").read_text()
FILE = str(GOLDEN.parents[1] / "models" / "stories.gguf")


class Stories(CommandTest):
    def test_run_tells_the_stored_story(self):
        code, out, err = self.run_command("run")
        self.assertEqual((code, out), (0, STORY))
        self.assertIn("rowmax run -m smollm2 --pull", err)
        self.assertEqual(os.listdir(self.home), [])
        self.assertEqual(self.output("run", "-m", "stories", "Once upon a time"), STORY[len("Once upon a time"):])
        code, out, err = self.run_command("run", "-q", "-m", FILE, "-p", "Once upon a time")
        self.assertEqual((code, out, err), (0, STORY[len("Once upon a time"):], ""))

    def test_whatever_computes_it(self):
        names = self.output("--version").split("this machine:")[1].split(")")[0].split()
        self.assertIn("scalar", names)
        for isa in names:
            self.assertEqual(self.output("run", "-q", "--isa", isa, "-t", 1), STORY, isa)
        self.assertEqual(self.output("run", "-q", "-t", 3), STORY)

    def test_seeds_and_titles(self):
        other = self.output("run", "--seed", 1, "-n", 30)
        self.assertTrue(other.startswith("Once upon a time"))
        self.assertNotEqual(other.strip(), STORY[:len(other.strip())])
        told = self.json("run", "a story about a fox and a kite", "--greedy")
        self.assertEqual(told["stop"], "eos")
        self.assertFalse(told["text"].startswith("\n"))
        self.assertIn("fox", told["text"])

    def test_what_is_typed_comes_first(self):
        # A pipe, the variable and flags count as prompts; only without any of them is there one of ours.
        title = "a story about a bear"
        want = self.json("run", title, "-n", 8)["tokens"]
        self.assertEqual(self.json("run", "-n", 8, stdin=title)["tokens"], want)
        self.assertEqual(self.json("run", "-n", 8, env={"ROWMAX_PROMPT": title})["tokens"], want)
        self.fails(2, "run", "-m", MODEL, says="no prompt")

    def test_other_commands(self):
        built_in, file = self.json("inspect"), self.json("inspect", FILE)
        self.assertEqual(built_in.pop("file")["path"], "stories (built in)")
        file.pop("file")
        self.assertEqual(built_in, file)
        self.assertEqual(built_in["model"]["architecture"], "bitnet-b1.58")
        self.assertEqual("".join(self.json("tokenize", "-p", STORY)["pieces"]), STORY)
        text = self.home / "story.txt"
        text.write_text(STORY * 4)
        self.assertLess(self.json("score", "-f", text, "--ctx", 256)["perplexity"], 20)
        self.fails(8, "chat", says="rowmax pull smollm2")
        self.fails(2, "pull", "stories", says="built in")
        self.fails(8, "run", "-m", "smollm2", "-p", "a", says="rowmax pull smollm2")


if __name__ == "__main__":
    unittest.main()
