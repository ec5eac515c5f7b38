"""--kernels: which variants there are, one of them forced, some forbidden; the text is the same with all of them."""
import json
import unittest
from pathlib import Path

from command import GOLDEN, MODEL, CommandTest

STORY = (GOLDEN / "stories.txt").read_text()
COMMANDS = ("run", "chat", "score", "bench", "trace", "inspect")


class Kernels(CommandTest):
    def rows(self):
        return self.json("run", "--kernels", "list")["kernels"]

    def supported(self):
        return [row["name"] for row in self.rows() if row["supported"]]

    def test_the_list(self):
        rows = self.rows()
        self.assertEqual([row["name"] for row in rows],
                         ["scalar", "avx2", "avxvnni", "avx512", "avx512vbmi", "amx", "neon", "dotprod", "i8mm"])
        self.assertEqual(list(rows[0]), ["name", "isa", "supported", "default", "missing"])
        self.assertEqual(sum(row["default"] for row in rows), 1)
        # What the system says of the CPU (the flags of x86-64; AMX also needs the system's leave).
        flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "").split()
        names = {"scalar": "fpu", "avx2": "avx2", "avxvnni": "avx_vnni", "avx512": "avx512_vnni",
                 "avx512vbmi": "avx512vbmi", "amx": "amx_int8"}
        for row in rows:
            self.assertEqual(row["supported"], row["missing"] == "")
            self.assertTrue(row["supported"] or not row["default"])
            if flags and not (row["name"] == "amx" and not row["supported"]):
                self.assertEqual(row["supported"], names.get(row["name"]) in flags, row)
        for command in COMMANDS:
            table = self.output(command, "--kernels", "list")
            self.assertEqual([line.split()[0] for line in table.splitlines()], ["kernels"] + [row["name"] for row in rows])
            self.assertEqual(table.count("by default"), 1)
        self.assertEqual(self.output("dump", "out.safetensors", "--kernels", "list"), table)
        self.assertFalse(Path("out.safetensors").exists())
        self.assertEqual(self.json("score", env={"ROWMAX_KERNELS": "list"})["kernels"], rows)

    def test_every_one_tells_the_same_story(self):
        for name in self.supported():
            self.assertEqual(self.output("run", "-q", "--kernels", name, "-t", 1), STORY, name)
        forbidden = []
        for name in reversed(self.supported()[1:]):
            forbidden.append("-" + name)
            self.assertEqual(self.output("run", "-q", "-n", 8, "--kernels", ",".join(forbidden)),
                             self.output("run", "-q", "-n", 8, "--kernels", "scalar"), forbidden)

    def ran(self, *flags, **more):
        result = self.json("bench", "-m", MODEL, "-p", 8, "-n", 0, "-r", 1, *flags, **more)
        return result["kernels"], result["isa"]

    def test_bench_says_which_ran(self):
        isa_of = {row["name"]: row["isa"] for row in self.rows()}
        names = self.supported()
        for name in names:
            self.assertEqual(self.ran("--kernels", name), (name, isa_of[name]))
        self.assertEqual(self.ran(env={"ROWMAX_KERNELS": "scalar"}), ("scalar", "scalar"))
        for at in range(1, len(names)):  # from the top of its instruction set down
            higher = ["-" + name for name in names[at + 1:] if isa_of[name] == isa_of[names[at]]]
            flags = ["--kernels", ",".join(higher)] if higher else []
            self.assertEqual(self.ran("--isa", isa_of[names[at]], *flags), (names[at], isa_of[names[at]]))
        self.assertIn(", kernels scalar, ", self.output("bench", "-m", MODEL, "-p", 8, "-n", 0, "-r", 1, "--kernels", "scalar"))

    def test_inspect_says_which_would(self):
        known = {row["name"]: row["isa"] for row in self.rows() if row["supported"]}
        found = self.json("inspect", "-m", MODEL)["kernels"]
        self.assertEqual(known[found["name"]], found["isa"])
        scalar = {"ROWMAX_ISA": "scalar"}
        self.assertEqual(self.json("inspect", "-m", MODEL, env=scalar)["kernels"], {"name": "scalar", "isa": "scalar"})
        self.assertIn("kernels scalar (instruction set scalar)", self.output("inspect", "-m", MODEL, env=scalar))

    def test_inspect_chooses_as_run_does(self):
        isa_of = {row["name"]: row["isa"] for row in self.rows()}
        for name in self.supported():
            kernels = {"name": name, "isa": isa_of[name]}
            self.assertEqual(self.json("inspect", "-m", MODEL, env={"ROWMAX_KERNELS": name})["kernels"], kernels)
            self.assertEqual(self.json("inspect", "-m", MODEL, "--kernels", name)["kernels"], kernels)
        self.fails(2, "inspect", "-m", MODEL, env={"ROWMAX_KERNELS": "avx21"}, says="did you mean avx2?")
        self.fails(2, "inspect", "-m", MODEL, "--json", env={"ROWMAX_ISA": "mmx"}, says="mmx")
        for row in self.rows():
            if not row["supported"]:
                code, out, err = self.run_command("inspect", "-m", MODEL, "--json", env={"ROWMAX_KERNELS": row["name"]})
                found = json.loads(out)
                self.assertEqual((code, list(found["kernels"]), found["kernels"]["error"]["code"]), (4, ["error"], "unsupported"))
                self.assertIn(found["kernels"]["error"]["message"], err)
                self.assertIn("facts", found["model"])
                self.fails(4, "run", "-m", MODEL, "-p", "a", env={"ROWMAX_KERNELS": row["name"]},
                           says=found["kernels"]["error"]["message"])

    def chosen(self, *flags, **more):
        return tuple(self.json("inspect", "-m", MODEL, *flags, **more)["kernels"].values())

    def test_a_flag_wins_over_the_other_variable(self):
        isa_of = {row["name"]: row["isa"] for row in self.rows()}
        names = self.supported()
        for isa in {isa_of[name] for name in names}:
            for name in names:
                self.assertEqual(self.chosen("--kernels", name, env={"ROWMAX_ISA": isa}), (name, isa_of[name]))
                self.assertEqual(self.chosen(env={"ROWMAX_ISA": isa, "ROWMAX_KERNELS": name}), (name, isa_of[name]))
                found = self.chosen("--isa", isa, env={"ROWMAX_KERNELS": name})
                self.assertEqual(found, (name, isa) if isa_of[name] == isa else self.chosen("--isa", isa))
                if isa_of[name] != isa:
                    self.fails(2, "run", "-m", MODEL, "-p", "a", "--isa", isa, "--kernels", name,
                               env={"ROWMAX_ISA": isa_of[name]}, says=f"--isa says {isa}")
        self.assertEqual(self.ran("--kernels", "scalar", env={"ROWMAX_ISA": isa_of[names[-1]]}), ("scalar", "scalar"))
        # What a variable forbids stays forbidden.
        for name in names[1:]:
            self.assertNotEqual(self.chosen("--isa", isa_of[name], env={"ROWMAX_KERNELS": "-" + name})[0], name)

    def test_what_is_refused(self):
        self.fails(2, "run", "--kernels", "avx21", says="did you mean avx2?")
        self.fails(2, "run", "--kernels", "-avx512vbm", says="did you mean avx512vbmi?")
        self.fails(2, "run", "--kernels", "quantum", says="--kernels list")
        for mixed in ("avx2,-amx", "-amx,avx2", "scalar,avx2"):
            self.fails(2, "run", "--kernels", mixed, says="expected one NAME, or -NAME,-NAME")
        self.fails(4, "run", "--kernels", ",".join("-" + name for name in self.supported()), says="no kernels are left")
        for row in self.rows():
            if not row["supported"]:
                self.fails(4, "run", "--kernels", row["name"], says="supported: scalar")
        if len(self.supported()) > 1:
            self.fails(2, "run", "--isa", "scalar", "--kernels", self.supported()[-1], says="--isa says scalar")


if __name__ == "__main__":
    unittest.main()
