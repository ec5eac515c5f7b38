#!/usr/bin/env python3
"""Runs an attention library, through an adapter, over all cases.

    run.py ADAPTER                 a table of results, then one line for every failed case
    run.py --table ADAPTER...      who passes what, as a Markdown table
    run.py --list                  the cases and what each would catch

An adapter is a Python file with a function attention(case); README.md says how to write one. Exit code: 0 if nothing failed
or crashed, 1 otherwise, 2 for wrong usage."""
import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402

import cases as file  # noqa: E402
import check  # noqa: E402
from unsupported import Unsupported  # noqa: E402

OUTCOMES = ("pass", "fail", "crash", "unsupported", "inconclusive")
BITS = "bits: "


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).resolve().parent))
    spec.loader.exec_module(module)
    return module


def run_case(adapter, case):
    """(outcome, details, result)."""
    try:
        result = adapter.attention(case)
    except Unsupported as reason:
        return "unsupported", [str(reason)], None
    except Exception as error:  # whatever the library does is a result
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "crash", [f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} ({Path(last.filename).name}:{last.lineno})"], None
    if not result or result.get("out") is None:
        return "inconclusive", ["the adapter returned no result"], None
    findings, compared = check.compare(case, result)
    if findings:
        return "fail", [finding.text() for finding in findings], result
    if compared == 0:
        return "inconclusive", ["nothing was compared"], result
    return "pass", [], result


def run_all(adapter, cases):
    """One record a case, then one a group of cases that must agree bit for bit."""
    records, members = [], defaultdict(list)
    for case in cases:
        outcome, details, result = run_case(adapter, case)
        records.append({"name": case.name, "group": case.group, "outcome": outcome, "details": details, "why": case.why,
                        "issue": case.issue, "lse": bool(result) and result.get("lse") is not None})
        for name, rows in check.bit_members(case):
            members[name].append((case.name, rows, result))
    for name, group in members.items():
        there = [member for member in group if member[2] is not None]
        findings = check.compare_bits(there) if len(there) > 1 else []
        outcome = "inconclusive" if len(there) < 2 else "fail" if findings else "pass"
        details = [finding.text() for finding in findings] or (["fewer than two of the calls ran"] if len(there) < 2 else [])
        records.append({"name": BITS + name, "group": "same bits", "outcome": outcome, "details": details, "lse": False, "issue": "",
                        "why": f"{len(group)} calls that must agree bit for bit"})
    return records


def run_isolated(arguments, cases):
    """Every group in a process of its own; a group whose process dies is run again case by case."""
    records = []
    for group in dict.fromkeys(case.group for case in cases):
        inside = [case for case in cases if case.group == group]
        done = child(arguments, ["--group", group])
        if done is not None:
            records += done
            continue
        for case in inside:
            done = child(arguments, ["--case", case.name])
            records += done or [{"name": case.name, "group": group, "outcome": "crash", "details": ["the process died"], "why": case.why,
                                 "issue": case.issue, "lse": False}]
    # A bit group whose members lie in several groups of cases was only seen in pieces.
    return list({record["name"]: record for record in records}.values())


def child(arguments, more):
    command = [sys.executable, __file__, arguments.adapters[0], "--json", "--cases", str(arguments.cases), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return None
    try:
        return json.loads(done.stdout)["cases"]
    except ValueError:
        return None


# ---- Printing.

class Paint:
    CODES = {"pass": "32", "fail": "31", "crash": "31", "unsupported": "33", "inconclusive": "33", "bold": "1", "dim": "2"}

    def __init__(self, on):
        self.on = on

    def __call__(self, style, text):
        return f"\033[{self.CODES[style]}m{text}\033[0m" if self.on else text


def counts_by_group(records):
    groups = {}
    for record in records:
        groups.setdefault(record["group"], Counter())[record["outcome"]] += 1
    return groups


def print_report(records, title, seconds, paint):
    groups = counts_by_group(records)
    width = max(len(g) for g in groups)
    print(paint("bold", title))
    print(f"{'':{width}}" + "".join(f"{outcome:>14}" for outcome in OUTCOMES))
    for group, counts in groups.items():
        print(f"{group:{width}}" + "".join(cell(counts[outcome], outcome, paint) for outcome in OUTCOMES))
    total = Counter(record["outcome"] for record in records)
    print(f"{'all':{width}}" + "".join(cell(total[outcome], outcome, paint) for outcome in OUTCOMES))
    without_lse = not any(record["lse"] for record in records)
    print(f"{len(records)} checks in {seconds:.1f} s." + (" The adapter returns no lse: not checked." if without_lse else ""))
    for outcome in ("fail", "crash", "inconclusive"):
        for record in records:
            if record["outcome"] == outcome:
                issue = f" [{record['issue']}]" if record["issue"] else ""
                print(f"{paint(outcome, outcome)} {paint('bold', record['name'])}: {'; '.join(record['details'][:2])}\n"
                      f"    {paint('dim', record['why'] + issue)}")
    reasons = Counter(record["details"][0] for record in records if record["outcome"] == "unsupported")
    for reason, n in reasons.most_common():
        print(f"{paint('unsupported', 'unsupported')} {n} x {reason}")


def cell(n, outcome, paint):
    text = f"{n or '-':>14}"
    return paint(outcome, text) if n else paint("dim", text)


def print_table(adapters, all_records):
    """Cells: passed / tried; unsupported cases are not tried."""
    print(f"CPU: {cpu_name()}. Python {platform.python_version()}, numpy {np.__version__}.\n")
    for path, (module, _) in zip(adapters, all_records):
        print(f"- `{Path(path).stem}`: {getattr(module, 'NAME', Path(path).stem)}")
    print("\nCells: passed / tried. What an adapter cannot express is not tried; an exception counts as not passed.\n")
    groups = list(dict.fromkeys(record["group"] for _, records in all_records for record in records))
    print("| | " + " | ".join(f"`{Path(path).stem}`" for path in adapters) + " |")
    print("|---" * (len(adapters) + 1) + "|")
    for group in [*groups, "all"]:
        cells = []
        for _, records in all_records:
            counts = Counter(r["outcome"] for r in records if group in ("all", r["group"]))
            tried = counts["pass"] + counts["fail"] + counts["crash"]
            cells.append(f"{counts['pass']} / {tried}" if tried else "–")
        print(f"| {group} | " + " | ".join(cells) + " |")
    unsupported = [str(sum(r["outcome"] == "unsupported" for r in records)) for _, records in all_records]
    print("| not expressible | " + " | ".join(unsupported) + " |")
    print("\nWhat did not pass (at most three names of a group):\n")
    for path, (_, records) in zip(adapters, all_records):
        print(f"- `{Path(path).stem}`: {failures(records)}")


def failures(records):
    groups = defaultdict(list)
    for record in records:
        if record["outcome"] in ("fail", "crash"):
            groups[record["group"]].append(record["name"] + (" (error)" if record["outcome"] == "crash" else ""))
    texts = [", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") for names in groups.values()]
    return "; ".join(texts) + "." if texts else "nothing."


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", nargs="*", metavar="ADAPTER")
    parser.add_argument("--json", action="store_true", help="one JSON object: counts, and all checks with their findings")
    parser.add_argument("--group", help="only the cases of this group")
    parser.add_argument("--case", help="only this case")
    parser.add_argument("--list", action="store_true", help="print the cases")
    parser.add_argument("--table", action="store_true", help="compare adapters, as Markdown")
    parser.add_argument("--isolate", action="store_true", help="a process for every group: a crash takes only its case down")
    parser.add_argument("--cases", type=Path, default=file.DEFAULT_FILE, help="the file of cases")
    arguments = parser.parse_args()
    cases = [case for case in file.read(arguments.cases)
             if arguments.group in (None, case.group) and arguments.case in (None, case.name)]
    if not cases:
        parser.error("no case has this name or group")
    paint = Paint(sys.stdout.isatty())
    if arguments.list:
        for case in cases:
            print(f"{paint('bold', case.name)} ({case.group}): {case.why}" + (f" [{case.issue}]" if case.issue else ""))
        return 0
    if not arguments.adapters or (len(arguments.adapters) > 1 and not arguments.table):
        parser.error("one adapter is needed" if not arguments.table else "name the adapters")
    if arguments.table:
        modules = [load(path) for path in arguments.adapters]
        print_table(arguments.adapters, [(module, run_all(module, cases)) for module in modules])
        return 0
    started = time.perf_counter()
    if arguments.isolate:
        records, title = run_isolated(arguments, cases), Path(arguments.adapters[0]).stem
    else:
        adapter = load(arguments.adapters[0])
        records, title = run_all(adapter, cases), getattr(adapter, "NAME", Path(arguments.adapters[0]).stem)
    if arguments.json:
        total = Counter(record["outcome"] for record in records)
        print(json.dumps({"adapter": title, "counts": {o: total[o] for o in OUTCOMES}, "cases": records}, indent=1))
    else:
        print_report(records, title, time.perf_counter() - started, paint)
    return 1 if any(record["outcome"] in ("fail", "crash") for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
