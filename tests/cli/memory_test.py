"""A model that memory has no room for is refused before its weights are read, with what it needs and what there is."""
import math
import re
import struct
import unittest

import gguf_bytes
from command import GOLDEN, MODEL, CommandTest

WIDTH, N_FF = 1 << 16, 1 << 20  # 275 GB a matrix of FFNs
SETS = [f"llama.embedding_length={WIDTH}", f"llama.feed_forward_length={N_FF}", "llama.attention.key_length=10",
        "llama.attention.value_length=10"]
HUGE = [argument for value in SETS for argument in ("--set", value)]


def huge_shape(name, shape):
    of_heads = {"attn_q.bias": 0, "attn_q.weight": 1, "attn_output.weight": 0}  # 40 of another kind
    kept = next((axis for end, axis in of_heads.items() if name.endswith(end)), None)
    return [n if axis == kept else {40: WIDTH, 72: N_FF}.get(n, n) for axis, n in enumerate(shape)]


def write_huge(path):
    """The small model's keys with matrices of terabytes, which are a hole in the file; HUGE says how large they are."""
    data = (GOLDEN / "llama_bias.gguf").read_bytes()
    tensors = gguf_bytes.tensors(data)
    first = next(iter(tensors)).encode()
    head = data[:data.index(struct.pack("<Q", len(first)) + first)]
    end = 0
    for name, (shape, kind, _) in tensors.items():
        shape = huge_shape(name, shape)
        head += struct.pack("<Q", len(name)) + name.encode()
        head += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, end)
        end += (4 * math.prod(shape) + 31) // 32 * 32
    head += bytes(-len(head) % 32)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + end)


class Memory(CommandTest):
    def test_weights_without_room_are_refused_at_once(self):
        huge = self.home / "huge.gguf"
        write_huge(huge)
        for command in (["run", "-p", "a", "-n", "1"], ["bench", "-n", "1"], ["score", "--jsonl", "/dev/null"],
                        ["trace", "-p", "a"]):
            with self.subTest(command=command[0]):
                err = self.fails(5, command[0], "-m", huge, *HUGE, *command[1:], says="--no-memory-check")
                found = re.search(r"huge\.gguf: needs (\d+) bytes of memory \((.+) of weights.*\), (\d+) are available", err)
                self.assertIsNotNone(found, err)
                self.assertGreaterEqual(int(found[1]), 6 * 4 * WIDTH * N_FF)
                self.assertLess(int(found[3]), int(found[1]))
                self.assertNotIn("--kv-type q8_0", err)  # does not help where the weights alone are too large

    def test_a_context_without_room_is_refused(self):
        long = ("--set", f"llama.context_length={1 << 31}", "--kv-type", "f32")
        err = self.fails(5, "run", "-m", MODEL, *long, "-c", 1 << 31, "--raw", "-p", "a", "-n", "1", says="--no-memory-check")
        self.assertIn(f"for a context of {1 << 31} tokens", err)
        self.assertIn("available. A smaller context, --kv-type q8_0 or weights of fewer bits (rowmax quantize) would take less", err)
        self.output("run", "-q", "-m", MODEL, *long, "-c", 4096, "--raw", "-p", "a", "-n", "1")
        # Its memory is taken as tokens come.
        self.output("run", "-q", "-m", MODEL, *long, "-c", 1 << 31, "--raw", "-p", "a", "-n", "1", "--no-memory-check")

    def test_sequences_without_room_are_refused(self):
        """bench's 2048 sequences of a million tokens each."""
        long = ("--set", f"llama.context_length={1 << 20}")
        err = self.fails(5, "bench", "-m", MODEL, *long, "-p", 1 << 19, "-d", 1 << 18, "-n", 0, "-s", "1,2048", "-t", 1,
                         says="--no-memory-check")
        self.assertRegex(err, r"for 2048 sequences with a context of 786432 tokens.*\. Fewer sequences, a smaller context, ")


if __name__ == "__main__":
    unittest.main()
