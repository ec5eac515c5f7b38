#!/usr/bin/env python3
"""Plants faults, one at a time, asks `rowmax doctor` what is wrong, and writes the table of its answers.

    bench/doctor/run.py --rowmax build/dev/apps/cli/rowmax --results results.jsonl --table docs/doctor_faults.md

Resumable: a line a fault in --results; what this build has answered already is not asked again. --seconds ends a run
early. --loss measures with `rowmax score` what each fault does to the loss of held-out stories, and keeps that in
--losses. Models that must come out healthy: those trained, their harmless variants (faults.HEALTHY), --healthy FILES, and
with --make-model random ones of every architecture. Python's standard library alone.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import time
from pathlib import Path

from suite import FAULTS, HEALTHY, ROOT, Suite, changes, judge
from table import write_misses, write_table

VISIBLE = 0.02  # nats a token; what a fault changes less is invisible to loss
TRAINED = sorted({fault.base for fault in FAULTS})  # those whose files are there


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path, line):
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def held_out_stories(work):
    """Files with stories of plots and characters that no training saw together, each long enough for a window."""
    sys.path.insert(0, str(ROOT / "tools" / "train"))
    from grammar import make_story

    paths, seed = [], 910_000_000
    while len(paths) < 6:
        seed += 1
        text = make_story(seed, heldout=True)[0]
        if len(text.split()) >= 200:
            paths.append(work / f"story_{len(paths)}.txt")
            paths[-1].write_text(text)
    return paths


def measure_losses(suite, faults, path, until):
    known = {line["id"] for line in read_lines(path)}
    stories, bases = held_out_stories(suite.work), {}
    for fault in faults:
        if fault.id in known or suite.base(fault.base) is None:
            continue
        if time.time() > until:
            return
        if fault.base not in bases:
            bases[fault.base] = suite.loss(suite.base(fault.base), stories)
        base, n_tokens = bases[fault.base]
        file = suite.file_of(fault)
        found = suite.loss(file, stories, *suite.flags(fault))
        # In tokens of the base, so that another way of cutting text does not hide what it costs.
        loss = None if found is None else found[0] * found[1] / n_tokens
        append(path, dict(id=fault.id, base=round(base, 4), loss=None if loss is None else round(loss, 4)))
        print(f"{fault.id:45} {base:.3f} -> {'refused' if loss is None else f'{loss:.3f}'}", flush=True)


def check_planting(suite, faults):
    """Each planted file differs from its base, and what differs is printed."""
    for fault in faults:
        if suite.base(fault.base) is None or fault.kind == "graph":
            continue
        data, before = suite.gguf(fault.base)
        if fault.raw:
            assert fault.raw(data) != data, fault.id
            continue
        after = suite.gguf(fault.base)[1]
        fault.plant(after)
        found = changes(before, after)
        print(f"{fault.id:45} {len(found)}: {' '.join(found[:4])}")
        assert found, fault.id


def ask_all(suite, faults, results, until):
    program = suite.program()
    known = {line["id"] for line in read_lines(results) if line["program"] == program}
    for fault in faults:
        if fault.id in known or suite.base(fault.base) is None:
            continue
        if time.time() > until:
            return False
        answer = suite.ask(suite.file_of(fault), *suite.flags(fault))
        line = dict(id=fault.id, program=program, held_out=fault.held_out, **judge(fault, answer), **answer)
        append(results, line)
        print(f"{fault.id:45} {answer['verdict']:12} {'1' if line['first'] else '3' if line['top3'] else '-'} "
              f"{answer['seconds']:6.1f} s {' '.join(c['id'] for c in answer['causes'][:3]) if not fault.held_out else '(held out)'}",
              flush=True)
    return True


def healthy_files(suite, args):
    """(name, path, a function that makes the file or None)."""
    for name in TRAINED:
        if suite.base(name):
            yield f"healthy.{name}", suite.base(name), None
    for name, (base, _) in HEALTHY.items():
        if suite.base(base):
            path = suite.work / "harmless.gguf"
            yield f"healthy.{name}", path, lambda name=name, path=path: suite.plant_healthy(name, path)
    for path in args.healthy:
        yield f"healthy.{path.name}", path, None
    for type_ in args.requantised:
        for name in ("qwen2", "llama"):
            path = suite.work / "requantised.gguf"
            yield f"healthy.{name}.{type_}", path, lambda name=name, type_=type_, path=path: suite.run(
                "quantize", suite.base(name), path, type_, "--force", "-q", check=True)
    architectures = subprocess.check_output([args.make_model, "--list"], text=True).split() if args.make_model else []
    for seed in range(args.seeds):
        for arch in architectures:
            for odd in ([], ["--odd"]) if seed % 4 == 3 else ([],):
                path = suite.work / "random.gguf"
                command = [args.make_model, "--arch", arch, "--seed", str(seed + 1), *odd, "--out", path]
                yield (f"random.{arch}.{seed + 1}{'.odd' if odd else ''}", path,
                       lambda command=command: subprocess.run(command, check=True))


def ask_healthy(suite, args, until):
    program = suite.program()
    known = {line["id"] for line in read_lines(args.results) if line["program"] == program}
    for name, path, make in healthy_files(suite, args):
        if name in known or not fnmatch.fnmatch(name, args.only):
            continue
        if time.time() > until:
            return False
        if make:
            make()
        answer = suite.ask(path)
        append(args.results, dict(id=name, program=program, healthy=True, **answer))
        print(f"{name:45} {answer['verdict']:12} {answer['seconds']:6.1f} s {answer['failed']}", flush=True)
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rowmax", type=Path, required=True, help="the command")
    p.add_argument("--models", type=Path, default=ROOT / "tests" / "golden" / "doctor", help="folder of small_models.py's files")
    p.add_argument("--more", type=Path, help="folder of its files that are not stored; without it their faults are left out")
    p.add_argument("--work", type=Path, default=Path("/tmp/rowmax_doctor_suite"), help="folder for planted files")
    p.add_argument("--results", type=Path, default=Path("results.jsonl"))
    p.add_argument("--losses", type=Path, default=Path(__file__).parent / "losses.jsonl")
    p.add_argument("--table", type=Path, help="Markdown file to write")
    p.add_argument("--misses", type=Path, help="Markdown file with what was missed, held-out faults by their number alone")
    p.add_argument("--only", default="*", help="pattern of ids")
    p.add_argument("--budget", type=float, help="of the doctor's convention search, seconds")
    p.add_argument("--seconds", type=float, default=1e9, help="end early, with exit code 3")
    p.add_argument("--loss", action="store_true", help="measure losses, do not ask the doctor")
    p.add_argument("--plant-only", action="store_true", help="check that each fault changes its file")
    p.add_argument("--table-only", action="store_true")
    p.add_argument("--healthy", type=Path, nargs="*", default=[], help="further files that are healthy")
    p.add_argument("--requantised", nargs="*", default=["F16", "Q4_0", "Q4_K"], help="types that healthy models are written in")
    p.add_argument("--make-model", type=Path, help="tools/make_model's program, for random models")
    p.add_argument("--seeds", type=int, default=8)
    args = p.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    suite = Suite(args.rowmax, args.models, args.work, args.budget, more=args.more)
    faults = [f for f in FAULTS if fnmatch.fnmatch(f.id, args.only)]
    until = time.time() + args.seconds
    if args.plant_only:
        return check_planting(suite, faults)
    if args.loss:
        measure_losses(suite, faults, args.losses, until)
        return None
    done = args.table_only or (ask_all(suite, faults, args.results, until) and ask_healthy(suite, args, until))
    lines = [line for line in read_lines(args.results) if line["program"] == suite.program()]
    by_id = {f.id: f for f in FAULTS}
    lines = [line if line.get("healthy") else line | judge(by_id[line["id"]], line) for line in lines
             if line.get("healthy") or line["id"] in by_id]
    losses = {line["id"]: line for line in read_lines(args.losses)}
    if args.table:
        write_table(args.table, lines, losses, VISIBLE)
    if args.misses:
        write_misses(args.misses, lines, losses, VISIBLE)
    return None if done else 3


if __name__ == "__main__":
    sys.exit(main())
