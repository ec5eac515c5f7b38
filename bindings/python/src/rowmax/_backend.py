"""Where a call runs."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional, Tuple

from . import _core
from ._threads import thread_count


@dataclasses.dataclass(frozen=True, repr=False)
class Backend:
    """Where calls run, as a value: equal where all of its fields are. Made by rowmax.cpu; may be kept, and used by any
    number of threads at the same time. Results do not depend on it."""

    kind: str  # "cpu"
    threads: int  # 0: all physical cores
    isa: str  # one of rowmax.supported_isas()

    def __post_init__(self) -> None:
        if self.kind != "cpu":
            raise ValueError(f"kind: expected 'cpu', found {self.kind!r}")

    def __repr__(self) -> str:
        return f"rowmax.{self.kind}(threads={self.threads}, isa={self.isa!r})"


def cpu(threads: Optional[int] = None, isa: Optional[str] = None) -> Backend:
    """This machine's CPU. threads: default rowmax.get_num_threads() of now; 0: all physical cores. isa: "scalar",
    "avx2", "avx512" or "neon"; default the fastest that this machine can run, or what the environment variable
    ROWMAX_ISA names.

    ValueError (no such number of threads, no such instruction set), NotImplementedError (this CPU cannot run it).

    >>> rowmax.cpu(threads=2, isa="scalar")
    rowmax.cpu(threads=2, isa='scalar')
    """
    if isa is not None and not isinstance(isa, str):
        raise TypeError(f"isa: expected the name of an instruction set, found {type(isa).__name__}")
    n_threads = thread_count(threads)
    if not 0 <= n_threads <= 1024:
        raise ValueError(f"threads: expected 0 (all physical cores) to 1024, found {n_threads}")
    return Backend("cpu", n_threads, _core.isa(isa or ""))


def resolve(backend: Any, threads: Optional[int]) -> Tuple[int, str]:
    """Threads and instruction set ("": the default) of a call that was given these."""
    if backend is None:
        return thread_count(threads), ""
    if not isinstance(backend, Backend):
        raise TypeError(f"backend: expected rowmax.cpu(...), found {type(backend).__name__}")
    if threads is not None:
        raise ValueError(f"threads: the backend says how many already: {backend}")
    return backend.threads, backend.isa
