"""Family `upscale-ncnn`: whole clips, picture by picture. `enlarge.py` has the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from hpcwise.core.errors import ModelMissing, Stopped, UsageError
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.frames import Frame, checked, read_frames, write_frames
from hpcwise.models.segment import write_segments
from hpcwise.models.upscale_ncnn.enlarge import Enlarger


class UpscaleParams(msgspec.Struct, frozen=True, kw_only=True):
    """film_width, film_height: pixels; set where this is the last stage, which writes a segment."""

    film_width: int = 0
    film_height: int = 0
    first_frame: int = 0


class UpscaleNcnnAdapter:
    """One network in memory."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Raises ModelMissing where the weights or ncnn lack."""
        if spec.path is None:
            raise ModelMissing(f"model {spec.name}: its card names no files")
        self._name = spec.name
        self._enlarger = Enlarger(spec.path, devices.threads)

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """A segment of the film, or frames.mkv for a stage that follows."""
        if call.stage != "upscale":
            raise UsageError(f"model {self._name}: stage is {call.stage!r}; it does upscale")
        try:
            params = msgspec.convert(call.params, UpscaleParams)
        except msgspec.ValidationError as error:
            raise UsageError(f"{call.stage}: {error}") from error
        source = next(iter(call.inputs["video"]))
        fps, total = int(source.facts["fps"]), int(source.facts["frames"])
        first = int(source.facts.get("first_frame", params.first_frame))
        pictures = self._larger(read_frames(source.path / "frames.mkv"), on_step, should_stop, total)
        whole = checked(pictures, self._name)
        if params.film_width:
            yield from write_segments(call, whole, total, params.film_width, params.film_height, fps, first)
            return
        path = call.work / "frames.mkv"
        count = write_frames(path, whole, fps)
        yield Output(files={"frames.mkv": path}, facts={"frames": count, "fps": fps, "first_frame": first})

    def _larger(
        self, frames: Iterator[Frame], on_step: OnStep, should_stop: Callable[[], bool], total: int
    ) -> Iterator[Frame]:
        for done, frame in enumerate(frames):
            if should_stop():
                raise Stopped(f"stopped at frame {done} of {total}")
            yield self._enlarger.enlarge(frame)
            on_step(done + 1, total, f"frame {done + 1} of {total}")
