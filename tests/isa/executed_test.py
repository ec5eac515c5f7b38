#!/usr/bin/env python3
"""executed.py on a profile written by hand: whose the instructions are, and what counts as a difference."""
import unittest

import executed

PROFILE = """
version: 1
positions: line
events: Ir
fl=(1) a.cc
fn=(1) rowmax::f(int)
10 5
+2 7
cfn=(2) rowmax::g()
calls=3 40
12 1000
fi=(3) inlined.h
* 4
fn=(2)
40 900
fn=(1)
-1 2
totals: 918
"""


class Profile(unittest.TestCase):
    def test_what_is_called_is_not_counted_twice(self):
        self.assertEqual(executed.self_costs(PROFILE), {"rowmax::f(int)": 18, "rowmax::g()": 900})


class Differences(unittest.TestCase):
    TABLE = {("avx2", "F16", "all"): 10000, ("avx2", "F16", "f"): 9000, ("avx2", "F16", "g"): 500, ("avx2", "F16", "other"): 100}

    def changed(self, **counts):
        table = dict(self.TABLE)
        for name, count in counts.items():
            table["avx2", "F16", name] = count
        return [line.split("\t")[2] for line in executed.differences(self.TABLE, {k: v for k, v in table.items() if v})]

    def test_within_the_tolerance(self):
        self.assertEqual(self.changed(f=9100, all=10100, other=300, h=110), [])

    def test_more_and_less(self):
        self.assertEqual(self.changed(f=9300), ["f: 9000 instructions in the table, now 9300 (+3.3%)"])
        self.assertEqual(self.changed(g=400), ["g: 500 instructions in the table, now 400 (-20.0%)"])

    def test_functions_that_come_and_go(self):
        self.assertEqual(self.changed(h=200), ["h: in no row of the table"])
        self.assertEqual(self.changed(g=None), ["g: no longer there"])


if __name__ == "__main__":
    unittest.main()
