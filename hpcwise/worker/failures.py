"""What an error of a model means for its worker.

Three kinds end more than the attempt. Memory that ran out: others are unloaded, and it is tried again. A CUDA
context that is broken (an illegal address, an assert on the device, a library's internal error): every later
call in this process fails too, so the process is replaced. And errors that a sick device may have caused: it
is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from hpcwise.core.errors import BadOutput, GangLost, HpcwiseError, NoRoom

#: Of the device's memory or the host's, by torch, onnxruntime, C++ and cuBLAS.
_MEMORY: Final = re.compile(
    r"out of memory|can't allocate memory|failed to allocate memory|bad_alloc|STATUS_ALLOC_FAILED"
    r"|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)
#: Errors behind which the context is gone, or cannot be trusted.
_DEVICE: Final = re.compile(
    r"CUDA error|CUDA driver error|CUDA failure \d|cudaError[A-Z]|device-side assert|illegal memory access"
    r"|unspecified launch failure|uncorrectable ECC"
    r"|(CUBLAS|CUSOLVER|CUSPARSE)_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED|NOT_INITIALIZED|MAPPING_ERROR)"
    r"|CUDNN_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED|NOT_INITIALIZED|MAPPING_ERROR)|CUFFT_INTERNAL_ERROR"
    r"|NCCL (error|failure)|nccl(Internal|UnhandledCuda|System|Remote)Error",
)
#: These name CUDA, but a new process would say the same.
_FOR_GOOD: Final = re.compile(r"no kernel image|invalid device ordinal|no CUDA-capable device|driver version")


@dataclass(frozen=True, slots=True)
class Failure:
    """reason: one line with the error's name. bad: what was made cannot be shown. cause: `memory` ran out,
    the `device` is not to be trusted in this process, or neither. doubt: whether to look at the device."""

    reason: str
    transient: bool
    bad: bool
    cause: Literal["", "memory", "device"]
    doubt: bool


def failure(error: BaseException) -> Failure:
    """What to tell of `error`, and what to do behind it."""
    cause = cause_of(error)
    if isinstance(error, HpcwiseError):
        bad = isinstance(error, BadOutput)
        transient = error.transient or bool(cause)
        return Failure(line(error), transient, bad, cause, bad)
    transient = bool(cause) or isinstance(error, OSError | MemoryError)
    # Behind a broken context every device looks sick; the new process looks at it.
    return Failure(line(error), transient, False, cause, not cause)


def cause_of(error: BaseException) -> Literal["", "memory", "device"]:
    """Also of the errors that this one was raised from: adapters give some of them names of their own."""
    if isinstance(error, GangLost | NoRoom):
        return ""  # of another process, or before anything was computed
    for one in _chain(error):
        said, name = str(one), type(one).__name__
        if isinstance(one, MemoryError) or name == "OutOfMemoryError" or _MEMORY.search(said):
            return "memory"
        if (name == "AcceleratorError" or _DEVICE.search(said)) and not _FOR_GOOD.search(said):
            return "device"
    return ""


def line(error: BaseException) -> str:
    """The last line of what an error says (Python's own come with a name), fit for a terminal."""
    text = str(error).strip().splitlines()
    said = text[-1] if text else ""
    if not isinstance(error, HpcwiseError):
        # torch's CUDA errors say what happened first, and advice about debugging behind it.
        said = next((part for part in text if _DEVICE.search(part) or _MEMORY.search(part)), said)
        said = f"{type(error).__name__}: {said}".rstrip(": ")
    return "".join(c if c.isprintable() else "?" for c in said)[:500]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__
