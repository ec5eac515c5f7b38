#!/usr/bin/env python3
"""Writes a checkpoint of train.py as GGUF: architecture bitnet-b1.58, I2_S weights, F16 embedding (also the head).

    tools/train/export.py --work DIR --out models/stories.gguf

I2_S (type 36, the layout of 128): a tensor's codes, row-major, in blocks of 128 elements and 32 bytes; byte p holds the
elements p, 32 + p, 64 + p, 96 + p in bits 7:6, 5:4, 3:2, 1:0; code = value + 1. After the n / 4 bytes of codes follow
32 bytes, the first four of them the tensor's scale (f32, little-endian), the rest zero. Needs numpy, torch, tokenizers.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch

from model import BitLinear, Config, Stories, ternary

ALIGNMENT = 32
F32, F16, I2_S = 0, 1, 36
FILE_TYPE_I2_S = 40
U32_, F32_, BOOL_, STRING_, ARRAY_, I32_ = 4, 6, 7, 8, 9, 5
# The last message is the whole prompt: the beginning of a story, or a title ("a story about a fox and a kite"), behind
# which the story follows after an empty line.
CHAT_TEMPLATE = ("{% set text = messages[-1]['content'] | trim %}{{ bos_token }}{{ text }}"
                 "{% if 'story' in text or 'tale' in text %}{{ '\n\n' }}{% endif %}")


def encode_i2_s(values, scale):
    """values: -1, 0, 1 in row-major order, a multiple of 128 -> bytes."""
    codes = (np.asarray(values).reshape(-1, 4, 32) + 1).astype(np.uint8)
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    return packed.tobytes() + struct.pack("<f", scale) + bytes(28)


def check_i2_s():
    """The layout's published vectors."""
    def block(values):
        return encode_i2_s(np.array(values), 1.0)[:32]

    one = [0] * 128
    one[37] = 1
    assert block([0] * 128) == b"\x55" * 32 and block([1] * 128) == b"\xaa" * 32 and block([-1] * 128) == b"\x00" * 32
    assert block([1] * 32 + [0] * 32 + [-1] * 32 + [1] * 32) == b"\x92" * 32
    assert block(one) == b"\x55" * 5 + b"\x65" + b"\x55" * 26
    assert encode_i2_s(np.zeros(128), 0.75)[32:] == struct.pack("<f", 0.75) + bytes(28)


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, value):
    """One metadata entry; an array is (element kind, values)."""
    head = text(key) + struct.pack("<I", kind)
    if kind == STRING_:
        return head + text(value)
    if kind == ARRAY_:
        element, values = value
        body = b"".join(text(v) for v in values) if element == STRING_ else np.asarray(values, "<i4").tobytes()
        return head + struct.pack("<IQ", element, len(values)) + body
    return head + struct.pack({U32_: "<I", F32_: "<f", BOOL_: "<?"}[kind], value)


def metadata(config, tokenizer_json):
    model = json.loads(tokenizer_json)["model"]
    tokens = [t for t, _ in sorted(model["vocab"].items(), key=lambda kv: kv[1])]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    a = "bitnet-b1.58."
    return [
        entry("general.architecture", STRING_, "bitnet-b1.58"), entry("general.name", STRING_, "rowmax stories"),
        entry("general.license", STRING_, "apache-2.0"), entry("general.file_type", U32_, FILE_TYPE_I2_S),
        entry("general.quantization_version", U32_, 2),
        entry(a + "vocab_size", U32_, config.vocab), entry(a + "context_length", U32_, config.context),
        entry(a + "embedding_length", U32_, config.width), entry(a + "block_count", U32_, config.layers),
        entry(a + "feed_forward_length", U32_, config.ffn), entry(a + "rope.dimension_count", U32_, config.head_dim),
        entry(a + "rope.freq_base", F32_, config.rope_base), entry(a + "attention.head_count", U32_, config.heads),
        entry(a + "attention.head_count_kv", U32_, config.kv_heads),
        entry(a + "attention.layer_norm_rms_epsilon", F32_, config.eps),
        entry("tokenizer.ggml.model", STRING_, "gpt2"), entry("tokenizer.ggml.pre", STRING_, "gpt-2"),
        entry("tokenizer.ggml.tokens", ARRAY_, (STRING_, tokens)),
        entry("tokenizer.ggml.token_type", ARRAY_, (I32_, [3, 3] + [1] * (len(tokens) - 2))),
        entry("tokenizer.ggml.merges", ARRAY_, (STRING_, merges)),
        entry("tokenizer.ggml.bos_token_id", U32_, 0), entry("tokenizer.ggml.eos_token_id", U32_, 1),
        entry("tokenizer.ggml.padding_token_id", U32_, 1), entry("tokenizer.ggml.add_bos_token", BOOL_, True),
        entry("tokenizer.chat_template", STRING_, CHAT_TEMPLATE),
    ]


def tensors(model):
    """[(name, dimensions fastest first, type, bytes)]."""
    out = []
    ternary_names = {n + ".weight" for n, m in model.named_modules() if isinstance(m, BitLinear)}
    for name, parameter in model.named_parameters():
        shape = list(reversed(parameter.shape))
        gguf_name = name if name.endswith(".weight") else name + ".weight"
        if name in ternary_names:
            values, scale = ternary(parameter.detach().float())
            out.append((gguf_name, shape, I2_S, encode_i2_s(values.numpy(), scale.item())))
        elif name == "token_embd":
            out.append((gguf_name, shape, F16, parameter.detach().half().numpy().tobytes()))
        else:
            out.append((gguf_name, shape, F32, parameter.detach().float().numpy().tobytes()))
    return out


def write(path, entries, items):
    infos, offset = [], 0
    for name, shape, kind, data in items:
        infos.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
        offset += len(data) + -len(data) % ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(items), len(entries)) + b"".join(entries) + b"".join(infos)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for _, _, _, data in items:
            file.write(data + bytes(-len(data) % ALIGNMENT))


def load_model(work):
    state = torch.load(Path(work) / "checkpoint.pt", weights_only=False)
    model = Stories(Config(**state["config"]))
    model.load_state_dict(state["model"])
    return model, state


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="train.py's folder")
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args()
    torch.set_num_threads(1)
    check_i2_s()
    model, state = load_model(args.work)
    write(args.out, metadata(model.config, (args.work / "tokenizer.json").read_text()), tensors(model))
    print(f"{args.out}: {args.out.stat().st_size} bytes, step {state['step']}, {state['tokens']} tokens seen")


if __name__ == "__main__":
    main()
