#!/usr/bin/env python3
"""Counts the instructions that forward passes execute, function by function, under callgrind, and compares with a table: a
kernel that runs twice, weights unpacked again for each block of tokens, or work that a row need not do is seen without
measuring time. (What a hot loop is made of is hot_loops.py's business.)

    executed.py ROWMAX MAKE_MODEL COMPILER [--write]

For each instruction set and matrix type of CASES: a random model of one layer, a prompt of 41 tokens (groups of
12 and what is left) and three tokens more, one thread; everything outside Session::forward (loading, sampling) is left out. The
table, executed_x86_64.tsv beside this script, has a row for each function of rowmax with at least a hundredth of the instructions. The
counts are those of one compiler (g++ 12, -O2): with others, and without valgrind, the test is skipped.
--write makes the table anew: look at what changed in it before you keep it.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hot_loops

TABLE = Path(__file__).resolve().parent / "executed_x86_64.tsv"
CASES = [("scalar", "Q4_K"), ("avx2", "Q4_K"), ("avx2", "IQ2_BN"), ("avx2", "F16")]
SHAPE = ["--arch", "llama", "--layers", "1", "--embd", "256", "--heads", "4", "--kv-heads", "2", "--head-dim", "64", "--ff", "512",
         "--head-type", "Q8_0"]
TOLERANCE = 0.02
LEAST = 0.01  # of all instructions: smaller functions are added up as "other"


def self_costs(text):
    """{function: instructions} of a callgrind file: costs of a line belong to its function, but for the line behind calls=."""
    names, costs, current, inclusive = {}, {}, None, False
    for line in text.splitlines():
        named = re.match(r"fn=\((\d+)\)(?: (.*))?", line)
        if named:
            if named[2]:
                names[named[1]] = named[2]
            current = names[named[1]]
        elif (called := re.match(r"cfn=\((\d+)\)(?: (.*))?", line)):
            if called[2]:
                names[called[1]] = called[2]
        elif line.startswith("calls="):
            inclusive = True
        elif (cost := re.match(r"[+*-]?\d* ?(\d+)$", line)) and current is not None:
            if not inclusive:
                costs[current] = costs.get(current, 0) + int(cost[1])
            inclusive = False
    return costs


def measure(rowmax, make_model):
    """{(kernels, type, function): instructions}"""
    rows, layouts = {}, hot_loops.layouts()
    tokens = ",".join(str(3 + i) for i in range(41))
    with tempfile.TemporaryDirectory() as folder:
        for kernels, type_name in CASES:
            model, profile = Path(folder) / f"{type_name}.gguf", Path(folder) / "profile"
            values = ["--values", "ternary"] if type_name == "IQ2_BN" else []
            subprocess.run([make_model, *SHAPE, "--type", type_name, *values, "--out", model], check=True, capture_output=True)
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}",
                 "--toggle-collect=rowmax::engine::Session::forward*", rowmax, "run", "-m", model, "--tokens", tokens, "-n", "4",
                 "--greedy", "-t", "1", "--kernels", kernels, "--json"], capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{type_name}, {kernels}: {done.stderr.strip()[-500:]}")
            costs = {}
            for name, cost in self_costs(profile.read_text()).items():
                # What the system's libraries do is theirs, and another on other processors.
                name = hot_loops.short_name(re.sub(r"'\d+$", "", name), layouts) if "rowmax" in name else "other"
                costs[name] = costs.get(name, 0) + cost
            total = sum(costs.values())
            for name, cost in costs.items():
                key = (kernels, type_name, name if cost >= LEAST * total else "other")
                rows[key] = rows.get(key, 0) + cost
            rows[kernels, type_name, "all"] = total
    return rows


def differences(stored, found):
    """What a reader has to know of two tables that are not alike."""
    out = []
    for key in sorted(stored.keys() | found.keys()):
        name = "\t".join(key)
        before, now = stored.get(key), found.get(key)
        # A function near the least share may come and go: its count is then in "other" and in "all".
        least = LEAST * 1.2 * (found if before is None else stored)[(*key[:2], "all")]
        if before is None or now is None:
            if (now or before) > least:
                out.append(f"{name}: " + ("in no row of the table" if before is None else "no longer there"))
        elif key[2] != "other" and abs(now - before) > TOLERANCE * before:
            out.append(f"{name}: {before} instructions in the table, now {now} ({now / before - 1:+.1%})")
    return out


def read_table(path):
    lines = path.read_text().splitlines()[1:]
    return {tuple(line.split("\t")[:3]): int(line.split("\t")[3]) for line in lines}


def main():
    rowmax, make_model, compiler = sys.argv[1:4]
    says = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    if "Free Software Foundation" not in says or not re.search(r" 12\.\d+\.\d+$", says.splitlines()[0]):
        print(f"skipped: the table is of g++ 12, not of {says.splitlines()[0]}")
        return 77
    if shutil.which("valgrind") is None:
        print("skipped: no valgrind")
        return 77
    found = measure(rowmax, make_model)
    if "--write" in sys.argv:
        lines = ["kernels\ttype\tfunction\tinstructions"] + ["\t".join((*key, str(found[key]))) for key in sorted(found)]
        TABLE.write_text("\n".join(lines) + "\n")
        return 0
    wrong = differences(read_table(TABLE), found)
    print(f"{len(found)} counts compared" if not wrong else "\n".join(wrong))
    if wrong:
        print(f"If this is meant: {sys.argv[0]} ... --write, and look at what changed in {TABLE.name}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
