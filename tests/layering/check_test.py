#!/usr/bin/env python3
"""check.py finds each thing that it forbids: a small tree with one breach at a time."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).with_name("check.py")
# File, its content, and the words of the finding.
BREACHES = [
    ("base/x.h", '#include "engine/io/y.h"\n', 'base must not include "engine/io/y.h"'),
    ("attention/x.h", '#include "rowmax/engine/model.h"\n', 'attention must not include'),
    ("attention/kernels/attend_f64/x.h", '#include "attention/kernels/attend/y.h"\n', 'must not reach attention/kernels/attend/'),
    ("engine/quant/x.h", '#include "engine/ops/y.h"\n', 'engine/quant must not include'),
    ("engine/tokenizer/x.h", '#include "attention/plan/plan.h"\n', 'engine/tokenizer must not include'),
    ("engine/runtime/x.h", '#include "attention/plan/plan.h"\n', 'engine/runtime must not include'),
    ("bindings/python/native/x.h", '#include "attention/plan/plan.h"\n', 'bindings must not include'),
    ("attention/x.h", "#include <nanobind/nanobind.h>\n", "must not include <nanobind/nanobind.h>"),
    ("apps/cli/x.h", '#include "engine/runtime/y.h"\n', 'apps/cli must not include'),
    ("apps/store/x.h", '#include "apps/cli/y.h"\n', 'apps/store must not include'),
    ("apps/store/x.h", "#include <CLI/CLI.hpp>\n", 'must not include <CLI/CLI.hpp>'),
    ("apps/store/x.h", 'void f() { printf("x"); }\n', 'a library that prints'),
    ("include/rowmax/x.h", '#pragma once\n#include "base/check.h"\n', 'include/rowmax must not include'),
    ("include/rowmax/x.h", '#pragma once\n#include "rowmax/engine/model.h"\n', 'include/rowmax must not include'),
    ("include/rowmax/x.h", "int x();\n", "no #pragma once"),
    ("engine/model/x.h", "#include <nlohmann/json.hpp>\n", "must not include <nlohmann/json.hpp>"),
    ("engine/io/x.h", "#include <gtest/gtest.h>\n", "must not include <gtest/gtest.h>"),
    ("elsewhere/x.h", "", "outside the house"),
    ("engine/ops/x.h", "float f(float x) { return std::exp(x); }\n", "a libm function"),
    ("attention/x.h", "float f(float x) { return tanhf(x); }\n", "a libm function"),
    ("engine/ops/x.h", "  case Format::kQ4_1: return 1;\n", "a switch over weight formats"),
    ("attention/x.h", "  y = _mm256_rcp_ps(x);\n", "an estimate"),
    ("engine/runtime/x.h", "std::mt19937 generator;\n", "random numbers"),
    ("base/x.h", '  std::printf("x");\n', "a library that prints"),
    ("engine/io/x.h", "  throw 1;\n", "a library that throws"),
    ("base/x.h", "#pragma GCC optimize(\"fast-math\")\n", "changed floating-point rules"),
    ("docs/x.md", "see /" + "root/notes\n", "a path of one machine"),
    ("run", "curl https://" + "pypi.org/simple\n", "package registry"),
    ("tools/x.py", "# TO" + "DO\n", "unfinished work"),
    ("base/x.h", "int x;\n" * 801, "more than 800"),
    ("engine/io/x.cc", "", "names no test that covers it"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/zeta.cc: engine/io/gone_test.cc\n", "there is no engine/io/gone_test.cc"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/z*.cc: engine/io/y_test.cc\n", "a pattern"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/zeta.cc: engine/io/y.cc\n", "is no test"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/zeta.cc:\n", "no test is named"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/zeta.cc: engine/io/y_test.cc\n" * 2, "stands here twice"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/y.cc: engine/io/y_test.cc\n", "has a test beside it"),
    ("tests/layering/tested_elsewhere.txt", "engine/io/gone.cc: engine/io/y_test.cc\n", "no file matches"),
    ("base/x.h", "int  x ;\n", "not as clang-format leaves it"),
]
FINE = {
    "tests/layering/tested_elsewhere.txt": "engine/io/zeta.cc: engine/io/y_test.cc  # with a remark\n",
    "engine/io/y_test.cc": '#include <gtest/gtest.h>\n\n#include "engine/io/y.h"\n',
    "engine/io/y.cc": '#include "engine/io/y.h"\n\n#include "base/check.h"\n#include "engine/quant/format.h"\n',
    "engine/io/zeta.cc": "float g(float x) { return simd::exp(x) + f64::log(x); }\n",
    ".clang-format": (CHECK.parents[2] / ".clang-format").read_text(),
}


def check(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        result = subprocess.run([sys.executable, str(CHECK), root], capture_output=True, text=True)
        return result.returncode, result.stdout + result.stderr


class Layering(unittest.TestCase):
    def test_a_good_tree_passes(self):
        self.assertEqual(check(FINE)[0], 0, check(FINE)[1])

    def test_each_breach_is_found(self):
        for name, text, finding in BREACHES:
            code, out = check({**FINE, name: text})
            if "format not checked" in out and "clang-format" in finding:
                continue
            with self.subTest(finding):
                self.assertEqual(code, 1, out)
                self.assertIn(finding, out)
                self.assertIn(name, out)

    def test_a_breach_through_other_headers_is_found(self):
        tree = {**FINE, "attention/kernels/attend_f64/x.h": '#include "attention/kernels/y.h"\n',
                "attention/kernels/attend/z.h": ""}
        code, out = check({**tree, "attention/kernels/y.h": '#include "attention/kernels/attend_f64/x.h"\n'})
        self.assertEqual(code, 0, out)
        code, out = check({**tree, "attention/kernels/y.h": '#include "attention/kernels/attend/z.h"\n'})
        self.assertEqual(code, 1, out)
        self.assertIn("attend_f64/x.h -> attention/kernels/y.h -> attention/kernels/attend/z.h", out)


if __name__ == "__main__":
    unittest.main()
