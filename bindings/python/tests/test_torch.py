"""Against PyTorch on the CPU."""

import itertools

import numpy as np
import pytest
import rowmax

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
sdpa = torch.nn.functional.scaled_dot_product_attention

TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2,
             torch.float64: 1e-13}


def tensors(batch=2, n_head=4, n_kv_head=4, n_q=9, n_kv=13, dim=16, v_dim=16, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, n_head, n_q, dim), (batch, n_kv_head, n_kv, dim), (batch, n_kv_head, n_kv, v_dim))
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)


def agrees(query, key, value, tolerance=None, **options):
    found = rowmax.sdpa(query, key, value, **options)
    expected = sdpa(query, key, value, **options)
    assert isinstance(found, torch.Tensor) and found.dtype == query.dtype and found.shape == expected.shape
    if found.numel():
        limit = tolerance or TOLERANCE.get(query.dtype, 2e-6)
        assert (found.double() - expected.double()).abs().max() <= limit


MASKS = {
    "none": lambda n_q, n_kv: None,
    "bool": lambda n_q, n_kv: torch.rand(n_q, n_kv, generator=torch.Generator().manual_seed(5)) < 0.6,
    "padding": lambda n_q, n_kv: (torch.arange(n_kv) >= n_kv // 3)[None, None, None].expand(2, 1, 1, n_kv),
    "empty rows": lambda n_q, n_kv: (torch.arange(n_q) % 3 > 0)[:, None].expand(n_q, n_kv),
    "per head": lambda n_q, n_kv: torch.rand(2, 4, n_q, n_kv, generator=torch.Generator().manual_seed(6)) < 0.5,
    "float": lambda n_q, n_kv: torch.randn(4, n_q, n_kv, generator=torch.Generator().manual_seed(7)),
    "minus infinity": lambda n_q, n_kv: torch.zeros(n_q, n_kv).masked_fill(
        torch.rand(n_q, n_kv, generator=torch.Generator().manual_seed(8)) < 0.5, -torch.inf),
    "keys": lambda n_q, n_kv: torch.randn(1, n_kv, generator=torch.Generator().manual_seed(9)),
}


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n_q, n_kv, v_dim", [(9, 13, 16), (13, 9, 8), (1, 200, 16), (33, 33, 40)])
def test_grid(dtype, mask, n_q, n_kv, v_dim):
    query, key, value = tensors(n_q=n_q, n_kv=n_kv, v_dim=v_dim, dtype=dtype)
    attn_mask = MASKS[mask](n_q, n_kv)
    if dtype == torch.float64 and attn_mask is not None and attn_mask.dtype == torch.float32:
        attn_mask = attn_mask.double()  # torch 2.15 takes the bytes of an f32 mask for f64 there
    agrees(query, key, value, attn_mask=attn_mask)


def test_f32_mask_of_f64_queries():
    query, key, value = tensors(dtype=torch.float64)
    mask = torch.randn(9, 13)
    assert torch.equal(rowmax.sdpa(query, key, value, mask), rowmax.sdpa(query, key, value, mask.double()))


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("n_q, n_kv", [(9, 13), (13, 9), (1, 5), (70, 70)])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
def test_causal_scale_and_gqa(dtype, n_q, n_kv, n_kv_head):
    query, key, value = tensors(n_q=n_q, n_kv=n_kv, n_kv_head=n_kv_head, dtype=dtype)
    agrees(query, key, value, is_causal=True, enable_gqa=True)
    agrees(query, key, value, scale=0.3, enable_gqa=True)
    agrees(query, key, value, scale=-0.2, enable_gqa=n_kv_head != 1)


def test_mask_in_half_precision():
    query, key, value = tensors(dtype=torch.float16)
    agrees(query, key, value, attn_mask=torch.randn(9, 13).half())
    agrees(query, key, value, attn_mask=torch.randn(9, 13))


@pytest.mark.parametrize("shapes", [
    ((9, 16), (13, 16), (13, 8)), ((4, 9, 16), (4, 13, 16), (4, 13, 8)), ((3, 2, 4, 9, 16), (3, 2, 4, 13, 16), (3, 2, 4, 13, 8)),
    ((2, 4, 9, 16), (1, 4, 13, 16), (2, 1, 13, 8)), ((1, 1, 9, 16), (2, 4, 13, 16), (2, 4, 13, 8)),
    ((2, 4, 9, 16), (4, 13, 16), (4, 13, 8)), ((0, 4, 9, 16), (0, 4, 13, 16), (0, 4, 13, 8)),
    ((2, 4, 0, 16), (2, 4, 13, 16), (2, 4, 13, 8)), ((2, 4, 9, 16), (2, 4, 0, 16), (2, 4, 0, 8)),
], ids=str)
def test_shapes(shapes):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    agrees(query, key, value)
    if query.dim() == 5:
        agrees(query, key, value, attn_mask=torch.rand(3, 1, 1, 9, 13, generator=generator) < 0.5)
        agrees(query, key, value, attn_mask=torch.randn(2, 4, 9, 13, generator=generator))


def test_unequal_key_and_value_heads():
    query, key, value = tensors(n_head=8, n_kv_head=4)
    agrees(query, key[:, :2], value, enable_gqa=True)
    agrees(query, key[:, :2], value[:, :1], enable_gqa=True)


def layouts(x):
    yield x
    yield x.transpose(1, 2).contiguous().transpose(1, 2)
    yield x.transpose(2, 3).contiguous().transpose(2, 3)
    yield torch.stack([x, x], dim=-1)[..., 1]


def test_strides():
    query, key, value = tensors()
    expected = rowmax.sdpa(query, key, value, is_causal=True)
    for q, k, v in itertools.product(layouts(query), layouts(key), layouts(value)):
        assert torch.equal(rowmax.sdpa(q, k, v, is_causal=True), expected)


def test_nothing_is_copied():
    query, key, value = tensors(batch=1, n_head=1, n_kv_head=1, n_kv=1)
    many_k, many_v = (x.expand(1, 1, 2**33, 16) for x in (key, value))
    out = rowmax.attention(query, many_k, many_v, kv_len=70)
    assert torch.allclose(out, value.expand_as(out), atol=1e-6)


def test_gradients_are_left_behind():
    query, key, value = tensors()
    out = rowmax.sdpa(query.requires_grad_(), key.requires_grad_(), value)
    assert not out.requires_grad
    agrees(query.detach(), key.detach(), value)


@pytest.mark.parametrize("call", [
    lambda s, q, k, v: s(q, k, v, attn_mask=torch.ones(9, 13, dtype=torch.bool), is_causal=True),
    lambda s, q, k, v: s(q, k[:, :2], v[:, :2]),
    lambda s, q, k, v: s(q, k[:, :3], v[:, :3], enable_gqa=True),
    lambda s, q, k, v: s(q, k.half(), v),
    lambda s, q, k, v: s(q, k, v, attn_mask=torch.zeros(9, 13, dtype=torch.float16)),
    lambda s, q, k, v: s(q, k, v, attn_mask=torch.zeros(9, 13, dtype=torch.int32)),
    lambda s, q, k, v: s(q, k, v, attn_mask=torch.zeros(3, 1, 1, 13)),
    lambda s, q, k, v: s(q, k, v, attn_mask=torch.zeros(2, 2, 4, 9, 13)),
    lambda s, q, k, v: s(q[..., :4], k, v),
    lambda s, q, k, v: s(q, k[:, :, :3], v),
    lambda s, q, k, v: s(q[0, 0, 0], k, v),
])
def test_errors_where_torch_has_them(call):
    for function in (sdpa, rowmax.sdpa):
        with pytest.raises(RuntimeError):
            call(function, *tensors(v_dim=8))


def test_dropout_is_refused():
    with pytest.raises(ValueError, match="dropout_p"):
        rowmax.sdpa(*tensors(), dropout_p=0.1)


def test_numpy_in_numpy_out():
    query, key, value = tensors()
    found = rowmax.sdpa(query.numpy(), key.numpy(), value.numpy(), attn_mask=MASKS["bool"](9, 13).numpy())
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, rowmax.sdpa(query, key, value, MASKS["bool"](9, 13)).numpy())


def test_padding_rows_of_a_batch():
    """Left padding and causal in one mask: what torch needs a matrix for is two rules here."""
    query, key, value = tensors(n_q=13)
    pad = torch.tensor([4, 0])
    i, j = torch.arange(13)[:, None], torch.arange(13)
    matrix = (j <= i) & (j >= pad[:, None, None, None])
    found = rowmax.attention(query, key, value, rowmax.mask.causal() & rowmax.mask.left_padding(pad))
    expected = sdpa(query, key, value, attn_mask=matrix)
    assert (found - expected).abs().max() <= 2e-6
    assert (found[0, :, :4] == 0).all()
