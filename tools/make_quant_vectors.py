#!/usr/bin/env python3
"""Writes engine/quant/testdata/<format>.bin: a tensor of each weight format as it decodes, and one as it encodes.

Formats that PyPI `gguf` knows are decoded and encoded by it; the others by the functions below, written from the
formats' descriptions (none of them shares code with engine/quant). Needs numpy and gguf (the stored files were made with
gguf 0.19.0 and numpy 2.4.6). Usage: make_quant_vectors.py OUT_DIR

A file, little-endian: u32 n_decode, n_encode, cols, decode_bytes, encode_bytes; the bytes of a tensor of n_decode rows
of cols elements; its f32 values; then the f32 values of n_encode rows and the bytes that they encode to (n_encode is 0
for formats that gguf does not encode).
"""

import struct
import sys
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import NVFP4, dequantize, quantize

# Where each format has its halves (byte offsets in a block); everything else in a block may be any bits.
HALVES = {
    "F32": [], "F16": [0], "BF16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "TQ1_0": [52], "TQ2_0": [64],
    "Q2_K": [80, 82], "Q3_K": [108], "IQ4_NL": [0], "IQ4_XS": [0],
}
NOT_ENCODED = ("_K", "_NL", "_XS")  # by gguf
# Zeros, denormals, the largest, infinities, NaNs (quiet and signalling).
ODD_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7D01]


def blocks_of(size, halves, rng):
    """Random bits with ordinary scales, then with each odd half in each place."""
    n = 8 if size > 4 else 512
    ordinary = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in halves if size > 4 else []:
        ordinary[:, at:at + 2] = rng.normal(0, 0.05, (n, 1)).astype(np.float16).view(np.uint8)
    odd = []
    for at in halves:
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


def store(out, name, tensor, decoded, values, encoded):
    cols = decoded.shape[1]
    sizes = (len(decoded), len(values), cols, tensor.size, encoded.size)
    parts = [struct.pack("<5I", *sizes), tensor.tobytes(), np.ascontiguousarray(decoded, "<f4").tobytes(),
             np.ascontiguousarray(values, "<f4").tobytes(), encoded.tobytes()]
    (out / f"{name.lower()}.bin").write_bytes(b"".join(parts))


NONE = np.empty(0, np.uint8)


def half_away(x):
    return np.trunc(x + np.copysign(np.float32(0.5), x))


def codes_of(values, scale):
    """-1, 0, 1 as 0, 1, 2; scale has a last axis of 1."""
    inverse = np.where(scale != 0, np.float32(1) / np.where(scale != 0, scale, np.float32(1)), np.float32(0))
    return (np.clip(half_away(values * inverse), -1, 1) + 1).astype(np.uint8)


# ---- formats with one half a block: (elements, where the half is, bits -> codes, codes -> bits)

def unpack_low_first(qs, bits):
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((qs[..., None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(len(qs), -1)


def pack_low_first(codes, bits):
    parts = codes.reshape(len(codes), -1, 8 // bits).astype(np.uint32)
    return (parts << np.arange(0, 8, bits, dtype=np.uint32)).sum(axis=-1).astype(np.uint8)


PTQ1_0_RUNS = [(0, 16, 5, 0), (16, 8, 5, 80), (24, 2, 4, 120)]  # first byte, bytes, digits, first element


def unpack_ptq1_0(qs):
    codes = np.zeros((len(qs), 128), np.uint8)
    for first, n_bytes, n_digits, element in PTQ1_0_RUNS:
        for m in range(n_bytes):
            # byte = ceil(number * 256 / 243): the digits are those of floor(byte * 243 / 256).
            rest = qs[:, first + m].astype(np.uint32) * 243
            for n in range(n_digits):
                unit = 256 * 3 ** (4 - n)
                digit = rest // unit
                rest -= digit * unit
                codes[:, element + n * n_bytes + m] = digit
    return codes


def pack_ptq1_0(codes):
    qs = np.zeros((len(codes), 26), np.uint8)
    for first, n_bytes, n_digits, element in PTQ1_0_RUNS:
        for m in range(n_bytes):
            number = np.zeros(len(codes), np.uint32)
            for n in range(5):
                digit = codes[:, element + n * n_bytes + m] if n < n_digits else 0
                number = number * 3 + digit
            qs[:, first + m] = (number * 256 + 242) // 243
    return qs


def with_half_first(d, qs):
    return np.concatenate([d.astype(np.float16).view(np.uint8), qs], axis=1)


def split(blocks, half_first):
    d, qs = (blocks[:, :2], blocks[:, 2:]) if half_first else (blocks[:, -2:], blocks[:, :-2])
    return np.ascontiguousarray(d).view(np.float16).astype(np.float32), qs


def decode_two_bits(blocks):
    d, qs = split(blocks, True)
    return d * (unpack_low_first(qs, 2).astype(np.float32) - np.float32(1))


def encode_two_bits(values):
    d = np.abs(values).max(axis=1, keepdims=True)
    return with_half_first(d, pack_low_first(codes_of(values, d), 2))


def decode_q1_0(blocks):
    d, qs = split(blocks, True)
    return np.where(unpack_low_first(qs, 1) == 1, d, -d)


def encode_q1_0(values):
    total = np.zeros(len(values), np.float32)
    for column in np.abs(values).T:  # in order, in f32
        total = total + column
    d = (total / np.float32(128))[:, None]
    return with_half_first(d, pack_low_first((values >= 0).astype(np.uint8), 1))


def decode_ptq1_0(blocks):
    d, qs = split(blocks, False)
    return d * (unpack_ptq1_0(qs).astype(np.float32) - np.float32(1))


# 32 patterns of four codes of 2 bits, by sign * 16 + slot; from the pull request that has the format.
STQ1_0_PATTERNS = np.array([
    0xA9, 0x89, 0x29, 0x09, 0xA6, 0x86, 0x26, 0x06, 0x9A, 0x92, 0x1A, 0x12, 0x6A, 0x62, 0x4A, 0x42,
    0x01, 0x21, 0x81, 0xA1, 0x04, 0x24, 0x84, 0xA4, 0x10, 0x18, 0x90, 0x98, 0x40, 0x48, 0x60, 0x68], np.uint8)


def decode_stq1_0(blocks):
    d, bits = split(blocks, False)
    slots = unpack_low_first(bits[:, :32], 4)
    signs = unpack_low_first(bits[:, 32:], 1)
    patterns = STQ1_0_PATTERNS[signs * 16 + slots]  # 64 a block
    lanes = unpack_low_first(patterns.reshape(-1, 1), 2).reshape(-1, 4, 16, 4)  # chunk, group, lane
    return d * (lanes.transpose(0, 1, 3, 2).reshape(-1, 256).astype(np.float32) - np.float32(1))


def encode_stq1_0(values):
    d = np.abs(values).max(axis=1, keepdims=True)
    groups = values.reshape(-1, 4, 4, 16).transpose(0, 1, 3, 2).reshape(-1, 4)
    codes = np.where(groups < 0, 0, 2).astype(np.uint8)
    codes[np.arange(len(codes)), np.abs(groups).argmin(axis=1)] = 1
    patterns = pack_low_first(codes, 2)[:, 0]
    number = np.zeros(256, np.uint8)
    number[STQ1_0_PATTERNS] = np.arange(32)
    number = number[patterns].reshape(-1, 64)
    return np.concatenate([pack_low_first(number & 15, 4), pack_low_first(number >> 4, 1), d.astype(np.float16).view(np.uint8)],
                          axis=1)


def encode_ptq1_0(values):
    d = np.abs(values).max(axis=1, keepdims=True)
    return np.concatenate([pack_ptq1_0(codes_of(values, d)), d.astype(np.float16).view(np.uint8)], axis=1)


# name: elements, bytes, byte of the half, decode, encode
OWN_BLOCKS = {
    "Q2_0": (64, 18, 0, decode_two_bits, encode_two_bits),
    "Q2_0_128": (128, 34, 0, decode_two_bits, encode_two_bits),
    "PQ2_0": (128, 34, 0, decode_two_bits, encode_two_bits),
    "Q1_0": (128, 18, 0, decode_q1_0, encode_q1_0),
    "PTQ1_0": (128, 28, 26, decode_ptq1_0, encode_ptq1_0),
}
STQ1_0 = (256, 42, 40, decode_stq1_0, encode_stq1_0)


# ---- MXFP4: a byte as scale; 255 is NaN in the specification and a number for gguf, so it is left out

def make_mxfp4(out, rng):
    kind = GGMLQuantizationType.MXFP4
    blocks = rng.integers(0, 256, (64, 17), dtype=np.uint8)
    blocks[:, 0] = np.concatenate([rng.integers(110, 130, 48), [0, 1, 2, 3, 126, 127, 128, 129, 250, 251, 252, 253, 254, 4, 5, 6]])
    values = values_of(32, rng)
    values = np.concatenate([values, np.ldexp(values, -90), np.ldexp(values, 100)]).astype(np.float32)
    encoded = np.ascontiguousarray(quantize(values, kind)).view(np.uint8)
    store(out, "MXFP4", blocks, dequantize(blocks, kind), values, encoded)


# ---- NVFP4: any byte is a scale; gguf decodes it and rounds scales, which are the largest magnitude over 6

def make_nvfp4(out, rng):
    kind = GGMLQuantizationType.NVFP4
    blocks = rng.integers(0, 256, (96, 36), dtype=np.uint8)
    blocks[:64, :4] = np.arange(256, dtype=np.uint8).reshape(64, 4)
    values = values_of(64, rng)
    values = np.concatenate([values, values * np.float32(0.01), values * np.float32(50)]).astype(np.float32)
    groups = values.reshape(-1, 4, 16)
    scales = NVFP4.fp32_to_ue4m3(np.abs(groups).max(axis=2) / np.float32(6))
    levels = NVFP4.ue4m3_to_fp32(scales).astype(np.float32)[..., None] * np.array(NVFP4.kvalues, np.float32)
    codes = np.abs(levels[:, :, None, :] - groups[..., None]).argmin(axis=3).astype(np.uint8)
    encoded = np.concatenate([scales, (codes[..., :8] | codes[..., 8:] << 4).reshape(-1, 32)], axis=1)
    store(out, "NVFP4", blocks, np.ascontiguousarray(dequantize(blocks, kind), np.float32), values, encoded)


# ---- the IQ types: random bits are blocks; IQ1_M has its half in the highest four bits of the last four 16-bit words

def make_iq(out, name, rng):
    kind = GGMLQuantizationType[name]
    size = GGML_QUANT_SIZES[kind][1]
    halves = np.concatenate([rng.normal(0, 0.05, 8).astype(np.float16).view(np.uint16), np.array(ODD_HALVES, np.uint16)])
    blocks = rng.integers(0, 256, (len(halves), size), dtype=np.uint8)
    if name == "IQ1_M":
        for i in range(4):
            blocks[:, size - 7 + 2 * i] = blocks[:, size - 7 + 2 * i] & 15 | (halves >> 4 * i & 15) << 4
    else:
        blocks[:, :2] = halves.astype("<u2").view(np.uint8).reshape(-1, 2)
    store(out, name, blocks, np.ascontiguousarray(dequantize(blocks, kind), np.float32), np.empty((0, 256)), NONE)


# ---- I2_S: [rows, cols] codes <-> the bytes of the tensor

def i2_s_place(layout, rows, cols):
    """Byte and shift of every element."""
    row, col = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    if layout == "row4":
        return row // 4 * cols + col, 6 - 2 * (row % 4)
    quarter = layout // 4
    flat = row * cols + col
    return flat // layout * quarter + flat % quarter, 6 - 2 * (flat % layout // quarter)


def i2_s(layout, codes, scale, tail):
    rows, cols = codes.shape
    byte, shift = i2_s_place(layout, rows, cols)
    out = np.zeros(rows * cols // 4, np.uint32)
    np.add.at(out, byte.ravel(), codes.ravel().astype(np.uint32) << shift.ravel().astype(np.uint32))
    return np.concatenate([out.astype(np.uint8), np.frombuffer(struct.pack("<f", scale), np.uint8), tail])


def make_i2_s(out, name, layout, rng):
    rows, cols = 8, 512
    codes = rng.integers(0, 3, (rows, cols)).astype(np.uint8)
    scale = np.float32(0.0371)
    garbage = rng.integers(0, 256, 28).astype(np.uint8)
    tensor = i2_s(layout, codes, scale, garbage)
    decoded = scale * (codes.astype(np.float32) - np.float32(1))
    values = values_of(rows * cols // 12 + 1, rng).reshape(-1)[:rows * cols].reshape(rows, cols)
    most = np.abs(values).max()
    ternary = (np.clip(half_away(values / most), -1, 1) + 1).astype(np.uint8)
    store(out, name, tensor, decoded, values, i2_s(layout, ternary, most, np.zeros(28, np.uint8)))


# ---- IQ1_BN and IQ2_BN: a scale a row

def iq2_bn(codes, scales):
    rows, cols = codes.shape
    packed = (codes.reshape(rows, -1, 4, 16).astype(np.uint32) << np.array([0, 2, 4, 6], np.uint32)[:, None]).sum(axis=2)
    head = scales.astype("<f4").reshape(-1, 1).view(np.uint8)
    return np.concatenate([head, packed.astype(np.uint8).reshape(rows, -1)], axis=1).reshape(-1)


def iq2_bn_r4(codes, scales):
    rows, cols = codes.shape
    parts = []
    for group in range(0, rows, 4):
        parts.append(scales[group:group + 4].astype("<f4").view(np.uint8))
        # rows, blocks, l, m, i -> blocks, l, rows, i, with m as bits
        block = codes[group:group + 4].reshape(4, -1, 4, 4, 4).astype(np.uint32)
        packed = (block << np.array([0, 2, 4, 6], np.uint32)[:, None]).sum(axis=3).transpose(1, 2, 0, 3)
        parts.append(packed.astype(np.uint8).reshape(-1))
    return np.concatenate(parts)


def iq1_bn(codes, scales):
    rows, cols = codes.shape
    blocks = codes.reshape(rows, -1, 4, 16).astype(np.uint32)
    powers = 3 ** np.arange(5, dtype=np.uint32)
    numbers = (blocks[..., :15].reshape(rows, -1, 12, 5) * powers).sum(axis=-1)
    last = (blocks[..., 15] * powers[:4]).sum(axis=-1, keepdims=True)
    packed = (np.concatenate([numbers, last], axis=-1) * 256 + 242) // 243
    head = scales.astype(np.float16).reshape(-1, 1).view(np.uint8)
    return np.concatenate([head, packed.astype(np.uint8).reshape(rows, -1)], axis=1).reshape(-1)


def make_iq_bn(out, name, write, rng):
    rows, cols = 8, 512
    codes = rng.integers(0, 3, (rows, cols)).astype(np.uint8)
    scales = rng.normal(0, 0.05, rows).astype(np.float16).astype(np.float32)
    decoded = scales[:, None] * (codes.astype(np.float32) - np.float32(1))
    values = values_of(cols, rng)
    most = np.abs(values).max(axis=1)
    most[most == 0] = 1
    ternary = (np.clip(half_away(values / most[:, None]), -1, 1) + 1).astype(np.uint8)
    store(out, name, write(codes, scales), decoded, values, write(ternary, most))


# ---- Q2_0C: codes 0 to 3 are -3, -1, 1 and 3 times the half; no quantiser is public. Halves whose double is none are
# refused, and of 0 the sign is free: both are left out

def make_q2_0c(out, name, rng):
    halves = np.array([0x0001, 0x83FF, 0x0400, 0x77FF, 0xF7FF, 0x7E00, 0x7D01], np.uint16)
    halves = np.concatenate([rng.normal(0, 0.05, 8).astype(np.float16).view(np.uint16), halves])
    blocks = rng.integers(0, 256, (len(halves), 130), dtype=np.uint8)
    blocks[:, :2] = halves.astype("<u2").view(np.uint8).reshape(-1, 2)
    d, qs = split(blocks, True)
    levels = np.array([-3, -1, 1, 3], np.float32)
    store(out, name, blocks, d * levels[unpack_low_first(qs, 2)], np.empty((0, 512)), NONE)


def make_own_blocks(out, name, form, rng):
    elements, size, half, decode, encode = form
    blocks = blocks_of(size, [half], rng)
    values = values_of(elements, rng)
    store(out, name, blocks, decode(blocks), values, encode(values))


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    np.seterr(all="ignore")
    rng = np.random.default_rng(20)
    for name in HALVES:
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = blocks_of(size, HALVES[name], rng)
        decoded = np.ascontiguousarray(dequantize(blocks, kind), np.float32)
        values, encoded = np.empty((0, elements)), NONE
        if not name.endswith(NOT_ENCODED):
            values = values_of(max(elements, 32), rng).reshape(-1, elements)
            encoded = np.ascontiguousarray(quantize(values, kind)).view(np.uint8)
        store(out, name, blocks, decoded.reshape(-1, elements), values, encoded)
    make_mxfp4(out, np.random.default_rng(22))
    make_nvfp4(out, np.random.default_rng(24))
    rng = np.random.default_rng(23)
    for name in ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"]:
        make_iq(out, name, rng)
    rng = np.random.default_rng(21)
    for name, blocks in OWN_BLOCKS.items():
        make_own_blocks(out, name, blocks, rng)
    for name in ["STQ1_0", "STQ1_0_42"]:
        make_own_blocks(out, name, STQ1_0, np.random.default_rng(25))
    for name in ["Q2_0C", "Q2_0C_41"]:
        make_q2_0c(out, name, np.random.default_rng(26))
    for name, layout in {"I2_S": 128, "I2_S_64": 64, "I2_S_ROW4": "row4"}.items():
        make_i2_s(out, name, layout, rng)
    for name, write in {"IQ1_BN": iq1_bn, "IQ2_BN": iq2_bn, "IQ2_BN_R4": iq2_bn_r4}.items():
        make_iq_bn(out, name, write, rng)


if __name__ == "__main__":
    main()
