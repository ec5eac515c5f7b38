#!/usr/bin/env python3
"""Writes engine/tokenizer/testdata/: what the tokenizer must give, computed by code that is not ours.

    pip install regex tokenizers sentencepiece protobuf gguf unicodedata2==16.0.0
    python3 tools/make_tokenizer_vectors.py GPT2_VOCABULARY.gguf LLAMA_SPM_VOCABULARY.gguf engine/tokenizer/testdata

The two files are vocabularies of GPT-2 and of Llama 2 (llama.cpp's tree has them in models/); only their first
merges and pieces go into the vectors.

splits.txt   texts and, for each pre-tokenizer pattern, the byte lengths of the words: Python package `regex`, with the
             patterns as they stand in the models' tokenizer.json
bpe.txt      a byte-level vocabulary and the ids that Hugging Face `tokenizers` gives
spm.txt      a SentencePiece vocabulary and the ids that `sentencepiece` gives
"""

import os
import random
import sys

import gguf
import regex
import sentencepiece
import unicodedata2
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
CASED = r"[^\r\n\p{L}\p{N}]?%s*%s+%s|[^\r\n\p{L}\p{N}]?%s+%s*%s|"
CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = CASED % (UPPER, LOWER, SHORT, UPPER, LOWER, SHORT) + r"\p{N}{1,3}" + CASED_REST
TEKKEN = CASED % (UPPER, LOWER, "", UPPER, LOWER, "") + r"\p{N}" + CASED_REST
DEEPSEEK3 = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
             "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def deepseek_letters():
    """The list in tools/make_unicode_tables.py, as a character class."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from make_unicode_tables import DEEPSEEK_LETTERS
    pairs = [r.split("-") for r in DEEPSEEK_LETTERS.split(" ")]
    return r"\s?[" + "".join(chr(int(p[0], 16)) + "-" + chr(int(p[-1], 16)) for p in pairs) + "]+"


PATTERNS = {
    "gpt-2": [GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "qwen35": [QWEN35],
    "gpt-4o": [GPT4O],
    "tekken": [TEKKEN],
    "smollm": [r"\p{N}", GPT2],
    "deepseek-llm": ["[\r\n]", deepseek_letters(), "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
                     r"\s+$", CJK, r"\p{N}+"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

TEXTS = [
    "Hello world", " Hello  world", "Hello, y'all! How are you 😁 ?我想在apple工作1314151天～", "I'm he'll WE'VE It'S 'tis '",
    "don't DON'T don\u2019t 'Sure 'RE'LL''ll 'd'D", "'\u017ftay '\u017f'\u017f", "3.14159 1,000,000 12345678 x86_64 ２３４ ½ Ⅷ", "",
    "\n", "\n\n\n", " \n", "\n ", "a\n\n b", "a \n\n  b", "\t\tx", "  \t ", "trailing   ", "trailing \n \n  ", "\r\n\r\nx", "a\r\rb ",
    "\u00a0x\u00a0\u00a0y", "\u3000全角\u3000 空白\u3000", "\u2028x\u2029 \u0085 y", "x\u200by", "\u200d\u200d", "e\u0301 \u0301x x\u0301\u0302 1\u0301",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "កាន់តែពិសេសអាចខលចេញ", "안녕하세요 세계", "こんにちは、世界。カタカナ", "Ελληνικά Русский עברית العربية",
    "ǅ ǈab ʰx Ωmega ﬁn", "iPhoneXR HTTPServer camelCaseABC 中ABCdef 中文ABC", "ABCdef'SGHI's", "a/b//c\n/ //\n/x", "!!!\n\n??? ...\r\n;",
    "<|im_start|>user\n<|im_end|>", "`code` ``x`` $x+y=z$ <a>^~|", "$$$ +++ ((([[[{{{", "_under_score__ __init__", "a-b–c—d…e", "№5 ™ © ® ° µm",
    "🦙.cpp 😶‍🌫️ 👩‍👩‍👧 🇩🇪", "\x00\x01\x7f \x1c\x1d\x1e\x1f.", "w048 7tuijk dsdfhu", "ied 4 ½ months", "Cửa Việt", "a\u0300\u0301 ä ᾳ ΐ",
    "123abc456 abc123def 1a2b3c", "100% 50€ £3 ¥7 ₿1", "x = [1, 2, 3]; // comment\n\tif (x) { return; }\n", "C:\\path\\to\\file /usr/bin",
    "http://example.com/a?b=c&d=%20e", "user@host", "ＡＢＣ１２３！？", "\ufeffBOM", "\ufffd\ufffdx", "ᲐᲑ ᏣᎳᎩ Ꭰꭰ ⅅⅆ ℂ ℵ ℊ", "…。，、；：", "\U0001e900\U0001e922 𐐀𐐨 𝐀𝟎",
]


def random_texts(count):
    rng = random.Random(20240607)
    by_class = {}
    for code in list(range(0x20, 0x3000)) + list(range(0x3000, 0x20000, 7)):
        if 0xD800 <= code < 0xE000:
            continue
        category = unicodedata2.category(chr(code))
        # Only characters on which both Unicode versions agree.
        if not regex.match(r"\p{%s}" % category, chr(code)):
            continue
        by_class.setdefault(category, []).append(chr(code))
    classes = sorted(by_class)
    common = list(" \n\r\t'abzABZ019.,!?-/<$`|_(") + ["  ", "'s", "'LL", "\u3000", "\u00a0", "中", "é", "Ǆ", "e\u0301", "ʰ", "½", "123"]
    for _ in range(count):
        yield "".join(rng.choice(common) if rng.random() < 0.7 else rng.choice(by_class[rng.choice(classes)])
                      for _ in range(rng.randint(1, 14)))


def isolate(pattern, pieces):
    """Matches and what lies between them, as `tokenizers` does with behaviour "isolated"."""
    out = []
    for piece in pieces:
        at = 0
        for match in regex.finditer(pattern, piece):
            if match.end() == match.start():
                continue
            out += [piece[at:match.start()], match.group()]
            at = match.end()
        out.append(piece[at:])
    return [piece for piece in out if piece]


def write_splits(path):
    with open(path, "w") as file:
        file.write("# tools/make_tokenizer_vectors.py, regex %s; text in hex, then the byte lengths of its words for each of\n"
                   % regex.__version__)
        file.write(";".join(PATTERNS) + "\n")
        for text in TEXTS + list(random_texts(400)):
            fields = [text.encode().hex()]
            for passes in PATTERNS.values():
                pieces = [text] if text else []
                for pattern in passes:
                    pieces = isolate(pattern, pieces)
                fields.append(" ".join(str(len(piece.encode())) for piece in pieces))
            file.write(";".join(fields) + "\n")


def byte_texts():
    printable = [b for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or b >= 174]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def read_list(path, key):
    field = gguf.GGUFReader(path).fields[key]
    if field.types[-1] == gguf.GGUFValueType.STRING:
        return [bytes(field.parts[i]).decode() for i in field.data]
    return [field.parts[i][0].item() for i in field.data]


def long_texts():
    rng = random.Random(7)
    return ["a" * 300, "ab" * 200, "".join(rng.choice("etaoin") for _ in range(400)), " " * 130, "the" * 60 + "\n" * 70,
            "".join(rng.choice("aあé😁 ") for _ in range(150))]


def write_bpe(path, vocabulary):
    merges = [tuple(m.split(" ")) for m in read_list(vocabulary, "tokenizer.ggml.merges")[:2500]]
    tokens = [text for _, text in sorted(byte_texts().items())] + [a + b for a, b in merges]
    tokens = list(dict.fromkeys(tokens))
    ids = {text: i for i, text in enumerate(tokens)}
    gpt2 = Tokenizer(models.BPE(ids, merges))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    # Without most merges of its middle, whole words can only come from ignore_merges.
    kept = merges[:300]
    llama3 = Tokenizer(models.BPE(ids, kept, ignore_merges=True))
    llama3.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    with open(path, "w") as file:
        file.write("# tools/make_tokenizer_vectors.py, Hugging Face tokenizers: merges (tokens: the 256 bytes, then what the\n"
                   "# merges make, in order); then text in hex; ids with gpt-2; ids with llama-bpe and the first 300 merges\n")
        file.write("%d\n" % len(merges))
        file.writelines("%s %s\n" % merge for merge in merges)
        for text in TEXTS + long_texts() + list(random_texts(60)):
            file.write(";".join([text.encode().hex(), " ".join(map(str, gpt2.encode(text).ids)),
                                 " ".join(map(str, llama3.encode(text).ids))]) + "\n")


def write_spm(path, vocabulary):
    tokens = read_list(vocabulary, "tokenizer.ggml.tokens")
    scores = read_list(vocabulary, "tokenizer.ggml.scores")
    types = read_list(vocabulary, "tokenizer.ggml.token_type")
    keep = list(range(2500)) + [i for i in range(2500, len(tokens)) if len(tokens[i]) == 1][:400]
    kinds = {1: 1, 2: 2, 3: 3, 6: 6}
    rows = [(tokens[i], scores[i], kinds[types[i]]) for i in keep]
    rows += [("<tool>", 0.0, 4), ("\n\n", 0.0, 4), ("<tool>>", 0.0, 4)]
    proto = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in rows:
        proto.pieces.add(piece=text, score=score, type=kind)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.remove_extra_whitespaces = False
    models_by_prefix = []
    for prefix in (True, False):
        proto.normalizer_spec.add_dummy_prefix = prefix
        models_by_prefix.append(sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString()))
    with open(path, "w") as file:
        file.write("# tools/make_tokenizer_vectors.py, sentencepiece %s: tokens (text in hex, score, type); then text in hex; ids\n"
                   "# with a space put before; ids without\n" % sentencepiece.__version__)
        file.write("%d\n" % len(rows))
        file.writelines("%s %.9g %d\n" % (text.encode().hex(), score, kind) for text, score, kind in rows)
        texts = TEXTS + long_texts() + ["a<tool>b", "<tool>> x <tool>", "x\n\n\ny", "<s> </s><unk> <0x41>"] + list(random_texts(60))
        for text in texts:
            # sentencepiece puts no space before a user-defined piece's neighbours; and it drops NUL bytes.
            if "\x00" in text or "\u2581" in text:
                continue
            file.write(";".join([text.encode().hex()] + [" ".join(map(str, m.encode(text))) for m in models_by_prefix]) + "\n")


def main():
    gpt2, llama, folder = sys.argv[1:4]
    write_splits(os.path.join(folder, "splits.txt"))
    write_bpe(os.path.join(folder, "bpe.txt"), gpt2)
    write_spm(os.path.join(folder, "spm.txt"), llama)


if __name__ == "__main__":
    main()
