#!/usr/bin/env python3
"""Random added tokens on the stored tokenizers, and what `tokenizers` makes of random texts with them.

    pip install tokenizers
    python3 tools/oracle/added_tokens.py engine/convert/testdata --seed 1 --tokenizers 90 --texts 6 \
        > engine/convert/testdata/added_tokens.jsonl

Each line of the output is a JSON object: `base` (tokenizer or spm_tokenizer of the folder), what is put in the place of
its `normalizer`, `pre_tokenizer` and `added_tokens`, what is added to `vocab` and `merges`, and `texts`: pairs of a text
and its ids without special tokens around it. The first line says where it comes from. HfTokenizer.RandomAddedTokens
(engine/convert/hf_tokenizer_test.cc) reads the stored file, or the one that ROWMAX_ADDED_TOKENS names.
"""
import argparse
import json
import os
import random

os.environ["RUST_BACKTRACE"] = "0"
import tokenizers

MARK = "\u2581"
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
PREPEND = {"type": "Prepend", "prepend": MARK}


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": False}


def byte_level(prefix, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def split_then_bytes(expression):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False},
        byte_level(False, False)]}


# name: base, normalizer, pre_tokenizer
KINDS = {
    "gemma": ("spm_tokenizer", REPLACE, None),
    "gemma_split": ("spm_tokenizer", REPLACE, {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                                               "invert": False}),
    "prepend": ("spm_tokenizer", {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}, None),
    "first": ("spm_tokenizer", None, metaspace("first")),
    "always": ("spm_tokenizer", None, metaspace("always")),
    "never": ("spm_tokenizer", None, metaspace("never")),
    "prepend_first": ("spm_tokenizer", PREPEND, metaspace("first")),
    "replace_always": ("spm_tokenizer", REPLACE, metaspace("always")),
    "both_never": ("spm_tokenizer", {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}, metaspace("never")),
    "bytes": ("tokenizer", None, byte_level(False)),
    "bytes_prefix": ("tokenizer", None, byte_level(True)),
    "digits": ("tokenizer", None, {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                         byte_level(False)]}),
    "llama3": ("tokenizer", None, split_then_bytes(LLAMA3)),
    "qwen2": ("tokenizer", None, split_then_bytes(QWEN2)),
    "nfc": ("tokenizer", {"type": "NFC"}, split_then_bytes(QWEN2)),
}
COMMON = ["cat", "<x>", "<|a|>", "\n", "\n\n", "\u00e9", "e\u0301", "\u4e2d", "\U0001F600", "x y", " x", "the", "and", "a", "s",
          "thecat", ">>", "<s> ", "\tq", "_w", "1", "\u00b2x", "  ", " the", "cat the", "\u03c9\u0301"]
OF_BASE = {
    "spm_tokenizer": [MARK, MARK + MARK, MARK * 3, MARK + "the", "x" + MARK + "y", MARK + "and", "o", "of"],
    "tokenizer": ["\u0120the", "\u00c3\u00a9", "\u0120", "\u010a", "\u00c3", "\u0120\u0120"],
}
# What the stored vocabularies lack: pieces that byte-level texts of accents and runs of spaces are merged to.
MORE = {
    "tokenizer": [("\u00c3", "\u00a9"), ("\u0120", "\u0120"), ("\u010a", "\u010a"), ("c", "a"), ("ca", "t")],
    "spm_tokenizer": [(MARK, MARK)],
}
FILLING = [" ", " ", " ", "  ", "   ", "\n", "\n", "\t", "\r\n", "\u00a0", "\u3000", MARK, "_", "1", "\u00b2", "\u24d0", "\u203f",
           "\u200d", "\U0001F469\u200d\U0001F4BB", "\u00e9", "e\u0301", "\u4e2d\u6587", "\U0001F600", "the", " the", "and", "word", "Z", "."]


def random_tokenizer(rng, folder, kind):
    base, normalizer, pre_tokenizer = KINDS[kind]
    with open(os.path.join(folder, base + ".json")) as file:
        tokenizer = json.load(file)
    patch = {"kind": kind, "base": base, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "vocab": {}, "merges": []}
    vocab = tokenizer["model"]["vocab"]
    if base == "spm_tokenizer":
        # The two marks: a piece, an added token or neither, as drawn. `tokenizers` numbers as if no id were missing.
        hole = vocab.pop(tokenizer["added_tokens"].pop()["content"])
        vocab["~~"] = patch["vocab"]["~~"] = hole
    for left, right in MORE[base] if rng.random() < 0.7 else []:
        if left + right not in vocab:
            patch["vocab"][left + right] = vocab[left + right] = max(vocab.values()) + 1
        patch["merges"].append([left, right])
    tokenizer["model"]["merges"] = [list(pair) for pair in tokenizer["model"]["merges"]] + patch["merges"]
    tokenizer["normalizer"], tokenizer["pre_tokenizer"] = normalizer, pre_tokenizer
    next_id = max(vocab.values()) + 1
    texts = rng.sample(COMMON + OF_BASE[base], rng.randint(1, 6))
    for text in texts:
        plain = rng.random() < 0.3
        token = {"id": vocab.get(text, next_id), "content": text}
        next_id += text not in vocab
        for flag in ("single_word", "lstrip", "rstrip"):
            token[flag] = not plain and rng.random() < 0.35
        token["normalized"] = rng.random() < 0.5
        token["special"] = text not in vocab and rng.random() < 0.4
        tokenizer["added_tokens"].append(token)
    patch["added_tokens"] = tokenizer["added_tokens"]
    return tokenizer, patch, texts


def random_text(rng, tokens):
    return "".join(rng.choice(tokens if rng.random() < 0.4 else FILLING) for _ in range(rng.randint(1, 9)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", help="engine/convert/testdata")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--tokenizers", type=int, default=60)
    p.add_argument("--texts", type=int, default=8, help="of each tokenizer")
    p.add_argument("--kinds", help="of pre-tokenizers, comma-separated; default: all")
    args = p.parse_args()
    rng = random.Random(args.seed)
    print(json.dumps({"source": f"tokenizers {tokenizers.__version__}, tools/oracle/added_tokens.py --seed {args.seed} "
                                f"--tokenizers {args.tokenizers} --texts {args.texts}"}))
    kinds = args.kinds.split(",") if args.kinds else list(KINDS)
    for i in range(args.tokenizers):
        tokenizer, patch, tokens = random_tokenizer(rng, args.folder, kinds[i % len(kinds)])
        judge = tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
        for token in tokenizer["added_tokens"]:
            assert judge.token_to_id(token["content"]) == token["id"], token
        patch["texts"] = []
        while len(patch["texts"]) < args.texts:
            text = random_text(rng, tokens)
            try:
                patch["texts"].append([text, judge.encode(text, add_special_tokens=False).ids])
            except BaseException as error:  # a token in the white space that the one before it has taken
                if type(error).__name__ != "PanicException":
                    raise
        print(json.dumps(patch))


if __name__ == "__main__":
    main()
