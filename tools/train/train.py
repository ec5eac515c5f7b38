#!/usr/bin/env python3
"""Trains the story model: a float warm start, then ternary weights and int8 activations (straight-through).

    tools/train/train.py --work DIR [--steps N] [--float-steps N] [--decay-steps N]

One command from nothing: makes the tokenizer and the stories it needs in DIR, trains, writes DIR/checkpoint.pt every
few minutes and DIR/train.log. Run again to go on from the checkpoint. The learning rate warms up, stays, and falls
linearly over the last --decay-steps; a run may be given fewer --steps than before in order to end it sooner, also while
it runs: a number in DIR/steps counts in place of --steps.
Hidden matrices use Muon (momentum made orthogonal), the rest Adam. One thread. Needs torch, numpy, tokenizers.
"""

import argparse
import os
import time
from pathlib import Path

import torch

from corpus import Corpus, heldout_batches, load_tokenizer
from evaluate_bits import bits_per_byte, recalled
from model import Config, Stories
import words


def orthogonal(g):
    """The nearest orthogonal matrix, about: five Newton-Schulz steps (Muon's quintic) in bfloat16."""
    x = g.to(torch.bfloat16)
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if tall else x).float()


class Muon(torch.optim.Optimizer):
    """With decoupled weight decay. Without it the matrices grow until softmax is saturated and attention learns no more."""

    def __init__(self, params, decay, momentum=0.95):
        super().__init__(params, dict(lr=0.0, decay=decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                buffer = state["momentum"]
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)


def learning_rate(step, args):
    return min(1.0, (step + 1) / args.warmup, max(0.0, (args.steps - step) / args.decay_steps))


def save(path, **state):
    torch.save(state, str(path) + ".new")
    os.replace(str(path) + ".new", path)


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of tokenizer, stories, checkpoint and log")
    p.add_argument("--steps", type=int, default=9000, help="steps in all")
    p.add_argument("--float-steps", type=int, default=600, help="steps before the weights become ternary")
    p.add_argument("--decay-steps", type=int, default=9000, help="last steps, over which the rate falls to zero; as many as --steps: from the start")
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--batch", type=int, default=4352, help="tokens of a batch, padding included")
    p.add_argument("--lengths", type=int, nargs="+", default=[272], help="row lengths: a story is a row; longer ones are left out")
    p.add_argument("--lr", type=float, default=0.004, help="peak rate of the hidden matrices")
    p.add_argument("--decay", type=float, default=0.1, help="weight decay of the hidden matrices")
    p.add_argument("--lr-adam", type=float, default=0.003, help="peak rate of embedding and norms")
    p.add_argument("--layers", type=int, default=Config.layers)
    p.add_argument("--ffn", type=int, default=Config.ffn)
    p.add_argument("--heads", type=int, default=Config.heads)
    p.add_argument("--kv-heads", type=int, default=Config.kv_heads)
    p.add_argument("--every", type=int, default=50, help="steps between log lines")
    p.add_argument("--eval-every", type=int, default=400)
    p.add_argument("--heldout", type=int, default=64, help="held-out stories measured while training")
    p.add_argument("--save-seconds", type=float, default=300)
    p.add_argument("--eager", action="store_true", help="without torch.compile")
    return p.parse_args()


def main():
    args = parse()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(args.work)
    config = Config(vocab=tokenizer.get_vocab_size(), layers=args.layers, ffn=args.ffn, heads=args.heads, kv_heads=args.kv_heads,
                    context=512)
    model = Stories(config)
    matrices = [p for n, p in model.blk.named_parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    muon = Muon(matrices, args.decay)
    adam = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.97), weight_decay=0.0)
    corpus = Corpus(args.work, args.batch, args.lengths)
    step, tokens_seen = 0, 0
    checkpoint = args.work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        corpus.position = state["corpus"]
        step, tokens_seen = state["step"], state["tokens"]
    log = open(args.work / "train.log", "a", buffering=1)

    def say(text):
        line = time.strftime("%H:%M:%S ") + text
        print(line, flush=True)
        log.write(line + "\n")

    def store():
        save(checkpoint, model=model.state_dict(), muon=muon.state_dict(), adam=adam.state_dict(), config=config.to_dict(),
             corpus=corpus.position, step=step, tokens=tokens_seen)

    settings = {k: v for k, v in vars(args).items() if k != "work"}
    ternary_parameters = sum(p.numel() for p in matrices)
    say(f"start at step {step}: {ternary_parameters} ternary, {sum(p.numel() for p in others)} other parameters, {settings}")
    loss_of = model.loss if args.eager else torch.compile(model.loss, dynamic=False)
    names = {i for n in words.GIRLS + words.BOYS for i in tokenizer.encode(" " + n).ids[-1:]}
    heldout = heldout_batches(args.work, args.batch, max(args.lengths), args.heldout)
    saved, since, sums = time.time(), time.time(), [0.0, 0]
    wanted = args.work / "steps"  # a number in this file replaces --steps while training runs
    while step < args.steps:
        if step % args.every == 0 and wanted.exists():
            args.steps = int(wanted.read_text())
        mode = "float" if step < args.float_steps else "ternary"
        model.set_mode(mode)
        tokens, targets = corpus.batch()
        count = int((targets >= 0).sum())
        loss = loss_of(tokens, targets)
        (loss / count).backward()
        factor = learning_rate(step, args)
        for group in muon.param_groups:
            group["lr"], group["decay"] = args.lr * factor, args.decay
        for group in adam.param_groups:
            group["lr"] = args.lr_adam * factor
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step()
        adam.step()
        model.zero_grad(set_to_none=True)
        step += 1
        tokens_seen += count
        sums = [sums[0] + loss.item(), sums[1] + count]
        if step % args.every == 0:
            rate = sums[1] / (time.time() - since)
            say(f"step {step} {mode} loss {sums[0] / sums[1]:.4f} tokens {tokens_seen} rate {rate:.0f}/s lr {factor:.3f}")
            since, sums = time.time(), [0.0, 0]
        if step % args.eval_every == 0 or step == args.steps:
            bits = bits_per_byte(model, heldout, mode)
            say(f"step {step} heldout bits/byte {mode} {bits:.4f}; names told before: {recalled(model, heldout, names, mode):.3f} right")
            since = time.time()
        if time.time() - saved > args.save_seconds or step == args.steps:
            store()
            saved = time.time()


if __name__ == "__main__":
    main()
