"""Arrays of NumPy and PyTorch, looked at alike. Nothing here copies."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, Optional, Sequence, Tuple

import numpy as np

# Codes of rowmax::DType.
F32, F16, BF16, F64, F8_E4M3 = 0, 1, 2, 3, 4
DTYPES = {"float32": F32, "float16": F16, "bfloat16": BF16, "float64": F64, "float8_e4m3fn": F8_E4M3}


def is_torch(x: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _plain_tensor(x: Any, name: str) -> Any:
    """A torch tensor whose memory holds the numbers it stands for, or an exception that says why it does not."""
    torch = sys.modules["torch"]
    if type(x) is not torch.Tensor and type(x) is not torch.nn.Parameter:
        raise TypeError(f"{name} is a {type(x).__name__}; expected torch.Tensor or torch.nn.Parameter itself, as the "
                        "memory of a subclass need not hold its values")
    if str(x.layout) != "torch.strided" or x.is_nested:
        raise TypeError(f"{name} has layout {'nested' if x.is_nested else x.layout}; a strided tensor is expected")
    if x.is_quantized:
        raise TypeError(f"{name} has elements of type {dtype_name(x)}, which are quantised; dequantize() gives numbers")
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        raise TypeError(f"{name} is a tensor inside a transform of torch.func (vmap, grad ...), which rowmax cannot see "
                        "through; call rowmax outside of it")
    if x.device.type != "cpu":
        raise ValueError(f"{name} is on device {x.device}; rowmax computes on the CPU")
    if x.requires_grad:
        if torch.is_grad_enabled():
            _warn_of_gradients(name)
        x = x.detach()
    x = x.resolve_conj().resolve_neg()
    if x.data_ptr() == 0 and x.numel():
        raise ValueError(f"{name} of shape {tuple(x.shape)} has no memory")
    return x


_warned_of_gradients = False


def _warn_of_gradients(name: str) -> None:
    """Once in a process."""
    global _warned_of_gradients
    if _warned_of_gradients:
        return
    _warned_of_gradients = True
    package = os.path.dirname(__file__)
    frame, level = sys._getframe(1), 2
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(f"{name} requires a gradient, which rowmax does not compute: the result is detached "
                  "(torch.no_grad() around the call says that this is meant)", UserWarning, stacklevel=level)


def _refuse_masked(x: Any, name: str) -> None:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a NumPy masked array, whose mask rowmax does not read; pass .data and a mask")


def adopt(x: Any, name: str) -> Any:
    """x itself if it is a NumPy array or a torch tensor on the CPU (without its gradient), or a NumPy view of any other
    array that speaks DLPack. What a negative or conjugate bit stands for is written out."""
    if is_torch(x):
        return _plain_tensor(x, name)
    _refuse_masked(x, name)
    if not isinstance(x, np.ndarray):
        if not hasattr(x, "__dlpack__"):
            raise TypeError(f"{name}: expected a NumPy array or a torch tensor, found {type(x).__name__}")
        x = np.from_dlpack(x)
    if not x.dtype.isnative:
        raise TypeError(f"{name} has foreign byte order")
    if any(s % x.itemsize for s in x.strides):
        raise ValueError(f"{name}: its strides are no multiples of its element size")
    return x if type(x) is np.ndarray else x.view(np.ndarray)


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


def host(x: Any, name: str) -> np.ndarray:
    """Small data that is read once, as NumPy sees it; torch's bfloat16 and float8, which NumPy does not know, as f32."""
    if is_torch(x):
        x = _plain_tensor(x, name)
        return (x.float() if dtype_name(x) in ("bfloat16", "float8_e4m3fn") else x).numpy()
    _refuse_masked(x, name)
    return np.asarray(x)


def to_numpy(x: Any, name: str, kind: str) -> np.ndarray:
    """Small data that is read once (lengths, ids, boolean masks). kind: the NumPy kinds that are allowed, as 'iu'."""
    x = host(x, name)
    if x.dtype.kind not in kind and x.size:
        raise TypeError(f"{name}: expected {'booleans' if kind == 'b' else 'integers'}, found {x.dtype.name}")
    return x


def float32_vector(x: Any, name: str, n: int) -> np.ndarray:
    """[n] numbers, rounded to f32 (slopes, sinks)."""
    x = np.ascontiguousarray(host(x, name), dtype=np.float32)
    if x.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one number for each query head, found {x.shape}")
    return x


def causal_bias(x: Any) -> Optional[str]:
    """The alignment ("top_left", "bottom_right") that a torch.nn.attention.bias.CausalBias stands for, which has no
    memory of its own; None for everything else."""
    bias = sys.modules.get("torch.nn.attention.bias")
    if bias is None or not isinstance(x, bias.CausalBias):
        return None
    return "top_left" if x.variant == bias.CausalVariant.UPPER_LEFT else "bottom_right"
