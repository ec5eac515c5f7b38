"""The forms that scripts rely on."""
import json
import math
import unittest
import zipfile
from struct import unpack

from command import GOLDEN, MODEL, SLOW_MODEL, CommandTest


def read_npy(archive, name):
    data = archive.read(name + ".npy")
    assert data[:8] == b"\x93NUMPY\x01\x00"
    length = unpack("<H", data[8:10])[0]
    assert (10 + length) % 64 == 0
    header = eval(data[10:10 + length], {"__builtins__": {}})
    kind, size = {"<i4": ("i", 4), "<f8": ("d", 8)}[header["descr"]]
    (count,) = header["shape"]
    body = data[10 + length:]
    assert len(body) == count * size
    return list(unpack(f"<{count}{kind}", body))


def float_of(text):
    try:
        return float(text)
    except ValueError:
        return None


class Output(CommandTest):
    def test_run(self):
        flags = ["-m", MODEL, "-n", 12, "--greedy", "--raw"]
        result = self.json("run", *flags, "-p", "Hello world")
        self.assertEqual(list(result), ["prompt_tokens", "tokens", "text", "stop", "timings"])
        self.assertIn(result["stop"], ("eos", "length", "stop", "context"))
        self.assertLessEqual(len(result["tokens"]), 12)
        self.assertGreater(result["timings"]["prompt_ms"], 0)
        # The same from ids, from a file, from standard input and from the variable.
        ids = ",".join(map(str, result["prompt_tokens"]))
        prompt = self.home / "prompt.txt"
        prompt.write_text("Hello world")
        for other in (["--tokens", ids], ["-f", prompt], ["Hello world"]):
            again = self.json("run", *flags, *other)
            self.assertEqual((again["prompt_tokens"], again["tokens"], again["text"]),
                             (result["prompt_tokens"], result["tokens"], result["text"]))
        self.assertEqual(self.json("run", *flags, stdin="Hello world")["tokens"], result["tokens"])
        self.assertEqual(self.json("run", *flags, env={"ROWMAX_PROMPT": "Hello world"})["tokens"], result["tokens"])
        # Without --json the text alone.
        self.assertEqual(self.output("run", *flags, "-p", "Hello world").rstrip("\n"), result["text"].rstrip("\n"))

    def test_same_answer_whatever_computes_it(self):
        flags = ["run", "-m", MODEL, "-p", "one two three four five", "-n", 16, "--raw", "--seed", 5, "--ignore-eos"]
        first = self.json(*flags, "-t", 1, "--isa", "scalar")
        self.assertEqual(self.json(*flags, "-t", 3)["tokens"], first["tokens"])
        self.assertEqual(first["stop"], "length")

    def test_stop_string_and_context(self):
        # Two letters are made so likely that nothing else comes; the penalty makes them alternate.
        a, b = (self.json("tokenize", "-m", MODEL, "-p", letter)["tokens"][0] for letter in "ab")
        flags = ["run", "-m", MODEL, "--tokens", "5,6,7", "--greedy", "--logit-bias", f"{a}=1000,{b}=999.5",
                 "--frequency-penalty", "1.5"]
        text = self.json(*flags, "-n", 12)["text"]
        self.assertEqual(set(text), {"a", "b"})
        for stop in ("b", "ab", text[5:9]):
            stopped = self.json(*flags, "-n", 12, "--stop", "zz", "--stop", stop)
            self.assertEqual((stopped["stop"], stopped["text"]), ("stop", text[:text.index(stop)]))
        full = self.json(*flags, "-c", 16)
        self.assertEqual(full["stop"], "context")
        self.fails(5, *flags, "-c", 2, "-n", 1)

    def test_tokenize(self):
        result = self.json("tokenize", "-m", MODEL, "-p", "Hello world")
        self.assertEqual(list(result), ["tokens", "pieces"])
        self.assertEqual("".join(result["pieces"]), "Hello world")
        self.assertEqual(self.json("tokenize", "-m", MODEL, "-f", "-", stdin="Hello world"), result)
        lines = self.output("tokenize", "-m", MODEL, "-p", "Hello world").splitlines()
        self.assertEqual(len(lines), len(result["tokens"]))

    def test_score(self):
        ids = self.home / "ids.json"
        tokens = [(i * 7 + i * i) % 90 + 3 for i in range(100)]
        ids.write_text(json.dumps(tokens))
        npz = self.home / "out.npz"
        flags = ["score", "-m", MODEL, "--token-ids", ids, "--ctx", 32, "--activations", "f32"]
        result = self.json(*flags, "--logprobs", npz)
        self.assertEqual(list(result), ["n_tokens", "n_scored", "nll", "perplexity"])
        self.assertEqual((result["n_tokens"], result["n_scored"]), (100, 3 * 15))
        self.assertAlmostEqual(math.exp(result["nll"]), result["perplexity"], delta=1e-9 * result["perplexity"])
        with zipfile.ZipFile(npz) as archive:
            self.assertIsNone(archive.testzip())
            scored, logprobs = read_npy(archive, "tokens"), read_npy(archive, "logprobs")
        expected = [t for w in range(3) for t in tokens[w * 32 + 17:w * 32 + 32]]
        self.assertEqual(scored, expected)
        self.assertAlmostEqual(-sum(logprobs) / len(logprobs), result["nll"], places=12)
        self.assertTrue(all(x <= 0 for x in logprobs))
        self.assertIn("perplexity", self.output(*flags))

    def test_score_refuses_bad_ids(self):
        ids = self.home / "ids.json"
        for text in ("", "{}", "[1, 2", '["a"]', "[1.5]", "[-1]", "[99999999]", "[18446744073709551615]", "[[1]]",
                     "[" * 100000, '{"tokens": 3}', "[1]\0", "[1]\0[2]", "[1,\0 2]"):
            ids.write_text(text)
            self.fails(3, "score", "-m", MODEL, "--token-ids", ids, says="ids.json")
        ids.write_text("[1, 2, 3]")
        self.fails(2, "score", "-m", MODEL, "--token-ids", ids)  # not one whole window

    def test_bench(self):
        result = self.json("bench", "-m", MODEL, "-p", "8,16", "-n", 4, "-d", "0,32", "-t", "1,2", "-r", 3)
        self.assertEqual(len(result["results"]), 2 * 2 * 3)
        row = result["results"][0]
        self.assertEqual((row["test"], row["n"], row["depth"], row["threads"]), ("pp", 8, 0, 1))
        speed = row["tokens_per_second"]
        self.assertEqual(len(row["samples"]), 3)
        self.assertEqual(sorted(row["samples"]), [speed["min"], speed["median"], speed["max"]])
        self.assertEqual(len(row["processor_seconds"]), 3)
        self.assertTrue(all(0 < seconds < 60 for seconds in row["processor_seconds"]))
        self.assertEqual([m["threads"] for m in result["machine"]], [1, 2])
        self.assertTrue(all(0.2 < m["read_gb_per_s"] < 2000 for m in result["machine"]))
        self.assertIn("| tg4@32 | 2 |", self.output("bench", "-m", MODEL, "-p", 0, "-n", 4, "-d", 32, "-t", 2, "-r", 1))

    def test_bench_of_several_sequences(self):
        many = ("bench", "-m", MODEL, "-p", 8, "-n", 4, "-d", "0,40", "-s", "1,3", "-t", 1, "-r", 5)
        rows = self.json(*many)["results"]
        self.assertEqual([(row["test"], row["depth"], row["sequences"]) for row in rows],
                         [(test, depth, n) for depth in (0, 40) for n in (1, 3) for test in ("pp", "tg")])
        for row in rows:
            self.assertEqual("weights_gb_per_s" in row, row["test"] == "tg" and row["sequences"] == 1)
            # Tokens of all sequences: one thread computes for about as long as it takes, or less where it waits.
            counted = [speed * seconds for speed, seconds in zip(row["samples"], row["processor_seconds"])]
            n = row["n"] * row["sequences"]
            self.assertTrue(0.4 * n < max(counted) < 1.1 * n, (row, n))
        table = self.output(*many)
        for name in ("pp8", "tg4 x3", "pp8@40 x3", "tg4@40"):
            self.assertIn(f"| {name} | 1 |", table)
        self.fails(2, "bench", "-m", MODEL, "-s", "0", says="-s")

    def test_inspect(self):
        for name in ("llama_bias", "qwen3", "gemma3"):
            path = GOLDEN / f"{name}.gguf"
            result = self.json("inspect", "-m", path)
            names = {fact["name"] for fact in result["model"]["facts"]}
            self.assertTrue(all(fact["source"] for fact in result["model"]["facts"]))
            self.assertTrue(any("eps" in n for n in names), names)
            self.assertTrue(any("rope" in n for n in names), names)
            self.assertGreater(len(result["tensors"]), 10)
            text = self.output("inspect", path)
            self.assertIn("token_embd.weight", text)
            self.assertNotIn("\x1b", text)
            self.assertGreater(len(self.output("inspect", path, "--all")), len(text))

    def test_inspect_says_what_a_sequence_takes(self):
        # Keys and values by hand: whole pages of 64 tokens, 2 bytes a number.
        for name, state in (("gemma3", False), ("llama_bias", False), ("qwen35", True)):
            model = self.json("inspect", GOLDEN / f"{name}.gguf")["model"]
            shape, memory = model["shape"], model["sequence_memory"]
            self.assertEqual(memory[-1]["n_tokens"], shape["context_length"])
            for row in memory:
                n, full = row["n_tokens"], 0
                for group in row["groups"]:
                    first = max(0, n - group["window"] + 1) // 64 if group["window"] else 0
                    pages = -(-n // 64) - first
                    each = group["n_layer"] * shape["n_kv_head"] * shape["head_dim"] * 2 * 64 * 2
                    self.assertEqual(group["bytes"], pages * each)
                    self.assertEqual(group["kept_bytes"], first * each)
                    full += group["n_layer"]
                self.assertEqual(full < shape["n_layer"], state)
                self.assertEqual(row["state_bytes"] > 0, state)
                self.assertEqual(row["total_bytes"],
                                 row["kv_peak_bytes"] + row["state_bytes"] + row["checkpoint_bytes"])
                # Every page stays while the session's budget, what the whole context needs, has room.
                budget, states = memory[-1]["kv_budget_bytes"], row["state_bytes"] + row["checkpoint_bytes"]
                self.assertEqual(row["most_bytes"], states + max(row["kv_peak_bytes"],
                                                                 min(row["kv_bytes"] + row["kv_kept_bytes"], budget)))
                self.assertIn(f"{n}  ", self.output("inspect", GOLDEN / f"{name}.gguf"))
            self.assertEqual(len(memory[0]["groups"]) > 1, name == "gemma3")

    def test_a_budget_too_small_is_said_before_anything_is_computed(self):
        shape = self.json("inspect", SLOW_MODEL)["model"]["shape"]
        each = shape["n_layer"] * shape["n_kv_head"] * shape["head_dim"] * 2 * 2 * 64  # a page, f16
        n = 64 * (2**20 // each) + 1  # the last token begins a page more than 1 MiB holds
        takes = f"{math.ceil((n // 64 + 1) * each / 2**20 * 100) / 100:.2f} MiB of keys and values"
        run = ["run", "-m", SLOW_MODEL, "-n", 1, "--raw", "--tokens", ",".join(["5"] * n)]
        error = self.fails(5, *run, "--kv-budget", 1, says=f"{n} tokens take {takes} (")
        self.assertIn("there are 1 MiB for them, --kv-budget sets it", error)
        self.assertNotIn(" MB", error)
        self.output(*run, "--kv-budget", 2)

    def test_a_budget_refusal_counts_what_the_budget_bounds(self):
        model = GOLDEN / "qwen35.gguf"  # recurrent states, which the budget does not bound
        longer = ["-m", model, "--set", "qwen35.context_length=100000"]
        row = self.json("inspect", *longer)["model"]["sequence_memory"][1]
        self.assertGreater(row["state_bytes"], 0)
        n = row["n_tokens"]
        takes = f"{math.ceil(row['kv_peak_bytes'] / 2**20 * 100) / 100:.2f} MiB of keys and values ("
        error = self.fails(5, "run", *longer, "-c", n, "--kv-budget", 1, "--raw", "-n", 1, "--tokens", ",".join(["5"] * n),
                           says=f"{n} tokens take {takes}")
        self.assertNotIn("state", error)

    def test_a_budget_used_up_ends_the_text(self):
        shape = self.json("inspect", SLOW_MODEL)["model"]["shape"]
        room = 2**20 // (shape["n_layer"] * shape["n_kv_head"] * shape["head_dim"] * 2 * 2 * 64) * 64  # tokens, whole pages
        run = ["run", "-m", SLOW_MODEL, "--raw", "--greedy", "--ignore-eos", "-c", 2 * room, "--tokens", ",".join(["5"] * (room - 9))]
        # The last token is sampled behind the last keys and values that there is room for.
        free = self.json(*run, "-n", 10)
        full = self.json(*run, "--kv-budget", 1)
        self.assertEqual((full["stop"], full["tokens"], full["text"]), ("memory", free["tokens"], free["text"]))
        code, out, err = self.run_command(*run, "--kv-budget", 1)
        self.assertEqual((code, out.rstrip("\n")), (0, full["text"].rstrip("\n")))
        self.assertIn("stop: memory: no room for more keys and values (--kv-budget 1 MiB)", err)

    def test_set_replaces_a_key(self):
        facts = {f["name"]: f for f in self.json("inspect", MODEL, "--set", "llama.rope.freq_base=12345")["model"]["facts"]}
        changed = [f for f in facts.values() if float_of(f["value"]) == 12345]
        self.assertEqual(len(changed), 1)
        self.assertIn("override", changed[0]["source"])
        run = ["run", "-m", MODEL, "--tokens", "1,2,3,4,5,6,7,8", "-n", 1]
        self.fails(2, *run, "--set", "llama.rope.freq_base")
        self.fails(2, *run, "--set", "llama.no_such_key=1", says="llama.no_such_key")

    def test_the_keys_of_the_file_itself_cannot_be_set(self):
        bytes_ = (GOLDEN / "llama_bias.gguf").read_bytes()
        self.assertEqual(bytes_.count(b"general.architecture"), 1)
        without = self.home / "without.gguf"
        without.write_bytes(bytes_.replace(b"general.architecture", b"general.architectura"))
        for model in (MODEL, without):
            for command in (["run", "-p", "a"], ["tokenize", "-p", "a"], ["inspect"]):
                self.fails(2, *command, "-m", model, "--set", "general.architecture=llama",
                           says="--set general.architecture: this key cannot be set")

    def test_pull_list(self):
        result = self.json("pull", "--list")
        names = ["smollm2", "gemma3", "bitnet-2b-4t", "bonsai-1.7b", "bonsai-4b", "bonsai-8b"]
        self.assertEqual([m["name"] for m in result["models"]], names)
        self.assertFalse(any(m["here"] for m in result["models"]))
        self.assertTrue(result["models"][0]["path"].startswith(str(self.home)))


if __name__ == "__main__":
    unittest.main()
