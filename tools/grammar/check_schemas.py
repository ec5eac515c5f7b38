#!/usr/bin/env python3
"""JSON schemas: what the engine's masks let through, and what they take, against python-jsonschema and the JSON Schema Test Suite.

    check_schemas.py walks PROGRAM [--seed N] [--walks N] [--suite FOLDER]
    check_schemas.py vectors PROGRAM --suite FOLDER --out FILE

PROGRAM is grammar_walks. walks: every text drawn from the masks of schemas.json (and of the suite's schemas) must be valid by
jsonschema, and every mutation of one that the engine takes, too. vectors: texts with the suite's verdicts, which the
engine's tests hold it to. FOLDER: a clone of json-schema-org/JSON-Schema-Test-Suite. Needs jsonschema for walks.
"""
import argparse
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DRAFT = "tests/draft2020-12"
FORMATS = ("date", "time", "date-time", "duration", "uuid", "ipv4", "ipv6", "uri", "email", "hostname")
# Valid by the suite, and not taken: docs/structured_output.md says why.
NARROWER = {"hostname.json", "format.json", "vocabulary.json", "time.json", "date-time.json", "duration.json", "email.json", "const.json",
            "ipv6.json", "uri.json"}


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def plain(value):
    """Whole numbers without a fraction, as the engine writes them."""
    if isinstance(value, float) and value == int(value) and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


def orders(value):
    """The value with its members in any order: the engine wants that of the schema."""
    if isinstance(value, list):
        return [list(t) for t in itertools.islice(itertools.product(*map(orders, value)), 200)]
    if isinstance(value, dict):
        return [dict(zip(keys, members)) for keys in itertools.islice(itertools.permutations(value), 120)
                for members in itertools.islice(itertools.product(*(orders(value[k]) for k in keys)), 20)]
    return [value]


def ask(program, requests):
    text = "".join(json.dumps(r) + "\n" for r in requests)
    out = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout
    answers = [json.loads(line) for line in out.splitlines()]
    assert len(answers) == len(requests)
    return answers


def suite_groups(folder):
    root = Path(folder) / DRAFT
    files = sorted(root.glob("*.json")) + [root / "optional/format" / f"{name}.json" for name in FORMATS]
    files += [root / "optional" / f"{name}.json" for name in ("ecmascript-regex", "non-bmp-regex", "bignum", "float-overflow")]
    files += [root.parent / "draft7" / f"{name}.json" for name in ("items", "additionalItems")]  # items as a list
    for file in files:
        for group in json.loads(file.read_text()):
            yield file.name, group


def vectors(arguments):
    rows, requests = [], []
    for name, group in suite_groups(arguments.suite):
        texts, owners = [], []
        for i, test in enumerate(group["tests"]):
            try:
                found = list(dict.fromkeys(dump(o) for o in orders(plain(test["data"]))))
                [text.encode() for text in found]
            except (OverflowError, UnicodeEncodeError):  # infinity, lone surrogates
                continue
            texts += found
            owners += [i] * len(found)
        rows.append((name, group, owners))
        requests.append({"kind": "schema", "source": dump(group["schema"]), "compact": True, "texts": texts})
    wrong = 0
    with open(arguments.out, "w") as out:
        out.write("# tools/grammar/check_schemas.py vectors: JSON Schema Test Suite (MIT, (c) 2012 Julian Berman), "
                  "draft 2020-12; narrower: valid, and stated as not taken\n")
        for (name, group, owners), request, answer in zip(rows, requests, ask(arguments.program, requests)):
            row = {"name": f"{name}: {group['description']}", "schema": request["source"]}
            if "error" in answer:
                out.write(dump({**row, "refused": answer["error"]}) + "\n")
                continue
            row["valid"], row["invalid"], row["narrower"] = [], [], []
            for i, test in enumerate(group["tests"]):
                mine = [(t, m) for t, m, o in zip(request["texts"], answer["matches"], owners) if o == i]
                if not mine:
                    continue
                taken = [t for t, m in mine if m]
                if test["valid"] and not taken and name in NARROWER:
                    row["narrower"].append(mine[0][0])
                elif test["valid"]:
                    row["valid"].append(taken[0] if taken else mine[0][0])
                    wrong += not taken
                    if not taken:
                        print("VALID, NOT TAKEN:", mine[0][0], request["source"][:200])
                else:
                    row["invalid"] += [t for t, _ in mine[:6]]
                    wrong += len(taken)
                    for text in taken:
                        print("TAKEN, NOT VALID:", text, request["source"][:200])
            out.write(dump(row) + "\n")
    print(f"{wrong} verdicts differ")
    return wrong != 0


def mutated(text, rng):
    kind = rng.randrange(4)
    at = rng.randrange(len(text) + 1)
    if kind == 0:
        return text[:at] + rng.choice('0123456789{}[]",:-eE.+ abtrue\\u\n') + text[at:]
    if kind == 1:
        return text[:at] + text[at + 1:]
    end = min(len(text), at + rng.randrange(1, 8))
    if kind == 2:
        return text[:at] + text[end:]
    return text[:at] + text[at:end] * 2 + text[end:]


def no_duplicates(pairs):
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise KeyError("duplicate")
    return dict(pairs)


def read(text, strict):
    def refuse(_):
        raise ValueError
    return json.loads(text, parse_constant=refuse, object_pairs_hook=no_duplicates if strict else None)


def walks(arguments):
    import jsonschema
    rng = random.Random(arguments.seed)
    schemas = json.loads((HERE / "schemas.json").read_text())
    if arguments.suite:
        schemas += [group["schema"] for name, group in suite_groups(arguments.suite) if name not in ("vocabulary.json", "ecmascript-regex.json")]
    requests = [{"kind": "schema", "source": json.dumps(s), "walks": arguments.walks, "seed": rng.getrandbits(62)}
                for s in schemas]
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    judges, again, n_texts, refused, wrong = [], [], 0, 0, 0
    for schema, request, answer in zip(schemas, requests, ask(arguments.program, requests)):
        if "error" in answer:
            refused += 1
            if not arguments.suite:
                print("refused:", answer["error"], dump(schema)[:200])
            continue
        judge = jsonschema.Draft202012Validator(schema, format_checker=checker)
        for text in answer["walks"]:
            n_texts += 1
            try:
                ok = judge.is_valid(read(text, False))
            except (ValueError, RecursionError) as e:
                ok = False
            if not ok:
                wrong += 1
                print("NOT VALID:", text, dump(schema)[:300])
        texts = [mutated(t, rng) for t in answer["walks"] for _ in range(8)]
        again.append({**request, "walks": 0, "texts": texts})
        judges.append((judge, schema))
    n_taken = 0
    for (judge, schema), request, answer in zip(judges, again, ask(arguments.program, again)):
        for text, taken in zip(request["texts"], answer["matches"]):
            if not taken:
                continue
            n_taken += 1
            try:
                ok = judge.is_valid(read(text, False))
            except ValueError:
                ok = False
            if not ok:
                wrong += 1
                print("TAKEN, NOT VALID:", text, dump(schema)[:300])
    print(f"{len(schemas)} schemas, {refused} refused, {n_texts} texts drawn, {n_taken} mutations taken, {wrong} not valid")
    return wrong != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("walks", "vectors"))
    parser.add_argument("program")
    parser.add_argument("--suite")
    parser.add_argument("--out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--walks", type=int, default=50)
    arguments = parser.parse_args()
    return {"walks": walks, "vectors": vectors}[arguments.mode](arguments)


sys.exit(main())
