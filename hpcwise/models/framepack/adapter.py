"""Family `framepack`: HunyuanVideo with FramePack's memory (Zhang and Agrawala, arXiv 2504.12626).

A section is nine latent frames, denoised beside everything before it in three compressions. diffusers makes
the last section first, or the whole film in one call; here sections come in the order in which they are
shown, and each is handed on when it is there: a film's first pictures do not wait for its last. Latents are
those of diffusers' own forward order (`sampling_type="vanilla"`), bit for bit.

Each chunk brings the section before it along: its decoder sees what was, and the pictures of that, which
were shown already, are cut off. One latent frame more puts the decoder's tiles in time (three latent frames
apart) where a decode of the whole film has them: without it the two sides of a cut differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.base import Call, LoopState, OnStep, Output
from hpcwise.models.diffusion import sampler, text
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.diffusion.grid import fitted
from hpcwise.models.diffusion.loop import Loop
from hpcwise.models.diffusion.options import DiffuseParams, plain, tensor_of

#: Latent frames of the past at a fourth, half and whole size.
_HISTORY: Final = (16, 2, 1)
#: Arguments of a card's `call` that this loop knows.
_KNOWN: Final = frozenset({"guidance_scale", "max_sequence_length", "prompt_template", "latent_window_size"})
_GUIDANCE: Final = 6.0
_MOST_SHIFT: Final = math.log(7.0)


class FramePackAdapter(DiffusersAdapter):
    """Stages as of the family `diffusers`; video in sections."""

    skips = False

    def _clips(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Iterator[Output]:
        """One chunk a segment, of as many sections as it needs."""
        assert call.latents is not None
        if unknown := sorted(set(self._options.call) - _KNOWN):
            known = ", ".join(sorted(_KNOWN))
            raise UsageError(f"model {self._name}: options.call.{unknown[0]}: sections take {known}")
        window = int(self._options.call.get("latent_window_size", 9))
        boundless = msgspec.structs.replace(self._options, most_frames=1 << 30)
        params = fitted(params, boundless, self._grid, self._name)
        sections = math.ceil((params.frames - 1) / (window * self._grid.temporal))
        asked, cut = self._asked(call, params)
        film = _Film(self, call, params, asked, self._given_picture(call)["image"], window)
        film.pass_over(call.first_chunk * sections)
        for chunk in range(call.first_chunk, params.chunks):
            before = self._before(call, chunk, window, sections)
            # The loop of a chunk goes through all its sections.
            of_chunk = msgspec.structs.replace(params, steps=params.steps * sections)
            loop = Loop(call, of_chunk, chunk, params.chunks, on_step, self._preview)
            made = film.sections(loop, before, sections)
            seen = torch.cat([film.picture, *before], dim=2)[:, :, -(window + 1) :]
            latents = torch.cat([seen, *made], dim=2)
            if not bool(torch.isfinite(latents).all()):
                raise BadOutput(f"{self._name}: latents that are no numbers, segment {chunk}")
            path = call.work / f"latents-{chunk}.h5"
            kind, array = plain(latents[0])
            call.latents.write(
                path, array, dtype=kind, scale=1.0, sampler=type(self._sampler).__name__, step=loop.steps
            )
            overlap = window * self._grid.temporal + 1 if before else 0
            facts = {
                "latent_frames": int(latents.shape[2]), "overlap": overlap, "fps": params.fps,
                "model": self._name, **cut,
            }  # fmt: skip
            files: dict[str, Path] = {"latents.h5": path}
            if call.stage == "animate":
                shown = call.work / f"frames-{chunk}.mkv"
                facts = {**cut, **self._write(shown, latents, None, facts, on_step)}
                files["frames.mkv"] = shown
            yield Output(files=files, facts=facts)

    def _before(self, call: Call, chunk: int, window: int, sections: int) -> list[torch.Tensor]:
        """Sections that are committed, as many as memory reaches back."""
        assert call.latents is not None
        needed = math.ceil(sum(_HISTORY) / window)
        found: list[torch.Tensor] = []
        while chunk > 0 and len(found) < needed:
            chunk -= 1
            assert call.own is not None
            array, kind = call.latents.read(call.own(chunk), "latents.h5")
            own = tensor_of(array, kind).unsqueeze(0).to(self._device)[:, :, -sections * window :]
            found = [*own.split(window, dim=2), *found]
        return found


class _Film:
    """What all sections share: conditions, the picture that the film starts from, and the noise to come."""

    def __init__(
        self, adapter: DiffusersAdapter, call: Call, params: DiffuseParams, asked: Mapping[str, Any],
        image: Any, window: int,
    ) -> None:  # fmt: skip
        self._pipe, self._base = adapter._pipe, adapter._sampler
        self._device, self._call = adapter._device, dict(adapter._options.call)
        self._params, self._window = params, window
        pipe, device = self._pipe, self._device
        self._dtype = pipe.transformer.dtype
        self._draws = torch.Generator(device).manual_seed(call.seed)
        conditions = dict(asked)
        if conditions.get("prompt") is not None:
            spoken = msgspec.structs.replace(params, prompt=conditions["prompt"])
            conditions = text.encoded(pipe, spoken, self._call, device)
        width, height = params.size
        with torch.no_grad():
            pixels = pipe.video_processor.preprocess(image, height, width)
            seen = pipe.encode_image(pixels, device=device).to(self._dtype)
            self.picture: torch.Tensor = pipe.prepare_image_latents(
                pixels, dtype=torch.float32, device=device, generator=self._draws
            )
        guidance = float(self._call.get("guidance_scale", _GUIDANCE))
        self._conditions = {
            "encoder_hidden_states": conditions["prompt_embeds"].to(self._dtype),
            "encoder_attention_mask": conditions["prompt_attention_mask"].to(self._dtype),
            "pooled_projections": conditions["pooled_prompt_embeds"].to(self._dtype),
            "image_embeds": seen,
            "guidance": torch.tensor([guidance], dtype=self._dtype, device=device) * 1000.0,
        }

    def pass_over(self, sections: int) -> None:
        """The noise of sections that are there already is drawn and left: every section has its own."""
        for _ in range(sections):
            self._noise()

    def _noise(self) -> torch.Tensor:
        width, height = self._params.size
        frames = (self._window - 1) * self._pipe.vae_scale_factor_temporal + 1
        drawn: torch.Tensor = self._pipe.prepare_latents(
            1, self._pipe.transformer.config.in_channels, height, width, frames,
            dtype=torch.float32, device=self._device, generator=self._draws,
        )  # fmt: skip
        return drawn

    def sections(self, loop: Loop, before: list[torch.Tensor], count: int) -> list[torch.Tensor]:
        """`count` sections after those in `before`, from where a checkpoint is, if there is one."""
        done, state = loop.begin()
        loop.done = done
        torch.random.manual_seed(loop.seed)
        steps = self._params.steps
        first, within = divmod(done, steps)
        made = [sampler.array_of(state, f"section.{i}", self._device) for i in range(first)] if state else []
        for index in range(count):
            noise = self._noise()
            if index < first:
                continue
            loop.more = {f"section.{i}": section for i, section in enumerate(made)}
            start = state if index == first and within else None
            made.append(self._section(loop, [*before, *made], noise, start, within if start else 0))
        return made

    def _section(
        self, loop: Loop, before: list[torch.Tensor], noise: torch.Tensor, state: LoopState | None, done: int
    ) -> torch.Tensor:
        """The latents of the section after `before`, from `noise` or from a checkpoint after `done` steps."""
        pipe, given = self._pipe, {**self._conditions, **self._memory(before)}
        generator = torch.Generator(self._device).manual_seed(loop.seed)
        latents = noise
        if state is not None:
            sampler.restore_random(state, generator)
            latents = sampler.latents_of(state, self._device)
        pipe.scheduler = sampler.resumable(self._base, state, done)
        tokens = noise.shape[2] * noise.shape[3] * noise.shape[4] / pipe.transformer.config.patch_size**2
        sigmas = np.linspace(1.0, 0.0, self._params.steps + 1)[:-1]
        pipe.scheduler.set_timesteps(
            sigmas=sigmas, device=self._device, mu=_shift(pipe.scheduler.config, tokens)
        )
        for index, time in enumerate(pipe.scheduler.timesteps):
            with torch.no_grad():
                predicted = pipe.transformer(
                    hidden_states=latents.to(self._dtype), timestep=time.expand(1), return_dict=False, **given
                )[0]
                latents = pipe.scheduler.step(predicted.float(), time, latents, return_dict=False)[0]
            if done + index + 1 == self._params.steps:
                # At its end a section is one of those that a checkpoint has whole.
                loop.more = {**loop.more, f"section.{len(loop.more)}": latents}
            loop.after(pipe.scheduler, latents, generator)
        return latents

    def _memory(self, before: list[torch.Tensor]) -> dict[str, Any]:
        """The past in three compressions, and where in time each of its frames and of the new ones stands."""
        shape = (*self.picture.shape[:2], sum(_HISTORY), *self.picture.shape[3:])
        history = torch.cat([self.picture.new_zeros(shape), self.picture, *before], dim=2)
        far, near, last = history[:, :, -sum(_HISTORY) :].split(_HISTORY, dim=2)
        places = torch.arange(0, 1 + sum(_HISTORY) + self._window)
        first, at_far, at_near, at_last, new = places.split([1, *_HISTORY, self._window], dim=0)
        return {
            "indices_latents": new,
            "latents_clean": torch.cat([self.picture, last], dim=2).to(self._dtype),
            "indices_latents_clean": torch.cat([first, at_last], dim=0),
            "latents_history_2x": near.to(self._dtype), "indices_latents_history_2x": at_near,
            "latents_history_4x": far.to(self._dtype), "indices_latents_history_4x": at_far,
        }  # fmt: skip


def _shift(config: Mapping[str, Any], tokens: float) -> float:
    """The sampler's shift for so many tokens: linear between two measured sizes, bounded."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    at_low, at_high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (at_high - at_low) / (high - low)
    return float(min(tokens * slope + (at_low - slope * low), _MOST_SHIFT))
