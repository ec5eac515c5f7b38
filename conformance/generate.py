#!/usr/bin/env python3
"""Writes the file of cases: inputs, masks, results in fp64 and tolerances, all from table.py. The bytes are always the
same, whatever the version of numpy.

    conformance/generate.py [FILE]      default: cases.bin beside this script
    conformance/generate.py --check     regenerates in memory and compares with the committed file; exit code 1 if they differ
"""
import sys
import tempfile
from pathlib import Path

import cases as file
import table


def main(arguments):
    everything = list(table.all_cases())
    names = [case["name"] for case in everything]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    if arguments == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / "cases.bin"
            file.write(fresh, everything)
            same = fresh.read_bytes() == file.DEFAULT_FILE.read_bytes()
        print("the same bytes" if same else "DIFFERENT from the committed file")
        return 0 if same else 1
    path = Path(arguments[0]) if arguments else file.DEFAULT_FILE
    size = file.write(path, everything)
    print(f"{path}: {len(everything)} cases, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
