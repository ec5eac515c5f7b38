"""Arrays of NumPy and PyTorch, looked at alike. Nothing here copies."""

from __future__ import annotations

import sys
from typing import Any, Sequence, Tuple

import numpy as np

# Codes of rowmax::DType.
F32, F16, BF16, F64, F8_E4M3 = 0, 1, 2, 3, 4
DTYPES = {"float32": F32, "float16": F16, "bfloat16": BF16, "float64": F64, "float8_e4m3fn": F8_E4M3}


def is_torch(x: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def adopt(x: Any, name: str) -> Any:
    """x itself if it is a NumPy array or a torch tensor on the CPU (without its gradient), or a NumPy view of any other
    array that speaks DLPack."""
    if is_torch(x):
        if x.device.type != "cpu":
            raise ValueError(f"{name} is on device {x.device}; rowmax computes on the CPU")
        if str(x.layout) != "torch.strided":
            raise TypeError(f"{name} has layout {x.layout}; a strided tensor is expected")
        return x.detach() if x.requires_grad else x
    if not isinstance(x, np.ndarray):
        if not hasattr(x, "__dlpack__"):
            raise TypeError(f"{name}: expected a NumPy array or a torch tensor, found {type(x).__name__}")
        x = np.from_dlpack(x)
    if not x.dtype.isnative:
        raise TypeError(f"{name} has foreign byte order")
    if any(s % x.itemsize for s in x.strides):
        raise ValueError(f"{name}: its strides are no multiples of its element size")
    return x


def dtype_name(x: Any) -> str:
    return str(x.dtype)[6:] if is_torch(x) else x.dtype.name


def float_code(x: Any, name: str) -> int:
    """rowmax's code of x's element type; TypeError for integers and the like."""
    code = DTYPES.get(dtype_name(x))
    if code is None:
        raise TypeError(f"{name} has elements of type {dtype_name(x)}; expected one of {', '.join(DTYPES)}")
    return code


def exportable(x: Any, code: int) -> Any:
    """x as something that DLPack can carry: NumPy knows no bfloat16, nobody's DLPack every float8."""
    if code == F8_E4M3:
        return x.view(sys.modules["torch"].uint8) if is_torch(x) else x.view(np.uint8)
    if code == BF16 and not is_torch(x):
        return x.view(np.uint16)
    return x


def strides(x: Any) -> Tuple[int, ...]:
    """In elements."""
    return tuple(x.stride()) if is_torch(x) else tuple(s // x.itemsize for s in x.strides)


def empty_like_kind(x: Any, shape: Sequence[int], dtype: str | None = None) -> Any:
    """A new array of x's kind, and of its element type unless another is named."""
    if is_torch(x):
        torch = sys.modules["torch"]
        return torch.empty(tuple(shape), dtype=getattr(torch, dtype) if dtype else x.dtype)
    return np.empty(tuple(shape), dtype=np.dtype(dtype) if dtype else x.dtype)


def swap(x: Any, a: int, b: int) -> Any:
    return x.transpose(a, b) if is_torch(x) else x.swapaxes(a, b)


def expand(x: Any, shape: Sequence[int]) -> Any:
    """x broadcast to a shape, with strides 0."""
    return x.expand(tuple(shape)) if is_torch(x) else np.broadcast_to(x, tuple(shape))


def to_numpy(x: Any, name: str, kind: str) -> np.ndarray:
    """Small data that is read once (lengths, ids, boolean masks). kind: the NumPy kinds that are allowed, as 'iu'."""
    if is_torch(x):
        x = x.detach().cpu().numpy()
    x = np.asarray(x)
    if x.dtype.kind not in kind and x.size:
        raise TypeError(f"{name}: expected {'booleans' if kind == 'b' else 'integers'}, found {x.dtype.name}")
    return x


def float32_vector(x: Any, name: str, n: int) -> np.ndarray:
    """[n] numbers, rounded to f32 (slopes, sinks)."""
    if is_torch(x):
        x = x.detach().float().cpu().numpy()
    x = np.ascontiguousarray(np.asarray(x), dtype=np.float32)
    if x.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one number for each query head, found {x.shape}")
    return x
