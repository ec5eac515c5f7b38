"""A textbook: softmax(scale q k^T + mask) v in f32, hidden pairs marked by adding -1e9. Shows that the cases bite."""
import numpy as np

from unsupported import Unsupported

NAME = "textbook numpy with -1e9 added"


def attention(case):
    if case.sinks is not None:
        raise Unsupported("sinks")
    with np.errstate(all="ignore"):
        scores = np.einsum("bhid,bhjd->bhij", case.q, case.repeated(case.k)) * np.float32(case.scale)
        bias = case.value_bias()
        scores = scores + np.where(case.keep(), 0 if bias is None else bias, np.float32(-1e9))
        if case.softcap:
            scores = np.float32(case.softcap) * np.tanh(scores / np.float32(case.softcap))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return {"out": np.einsum("bhij,bhjd->bhid", weights, case.repeated(case.v))}
