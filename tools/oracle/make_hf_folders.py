#!/usr/bin/env python3
"""Writes engine/convert/testdata: tiny Hugging Face folders and what must come out of them.

    pip install torch transformers safetensors tokenizers gguf numpy
    python3 tools/oracle/make_hf_folders.py OUT_DIR

config.json, generation_config.json and model.safetensors are transformers' own (save_pretrained, bf16), tokenizer.json
is `tokenizers`'. expected.txt comes from the same weights by the functions of make_goldens.py, whose files are checked
against transformers' logits: GGUF written by PyPI's gguf, read back, and each key and tensor put down as a line:

    key NAME VALUE
    tensor NAME SHAPE FNV1A64-OF-F32-BYTES
    ternary NAME SHAPE FNV1A64-OF-SIGNS(1 byte each) SCALE
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

import numpy as np

import make_goldens as goldens

goldens.N_VOCAB = 280
COMMON = dict(n_embd=16, n_layer=2, n_head=2, n_kv_head=1, n_ff=24)
CASES = {
    "llama": dict(arch="llama", seed=31, head_dim=12, eps=1e-5, base=100.0, tied=False, shards=True,
                  llama3=dict(factor=8.0, low=1.0, high=4.0, original=64), **COMMON),
    "llama_bias": dict(arch="llama", seed=32, head_dim=8, eps=1e-5, base=10000.0, bias="qkvo", tied=True, **COMMON),
    "qwen2": dict(arch="qwen2", seed=33, head_dim=8, eps=1e-6, base=1e6, bias="qkv", tied=True, **COMMON),
    "qwen3": dict(arch="qwen3", seed=34, head_dim=12, eps=1e-6, base=1e6, qk_norm=True, tied=True,
                  yarn=dict(factor=4.0, original=64), **COMMON),
    "gemma2": dict(arch="gemma2", seed=35, head_dim=8, eps=1e-6, base=10000.0, window=24, attn_softcap=50.0,
                   final_softcap=30.0, tied=True, **COMMON),
    "gemma3": dict(arch="gemma3", seed=36, head_dim=12, eps=1e-6, base=1e6, window=24, qk_norm=True, linear=8.0,
                   tied=True, **(COMMON | dict(n_layer=7))),
    "bitnet": dict(arch="bitnet-b1.58", seed=37, head_dim=8, eps=1e-5, base=500000.0, tied=True, ternary="master",
                   **COMMON),
    "bitnet_packed": dict(arch="bitnet-b1.58", seed=38, head_dim=8, eps=1e-5, base=500000.0, tied=True,
                          ternary="multiply", **COMMON),
    "llama_packed": dict(arch="llama", seed=39, head_dim=8, eps=1e-5, base=10000.0, tied=True, ternary="divide",
                         **COMMON),
}


def bf16(x):
    import torch

    return torch.from_numpy(np.ascontiguousarray(x)).to(torch.bfloat16)


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def is_matrix(name):
    return name.endswith("_proj.weight")


def ternary_weights(weights, c):
    """(what the folder holds, what the model multiplies with), by transformers' rules (integrations/bitnet.py)."""
    import torch
    from transformers.integrations.bitnet import pack_weights

    stored, meant = {}, {}
    for name, x in weights.items():
        if not is_matrix(name):
            stored[name], meant[name] = bf16(x), x
            continue
        w = torch.from_numpy(x)
        if c["ternary"] == "master":
            scale = 1.0 / w.abs().mean().clamp_(min=1e-5)
            stored[name] = bf16(x)
            meant[name] = ((w * scale).round().clamp(-1, 1) / scale).numpy()
            continue
        codes = torch.sign(w) * (w.abs() > 0.5 * w.abs().mean())
        factor = torch.tensor([0.375 + 0.125 * (len(stored) % 5)], dtype=torch.bfloat16)
        stored[name] = pack_weights(codes.to(torch.int8).clone())
        stored[name + "_scale"] = factor
        meant[name] = (codes * factor.float() if c["ternary"] == "multiply" else codes / factor.float()).numpy()
    return stored, meant


def hf_model(c):
    import torch
    import transformers

    config = goldens.hf_config(c)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()
              if not (c["tied"] and k == "lm_head.weight")}
    weights = goldens.random_weights(shapes, c["arch"].startswith("gemma"), c["seed"])
    weights = {k: bf16(v).float().numpy() for k, v in weights.items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    model.tie_weights()
    return model, weights


def write_folder(path, c):
    import torch
    from safetensors.torch import save_file

    model, weights = hf_model(c)
    meant = weights
    shard = dict(max_shard_size="12KB") if c.get("shards") else {}
    model.to(torch.bfloat16).save_pretrained(path, **shard)
    if "ternary" in c:
        stored, meant = ternary_weights(weights, c)
        save_file(stored, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
        linear, mode = {"master": ("autobitlinear", "online"), "multiply": ("autobitlinear", "offline"),
                        "divide": ("bitlinear", "offline")}[c["ternary"]]
        config_path = os.path.join(path, "config.json")
        with open(config_path) as file:
            config = json.load(file)
        config["quantization_config"] = dict(quant_method="bitnet", linear_class=linear, quantization_mode=mode,
                                             modules_to_not_convert=None)
        with open(config_path, "w") as file:
            json.dump(config, file, indent=1)
    return meant


def write_tokenizer(path):
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    tokens, merges = goldens.tokenizer()
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in goldens.SPECIALS])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.save(os.path.join(path, "tokenizer.json"), pretty=False)


TEXTS = ["the other word", " the  and\n\nthat's 12 is!", "how said an each she\u0301", "", "<|im_start|>the<|im_end|> at",
         "\u4e2d\U0001F600 the", "   ", "thethethe andand", "x<|endoftext|>"]


def write_spm_tokenizer(path):
    """A tokenizer as transformers makes them from SentencePiece models: every pair of pieces whose text is a piece is
    a merge, by the piece's place."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    words = ["\u2581" + w for w in goldens.MERGE_SOURCE.split()]
    pieces = sorted({w[:n] for w in words for n in range(2, len(w) + 1)} | {w[1:n] for w in words for n in range(3, len(w) + 1)},
                    key=lambda w: (len(w), w))
    letters = sorted({c for w in words for c in w})
    vocab = ["<unk>", *goldens.SPECIALS, "\u2581\u2581", *["<0x%02X>" % b for b in range(256)], *pieces, *letters]
    ids = {t: i for i, t in enumerate(vocab)}
    merges = [(p[:n], p[n:]) for p in pieces for n in range(1, len(p)) if p[:n] in ids and p[n:] in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ["<unk>", *goldens.SPECIALS]])
    tokenizer.add_tokens([AddedToken("\u2581\u2581", special=False, normalized=True)])
    tokenizer.save(os.path.join(path, "spm_tokenizer.json"), pretty=False)


def write_ids(path):
    """What `tokenizers` makes of TEXTS: a line of ids for each, bytes first, then the other tokenizer's."""
    from tokenizers import Tokenizer

    for name in ("tokenizer", "spm_tokenizer"):
        tokenizer = Tokenizer.from_file(os.path.join(path, name + ".json"))
        with open(os.path.join(path, name + "_ids.txt"), "w") as file:
            for text in TEXTS:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                file.write(text.encode().hex() + ";" + " ".join(map(str, ids)) + "\n")


# Texts where the flags of an added token (the ends, spaces of all kinds, words around it) or the place of the first
# space matter.
EDGE_TEXTS = ["cat", "concatenate cat  cat, cat", "cat_ _cat cat1 1cat", " \n cat \u00a0\u3000cat\u3000 the", "\u00e9cat cat\u00e9",
              "catcat cat  ", "<|im_end|>  cat  <|im_end|>  the"]
SPACE_TEXTS = ["the word", " the word", "  the", "<|im_start|>the word<|im_end|> the", " <|im_start|> the", "\u2581the"]


def write_variants(path):
    """The same with an added token of each combination of flags, and with Metaspace in each scheme: a line a text,
    which variant; bytes; ids."""
    import json

    from tokenizers import Tokenizer

    def ids_of(tokenizer, text):
        return " ".join(map(str, Tokenizer.from_str(json.dumps(tokenizer)).encode(text, add_special_tokens=False).ids))

    def stored(name):
        with open(os.path.join(path, name + ".json")) as file:
            return json.load(file)

    with open(os.path.join(path, "variant_ids.txt"), "w") as file:
        for flags in range(8):
            tokenizer = stored("tokenizer")
            tokenizer["added_tokens"].append({"id": 280, "content": "cat", "lstrip": bool(flags & 1), "rstrip": bool(flags & 2),
                                              "single_word": bool(flags & 4), "normalized": False, "special": False})
            for text in EDGE_TEXTS:
                file.write(f"{flags};{text.encode().hex()};{ids_of(tokenizer, text)}\n")
        for scheme in ("first", "always", "never"):
            tokenizer = stored("spm_tokenizer")
            tokenizer["normalizer"] = None
            tokenizer["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}
            del tokenizer["model"]["vocab"][tokenizer["added_tokens"].pop()["content"]]
            for text in SPACE_TEXTS:
                file.write(f"{scheme};{text.encode().hex()};{ids_of(tokenizer, text)}\n")


def lines_of(gguf_path):
    import gguf

    reader = gguf.GGUFReader(gguf_path)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name.startswith("general.") and name != "general.architecture":
            continue
        value = field.contents()
        if isinstance(value, list):
            value = "%d:%016x" % (len(value), fnv1a("\0".join(map(str, value)).encode()))
        elif isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float):
            value = "%.9g" % value
        yield f"key {name} {value}"
    for tensor in reader.tensors:
        x = np.ascontiguousarray(tensor.data, dtype="<f4")
        shape = "x".join(str(int(n)) for n in tensor.shape)
        magnitudes = set(np.abs(x[x != 0]).ravel().tolist())
        if x.ndim == 2 and len(magnitudes) == 1:
            signs = np.sign(x).astype(np.int8).tobytes()
            yield f"ternary {tensor.name} {shape} {fnv1a(signs):016x} {magnitudes.pop():.9g}"
        else:
            yield f"tensor {tensor.name} {shape} {fnv1a(x.tobytes()):016x}"


def make(name, out_dir):
    c = CASES[name]
    path = os.path.join(out_dir, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    meant = write_folder(path, c)
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        goldens.write_gguf(file.name, name, c, meant)
        with open(os.path.join(path, "expected.txt"), "w") as out:
            out.write("".join(line + "\n" for line in lines_of(file.name)))
    print(name, sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path)), "bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out_dir")
    p.add_argument("--only", choices=[*CASES, "tokenizers"])
    args = p.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)
    write_tokenizer(args.out_dir)
    write_spm_tokenizer(args.out_dir)
    write_ids(args.out_dir)
    write_variants(args.out_dir)
    if args.only == "tokenizers":
        return
    import transformers

    transformers.utils.logging.set_verbosity_error()
    for name in [args.only] if args.only else CASES:
        make(name, args.out_dir)
    print({m: sys.modules[m].__version__ for m in ("numpy", "torch", "transformers", "tokenizers", "safetensors")})


if __name__ == "__main__":
    main()
