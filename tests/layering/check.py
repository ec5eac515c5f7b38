#!/usr/bin/env python3
"""Checks that need no compiler: who includes whom, and a few things that must not appear.

    tests/layering/check.py [ROOT]

Prints one line a finding and exits with 1 where there are any. The rules are those of docs/design.md.
"""
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()

# Folder -> what its files may include in quotes, besides their own folder. The longest matching folder rules.
# "rowmax/" stands for the public attention headers (include/rowmax/*.h), "rowmax/engine/" for the engine's.
PUBLIC = ["rowmax/"]
LAYERS = {
    "include/rowmax": PUBLIC,
    "include/rowmax/engine": PUBLIC + ["rowmax/engine/"],
    "include/rowmax/doctor": PUBLIC + ["rowmax/engine/", "rowmax/doctor/"],
    "doctor": PUBLIC + ["rowmax/engine/", "rowmax/doctor/", "base/", "engine/io/", "engine/quant/", "engine/ops/",
               "engine/tokenizer/pre_tokenizer.h"],
    "base": ["rowmax/result.h", "rowmax/try.h", "rowmax/executor.h", "rowmax/cpu.h", "rowmax/backend.h"],
    "attention": PUBLIC + ["base/"],
    "engine/quant": PUBLIC + ["base/"],
    "engine/io": PUBLIC + ["base/", "engine/quant/", "rowmax/engine/gguf.h", "rowmax/engine/output_file.h"],
    "engine/convert": PUBLIC + ["base/", "engine/arch/read_spec.h", "engine/io/", "engine/model/spec.h",
                                "engine/model/weight_table.h", "engine/quant/", "engine/tokenizer/pre_tokenizer.h", "engine/tokenizer/rowmax_keys.h", "rowmax/engine/"],
    "engine/tokenizer": PUBLIC + ["base/", "engine/io/key_rules.h", "rowmax/engine/gguf.h", "rowmax/engine/tokenizer.h"],
    "engine/template": PUBLIC + ["base/", "rowmax/engine/chat_template.h"],
    "engine/grammar": PUBLIC + ["base/", "engine/io/json.h", "engine/io/text.h", "rowmax/engine/"],
    "engine/ops": PUBLIC + ["base/", "engine/quant/", "rowmax/engine/types.h", "rowmax/engine/kernels.h"],
    "engine/model": PUBLIC + ["base/", "engine/ops/", "engine/quant/", "rowmax/engine/types.h", "rowmax/engine/edits.h",
                              "rowmax/engine/kernels.h", "rowmax/engine/trace.h"],
    "engine/arch": PUBLIC + ["base/", "engine/model/", "engine/io/", "engine/quant/", "rowmax/engine/types.h",
                             "rowmax/engine/gguf.h", "rowmax/engine/model.h"],
    "engine/runtime": PUBLIC + ["base/", "engine/ops/", "engine/model/", "engine/arch/architecture.h", "engine/arch/registry.h",
                                "rowmax/engine/"],
    "engine/serving": PUBLIC + ["base/", "rowmax/engine/"],
    "apps/store": PUBLIC + ["base/guarded.h", "engine/io/json.h"],
    "apps/audit": PUBLIC + ["apps/store/", "apps/text/", "base/guarded.h", "engine/io/json.h"],
    "apps/text": [],
    "apps/tool_calls": PUBLIC + ["rowmax/engine/", "apps/text/", "engine/io/json.h"],
    "apps/server": PUBLIC + ["rowmax/engine/", "apps/text/", "apps/tool_calls/", "engine/io/json.h"],
    "apps/cli": PUBLIC + ["rowmax/engine/", "rowmax/doctor/", "apps/audit/", "apps/server/", "apps/store/", "apps/text/", "apps/tool_calls/", "engine/io/json.h"],
    "bindings": PUBLIC,
    "bench": PUBLIC + ["rowmax/engine/", "base/", "attention/", "engine/"],
    "tools": PUBLIC + ["rowmax/engine/", "base/", "engine/"],
    "tests": PUBLIC + ["rowmax/engine/", "rowmax/doctor/"],
    "tests/memory": PUBLIC + ["rowmax/engine/", "rowmax/doctor/", "apps/store/"],
    "tests/growth": PUBLIC + ["rowmax/engine/", "engine/convert/", "engine/io/", "engine/tokenizer/", "apps/store/"],
}
# Tests may also look at what their subject is made of, use the writer of model files and read stored template values.
TEST_EXTRA = {
    "engine": ["engine/quant/", "engine/io/", "engine/ops/", "engine/model/", "engine/arch/", "engine/runtime/test_models.h", "engine/template/test_values.h",
               "rowmax/engine/", "tools/"],
    "apps": ["engine/io/"],
    "doctor": ["engine/", "tools/"],
    "tests": ["tools/make_model/"],
}
# A folder and one that its files must not reach, not through other headers either: the f64 kernel judges the fast one.
APART = [("attention/kernels/attend_f64/", "attention/kernels/attend/")]
THIRD_PARTY = re.compile(r"^(CLI|boost|nlohmann|gtest|editline|curl|openssl|benchmark|nanobind)/")
THIRD_PARTY_ALLOWED = {"apps/cli": {"CLI", "nlohmann", "editline"}, "apps/server": {"boost", "openssl"}, "apps/store": {"nlohmann", "curl", "openssl"}, "tools": {"CLI", "nlohmann"},
                       "bench": {"benchmark", "CLI"}, "bindings": {"nanobind"}, "engine/io": {"nlohmann"},
                       "engine/convert": {"nlohmann"}}

PRODUCT = ("include/", "base/", "attention/", "engine/", "doctor/", "apps/store/")
SOURCE = (".h", ".cc", ".cu")
TEXT = SOURCE + (".py", ".sh", ".md", ".txt", ".cmake", ".json", "run", "test")
MAX_LINES = 800

# (pattern, where it is forbidden, why). Matched against single lines without comments.
LIBM = r"(?:sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|exp|exp2|expm1|pow|log|log2|log10|log1p|cbrt|erf|tgamma)"
LINTS = [
    (re.compile(rf"std::{LIBM}f?\s*\(|(?<![\w:.>]){LIBM}f\s*\("), lambda p: p.startswith(PRODUCT),
     "a libm function whose last bit differs between machines (use base/math or base/simd/math.h)"),
    (re.compile(r"\bcase\s+[\w:]*k?(?:Q[2-8]_|I?Q[1-4]_|TQ[12]_|I2_?S)"), lambda p: p.startswith(PRODUCT),
     "a switch over weight formats (they are rows of engine/quant's table)"),
    (re.compile(r"_mm\w*_(?:rcp|rsqrt)\w*|vrecpe\w*|vrsqrte\w*"), lambda p: p.startswith(PRODUCT),
     "an estimate whose bits depend on the machine"),
    (re.compile(r"\b(?:rand|srand)\s*\(|std::(?:mt19937|random_device|uniform_\w+|normal_distribution|shuffle)\b"),
     lambda p: p.startswith(PRODUCT), "random numbers that are not our own"),
    (re.compile(r"#\s*pragma\s+(?:GCC\s+optimize|STDC\s+FP_CONTRACT)|-ffast-math|-Ofast"),
     lambda p: p.endswith(SOURCE) or "cmake" in p.lower(), "changed floating-point rules"),
    (re.compile(r"\b(?:printf|puts|fputs|fprintf)\s*\(|std::(?:cout|cerr)\b"),
     lambda p: p.startswith(PRODUCT) and not re.search(r"_(test|fuzz|bench)\.|/check\.cc$", p), "a library that prints"),
    (re.compile(r"\bthrow\b(?!\s*[;(])"), lambda p: p.startswith(PRODUCT) and p.endswith(SOURCE), "a library that throws"),
]
TEST_MAY = ("a libm", "random numbers")
TEXT_LINTS = [
    (re.compile(r"/work/|/root/|/home/\w|/tmp/bash_jobs"), "a path of one machine"),
    (re.compile(r"https?://(?:pypi|test\.pypi|files\.pythonhosted|deb\.debian|registry)\."), "the address of a package registry"),
    (re.compile(r"\b(?:TODO|FIXME|XXX)\b|\bDISABLED_"), "unfinished work"),
]
SELF = "tests/layering/check.py"

findings = []


def report(path, line, text):
    findings.append(f"{path}:{line}: {text}")


def tracked_files():
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # not a clone: an unpacked archive
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if "build" not in p.parts and ".git" not in p.parts]
    return sorted(n for n in names if n and (ROOT / n).is_file())


def layer_of(path):
    folders = [f for f in LAYERS if path.startswith(f + "/")]
    return max(folders, key=len) if folders else None


def is_test(path):
    return re.search(r"_(test|fuzz|bench)\.|/test_|_test_|testing|/reference\.h$", path) is not None


def allowed(path, layer, included):
    own = "rowmax/engine/" if layer == "include/rowmax/engine" else "rowmax/doctor/" if layer == "include/rowmax/doctor" else "rowmax/" if layer == "include/rowmax" else layer + "/"
    rules = LAYERS[layer] + [own]
    if is_test(path):
        rules = rules + TEST_EXTRA.get(layer.split("/")[0], [])
    for rule in rules:
        if rule == "rowmax/":  # the attention library's headers alone
            if re.fullmatch(r"rowmax/[\w.]+", included):
                return True
        elif included == rule or (rule.endswith("/") and included.startswith(rule)):
            return True
    return False


def check_includes(path, lines):
    layer = layer_of(path)
    if layer is None:
        report(path, 1, "a source file outside the house (docs/design.md lists the rooms)")
        return
    third_party = THIRD_PARTY_ALLOWED.get(layer, THIRD_PARTY_ALLOWED.get(layer.split("/")[0], set())) | ({"gtest", "nlohmann"} if is_test(path) else set())
    for number, line in enumerate(lines, 1):
        quoted = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if quoted and not allowed(path, layer, quoted.group(1)):
            report(path, number, f'{layer} must not include "{quoted.group(1)}"')
        angle = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
        library = THIRD_PARTY.match(angle.group(1)) if angle else None
        if library and library.group(1) not in third_party:
            report(path, number, f"{layer} must not include <{angle.group(1)}>")
        if angle and angle.group(1).startswith(("rowmax/", "base/", "attention/", "engine/")):
            report(path, number, "our own headers are included in quotes")


def reached(path):
    """The headers of the tree that a file includes, each with the chain of files that leads there."""
    chains, queue = {}, [(path, [path])]
    while queue:
        source, chain = queue.pop(0)
        file = next((f for f in (ROOT / source, ROOT / "include" / source) if f.is_file()), None)
        text = file.read_text(errors="replace") if file else ""
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
            if name not in chains:
                chains[name] = chain + [name]
                queue.append((name, chains[name]))
    return chains


def check_apart(paths):
    for folder, kept_from in APART:
        for path in paths:
            if not path.startswith(folder) or not path.endswith(SOURCE) or is_test(path):
                continue
            for name, chain in reached(path).items():
                if name.startswith(kept_from):
                    report(path, 1, f"{folder} must not reach {kept_from}, not through others either: {' -> '.join(chain)}")


def check_source(path, lines):
    generated = "enerated" in "".join(lines[:5])
    if len(lines) > MAX_LINES and not generated:
        report(path, len(lines), f"{len(lines)} lines, more than {MAX_LINES}")
    if path.startswith("include/rowmax") and "#pragma once" not in "".join(lines[:60]):
        report(path, 1, "no #pragma once")
    for number, line in enumerate(lines, 1):
        code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', re.sub(r"//.*", "", line))
        for pattern, applies, why in LINTS:
            if applies(path) and not (is_test(path) and why.startswith(TEST_MAY)) and pattern.search(code):
                report(path, number, why)


def own_test(path):
    return re.sub(r"_(?:scalar|avx2|avxvnni|avx512|amx|neon|dotprod|i8mm)$", "", path[:-3]) + "_test.cc"


def check_tested(paths):
    """A .cc has an x_test.cc beside it, or the list names the tests that cover it."""
    patterns = []
    listing = "tests/layering/tested_elsewhere.txt"
    for number, line in enumerate((ROOT / listing).read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        source, _, tests = (part.strip() for part in line.partition(":"))
        if re.search(r"[*?\[]", source) and not (source.startswith("apps/") or "/kernels/" in source):
            report(listing, number, f"{source}: a pattern, which covers files that nobody thought of; name each file")
        elif source in patterns:
            report(listing, number, f"{source} stands here twice")
        patterns.append(source)
        matching = [p for p in paths if fnmatch(p, source)]
        if not matching:
            report(listing, number, f"no file matches {source}")
        elif all(own_test(p) in paths for p in matching):
            report(listing, number, f"{source} has a test beside it")
        if not tests:
            report(listing, number, f"{source}: no test is named")
        for test in tests.split():
            if not (ROOT / test).is_file():
                report(listing, number, f"there is no {test}")
            elif not re.search(r"_test\.(?:cc|py)$", test):
                report(listing, number, f"{test} is no test")
    for path in paths:
        if not path.endswith(".cc") or not path.startswith(("base/", "attention/", "engine/", "doctor/", "apps/")):
            continue
        if is_test(path):
            continue
        if own_test(path) not in paths and not any(fnmatch(path, p) for p in patterns):
            report(path, 1, f"no {own_test(path)}, and {listing} names no test that covers it")


def check_format(paths):
    sources = [p for p in paths if p.endswith((".h", ".cc")) and "enerated" not in (ROOT / p).read_text()[:600]]
    try:
        version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    except OSError:
        version = ""
    if "version 14" not in version:
        print("layering: format not checked (clang-format 14 is not installed)")
        return
    result = subprocess.run(["clang-format", "--dry-run", "--ferror-limit=1", "-Werror", *sources], cwd=ROOT,
                            capture_output=True, text=True)
    for line in result.stderr.splitlines():
        place = re.match(r"(.+?):(\d+):\d+: error: code should be clang-formatted", line)
        if place:
            report(place.group(1), place.group(2), "not as clang-format leaves it")


def main():
    paths = tracked_files()
    for path in paths:
        if not path.endswith(TEXT) or path == SELF:
            continue
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, why in TEXT_LINTS:
                if pattern.search(line) and "testdata/" not in path:
                    report(path, number, why)
        if path.endswith(SOURCE):
            lines = text.splitlines(keepends=True)
            check_includes(path, lines)
            check_source(path, lines)
    check_tested([p for p in paths])
    check_apart(paths)
    check_format([p for p in paths if p.endswith(SOURCE)])
    for finding in findings:
        print(finding)
    if findings:
        print(f"layering: {len(findings)} findings")
        return 1
    print(f"layering: {len(paths)} files, no findings")
    return 0


sys.exit(main())
