"""Results of scripts/bench/gpu as measurements of Wan 2.1, and beside what is known of that GPU.

A result has one step and one decode at each point, and whole loops of several numbers of steps at one. Of
`wan-2.1` a measurement is a number of steps and the decode of the same clip; its parts have their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.cli.benchreport import BenchReport
from hpcwise.core.catalogue import HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.errors import UsageError
from hpcwise.core.measure import Measurement, scaled_shape
from hpcwise.core.profiles import profile_s

WHOLE: Final = "wan-2.1"
#: Models whose shape the benchmark has: whether steps and decode count.
MODELS: Final[Mapping[str, tuple[bool, bool]]] = {
    WHOLE: (True, True),
    "wan-2.1-dit": (True, False),
    "wan-2.1-vae": (False, True),
}
#: Compared with where the artifact has nothing of the measured GPU.
ELSE_HARDWARE: Final = "h200"
_POINT: Final = re.compile(r"(step|loop|decode)_s\.(\d+)x(\d+)x(\d+)(?:x(\d+))?")
#: Of a loop, where nothing says another number (StreamWise section 3.2).
USUAL_STEPS: Final = 10
#: Width, height (pixels) and frames of a clip.
Point = tuple[int, int, int]


class GpuReport(BenchReport, frozen=True, kw_only=True):
    """A file of results/gpu. device: as the driver calls it; missing: figures that could not be had."""

    device: str
    measured_on: str
    missing: dict[str, str]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration on one device, as measured here and as the artifact has it: by its own measurement of
    it (0 where it has none), and by the profile that is fitted to all of its measurements."""

    steps: int
    frames: int
    width: int
    height: int
    seconds: float
    artifact_s: float
    profile_s: float


class _Times(msgspec.Struct, frozen=True):
    """Seconds of a file. loops: with the number of steps."""

    step: dict[Point, float]
    decode: dict[Point, float]
    loops: dict[tuple[Point, int], float]


def read_gpu(path: Path) -> GpuReport:
    """Raises UsageError, one line, for a file that is none of scripts/bench/gpu's."""
    try:
        made = msgspec.json.decode(path.read_bytes(), type=GpuReport)
    except OSError as error:
        raise UsageError(f"--from {path}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--from {path}: is no result of scripts/bench/gpu ({error}); give a file of results/gpu"
        ) from error
    if made.name != "gpu" or not _times(made).step:
        raise UsageError(f"--from {path}: holds figures of {made.name!r}; give a file of results/gpu")
    for name, value in made.figures.items():
        if _POINT.fullmatch(name) and not 0 < value < math.inf:
            raise UsageError(f"--from {path}: {name}: {value:g} cannot be measured; measure again")
    return made


def hardware_of(device: str, known: Mapping[str, HardwareInfo]) -> str:
    """The hardware whose words the device's name has, the most of them. Raises UsageError."""
    words = set(re.split(r"[-_ ]", device.lower()))
    fitting = [name for name in known if set(name.split("-")) <= words]
    if not fitting:
        raise UsageError(
            f"--from: device {device!r} is none of {', '.join(known)}; give the one that it is as --hardware"
        )
    return max(fitting, key=lambda name: (name.count("-"), name))


def measurements_of(made: GpuReport, model: str, hardware: str) -> list[Measurement]:
    """Of one of MODELS, by steps, frames and pixels. Raises UsageError for another."""
    if model not in MODELS:
        raise UsageError(f"model {model}: --from has the shape of {', '.join(MODELS)}; give one of them")
    times, (steps_count, decode_counts) = _times(made), MODELS[model]
    rows: dict[tuple[Point, int], float] = {}
    if steps_count:
        rows = {**{(point, 1): seconds for point, seconds in times.step.items()}, **times.loops}
    if decode_counts:
        rows = rows or {(point, 0): 0.0 for point in times.decode}
        rows = {key: s + times.decode[key[0]] for key, s in rows.items() if key[0] in times.decode}
    return [
        Measurement(model=model, hardware=hardware, features=_features(point, steps), seconds=seconds)
        for (point, steps), seconds in rows.items()
    ]


def refined(
    own: LinearProfile, published: LinearProfile | None, measured: Sequence[Measurement], power_w: float
) -> LinearProfile:
    """`own`, of one device, with what is published of larger replicas, which as a whole are as much slower
    or faster as one device turned out to be. power_w: while it denoised; 0 where nobody could say."""
    power = {**(published.power_w if published else {}), **({1: power_w} if power_w else {})}
    assert own.fit is not None
    fit = msgspec.structs.replace(own.fit, source="scripts/bench/gpu")
    if published is None:
        return msgspec.structs.replace(own, power_w=power, fit=fit)
    logs = [math.log(m.seconds / said) for m in measured if (said := profile_s(published, m.features)) > 0]
    ratio = math.exp(sum(logs) / len(logs)) if logs else 1.0
    sizes = {n: scaled_shape(size, ratio) for n, size in published.sizes.items()}
    if sizes:
        text = f"scripts/bench/gpu; of several devices as published, times {ratio:.3g}"
        fit = msgspec.structs.replace(fit, source=text)
    return msgspec.structs.replace(own, sizes=sizes, speedup=published.speedup, power_w=power, fit=fit)


def check_size(made: GpuReport, info: ModelInfo) -> None:
    """Raises UsageError for a model that is none of that size: `--tiny` shows that all lines run."""
    measured_b = made.figures.get("parameters_b", 0.0)
    if info.size_b and not 0.5 <= measured_b / info.size_b <= 2.0:
        raise UsageError(
            f"--write: of {measured_b:.3g} billion parameters, {info.name} has {info.size_b:g}; measure with "
            "scripts/bench/gpu on a GPU, without --tiny"
        )


def beside(
    made: GpuReport, model: str, artifact: Sequence[Measurement], profile: LinearProfile
) -> list[Beside]:
    """Each point of the file beside what the artifact has for it: at the steps that it was measured with
    there, else at ten. Steps are alike: where no loop of that length was run here, a step's time counts as
    often."""
    times, (steps_count, decode_counts) = _times(made), MODELS[model]
    rows = []
    for point in times.step if steps_count else times.decode:
        known = {
            int(m.features["steps"]): m.seconds
            for m in artifact
            if m.model == model and m.n_devices == 1 and _features(point, 0) == {**m.features, "steps": 0.0}
        }
        for steps in sorted(known) or [USUAL_STEPS if steps_count else 0]:
            seconds = times.loops.get((point, steps), steps * times.step[point]) if steps_count else 0.0
            seconds += times.decode.get(point, 0.0) if decode_counts else 0.0
            rows.append(Beside(
                steps=steps, frames=point[2], width=point[0], height=point[1], seconds=seconds,
                artifact_s=known.get(steps, 0.0), profile_s=profile_s(profile, _features(point, steps)),
            ))  # fmt: skip
    return rows


def _times(made: GpuReport) -> _Times:
    times = _Times({}, {}, {})
    for name, seconds in made.figures.items():
        if (match := _POINT.fullmatch(name)) is None:
            continue
        width, height, frames, steps = (int(number or 0) for number in match.groups()[1:])
        point = width, height, frames
        if match[1] == "loop":
            times.loops[point, steps] = seconds
        else:
            (times.step if match[1] == "step" else times.decode)[point] = seconds
    return times


def _features(point: Point, steps: int) -> dict[str, float]:
    width, height, frames = point
    return {"steps": float(steps), "frames": float(frames), "frame_mpx": width * height / 1e6}
