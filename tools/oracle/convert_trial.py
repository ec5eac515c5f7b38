#!/usr/bin/env python3
"""Tiny random folders of every architecture that `rowmax convert` knows, against transformers in fp32.

    pip install torch transformers safetensors tokenizers numpy
    python3 tools/oracle/convert_trial.py build/dev/apps/cli/rowmax --seed 1 --models 70

Each folder is saved by transformers with its facts drawn at random (biases, tied head, RoPE scaling, head_dim, GQA, windows,
layer types, soft caps, lists of eos, BitNet's master weights, the form of the configuration, shards, types of the weights),
converted to F32 (BitNet's to I2_S too), scored (`score --logprobs`, f32
activations and keys), and compared with the log-probabilities of transformers: within 1e-4, or refused with a message that
names the field. Prints a line a model and the counts; exit code 1 where one differs or fails otherwise.
"""
import argparse
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZER = os.path.join(HERE, "../../engine/convert/testdata/tokenizer.json")
N_VOCAB, N_CTX, N_IDS = 280, 128, 256
LIMIT = 1e-4


def rope_parameters(rng, llama3):
    base = {"rope_theta": rng.choice([100.0, 10000.0, 500000.0, 1e6])}
    kind = rng.choice(["default", "default", "linear", "yarn", "llama3" if llama3 else "yarn", "dynamic"])
    more = {
        "default": {},
        "linear": {"factor": rng.choice([2.0, 4.0])},
        "dynamic": {"factor": 2.0},
        "yarn": {"factor": rng.choice([2.0, 4.0]), "original_max_position_embeddings": 64},
        "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": rng.choice([2.0, 4.0]),
                   "original_max_position_embeddings": 64},
    }[kind]
    if kind == "yarn" and rng.random() < 0.5:
        more |= rng.choice([{"beta_fast": 16.0, "beta_slow": 2.0}, {"attention_factor": 1.1}, {"truncate": False},
                            {"mscale": 1.0, "mscale_all_dim": 0.8}])
    return base | {"rope_type": kind} | more


def drawn(rng):
    """(class of the model, its configuration's arguments)."""
    kind = rng.choice(["Llama", "Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3", "BitNet"])
    heads, kv = rng.choice([(4, 4), (4, 2), (4, 1), (6, 2), (3, 3)])
    head_dim = rng.choice([8, 16, 12, 32])
    config = dict(vocab_size=N_VOCAB, hidden_size=heads * rng.choice([8, 16]), intermediate_size=rng.choice([48, 64, 96]),
                  num_hidden_layers=rng.choice([1, 2, 3]), num_attention_heads=heads, num_key_value_heads=kv,
                  max_position_embeddings=512, rms_norm_eps=rng.choice([1e-5, 1e-6]), tie_word_embeddings=rng.random() < 0.5,
                  bos_token_id=1, eos_token_id=rng.choice([2, [2], [2, 0], [0, 1, 2, 5]]), pad_token_id=rng.choice([0, None]))
    if kind == "Llama":
        config |= dict(attention_bias=rng.random() < 0.3, mlp_bias=rng.random() < 0.15, rope_parameters=rope_parameters(rng, True))
        if rng.random() < 0.5:
            config["head_dim"] = head_dim
    elif kind == "Mistral":
        config |= dict(sliding_window=rng.choice([None, 16, 512, 4096]), rope_parameters=rope_parameters(rng, True))
        if rng.random() < 0.5:
            config["head_dim"] = head_dim
    elif kind == "Qwen2":
        config |= dict(rope_parameters=rope_parameters(rng, False), use_sliding_window=rng.random() < 0.2, sliding_window=16,
                       max_window_layers=1)
    elif kind == "Qwen3":
        config |= dict(rope_parameters=rope_parameters(rng, False), head_dim=head_dim, attention_bias=rng.random() < 0.3,
                       use_sliding_window=rng.random() < 0.15, sliding_window=16, max_window_layers=1)
    elif kind.startswith("Gemma"):
        layers = rng.choice([2, 3] if kind == "Gemma2" else [5, 6, 7, 12])
        config |= dict(num_hidden_layers=layers, head_dim=head_dim, sliding_window=rng.choice([16, 48, 512]),
                       query_pre_attn_scalar=rng.choice([head_dim, head_dim, 24]), attention_bias=rng.random() < 0.2,
                       tie_word_embeddings=rng.random() < 0.8)
        if rng.random() < 0.3:
            every = rng.choice([2, 3, 6])
            config["layer_types"] = ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(layers)]
        if kind == "Gemma2":
            config |= dict(attn_logit_softcapping=rng.choice([50.0, 5.0, None]), final_logit_softcapping=rng.choice([30.0, 4.0, None]),
                           rope_parameters={"rope_type": "default", "rope_theta": rng.choice([10000.0, 1e6])})
        else:
            full = rng.choice([{"rope_type": "default"}, {"rope_type": "linear", "factor": 8.0}]) | {"rope_theta": rng.choice([1e6, 1e4])}
            config |= dict(final_logit_softcapping=rng.choice([None, None, 10.0]), attn_logit_softcapping=rng.choice([None, None, None, 20.0]),
                           rope_parameters={"full_attention": full, "sliding_attention": {
                               "rope_type": "default", "rope_theta": rng.choice([1e4, 5e3])}})
    else:
        config |= dict(rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, attention_bias=rng.random() < 0.2)
        if rng.random() < 0.5:
            config |= dict(hidden_size=128, num_attention_heads=4, num_key_value_heads=rng.choice([1, 2, 4]), intermediate_size=256)
    return kind, config


def build(kind, config, rng):
    import torch
    import transformers

    name = "Gemma3Text" if kind == "Gemma3" else kind
    made = getattr(transformers, name + "Config")(**config, attn_implementation="eager")
    model = getattr(transformers, kind + "ForCausalLM")(made).float().eval()
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    with torch.no_grad():
        for key, x in model.named_parameters():
            fresh = torch.randn(x.shape, generator=generator)
            if "norm" in key:
                fresh = (1 + 0.2 * fresh).clamp(0.5, 2) - (1 if kind.startswith("Gemma") else 0)
            elif key.endswith("bias"):
                fresh = 0.5 * fresh
            else:
                fresh = fresh * (0.7 if "embed" in key else 1.3 / x.shape[-1] ** 0.5)
            x.copy_(fresh)
    return model


def older_form(path):
    """config.json as transformers 4 wrote it."""
    with open(path) as file:
        config = json.load(file)
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else rope | {"type": kind}
    config["torch_dtype"] = config.pop("dtype")
    with open(path, "w") as file:
        json.dump(config, file)


def ternarise(model):
    """What transformers' BitNet multiplies with, where weights are rounded while it runs."""
    import torch

    with torch.no_grad():
        for key, x in model.named_parameters():
            if key.endswith("_proj.weight"):
                scale = 1.0 / x.abs().mean().clamp_(min=1e-5)
                x.copy_((x * scale).round().clamp(-1, 1) / scale)


def reference(model, ids):
    import torch

    out = []
    for begin in range(0, len(ids), N_CTX):
        window = torch.tensor([ids[begin : begin + N_CTX]])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(window).logits[0].double(), -1)
        for row in range(N_CTX // 2, N_CTX - 1):
            out.append(float(logprobs[row, window[0, row + 1]]))
    return np.array(out)


def run(program, *words):
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True)


def trial(program, folder, rng):
    """(what was drawn, "same", "refused" or "DIFFERENT", why)"""
    import torch

    kind, config = drawn(rng)
    model = build(kind, config, rng)
    source = os.path.join(folder, "hf")
    dtype = rng.choice([torch.float32, torch.float32, torch.bfloat16, torch.float16])
    with torch.no_grad():  # the weights alone: RoPE's frequencies stay fp32
        for x in model.parameters():
            x.copy_(x.to(dtype))
    shards = dict(max_shard_size="30KB") if rng.random() < 0.3 else {}
    copy.deepcopy(model).to(dtype).save_pretrained(source, **shards)
    if rng.random() < 0.3 and kind != "Gemma3":
        older_form(os.path.join(source, "config.json"))
    shutil.copy(TOKENIZER, source)
    if rng.random() < 0.3:
        os.remove(os.path.join(source, "generation_config.json"))
    if kind == "BitNet":
        ternarise(model)
    output = os.path.join(folder, "m.gguf")
    # Rows of 128 are whole blocks of I2_S, which BitNet's matrices become by themselves.
    ternary = kind == "BitNet" and config["hidden_size"] % 128 == 0
    types = ["--embedding-type", "F32", "--output-type", "F32"] if ternary else ["--type", "F32"]
    result = run(program, "convert", source, output, *types, "-q")
    what = kind + " " + json.dumps({k: v for k, v in config.items() if k not in ("vocab_size", "max_position_embeddings")})
    if result.returncode == 4:
        return what, "refused", result.stderr.strip().replace(source, "")
    if result.returncode != 0:
        return what, "DIFFERENT", f"convert: exit code {result.returncode}: {result.stderr.strip()}"
    ids = [rng.randrange(N_VOCAB) for _ in range(N_IDS)]
    with open(os.path.join(folder, "ids.json"), "w") as file:
        json.dump(ids, file)
    scores = os.path.join(folder, "scores.npz")
    result = run(program, "score", "-m", output, "--token-ids", os.path.join(folder, "ids.json"), "-c", N_CTX, "--logprobs", scores,
                 "--activations", "f32", "--kv-type", "f32", "-t", 1, "-q", "--no-layout-check")
    if result.returncode != 0:
        return what, "DIFFERENT", f"score: exit code {result.returncode}: {result.stderr.strip()}"
    ours, theirs = np.load(scores)["logprobs"], reference(model, ids)
    worst = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
    return what, "same" if worst <= LIMIT else "DIFFERENT", f"largest difference {worst:.2e}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program", help="the rowmax command")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--models", type=int, default=70)
    args = p.parse_args()
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counts = {}
    for i in range(args.models):
        with tempfile.TemporaryDirectory() as folder:
            what, verdict, why = trial(args.program, folder, random.Random(f"{args.seed}/{i}"))
        counts[verdict] = counts.get(verdict, 0) + 1
        print(f"{i}: {verdict}: {why}: {what}", flush=True)
    print(json.dumps(counts | {"transformers": transformers.__version__, "torch": torch.__version__}))
    return 1 if "DIFFERENT" in counts else 0


if __name__ == "__main__":
    sys.exit(main())
