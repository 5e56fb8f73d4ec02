"""Family `sync`: a clip whose people speak the film's words. Wan image-to-video that hears (attention.py).

The model is asked for at most 81 frames at 23 a second, beyond which faces drift (StreamWise section 4.5): a
longer stretch is made in several runs, cut where nobody speaks. Each run starts from the clip's own picture
and ends in it, so that runs and segments meet: a checkpoint that was trained with a last picture is given it
(option last_image), with any other the last few pictures dissolve into the clip's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.core.screenplay import Speech
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.diffusion.adapter import DTYPES, DiffuseParams, DiffusersAdapter, Loop, converted
from hpcwise.models.diffusion.grid import fitted
from hpcwise.models.frames import Frame, checked, read_frames, stretched, write_frames
from hpcwise.models.segment import write_segments
from hpcwise.models.sync.attention import AudioCondition, Conductor
from hpcwise.models.sync.sound import SpeechEncoder, read_speech, stretch_of

#: The model's own rate and its longest clip.
FPS: Final = 23
MOST_FRAMES: Final = 81
#: What they last: a segment of 3.5 s is one clip.
MOST_S: Final = MOST_FRAMES / FPS
#: Pictures over which a run dissolves into the clip.
_BLEND: Final = 4


class SyncParams(DiffuseParams, frozen=True, kw_only=True):
    """segment, segments: which part of the shot's speech; the shot is shared out evenly, whatever its speech
    really takes. film_width, film_height: set where this is the last stage. sound_guidance: as in
    FantasyTalking."""

    segments: int = 1
    film_width: int = 0
    film_height: int = 0
    sound_guidance: float = 5.0


class SyncAdapter(DiffusersAdapter):
    """The checkpoint holds Wan's folders and two more: audio_encoder and audio_condition."""

    passes = 3
    # Two passes with words differ by the sound alone: the second would be skipped, and no lips would move.
    skips = False

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        super().load(spec, devices)
        assert spec.path is not None
        dtype = DTYPES[self._options.dtype]
        condition = (
            AudioCondition.read(spec.path / "audio_condition", spec.name).to(self._device, dtype).eval()
        )
        self._conductor = Conductor(self._transformer, condition)
        if self._replica is not None:
            self._conductor.share(self._replica.parts["transformer"])
        if devices.rank == 0:
            self._encoder = SpeechEncoder(spec.path / "audio_encoder", spec.name, self._device, dtype)

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """One output: a segment of the film, or frames.mkv for a stage that follows."""
        params = converted(call.params, SyncParams, call.stage)
        if call.stage != "sync":
            raise UsageError(f"model {self._name}: stage is {call.stage!r}; it does sync")
        fitted(msgspec.structs.replace(params, frames=0), self._options, self._grid, self._name)
        said, cut = self._asked(call, params)
        speech_dir, clip_dir = (next(iter(call.inputs[name])).path for name in ("speech", "video"))
        speech = _speech(speech_dir)
        clip = list(read_frames(clip_dir / "frames.mkv"))
        if not clip:
            raise BadOutput("sync: a clip without frames")
        first, last = _share(speech.duration_s, params)
        start_s, end_s = first / params.fps, last / params.fps
        runs = cuts(start_s, end_s, MOST_S, quiet(speech))
        sound, rate_hz = read_speech(speech_dir / "audio.wav")
        made: list[Frame] = []
        for index, (from_s, to_s) in enumerate(runs):
            wanted = max(1, round((to_s - from_s) * FPS))
            frames = 4 * math.ceil(max(1, wanted - 1) / 4) + 1
            # The sound of all pictures that are made, also of those that round their number up: each hears
            # its own moment.
            heard = self._encoder.features(stretch_of(sound, rate_hz, from_s, from_s + frames / FPS))
            times = np.linspace(from_s, to_s, wanted)
            below = [_at(clip, (t - start_s) / (end_s - start_s)) for t in times]
            loop = Loop(call, params, index, len(runs), on_step, self._preview)
            asked = msgspec.structs.replace(params, frames=frames)
            made += self._run(loop, asked, said, heard, below)
        # By its own rate into the film's.
        shown = stretched(made, last - first) if params.fps != FPS else _held(made, last - first)
        whole = checked(shown, self._name)
        if params.film_width:
            size = params.film_width, params.film_height
            for output in write_segments(call, whole, last - first, *size, params.fps, first):
                yield replace(output, facts={**output.facts, **cut})
            return
        path = call.work / "frames.mkv"
        count = write_frames(path, whole, params.fps)
        facts = {"frames": count, "fps": params.fps, "first_frame": first, **cut}
        yield Output(files={"frames.mkv": path}, facts=facts)

    def _run(
        self, loop: Loop, params: SyncParams, said: Mapping[str, Any], heard: Any, below: list[Frame]
    ) -> list[Frame]:
        """Pictures of one run, one for each of the clip's that lie below it. said: the prompt, or what was
        made of it elsewhere."""
        from PIL import Image

        given: dict[str, Any] = {
            **said, "image": Image.fromarray(below[0]), "output_type": "latent",
        }  # fmt: skip
        if self._options.last_image:
            given["last_image"] = Image.fromarray(below[-1])
        guidance = float(self._options.call.get("guidance_scale", 5.0))
        with torch.no_grad(), self._conductor.conducting(heard, guidance, params.sound_guidance):
            latents = self._generate(loop, params, given).frames
        if not bool(torch.isfinite(latents).all()):
            raise BadOutput(f"{self._name}: latents that are no numbers, run {loop.chunk}")
        # Not by the pipeline: a decoder that runs out of memory must not cost the denoising.
        # Before they dissolve into the clip, which would hide what they lack.
        made = list(checked(self._pictures(latents, lambda _: None), self._name))[: len(below)]
        if not self._options.last_image:
            for back in range(1, min(_BLEND, len(made) - 1) + 1):
                own = back / (_BLEND + 1)
                target = _resized(below[-back], made[-back].shape)
                made[-back] = (own * made[-back] + (1 - own) * target).round().astype(np.uint8)
        return made


def cuts(
    start_s: float, end_s: float, most_s: float, silent: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Stretches of at most `most_s` that make up the whole, cut in the middle of a pause if one is near."""
    parts = math.ceil((end_s - start_s) / most_s - 1e-9)
    if parts <= 1:
        return [(start_s, end_s)]
    # Somewhere from which the rest still fits into one part fewer.
    earliest, latest = end_s - (parts - 1) * most_s, start_s + most_s
    even = start_s + (end_s - start_s) / parts
    middles = [(a + b) / 2 for a, b in silent if earliest <= (a + b) / 2 <= latest]
    at = min(middles, key=lambda t: abs(t - even), default=even)
    return [(start_s, at), *cuts(at, end_s, most_s, silent)]


def quiet(speech: Speech) -> list[tuple[float, float]]:
    """Where nobody speaks, between two words."""
    words = sorted((w.start_s, w.end_s) for w in speech.words)
    return [(a[1], b[0]) for a, b in itertools.pairwise(words) if b[0] > a[1]]


def _share(duration_s: float, params: SyncParams) -> tuple[int, int]:
    """First frame of the segment in its shot, and the one after its last."""
    total = max(params.segments, math.ceil(duration_s * params.fps - 1e-6))
    return tuple(round(total * (params.segment + k) / params.segments) for k in (0, 1))  # type: ignore[return-value]


def _at(clip: list[Frame], share: float) -> Frame:
    return clip[min(len(clip) - 1, max(0, round(share * (len(clip) - 1))))]


def _resized(frame: Frame, shape: tuple[int, ...]) -> Frame:
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((shape[1], shape[0]), Image.Resampling.LANCZOS), np.uint8)


def _held(frames: list[Frame], wanted: int) -> Iterator[Frame]:
    """As many as wanted; rounding may have made one too many or too few, and then the last stays."""
    for index in range(wanted):
        yield frames[min(index, len(frames) - 1)]


def _speech(folder: Path) -> Speech:
    try:
        return msgspec.json.decode((folder / "speech.json").read_bytes(), type=Speech)
    except (OSError, msgspec.DecodeError) as error:
        raise BadOutput(f"sync: speech.json cannot be read: {error}") from error
