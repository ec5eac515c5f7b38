#!/usr/bin/env python3
"""What a trained model does: held-out bits per byte, sample stories, how much they recite, how sound they are.

    tools/train/evaluate.py --work DIR [--count N] [--temperature T] [--out FILE]

Everything is computed by the exact form of the graph (F16 embedding, ternary weights, int8 activations, f32).
"longest run" is the longest run of words that a sampled story shares with any story of training. The checks are those of
story_checks.py; the grammar's own held-out stories go through the same checks and the same search for comparison.
"""

import argparse
import collections
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import corpus
import story_checks
from export import load_model
from model import Exact, rotate

PROMPTS = ["Once upon a time", "a story about a fox and a kite", "A story about a girl and a lantern.",
           "Tell me a story about a bear and some honey.", "a story about a mouse called Tom", "One morning, Lily found a key",
           "write a short story about a dragon", "A story about Tom and a ball."]

# rowmax's defaults.
TEMPERATURE, TOP_K, TOP_P = 0.8, 40, 0.95


class Sampler:
    """Keys and values are kept; all rows of a batch have the same length."""

    def __init__(self, model):
        self.exact = Exact(model, torch.float32)
        self.config = model.config

    @torch.no_grad()
    def step(self, tokens, at, cache):
        """tokens [rows, n] at positions at..; -> logits of the last [rows, vocab]."""
        m, c = self.exact.model, self.config
        rows, n = tokens.shape
        rope = tuple(t[at: at + n] for t in m.rope)
        x = F.embedding(tokens, m.token_embd).view(rows * n, -1)
        for i, layer in enumerate(m.blk):
            a = layer.attn_norm(x)
            q, k, v = (p(a).view(rows, n, -1, c.head_dim).transpose(1, 2) for p in (layer.attn_q, layer.attn_k, layer.attn_v))
            q, k = rotate(q, rope), rotate(k, rope)
            if i < len(cache):
                k, v = torch.cat([cache[i][0], k], 2), torch.cat([cache[i][1], v], 2)
                cache[i] = (k, v)
            else:
                cache.append((k, v))
            group = c.heads // c.kv_heads
            o = F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=n > 1)
            x = x + layer.attn_output(layer.attn_sub_norm(o.transpose(1, 2).reshape(rows * n, -1)))
            f = layer.ffn_norm(x)
            x = x + layer.ffn_down(layer.ffn_sub_norm(layer.ffn_gate(f).relu().square() * layer.ffn_up(f)))
        last = m.output_norm(x).view(rows, n, -1)[:, -1]
        return last @ m.token_embd.t()

    def draw(self, logits, temperature, generator):
        """As rowmax draws: temperature, the TOP_K likeliest, of them the likeliest that sum up to TOP_P."""
        top, ids = (logits / temperature).topk(TOP_K)
        p = top.softmax(-1)
        p = torch.where(p.cumsum(-1) - p < TOP_P, p, 0.0)
        return ids.gather(-1, torch.multinomial(p, 1, generator=generator))

    def sample(self, prompt, rows, temperature, seed, limit=400):
        """prompt: token ids -> [(token ids after the prompt, whether it ended)]."""
        generator = torch.Generator().manual_seed(seed)
        cache, at = [], 0
        tokens = torch.tensor([prompt] * rows)
        out, ended = [[] for _ in range(rows)], [False] * rows
        while at + tokens.shape[1] < min(limit, self.config.context) and not all(ended):
            logits = self.step(tokens, at, cache)
            at += tokens.shape[1]
            if temperature == 0:
                tokens = logits.argmax(-1, keepdim=True)
            else:
                tokens = self.draw(logits, temperature, generator)
            for i, token in enumerate(tokens[:, 0].tolist()):
                if token == 1:
                    ended[i] = True
                elif not ended[i]:
                    out[i].append(token)
        return list(zip(out, ended))


def exact_bits(model, batches):
    exact = Exact(model, torch.float32)
    nats = 0.0
    for tokens, targets, _ in batches:
        logits = exact.logits(tokens)
        nats += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum").item()
    return nats / math.log(2) / sum(b[2] for b in batches)


class Runs:
    """Longest runs of words shared with the stories of training, by hashes of n words (mod 2^64)."""

    BASE = np.uint64(0x9E3779B97F4A7C15)

    def __init__(self, work, stories):
        tokenizer = corpus.load_tokenizer(work)
        self.ids = {}
        texts = []
        for index in range(-(-stories // corpus.SHARD)):
            tokens, offsets = corpus.shard(work, index)
            for i in range(min(corpus.SHARD, stories - index * corpus.SHARD)):
                texts.append(tokenizer.decode(tokens[offsets[i] + 1: offsets[i + 1] - 1].tolist()))
        self.words = self.encode(texts)
        self.powers = self.power(len(self.words) + 1)

    def power(self, n):
        with np.errstate(over="ignore"):
            return np.cumprod(np.concatenate([[np.uint64(1)], np.full(n, self.BASE)]), dtype=np.uint64)

    def encode(self, texts):
        """Words as numbers; stories are separated by numbers that occur nowhere else."""
        out = []
        for text in texts:
            out += [self.ids.setdefault(w, len(self.ids) + 1) for w in text.split()]
            out.append(2**40 + len(self.ids) * 7919 + len(out))
        mixed = np.asarray(out, np.uint64)
        with np.errstate(over="ignore"):
            mixed = (mixed ^ (mixed >> np.uint64(7))) * np.uint64(0xD6E8FEB86659FD93)
        return mixed

    def hashes(self, words, n):
        """Hash of every run of n words, the same wherever the run stands."""
        h = np.zeros(max(0, len(words) - n + 1), np.uint64)
        with np.errstate(over="ignore"):
            for i in range(n):
                h = h * self.BASE + words[i: len(words) - n + 1 + i]
        return h

    def longest(self, text):
        return self.longest_of([text])[0]

    def longest_of(self, texts):
        own = [self.encode([t])[:-1] for t in texts]
        best = [0] * len(texts)
        alive = set(range(len(texts)))
        n = 1
        corpus_hash = self.words.copy()
        with np.errstate(over="ignore"):
            while alive:
                mine = {i: self.hashes(own[i], n) for i in alive if len(own[i]) >= n}
                if not mine:
                    break
                wanted = np.unique(np.concatenate(list(mine.values())))
                where = np.minimum(np.searchsorted(wanted, corpus_hash), len(wanted) - 1)
                seen = np.unique(corpus_hash[wanted[where] == corpus_hash])
                for i in list(alive):
                    if i in mine and np.isin(mine[i], seen).any():
                        best[i] = n
                    else:
                        alive.discard(i)
                n += 1
                corpus_hash = corpus_hash[:-1] * self.BASE + self.words[n - 1:]
        return best


def titles(count):
    """Titles of plot x character pairs that training never saw, as a user would type them."""
    found = []
    seed = corpus.HELDOUT_SEED + 5_000_000
    while len(found) < count:
        text = corpus.make_story(seed, heldout=True)[0]
        title, _ = story_checks.body_of(text)
        if title and " and " in title:
            found.append(title)
        seed += 1
    return found


def report_checks(name, texts, known, say):
    failures = collections.Counter(f for t in texts for f in story_checks.check(t, known))
    sound = sum(not story_checks.check(t, known) for t in texts)
    say(f"{name}: {sound} of {len(texts)} stories pass every check; failures: {dict(failures.most_common())}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="train.py's folder")
    p.add_argument("--count", type=int, default=64, help="stories sampled from held-out titles")
    p.add_argument("--temperature", type=float, default=TEMPERATURE)
    p.add_argument("--heldout", type=int, default=400, help="stories for the bits per byte")
    p.add_argument("--out", type=Path, help="file for the report")
    args = p.parse_args()
    torch.set_num_threads(1)
    model, state = load_model(args.work)
    tokenizer = corpus.load_tokenizer(args.work)
    lines = []

    def say(text):
        lines.append(text)
        print(text, flush=True)

    say(f"step {state['step']}, {state['corpus']} stories and {state['tokens']} tokens seen")
    batches = corpus.heldout_batches(args.work, 4080, 272, args.heldout)
    say(f"bits per byte on held-out plot x character pairs: {exact_bits(model, batches):.4f}")
    sampler = Sampler(model)

    def tell(prompt, rows, temperature, seed):
        if "story" in prompt or "tale" in prompt:  # as the file's chat template
            prompt += "\n\n"
        ids = [0] + tokenizer.encode(prompt, add_special_tokens=False).ids
        return [(prompt + tokenizer.decode(ids_after), ended) for ids_after, ended in sampler.sample(ids, rows, temperature, seed)]

    drawn = [tell(t, 1, args.temperature, 1000 + i)[0] for i, t in enumerate(titles(args.count))]
    texts = [t for t, _ in drawn]
    say(f"stories from held-out titles at temperature {args.temperature}, top-k {TOP_K}, top-p {TOP_P}: {len(texts)}, ended by themselves {sum(e for _, e in drawn)}, "
        f"words {np.mean([len(t.split()) for t in texts]):.0f} on average")
    same = [t for t, _ in tell("Once upon a time", 32, args.temperature, 1)]
    say(f"distinct stories of 32 from \"Once upon a time\": {len(set(same))}")
    known = story_checks.known_words()
    heldout = corpus.heldout_stories()[: len(texts)]
    report_checks("sampled", texts, known, say)
    report_checks("the grammar's own", heldout, known, say)
    runs = Runs(args.work, state["corpus"])
    for name, group in (("sampled", texts + same), ("the grammar's own held-out", heldout)):
        longest = sorted(runs.longest_of([story_checks.body_of(t)[1] for t in group]))
        say(f"longest run of words shared with a training story, {name}: median {longest[len(longest) // 2]}, maximum {longest[-1]}")
    for prompt in PROMPTS:
        say(f"\n--- greedy: {prompt!r}\n" + tell(prompt, 1, 0, 0)[0][0])
        say(f"\n--- temperature {args.temperature}: {prompt!r}\n" + tell(prompt, 1, args.temperature, 5)[0][0])
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
