#!/usr/bin/env python3
"""Writes engine/tokenizer/testdata/nfc.txt: texts and their form NFC, by Hugging Face `tokenizers`.

    pip install tokenizers
    python3 tools/oracle/nfc_vectors.py > engine/tokenizer/testdata/nfc.txt

A line is TEXT;FORM in hexadecimal. The last lines, `all;BEGIN;HASH`, are FNV-1a hashes of the forms, joined, of each
character alone, each behind "e" and each in front of U+0301, for blocks of 0x1000 characters from BEGIN on.
"""
import random

import tokenizers

NFC = tokenizers.normalizers.NFC()
CHARACTERS = ("aeoiuyEAO\u00e9\u00c5\u212b\u03c9\u03ce\u1f00\u0391 \n\u0300\u0301\u0308\u0327\u0323\u0345\u0328\u05b0\u05bc\u0fb2\u0f80\u0915\u093c"
              "\u1100\u1161\u11a8\uac00\uac01\u1175\u11a7\u3042\u3099\u304b\u309a\u0958\ufb1d\u2126\U0001D15E\U0001D165\U00011099\U000110BA\u0897\u4e2d\U0001F600"
              "\u0344\u0374\uf900\u2add\u0338<\u0bc6\u0bbe\u0dd9\u0dcf\u0dca")


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def main():
    rng = random.Random(1)
    print("# tokenizers %s, tools/oracle/nfc_vectors.py" % tokenizers.__version__)
    for _ in range(300):
        text = "".join(rng.choice(CHARACTERS) for _ in range(rng.randint(1, 8)))
        print(text.encode().hex() + ";" + NFC.normalize_str(text).encode().hex())
    for begin in [b for b in range(0, 0x30000, 0x1000) if b != 0xD000]:
        characters = [chr(c) for c in range(begin, begin + 0x1000)]
        forms = [NFC.normalize_str(text) for c in characters for text in (c, "e" + c, c + "\u0301")]
        print("all;%x;%016x" % (begin, fnv1a("".join(forms).encode())))


if __name__ == "__main__":
    main()
