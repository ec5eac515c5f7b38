#!/usr/bin/env python3
"""Turns what llama.cpp's llama-eval-callback printed into a reference for `rowmax compare`.

    llama-eval-callback -m MODEL.gguf -p "..." -fa off > eval.txt
    from_llama_eval.py eval.txt OUT.safetensors --tokens 1,2,3

It prints three numbers from either end of each row and four decimals of each, unless it was built with another limit (the
argument 3 of common_debug_print_tensor in common/debug.cpp): tensors that are shortened with "..." are refused.
llama_cpp_dump.cpp beside this file writes them whole."""
import argparse
import array
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import reference_file  # noqa: E402

HEAD = re.compile(r"^\S+:\s+(\S.*?) = \((\w+)\)\s+(\w+)\(.*\) = \{(\d+), (\d+), (\d+), (\d+)\}\s*$")
WHOLE = {"inp_embd": "embedding", "embd": "embedding", "result_norm": "output_norm", "result_output": "logits"}
OF_LAYER = {"attn_norm": "attn_norm", "kq_soft_max": "scores", "kqv_out": "attn_out", "attn_out": "mixer_out",
            "ffn_norm": "ffn_norm", "ffn_gate": "gate", "ffn_up": "up", "ffn_swiglu": "act", "ffn_geglu": "act",
            "ffn_gate_par": "act", "ffn_out": "block_out", "l_out": "residual"}
# q and k appear several times under one name: behind the product, the bias, RoPE.
BY_OPERATION = {("Qcur", "MUL_MAT"): "q_raw", ("Qcur", "ROPE"): "q", ("Kcur", "MUL_MAT"): "k_raw", ("Kcur", "ROPE"): "k",
                ("Vcur", "MUL_MAT"): "v", ("Vcur", "ADD"): "v"}


def stage_of(name, operation):
    if name in WHOLE:
        return WHOLE[name], None
    head, dash, layer = name.rpartition("-")
    if not dash or not layer.isdigit():
        return None, None
    return OF_LAYER.get(head) or BY_OPERATION.get((head, operation)), int(layer)


def tensors(lines):
    """(name, operation, dimensions with the fastest first, numbers or None where they are shortened)."""
    current, numbers = None, []
    for line in lines:
        found = HEAD.match(line)
        if found:
            current, numbers = found, []
        elif current and "sum =" in line:
            yield current.group(1), current.group(3), [int(current.group(i)) for i in range(4, 8)], numbers
            current = None
        elif current and numbers is not None:
            numbers = None if "..." in line else numbers + [float(x) for x in re.findall(r"-?(?:\d[\d.e+-]*|inf|nan)", line)]


def rows(numbers, dims, n_token, is_scores):
    """As [tokens][width]; None for another shape."""
    n0, n1, n2, n3 = dims
    if n3 != 1:
        return None
    if is_scores:  # [keys, tokens, heads], keys padded
        at = lambda token, head, key: numbers[(head * n1 + token) * n0 + key]  # noqa: E731
        return [at(t, h, k) for t in range(n_token) for h in range(n2) for k in range(n_token)]
    return numbers if n2 == n_token or (n1 == n_token and n2 == 1) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("output")
    parser.add_argument("--tokens", required=True, help="the prompt's token ids: 1,2,3")
    flags = parser.parse_args()
    tokens = [int(t) for t in flags.tokens.split(",")]
    reference = reference_file.Reference(tokens, producer="llama-eval-callback", activations="printed")
    found, moe_layers = {}, set()
    for name, operation, dims, numbers in tensors(flags.text.read_text().splitlines()):
        stage, layer = stage_of(name, operation)
        if name.startswith("ffn_moe_"):
            moe_layers.add(layer)
        if stage is None:
            continue
        if numbers is None:
            raise SystemExit(f"{name} is shortened with \"...\": print it whole, or use llama_cpp_dump.cpp")
        values = rows(numbers, dims, len(tokens), stage == "scores")
        if values is not None:
            found[stage, layer] = values  # a bias comes behind its product
    for (stage, layer), values in found.items():
        if layer in moe_layers and stage in ("gate", "up", "act"):  # a layer of experts gives its shared one these names
            stage = "shared." + stage
        reference.add(stage, layer, array.array("f", values))
    reference.save(flags.output)


if __name__ == "__main__":
    main()
