#!/usr/bin/env python3
"""Writes engine/grammar/testdata/regex.jsonl: random regular expressions and texts, with the verdicts of Python's re.

    make_regex_vectors.py [SEED] > engine/grammar/testdata/regex.jsonl
"""
import json
import random
import re
import signal
import sys

RNG = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
ALPHABET = "aab01 -\n\u00e9\u20ac\U0001F600"


def atom(depth):
    kind = RNG.randrange(12)
    if kind < 4:
        return RNG.choice(["a", "b", "0", "1", "\\-", "\u00e9", "\u20ac", "\U0001F600", "\\x61", "\\u00e9", " "])
    if kind == 4:
        return RNG.choice([".", "\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "\\n"])
    if kind < 8:
        inside = "".join(RNG.choice(["a", "b", "0-1", "a-b", "\\d", "\\s", "\u00e9", "\u00e0-\u20ac", "\u20ac-\U0001F600", "-"][:9])
                         for _ in range(RNG.randrange(1, 4)))
        return RNG.choice(["[%s]", "[^%s]", "[%s-]"]) % inside
    if depth > 3:
        return "a"
    return RNG.choice(["(%s)", "(?:%s)"]) % choice(depth + 1)


def piece(depth):
    suffix = ["", "", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}", "{0,25}", "{17,21}", "{0}", "{20,}"]
    out = atom(depth) + RNG.choice(suffix[: 15 if depth < 3 else 9])
    return out + ("?" if out[-1] in "*+}" and RNG.random() < 0.2 else "")


def choice(depth):
    parts = ["".join(piece(depth) for _ in range(RNG.choice([1, 1, 2, 2, 3, 0 if depth else 1])))
             for _ in range(RNG.choice([1, 1, 1, 2, 3]))]
    return "|".join(parts)


def texts(pattern):
    yield ""
    for _ in range(40):
        yield "".join(RNG.choice(ALPHABET) for _ in range(RNG.randrange(0, 7)))
    for _ in range(10):
        yield RNG.choice("ab0") * RNG.randrange(15, 27)
    for _ in range(10):
        yield "".join(RNG.choice("ab") for _ in range(RNG.randrange(0, 9)))


def give_up(*_):
    raise TimeoutError


def main():
    signal.signal(signal.SIGALRM, give_up)
    print(f"# tools/grammar/make_regex_vectors.py: re.fullmatch of Python {sys.version.split()[0]}, re.ASCII")
    n = 0
    while n < 500:
        pattern = choice(0)
        try:
            compiled = re.compile(pattern, re.ASCII)
        except re.error:
            continue
        signal.setitimer(signal.ITIMER_REAL, 0.5)  # re tries all ways, and some take years
        try:
            verdicts = {t: compiled.fullmatch(t) is not None for t in texts(pattern)}
        except TimeoutError:
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        yes = [t for t, v in verdicts.items() if v][:8]
        no = [t for t, v in verdicts.items() if not v][:12]
        if len(pattern) > 60 or not yes:
            continue
        n += 1
        print(json.dumps({"regex": pattern, "yes": yes, "no": no}, ensure_ascii=False))


main()
