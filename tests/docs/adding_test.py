#!/usr/bin/env python3
"""adding_test.py SOURCE_DIR: what docs/adding.md says one has to touch is what there is to touch.

For each of its sections something that was added once: the files that know it by name are searched for, must be those listed
here, and each must be named in the section. A page that forgets a file, and a file that began to know too much, both fail.
"""
import re
import sys
from pathlib import Path

ROOT = Path(sys.argv[1]).resolve()
PRODUCT = ("engine", "attention", "apps", "include", "base", "bindings/python/native", "bindings/python/src", "cmake",
           "tools/make_model")
NOT_PRODUCT = re.compile(r"_test\.|_fuzz\.|/test_|testdata/|/reference\.h$|/masks_fuzz\.h$|_test_util\.h$")
COMMENT = re.compile(r"//.*|^\s*(?:\*|/\*).*|^\s*#(?!\s*(?:if|elif|include|define)).*", re.M)

# (section, what was added, its names in the sources, the files that have them)
CLAIMS = [
    ("A weight format", "IQ4_XS", r"IQ4_XS|Iq4Xs|iq4_xs",
     "engine/quant/iq4.h engine/quant/format.cc engine/ops/matmul/pack.cc engine/ops/matmul/pack_words.h "
     "engine/convert/write_model.cc engine/convert/type_choice.cc"),
    ("An architecture", "qwen3moe", r'"qwen3moe"|read_qwen3moe',
     "engine/arch/qwen.cc engine/arch/architecture.h engine/arch/registry.cc engine/convert/hf_architectures.cc "
     "tools/make_model/synthetic/synthetic_model.cc tools/make_model/synthetic/published_models.cc"),
    ("A weight", "attention sinks", r"kAttnSinks",
     "engine/model/weight_table.h engine/model/weight_table.cc engine/model/blocks/attention/attention.cc "
     "engine/convert/hf_weights.cc"),
    ("A block", "the gated delta net", r"\bdelta_net\b|blocks/delta_net/|\bkDeltaNet\b|\bDeltaNetSpec\b",
     "engine/model/blocks/delta_net/delta_net.h engine/model/blocks/delta_net/delta_net.cc engine/model/spec.h engine/model/weight_table.cc "
     "engine/model/forward.cc engine/model/ops.h engine/model/cpu_ops.h engine/model/cpu_ops_delta.cc "
     "engine/model/cpu_ops_trace.cc engine/model/recurrent_layout.cc engine/model/spec_facts.cc engine/arch/qwen35.cc "
     "engine/convert/hf_tensors.cc"),
    ("A mask", "keep_first", r"keep_first",
     "include/rowmax/mask.h attention/plan/spec.cc attention/plan/compile.cc attention/plan/check.cc attention/plan/cache.cc "
     "include/rowmax/rowmax.h attention/c_api/plan.cc bindings/python/native/core.h bindings/python/native/mask.cc "
     "bindings/python/src/rowmax/mask.py"),
    ("A type of keys and values", "fp8", r"kF8E4M3",
     "include/rowmax/view.h attention/layout_checks.cc attention/kernels/attend/packed_types.h "
     "attention/kernels/attend/tiles.h attention/kernels/stored_number.h attention/kernels/stream.h"),
    ("An instruction set", "NEON", r"[Nn]eon|NEON",
     "base/simd/width_neon.h base/simd/simd.h base/simd/simd_check.h base/simd/simd_check_neon.cc base/cpu.cc "
     "base/cpu_features.h base/cpu_features.cc base/isa_table.h include/rowmax/cpu.h attention/c_api/common.cc "
     "attention/kernels/attend/attend.h attention/kernels/attend/attend_isa.cc attention/kernels/attend/attend_neon.cc "
     "attention/kernels/attend_f64/attend_f64.h attention/kernels/attend_f64/attend_f64_isa.cc "
     "attention/kernels/attend_f64/attend_f64_neon.cc attention/kernels/softmax/softmax.h "
     "attention/kernels/softmax/softmax_isa.cc attention/kernels/softmax/softmax_neon.cc "
     "engine/ops/rows/row_kernels.cc engine/ops/rows/row_kernels_list.h engine/ops/rows/row_kernels_neon.cc "
     "engine/ops/delta/delta_kernels.cc engine/ops/delta/delta_kernels_list.h engine/ops/delta/delta_kernels_neon.cc "
     "engine/ops/matmul/kernel_tables.cc engine/ops/matmul/panel.h engine/ops/matmul/dot_neon.h "
     "engine/ops/matmul/matmul_neon.cc engine/ops/matmul/matmul_dotprod.cc engine/ops/matmul/matmul_i8mm.cc "
     "engine/ops/matmul/int8_kernel.h cmake/rowmax.cmake apps/cli/options.cc "
     "bindings/python/src/rowmax/_backend.py"),
    ("A backend", "the CPU", r"\bBackendKind\b|ROWMAX_BACKEND_CPU|\bCpuOps::create\b|class CpuOps\b",
     "include/rowmax/backend.h base/backend.cc include/rowmax/rowmax.h attention/c_api/common.cc "
     "engine/model/cpu_ops.h engine/model/cpu_ops.cc engine/model/make_ops.cc"),
]


def files_with(pattern):
    found = set()
    for folder in PRODUCT:
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if not path.is_file() or path.suffix not in (".h", ".cc", ".py", ".cmake") or NOT_PRODUCT.search(name):
                continue
            text = path.read_text(encoding="utf-8")
            if path.suffix != ".py":
                text = COMMENT.sub("", text)
            if re.search(pattern, text):
                found.add(name)
    return found


def sections():
    parts = re.split(r"^## (.*)$", (ROOT / "docs/adding.md").read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def named(path, text):
    """Whether a section names the file: by its name, as one of a pair (`x.{h,cc}`), or with <isa> or * in its name."""
    name, stem, suffix = Path(path).name, Path(path).stem, Path(path).suffix
    forms = [name, stem + ".{h,cc}", re.sub(r"neon|dotprod|i8mm|delta_net|qwen35|qwen|iq4", "<name>", stem) + suffix,
             re.sub(r"neon|dotprod|i8mm|delta_net|qwen35|qwen|iq4", "<name>", stem) + ".{h,cc}"]
    return any(form in text.replace("<isa>", "<name>") for form in forms)


def main():
    pages, findings = sections(), []
    for section, what, pattern, listed in CLAIMS:
        if section not in pages:
            findings.append(f"docs/adding.md has no section '{section}'")
            continue
        found, listed = files_with(pattern), set(listed.split())
        for name in sorted(found - listed):
            findings.append(f"{section}: {name} knows {what} by name, and is not listed")
        for name in sorted(listed - found):
            findings.append(f"{section}: {name} does not know {what} (any more)")
        for name in sorted(listed):
            if not named(name, pages[section]):
                findings.append(f"{section}: docs/adding.md does not name {name}")
    for finding in findings:
        print(finding)
    print(f"{len(CLAIMS)} sections, {len(findings)} findings")
    sys.exit(1 if findings else 0)


main()
