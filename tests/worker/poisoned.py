"""A worker whose model breaks its CUDA context as often as its tasks say. Started by submitit, or by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hpcwise.models import registry
from hpcwise.models.base import Call, OnStep, Output
from hpcwise.models.emulated import EmulatedAdapter
from hpcwise.worker.main import run_worker

#: As torch words it.
SAID = (
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported at some "
    "other API call, so the stacktrace below might be incorrect.\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1\n"
)


class AcceleratorError(RuntimeError):
    """Named as torch's."""


class Poisoned(EmulatedAdapter):
    """Parameter poison: a file that counts, and up to which number the context breaks."""

    _broken = False

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        for output in super().run(call, on_step, should_stop):
            poison = call.params.get("poison")
            if poison is not None:
                path = Path(poison["file"])
                count = int(path.read_text()) if path.exists() else 0
                if count < poison["times"]:
                    path.write_text(str(count + 1))
                    Poisoned._broken = True
            if Poisoned._broken:
                # From then on every call of this process fails.
                raise AcceleratorError(SAID)
            yield output


def work(payload: bytes) -> str:
    """Entry of a job."""
    registry.FAMILIES = {**registry.FAMILIES, "emulated": (__name__, "Poisoned")}  # type: ignore[misc]
    return run_worker(payload)
