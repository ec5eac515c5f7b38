#!/usr/bin/env python3
"""Turns what transformers' model debugger wrote into a reference for `rowmax compare`.

    with model_addition_debugger_context(model, debug_path="trace", do_prune_layers=False, use_repr=False):
        model(input_ids)
    from_debugger_json.py trace/LlamaForCausalLM_debug_tree_FULL_TENSORS.json CONFIG.json OUT.safetensors --tokens 1,2,3

use_repr=False, because the default writes tensors as they are printed, shortened with "...": such files are refused.
do_prune_layers=False keeps the layers between the first and the last. The tokens are taken from the trace where it has
them. q_raw and k_raw of models with biases on q and k (Qwen2) are left out: the debugger sees them with the bias."""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import hf_stages  # noqa: E402
import reference_file  # noqa: E402


def nodes(tree):
    yield tree
    for child in tree.get("children") or []:
        yield from nodes(child)


def first_tensor(value):
    """The first tensor of what a module got or gave."""
    if isinstance(value, dict):
        if "shape" in value and "value" in value:
            return value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            found = first_tensor(each)
            if found:
                return found
    return None


def load(tensor, folder):
    if isinstance(tensor["value"], list):
        raise SystemExit("the trace has tensors as they are printed; make it with use_repr=False")
    return read_file(folder / tensor["value"])


def read_file(path):
    _, values = reference_file.read_safetensors(path)["data"]
    return values


def tokens_of(tree, folder):
    for node in nodes(tree):
        if node["module_path"].endswith("embed_tokens"):
            return [int(t) for t in load(first_tensor(node["inputs"]), folder)]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=pathlib.Path)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("output")
    parser.add_argument("--tokens", help="token ids, where the trace has none: 1,2,3")
    flags = parser.parse_args()
    tree = json.loads(flags.trace.read_text())
    config = json.loads(flags.config.read_text())
    folder = flags.trace.parent
    tokens = [int(t) for t in flags.tokens.split(",")] if flags.tokens else tokens_of(tree, folder)
    if not tokens:
        raise SystemExit("the trace has no embed_tokens with token ids; give --tokens")
    biased = config.get("model_type") == "qwen2" or config.get("attention_bias")
    exact = "float32" in str(config.get("dtype", config.get("torch_dtype")))
    reference = reference_file.Reference(tokens, producer="transformers debugger",
                                         activations="f32" if exact else "rounded", kv_type="f32" if exact else "rounded")
    stages = hf_stages.Stages(reference, config)
    for node in nodes(tree):
        path = node["module_path"].partition(".")[2]  # without the class's name
        if biased and path.endswith((".q_proj", ".k_proj")):
            continue
        for side in ("inputs", "outputs"):
            tensor = first_tensor(node.get(side))
            if path and tensor and "float" in tensor["dtype"] and not path.endswith("rotary_emb"):
                stages.record(path, side.removesuffix("puts"), load(tensor, folder))
    reference.save(flags.output)


if __name__ == "__main__":
    main()
