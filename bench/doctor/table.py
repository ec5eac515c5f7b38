"""The suite's tables in Markdown."""

from collections import defaultdict

from faults import FAULTS

BY_ID = {f.id: f for f in FAULTS}


def share(lines, key):
    n = sum(bool(line[key]) for line in lines)
    return f"{n} of {len(lines)} ({100 * n / len(lines):.1f} %)" if lines else "none"


def visibility(loss, visible):
    if loss is None:
        return "not measured"
    if loss["loss"] is None:
        return "refused"
    change = loss["loss"] - loss["base"]
    return f"{change:+.2f}" if abs(change) >= visible else f"{change:+.3f} (invisible)"


def is_invisible(loss, visible):
    return loss is not None and loss["loss"] is not None and abs(loss["loss"] - loss["base"]) < visible


def totals(faulty, losses, visible):
    kinds = [("all", faulty), ("tuned on", [x for x in faulty if not x["held_out"]]),
             ("held out", [x for x in faulty if x["held_out"]]),
             ("in files", [x for x in faulty if BY_ID[x["id"]].kind == "file"]),
             ("in the graph", [x for x in faulty if BY_ID[x["id"]].kind == "graph"]),
             ("visible to loss or refused", [x for x in faulty if not is_invisible(losses.get(x["id"]), visible)]),
             ("invisible to loss", [x for x in faulty if is_invisible(losses.get(x["id"]), visible)])]
    rows = ["| faults | number | detected | true cause first | among the first three | place named |", "|---|---|---|---|---|---|"]
    for name, lines in kinds:
        placed = [line for line in lines if line.get("place") is not None]
        rows.append(f"| {name} | {len(lines)} | {share(lines, 'detected')} | {share(lines, 'first')} | {share(lines, 'top3')} | "
                    f"{share(placed, 'place')} |")
    return rows


def split(lines):
    faulty = {line["id"]: line for line in lines if not line.get("healthy") and line["id"] in BY_ID}
    healthy = {line["id"]: line for line in lines if line.get("healthy")}
    return [faulty[f.id] for f in FAULTS if f.id in faulty], list(healthy.values())


def healthy_rows(healthy):
    groups = {"trained": [], "harmless variants and other files": [], "random": []}
    for line in healthy:
        kind = "random" if line["id"].startswith("random.") else "trained" if line["id"].count(".") == 1 else "harmless variants and other files"
        groups[kind].append(line)
    rows = ["| models without a fault | number | called healthy | inconclusive | false alarms | a check failed |", "|---|---|---|---|---|---|"]
    for name, group in groups.items():
        count = lambda verdict: sum(line["verdict"] == verdict for line in group)
        rows.append(f"| {name} | {len(group)} | {count('healthy')} | {count('inconclusive')} | "
                    f"{sum(line['verdict'] not in ('healthy', 'inconclusive') for line in group)} | {sum(bool(line['failed']) for line in group)} |")
    return rows


def by_cause(faulty):
    groups = defaultdict(list)
    for line in faulty:
        groups[BY_ID[line["id"]].causes[0]].append(line)
    rows = ["| cause | faults | detected | first | first three |", "|---|---|---|---|---|"]
    for cause, lines in sorted(groups.items()):
        rows.append(f"| {cause} | {len(lines)} | " + " | ".join(str(sum(bool(x[k]) for x in lines)) for k in ("detected", "first", "top3")) + " |")
    return rows


def write_table(path, lines, losses, visible):
    faulty, healthy = split(lines)
    mark = lambda value: "" if value is None else "yes" if value else "**no**"
    rows = ["| fault | causes that name it | loss | detected | first | first three | place | answer | s |",
            "|---|---|---|---|---|---|---|---|---|"]
    for line in faulty:
        fault = BY_ID[line["id"]]
        answer = ", ".join(c["id"] for c in line["causes"][:3]) or line["verdict"]
        rows.append(f"| {fault.id}{' (held out)' if fault.held_out else ''} | {', '.join(fault.causes)} | "
                    f"{visibility(losses.get(fault.id), visible)} | {mark(line['detected'])} | {mark(line['first'])} | "
                    f"{mark(line['top3'])} | {mark(line['place'])} | {answer} | {line['seconds']:.1f} |")
    budgets = sorted({x.get("budget") or 0 for x in faulty})
    said = " and ".join(f"{b:g}" if b else "the default of" for b in budgets) + " seconds"
    cut = sum(bool(x.get("cut")) for x in faulty)
    others = "" if len(faulty) == len(FAULTS) else " (the others' models were not there)"
    text = f"""# What the doctor finds

Written by `bench/doctor/run.py`; do not edit. {len(faulty)} faults of the {len(FAULTS)} in `bench/doctor/faults.py`{others}, each planted alone
into a small trained model (`tools/train/small_models.py`) or into the engine that reads it (`--convention`, `--format`). A third
of them is held out: chosen by a checksum of their names, not looked at while the doctor was built. "loss": what the fault
does to the mean loss of held-out stories, in nats a token; below {visible} no search by loss can see it; "refused": the engine
does not load the file, and the doctor must say why. --budget: {said}; {cut} searches ended before their list did. "place": of faults in one tensor, layer or key, whether it was named.

## Totals

{chr(10).join(totals(faulty, losses, visible))}

{chr(10).join(healthy_rows(healthy))}

## By cause

{chr(10).join(by_cause(faulty))}

## What is not planted

Faults of code that no file and no `--convention` can express: masks and padding, the bookkeeping of keys, values and recurrent
states (rollback, reuse, chunks), the kernels of a format or an instruction set, the sampler, LayerNorm in place of RMSNorm, a
missing SiLU behind the convolution, guessing tokens ahead. The checks for those are broken in code by the tests beside them.

## Every fault

{chr(10).join(rows)}
"""
    path.write_text(text)


def write_misses(path, lines, losses, visible):
    faulty, healthy = split(lines)
    out = ["# Misses (held-out faults are counted, not shown)", "", *totals(faulty, losses, visible), "", *healthy_rows(healthy), ""]
    out += ["False alarms:"] + [f"- {x['id']}: {x['verdict']} checks {x['failed']} causes {[c['id'] for c in x['causes'][:3]]}"
                                for x in healthy if x["verdict"] not in ("healthy", "inconclusive") or x["failed"]] + [""]
    tuned = [x for x in faulty if not x["held_out"]]
    groups = [("Error, timeout or wrong exit code", lambda x: "error" in x or x["verdict"] == "timeout"),
              ("Not detected", lambda x: not x["detected"]),
              ("Detected, cause not among the first three", lambda x: x["detected"] and not x["top3"]),
              ("Among the first three, not first", lambda x: x["detected"] and x["top3"] and not x["first"]),
              ("Place not named", lambda x: x["detected"] and x["top3"] and x.get("place") is False)]
    for title, test in groups:
        out += [f"## {title}", ""]
        for x in filter(test, tuned):
            fault = BY_ID[x["id"]]
            out.append(f"- {x['id']} (wanted {'/'.join(fault.causes)}{' at ' + fault.place if fault.place else ''}; loss "
                       f"{visibility(losses.get(x['id']), visible)}; {x['seconds']:.0f} s): {x['verdict']}, causes "
                       + (", ".join(f"{c['id']}@{(c.get('place') or {})}:{c.get('confidence')}" for c in x["causes"][:4]) or "none")
                       + f", failed {x['failed']}" + (f", {x['error']}" if "error" in x else ""))
        out.append("")
    path.write_text("\n".join(out) + "\n")
