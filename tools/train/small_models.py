#!/usr/bin/env python3
"""Trains the small models of each block kind that `bench/doctor` plants faults into: loss says nothing of a model that has
learned nothing.

    tools/train/small_models.py --work DIR --rowmax build/dev/rowmax --out DIR [--only NAME...] [--seconds N]

The six of STORED lie in tests/golden/doctor; the others are of further families, and trained where they are wanted
(`--only phi3 gemma4`, `bench/doctor/run.py --more`). For each: a byte-level BPE, stories of the grammar (some of them told in a chat), training with transformers' own class
(`DIR/NAME/checkpoint.pt` every minute; run again to go on), its Hugging Face folder, `rowmax convert`, and a comparison of
`rowmax score` with PyTorch's loss on the same tokens. `models.json` in --out keeps steps, losses and the files' SHA-256.
--seconds ends a run early, at a checkpoint, with exit code 3. One thread. Needs torch, transformers, tokenizers, numpy.
"""

import argparse
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import GPT2_SPLIT, HELDOUT_SEED
from grammar import make_story

VOCABULARY, LENGTH, ROWS = 768, 256, 12
N_STORIES, N_HELDOUT = 9000, 48
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"]
BOS, EOS, TURN, END = range(4)
CHAT_TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
                 "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# The expressions of the models whose class is trained; engine/convert/pre_rules.cc recognises them.
SPLITS = {"gpt-2": GPT2_SPLIT,
          "llama-bpe": SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST,
          "qwen2": SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST,
          "qwen35": SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}

COMMON = dict(vocab_size=VOCABULARY, max_position_embeddings=512, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=None,
              hidden_size=128, intermediate_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
              rms_norm_eps=1e-5)
DEFAULT_ROPE = {"rope_type": "default"}


def qwen2():
    shape = {k: v for k, v in COMMON.items() if k != "head_dim"}
    return transformers.Qwen2Config(**shape | dict(num_hidden_layers=3, tie_word_embeddings=True,
                                                   rope_parameters=DEFAULT_ROPE | dict(rope_theta=500.0)))


def llama():
    return transformers.LlamaConfig(**COMMON | dict(
        num_hidden_layers=3, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=64)))


def qwen35():
    return transformers.Qwen3_5TextConfig(**COMMON | dict(
        num_hidden_layers=4, tie_word_embeddings=True, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=32, linear_value_head_dim=32, linear_conv_kernel_dim=4,
        layer_types=["linear_attention"] * 3 + ["full_attention"],
        rope_parameters=DEFAULT_ROPE | dict(rope_theta=1000.0, partial_rotary_factor=0.5, mrope_section=[3, 3, 2],
                                            mrope_interleaved=True)))


def qwen3moe():
    return transformers.Qwen3MoeConfig(**COMMON | dict(
        num_hidden_layers=3, tie_word_embeddings=True, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=96,
        norm_topk_prob=True, router_aux_loss_coef=0.01, rope_parameters=DEFAULT_ROPE | dict(rope_theta=2000.0)))


def gemma3():
    return transformers.Gemma3TextConfig(**COMMON | dict(
        num_hidden_layers=6, hidden_size=96, intermediate_size=192, num_attention_heads=3, num_key_value_heads=1,
        tie_word_embeddings=True, query_pre_attn_scalar=32, sliding_window=24, rope_parameters={
            "full_attention": dict(rope_type="linear", factor=4.0, rope_theta=5000.0),
            "sliding_attention": DEFAULT_ROPE | dict(rope_theta=100.0)}))


def gemma2():
    return transformers.Gemma2Config(**COMMON | dict(
        num_hidden_layers=4, hidden_size=96, intermediate_size=192, num_attention_heads=3, num_key_value_heads=1,
        tie_word_embeddings=True, query_pre_attn_scalar=32, sliding_window=24, attn_logit_softcapping=20.0,
        final_logit_softcapping=8.0, rope_parameters=DEFAULT_ROPE | dict(rope_theta=10000.0)))


# Families that are not stored: small, with each fact on that only they have.
SHAPE = {k: v for k, v in COMMON.items() if k != "head_dim"}  # of classes whose heads have width / heads numbers


def smollm3():
    return transformers.SmolLM3Config(**SHAPE | dict(num_hidden_layers=4, tie_word_embeddings=True,
                                                     rope_parameters=DEFAULT_ROPE | dict(rope_theta=5000.0)))


def granite(**scales):
    scales = scales or dict(attention_multiplier=0.25, embedding_multiplier=6.0, residual_multiplier=0.5, logits_scaling=4.0)
    return transformers.GraniteConfig(**SHAPE | scales | dict(
        num_hidden_layers=3, tie_word_embeddings=True, rope_parameters=DEFAULT_ROPE | dict(rope_theta=10000.0)))


def minicpm():
    """transformers has no MiniCPM; its Granite has all that it has (write_folder says it in MiniCPM's words)."""
    return granite(attention_multiplier=32**-0.5, embedding_multiplier=4.0, residual_multiplier=1.4 / 3**0.5,
                   logits_scaling=4.0)


def mistral3():
    return transformers.Ministral3Config(**COMMON | dict(
        num_hidden_layers=3, tie_word_embeddings=False, rope_parameters=dict(
            rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=48, beta_fast=16.0,
            beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.5)))


def hunyuan():
    return transformers.HunYuanDenseV1Config(**COMMON | dict(
        num_hidden_layers=3, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="dynamic", rope_theta=100.0, alpha=20.0, factor=1.0)))


def olmo2():
    return transformers.Olmo2Config(**SHAPE | dict(num_hidden_layers=3, tie_word_embeddings=False,
                                                   rope_parameters=DEFAULT_ROPE | dict(rope_theta=5000.0)))


def phi3():
    """Within the original context, whose factors are the short ones."""
    pairs = COMMON["head_dim"] // 2
    return transformers.Phi3Config(**SHAPE | dict(
        num_hidden_layers=3, tie_word_embeddings=True, original_max_position_embeddings=LENGTH, rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=LENGTH,
            short_factor=[2.0 ** (i / pairs) for i in range(pairs)], long_factor=[20.0 ** (i / pairs) for i in range(pairs)])))


def gptoss():
    return transformers.GptOssConfig(**COMMON | dict(
        num_hidden_layers=4, intermediate_size=96, num_local_experts=8, num_experts_per_tok=2, router_aux_loss_coef=0.01,
        sliding_window=24, tie_word_embeddings=False, rope_parameters=dict(
            rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=64, beta_fast=6.5,
            beta_slow=0.75, truncate=False)))


def gemma4():
    return transformers.Gemma4TextConfig(**COMMON | dict(
        num_hidden_layers=6, hidden_size=96, intermediate_size=192, num_attention_heads=2, num_key_value_heads=1,
        tie_word_embeddings=True, global_head_dim=64, sliding_window=24, final_logit_softcapping=15.0,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2, num_kv_shared_layers=3,
        use_double_wide_mlp=True, hidden_size_per_layer_input=32, vocab_size_per_layer_input=VOCABULARY, rope_parameters={
            "full_attention": dict(rope_type="proportional", rope_theta=5000.0, partial_rotary_factor=0.25),
            "sliding_attention": DEFAULT_ROPE | dict(rope_theta=100.0)}))


STORED = ["qwen2", "qwen35", "qwen3moe", "gemma3", "llama", "gemma2"]
# What is trained, how it cuts text, whether texts begin with BOS, and the attention that the class can compute.
MODELS = {
    "qwen2": dict(config=qwen2, pre="qwen2", bos=False, attention="sdpa", steps=500),
    "qwen35": dict(config=qwen35, pre="qwen35", bos=False, attention="sdpa", steps=200),
    "qwen3moe": dict(config=qwen3moe, pre="qwen2", bos=False, attention="sdpa", steps=450),
    "gemma3": dict(config=gemma3, pre="gpt-2", bos=True, attention="sdpa", steps=260),
    "llama": dict(config=llama, pre="llama-bpe", bos=True, attention="sdpa", steps=450),
    "gemma2": dict(config=gemma2, pre="gpt-2", bos=True, attention="eager", steps=240),
    "smollm3": dict(config=smollm3, pre="llama-bpe", bos=False, attention="sdpa", steps=300),
    "granite": dict(config=granite, pre="gpt-2", bos=False, attention="sdpa", steps=300),
    "mistral3": dict(config=mistral3, pre="llama-bpe", bos=True, attention="sdpa", steps=300),
    "minicpm": dict(config=minicpm, pre="llama-bpe", bos=True, attention="sdpa", steps=300),
    "hunyuan": dict(config=hunyuan, pre="llama-bpe", bos=True, attention="sdpa", steps=300),
    "olmo2": dict(config=olmo2, pre="gpt-2", bos=False, attention="sdpa", steps=300),
    "phi3": dict(config=phi3, pre="llama-bpe", bos=False, attention="sdpa", steps=300),
    "gptoss": dict(config=gptoss, pre="llama-bpe", bos=False, attention="eager", steps=300),
    "gemma4": dict(config=gemma4, pre="gpt-2", bos=True, attention="eager", steps=260),
}


def chat(title, story):
    return [TURN, "user\n" + title, END, "\n", TURN, "assistant\n" + story, END, "\n"]


def make_tokenizer(pre):
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLITS[pre]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[AddedToken(t, special=True) for t in SPECIALS],
                                  show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator((make_story(s)[0] for s in range(4000)), trainer)
    return tokenizer


def encode(tokenizer, text, bos, as_chat):
    """Some stories with a title are told in a chat, as answers to it."""
    ids = [BOS] if bos else []
    title, _, story = text.partition("\n\n")
    if as_chat and title.count(" ") < 16:  # not the first paragraph of a story without a title
        for part in chat(title, story):
            ids += [part] if isinstance(part, int) else tokenizer.encode(part, add_special_tokens=False).ids
    else:
        ids += tokenizer.encode(text, add_special_tokens=False).ids
    return ids + [EOS]


def make_corpus(folder, row):
    path = folder / "corpus.npz"
    if not path.exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        stories = [encode(tokenizer, make_story(s)[0], row["bos"], s % 4 == 1) for s in range(N_STORIES)]
        held_out = [encode(tokenizer, make_story(HELDOUT_SEED + s, heldout=True)[0], row["bos"], False)
                    for s in range(N_HELDOUT)]
        save = {}
        for name, rows in (("train", stories), ("held_out", held_out)):
            save[name] = np.concatenate(rows).astype(np.uint16)
            save[name + "_at"] = np.cumsum([0] + [len(r) for r in rows])
        np.savez(path, **save)
    return np.load(path)


def batch_of(tokens, at, which):
    """Rows are the beginnings of stories; what is short is filled up with the next story, as texts follow each other."""
    rows = np.stack([np.resize(tokens[at[i]:at[i] + LENGTH + 1], LENGTH + 1) for i in which]).astype(np.int64)
    return torch.from_numpy(rows)


def loss_of(model, rows):
    """While a model with experts learns, their even use counts too."""
    balance = model.training and hasattr(model.config, "router_aux_loss_coef")
    out = model(input_ids=rows[:, :-1], use_cache=False, **(dict(output_router_logits=True) if balance else {}))
    loss = F.cross_entropy(out.logits.float().flatten(0, 1), rows[:, 1:].flatten())
    return loss + model.config.router_aux_loss_coef * out.aux_loss if balance else loss


def orthogonal(g):
    """Muon's quintic: the nearest orthogonal matrix, about; of each matrix where g is a stack of them."""
    x = g.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, decay=0.05, momentum=0.95):
        super().__init__(params, dict(lr=0.0, decay=decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape[-2:]) ** 0.5)


def is_matrix(name, p):
    others = ("embed_tokens", "lm_head", "conv1d", "mlp.gate.weight", "router.weight", "bias")
    return p.ndim >= 2 and not any(part in name for part in others)


def make_model(row):
    torch.manual_seed(1)
    config = row["config"]()
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=row["attention"])
    with torch.no_grad():  # as large as those of published models are, so that one without them is another model
        for name, p in model.named_parameters():
            if name.endswith(("q_proj.bias", "k_proj.bias", "sinks")):
                p.normal_(0, 1.0)
            elif name.endswith(("v_proj.bias", "experts.gate_up_proj_bias", "experts.down_proj_bias")):
                p.normal_(0, 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.fill_(0.7)
    return model


class Trainer:
    def __init__(self, name, folder):
        self.row, self.folder, self.data = MODELS[name], folder, make_corpus(folder, MODELS[name])
        self.model = make_model(self.row)
        named = list(self.model.named_parameters())
        self.muon = Muon([p for n, p in named if is_matrix(n, p)])
        self.adam = torch.optim.AdamW([p for n, p in named if not is_matrix(n, p)], betas=(0.9, 0.97), weight_decay=0.0)
        self.step, self.log = 0, []
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=False)
            self.model.load_state_dict(state["model"])
            self.muon.load_state_dict(state["muon"])
            self.adam.load_state_dict(state["adam"])
            self.step, self.log = state["step"], state["log"]

    def save(self):
        path = self.folder / "checkpoint.pt"
        torch.save(dict(model=self.model.state_dict(), muon=self.muon.state_dict(), adam=self.adam.state_dict(),
                        step=self.step, log=self.log), f"{path}.new")
        os.replace(f"{path}.new", path)

    def held_out(self):
        at = self.data["held_out_at"]
        self.model.eval()
        with torch.no_grad():
            losses = [loss_of(self.model, batch_of(self.data["held_out"], at, range(i, i + ROWS))).item()
                      for i in range(0, N_HELDOUT - 2, ROWS) if i + ROWS < N_HELDOUT]
        self.model.train()
        return sum(losses) / len(losses)

    def run(self, until):
        """True once all steps are done."""
        steps, at = self.row["steps"], self.data["train_at"]
        saved = began = time.time()
        while self.step < steps:
            rate = min(1.0, (self.step + 1) / 30, (steps - self.step) / (0.6 * steps))
            for optimizer, peak in ((self.muon, 0.02), (self.adam, 0.006)):
                for group in optimizer.param_groups:
                    group["lr"] = peak * rate
            which = random.Random(self.step).sample(range(N_STORIES - 2), ROWS)
            loss = loss_of(self.model, batch_of(self.data["train"], at, which))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.muon.step()
            self.adam.step()
            self.model.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % 50 == 0:
                self.log.append(f"step {self.step} loss {loss.item():.3f}")
                print(f"{self.log[-1]} {time.time() - began:.0f} s", flush=True)
            if time.time() > until or time.time() > saved + 60:
                self.save()
                saved = time.time()
            if time.time() > until and self.step < steps:
                return False
        self.save()
        return True


def as_minicpm(config):
    """Granite's configuration as MiniCPM's says the same."""
    embedding, residual, logits = (config.pop(k) for k in ("embedding_multiplier", "residual_multiplier", "logits_scaling"))
    assert math.isclose(config.pop("attention_multiplier"), COMMON["head_dim"]**-0.5)
    return config | dict(architectures=["MiniCPMForCausalLM"], model_type="minicpm", scale_emb=embedding,
                         scale_depth=residual * config["num_hidden_layers"]**0.5, dim_model_base=config["hidden_size"] / logits)


def write_folder(name, folder, model):
    row, path = MODELS[name], folder / "hf"
    model.save_pretrained(path)
    if name == "minicpm":
        (path / "config.json").write_text(json.dumps(as_minicpm(json.loads((path / "config.json").read_text())), indent=1))
    (path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    settings = dict(bos_token=SPECIALS[BOS], eos_token=SPECIALS[EOS], pad_token=SPECIALS[EOS], add_bos_token=row["bos"],
                    chat_template=CHAT_TEMPLATE, tokenizer_class="PreTrainedTokenizerFast")
    (path / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    (path / "generation_config.json").write_text(json.dumps(dict(bos_token_id=BOS, eos_token_id=[EOS, END],
                                                                 pad_token_id=EOS), indent=1))
    return path


def torch_score(model, tokens, bos, ctx=LENGTH):
    """As `rowmax score` counts it (docs/cli.md)."""
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(tokens) - ctx + 1, ctx):
            window = torch.tensor(tokens[start:start + ctx])[None].clone()
            if bos:
                window[0, 0] = BOS
            logits = model(input_ids=window, use_cache=False).logits[0].double()
            chosen = torch.log_softmax(logits, -1)[:-1].gather(1, window[0, 1:, None])[:, 0]
            total -= chosen[ctx // 2:].sum().item()
            count += ctx - 1 - ctx // 2
    return total / count


def finish(name, folder, args, trainer):
    model = trainer.model.eval()
    hf = write_folder(name, folder, model)
    gguf = args.out / f"{name}.gguf"
    subprocess.run([args.rowmax, "convert", hf, gguf, "--type", "Q8_0", "--output-type", "Q8_0", "--force", "-q"], check=True)
    if name == "qwen2":  # the same with matrices stored turned
        subprocess.run([args.rowmax, "convert", hf, args.out / "qwen2_turned.gguf", "--type", "Q8_0", "--hadamard", "32",
                        "--force", "-q"], check=True)
    tokens = trainer.data["held_out"][:LENGTH * 24].tolist()
    ids = folder / "held_out.json"
    ids.write_text(json.dumps(tokens))
    said = subprocess.run([args.rowmax, "score", "-m", gguf, "--token-ids", ids, "--ctx", str(LENGTH), "--json", "-q", "-t", "1"],
                          check=True, capture_output=True, text=True).stdout
    ours, theirs = json.loads(said)["nll"], torch_score(model, tokens, MODELS[name]["bos"])
    print(f"{name}: rowmax {ours:.4f} torch {theirs:.4f} (0.6 ln V: {0.6 * math.log(VOCABULARY):.2f})")
    if abs(ours - theirs) > 1e-2:
        sys.exit(f"{name}: rowmax and PyTorch disagree")
    return dict(steps=trainer.step, held_out_loss=round(trainer.held_out(), 4), score_rowmax=round(ours, 4),
                score_torch=round(theirs, 4), parameters=sum(p.numel() for p in model.parameters()),
                bytes=gguf.stat().st_size, sha256=hashlib.sha256(gguf.read_bytes()).hexdigest(), log=trainer.log)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="tokenizers, texts, checkpoints, Hugging Face folders")
    p.add_argument("--out", type=Path, required=True, help="folder for NAME.gguf and models.json")
    p.add_argument("--rowmax", type=Path, required=True, help="the command, for convert and score")
    p.add_argument("--only", nargs="+", choices=MODELS, default=STORED)
    p.add_argument("--seconds", type=float, default=1e9, help="end at a checkpoint after so long")
    args = p.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    until = time.time() + args.seconds
    listing = args.out / "models.json"
    for name in args.only:
        done = json.loads(listing.read_text()) if listing.exists() else {}
        if name in done and done[name]["steps"] == MODELS[name]["steps"]:
            continue
        folder = args.work / name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "tokenizer.json").exists():
            make_tokenizer(MODELS[name]["pre"]).save(str(folder / "tokenizer.json"))
        trainer = Trainer(name, folder)
        print(f"{name}: {sum(p.numel() for p in trainer.model.parameters())} parameters, step {trainer.step}", flush=True)
        if not trainer.run(until):
            sys.exit(3)
        done[name] = finish(name, folder, args, trainer)
        listing.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
