#!/usr/bin/env python3
"""No shared inline function may be compiled for a special instruction set: the linker keeps one copy of each, and where
it kept an AVX one, the program would die on older processors.

    check_symbols.py BUILD_DIR NM

Looks at every object of a *_avx2.cc, *_avxvnni.cc, *_avx512.cc, *_avx512vbmi.cc, *_amx.cc, *_neon.cc, *_dotprod.cc or *_i8mm.cc file: it must define no weak and no unique function.
"""
import re
import subprocess
import sys
from pathlib import Path

build, nm = Path(sys.argv[1]), sys.argv[2]
objects = [p for p in build.rglob("*.o") if re.search(r"_(avx2|avxvnni|avx512|avx512vbmi|amx|neon|dotprod|i8mm)\.cc\.o$", p.name)
           and re.match(r"rowmax_\w+\.dir", next((x for x in p.parts if x.endswith(".dir")), ""))]
if not objects:
    sys.exit("no object of an ISA file found: has anything been built?")
bad = 0
for path in sorted(objects):
    symbols = subprocess.run([nm, "-C", "--defined-only", str(path)], check=True, capture_output=True, text=True).stdout
    for line in symbols.splitlines():
        kind, name = line.split(maxsplit=2)[1:]
        # W, V: weak; u: unique. Data cannot hold instructions, but there is no reason for shared data either. V is also
        # the reference to the C++ runtime's exception personality.
        if kind in "WwVu" and "DW.ref.__gxx_personality" not in name:
            print(f"{path.relative_to(build)}: {kind} {name}")
            bad += 1
print(f"{len(objects)} objects, {bad} shared symbols")
sys.exit(bad > 0)
