#!/usr/bin/env python3
"""Writes engine/template/case_table.h: Python's str.upper and str.lower of single characters, as ranges.

Usage: make_case_table.py OUT    (the Unicode version is that of the Python that runs it)
"""
import sys
import unicodedata


def ranges(method):
    """[(first, last, stride, delta)] of characters that map to one other character."""
    out = []
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        mapped = method(chr(code))
        if len(mapped) != 1 or ord(mapped) == code:
            continue
        delta = ord(mapped) - code
        if out and out[-1][3] == delta and code - out[-1][1] in (1, 2):
            first, last, stride, _ = out[-1]
            if first == last or code - last == stride:
                out[-1] = (first, code, code - last, delta)
                continue
        out.append((code, code, 1, delta))
    return out


def specials(method):
    """[(code, utf8)] of characters that map to several."""
    out = []
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        mapped = method(chr(code))
        if len(mapped) > 1:
            out.append((code, "".join("\\x%02x" % b for b in mapped.encode())))
    return out


def rows(items, per_line):
    return "\n".join("    " + " ".join(items[i:i + per_line]) for i in range(0, len(items), per_line))


def main():
    parts = [
        f"// Case mappings of Unicode {unicodedata.unidata_version}, written by tools/templates/make_case_table.py.\n",
        "#pragma once\n\n#include <cstdint>\n\nnamespace rowmax::engine::jinja {\n",
        "// Code points first, first + stride, ..., last map to themselves + delta.",
        "struct CaseRange {\n  std::uint32_t first, last, stride;\n  std::int32_t delta;\n};",
        "// One code point that maps to several, in UTF-8.",
        "struct CaseSpecial {\n  std::uint32_t code_point;\n  const char* text;\n};\n",
        "// clang-format off",
    ]
    for name, method in (("Upper", str.upper), ("Lower", str.lower)):
        plain = ["{0x%x, 0x%x, %d, %d}," % row for row in ranges(method)]
        several = ['{0x%x, "%s"},' % row for row in specials(method)]
        parts.append(f"inline constexpr CaseRange k{name}Ranges[] = {{\n{rows(plain, 4)}\n}};")
        parts.append(f"inline constexpr CaseSpecial k{name}Specials[] = {{\n{rows(several, 4)}\n}};")
    parts.append("// clang-format on\n\n}  // namespace rowmax::engine::jinja\n")
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write("\n".join(parts))


if __name__ == "__main__":
    main()
