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


@pytest.mark.parametrize("n_q, n_kv", [(9, 13), (13, 9), (13, 13)])
@pytest.mark.parametrize("n_head", [1, 4])
@pytest.mark.filterwarnings("ignore:Lower right causal bias")
def test_causal_bias(n_q, n_kv, n_head):
    from torch.nn.attention.bias import causal_lower_right, causal_upper_left
    query, key, value = tensors(n_head=n_head, n_kv_head=n_head, n_q=n_q, n_kv=n_kv)
    for make, rule in ((causal_upper_left, "top_left"), (causal_lower_right, "bottom_right")):
        bias = make(n_q, n_kv)
        expected = sdpa(query, key, value, bias._materialize())
        for found in (rowmax.sdpa(query, key, value, bias), rowmax.attention(query, key, value, bias)):
            assert (found - expected).abs().max() <= 2e-6
            assert torch.equal(found, rowmax.attention(query, key, value, causal=rule))
        with pytest.raises(ValueError, match="CausalBias should not be used with causal=True"):
            rowmax.sdpa(query, key, value, bias, is_causal=True)
        with pytest.raises(RuntimeError, match=f"for {n_q} queries and {n_kv} keys"):
            rowmax.sdpa(query[:, :, 1:], key, value, bias)
        with pytest.raises(TypeError, match="CausalBias"):
            rowmax.attention(query, key, value, bias=bias)


class Holder(torch.Tensor):
    pass


def hollow(x):
    from torch._subclasses.fake_tensor import FakeTensorMode
    yield x.as_subclass(Holder)
    yield FakeTensorMode().from_tensor(x)
    yield torch.masked.masked_tensor(x, x > 0)
    yield torch.nested.nested_tensor(list(x))
    yield torch.nested.nested_tensor(list(x), layout=torch.jagged)
    yield x.to_sparse()
    yield x.to_mkldnn()
    yield x.to("meta")
    yield torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)
    yield torch._efficientzerotensor(x.shape)
    freed = x.clone()
    freed.untyped_storage().resize_(0)
    yield freed


@pytest.mark.filterwarnings("ignore")
def test_tensors_without_numbers_are_refused():
    query, key, value = tensors(n_q=13)
    for x in hollow(query):
        for call in (lambda: rowmax.sdpa(x, key, value), lambda: rowmax.sdpa(query, x, value),
                     lambda: rowmax.sdpa(query, key, x), lambda: rowmax.attention(query, key, x),
                     lambda: rowmax.softmax(x), lambda: rowmax.mask.from_additive(x), lambda: rowmax.mask.bitmap(x),
                     lambda: rowmax.attention(query, key, value, bias=x),
                     lambda: rowmax.attention(query, key, value, sinks=x)):
            with pytest.raises((TypeError, ValueError), match="subclass|layout|device|quantised|memory"):
                call()
    for transform in (torch.func.vmap(lambda q: rowmax.sdpa(q, key[0], value[0])),
                      torch.func.grad(lambda q: rowmax.sdpa(q, key, value).sum())):
        with pytest.raises(TypeError, match="transform of torch.func"):
            transform(query)


def test_negative_and_conjugate_bits():
    query, key, value = tensors(n_q=13)

    def flipped(x):
        return torch.complex(torch.zeros_like(x), -x).conj().imag
    assert flipped(query).is_neg() and torch.equal(flipped(query), query)
    expected = rowmax.sdpa(query, key, value)
    for i in range(3):
        arrays = [query, key, value]
        arrays[i] = flipped(arrays[i])
        assert torch.equal(rowmax.sdpa(*arrays), expected) and torch.equal(rowmax.attention(*arrays), expected)
    bias = torch.randn(13, 13)
    for name in ("bias", "mask"):
        call = (lambda b: rowmax.attention(query, key, value, bias=b)) if name == "bias" else \
            (lambda b: rowmax.sdpa(query, key, value, b))
        assert torch.equal(call(flipped(bias)), call(bias))
    numbers = torch.tensor([0.5, -1, 2, 0.25])
    for name in ("sinks", "alibi"):
        assert torch.equal(rowmax.attention(query, key, value, **{name: flipped(numbers)}),
                           rowmax.attention(query, key, value, **{name: numbers}))
    assert torch.equal(rowmax.softmax(flipped(bias), bias=flipped(bias)), rowmax.softmax(bias, bias=bias))
    table = flipped(bias[:4])
    assert torch.equal(rowmax.attention(query, key, value, relative_bias=(table, -6)),
                       rowmax.attention(query, key, value, relative_bias=(bias[:4], -6)))
    hidden = torch.where(bias < 0, -1e9, 0.0)
    assert np.array_equal(rowmax.mask.from_additive(flipped(hidden)).mask.materialise(1, 1, 13, 13),
                          rowmax.mask.from_additive(hidden).mask.materialise(1, 1, 13, 13))


def test_the_short_way_has_the_same_bits():
    for dtype in TOLERANCE:
        query, key, value = tensors(dtype=dtype)
        for mask in (make(9, 13) for make in MASKS.values()):
            if mask is not None and dtype == torch.float64 and mask.dtype == torch.float32:
                mask = mask.double()
            found = rowmax.sdpa(query, key, value, mask)
            assert torch.equal(found, rowmax.sdpa(query[None], key[None], value[None], mask)[0])
            wrapped = torch.nn.Parameter(query, requires_grad=False)
            assert torch.equal(rowmax.sdpa(wrapped, key, value, mask), found)


def test_a_wanted_gradient_is_told_once(monkeypatch):
    import warnings

    monkeypatch.setattr(rowmax._arrays, "_warned_of_gradients", False)
    query, key, value = tensors()
    query.requires_grad_()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with torch.no_grad():
            rowmax.sdpa(query, key, value)
        assert not told
        rowmax.sdpa(query, key, value)
        rowmax.attention(query, key, value)
    assert len(told) == 1 and "query requires a gradient" in str(told[0].message) and told[0].filename == __file__


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_to_additive_of_torch_types(dtype):
    numbers = rowmax.mask.causal().to_additive(1, 1, 3, 4, dtype=dtype)
    keep = torch.ones(3, 4).tril(1).bool()
    assert numbers.dtype == dtype and torch.equal(numbers[0, 0], torch.zeros(3, 4, dtype=dtype).masked_fill(~keep, -torch.inf))
    lowest = rowmax.mask.causal().to_additive(1, 1, 3, 4, dtype=dtype, fill="min")
    assert torch.equal(lowest[0, 0], torch.zeros(3, 4, dtype=dtype).masked_fill(~keep, torch.finfo(dtype).min))
    with pytest.raises(TypeError, match="int32"):
        rowmax.mask.causal().to_additive(1, 1, 3, 4, dtype=torch.int32)


def test_threads_follow_torch():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert rowmax.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
