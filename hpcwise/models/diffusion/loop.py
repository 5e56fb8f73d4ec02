"""One denoising loop as the worker sees it: progress, checkpoints, previews, numbers that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

from hpcwise.core.errors import BadOutput
from hpcwise.models.base import Call, LoopState, OnStep
from hpcwise.models.diffusion import sampler
from hpcwise.models.diffusion.options import DiffuseParams

#: Loss of precision that turns up as infinities: the latents are looked at this often, in steps, and last.
_LOOK_STEPS: Final = 8
#: Stages whose latents are committed as they are; any other goes on to decode them.
_OF_LATENTS: Final = ("sketch", "denoise")
#: What decoding is taken for, in steps: a task whose loops are done is not done.
_DECODE_STEPS: Final = 0.5


class Loop:
    """One denoising loop: what it reports and keeps after each step."""

    def __init__(
        self,
        call: Call,
        params: DiffuseParams,
        chunk: int,
        chunks: int,
        on_step: OnStep,
        preview: Callable[[torch.Tensor, DiffuseParams], bytes],
    ) -> None:
        self._call, self.chunk, self._chunks = call, chunk, chunks
        self._on_step, self._preview, self._params = on_step, preview, params
        self.steps = params.steps
        self.seed = call.seed + chunk
        self.done = 0
        self.generator: Any = None
        #: Tensors beside the latents that the rest of the loop needs, and those of caches at that moment.
        self.more: dict[str, torch.Tensor] = {}
        self.cached: Callable[[], dict[str, torch.Tensor]] = dict

    def begin(self) -> tuple[int, LoopState | None]:
        """Steps done and state of the checkpoint to go on from."""
        kept = self._call.checkpoints.latest(self.chunk) if self._call.checkpoints is not None else None
        if kept is None or kept[0] > self.steps:
            return 0, None
        return kept

    def after(self, of: Any, latents: torch.Tensor, generator: torch.Generator) -> None:
        """A step is done. Raises Stopped when the task is to stop, BadOutput for numbers that are none."""
        self.done += 1
        look = self.done % _LOOK_STEPS == 0 or self.done == self.steps
        if look and not bool(torch.isfinite(latents).all()):
            raise BadOutput(f"latents that are no numbers after step {self.done}")
        base, total = self.chunk * self.steps, self._chunks * self.steps
        if self._call.preview is not None:
            self._call.preview(lambda: self._preview(latents, self._params))
        ended = self.done == self.steps
        if self._call.checkpoints is not None and not (ended and self._call.stage in _OF_LATENTS):
            # What is decoded in the same attempt is durable before that begins.
            share = (base + self.done - (_DECODE_STEPS if ended else 0.0)) / total
            self._call.checkpoints.offer(
                self.chunk, self.done, share, lambda: self._state(of, latents, generator), now=ended
            )
        self._on_step(base + self.done, total, f"step {self.done} of {self.steps}")

    def _state(self, of: Any, latents: torch.Tensor, generator: torch.Generator) -> LoopState:
        cached = self.cached() if self.done < self.steps else {}
        return sampler.loop_state(of, latents, generator, {**self.more, **cached})
