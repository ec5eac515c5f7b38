#!/usr/bin/env python3
"""Writes engine/quant/testdata/<format>.bin: blocks of each weight format as PyPI `gguf` decodes and encodes them.

Needs numpy and gguf (the stored files were made with gguf 0.19.0 and numpy 2.4.6). Usage: make_quant_vectors.py OUT_DIR

A file, little-endian: u32 n_decode, n_encode, block_bytes, block_elements; n_decode blocks; their n_decode *
block_elements f32 values; then n_encode * block_elements f32 values and the n_encode blocks that gguf makes of them
(n_encode is 0 for the K-quants, which gguf does not encode).
"""

import struct
import sys
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

# Where each format has its halves (byte offsets in a block); everything else in a block may be any bits.
HALVES = {
    "F32": [], "F16": [0], "BF16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
# Zeros, denormals, the largest, infinities, NaNs (quiet and signalling).
ODD_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7D01]


def blocks_of(name, size, rng):
    """Random bits with ordinary scales, then with each odd half in each place."""
    n = 8 if size > 4 else 512
    ordinary = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in HALVES[name] if size > 4 else []:
        ordinary[:, at:at + 2] = rng.normal(0, 0.05, (n, 1)).astype(np.float16).view(np.uint8)
    odd = []
    for at in HALVES[name]:
        for bits in ODD_HALVES:
            block = ordinary[len(odd) % n].copy()
            block[at:at + 2] = np.frombuffer(struct.pack("<H", bits), np.uint8)
            odd.append(block)
    return np.concatenate([ordinary, np.array(odd, np.uint8).reshape(-1, size)])


def values_of(elements, rng):
    values = rng.normal(0, 0.05, (12, elements)).astype(np.float32)
    values[1] *= 1e4
    values[2] *= 1e-7
    values[3] = 0.0
    values[4] = np.abs(values[4]) + 1.0
    values[5] = -np.abs(values[5]) - 1.0
    values[6] = 0.25
    values[7, ::3] = 0.0
    values[8] = np.round(values[8] * 100) / 8  # exact ties
    return values


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    np.seterr(all="ignore")
    rng = np.random.default_rng(20)
    for name in HALVES:
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = blocks_of(name, size, rng)
        decoded = np.ascontiguousarray(dequantize(blocks, kind), np.float32)
        values = encoded = np.empty(0)
        if not name.endswith("_K"):
            values = values_of(max(elements, 32), rng).reshape(-1, elements)
            encoded = np.ascontiguousarray(quantize(values, kind)).view(np.uint8)
        header = struct.pack("<4I", len(blocks), len(values), size, elements)
        parts = [header, blocks.tobytes(), decoded.tobytes(), values.astype(np.float32).tobytes(), encoded.tobytes()]
        (out / f"{name.lower()}.bin").write_bytes(b"".join(parts))


if __name__ == "__main__":
    main()
