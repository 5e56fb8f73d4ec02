"""From a request to tasks: first a sketch, then real nodes as the screenplay streams (StreamWise 4.5).

A workflow is two functions: what can be known at once, and what a chunk of an expanding task adds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from hpcwise.core import streamcast
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import CoreError
from hpcwise.core.messages import AddTasks
from hpcwise.core.needs import cut_of, drawn, spoken
from hpcwise.core.screenplay import Scene, Shot
from hpcwise.core.spec import JobSpec, Tier
from hpcwise.core.state import RequestRecord, TaskRecord
from hpcwise.core.units import SEGMENT_S, TaskId
from hpcwise.core.workflow import Alternative, Edge, TaskSpec

#: Rough length of a shot before there is a screenplay.
SKETCH_SHOT_S = 8.0
#: Size at which a tier is drawn, as a share of the film's size.
TIER_SCALE: dict[Tier, float] = {"high": 1.0, "medium": 0.625, "low": 0.375, "static": 1.0}
#: The embedded default's model of each stage; a job may name others.
STAGE_MODELS = {
    "document": ("pdf-document",),
    "screenplay": ("extractive-screenplay",),
    "speech": ("kokoro-82m", "fallback-voice"),
    "image": ("drawn-scene",),
    "animate": ("drawn-scene",),
}
#: The screenplay of a job that names an endpoint.
LLM_MODEL = "llm-screenplay"
#: Named for the stage `upscale` of a podcast, it enlarges pictures that are smaller than the film.
ENLARGER = "realesr-animevideov3-x2"
#: A planner that is told nothing of models and replicas.
UNKNOWN = EngineConfig()


def first_tasks(request: RequestRecord, known: EngineConfig = UNKNOWN) -> AddTasks:
    """What is known of a request before anything has run. known: of models and replicas."""
    if request.job.workflow == "graph":
        return _graph(request)
    if request.job.workflow == "streamwise-podcast":
        return streamcast.first_tasks(request, known)
    return _podcast(request)


def expand(
    request: RequestRecord, task: TaskRecord, tasks: dict[TaskId, TaskRecord], facts: dict[str, Any],
    known: EngineConfig = UNKNOWN,
) -> AddTasks:  # fmt: skip
    """The successors that a chunk of an expanding task brings; raises CoreError for an unknown rule.

    tasks: all tasks of the engine, of which those of this request are looked at.
    """
    if task.spec.expand == "screenplay":
        return _scene(request, tasks, facts)
    if task.spec.expand == "streamcast":
        return streamcast.scene_tasks(request, facts, known)
    raise CoreError(f"task {task.spec.task_id}: no rule {task.spec.expand!r} to expand it")


def models_of(job: JobSpec, stage: str) -> tuple[str, ...]:
    """Models of a stage, best first."""
    if stage == "screenplay" and job.script:
        return (streamcast.SCRIPT_MODEL,)
    chosen = job.models.get(stage)
    if not chosen and stage == "screenplay" and job.llm is not None:
        return (LLM_MODEL, *STAGE_MODELS[stage])
    return (chosen,) if chosen else STAGE_MODELS[stage]


def coming_models(request: RequestRecord) -> tuple[str, ...]:
    """Best models of the stages that a request that still grows will need, heaviest to load first."""
    if request.last or request.job.workflow != "podcast":
        return ()
    stages = ("speech", "animate") if request.shots else ("speech", "animate", "screenplay")
    return tuple(models_of(request.job, stage)[0] for stage in stages)


def may_need(job: JobSpec, models: Collection[str]) -> bool:
    """Whether a request that still grows may come to need one of `models`."""
    if job.workflow == "streamwise-podcast":
        return not streamcast.Crew(job, UNKNOWN).models.isdisjoint(models)
    stages = (models_of(job, stage) for stage in STAGE_MODELS)
    return not {*job.models.values(), *itertools.chain.from_iterable(stages)}.isdisjoint(models)


def segment_frames(job: JobSpec) -> int:
    """Frames of a segment, the unit of streaming and of deadlines."""
    return max(1, round(SEGMENT_S * job.fps))


def sketch_tail_s(
    job: JobSpec, typical_s: Callable[[Alternative], float], known: EngineConfig = UNKNOWN
) -> float:
    """Expected seconds from a scene of the screenplay to its first segment, by the sketch of a shot."""
    if job.workflow == "streamwise-podcast":
        return sum(typical_s(made) for made in streamcast.sketch_alternatives(job, known))
    speech = _speech_alternatives(job, SKETCH_SHOT_S)[0]
    animate = _animate_alternatives(job, SKETCH_SHOT_S)[0]
    return typical_s(speech) + typical_s(animate) * SEGMENT_S / SKETCH_SHOT_S


def sketch_shots(request: RequestRecord, known: EngineConfig = UNKNOWN) -> int:
    """Shots that are still expected but have no nodes yet."""
    if request.last or request.job.workflow == "graph":
        return 0
    if request.job.workflow == "streamwise-podcast":
        return streamcast.sketch_segments(request, known)
    planned_s = sum(s.expected_s for s in request.shots)
    return max(0, math.ceil((request.job.duration_s - planned_s) / SKETCH_SHOT_S))


def remakes(request: RequestRecord, tasks: dict[str, TaskRecord], shots: list[int]) -> AddTasks:
    """Tasks that make degraded `shots` again in their best alternative."""
    specs = []
    for index in shots:
        spec = tasks[request.shots[index].task_id].spec
        # Of a rung that became a chain: from what the whole chain was made from.
        first = spec
        while chained := [e.source for e in first.inputs if e.source.startswith(f"{spec.task_id}/")]:
            first = tasks[chained[0]].spec
        specs.append(
            msgspec.structs.replace(
                spec,
                task_id=f"{spec.task_id}/remake",
                stage=first.stage,
                inputs=first.inputs,
                alternatives=spec.alternatives[:1],
                publishes=False,
                remake_of=spec.task_id,
            )
        )
    return AddTasks(request_id=request.request_id, tasks=tuple(specs), total_s=request.total_s, last=True)


# --- podcast ----------------------------------------------------------------------------------------


def _podcast(request: RequestRecord) -> AddTasks:
    job, rid = request.job, request.request_id
    document = TaskSpec(
        task_id=f"{rid}/document",
        request_id=rid,
        stage="document",
        params={"sha256": job.input_sha256} | _own_pictures(job, paths=False),
        local={"path": job.input_path} | _own_pictures(job, paths=True),
        alternatives=tuple(Alternative(tier="high", model=m) for m in models_of(job, "document")),
    )
    screenplay = TaskSpec(
        task_id=f"{rid}/screenplay",
        request_id=rid,
        stage="screenplay",
        params=streamcast.written(job),
        inputs=(Edge("document", document.task_id),),
        alternatives=_screenplay_alternatives(job),
        expand="screenplay",
        seed=job.seed,
    )
    backdrop = TaskSpec(
        task_id=f"{rid}/image/{job.set_name}",
        request_id=rid,
        stage="image",
        params={"set": job.set_name, "width": job.width, "height": job.height},
        alternatives=tuple(
            Alternative(tier="high", model=m, features={"mpx": job.width * job.height / 1e6})
            for m in models_of(job, "image")
        ),
        seed=job.seed,
    )
    return AddTasks(request_id=rid, tasks=(document, screenplay, backdrop), total_s=job.duration_s)


def _own_pictures(job: JobSpec, *, paths: bool) -> dict[str, Any]:
    """The person's own pictures: what they are is part of the recipe, where they lie is not."""
    if not job.pictures:
        return {}
    if paths:
        return {"picture_paths": [p.file.path for p in job.pictures]}
    return {"pictures": [{"sha256": p.file.sha256, "caption": p.caption} for p in job.pictures]}


def _screenplay_alternatives(job: JobSpec) -> tuple[Alternative, ...]:
    out = []
    for i, model in enumerate(models_of(job, "screenplay")):
        asked = {"endpoint": msgspec.to_builtins(job.llm)} if model == LLM_MODEL else {}
        tier: Tier = "high" if i == 0 else "low"
        out.append(Alternative(tier=tier, model=model, params=asked, features={"film_s": job.duration_s}))
    return tuple(out)


def _scene(request: RequestRecord, tasks: dict[TaskId, TaskRecord], facts: dict[str, Any]) -> AddTasks:
    scene = msgspec.convert(facts["scene"], Scene)
    specs: list[TaskSpec] = []
    first = len(request.shots)
    # A speaker's first close-up carries the name.
    close = {shot.lines[0].speaker for shot in scene.shots if shot.kind == "close_up" and shot.lines}
    new = close - _introduced(request, tasks, close)
    for i, shot in enumerate(scene.shots):
        introduces = shot.kind == "close_up" and bool(shot.lines) and shot.lines[0].speaker in new
        if introduces:
            new.remove(shot.lines[0].speaker)
        specs.extend(_shot(request, first + i, shot, introduces, cut_of(scene, first, i)))
    return AddTasks(
        request_id=request.request_id,
        tasks=tuple(specs),
        lengths_s=tuple(shot.expected_s for shot in scene.shots),
        total_s=max(request.job.duration_s, request.total_s) if not scene.last else 0.0,
        last=scene.last,
    )


def _introduced(request: RequestRecord, tasks: dict[TaskId, TaskRecord], among: set[str]) -> set[str]:
    """Who of these has been shown with their name. That is early in a film: later shots are not looked at."""
    known: set[str] = set()
    for shot in request.shots:
        if known >= among:
            break
        params = tasks[shot.task_id].spec.params
        if params["show_name"]:
            known.add(params["shot"]["lines"][0]["speaker"])
    return known


def _brought(job: JobSpec, *, paths: bool) -> dict[str, Any]:
    """The person's own logo and fonts: what they are is part of the recipe, where they lie is not."""
    asked: dict[str, Any] = {}
    if job.logo is not None:
        asked |= {"logo_path": job.logo.path} if paths else {"logo": job.logo.sha256}
    if job.fonts:
        own = {name: font.path if paths else font.sha256 for name, font in sorted(job.fonts.items())}
        asked["font_paths" if paths else "fonts"] = own
    return asked


def _shot(
    request: RequestRecord, index: int, shot: Shot, introduces: bool, cut: dict[str, Any]
) -> tuple[TaskSpec, TaskSpec]:
    job, rid = request.job, request.request_id
    speech = TaskSpec(
        task_id=f"{rid}/speech/{index:04d}",
        request_id=rid,
        stage="speech",
        params=spoken(job, shot),
        alternatives=_speech_alternatives(job, shot.expected_s),
        order=float(index),
        shot=index,
        times_shot=True,
        prominence=shot.prominence,
        seed=job.seed,
    )
    inputs = [Edge("speech", speech.task_id), Edge("backdrop", f"{rid}/image/{job.set_name}")]
    if shot.figure is not None or "figure" in cut.get("before", {}):
        inputs.append(Edge("document", f"{rid}/document"))
    animate = TaskSpec(
        task_id=f"{rid}/animate/{index:04d}",
        request_id=rid,
        stage="animate",
        params={
            "width": job.width,
            "height": job.height,
            "fps": job.fps,
            "segment_frames": segment_frames(job),
        }
        | drawn(job, shot, cut, introduces=introduces)
        | _enlarging(job, shot, cut)
        | _brought(job, paths=False),
        local=_brought(job, paths=True),
        inputs=tuple(inputs),
        alternatives=_animate_alternatives(job, shot.expected_s),
        order=float(index),
        shot=index,
        publishes=True,
        prominence=shot.prominence,
        seed=job.seed,
    )
    return speech, animate


def _enlarging(job: JobSpec, shot: Shot, cut: dict[str, Any]) -> dict[str, Any]:
    """Of shots that show a picture, or come from one."""
    shows = shot.figure is not None or "figure" in cut.get("before", {})
    return {"enlarge": True} if shows and job.models.get("upscale") == ENLARGER else {}


def _speech_alternatives(job: JobSpec, length_s: float) -> tuple[Alternative, ...]:
    return tuple(
        Alternative(tier="high" if i == 0 else "low", model=m, features={"speech_s": length_s})
        for i, m in enumerate(models_of(job, "speech"))
    )


def _animate_alternatives(job: JobSpec, length_s: float) -> tuple[Alternative, ...]:
    frames = length_s * job.fps
    found: list[Alternative] = []
    for tier in job.ladder:
        width, height = (_even(n * TIER_SCALE[tier]) for n in (job.width, job.height))
        drawn = {"static_frames": frames} if tier == "static" else {"frames": frames}
        mpx = 0.0 if tier == "static" else frames * width * height / 1e6
        found.extend(
            Alternative(
                tier=tier,
                model=model,
                params={"quality": tier, "render_width": width, "render_height": height},
                features={**drawn, "mpx": mpx, "film_s": length_s},
            )
            for model in models_of(job, "animate")
        )
    return tuple(found)


def _even(pixels: float) -> int:
    return max(64, 2 * round(pixels / 2))


# --- graph ------------------------------------------------------------------------------------------


def _graph(request: RequestRecord) -> AddTasks:
    rid = request.request_id
    prefix = f"{rid}/"
    by_name = {t.name: t for t in request.job.graph}
    specs = []
    for name in _sources_first(request.job):
        t = by_name[name]
        specs.append(
            TaskSpec(
                task_id=prefix + t.name,
                request_id=rid,
                stage=t.stage,
                params=t.params,
                inputs=tuple(Edge(e.name, prefix + e.source, e.kind, e.chunk) for e in t.inputs),
                alternatives=(Alternative(tier="high", model=t.model, features=t.features),),
                order=t.deadline_s if t.deadline_s is not None else 0.0,
                deadline_s=t.deadline_s,
                seed=t.seed,
            )
        )
    return AddTasks(request_id=rid, tasks=tuple(specs), last=True)


def _sources_first(job: JobSpec) -> list[str]:
    """Names of the graph's tasks, sources before consumers, otherwise as written."""
    unmet: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for t in job.graph:
        sources = dict.fromkeys(e.source for e in t.inputs)
        unmet[t.name] = len(sources)
        for source in sources:
            users.setdefault(source, []).append(t.name)
    order = [name for name, n in unmet.items() if n == 0]
    for name in order:
        for user in users.get(name, ()):
            unmet[user] -= 1
            if unmet[user] == 0:
                order.append(user)
    return order
