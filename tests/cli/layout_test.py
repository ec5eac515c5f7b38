"""Type ids that stand for several layouts: the check that the one taken makes sense."""
import unittest
from pathlib import Path

from command import GOLDEN, CommandTest

STORIES = Path(__file__).resolve().parents[2] / "models" / "stories.gguf"
PROMPT = ("-p", "Once upon a time", "-n", "4", "--greedy")


def moved(codes):
    """I2_S codes, where the layout of 64 has them: 32 bytes of 128 weights become 2 x 16 bytes of 64."""
    out = bytearray(len(codes))
    for half in range(2):
        for byte in range(16):
            total = 0
            for group in range(4):
                element = 64 * half + 16 * group + byte
                shift_from, shift_to = 6 - 2 * (element // 32), 6 - 2 * group
                table = bytes(((b >> shift_from) & 3) << shift_to for b in range(256))
                total |= int.from_bytes(codes[element % 32::32].translate(table), "little")
            out[16 * half + byte::32] = total.to_bytes(len(codes) // 32, "little")
    return bytes(out)


class Layout(CommandTest):
    def setUp(self):
        super().setUp()
        tensors = self.json("inspect", "-m", STORIES)["tensors"]
        file = bytearray(STORIES.read_bytes())
        data = (len(file) - max(t["offset"] + t["bytes"] for t in tensors)) // 32 * 32
        for t in tensors:
            if t["type"] == "I2_S":
                begin, n = data + t["offset"], t["bytes"] - 32
                file[begin:begin + n] = moved(bytes(file[begin:begin + n]))
        self.moved = self.home / "moved.gguf"
        self.moved.write_bytes(file)
        self.memory = self.home / ".cache" / "rowmax" / "layouts"

    def notes(self, *arguments, **more):
        code, out, err = self.run_command("run", *PROMPT, *arguments, **more)
        self.assertEqual(code, 0, err)
        self.out = out
        return [line for line in err.splitlines() if "--format" in line]

    def test_names_the_flag_and_remembers(self):
        found = self.notes("-m", self.moved)
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].endswith("add --format I2_S_64"), found)
        garbage = self.out
        memory = list(self.memory.iterdir())
        self.assertEqual(len(memory), 1)
        # From memory: what is written there is what it says.
        text = memory[0].read_text()
        self.assertEqual(text.count("I2_S_64"), 1)
        memory[0].write_text(text.replace("I2_S_64", "I2_S_ROW4"))
        self.assertTrue(self.notes("-m", self.moved)[0].endswith("add --format I2_S_ROW4"))
        # What another version wrote is made anew.
        memory[0].write_text("9" + text[1:].replace("I2_S_64", "I2_S_ROW4"))
        self.assertTrue(self.notes("-m", self.moved)[0].endswith("add --format I2_S_64"))
        self.assertEqual(memory[0].read_text(), text)
        self.assertEqual(list(self.memory.iterdir()), memory)
        # The flag helps.
        self.assertEqual(self.notes("-m", self.moved, "--format", "I2_S_64"), [])
        self.assertNotEqual(self.out, garbage)
        self.assertEqual(self.out, self.output("run", *PROMPT, "-m", STORIES))
        self.assertEqual(self.notes("-m", self.moved, "--convention", "tensor_layout=I2_S_64"), [])
        self.assertEqual(self.out, self.output("run", *PROMPT, "-m", STORIES))
        self.fails(2, "run", *PROMPT, "-m", self.moved, "--convention", "tensor_layout=I2_S_7", says="I2_S_ROW4")
        self.fails(2, "run", *PROMPT, "-m", self.moved, "--convention", "tensor_layout=Q8_0", says="I2_S_ROW4")

    def test_skipped(self):
        self.assertEqual(self.notes("-m", self.moved, "--no-layout-check"), [])
        self.assertEqual(self.notes("-m", self.moved, env={"ROWMAX_NO_LAYOUT_CHECK": "1"}), [])
        self.assertEqual(self.notes("-m", self.moved, "-q"), [])
        self.assertFalse(self.memory.exists())

    def test_quiet_about_sound_files_and_without_a_home(self):
        self.assertEqual(self.notes("-m", STORIES), [])
        self.assertEqual(len(list(self.memory.iterdir())), 1)
        self.assertEqual(self.notes("-m", GOLDEN / "llama_bias.gguf"), [])
        self.assertEqual(len(list(self.memory.iterdir())), 1)
        self.assertEqual(len(self.notes("-m", self.moved, env={"HOME": "", "XDG_CACHE_HOME": "/proc/nowhere"})), 1)


if __name__ == "__main__":
    unittest.main()
