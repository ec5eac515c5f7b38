#!/usr/bin/env python3
"""The cases of PyTorch's TestAttnBias (test/test_transformers.py) with rowmax.sdpa in the place of torch's: a CausalBias
as attn_mask gives what its matrix gives. Needs torch and the package rowmax; exits with 1 where a case fails.

    bench/attention/attn_bias.py
"""
import itertools
import sys
import warnings

import rowmax
import torch
from torch.nn.attention.bias import CausalVariant, causal_lower_right, causal_upper_left

SHAPES = [(16, 16, 128, 128, 16), (16, 16, 128, 256, 32), (16, 16, 256, 128, 32), (1, 1, 23, 56, 15)]
MAKE = {CausalVariant.UPPER_LEFT: causal_upper_left, CausalVariant.LOWER_RIGHT: causal_lower_right}
TOLERANCE = {torch.float32: (1e-5, 1.3e-6), torch.float16: (1e-3, 1e-3), torch.bfloat16: (1.6e-2, 1e-2)}  # atol, rtol


def worst(variant, shape, dtype):
    batch, heads, n_q, n_kv, dim = shape
    query = torch.randn(batch, n_q, heads, dim).to(dtype).transpose(1, 2)
    key, value = (torch.randn(batch, n_kv, heads, dim).to(dtype).transpose(1, 2) for _ in range(2))
    bias = MAKE[variant](n_q, n_kv)
    found = rowmax.sdpa(query, key, value, bias)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, bias._materialize())
    atol, rtol = TOLERANCE[dtype]
    difference = (found.double() - expected.double()).abs()
    return difference.max().item(), bool((difference <= atol + rtol * expected.double().abs()).all())


def fails_with_is_causal():
    x = torch.randn(2, 2, 5, 8)
    try:
        rowmax.sdpa(x, x, x, causal_upper_left(5, 5), is_causal=True)
    except ValueError as error:
        return "CausalBias should not be used with causal=True" in str(error)
    return False


def main():
    warnings.filterwarnings("ignore", "Lower right causal bias")
    torch.manual_seed(0)
    good = True
    for variant, shape, dtype in itertools.product(MAKE, SHAPES, TOLERANCE):
        difference, passed = worst(variant, shape, dtype)
        good = good and passed
        print(f"{'pass' if passed else 'FAIL'}  {variant.name:11} {str(shape):26} {str(dtype)[6:]:9} {difference:.1e}")
    refused = fails_with_is_causal()
    print(f"{'pass' if refused else 'FAIL'}  with is_causal")
    sys.exit(0 if good and refused else 1)


if __name__ == "__main__":
    main()
