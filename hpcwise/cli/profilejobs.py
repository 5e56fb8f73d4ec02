"""The measuring jobs of `hpcwise profile`: tasks of several sizes for each family that can run here.

One of the tasks is there to load and warm the model up; it measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.cli.specread import DEFAULT_CAST
from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Line, Shot
from hpcwise.core.spec import GraphTask
from hpcwise.core.workflow import Edge

#: Facts of a task's artifact and of its inputs, by edge name.
Facts = Mapping[str, Any]
FPS: Final = 24
SENTENCES: Final = (
    "A scheduler decides which work runs next.",
    "It knows how long each step takes, because somebody measured it.",
    "When a machine is lost, the work that it held goes to another one, and nothing is counted twice.",
    "Deadlines come first, and what has none waits.",
    "The film starts to play before the last of its pictures is drawn.",
    "What was made once is never made again.",
)
_PARAGRAPH: Final = " ".join(SENTENCES)
_VOICE: Final = "kokoro-82m"
#: Lines spoken and size drawn, pixels.
_SHOTS: Final = ((1, (320, 200)), (1, (640, 400)), (3, (320, 200)), (3, (640, 400)), (1, (1280, 800)))


@dataclass(frozen=True, slots=True)
class Sample:
    """A task that is measured. features: of the facts of its own artifact and of its inputs, once it ran."""

    task: str
    features: Callable[[Facts, Mapping[str, Facts]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, what of it is measured, and the terms that are fitted."""

    tasks: tuple[GraphTask, ...]
    samples: tuple[Sample, ...]
    terms: tuple[str, ...]
    documents: dict[str, str] = field(default_factory=dict)


def plan_for(model: str, family: str, folder: Path, seed: int, rounds: int) -> Plan:
    """The jobs of one model. folder: where documents that they read are to lie (Plan.documents says which).

    seed: another one makes everything anew, instead of taking it from the store. rounds: runs of each size.
    Raises UsageError for a family that has no measuring jobs.
    """
    makers: dict[str, Callable[[str, Path, int, int], Plan]] = {
        "emulated": _emulated,
        "kokoro": _speech,
        "fallback-voice": _speech,
        "drawn-scene": _drawn,
        "document": _document,
        "screenplay": _screenplay,
    }
    if family not in makers:
        known = ", ".join(makers)
        raise UsageError(f"{model}: family {family!r} has no measuring jobs yet; there are {known}")
    return makers[family](model, folder, seed, rounds)


def _emulated(model: str, folder: Path, seed: int, rounds: int) -> Plan:
    sizes = (0.05, 0.1, 0.2, 0.4, 0.8)
    tasks = [_task("warm-up", "emulated", model, {"seconds": 0.01}, {"seconds": 0.01}, seed)]
    samples = []
    for i in range(rounds):
        for seconds in sizes:
            name = f"size-{seconds:g}-{i}"
            values = {"seconds": seconds}
            tasks.append(_task(name, "emulated", model, dict(values), values, seed + i + 1))
            samples.append(Sample(name, _constant(values)))
    return Plan(tuple(tasks), tuple(samples), ("seconds",))


def _speech(model: str, folder: Path, seed: int, rounds: int) -> Plan:
    tasks = [_spoken("warm-up", model, 1, seed)]
    samples = []
    for i in range(rounds):
        for n in (1, 2, 3, 4, 6):
            name = f"lines-{n}-{i}"
            tasks.append(_spoken(name, model, n, seed + i + 1))
            samples.append(Sample(name, lambda own, _: {"speech_s": float(own["duration_s"])}))
    return Plan(tuple(tasks), tuple(samples), ("speech_s",))


def _drawn(model: str, folder: Path, seed: int, rounds: int) -> Plan:
    tasks = [_spoken("speech-1", _VOICE, 1, seed), _spoken("speech-3", _VOICE, 3, seed)]
    tasks.append(_task("backdrop", "image", model, {"set": "studio", "width": 640, "height": 400}, {}, seed))
    samples = []
    for i in range(rounds):
        for lines, (width, height) in _SHOTS:
            name = f"shot-{lines}-{width}-{i}"
            params = _shot_params(lines, width, height)
            inputs = (Edge("speech", f"speech-{lines}"), Edge("backdrop", "backdrop"))
            tasks.append(_task(name, "animate", model, params, {"frames": lines * 90.0}, seed + i, inputs))
            samples.append(Sample(name, _drawn_features(width, height)))
    return Plan(tuple(tasks), tuple(samples), ("frames", "mpx"))


def _drawn_features(width: int, height: int) -> Callable[[Facts, Mapping[str, Facts]], dict[str, float]]:
    def features(_: Facts, inputs: Mapping[str, Facts]) -> dict[str, float]:
        frames = float(inputs["speech"]["duration_s"]) * FPS
        return {"frames": frames, "mpx": frames * width * height / 1e6}

    return features


def _document(model: str, folder: Path, seed: int, rounds: int) -> Plan:
    documents, tasks, samples = {}, [], []
    for i in range(rounds + 1):
        for n in (10, 30, 90) if i else (10,):
            name = f"paragraphs-{n}-{i}" if i else "warm-up"
            documents[f"{name}.md"] = _text(n)
            params = {"path": str(folder / f"{name}.md")}
            tasks.append(_task(name, "document", model, params, {}, seed + i))
            if i:
                samples.append(Sample(name, _constant({})))
    return Plan(tuple(tasks), tuple(samples), (), documents)


def _screenplay(model: str, folder: Path, seed: int, rounds: int) -> Plan:
    path = folder / "document.md"
    tasks = [_task("document", "document", "pdf-document", {"path": str(path)}, {}, seed)]
    samples = []
    for i in range(rounds + 1):
        for film_s in (30.0, 60.0, 120.0, 240.0) if i else (30.0,):
            name = f"film-{film_s:g}-{i}" if i else "warm-up"
            params = {"duration_s": film_s, "cast": msgspec.to_builtins(DEFAULT_CAST)}
            inputs = (Edge("document", "document"),)
            tasks.append(_task(name, "screenplay", model, params, {"film_s": film_s}, seed + i, inputs))
            if i:
                samples.append(Sample(name, _constant({"film_s": film_s})))
    return Plan(tuple(tasks), tuple(samples), ("film_s",), {"document.md": _text(60)})


def _text(paragraphs: int) -> str:
    """A document with as many paragraphs; each names its number, so that none repeats another."""
    parts = ["# How work is scheduled"]
    for i in range(1, paragraphs + 1):
        if i % 5 == 1:
            parts.append(f"## Part {i // 5 + 1}")
        parts.append(f"In case {i} the rule is simple. {_PARAGRAPH} Case {i} took {i * 7} minutes in all.")
    return "\n\n".join(parts) + "\n"


def _task(
    name: str, stage: str, model: str, params: dict[str, Any], features: dict[str, float], seed: int,
    inputs: tuple[Edge, ...] = (),
) -> GraphTask:  # fmt: skip
    return GraphTask(
        name=name, stage=stage, model=model, params=params, features=features, inputs=inputs, seed=seed
    )


def _spoken(name: str, model: str, n: int, seed: int) -> GraphTask:
    speaker = DEFAULT_CAST[0].id
    # A number in the text: a voice takes no seed, and equal text would be taken from the store.
    lines = [{"speaker": speaker, "text": text} for text in (f"Take {seed % 1000}.", *SENTENCES[:n])]
    params = {"lines": lines, "cast": msgspec.to_builtins(DEFAULT_CAST)}
    return _task(name, "speech", model, params, {"speech_s": 4.0 * n}, seed)


def _shot_params(lines: int, width: int, height: int) -> dict[str, Any]:
    speaker = DEFAULT_CAST[0].id
    spoken = tuple(Line(speaker=speaker, text=text) for text in SENTENCES[:lines])
    shot = Shot(kind="close_up", lines=spoken, expected_s=0.0, prominence=0.0)
    return {
        "shot": msgspec.to_builtins(shot), "cast": msgspec.to_builtins(DEFAULT_CAST), "width": width,
        "height": height, "fps": FPS, "segment_frames": 84, "show_title": "measuring",
    }  # fmt: skip


def _constant(values: dict[str, float]) -> Callable[[Facts, Mapping[str, Facts]], dict[str, float]]:
    return lambda own, inputs: dict(values)
