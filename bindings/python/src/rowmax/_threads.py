"""How many threads a call uses that does not say."""

from __future__ import annotations

import operator
import sys
from typing import Any, Optional

_chosen: Optional[int] = None


def set_num_threads(n: Optional[int]) -> None:
    """Threads of every call from now on that is not given `threads`. 0: all physical cores. None, the state at the
    start: as many as torch.get_num_threads() says where torch is imported, else all physical cores."""
    global _chosen
    n = None if n is None else _whole(n)
    if n is not None and not 0 <= n <= 1024:
        raise ValueError(f"set_num_threads: expected 0 (all physical cores) to 1024, found {n}")
    _chosen = n


def get_num_threads() -> int:
    """What set_num_threads() describes; 0: all physical cores."""
    return thread_count(None)


def _whole(n: Any) -> int:
    try:
        return operator.index(n)
    except TypeError:
        raise TypeError(f"threads: expected a whole number, found {n!r}") from None


def thread_count(threads: Optional[int]) -> int:
    if threads is not None:
        return _whole(threads)
    if _chosen is not None:
        return _chosen
    ask = getattr(sys.modules.get("torch"), "get_num_threads", None)  # a torch still being imported has none
    return ask() if ask is not None else 0
