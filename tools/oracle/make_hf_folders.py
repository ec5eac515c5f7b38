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

mxfp4.txt, where experts are packed: each such tensor and FNV1A64 of its bytes in GGUF.

expected_mtp.txt, where a folder has a block that predicts a further token: the same with that block kept. The folders
of the Qwen3 and Qwen3.5 families also hold logits.golden (the layout of make_goldens.py): transformers' logits in f32
from the weights as the folder has them.
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
    # Falcon-E and Falcon3-1.58bit: the other forms of transformers' bitnet quantisation. Master weights; codes as floats
    # beside their scale; a norm in front of each packed product; master weights of which the configuration says nothing.
    "llama_online": dict(arch="llama", seed=45, head_dim=8, eps=1e-5, base=10000.0, tied=True, ternary="master", **COMMON),
    "llama_float_codes": dict(arch="llama", seed=46, head_dim=8, eps=1e-5, base=10000.0, tied=True, ternary="float_codes",
                              **COMMON),
    "llama_rms": dict(arch="llama", seed=47, head_dim=8, eps=1e-5, base=10000.0, tied=True, ternary="rms_divide",
                      product_norms="rms_norm", **COMMON),
    "llama_prequantized": dict(arch="llama", seed=48, head_dim=8, eps=1e-5, base=10000.0, tied=True, ternary="silent",
                               **COMMON),
    # BitNet's embedding models, as published: the trunk alone, master weights, norms in front of products, the pooling.
    "bitnet_embed": dict(arch="qwen3", seed=49, head_dim=12, eps=1e-6, base=1e6, qk_norm=True, tied=True, ternary="silent",
                         product_norms="norm", trunk=True, pooling=3, **COMMON),
    "bitnet_embed_gemma3": dict(arch="gemma3", seed=50, head_dim=12, eps=1e-6, base=10000.0, window=24, qk_norm=True,
                                linear=8.0, tied=True, ternary="silent", product_norms="norm", trunk=True, pooling=1,
                                **COMMON),
    "phi3": dict(arch="phi3", seed=44, head_dim=8, eps=1e-5, base=10000.0, tied=True, logits=True, rotary=0.5,
                 longrope=dict(original=64), **COMMON),
    "qwen3moe": dict(arch="qwen3moe", seed=40, head_dim=12, eps=1e-6, base=1e6, qk_norm=True, tied=True, logits=True,
                     experts=dict(E=5, used=2, ff=12), **COMMON),
    "qwen35": dict(arch="qwen35", seed=41, head_dim=16, eps=1e-6, base=10000.0, tied=False, logits=True,
                   delta=dict(n_k=2, n_v=6, d_k=4, d_v=4, kernel=4), rotary=0.25, sections=[1, 1, 0],
                   **(COMMON | dict(n_layer=4))),
    "smollm3": dict(arch="smollm3", seed=43, head_dim=8, eps=1e-6, base=2e6, tied=True, logits=True,
                    **(COMMON | dict(n_layer=4))),
    "smollm3_listed": dict(arch="smollm3", seed=44, head_dim=8, eps=1e-6, base=2e6, bias="qkvo", tied=False, turns=[1, 0, 0],
                           **(COMMON | dict(n_layer=3))),
    "granite": dict(arch="granite", seed=45, head_dim=8, eps=1e-5, base=10000.0, tied=True, bias="qkvo", logits=True,
                    scales=dict(attention=0.25, embedding=1.75, residual=0.22, logits=6.0), **COMMON),
    "ministral3": dict(arch="mistral3", seed=46, head_dim=12, eps=1e-5, base=1e6, tied=True, logits=True,
                       yarn=dict(factor=16.0, original=16, beta_fast=32.0, beta_slow=1.0, all_dim=1.0, temperature=0.1),
                       **COMMON),
    "minicpm": dict(arch="minicpm", seed=47, head_dim=8, eps=1e-5, base=10000.0, tied=True, logits=True,
                    scales=dict(attention=8**-0.5, embedding=2.5, residual=1.4 / 2**0.5, logits=4.0), **COMMON),
    "minicpm_long": dict(arch="minicpm", seed=50, head_dim=8, eps=1e-5, base=10000.0, tied=True, logits=True, rotary=1.0,
                         longrope=dict(original=16), scales=dict(attention=8**-0.5, embedding=2.5, residual=1.4 / 2**0.5,
                         logits=4.0), **COMMON),
    "hunyuan": dict(arch="hunyuan-dense", seed=48, head_dim=12, eps=1e-5, base=100.0, alpha=7.0, tied=True, bias="qkvo",
                    logits=True, **COMMON),
    "olmo2": dict(arch="olmo2", seed=49, head_dim=8, eps=1e-5, base=500000.0, tied=False, bias="qkvo", logits=True, **COMMON),
    # As published: a text model inside another, experts in two tensors a layer, a block that predicts a further token.
    "qwen35moe": dict(arch="qwen35moe", seed=42, head_dim=16, eps=1e-6, base=10000.0, tied=True, logits=True,
                      delta=dict(n_k=2, n_v=4, d_k=4, d_v=4, kernel=4), rotary=0.25, sections=[1, 1, 0], interval=2,
                      layers="rara", experts=dict(E=5, used=2, ff=12, shared=8), mtp=True, nested=True,
                      **{k: v for k, v in (COMMON | dict(n_layer=4)).items() if k != "n_ff"}),
}
# The FFN's width by the rule: 24 of 36 times 1.3, up to a multiple of 8.
CASES |= {
    "lfm2": dict(arch="lfm2", seed=51, head_dim=8, eps=1e-5, base=1e6, tied=True, logits=True, layers="cca", taps=3,
                 said=dict(intermediate_size=36, block_ffn_dim_multiplier=1.3, block_multiple_of=8),
                 **(COMMON | dict(n_layer=3, n_ff=32))),
    "lfm2moe": dict(arch="lfm2moe", seed=53, head_dim=8, eps=1e-5, base=1e6, tied=True, logits=True, layers="cac", taps=4,
                    dense=1, experts=dict(E=5, used=2, ff=12), **(COMMON | dict(n_layer=3))),
}
OSS = dict(arch="gpt-oss", n_embd=32, n_layer=2, n_head=4, n_kv_head=2, head_dim=12, n_ff=32, eps=1e-5, base=10000.0, window=20,
           bias="qkvo", yarn=dict(factor=8.0, original=32, beta_fast=6.5, beta_slow=0.75), experts=dict(E=5, used=2, ff=32),
           logits=True)
CASES |= {"gptoss": dict(OSS, seed=43), "gptoss_mxfp4": dict(OSS, seed=44, mxfp4=True)}
GEMMA4 = dict(arch="gemma4", n_embd=16, n_head=2, n_kv_head=2, n_ff=24, eps=1e-6, base=1e6, local_base=10000.0, window=20,
              rotary=0.25, tied=True, logits=True, unused=False)
# As published: a text model inside another, with k and v in layers that read those of others.
CASES |= {"gemma4": dict(GEMMA4, seed=45, n_layer=5, head_dim=8, global_dim=16, local="11010", shared=2, wide=True, side=6,
                         final_softcap=30.0, nested=True),
          "gemma4_moe": dict(GEMMA4, seed=47, n_layer=2, head_dim=8, global_dim=16, local="10", global_kv=1, final_softcap=30.0,
                             nested=True, experts=dict(E=5, used=2, ff=12)),
          "gemma4_vk": dict(GEMMA4, seed=46, n_layer=3, head_dim=12, global_dim=16, local="110", global_kv=1)}
# Attention over latents. GLM-4.7-Flash as published: with a layer that predicts a further token behind the last one.
LATENT = dict(arch="deepseek2", n_embd=16, n_layer=3, n_head=2, n_kv_head=2, head_dim=4, nope=6, v_dim=10, rank=12, n_ff=24,
              eps=1e-6, base=10000.0, tied=False, logits=True)
CASES |= {"deepseek_v2": dict(LATENT, cls="DeepseekV2", seed=57,
                              experts=dict(E=8, used=3, ff=12, shared=2, dense=1, groups=4, best=2, scale=1.5)),
          "deepseek_v3": dict(LATENT, cls="DeepseekV3", seed=52, q_rank=14,
                              yarn=dict(factor=8.0, original=16, beta_fast=4.0, beta_slow=1.0, mscale=0.8),
                              experts=dict(E=8, used=2, ff=12, shared=1, dense=1, groups=4, best=2, scale=2.5)),
          "glm4_moe_lite": dict(LATENT, cls="Glm4MoeLite", seed=53, q_rank=14, ahead=True,
                                experts=dict(E=6, used=2, ff=12, shared=1, dense=1, groups=1, best=1, scale=1.75))}
N_LOGIT_TOKENS, LOGIT_ROWS = 48, [0, 1, 2, 3, 4, 16, 31, 47]


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
        if c["ternary"] in ("master", "silent"):
            scale = 1.0 / w.abs().mean().clamp_(min=1e-5)
            stored[name] = bf16(x)
            meant[name] = ((w * scale).round().clamp(-1, 1) / scale).numpy()
            continue
        codes = torch.sign(w) * (w.abs() > 0.5 * w.abs().mean())
        factor = torch.tensor([0.375 + 0.125 * (len(stored) % 5)], dtype=torch.bfloat16)
        packed = c["ternary"] != "float_codes"
        stored[name] = pack_weights(codes.to(torch.int8).clone()) if packed else codes.to(torch.bfloat16)
        stored[name + "_scale"] = factor
        divide = c["ternary"].endswith("divide")
        meant[name] = (codes / factor.float() if divide else codes * factor.float()).numpy()
        check_module(c, stored[name], factor, meant[name])
    return stored, meant


def pack_mxfp4(weights, c):
    """Random blocks and scales in place of the experts' matrices: those tensors; weights become what transformers makes
    of them, but for zeros with a sign, which GGUF's format does not have."""
    import torch
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    rng, packed = np.random.default_rng(3000 + c["seed"]), {}
    for name, x in weights.items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            continue
        n, cols, rows = x.shape
        blocks = torch.from_numpy(rng.integers(0, 256, (n, rows, cols // 32, 16), dtype=np.uint8))
        scales = torch.from_numpy(rng.integers(122, 127, (n, rows, cols // 32), dtype=np.uint8))
        weights[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).numpy().reshape(x.shape) + 0.0
        packed |= {name + "_blocks": blocks, name + "_scales": scales}
    return packed


def write_mxfp4(path, packed, c):
    """The bytes of GGUF: a block's scale, then its numbers j and j + 16 in the halves of byte j."""
    with open(os.path.join(path, "mxfp4.txt"), "w") as file:
        for name, blocks in packed.items():
            if not name.endswith("_blocks"):
                continue
            whole = goldens.gguf_name(name.removesuffix("_blocks").replace("gate_up", "down"), c)
            blocks, scales = blocks.numpy(), packed[name.replace("_blocks", "_scales")].numpy()
            for i, part in enumerate(("gate", "up") if "gate_up" in name else ("down",)):
                step = 2 if "gate_up" in name else 1
                own = blocks[:, i::step]
                codes = np.stack([own & 15, own >> 4], axis=-1).reshape(*own.shape[:-1], 32)
                rows = np.concatenate([scales[:, i::step, :, None], codes[..., :16] | codes[..., 16:] << 4], axis=-1)
                tensor = whole.replace("down", part)
                file.write(f"{tensor} {fnv1a(rows.astype(np.uint8).tobytes()):016x}\n")


def save_packed(path, packed):
    from safetensors.torch import load_file, save_file

    model_path, config_path = os.path.join(path, "model.safetensors"), os.path.join(path, "config.json")
    stored = {k: v for k, v in load_file(model_path).items() if k + "_blocks" not in packed}
    save_file(stored | packed, model_path, metadata={"format": "pt"})
    with open(config_path) as file:
        config = json.load(file)
    config["quantization_config"] = dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "lm_head"])
    with open(config_path, "w") as file:
        json.dump(config, file, indent=1)


def check_module(c, stored, factor, meant):
    """transformers' own layer with what the folder has multiplies with what is meant, its input rounded by token."""
    import torch
    from transformers.integrations.bitnet import AutoBitLinear, BitLinear, unpack_weights

    rows, cols = meant.shape
    if c["ternary"].endswith("divide"):
        layer = BitLinear(cols, rows, False, dtype=torch.float32)
        layer.weight, layer.weight_scale = stored, factor.float()
    else:
        layer = AutoBitLinear(cols, rows, False, dtype=torch.float32)
        packed = stored.dtype == torch.uint8  # which BitNetDeserialize unpacks
        layer.weight.data = unpack_weights(stored, torch.float32) if packed else stored.float()
        layer.weight_scale = factor.float()
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((5, cols)).astype(np.float32))
    scale = 127 / x.abs().max(dim=-1, keepdim=True).values
    want = (x * scale).round() / scale @ torch.from_numpy(meant).float().T
    with torch.no_grad():
        assert float((layer(x) - want).abs().max()) < 1e-4 * float(want.abs().max())


def hf_model(c, to_stored):
    import torch
    import transformers

    config = goldens.hf_config(c)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if c.get("product_norms"):
        goldens.norm_products(model, c["eps"])
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()
              if not (c.get("tied") and k == "lm_head.weight")}
    weights = goldens.random_weights(shapes, c["arch"], c["seed"])
    weights = {k: to_stored(v).float().numpy() for k, v in weights.items()}
    packed = pack_mxfp4(weights, c) if c.get("mxfp4") else {}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    model.tie_weights()
    model.eval()
    if c.get("mtp"):
        ahead = goldens.random_weights(goldens.mtp_shapes(c, shapes), c["arch"], 1000 + c["seed"])
        weights |= {k: to_stored(v).float().numpy() for k, v in ahead.items()}
    return model, weights, packed


def rewrite(path, c, weights, to_stored):
    """The saved folder with the tensors that the model class leaves out and, for `nested`, in the published form."""
    import torch
    from safetensors.torch import load_file, save_file

    model_path, config_path = os.path.join(path, "model.safetensors"), os.path.join(path, "config.json")
    with open(config_path) as file:
        config = json.load(file)
    if c["arch"] == "minicpm":  # written by transformers' Granite
        for name in ("attention", "embedding", "residual"):
            config.pop(f"{name}_multiplier", None)
        config.pop("logits_scaling")
        s = c["scales"]
        config |= dict(architectures=["MiniCPMForCausalLM"], model_type="minicpm", scale_emb=s["embedding"],
                       scale_depth=s["residual"] * c["n_layer"]**0.5, dim_model_base=c["n_embd"] / s["logits"])
        if "longrope" in c:
            rope = config.pop("rope_parameters")
            config |= dict(rope_theta=rope["rope_theta"], rope_scaling={
                k: rope[k] for k in ("rope_type", "long_factor", "short_factor", "original_max_position_embeddings")})
        with open(config_path, "w") as file:
            json.dump(config, file, indent=1)
        return
    if "delta" in c:
        config |= dict(mtp_num_hidden_layers=int(c.get("mtp", False)), full_attention_interval=c.get("interval", 4))
    stored = load_file(model_path) | {k: to_stored(v) for k, v in weights.items() if k.startswith("mtp.")}
    if c.get("ahead"):
        shapes = goldens.mtp_shapes(c, {k: v.shape for k, v in weights.items()})
        stored |= {k: to_stored(v) for k, v in goldens.random_weights(shapes, c["arch"], 1000 + c["seed"]).items()}
        config["num_nextn_predict_layers"] = 1
    if c["arch"] == "gemma4":
        stored |= {name: to_stored(x) for name, x in unused_kv(c)}
    if c.get("nested"):
        fused = {k: to_stored(v) for k, v in weights.items() if ".experts." in k}
        stored = {k: v for k, v in stored.items() if ".experts." not in k} | fused
        stored = {k.replace("model.", "model.language_model.", 1) if k.startswith("model.") else k: v
                  for k, v in stored.items()}
        stored["model.visual.blocks.0.norm1.weight" if "delta" in c else "model.vision_tower.norm.weight"] = torch.ones(
            8, dtype=torch.bfloat16)
        inner = config
        outer = inner.pop("architectures")[0].replace("ForCausalLM", "ForConditionalGeneration")
        config = dict(architectures=[outer], model_type=inner["model_type"].removesuffix("_text"), image_token_id=7,
                      text_config=inner, tie_word_embeddings=inner["tie_word_embeddings"],
                      vision_config=dict(depth=1, hidden_size=8, model_type=inner["model_type"].removesuffix("_text")))
    save_file(stored, model_path, metadata={"format": "pt"})
    with open(config_path, "w") as file:
        json.dump(config, file, indent=1)


def unused_kv(c):
    names = {"attn_k.": "self_attn.k_proj.", "attn_v.": "self_attn.v_proj.", "attn_k_norm.": "self_attn.k_norm.",
             "blk.": "model.layers."}
    for name, x in goldens.unused_kv(c):
        for part, other in names.items():
            name = name.replace(part, other)
        yield name, x


def write_logits(path, c, model):
    import torch

    rng = np.random.default_rng(1000 + c["seed"])
    tokens = [int(t) for t in rng.integers(len(goldens.SPECIALS), goldens.N_VOCAB, N_LOGIT_TOKENS)]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].numpy()
    goldens.write_golden(os.path.join(path, "logits.golden"), tokens, LOGIT_ROWS, logits)
    return tokens, logits


def write_folder(path, c, full=False):
    """full: f32 where the folders have bf16."""
    import torch
    from safetensors.torch import save_file

    to_stored = (lambda x: torch.from_numpy(np.ascontiguousarray(x))) if full else bf16
    model, weights, packed = hf_model(c, to_stored)
    meant = weights
    shard = dict(max_shard_size="12KB") if c.get("shards") else {}
    if c.get("logits"):
        logits = write_logits(path, c, model)
    model.to(torch.float32 if full else torch.bfloat16).save_pretrained(path, **shard)
    if c.get("mtp") or c.get("nested") or c.get("ahead") or c["arch"] == "minicpm":
        rewrite(path, c, weights, to_stored)
    if c.get("logits"):
        check_logits(c, weights, *logits)
    if packed:
        save_packed(path, packed)
        write_mxfp4(path, packed, c)
    if "ternary" in c:
        stored, meant = ternary_weights(weights, c)
        if c.get("product_norms") == "rms_norm":
            stored = {k.replace("_proj.norm.", "_proj.rms_norm."): v for k, v in stored.items()}
        if c.get("trunk"):
            stored = {k.removeprefix("model."): v for k, v in stored.items()}
        save_file(stored, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
        if c["ternary"] == "silent":
            if c.get("trunk"):
                write_trunk(path, c)
            return meant
        linear, mode = {"float_codes": ("autobitlinear", "offline"), "rms_divide": ("bitlinear", "offline"), "master": ("autobitlinear", "online"), "multiply": ("autobitlinear", "offline"),
                        "divide": ("bitlinear", "offline")}[c["ternary"]]
        config_path = os.path.join(path, "config.json")
        with open(config_path) as file:
            config = json.load(file)
        config["quantization_config"] = dict(quant_method="bitnet", linear_class=linear, quantization_mode=mode,
                                             modules_to_not_convert=None)
        if c["ternary"] == "rms_divide":
            config["quantization_config"] |= dict(use_rms_norm=True, rms_norm_eps=c["eps"])
        with open(config_path, "w") as file:
            json.dump(config, file, indent=1)
    return meant


def write_trunk(path, c):
    """The class without a head, and the pooling as sentence-transformers writes it."""
    config_path = os.path.join(path, "config.json")
    with open(config_path) as file:
        config = json.load(file)
    config["architectures"] = [{"qwen3": "Qwen3Model", "gemma3": "Gemma3TextModel"}[c["arch"]]]
    with open(config_path, "w") as file:
        json.dump(config, file, indent=1)
    modes = {"pooling_mode_cls_token": 2, "pooling_mode_mean_tokens": 1, "pooling_mode_lasttoken": 3}
    os.makedirs(os.path.join(path, "1_Pooling"))
    with open(os.path.join(path, "1_Pooling", "config.json"), "w") as file:
        json.dump({"word_embedding_dimension": c["n_embd"]} | {k: v == c["pooling"] for k, v in modes.items()}, file)
    with open(os.path.join(path, "modules.json"), "w") as file:
        json.dump([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                   {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}], file)


def check_logits(c, weights, tokens, logits):
    import forward

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        goldens.write_gguf(file.name, "check", c, weights)
        model = forward.Model(file.name)
        own = model.forward(tokens)
    delta = float(np.abs(own - logits).max() / np.ptp(own))
    print(f"fp64 to transformers: {delta:.2g} of the range, router margin {model.router_margin:.2g}")
    assert delta < 2e-5 and model.router_margin > goldens.least_margin(c)


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
            value = [int(v) if isinstance(v, bool) else v for v in value]
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
    trunk = {k: v for k, v in meant.items() if not k.startswith("mtp.")}
    for file_name, case, tensors in [("expected.txt", c | dict(mtp=False), trunk), ("expected_mtp.txt", c, meant)]:
        if file_name == "expected_mtp.txt" and not c.get("mtp"):
            continue
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            goldens.write_gguf(file.name, name, case, tensors)
            with open(os.path.join(path, file_name), "w") as out:
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
