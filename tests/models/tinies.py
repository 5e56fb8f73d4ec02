"""Tiny checkpoints, written once a test run, and calls of adapters without a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpcwise.models.base import Call, Input, LoopState, Output
from hpcwise.models.diffusion.checkpoint import DENOISERS
from hpcwise.worker.exchange import LatentFiles


@dataclass
class Kept:
    """Checkpoints in memory; `stop_at` ends the loop there, as a worker that is told to leave does."""

    stop_at: int = -1
    states: dict[tuple[int, int], LoopState] = field(default_factory=dict)

    def latest(self, chunk: int) -> tuple[int, LoopState] | None:
        found = [(step, state) for (c, step), state in self.states.items() if c == chunk]
        return max(found, key=lambda pair: pair[0], default=None)

    def offer(
        self, chunk: int, step: int, share: float, state: Callable[[], LoopState], *, now: bool = False
    ) -> None:
        if step == self.stop_at:
            self.states[chunk, step] = state()
            raise Left(step)


class Left(Exception):
    """The loop was left after that step."""


def never_called(adapter: Any) -> None:
    """From here on its denoisers raise where they are."""
    for part in DENOISERS:
        if model := getattr(adapter._pipe, part, None):
            model.forward = None


def picture(folder: Path, width: int = 64, height: int = 48) -> Input:
    """A folder with a smooth picture, as an image stage leaves it."""
    from PIL import Image

    draw = np.random.RandomState(0).randint(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(draw).resize((width, height), Image.Resampling.BICUBIC).save(folder / "picture.png")
    return Input(folder, {})


def ran(adapter: Any, call: Call, store: Path) -> Iterator[tuple[Output, Input]]:
    """Outputs as they come, each moved to a folder of its own as the worker moves them."""
    for index, output in enumerate(adapter.run(call, lambda *_: None, lambda: False), call.first_chunk):
        folder = store / f"chunk-{index}"
        folder.mkdir()
        for name, path in output.files.items():
            path.rename(folder / name)
        yield output, Input(folder, output.facts)


def called(
    stage: str, work: Path, params: dict[str, Any], inputs: dict[str, list[Input]], **more: Any
) -> Call:
    """A call with everything that a worker gives."""
    named = {"latents": LatentFiles("test"), **more}
    work.mkdir(exist_ok=True)
    return Call(stage, params, 3, {name: iter(some) for name, some in inputs.items()}, work, **named)
