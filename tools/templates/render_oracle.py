#!/usr/bin/env python3
"""Renders chat templates with Python's jinja2 as Hugging Face transformers does, and stores what came out.

Needs the PyPI package jinja2 (3.1). The environment follows transformers' chat_template_utils: an
ImmutableSandboxedEnvironment with trim_blocks, lstrip_blocks, loop controls, tojson without HTML escapes,
raise_exception and strftime_now (here of a fixed time).

  render_oracle.py templates DIR OUT [NAME ...]   every *.jinja of DIR (or those named, without .jinja) x conversations
  render_oracle.py snippets OUT                   small templates that pin down the language
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

from conversations import CONVERSATIONS
from snippets import GLOBALS, SNIPPETS

NOW = 1751605567  # 2025-07-04 05:06:07 UTC, a Friday


class Generation(jinja2.ext.Extension):
    """{% generation %} of transformers: marks text for training and leaves the output alone."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(format):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(format)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def render(env, source, values):
    """{"text": ...} or {"error": ...}"""
    try:
        # A deep copy, so that no template can change what the next one sees.
        return {"text": env.from_string(source).render(**json.loads(json.dumps(values)))}
    except Exception as error:  # whatever Python raises is "does not render"
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def write(path, data):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(data, out, ensure_ascii=False, indent=0, sort_keys=False)
        out.write("\n")


def templates(folder, out, names):
    env = environment()
    table = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        if names and path.stem not in names:
            continue
        source = path.read_bytes().decode()
        outputs = [render(env, source, c["globals"]) for c in CONVERSATIONS]
        table.append({"name": path.stem, "source": source, "outputs": outputs})
    write(out, {"oracle": f"jinja2 {jinja2.__version__}", "now": NOW, "conversations": CONVERSATIONS,
                "templates": table})


def snippets(out):
    env = environment()
    rows = [{"source": source, **render(env, source, GLOBALS)} for source in SNIPPETS]
    write(out, {"oracle": f"jinja2 {jinja2.__version__}", "now": NOW, "globals": GLOBALS, "snippets": rows})


def main():
    if len(sys.argv) >= 4 and sys.argv[1] == "templates":
        templates(sys.argv[2], sys.argv[3], set(sys.argv[4:]))
    elif len(sys.argv) == 3 and sys.argv[1] == "snippets":
        snippets(sys.argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
