"""`rowmax doctor`: forms, exit codes, the page."""
import json
import unittest

from command import GOLDEN, MODEL, CommandTest

STORIES = GOLDEN.parents[1] / "models" / "stories.gguf"
CHECK_KEYS = {"id", "verdict", "measured", "threshold", "n_compared", "place"}
CAUSE_KEYS = {"id", "place", "text", "evidence", "confidence"}


class Doctor(CommandTest):
    def report(self, expected_code, *arguments):
        code, out, err = self.run_command("doctor", *arguments, "--json")
        self.assertEqual(code, expected_code, f"{arguments}: {out[:2000]} {err}")
        self.assertEqual(out.count("\n"), 1)
        report = json.loads(out)
        for check in report["checks"]:
            self.assertLessEqual(CHECK_KEYS, set(check))
            self.assertIn(check["verdict"], ("pass", "fail", "inconclusive", "skipped"))
            if check["verdict"] == "pass":
                self.assertGreater(check["n_compared"], 0, check)
        for cause in report["causes"]:
            self.assertLessEqual(CAUSE_KEYS, set(cause))
            self.assertTrue(0 <= cause["confidence"] <= 1)
        confidences = [cause["confidence"] for cause in report["causes"]]
        self.assertEqual(confidences, sorted(confidences, reverse=True))
        return report

    def test_a_healthy_model_and_its_page(self):
        page = self.home / "page.html"
        for path in (("--html", page), (STORIES, "--quick"), ("-m", STORIES, "--quick")):
            report = self.report(0, *path)
            self.assertEqual((report["verdict"], report["causes"]), ("healthy", []))
        text = page.read_text()
        self.assertTrue(text.startswith("<!doctype html>"))
        for part in ("healthy", "<svg", "data:image/bmp;base64,", "The convention search", "Attention"):
            self.assertIn(part, text)
        self.assertNotIn("<script", text)
        self.assertNotIn("http", text.replace("http-equiv", ""))
        self.fails(2, "doctor", "--html", page, says="page.html")
        text = self.output("doctor", "--quick", "--html", page, "--force")
        self.assertIn("Verdict: healthy", text)

    def test_a_wrong_convention_is_named_with_both_losses(self):
        report = self.report(10, "--convention", "rope_pairing=adjacent")
        self.assertEqual(report["verdict"], "faulty")
        first = report["causes"][0]
        self.assertEqual(first["id"], "rope_pairing")
        self.assertLess(float(first["evidence"]["nll"]) + 1, float(first["evidence"]["configured_nll"]))
        # The command that shows it does.
        self.assertIn("--convention rope_pairing=halves", first["command"])
        # In words, and in the time that one is given.
        code, text, _ = self.run_command("doctor", "--convention", "rope_pairing=adjacent", "--only", "conventions",
                                         "--budget", 4)
        self.assertEqual(code, 10)
        self.assertIn("1. rope_pairing", text)

    def test_random_weights_say_nothing(self):
        report = self.report(11, MODEL)
        self.assertEqual((report["verdict"], report["causes"]), ("inconclusive", []))

    def test_quick_computes_nothing(self):
        report = self.report(0, "--quick")
        skipped = {check["id"] for check in report["checks"] if check["verdict"] == "skipped"}
        self.assertIn("conventions", skipped)
        self.assertNotIn("bytes", skipped)

    def test_a_truncated_file_is_a_diagnosis(self):
        file = self.home / "half.gguf"
        file.write_bytes(STORIES.read_bytes()[:900000])
        report = self.report(10, file)
        self.assertEqual(report["causes"][0]["id"], "truncation")
        self.assertIn("half.gguf", report["load_error"])

    def test_a_reference(self):
        """What an engine with another RoPE computed is told from what this one does."""
        file = self.home / "theirs.safetensors"
        prompt = ("-p", "Once upon a time, there was a fox", "--stages", "all", "--activations", "f32", "--kv-type", "f32")
        self.output("dump", *prompt, file)
        report = self.report(0, "--only", "first_divergence", "--reference", file)
        (check,) = [c for c in report["checks"] if c["id"] == "first_divergence"]
        self.assertEqual(check["verdict"], "pass", check)
        wrong = self.home / "wrong.safetensors"
        self.output("dump", *prompt, "--convention", "rope_pairing=adjacent", wrong)
        report = self.report(10, "--only", "first_divergence", "--reference", wrong)
        self.assertEqual(report["causes"][0]["id"], "rope_pairing")
        self.assertEqual(report["causes"][0]["place"]["stage"], "q")

    def test_wrong_usage(self):
        self.fails(2, "doctor", "--only", "everything", says="conventions")
        self.fails(2, "doctor", "--only", "first_divergence", says="--reference")
        self.fails(2, "doctor", "", says="path")
        self.fails(2, "inspect", "", says="path")
        self.fails(2, "doctor", "--budget", "0", says="budget")
        self.fails(8, "doctor", self.home / "none.gguf", says="none.gguf")


if __name__ == "__main__":
    unittest.main()
