#!/usr/bin/env python3
"""Lines that ran, from gcov's counters; what tools/coverage.sh prints.

    coverage_summary.py SOURCE_DIR BUILD_DIR MINIMUM_PERCENT [--missing]

A line counts as covered when some object that contains it ran it: a header's line is looked for in every object, a
kernel's in the objects of all instruction sets. Tests, benches and fuzz targets are not counted. --missing also prints
the numbers of the lines that did not run.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

COUNTED = ("attention/", "include/rowmax/")
NOT_COUNTED = re.compile(r"_(test|bench|fuzz)\.cc$|/test_|/reference\.h$|/guarantees/|^include/rowmax/engine/|_check_\w+\.cc$")


def counts(source, build):
    """File -> line -> how often it ran."""
    lines = defaultdict(lambda: defaultdict(int))
    notes = sorted(build.rglob("*.gcno"))
    if not notes:
        sys.exit(f"no .gcno file under {build}: was it built with --coverage?")
    with tempfile.TemporaryDirectory() as scratch:
        for note in notes:
            run = subprocess.run(["gcov", "--json-format", "--stdout", str(note)], cwd=scratch, check=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for text in run.stdout.splitlines():
                data = json.loads(text)
                for file in data["files"]:
                    path = os.path.normpath(os.path.join(data["current_working_directory"], file["file"]))
                    if not path.startswith(f"{source}/"):
                        continue
                    name = path[len(str(source)) + 1:]
                    if not name.startswith(COUNTED) or NOT_COUNTED.search(name):
                        continue
                    for line in file["lines"]:
                        lines[name][line["line_number"]] += line["count"]
    return lines


def ranges(numbers):
    """[1, 2, 3, 7] -> "1-3, 7"."""
    runs = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--missing"]
    source, build, minimum = Path(arguments[0]).resolve(), Path(arguments[1]).resolve(), float(arguments[2])
    lines = counts(source, build)
    covered = total = 0
    for name in sorted(lines):
        ran = sum(count > 0 for count in lines[name].values())
        covered += ran
        total += len(lines[name])
        missing = [number for number, count in lines[name].items() if count == 0]
        note = f"   not run: {ranges(missing)}" if missing and "--missing" in sys.argv else ""
        print(f"{100 * ran / len(lines[name]):6.1f} %  {ran:5} of {len(lines[name]):5}  {name}{note}")
    if total == 0:
        sys.exit("nothing was counted")
    percent = 100 * covered / total
    print(f"{percent:6.1f} %  {covered:5} of {total:5}  total")
    if percent < minimum:
        sys.exit(f"below {minimum:g} %")


main()
