"""rowmax: masked attention on the CPU that cannot produce NaN through a mask.

    >>> import numpy as np, rowmax
    >>> q = k = v = np.ones((2, 4, 6, 16), np.float32)  # [batch, head, n, d]
    >>> out = rowmax.attention(q, k, v, rowmax.mask.causal() & rowmax.mask.left_padding([2, 0]))
    >>> bool(np.isfinite(out).all()), float(out[0, 0, 0, 0])  # a query without keys gives 0
    (True, 0.0)

Functions: attention, sdpa (the signature of torch's scaled_dot_product_attention); masks are values of rowmax.mask.
The same bits on every machine, for any number of threads and any batch.
"""

from __future__ import annotations

import os
from typing import List

from . import _core, mask
from ._attention import RowStatus, attention, probe, sdpa, softmax
from ._backend import Backend, cpu
from ._threads import get_num_threads, set_num_threads

__version__: str = _core.version
__all__ = ["Backend", "RowStatus", "attention", "cpu", "cpu_name", "get_num_threads", "mask", "probe", "sdpa",
           "set_num_threads", "softmax", "supported_isas"]

if hasattr(os, "register_at_fork"):  # threads do not survive a fork
    os.register_at_fork(after_in_child=_core.forget_pools)


def supported_isas() -> List[str]:
    """What this machine can run, slowest first. All give the same bits."""
    return _core.supported_isas()


def cpu_name() -> str:
    return _core.cpu_name()
