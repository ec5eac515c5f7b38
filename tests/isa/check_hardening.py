#!/usr/bin/env python3
"""check_hardening.py READELF KIND FILE: what a reader of hostile files is linked with.

KIND program: position independent, relocations read-only and bound at start, no executable stack, stack canaries,
checked copies. KIND library: the same without the canaries, which kernels do without."""
import re
import subprocess
import sys


def main() -> int:
    readelf, kind, path = sys.argv[1:]
    text = subprocess.run([readelf, "-W", "--file-header", "--program-headers", "--dynamic", "--dyn-syms", path],
                          check=True, capture_output=True, text=True).stdout
    checks = {
        "position independent (type DYN)": re.search(r"^\s*Type:\s+DYN", text, re.M),
        "relocations read-only (GNU_RELRO)": "GNU_RELRO" in text,
        "bound at start (BIND_NOW)": re.search(r"BIND_NOW|FLAGS_1\)?\s.*NOW", text),
        "stack not executable": re.search(r"GNU_STACK\s+\S+ \S+ \S+ \S+ \S+ RW ", text),
        "no text relocations": "TEXTREL" not in text,
    }
    if kind == "program":
        checks["stack canaries (__stack_chk_fail)"] = re.search(r"__stack_chk_fail\b", text)
        checks["checked copies (__memcpy_chk and the like)"] = re.search(r"__\w+_chk\b(?<!__stack_chk)", text)
    missing = [name for name, held in checks.items() if not held]
    for name in missing:
        print(f"{path}: not {name}")
    print(f"{len(checks) - len(missing)} of {len(checks)} hold")
    return 1 if missing else 0


sys.exit(main())
