"""Tokenizer and batches. Stories are made as they are needed, in shards that are kept in the work folder."""

import os
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from grammar import make_story

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
# The split of the pre-tokenizer that GGUF calls "gpt-2".
GPT2_SPLIT = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
VOCABULARY = 2048
TOKENIZER_STORIES = 12000
SHARD = 4000  # stories
HELDOUT_SEED = 900_000_000
HELDOUT_STORIES = 400


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(GPT2_SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[BOS, EOS], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator((make_story(s)[0] for s in range(TOKENIZER_STORIES)), trainer)
    return tokenizer


def load_tokenizer(work):
    path = Path(work) / "tokenizer.json"
    if not path.exists():
        make_tokenizer().save(str(path))
    return Tokenizer.from_file(str(path))


def encode(tokenizer, text):
    return [0] + tokenizer.encode(text, add_special_tokens=False).ids + [1]


def shard(work, index, tokenizer=None):
    """Stories index * SHARD ... as (tokens uint16, offsets); made where missing."""
    path = Path(work) / f"stories_{index:04d}.npz"
    if not path.exists():
        tokenizer = tokenizer or load_tokenizer(work)
        rows = [encode(tokenizer, make_story(index * SHARD + i)[0]) for i in range(SHARD)]
        offsets = np.cumsum([0] + [len(r) for r in rows])
        new = path.with_suffix(".new.npz")
        np.savez(new, tokens=np.concatenate(rows).astype(np.uint16), offsets=offsets)
        os.replace(new, path)
    data = np.load(path)
    return data["tokens"], data["offsets"]


def pad_batch(rows, length):
    """-> tokens, targets (-1 where there is none), each [rows, length]."""
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    targets = torch.full((len(rows), length), -1, dtype=torch.long)
    for i, row in enumerate(rows):
        row = torch.as_tensor(np.asarray(row, np.int64))
        tokens[i, : len(row) - 1] = row[:-1]
        targets[i, : len(row) - 1] = row[1:]
    return tokens, targets


class Corpus:
    """Batches of whole stories, one a row, in two row lengths so that little is padding. position counts stories."""

    def __init__(self, work, tokens, lengths):
        self.work, self.lengths = work, sorted(lengths)
        self.rows = {n: tokens // n for n in self.lengths}
        self.tokenizer = load_tokenizer(work)
        self.position, self.loaded = 0, None
        self.waiting = {n: [] for n in self.lengths}

    def next_story(self):
        index, i = divmod(self.position, SHARD)
        if self.loaded is None or self.loaded[0] != index:
            self.loaded = (index, *shard(self.work, index, self.tokenizer))
        self.position += 1
        _, tokens, offsets = self.loaded
        return tokens[offsets[i]: offsets[i + 1]]

    def batch(self):
        while True:
            story = self.next_story()
            for n in self.lengths:
                if len(story) - 1 <= n:
                    self.waiting[n].append(story)
                    if len(self.waiting[n]) == self.rows[n]:
                        rows, self.waiting[n] = self.waiting[n], []
                        return pad_batch(rows, n)
                    break


def heldout_stories():
    """Texts of plot x character pairs that training never sees."""
    return [make_story(HELDOUT_SEED + i, heldout=True)[0] for i in range(HELDOUT_STORIES)]


def heldout_batches(work, tokens, length, stories=HELDOUT_STORIES):
    """(tokens, targets, bytes of text) whose stories all fit; the end of a story is predicted too and counts no byte."""
    tokenizer = load_tokenizer(work)
    texts = heldout_stories()[:stories]
    rows = [(encode(tokenizer, t), len(t.encode())) for t in texts]
    rows = [r for r in rows if len(r[0]) - 1 <= length]
    batches = []
    size = tokens // length
    for i in range(0, len(rows), size):
        part = rows[i: i + size]
        batches.append((*pad_batch([r[0] for r in part], length), sum(r[1] for r in part)))
    return batches
