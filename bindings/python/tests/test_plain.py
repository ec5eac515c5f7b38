"""What an argument may be, and the short way that plain calls of sdpa take. Needs no torch; test_torch.py has more."""

import itertools
import sys
import types

import numpy as np
import pytest
import reference
import rowmax


def both_ways(q, k, v, mask=None, **options):
    """By the short way, and by the general one: five dimensions are not plain."""
    general = rowmax.sdpa(q[None], k[None], v[None], mask if mask is None else mask[None], **options)
    return rowmax.sdpa(q, k, v, mask, **options), general[0]


def masks():
    rng = np.random.default_rng(3)
    for shape in itertools.product((1, 2), (1, 4), (1, 5), (1, 70)):
        yield rng.random(shape) < 0.6
        yield rng.standard_normal(shape).astype(np.float32)
    keys = np.arange(70)
    for keep in (keys >= 3, keys < 66, (keys > 1) & (keys < 68), keys < 0, keys != 30):
        yield np.broadcast_to(keep, (2, 1, 1, 70))
        yield np.broadcast_to(keep, (2, 4, 5, 70))
        yield np.broadcast_to(np.stack([keep, keys >= 0])[:, None, None], (2, 1, 1, 70))[..., ::-1]
    yield (rng.random((2, 4, 5, 140)) < 0.5)[..., ::2]
    yield ((rng.random((1, 1, 5, 70)) < 0.5).view(np.uint8) * np.uint8(2)).view(bool)  # a true byte need not be 1


@pytest.mark.parametrize("mask", list(masks()), ids=lambda m: f"{m.dtype}{m.shape}{m.strides}")
def test_the_short_way_has_the_same_bits(mask):
    q, k, v = reference.problem(n_kv_head=4, n_kv=70)
    short, general = both_ways(q, k, v, mask)
    assert np.array_equal(short, general)
    keep, bias = (mask, None) if mask.dtype == bool else (None, mask)
    keep = None if keep is None else keep.view(np.uint8) != 0
    assert np.abs(short - reference.attention(q, k, v, keep, bias=bias)[0]).max() < 2e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.25}, {"threads": 2}], ids=str)
def test_the_short_way_of_layouts(dtype, options):
    q, k, v = reference.problem(dtype=dtype)
    for a, b, c in itertools.product((q, q.swapaxes(1, 2).copy().swapaxes(1, 2), q[..., ::-1]), (k, k[:, :, ::-1]), (v,)):
        short, general = both_ways(a, b, c, enable_gqa=True, **options)
        assert np.array_equal(short, general) and short.strides == general.strides
        assert np.array_equal(rowmax.sdpa(a[1], b[1], c[1], enable_gqa=True, **options), general[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("causal", [False, True, "top_left", "bottom_right"])
@pytest.mark.parametrize("n_q", [5, 70])
def test_attention_takes_the_short_way_with_the_same_bits(dtype, causal, n_q):
    q, k, v = reference.problem(n_q=n_q, n_kv=70)
    q, k, v = (x.astype(dtype) for x in (q, k, v))
    for a, b, c in itertools.product((q, q.swapaxes(1, 2).copy().swapaxes(1, 2), q[..., ::-1]), (k, k[:, :, ::-1]), (v,)):
        for options in ({}, {"scale": 0.25}, {"threads": 2}, {"backend": rowmax.cpu(1, "scalar")}):
            short = rowmax.attention(a, b, c, causal=causal, **options)
            general, _ = rowmax.attention(a, b, c, causal=causal, return_lse=True, **options)
            assert np.array_equal(short, general) and short.dtype == general.dtype
            one, _ = rowmax.attention(a[1], b[1], c[1], causal=causal, return_lse=True, **options)
            assert np.array_equal(rowmax.attention(a[1], b[1], c[1], causal=causal, **options), one)


# What torch 2.15 gives for each.
@pytest.mark.parametrize("q, k, v, out", [
    ((0, 2, 3, 4), (0, 2, 5, 4), (0, 2, 5, 6), (0, 2, 3, 6)), ((2, 0, 3, 4), (2, 0, 5, 4), (2, 0, 5, 6), (2, 0, 3, 6)),
    ((2, 2, 3, 0), (2, 2, 5, 0), (2, 2, 5, 6), (2, 2, 3, 6)), ((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 0), (2, 2, 3, 0)),
    ((2, 2, 3, 0), (2, 2, 5, 0), (2, 2, 5, 0), (2, 2, 3, 0)), ((2, 2, 0, 4), (2, 2, 5, 4), (2, 2, 5, 6), (2, 2, 0, 6)),
    ((2, 2, 3, 4), (2, 2, 0, 4), (2, 2, 0, 6), (2, 2, 3, 6)), ((2, 2, 3, 0), (2, 2, 0, 0), (2, 2, 0, 6), (2, 2, 3, 6)),
    ((0, 4), (5, 4), (5, 6), (0, 6)), ((0, 3, 4), (0, 5, 4), (0, 5, 6), (0, 3, 6))])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"enable_gqa": True}, {"scale": 1.0}], ids=str)
def test_nothing_has_a_shape(q, k, v, out, options):
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in (q, k, v))
    found = rowmax.sdpa(q, k, v, **options)
    assert found.shape == out
    if q.shape[-1] == 0 and k.shape[-2] and v.shape[-1]:  # every score is 0: means of what is visible
        n = np.arange(1, 4)[:, None] if options.get("is_causal") else 5
        expected = np.cumsum(v, axis=2)[:, :, :3] / n if options.get("is_causal") else v.mean(2, keepdims=True)
        assert np.abs(found - expected).max() < 1e-6
    elif found.size:
        assert (found == 0).all()


def test_no_columns_of_values_leave_the_rest():
    q, k, v = reference.problem()
    expected = reference.attention(q, k, v)
    out, lse, weights = rowmax.attention(q, k, v[..., :0], return_lse=True, return_weights=True)
    assert out.shape == (2, 4, 5, 0)
    assert np.abs(lse - expected[1]).max() < 2e-6 and np.abs(weights - expected[2]).max() < 2e-6


def test_masked_arrays_are_refused():
    q, k, v = reference.problem(n_kv_head=4)
    hidden = np.ma.masked_array(q, mask=q > 0)
    keep = np.ma.masked_array(np.ones((5, 7), bool))
    for call in (lambda: rowmax.sdpa(hidden, k, v), lambda: rowmax.sdpa(q, k, v, keep), lambda: rowmax.softmax(hidden),
                 lambda: rowmax.attention(q, k, v, bias=np.ma.masked_array(np.zeros((5, 7), np.float32))),
                 lambda: rowmax.mask.bitmap(keep), lambda: rowmax.mask.right_padding(np.ma.masked_array([1, 2])),
                 lambda: rowmax.attention(q, k, v, sinks=np.ma.masked_array(np.zeros(4, np.float32)))):
        with pytest.raises(TypeError, match="masked array"):
            call()


class Tensor:
    """Of a stand-in for torch, where torch may not be installed: what is asked of a tensor before its memory is."""

    layout, is_nested, is_quantized, requires_grad, shape, dtype = "torch.strided", False, False, False, (2, 2), "torch.f"
    device = types.SimpleNamespace(type="cpu")
    wrapped = False

    def __init__(self, **other):
        self.__dict__.update(other)

    def resolve_conj(self):
        return self

    resolve_neg = resolve_conj

    def numel(self):
        return 4

    def data_ptr(self):
        return 0


class Subclass(Tensor):
    pass


@pytest.fixture
def stand_in(monkeypatch):
    torch = types.ModuleType("torch")
    torch.Tensor, torch.nn = Tensor, types.SimpleNamespace(Parameter=type("Parameter", (Tensor,), {}))
    functorch = types.SimpleNamespace(is_functorch_wrapped_tensor=lambda x: x.wrapped)
    torch._C = types.SimpleNamespace(_functorch=functorch)
    torch.get_num_threads = lambda: 3
    monkeypatch.setitem(sys.modules, "torch", torch)


@pytest.mark.parametrize("tensor, error, words", [
    (Subclass(), TypeError, "a Subclass; expected torch.Tensor or torch.nn.Parameter"),
    (Tensor(layout="torch.sparse_coo"), TypeError, "layout torch.sparse_coo"),
    (Tensor(is_nested=True), TypeError, "layout nested"), (Tensor(is_quantized=True), TypeError, "quantised"),
    (Tensor(wrapped=True), TypeError, "transform"), (Tensor(), ValueError, "no memory"),
    (Tensor(device=types.SimpleNamespace(type="meta")), ValueError, "device"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_tensors_without_numbers(stand_in, tensor, error, words):
    from rowmax import _arrays

    for read in (_arrays.adopt, _arrays.host):
        with pytest.raises(error, match=f"^query .*{words}"):
            read(tensor, "query")


def test_threads_of_a_call(stand_in):
    assert rowmax.get_num_threads() == 3  # torch's
    try:
        rowmax.set_num_threads(2)
        assert rowmax.get_num_threads() == 2
        for wrong, error in ((-1, ValueError), (1025, ValueError), (1.5, TypeError), ("2", TypeError)):
            with pytest.raises(error, match="threads"):
                rowmax.set_num_threads(wrong)
        assert rowmax.get_num_threads() == 2
    finally:
        rowmax.set_num_threads(None)
    sys.modules["torch"] = None
    assert rowmax.get_num_threads() == 0


def test_threads_change_no_bit():
    q, k, v = reference.problem(n_q=40, n_kv=1100, dim=32, v_dim=32)
    expected = rowmax.sdpa(q, k, v, enable_gqa=True, threads=1)
    for threads in (0, 2, 5):
        assert np.array_equal(rowmax.sdpa(q, k, v, enable_gqa=True, threads=threads), expected)
    with pytest.raises(RuntimeError, match="threads"):
        rowmax.sdpa(q, k, v, enable_gqa=True, threads=-1)
