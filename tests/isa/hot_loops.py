#!/usr/bin/env python3
"""Counts what the hot loops of the matrix products are made of, from the disassembly, and compares with a table: a sum that
went to the stack, or a loop that is no longer unrolled, is seen without measuring time.

    hot_loops.py BUILD_DIR COMPILER OBJDUMP [--write]

Looks at every function of engine/ops/matmul's *_<isa>.cc objects that multiplies. Its hot loop is the one that holds the most
products not in a loop inside it. The table, hot_loops_<processor>.tsv beside this script, has a row for each: products
(multiplications with sums, and looked up sums), additions, copies from register to register, loads and stores of vectors at
the stack pointer, and all instructions. The counts are those of one compiler (g++ 12, -O2): with others, and where BUILD_DIR is
not there (no cross compiler or no qemu), the test is skipped.
--write makes the table anew: look at what changed in it before you keep it.
"""
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KINDS = ["products", "adds", "copies", "stack loads", "stack stores", "all"]
OBJECT = re.compile(r"engine/ops/matmul/matmul_(avx2|avxvnni|avx512|avx512vbmi|amx|neon|dotprod|i8mm)\.cc\.o$")
MIN_PRODUCTS = 4

X86 = {
    "products": re.compile(r"v?(pmaddubsw|pmaddwd|pdpbusd|pdpbssd|pdpwssd|fn?madd\d+p[sd]|pshufb|permb|permi2b)$|tdp"),
    "adds": re.compile(r"vp?(add|sub)(ps|pd|b|w|d|q)$"),
    "copy": re.compile(r"vmov(dqa|dqu|aps|ups|apd)(8|16|32|64)?$"),
    "vector": re.compile(r"%[xyz]mm|%tmm"),
    "stack": re.compile(r"\(%r(sp|bp)[,)]"),
    "jump": re.compile(r"j\w+$"),
}
ARM = {
    "products": re.compile(r"(fmla|[su]dot|usdot|[su]mlal2?|[su]mull2?|smmla|usmmla|tbl)$"),
    "adds": re.compile(r"([su]ad[ad]lp|addp|add|sub|mla|fadd|fsub)$"),
    "copy": re.compile(r"mov$"),
    "vector": re.compile(r"\b[vqd]\d+\b|\bv\d+\."),
    "stack": re.compile(r"\[(sp|x29)\b"),
    "jump": re.compile(r"(b\.\w+|b|cbn?z|tbn?z)$"),
}


def functions(text):
    """(name, [(address, mnemonic, operands)]) of an objdump listing."""
    name, lines = None, []
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            if name:
                yield name, lines
            name, lines = head[1], []
            continue
        code = re.match(r"\s*([0-9a-f]+):\s+(?:\{\w+\} )?(\S+)\s*(.*)", line)
        if code:
            lines.append((int(code[1], 16), code[2], code[3].split(" <")[0].split("//")[0].strip()))
    if name:
        yield name, lines


def counts(lines, isa):
    """What some instructions are, by KINDS."""
    out = dict.fromkeys(KINDS, 0)
    out["all"] = len(lines)
    for _, mnemonic, operands in lines:
        vector = isa["vector"].search(operands) is not None
        if vector and isa["stack"].search(operands):
            if isa is X86:
                store = re.search(r"\)$", operands) is not None  # AT&T: what is written comes last
            else:
                store = mnemonic.startswith("st")
            out["stack stores" if store else "stack loads"] += 1
        if isa["products"].match(mnemonic):
            out["products"] += 1
        elif vector and isa["adds"].match(mnemonic):
            out["adds"] += 1
        elif vector and isa["copy"].match(mnemonic) and "(" not in operands and "[" not in operands:
            out["copies"] += 1
    return out


def hot_loop(lines, isa):
    """The instructions of the loop that holds the most products itself; [] without a loop."""
    first = lines[0][0] if lines else 0
    loops = set()
    for address, mnemonic, operands in lines:
        target = re.search(r"(?:^|,\s*)(?:0x)?([0-9a-f]+)$", operands)
        if isa["jump"].match(mnemonic) and target and first <= int(target[1], 16) <= address:
            loops.add((int(target[1], 16), address))
    best, most = [], 0
    for begin, end in sorted(loops, key=lambda loop: loop[1] - loop[0]):
        inside = [loop for loop in loops if loop != (begin, end) and begin <= loop[0] and loop[1] <= end]
        body = [line for line in lines if begin <= line[0] <= end]
        own = [line for line in body if not any(b <= line[0] <= e for b, e in inside)]
        n = sum(1 for _, mnemonic, _ in own if isa["products"].match(mnemonic))
        if n > most:
            best, most = own, n
    return best


def layouts():
    """The formats of each integer layout, by its template arguments as the compiler prints them."""
    header = (ROOT / "engine/ops/matmul/panel.h").read_text()
    kinds = re.search(r"enum class ScaleKind[^{]*{([^}]*)}", (ROOT / "engine/quant/codebook.h").read_text())[1]
    kinds = {name.strip().split()[0]: str(i) for i, name in enumerate(kinds.split(",")) if name.strip()}
    names = {}
    for arguments, formats in re.findall(r"IntegerPanel<([^>]*)>[,>;]*\s*// (.*)", header):
        words = [word.strip() for word in arguments.split(",")]
        words += ["0", "ScaleKind::kHalf"][len(words) - 6:]
        words[7] = kinds[words[7].split("::")[1]]
        names[tuple(words)] = formats
    if len(names) < 10:
        sys.exit("panel.h: the list of layouts was not understood")
    return names


def short_name(name, names):
    """A function's name without namespaces, with formats in place of a layout's arguments."""
    name = re.sub(r" ?\[clone [^]]*\]", "", name)
    name = re.sub(r"\(rowmax::engine::(quant|panel)::\w+\)", "", name)
    name = re.sub(r"(rowmax::)?(engine::)?(panel::)?\(anonymous namespace\)::|rowmax::engine::panel::", "", name)
    name = re.sub(r"IntegerPanel<([^<>]*)>",
                  lambda m: names.get(tuple(word.strip() for word in m[1].split(",")), m[0]), name)
    name = re.sub(r"FloatPanel<(\d)>", lambda m: ("F32", "F16", "BF16")[int(m[1])], name)
    name = name.replace(" >", ">")
    return re.sub(r"^void |\([^()]*\)$|\((?:[^()]|\([^()]*\))*\)$", "", name).strip()


def measure(build, objdump):
    """{(isa, function): counts}, and whether the objects are for Arm."""
    rows, arm = {}, False
    names = layouts()
    for path in sorted(build.rglob("*.o")):
        found = OBJECT.search(path.as_posix())
        if not found:
            continue
        text = subprocess.run([objdump, "-dC", "--no-show-raw-insn", str(path)], check=True, capture_output=True,
                              text=True).stdout
        arm = "file format elf64-littleaarch64" in text
        isa = ARM if arm else X86
        for name, lines in functions(text):
            found_counts = counts(hot_loop(lines, isa), isa)
            if found_counts["products"] >= MIN_PRODUCTS:
                rows[found[1], short_name(name, names)] = found_counts
    return rows, arm


def differences(stored, found):
    """What tells two tables apart beyond the tolerance. Fewer copies, stack accesses and instructions are no fault."""
    for key in sorted(stored.keys() | found.keys()):
        where = " ".join(key)
        if key not in found:
            yield f"{where}: no such hot loop any more"
        elif key not in stored:
            yield f"{where}: not in the table"
        else:
            for kind in KINDS:
                is_, was = found[key][kind], stored[key][kind]
                slack = max(1, was // 20) if kind in ("products", "adds") else max(2, was // 10)
                if is_ > was + slack or (kind in ("products", "adds") and is_ < was - slack):
                    yield f"{where}: {is_} {kind}, {was} in the table"


def read_table(path):
    rows = {}
    for line in path.read_text().splitlines()[1:]:
        isa, function, *numbers = line.split("\t")
        rows[isa, function] = dict(zip(KINDS, map(int, numbers), strict=True))
    return rows


def main():
    build, compiler, objdump = Path(sys.argv[1]), *sys.argv[2:4]
    for tool in (compiler, objdump):
        if shutil.which(tool) is None:
            print(f"skipped: no {tool} here")
            return 77
    if not build.is_dir():
        print(f"skipped: {build} has not been built")
        return 77
    says = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    version = says.splitlines()[0]
    if "Free Software Foundation" not in says or not re.search(r" 12\.\d+\.\d+$", version):  # under any name: c++, g++
        print(f"skipped: the table is of g++ 12, not of {version}")
        return 77
    found, arm = measure(build, objdump)
    if not found:
        sys.exit("no object of engine/ops/matmul found: has anything been built?")
    table = HERE / f"hot_loops_{'aarch64' if arm else 'x86_64'}.tsv"
    if "--write" in sys.argv:
        lines = ["\t".join(["isa", "function", *KINDS])]
        lines += ["\t".join([*key, *(str(found[key][kind]) for kind in KINDS)]) for key in sorted(found)]
        table.write_text("\n".join(lines) + "\n")
        print(f"{table}: {len(found)} hot loops")
        return 0
    bad = list(differences(read_table(table), found))
    for line in bad:
        print(line)
    print(f"{len(found)} hot loops, {len(bad)} differences from {table.name}")
    if bad:
        print("where they are meant: tests/isa/hot_loops.py BUILD_DIR COMPILER OBJDUMP --write")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
