#!/usr/bin/env python3
"""The schemas of JSONSchemaBench (MaskBench's form, with instances): which ones compile, and what is said of their instances.

    git clone https://github.com/guidance-ai/jsonschemabench
    schema_bench.py PROGRAM jsonschemabench/maskbench/data [--plain] [--walks N] [--split NAME] [--causes N] [--json FILE]

PROGRAM is grammar_walks (`ninja grammar_walks`). Standard library alone, but for --walks. A file of the folder is a schema and instances of it, valid
and invalid ones, on which python-jsonschema and Rust's jsonschema agree. Of each schema this says: refused (an error with its place),
too slow (nothing within --seconds), or compiled; of a compiled one which instances it takes, in the form that Python's
json.dumps writes. A valid one that is not taken is tried again with its members in the order in which the schema names them,
since the grammar asks for that order. --plain leaves out members of schemas that no draft of JSON schema knows (such as the data's own
_format, self and esriDocumentation), which the grammar refuses and JSON schema calls annotations. --walks draws N texts of each compiled
schema from its masks, token by token, and has python-jsonschema judge them. Exits with 1 where an invalid instance is taken, a
drawn text is invalid, or the program ends.
"""
import argparse
import collections
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from pathlib import Path


class Program:
    """grammar_walks, one line in, one line out; started anew after a schema that took too long."""

    def __init__(self, path):
        self.path, self.process = path, None

    def start(self):
        self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, args=(self.process, self.lines), daemon=True).start()

    @staticmethod
    def read(process, lines):
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    def ask(self, request, seconds):
        """The answer; None where it took longer; a number: the code with which the program ended."""
        if self.process is None:
            self.start()
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            line = ""
        if line:
            return json.loads(line)
        if line == "":
            self.process.kill()
        code = self.process.wait()
        self.process = None
        return None if line == "" else code


def dump(value):
    return json.dumps(value, ensure_ascii=False)


def named_order(schema, found=None):
    """Each name of a property, numbered by where the document first has it."""
    found = {} if found is None else found
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties" and isinstance(value, dict):
                for name in value:
                    found.setdefault(name, len(found))
            named_order(value, found)
    elif isinstance(schema, list):
        for value in schema:
            named_order(value, found)
    return found


def resolve(root, schema):
    """A schema with what its references say; for the order of names alone."""
    for _ in range(20):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target = root
        for step in [s for s in reference[1:].split("/") if s]:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, dict) else None
        schema = target
    return schema if isinstance(schema, dict) else {}


def parts(root, schema, depth=0):
    """The schema and what it is joined with."""
    schema = resolve(root, schema)
    yield schema
    if depth < 8:
        for key in ("allOf", "anyOf", "oneOf"):
            for inside in schema.get(key, []) if isinstance(schema.get(key), list) else []:
                yield from parts(root, inside, depth + 1)


def in_order(root, schemas, value, names):
    """The value with the members of each object in the schema's order."""
    if isinstance(value, list):
        inside = [p["items"] for s in schemas for p in parts(root, s) if isinstance(p.get("items"), dict)]
        return [in_order(root, inside, element, names) for element in value]
    if not isinstance(value, dict):
        return value
    order, below, others = {}, collections.defaultdict(list), []
    for schema in schemas:
        for part in parts(root, schema):
            properties = part.get("properties")
            for name, inside in properties.items() if isinstance(properties, dict) else []:
                order.setdefault(name, len(order))
                below[name].append(inside)
            if isinstance(part.get("additionalProperties"), dict):
                others.append(part["additionalProperties"])
            for name in part["required"] if isinstance(part.get("required"), list) else []:
                order.setdefault(name, 10**6 + len(order))
    last = 10**9
    keys = sorted(value, key=lambda k: (order.get(k, last), names.get(k, last) if not order else 0))
    return {k: in_order(root, below.get(k) or others, value[k], names) for k in keys}


def cause_of(error):
    """An error without its place and its numbers, for counting; with the keyword where it is one."""
    place, _, what = error.partition(": ")
    what = re.sub(r"found .*", "found ...", re.sub(r'"[^"]*"', '"..."', re.sub(r"[#/][^ ]*/[^ ]*", "PLACE", what)))
    what = re.sub(r"\d[\d,]*", "N", what)[:110]
    return (place.rsplit("/", 1)[-1] + ": " if "keyword" in what else "") + what


SCHEMAS = {"not", "if", "then", "else", "contains", "propertyNames", "additionalProperties", "additionalItems", "items", "prefixItems", "allOf", "anyOf",
           "oneOf", "unevaluatedItems", "unevaluatedProperties", "extends"}
NAMED_SCHEMAS = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
OTHERS = {"type", "enum", "const", "multipleOf", "divisibleBy", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength",
          "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties", "required",
          "dependentRequired", "format", "contentEncoding", "contentMediaType", "contentSchema", "title", "description", "default", "deprecated",
          "readOnly", "writeOnly", "examples", "example", "nullable", "disallow", "id", "$id", "$schema", "$ref", "$anchor", "$dynamicRef",
          "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary", "$comment"}


def plain(schema, pointers=frozenset()):
    """Without members that no draft of JSON schema knows, but for those that a $ref leads through."""
    if isinstance(schema, list):
        return [plain(s, pointers) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key in SCHEMAS or key in pointers:
            out[key] = plain(value, pointers)
        elif key in NAMED_SCHEMAS and isinstance(value, dict):
            out[key] = {name: plain(inside, pointers) for name, inside in value.items()}
        elif key in OTHERS:
            out[key] = value
    return out


def steps_of_references(schema):
    if isinstance(schema, list):
        return {step for s in schema for step in steps_of_references(s)}
    if not isinstance(schema, dict):
        return set()
    own = schema.get("$ref")
    return {*(own.split("/")[1:2] if isinstance(own, str) else []), *(step for s in schema.values() for step in steps_of_references(s))}


def invalid_texts(schema, texts):
    """Those of the texts that python-jsonschema finds invalid; a text with a name twice is judged as parsers of JSON read it."""
    import jsonschema
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)(schema)
    return [text for text in texts if not validator.is_valid(json.loads(text))]


def split_of(name):
    return re.split(r"---|_\d|_[a-z]+_\d", name)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--plain", action="store_true", help="without members of schemas that are no keywords")
    parser.add_argument("--split", help="one of them alone, such as Github_easy")
    parser.add_argument("--seconds", type=float, default=20, help="for one schema with its instances")
    parser.add_argument("--causes", type=int, default=25, help="how many causes of refusals are printed")
    parser.add_argument("--walks", type=int, default=0, help="texts of each schema to draw (needs jsonschema)")
    parser.add_argument("--json", help="a line for each schema, here")
    args = parser.parse_args()
    program, out = Program(args.program), open(args.json, "w") if args.json else None
    table = collections.defaultdict(collections.Counter)
    causes, slow, wrong, crashes, drawn, judged = collections.Counter(), [], [], [], [], []
    begun = time.time()
    for file in sorted(Path(args.folder).glob("*.json")):
        split = split_of(file.stem)
        if args.split and split != args.split:
            continue
        case = json.loads(file.read_text())
        if args.plain:
            case["schema"] = plain(case["schema"], steps_of_references(case["schema"]) - OTHERS - NAMED_SCHEMAS)
        row = table[split]
        row["schemas"] += 1
        tests = case["tests"]
        texts = [dump(t["data"]) for t in tests]
        request = {"kind": "schema", "source": dump(case["schema"]), "texts": texts, "lengths": True}
        if args.walks:
            request |= {"walks": args.walks, "seed": 1, "length": 150}
        answer = program.ask(request, args.seconds)
        record = {"file": file.name, "tests": len(tests)}
        if answer is None or isinstance(answer, int):
            (slow if answer is None else crashes).append(file.name)
            row["slow" if answer is None else "ended"] += 1
            record["answer"] = answer
        elif "error" in answer:
            row["refused"] += 1
            causes[cause_of(answer["error"])] += 1
            record["error"] = answer["error"]
        else:
            row["compiled"] += 1
            names = named_order(case["schema"])
            again = [i for i, t in enumerate(tests) if t["valid"] and not answer["matches"][i]]
            ordered = [dump(in_order(case["schema"], [case["schema"]], tests[i]["data"], names)) for i in again]
            second = program.ask({**request, "texts": ordered, "walks": 0}, args.seconds) if again else None
            taken = dict(zip(again, second["matches"])) if isinstance(second, dict) and "matches" in second else {}
            as_expected = True
            for i, test in enumerate(tests):
                match = answer["matches"][i]
                as_expected = as_expected and match == test["valid"]
                if not test["valid"]:
                    row["invalid taken" if match else "invalid refused"] += 1
                    if match:
                        wrong.append((file.name, i))
                        record.setdefault("invalid taken", []).append(i)
                elif match:
                    row["valid taken"] += 1
                elif taken.get(i):
                    row["valid in order"] += 1
                else:
                    row["valid refused"] += 1
                    lengths = second["lengths"] if isinstance(second, dict) and "lengths" in second else answer["lengths"]
                    at = lengths[again.index(i)] if second else 0
                    text = ordered[again.index(i)].encode()
                    record.setdefault("valid refused", []).append(
                        [i, at, text[max(0, at - 60):at].decode(errors="replace"), text[at:at + 40].decode(errors="replace")])
            row["passing"] += as_expected
            if args.walks:
                try:
                    invalid = invalid_texts(case["schema"], answer["walks"])
                except Exception as error:  # a schema that it cannot read, a reference that leads nowhere
                    judged.append((file.name, repr(error)[:100]))
                    invalid, answer["walks"] = [], []
                row["drawn"] += len(answer["walks"])
                drawn.extend((file.name, text) for text in invalid)
        if out:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
    columns = ("schemas", "compiled", "refused", "slow", "ended", "passing", "valid taken", "valid in order", "valid refused", "invalid refused",
               "invalid taken", *(["drawn"] if args.walks else []))
    total = sum(table.values(), collections.Counter())
    print("| split | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for split, row in [*sorted(table.items()), ("all", total)]:
        print(f"| {split} | " + " | ".join(f"{row[c]:,}" for c in columns) + " |")
    print(f"\n{time.time() - begun:.0f} s\nwhy schemas were refused:")
    for cause, count in causes.most_common(args.causes):
        print(f"{count:6} {cause}")
    for name, cases in (("too slow", slow), ("the program ended", crashes), ("invalid instances taken", wrong),
                        ("invalid texts drawn", drawn), ("not judged", judged)):
        if cases:
            print(f"{name}: {cases[:40]}")
    return 1 if wrong or crashes or drawn else 0


sys.exit(main())
