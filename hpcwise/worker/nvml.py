"""The GPUs of this worker as NVML knows them: which they are, and what it says of them.

CUDA counts devices from 0 among those of CUDA_VISIBLE_DEVICES, which names them by index or UUID; NVML counts
all that the node lets this process see. A MIG slice has memory of its own, but neither energy nor health:
those are of the whole card.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """name: in CUDA_VISIBLE_DEVICES. index: of the card, as the node counts. handle, card: NVML's of the
    device and of the card that it is, or is a slice of. sliced: others compute on the same card."""

    name: str
    index: int
    handle: Any
    card: Any
    sliced: bool


@dataclass(frozen=True, slots=True)
class Gpus:
    """What this process may compute on. trouble: why some of it cannot be had, empty where all can."""

    found: tuple[Gpu, ...] = ()
    trouble: str = ""


def named(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Entries of CUDA_VISIBLE_DEVICES up to the first that is none, as CUDA reads it; None: all devices."""
    text = environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if not (part.isdigit() or part.startswith(("GPU-", "MIG-"))):
            break
        found.append(part)
    return tuple(found)


def gpus(environ: Mapping[str, str] = os.environ) -> Gpus:
    """Nothing where there is no driver, or nvidia-ml-py is not installed."""
    try:
        import pynvml
    except ImportError:
        return Gpus()
    try:
        pynvml.nvmlInit()
        names = named(environ)
        if names is None:
            names = tuple(str(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        log.info("no NVML: %s", error)
        return Gpus()
    found: list[Gpu] = []
    for name in names:
        try:
            found.append(_gpu(pynvml, name))
        except pynvml.NVMLError as error:
            if is_lost(error):
                return Gpus(tuple(found), f"GPU {name}: {error}")
            # NVML of an old driver, or one that counts otherwise: what cannot be measured is estimated.
            log.warning("GPU %s: NVML does not know it: %s", name, error)
            return Gpus()
    return Gpus(tuple(found))


def asked(function: str, *arguments: Any) -> Any:
    """What a function of NVML answers; None where the device does not offer it. Raises NVMLError."""
    import pynvml

    try:
        return getattr(pynvml, function)(*arguments)
    except (
        pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission
    ):  # fmt: skip
        return None


def is_lost(error: Exception) -> bool:
    """Whether NVML says that the device is gone, or is of no use before a reset."""
    import pynvml

    return isinstance(
        error, pynvml.NVMLError_GpuIsLost | pynvml.NVMLError_ResetRequired | pynvml.NVMLError_Unknown
    )


def described(gpu: Gpu) -> str:
    """`0: NVIDIA H200, 151 GB`."""
    memory = asked("nvmlDeviceGetMemoryInfo", gpu.handle)
    size = "" if memory is None else f", {memory.total / 1e9:.0f} GB"
    return f"{gpu.name}: {asked('nvmlDeviceGetName', gpu.card) or 'a GPU'}{size}"


def _gpu(pynvml: Any, name: str) -> Gpu:
    if name.isdigit():
        handle = card = pynvml.nvmlDeviceGetHandleByIndex(int(name))
        mode = asked("nvmlDeviceGetMigMode", handle)
        return Gpu(name, int(name), handle, card, bool(mode and mode[0]))
    if name.startswith("MIG-"):
        handle = pynvml.nvmlDeviceGetHandleByUUID(name)
        card = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        return Gpu(name, pynvml.nvmlDeviceGetIndex(card), handle, card, True)
    # CUDA takes the beginning of a UUID, NVML only all of it.
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        if pynvml.nvmlDeviceGetUUID(handle).startswith(name):
            mode = asked("nvmlDeviceGetMigMode", handle)
            return Gpu(name, index, handle, handle, bool(mode and mode[0]))
    raise pynvml.NVMLError_NotFound()
