#!/usr/bin/env python3
"""hot_loops.py on listings written by hand: what it counts, which loop it takes, and that it finds what it is for."""
import subprocess
import sys
import unittest

import hot_loops

LISTING = """
0000000000000000 <void rowmax::engine::panel::(anonymous namespace)::f<rowmax::engine::panel::FloatPanel<(rowmax::engine::panel::Float)1>, 4>(rowmax::engine::panel::Job const&)>:
   0:\tpush   %rbp
   4:\tvmovdqa (%rsi),%ymm0
   8:\t{vex} vpdpbusd (%rdi),%ymm0,%ymm1
   c:\tvmovdqa %ymm1,%ymm2
  10:\tvpaddd %ymm2,%ymm3,%ymm3
  14:\tvmovdqa %ymm3,0x20(%rsp)
  18:\tvpaddd 0x40(%rsp),%ymm4,%ymm4
  1c:\tvfmadd231ps %ymm5,%ymm6,%ymm7
  20:\tvpaddd (%rsi),%ymm3,%ymm3
  24:\tjne    8 <void rowmax::f+0x8>
  28:\tvpmaddwd %ymm0,%ymm0,%ymm1
  2c:\tvpmaddwd %ymm0,%ymm0,%ymm1
  30:\tmov    0x8(%rsp),%rax
  34:\tjne    4 <void rowmax::f+0x4>
  38:\tret
"""
ARM_LISTING = """
0000000000000000 <f>:
   0:\tldr\tq0, [sp, #16]
   4:\tsdot\tv1.4s, v0.16b, v2.4b[0]
   8:\tmov\tv3.16b, v1.16b
   c:\tmla\tv3.4s, v3.4s, v4.4s
  10:\tstr\tq3, [sp, #32]
  14:\tmov\tx0, x1
  18:\tb.ne\t0 <f>  // b.any
"""


def lines_of(listing):
    return list(hot_loops.functions(listing))[0][1]


class Counts(unittest.TestCase):
    def test_the_inner_loop_with_most_products(self):
        loop = hot_loops.hot_loop(lines_of(LISTING), hot_loops.X86)
        self.assertEqual((loop[0][0], loop[-1][0]), (0x8, 0x24))

    def test_kinds(self):
        found = hot_loops.counts(hot_loops.hot_loop(lines_of(LISTING), hot_loops.X86), hot_loops.X86)
        self.assertEqual(found, {"products": 2, "adds": 3, "copies": 1, "stack loads": 1, "stack stores": 1, "all": 8})

    def test_arm(self):
        found = hot_loops.counts(hot_loops.hot_loop(lines_of(ARM_LISTING), hot_loops.ARM), hot_loops.ARM)
        self.assertEqual(found, {"products": 1, "adds": 1, "copies": 1, "stack loads": 1, "stack stores": 1, "all": 7})

    def test_no_loop(self):
        self.assertEqual(hot_loops.hot_loop(lines_of(LISTING)[:6], hot_loops.X86), [])

    def test_names(self):
        names = hot_loops.layouts()
        self.assertIn("Q4_0", names.values())
        name = next(iter(hot_loops.functions(LISTING)))[0]
        self.assertEqual(hot_loops.short_name(name, names), "f<F16, 4>")
        q4_0 = ("void rowmax::engine::panel::(anonymous namespace)::int8_few<rowmax::engine::panel::IntegerPanel<4, 32, 8, false, "
                "false, 1, 0, (rowmax::engine::quant::ScaleKind)0>, 1>(rowmax::engine::panel::Job const&) [clone .isra.0]")
        self.assertEqual(hot_loops.short_name(q4_0, names), "int8_few<Q4_0, 1>")
        self.assertEqual(hot_loops.short_name("void rowmax::engine::panel::(anonymous namespace)::f32_job<rowmax::engine::panel::"
                                              "FloatPanel<(rowmax::engine::panel::Float)2> >(rowmax::engine::panel::Job const&)",
                                              names), "f32_job<BF16>")


class Differences(unittest.TestCase):
    row = {"products": 64, "adds": 60, "copies": 0, "stack loads": 4, "stack stores": 2, "all": 200}

    def found(self, **changes):
        row = dict(self.row, **{key.replace("_", " "): value for key, value in changes.items()})
        return list(hot_loops.differences({("avx2", "f"): self.row}, {("avx2", "f"): row}))

    def test_within(self):
        self.assertEqual(self.found(copies=2, stack_loads=6, all=220), [])
        self.assertEqual(self.found(stack_loads=0, stack_stores=0, all=100), [])

    def test_beyond(self):
        self.assertEqual(len(self.found(stack_stores=5)), 1)  # a spill
        self.assertEqual(len(self.found(products=32, adds=30)), 2)  # unrolled half as far
        self.assertEqual(len(self.found(copies=3)), 1)
        self.assertEqual(len(self.found(all=221)), 1)

    def test_gone_and_new(self):
        self.assertEqual(len(list(hot_loops.differences({("avx2", "f"): self.row}, {("avx2", "g"): self.row}))), 2)


class Skips(unittest.TestCase):
    def test_without_what_it_needs(self):
        for build, compiler, word in ((".", "no-such-g++", "skipped: no no-such-g++ here"),
                                      ("no/such/build", sys.executable, "skipped: no/such/build has not been built")):
            ran = subprocess.run([sys.executable, "-B", hot_loops.__file__, build, compiler, sys.executable],
                                 capture_output=True, text=True)
            self.assertEqual((ran.returncode, ran.stdout.strip()), (77, word))


if __name__ == "__main__":
    unittest.main()
