"""rowmax convert and rowmax quantize from outside."""
import json
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from command import MODEL, PROGRAM, SLOW_MODEL, CommandTest

TESTDATA = Path(__file__).resolve().parents[2] / "engine/convert/testdata"


class Convert(CommandTest):
    def folder(self, name):
        target = self.home / name
        shutil.copytree(TESTDATA / name, target)
        shutil.copy(TESTDATA / "tokenizer.json", target)
        return target

    def test_quantize_and_run(self):
        out = self.home / "q8.gguf"
        table = self.output("quantize", MODEL, out, "Q8_0", "-q", "--table")
        self.assertIn("rms error", table)
        self.assertIn("token_embd.weight", table)
        self.assertIn("output_norm.weight", table)
        result = self.json("quantize", MODEL, self.home / "again.gguf", "Q8_0", "-t", 3)
        self.assertEqual(list(result), ["output", "files", "bytes_in", "bytes_out", "seconds", "notices", "tensors"])
        self.assertEqual((self.home / "again.gguf").read_bytes(), out.read_bytes())
        kinds = {t["name"]: t["to"] for t in result["tensors"]}
        self.assertEqual(kinds["output_norm.weight"], "F32")
        self.json("run", "-m", out, "-p", "the", "-n", 4, "--raw")

    def test_a_summary_by_types(self):
        tensors = self.json("quantize", MODEL, self.home / "a.gguf", "Q8_0")["tensors"]
        lines = self.output("quantize", MODEL, self.home / "b.gguf", "Q8_0").splitlines()
        pairs = {(t["from"], t["to"]) for t in tensors}
        self.assertEqual(len(lines), len(pairs) + 2)
        for line in lines[1:-1]:
            start, end, count = line.split()[:3]
            those = [t for t in tensors if (t["from"], t["to"]) == (start, end)]
            self.assertEqual(int(count), len(those))
            worst = max(those, key=lambda t: t["rms_error"])
            if worst["rms_error"] > 0:
                self.assertIn(f"{worst['rms_error']:.2e}", line)
                self.assertIn(f"{max(t['max_error'] for t in those):.2e}", line)
                self.assertTrue(line.endswith("  " + worst["name"]), line)

    def test_parts(self):
        whole, out = self.home / "whole.gguf", self.home / "out.gguf"
        self.json("quantize", MODEL, whole, "Q8_0")
        size = whole.stat().st_size // 3
        result = self.json("quantize", MODEL, out, "Q8_0", "--split-max-size", size)
        count = len(result["files"])
        self.assertGreater(count, 2)
        parts = [self.home / f"out-{i + 1:05}-of-{count:05}.gguf" for i in range(count)]
        self.assertEqual(result["files"], [str(part) for part in parts])
        self.assertEqual(sorted(self.home.glob("out*")), parts)
        larger = [n for n in result["notices"] if "larger than" in n]
        self.assertEqual(any(part.stat().st_size > size for part in parts), bool(larger))
        logprobs = []
        text = self.home / "text"
        text.write_text("the other word is how and that said " * 8)
        for name, model in (("a", whole), ("b", parts[-1])):
            self.output("score", "-m", model, "-f", text, "-c", 32, "--logprobs", self.home / name)
            logprobs.append((self.home / name).read_bytes())
        self.assertEqual(*logprobs)
        # Made one file again, it is the file that was not split.
        joined = self.home / "joined.gguf"
        self.json("quantize", parts[0], joined, "Q8_0")
        self.assertEqual(joined.read_bytes(), whole.read_bytes())
        # A part that is there needs --force, and the others are left alone.
        parts[0].unlink()
        before = {part: part.read_bytes() for part in parts[1:]}
        again = ("quantize", MODEL, out, "Q8_0", "--split-max-size", size)
        self.fails(2, *again, says="--force")
        self.assertEqual({part: part.read_bytes() for part in self.home.glob("out*")}, before)
        self.output(*again, "--force")
        self.assertEqual(sorted(self.home.glob("out*")), parts)
        self.fails(2, "quantize", MODEL, parts[0], "Q8_0", "--split-max-size", size, "--force", says="number of a part")
        for nonsense in ("0", "x", "1T", "-5", "5MB", "99999999999G"):
            self.fails(2, "quantize", MODEL, out, "Q8_0", f"--split-max-size={nonsense}", says="--split-max-size")
        # Parts of another number are named, and go with --force.
        fewer = ("quantize", MODEL, out, "Q8_0", "--split-max-size", size * 2)
        self.assertIn("--force", self.fails(2, *fewer, says=str(parts[0])))
        self.assertEqual(sorted(self.home.glob("out*")), parts)
        result = self.json(*fewer, "--force")
        self.assertLess(len(result["files"]), count)
        self.assertEqual(sorted(map(str, self.home.glob("out*"))), result["files"])
        self.assertTrue(any("removed" in n and str(parts[0]) in n for n in result["notices"]), result["notices"])
        self.fails(2, "quantize", result["files"][0], out, "Q8_0", "--split-max-size", size, "--force", says="the input")
        self.assertEqual(sorted(map(str, self.home.glob("out*"))), result["files"])
        folder = self.json("convert", self.folder("llama"), self.home / "l", "--split-max-size", "20K")["files"]
        self.assertGreater(len(folder), 1)
        self.assertTrue(folder[0].endswith(f"l-00001-of-{len(folder):05}.gguf"))
        self.json("run", "-m", folder[0], "-p", "the", "-n", 4, "--raw")

    def test_convert_and_run(self):
        for name in ("llama", "qwen3", "gemma3"):
            with self.subTest(name):
                out = self.home / (name + ".gguf")
                result = self.json("convert", self.folder(name), out)
                self.assertEqual({t["to"] for t in result["tensors"]}, {"BF16", "F32"})
                self.json("run", "-m", out, "-p", "the", "-n", 4, "--raw")
        again = self.json("convert", self.home / "llama.gguf", self.home / "f16.gguf", "--type", "F16")
        self.assertIn("F16", {t["to"] for t in again["tensors"]})

    def test_refusals(self):
        out = self.home / "out.gguf"
        out.write_text("mine")
        self.fails(2, "quantize", MODEL, out, "Q8_0", says="--force")
        self.assertEqual(out.read_text(), "mine")
        self.output("quantize", MODEL, out, "Q8_0", "--force")
        copy = self.home / "in.gguf"
        shutil.copy(MODEL, copy)
        self.fails(2, "quantize", copy, copy, "Q8_0", "--force", says="the output is the input")
        self.fails(2, "quantize", MODEL, self.home / "x.gguf", "Q9_9", says="Q9_9")
        self.fails(2, "quantize", MODEL, self.home / "x.gguf", says="type")
        self.fails(2, "quantize", MODEL, self.home / "x.gguf", "Q8_0", "--tensor", "ffn", says="REGEX=TYPE")
        self.fails(2, "quantize", MODEL, self.home / "x.gguf", "Q8_0", "--tensor", "nosuch=Q4_0", says="nosuch")
        self.fails(2, "convert", MODEL, self.home / "x.gguf", says="--type")
        self.fails(8, "quantize", self.home / "none.gguf", self.home / "x.gguf", "Q8_0", says="none.gguf")
        self.fails(8, "convert", self.home, self.home / "x.gguf", says="config.json")
        folder = self.folder("qwen2")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
        self.fails(4, "convert", folder, self.home / "x.gguf", says="hidden_act")
        (folder / "config.json").write_text("{")
        self.fails(3, "convert", folder, self.home / "x.gguf", says="config.json")
        self.assertFalse((self.home / "x.gguf").exists())

    def test_layout_of_the_input(self):
        stored, read, misread = (self.home / name for name in ("stored.gguf", "read.gguf", "misread.gguf"))
        self.json("quantize", SLOW_MODEL, stored, "I2_S_64", "--force", "--output-type", "F16")
        right = self.json("quantize", stored, read, "F32", "--format", "I2_S_64")
        wrong = self.json("quantize", stored, misread, "F32")
        self.assertIn("I2_S_64", {t["from"] for t in right["tensors"]})
        self.assertIn("I2_S", {t["from"] for t in wrong["tensors"]})
        self.assertNotEqual(read.read_bytes(), misread.read_bytes())

    def test_hadamard(self):
        text = self.home / "text"
        text.write_text("the other word is how and that said " * 8)
        exact = ("--activations", "f32", "--kv-type", "f32", "-f", text, "-c", 32)
        plain = self.json("score", "-m", MODEL, *exact)["perplexity"]
        folded = self.home / "folded.gguf"
        self.json("convert", MODEL, folded, "--type", "F32", "--hadamard", 8)
        self.assertAlmostEqual(self.json("score", "-m", folded, *exact)["perplexity"] / plain, 1, delta=1e-4)
        data = folded.read_bytes()
        self.assertIn(b"prism.hadamard.transform", data)
        # The keys taken away: nothing in the file tells, and it is another model.
        folded.write_bytes(data.replace(b"prism.hadamard.", b"other.hadamard."))
        self.assertGreater(abs(self.json("score", "-m", folded, *exact)["perplexity"] / plain - 1), 0.01)
        # A value that is not known.
        folded.write_bytes(data.replace(b"input-last-dimension", b"input-next-dimension"))
        self.fails(4, "score", "-m", folded, *exact, says="prism.hadamard.axis")
        self.fails(2, "convert", MODEL, self.home / "x.gguf", "--type", "F32", "--hadamard", 3, says="power of two")

    def test_memory_is_that_of_pieces(self):
        # One matrix of 128 MiB, all zeros and so a hole on the disk.
        rows, cols = 32768, 1024
        text = lambda s: len(s).to_bytes(8, "little") + s.encode()
        u32 = lambda n: n.to_bytes(4, "little")
        u64 = lambda n: n.to_bytes(8, "little")
        head = (b"GGUF" + u32(3) + u64(1) + u64(1) + text("general.architecture") + u32(8) + text("llama") +
                text("blk.0.ffn_up.weight") + u32(2) + u64(cols) + u64(rows) + u32(0) + u64(0))
        big = self.home / "big.gguf"
        with big.open("wb") as file:
            file.write(head + bytes(-len(head) % 32))
            file.truncate(file.tell() + 4 * rows * cols)
        measure = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
                   "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        for kind in ("F32", "Q8_0", "TQ2_0"):
            out = self.home / (kind + ".gguf")
            command = (PROGRAM, "quantize", big, out, kind, "-t", "1", "-q", "--json")
            run = subprocess.run([sys.executable, "-c", measure, *command], check=True, capture_output=True, text=True)
            out.unlink()
            with self.subTest(kind):
                self.assertLess(int(run.stdout), 96 * 1024)

    def test_ternary_rows_without_whole_blocks(self):
        bitnet = self.home / "b.gguf"
        result = self.json("convert", self.folder("bitnet"), bitnet, "--type", "F32")
        self.assertTrue(all(t["rms_error"] == 0 for t in result["tensors"]))
        big = self.home / "big.gguf"
        # Rows of 16 and 24 weights are no whole blocks of any ternary type: F16, and a note that says so.
        result = self.json("quantize", bitnet, big, "TQ2_0")
        self.assertTrue(any("no whole blocks of TQ2_0" in notice for notice in result["notices"]))


if __name__ == "__main__":
    unittest.main()
