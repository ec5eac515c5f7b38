#!/usr/bin/env python3
"""Runs a Hugging Face folder with transformers and writes what every stage computes, for `rowmax compare --reference`.

    from_transformers.py FOLDER OUT.safetensors --tokens 1,2,3 [--dtype float32] [--config rope_theta=500000]
    from_transformers.py FOLDER OUT.safetensors --prompt "Once upon a time"

Needs torch and transformers. --config changes a value of config.json first: what a wrong one would look like. Beside the
stages that hooks see there are q, k and scores, from eager attention and the model's own function for RoPE."""
import argparse
import array
import hashlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import hf_stages  # noqa: E402
import reference_file  # noqa: E402


def floats(tensor):
    out = array.array("f")
    out.frombytes(tensor.detach().to("cpu").float().contiguous().numpy().tobytes())
    return out


class Hooks:
    """Records what the modules of a model get and give."""

    def __init__(self, model, stages):
        import torch

        self.stages, self.torch = stages, torch
        self.handles = []
        for path, module in model.named_modules():
            self.handles.append(module.register_forward_hook(self.hook(path), with_kwargs=True))
        self.patch_rope(model)

    def hook(self, path):
        def seen(module, args, kwargs, output):
            given = args[0] if args else kwargs.get("hidden_states")
            if self.torch.is_tensor(given) and given.is_floating_point():
                self.stages.record(path, "in", floats(given))
            first = output[0] if isinstance(output, tuple) else output
            if self.torch.is_tensor(first) and first.is_floating_point():
                bias = getattr(module, "bias", None)
                if path.endswith((".q_proj", ".k_proj")) and bias is not None:
                    first = first - bias  # q_raw and k_raw are the product alone
                self.stages.record(path, "out", floats(first))
            if path.endswith("self_attn") and isinstance(output, tuple) and self.torch.is_tensor(output[1]):
                layer = int(hf_stages.LAYER.match(path).group(1))
                self.stages.add("scores", layer, floats(output[1][0].transpose(0, 1)))  # [tokens, heads, keys]
        return seen

    def patch_rope(self, model):
        """q and k as they are used, [heads, tokens, dim] in the order of the layers that attend."""
        module = sys.modules[type(model).__module__]
        original = getattr(module, "apply_rotary_pos_emb", None)
        if original is None:
            return
        kinds = self.stages.config.get("layer_types") or [""] * self.stages.n_layer
        attending = iter([layer for layer, kind in enumerate(kinds) if kind != "linear_attention"])

        def turned(*args, **kwargs):
            q, k = original(*args, **kwargs)
            layer = next(attending)
            for stage, heads in (("q", q), ("k", k)):
                self.stages.add(stage, layer, floats(heads[0].transpose(0, 1)))
            return q, k

        module.apply_rotary_pos_emb = turned
        self.restore = lambda: setattr(module, "apply_rotary_pos_emb", original)

    def remove(self):
        for handle in self.handles:
            handle.remove()
        getattr(self, "restore", lambda: None)()


def run(model, tokens, path, **metadata):
    """model: a transformers model for causal language; its attention must be eager."""
    import torch

    config = model.config.get_text_config().to_dict()
    exact = next(model.parameters()).dtype == torch.float32
    reference = reference_file.Reference(tokens, producer="transformers", activations="f32" if exact else "rounded",
                                         kv_type="f32" if exact else "rounded", **metadata)
    stages = hf_stages.Stages(reference, config)
    hooks = Hooks(model, stages)
    try:
        with torch.no_grad():
            logits = model(torch.tensor([list(tokens)]), use_cache=False).logits
    finally:
        hooks.remove()
    reference.add("logits", None, floats(logits))
    reference.save(path)


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output")
    parser.add_argument("--tokens", help="token ids: 1,2,3")
    parser.add_argument("--prompt", help="a text, without special tokens added")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--config", action="append", default=[], metavar="KEY=VALUE")
    flags = parser.parse_args()
    if (flags.tokens is None) == (flags.prompt is None):
        parser.error("give one of --tokens and --prompt")
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(flags.folder)
    for pair in flags.config:
        key, _, value = pair.partition("=")
        target = config.get_text_config()
        if key.startswith("rope_") and isinstance(getattr(target, "rope_parameters", None), dict):
            target.rope_parameters[key] = parsed(value)
        else:
            setattr(target, key, parsed(value))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        flags.folder, config=config, dtype=getattr(torch, flags.dtype), attn_implementation="eager").eval()
    if flags.tokens is not None:
        tokens = [int(t) for t in flags.tokens.split(",")]
    else:
        tokens = transformers.AutoTokenizer.from_pretrained(flags.folder).encode(flags.prompt, add_special_tokens=False)
    digest = {f"source_sha256:{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
              for file in sorted(flags.folder.glob("*.safetensors"))}
    run(model, tokens, flags.output, source=str(flags.folder.name), **digest)


if __name__ == "__main__":
    main()
