"""--draft-model and --ngram-drafts, of `run` and `serve`: the same answers, whoever guesses; other vocabularies are refused."""
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from server import PLAIN_MODEL, PROGRAM, Server, environment, run_command, together

GOLDEN = Path(PLAIN_MODEL).parent
PROMPT = "Once upon a time there was a cat. The cat saw a dog. The dog saw"


def refused(*arguments):
    with tempfile.TemporaryDirectory() as home:
        result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
                                env=environment(home))
    return result.returncode, result.stderr.decode()


def run(*flags):
    return json.loads(run_command("run", "-q", "--json", "--raw", "-n", 60, "-p", PROMPT, *flags))


class Drafts(unittest.TestCase):
    def test_run(self):
        for flags in ([], ["--greedy"], ["--seed", 3, "--temp", 1.2], ["--stop", "."]):
            plain = run(*flags)
            self.assertNotIn("draft_n", plain["timings"])
            for guesser in (["--draft-model", "stories"], ["--ngram-drafts"]):
                guessed = run(*flags, *guesser)
                self.assertEqual({k: v for k, v in guessed.items() if k != "timings"}, {k: v for k, v in plain.items() if k != "timings"})
            if flags == ["--greedy"]:
                own = run(*flags, "--draft-model", "stories")["timings"]
                self.assertGreater(own["draft_n"], 20)
                self.assertEqual(own["draft_n_accepted"], own["draft_n"], "what it would write itself is what it writes")

    def test_serve(self):
        bodies = [{"prompt": PROMPT[:20 + 4 * i], "max_tokens": 40, "seed": i, "temperature": 0.3 * (i % 4), "n": 1 + i % 2} for i in range(10)]
        with Server() as server:
            plain = [[c["text"] for c in server.post("/v1/completions", body).json["choices"]] for body in bodies]
        # Two texts at once: the others take their sequences.
        with Server("--draft-model", "stories", "--parallel", 2) as server:
            answers = together([lambda body=body: server.post("/v1/completions", body).json for body in bodies])
            self.assertEqual([[c["text"] for c in answer["choices"]] for answer in answers], plain)
            greedy = server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 40, "temperature": 0}).json
            self.assertGreater(greedy["timings"]["draft_n_accepted"], 10)
            self.assertEqual(greedy["timings"]["draft_n_accepted"], greedy["timings"]["draft_n"])

    def test_what_is_refused(self):
        for flags, says in [(["--draft-model", str(GOLDEN / "gemma3.gguf")], "expected the vocabulary of stories"),
                            (["--draft-model", "stories", "--ngram-drafts"], "expected one of them"),
                            (["--draft-model", "/nowhere.gguf"], "/nowhere.gguf")]:
            for command in (["run", "-p", "a"], ["serve", "--port", 0]):
                code, said = refused(*command, *flags)
                self.assertNotEqual(code, 0)
                self.assertIn(says, said)


if __name__ == "__main__":
    unittest.main()
