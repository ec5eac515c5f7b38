#!/usr/bin/env python3
"""The shared library shows exactly the functions that rowmax.h declares.

    check_exports.py LIBRARY HEADER NM
"""
import re
import subprocess
import sys

library, header, nm = sys.argv[1:]
text = re.sub(r"/\*.*?\*/", "", open(header).read(), flags=re.S)
declared = set(re.findall(r"ROWMAX_API\s+[\w\s*]*?(rowmax_\w+)\(", text))
symbols = subprocess.run([nm, "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
shown = {line.split()[-1] for line in symbols.splitlines()}
for name in sorted(shown - declared):
    print(f"{name}: shown by the library, not declared in the header")
for name in sorted(declared - shown):
    print(f"{name}: declared in the header, not shown by the library")
print(f"{len(declared)} functions")
sys.exit(shown != declared or not declared)
