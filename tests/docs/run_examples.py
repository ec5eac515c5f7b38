#!/usr/bin/env python3
"""run_examples.py SOURCE_DIR CXX LIBRARY...: compiles and runs the programs shown in docs/*.md.

A program is a ```cpp block with a main(); the next plain ``` block is what it must print.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def programs(text):
    blocks = BLOCK.findall(text)
    for i, (language, code) in enumerate(blocks):
        if language == "cpp" and "int main" in code:
            expected = next((body for kind, body in blocks[i + 1:] if kind == ""), None)
            yield code, expected


def main():
    source, compiler, *libraries = sys.argv[1:]
    found = 0
    failed = 0
    for page in sorted(pathlib.Path(source, "docs").glob("*.md")):
        for code, expected in programs(page.read_text(encoding="utf-8")):
            found += 1
            with tempfile.TemporaryDirectory() as folder:
                program = pathlib.Path(folder, "example")
                build = subprocess.run(
                    [compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", f"-I{source}/include", "-x", "c++", "-",
                     "-x", "none", *libraries, "-lpthread", "-o", str(program)],
                    input=code, text=True, capture_output=True)
                if build.returncode != 0:
                    print(f"{page.name}: does not compile\n{build.stderr}")
                    failed += 1
                    continue
                run = subprocess.run([str(program)], text=True, capture_output=True, timeout=60)
                if run.returncode != 0 or run.stdout != expected:
                    print(f"{page.name}: exit {run.returncode}\nprinted  {run.stdout!r}\nexpected {expected!r}")
                    failed += 1
    print(f"{found} programs, {failed} failed")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
