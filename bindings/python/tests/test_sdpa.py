"""rowmax.sdpa against what PyTorch gave (sdpa_torch.npz, see sdpa_cases.py) and against the definition in fp64. Needs no
torch."""

import inspect
import itertools
import pathlib

import numpy as np
import pytest
import reference
import rowmax
import sdpa_cases
from sdpa_cases import arranged

# Largest difference. Half precision: torch and rowmax both round a result of at most 2 once.
TOLERANCE = {"float32": 2e-6, "float64": 1e-13, "float16": 2e-3, "bfloat16": 1.6e-2}


def stored_results():
    stored = np.load(pathlib.Path(__file__).with_name("sdpa_torch.npz"))
    cases = list(sdpa_cases.cases())
    assert stored["names"].tolist() == [case.name for case in cases], "run tools/make_sdpa_vectors.py"
    at = {"float32": 0, "float64": 0}
    for case, count in zip(cases, stored["counts"]):
        if count < 0:
            yield case, None
            continue
        kind = "float64" if case.dtype == "float64" else "float32"
        yield case, stored[kind][at[kind]:at[kind] + count]
        at[kind] += count


def dtype_of(name):
    if name != "bfloat16":
        return np.dtype(name)
    return np.dtype(pytest.importorskip("ml_dtypes", reason="ml_dtypes (NumPy's bfloat16) is not installed").bfloat16)


def call(case):
    *arrays, mask = case.numbers()
    arrays = [arranged(x.astype(dtype_of(case.dtype)), case.layout) for x in arrays]
    if mask is not None:
        mask = arranged(mask.astype(dtype_of(case.mask[2])), case.layout)
    return rowmax.sdpa(*arrays, attn_mask=mask, **case.options)


def test_the_cases_cover_what_they_should():
    cases = list(sdpa_cases.cases())
    assert len({case.name for case in cases}) == len(cases) > 250
    shapes = [case.shapes for case in cases]
    assert {len(shape[0]) for shape in shapes} == {1, 2, 3, 4, 5}
    assert any(q[-2] > k[-2] for q, k, _ in shapes) and any(q[-2] < k[-2] for q, k, _ in shapes[:-1])


@pytest.mark.parametrize("case, expected", [pytest.param(*pair, id=pair[0].name) for pair in stored_results()])
def test_as_torch(case, expected):
    if expected is None:
        with pytest.raises(RuntimeError, match="sdpa: "):
            call(case)
        return
    found = call(case)
    assert found.dtype == dtype_of(case.dtype) and found.size == expected.size
    q, k, v = case.shapes
    head = (max(q[-3], k[-3], v[-3]),) if len(q) > 2 and len(k) > 2 else ()
    lead = np.broadcast_shapes(q[:-3], k[:-3], v[:-3])
    assert found.shape == (*lead, *head, q[-2], v[-1])
    tolerance = TOLERANCE[case.dtype]
    if case.mask is not None and case.mask[0] == "-1e4":
        tolerance += 1e-12 if case.dtype == "float64" else 1e-3  # a row of sentinels alone: scores near 1e4, in ulps
    assert np.abs(found.astype(np.float64).ravel() - expected).max(initial=0) <= tolerance


@pytest.mark.parametrize("n_q, n_kv", list(itertools.product((1, 2, 3, 5, 8), (1, 2, 4, 7, 65))))
def test_causal_is_top_left(n_q, n_kv):
    q, k, v = reference.problem(n_q=n_q, n_kv=n_kv, n_kv_head=4, dtype=np.float64)
    keep = np.tril(np.ones((n_q, n_kv), bool))  # torch's words: temp_mask = ones(L, S).tril(diagonal=0)
    expected = reference.attention(q, k, v, keep)[0]
    assert np.abs(rowmax.sdpa(q, k, v, is_causal=True) - expected).max() < 1e-14
    assert np.abs(rowmax.sdpa(q, k, v, keep) - expected).max() < 1e-14
    assert np.abs(rowmax.sdpa(q, k, v, np.where(keep, 0, -np.inf)) - expected).max() < 1e-14


@pytest.mark.parametrize("mask", [np.zeros((3, 5), bool), np.full((3, 5), -np.inf, np.float32)], ids=["bool", "float"])
def test_a_row_without_keys_is_zero(mask):
    q, k, v = (np.ones((1, 2, n, 4), np.float32) for n in (3, 5, 5))
    mask[1, 2] = True
    out = rowmax.sdpa(q, k, v, mask)
    assert (out[:, :, 1] == 1).all() and (np.delete(out, 1, axis=2) == 0).all()
    assert (rowmax.sdpa(q, k[:, :, :0], v[:, :, :0]) == 0).all()


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_causal_with_a_scale_that_is_not_positive(scale):
    q, k, v = reference.problem(n_kv_head=4)  # torch 2.15 gives NaN: it scales -inf
    expected = reference.attention(q, k, v, np.tril(np.ones((5, 7), bool)), scale=scale)[0]
    assert np.abs(rowmax.sdpa(q, k, v, is_causal=True, scale=scale) - expected).max() < 2e-6


def test_hidden_numbers_are_not_used():
    q, k, v = reference.problem(n_kv_head=4)
    mask = np.broadcast_to(np.arange(7) % 3 > 0, (5, 7))
    expected = rowmax.sdpa(q, k, v, mask)
    k[:, :, ::3], v[:, :, ::3] = np.nan, np.inf
    assert np.array_equal(rowmax.sdpa(q, k, v, mask), expected)


def test_one_dimension_of_mask():
    q, k, v = reference.problem(n_kv_head=4)
    for mask in (np.arange(7) > 2, np.linspace(-2, 2, 7, dtype=np.float32)):
        assert np.array_equal(rowmax.sdpa(q, k, v, mask), rowmax.sdpa(q, k, v, mask[None]))


def test_leading_ones_of_a_mask():
    q, k, v = reference.problem(n_kv_head=4)
    mask = np.arange(70).reshape(2, 1, 5, 7) % 3 > 0
    expected = rowmax.sdpa(q, k, v, mask)
    assert np.array_equal(rowmax.sdpa(q, k, v, mask[None]), expected)
    assert np.array_equal(rowmax.sdpa(q[0], k[0], v[0], mask[None, :1]), expected[0])


def test_signature():
    parameters = inspect.signature(rowmax.sdpa).parameters
    assert [(p.name, p.default, p.kind is p.KEYWORD_ONLY) for p in parameters.values()] == [
        ("query", inspect.Parameter.empty, False), ("key", inspect.Parameter.empty, False),
        ("value", inspect.Parameter.empty, False), ("attn_mask", None, False), ("dropout_p", 0.0, False),
        ("is_causal", False, False), ("scale", None, True), ("enable_gqa", False, True),
        ("threads", None, True), ("backend", None, True)]


def test_errors_name_what_is_wrong():
    q, k, v = reference.problem(n_kv_head=4)
    zeros = np.zeros
    for error, words, arguments, options in [
            (ValueError, "dropout_p is 0.1", (q, k, v), {"dropout_p": 0.1}),
            (RuntimeError, "Explicit attn_mask should not be set when is_causal=True", (q, k, v, zeros((5, 7), bool)),
             {"is_causal": True}),
            (RuntimeError, r"shape \(4, 7\) does not broadcast to \(2, 4, 5, 7\)", (q, k, v, zeros((4, 7), bool)), {}),
            (RuntimeError, "Expected attn_mask dtype to be bool or float or to match query dtype, but found int32",
             (q, k, v, zeros((5, 7), np.int32)), {}),
            (RuntimeError, "Expected query, key, and value to have the same dtype, but found float32, float16, float32",
             (q, k.astype(np.float16), v), {}),
            (RuntimeError, "floating point dtype, found int64", (x.astype(np.int64) for x in (q, k, v)), {}),
            (RuntimeError, "Expected query, key, and value to all be  at least 2 dimensional, but found query",
             (q[0, 0, 0], k, v), {}),
            (RuntimeError, "do not fit together", (q[..., :3], k, v), {}),
            (RuntimeError, "do not fit together", (q, k, v[:, :, :3]), {}),
            (RuntimeError, "head dimensions do not broadcast", (q, k[:, :2], v[:, :2]), {}),
            (RuntimeError, "Number of heads in key and value must divide the number of heads in query",
             (q, k[:, :3], v[:, :3]), {"enable_gqa": True}),
            (RuntimeError, "batch dimensions do not broadcast", (np.concatenate([q, q[:1]]), k, v), {}),
            (RuntimeError, "at least 1 dimension", (q, k, v, zeros((), np.float32)), {}),
            (TypeError, "found list", (q.tolist(), k, v), {}),
            (TypeError, "positional", (q, k, v, None, 0.0, False, 0.5), {})]:
        with pytest.raises(error, match=words):
            rowmax.sdpa(*arguments, **options)
