#!/usr/bin/env python3
"""Breaks the attention library and the engine's forward pass on purpose, one way at a time, and shows which test notices.

    tools/mutate/mutate.py [--list] [--only NAME]... [--jobs N] [--work DIR] [--all-failures]
    tools/mutate/mutate.py --check

Each mutation of mutations.py is applied to a copy of the sources, built (the library: -O1, one instruction set; the engine:
as it is) and run against the tests that are expected to notice, of which only the programs are built; where these pass,
against all that calls attend(), or all of the model's and the runtime's. Exits with 1 where a mutation survives, is noticed
by other tests than expected only, does not build, or its text is no longer in its file exactly once. --check looks at that
last point alone, and whether every mutation breaks something else and expects tests that exist.
"""
import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("attention", "base", "include/rowmax", "conformance")
ENGINE_COPIED = ("CMakeLists.txt", "cmake", "LICENSE", "include", "models", "tests/golden")  # and the rooms
ENGINE_LEFT_OUT = {"tests", "bench"}  # rooms whose builds nothing here needs
ENGINE_TESTS = ("rowmax_model_test", "rowmax_runtime_test", "rowmax_serving_test")
ENGINE_OPTIONS = ("-DCMAKE_BUILD_TYPE=Release", "-DROWMAX_DOWNLOAD=OFF", "-DROWMAX_TESTS=ON")
TESTS = ("attend", "guard", "merge", "outputs", "weights")  # beside the guarantees
TEST_SECONDS, ALL_SECONDS = 300, 3600  # of the tests that are expected to notice, of all: longer is "no end"

# One library and one test program; what is special to an instruction set is left out, so that the plain code is compiled
# for the wider registers and every mutation is built once.
CMAKE = """cmake_minimum_required(VERSION 3.20)
project(mutated LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(GTest REQUIRED)
find_package(Threads REQUIRED)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
file(GLOB_RECURSE sources attention/*.cc base/*.cc)
list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\\\.cc$|/test_[^/]*\\\\.cc$")
list(FILTER sources EXCLUDE REGEX "_(avx2|avxvnni|avx512|amx|neon|dotprod|i8mm)\\\\.cc$")
file(GLOB tests attention/guarantees/*_test.cc attention/guarantees/test_*.cc attention/test_*.cc %s)
list(FILTER tests EXCLUDE REGEX "_(avx2|avxvnni|avx512|amx|neon|dotprod|i8mm)_test\\\\.cc$")
add_library(mutated STATIC ${sources})
target_include_directories(mutated PUBLIC . include)
target_compile_options(mutated PUBLIC -O1 -ffp-contract=off -fno-math-errno -w %s)
add_executable(tests ${tests})
target_compile_definitions(tests PRIVATE ROWMAX_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(tests PRIVATE mutated GTest::gtest_main Threads::Threads)
"""
# What chooses between instruction sets: `#if x86 ... Avx2 ... #elif aarch64`. The scalar one alone is left.
DISPATCH = re.compile(r"#if defined\(__x86_64__\)\n((?:(?!#).*\n)*?.*(?:avx2|Avx2|add_x86_isas\(found)(?:(?!#).*\n)*)"
                      r"#elif defined\(__aarch64__\)")


class Tree:
    """A copy of the sources with a build of its own."""

    def __init__(self, path):
        self.path = path
        self.build = path / "build"
        self.take(COPIED)
        wide = "-mavx2 -mfma -mf16c" if platform.machine() in ("x86_64", "AMD64") else ""
        tests = " ".join(f"attention/{name}_test.cc" for name in TESTS)
        self.write(path / "CMakeLists.txt", (CMAKE % (tests, wide)).encode())
        self.configure()
        self.programs = ("tests",)

    def configure(self, *options):
        done = self.run(["cmake", "-S", str(self.path), "-B", str(self.build), "-G", "Ninja", *options])
        if done.returncode != 0:
            sys.exit(f"{self.path} cannot be configured:\n{done.stdout[-3000:]}")

    def take(self, names):
        """Copies files and folders; what a kept copy has beyond them goes."""
        for name in names:
            start = ROOT / name
            sources = [p for p in (start.rglob("*") if start.is_dir() else [start])
                       if p.is_file() and "__pycache__" not in p.parts]
            wanted = {self.path / source.relative_to(ROOT) for source in sources}
            for old in (self.path / name).rglob("*"):
                if old.is_file() and old not in wanted:
                    old.unlink()
            for source in sources:
                self.copy(source, self.path / source.relative_to(ROOT))

    def copy(self, source, to):
        data = source.read_bytes()
        if source.suffix == ".cc":
            data = DISPATCH.sub(r"#if 0\n\1#elif 0", data.decode()).encode()
        self.write(to, data)

    @staticmethod
    def write(to, data):
        """Leaves a file that is already so as it is, so that a kept copy is not built anew."""
        if to.is_file() and to.read_bytes() == data:
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)

    def run(self, command, timeout=None):
        environment = dict(os.environ, CCACHE_BASEDIR=str(self.path), CCACHE_NOHASHDIR="1")
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              env=environment, cwd=self.path, timeout=timeout)

    def compile(self, programs, jobs):
        return self.run(["ninja", "-C", str(self.build), "-j", str(jobs), *programs])

    def tests(self, program, names=("*",), first_only=True):
        """Names of the program's failed tests among `names`, and what to say about a crash or a hang."""
        command = [str(self.build / program), "--gtest_color=no"] + (["--gtest_fail_fast"] if first_only else [])
        command.append("--gtest_filter=" + ":".join(names) + "-*Full_*")
        return self.failures(command, ALL_SECONDS if "*" in names else TEST_SECONDS)

    def failures(self, command, seconds):
        try:
            done = self.run(command, timeout=seconds)
        except subprocess.TimeoutExpired:
            return ["(no end)"]
        failed = re.findall(r"^\[  FAILED  \] (\S+?)(?:, where .*)? \(\d+ ms\)$", done.stdout, re.M)
        if done.returncode != 0 and not failed:
            last = re.findall(r"^\[ RUN      \] (\S+)", done.stdout, re.M)
            failed = [(last[-1] if last else "(start)") + " (crash)"]
        return list(dict.fromkeys(failed))

    def test_names(self, program):
        suite, names = "", []
        for line in self.run([str(self.build / program), "--gtest_list_tests"]).stdout.splitlines():
            word = line.split("#")[0].rstrip()
            if word and not word.startswith(" ") and word.endswith("."):
                suite = word
            elif word.startswith("  "):
                names.append(suite + word.strip())
        return [n for n in names if "Full_" not in n]


class EngineTree(Tree):
    """The same of the engine, with the project's own build."""

    def __init__(self, path):
        self.path = path
        self.build = path / "build"
        self.take(ENGINE_COPIED + self.rooms())
        # What the tests that cross folders need is not built.
        self.write(path / "tests/CMakeLists.txt", b"")
        self.configure(*ENGINE_OPTIONS)
        self.programs = ENGINE_TESTS

    @staticmethod
    def rooms():
        """The folders that the build is made of: CMake asks for all of them, whatever is built."""
        named = re.findall(r"(?:FOLDER +|add_subdirectory\()(\w+)", (ROOT / "CMakeLists.txt").read_text())
        return tuple(sorted(set(named) - ENGINE_LEFT_OUT))

    def copy(self, source, to):
        self.write(to, source.read_bytes())


TREES = {"attention": Tree, "engine": EngineTree}


def rotten(mutation):
    """Why the mutation no longer fits the sources, or None."""
    for file, old, new in mutation.edits:
        if not (ROOT / file).is_file():
            return f"{file} is not there"
        count = (ROOT / file).read_text().count(old)
        if count != 1:
            return f"{file}: the text to replace is there {count} times: {old.splitlines()[0]}"
    return None


def check(mutations):
    """Exits with 1 where a mutation cannot do what it says; builds nothing."""
    tests = [f"{suite}.{name}" for folder in TREES for file in (ROOT / folder).rglob("*_test.cc")
             for suite, name in re.findall(r"^TEST(?:_P|_F)?\((\w+), (\w+)\)", file.read_text(), re.M)]
    findings = []
    for mutation in mutations:
        why = rotten(mutation)
        if why:
            findings.append(f"{mutation.name}: {why}")
        if any(old == new for _, old, new in mutation.edits):
            findings.append(f"{mutation.name}: changes nothing")
        # Tests with parameters are called Instance/Suite.Name/parameter.
        if not any(re.match(mutation.caught_by, test) for test in tests) and "/" not in mutation.caught_by:
            findings.append(f"{mutation.name}: no test is called {mutation.caught_by}")
    for field in ("name", "edits"):
        values = [getattr(m, field) for m in mutations]
        findings += [f"{m.name}: twice in the table" for i, m in enumerate(mutations) if values[i] in values[:i]]
    for finding in findings:
        print(finding)
    print(f"{len(mutations)} mutations, {len(findings)} findings")
    if findings:
        sys.exit(1)


def noticing(mutations, names):
    """{program: its tests, of `names`, that are expected to notice one of the mutations}."""
    found = {program: [n for n in listed if any(re.match(m.caught_by, n) for m in mutations)]
             for program, listed in names.items()}
    return {program: tests for program, tests in found.items() if tests}


def attempt(tree, mutation, names, first_only):
    """(caught as expected, line to print)."""
    saved = {}
    for file, old, new in mutation.edits:
        path = tree.path / file
        text = path.read_text()
        saved.setdefault(path, text)
        path.write_text(text.replace(old, new, 1))
    try:
        expected = noticing([mutation], names)
        if not expected:
            return False, f"no test is called {mutation.caught_by}"
        for good, chosen in ((True, expected), (False, dict.fromkeys(tree.programs, ("*",)))):
            failed = []
            for program, filters in chosen.items():
                built = tree.compile([program], 1)
                if built.returncode != 0:
                    error = next((line for line in built.stdout.splitlines() if "error" in line), "")
                    return False, f"does not build: {error}"
                failed += tree.tests(program, filters, first_only)
                if failed and first_only:
                    break
            if failed:
                by = ", ".join(failed)
                return good, f"caught by {by}" if good else f"not caught by {mutation.caught_by}, but by {by}"
        return False, "SURVIVED"
    finally:
        for path, text in saved.items():
            path.write_text(text)


def run_all(kind, mutations, work, arguments):
    """Names of those that survive."""
    trees = Queue()
    for index in range(max(1, min(arguments.jobs, len(mutations)))):
        tree = TREES[kind](work / f"{kind}{index}")
        built = tree.compile(tree.programs, arguments.jobs)
        if built.returncode != 0:
            sys.exit("the sources as they are do not build:\n" + built.stdout[-3000:])
        trees.put(tree)
    names = {program: tree.test_names(program) for program in tree.programs}
    failed = [name for program, tests in noticing(mutations, names).items() for name in tree.tests(program, tests)]
    if failed:
        sys.exit("tests fail without any mutation: " + ", ".join(failed))
    lock = threading.Lock()
    survivors = []

    def work_on(mutation):
        own = trees.get()
        start = time.time()
        try:
            good, text = attempt(own, mutation, names, not arguments.all_failures)
        finally:
            trees.put(own)
        with lock:
            print(f"{mutation.name:30} {text}  ({time.time() - start:.0f} s)", flush=True)
            if not good:
                survivors.append(mutation.name)

    with ThreadPoolExecutor(max_workers=trees.qsize()) as pool:
        list(pool.map(work_on, mutations))
    return survivors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="names and what they break")
    parser.add_argument("--check", action="store_true", help="only whether the texts still fit the sources")
    parser.add_argument("--only", action="append", metavar="NAME", help="this mutation; may be given several times")
    parser.add_argument("--jobs", type=int, default=1, help="mutations at the same time, each in a copy of its own")
    parser.add_argument("--work", type=Path, help="folder for the copies; kept (default: a temporary one)")
    parser.add_argument("--all-failures", action="store_true", help="name all tests that notice, not the first")
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if arguments.only is None or m.name in arguments.only]
    unknown = set(arguments.only or []) - {m.name for m in MUTATIONS}
    if unknown:
        sys.exit("no mutation is called " + ", ".join(sorted(unknown)))
    if arguments.list:
        for mutation in chosen:
            print(f"{mutation.name:30} {mutation.what}  [{mutation.caught_by}]")
        return
    if arguments.check:
        check(chosen)
        return
    bad = [(m.name, why) for m in chosen if (why := rotten(m))]
    for name, why in bad:
        print(f"{name:30} no longer fits: {why}", flush=True)
    chosen = [m for m in chosen if not rotten(m)]
    if not chosen:
        sys.exit(1)
    scratch = None
    if arguments.work is None:
        scratch = tempfile.TemporaryDirectory(prefix="rowmax_mutate_")
    work = Path(scratch.name) if scratch else arguments.work.resolve()
    survivors = [name for name, _ in bad]
    for kind in TREES:
        of_kind = [m for m in chosen if m.tree == kind]
        if of_kind:
            survivors += run_all(kind, of_kind, work, arguments)
    print(f"{len(chosen) + len(bad) - len(survivors)} of {len(chosen) + len(bad)} mutations caught as expected")
    if scratch:
        scratch.cleanup()
    if survivors:
        sys.exit("not caught: " + ", ".join(survivors))


main()
