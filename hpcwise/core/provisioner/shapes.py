"""Shapes of films for planning: the workflows of StreamWise's Table 1 out of a few numbers each, and jobs.

The unit of video is the segment of 3.5 s, of speech and screenplay the scene. Sizes, steps and rates are
those of hpcwise.core.streamcast, which makes the tasks; a test holds the two together.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from hpcwise.core import planner, streamcast
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import StageShape, Variant, Work
from hpcwise.core.spec import JobSpec, Tier
from hpcwise.core.units import SEGMENT_S, ModelName

#: Seconds on a host's cores of what needs no accelerator (StreamWise, Table 4).
DOCUMENT_S: Final = 1.2
DETECT_S: Final = 0.1
#: Gigabytes for a second of film, by stage: what hpcwise.sim.workload says of the paper's sizes.
_GB_A_S: Final = {"speech": 48e-6, "sketch": 5e-4, "decode": 1.1e-2, "sync": 2e-3, "denoise": 5e-4}
_IMAGE_GB: Final = 5e-4


class Workflow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of configs/workflows.yaml.

    scenes: of the film, each one unit of screenplay, speech and image. prompt, script, speech: work of the
    LLM before its first scene, for each scene, and of the voice, as multiples of the podcast's; 0 leaves
    the stage out. images: 0 none, 1 one for the film, 2 one for each scene. sketch, sync: share of the
    segments that are animated and lip-synced. sketch_share, sync_share: picture's size as a share of the
    film's. upscale: whether the best rung may be drawn small and enlarged.
    """

    source: str
    film_s: float = 600.0
    scenes: int = 43
    width: int = 1280
    height: int = 800
    fps: int = 23
    document: bool = True
    prompt: float = 1.0
    script: float = 1.0
    speech: float = 1.0
    images: int = 1
    detect: bool = True
    sketch: float = 1.0
    sketch_steps: int = streamcast.SKETCH_STEPS
    sketch_share: float = streamcast.SKETCH_SHARE
    sync: float = 1.0
    sync_steps: int = streamcast.RUNGS["high"][0]
    sync_share: float = streamcast.RUNGS["high"][1]
    upscale: bool = True


class WorkflowFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """configs/workflows.yaml."""

    workflows: dict[str, Workflow]


def check_workflow(name: str, flow: Workflow) -> None:
    """Raises UsageError for numbers that no film could have."""
    for field, value, least, most in (
        ("film_s", flow.film_s, 1.0, 86400.0), ("scenes", flow.scenes, 1, 10_000),
        ("fps", flow.fps, 1, 120), ("width", flow.width, 64, 7680), ("height", flow.height, 64, 4320),
        ("prompt", flow.prompt, 0, 1e4), ("script", flow.script, 0, 1e4), ("speech", flow.speech, 0, 1e4),
        ("images", flow.images, 0, 2), ("sketch", flow.sketch, 0, 1), ("sync", flow.sync, 0, 1),
        ("sketch_steps", flow.sketch_steps, 1, 1000), ("sync_steps", flow.sync_steps, 1, 1000),
        ("sketch_share", flow.sketch_share, 0.05, 1), ("sync_share", flow.sync_share, 0.05, 1),
    ):  # fmt: skip
        if not least <= value <= most:
            raise UsageError(f"workflows.{name}.{field}: {value} is not usable; choose {least} to {most:g}")
    if not flow.sketch and not flow.sync:
        raise UsageError(f"workflows.{name}.sketch: 0 with sync 0 makes no film; give either a share")


def work_of(name: str, flow: Workflow) -> Work:
    """The variants of a workflow: DiT and VAE of the sketch apart or fused, upscaled or direct, and the sync
    model's DiT and VAE apart."""
    check_workflow(name, flow)
    sides = [True, False] if flow.upscale else [False]
    variants = [
        _variant(flow, upscaled, split, False, {})
        for upscaled in sides
        for split in ((True, False) if flow.sketch else (False,))
    ]
    if flow.sync:
        variants.append(_variant(flow, sides[0], bool(flow.sketch), True, {}))
    return Work(name=name, film_s=flow.film_s, variants=tuple(variants))


def work_of_job(job: JobSpec, known: EngineConfig = planner.UNKNOWN) -> Work:
    """Raises UsageError for a workflow that has no stages to plan by. known: of models and replicas, since
    what a model can draw decides on sizes and rates."""
    if job.workflow == "graph":
        raise UsageError("workflow: 'graph' has no stages to plan replicas for; use hpcwise simulate")
    name = job.name or job.workflow
    if job.workflow == "podcast":
        return Work(name=name, film_s=job.duration_s, variants=(_embedded(job),))
    variants: list[Variant] = []
    crew = streamcast.Crew(job, known)
    for tier in job.ladder if not job.fixed_ladder else job.ladder[:1]:
        steps, share = streamcast.RUNGS[tier]
        flow = Workflow(
            source="job",
            film_s=job.duration_s,
            scenes=max(1, round(job.duration_s / streamcast.SCENE_S)),
            width=job.width,
            height=job.height,
            fps=round(job.fps),
            sync_steps=steps,
            sync_share=share,
            sketch_share=streamcast.SKETCH_SHARE * min(1.0, 2 * share),
            upscale=tier == "high" and job.upscale,
        )
        sides = [True, False] if flow.upscale else [False]
        for upscaled in sides:
            splits = (True,) if "sketch" in job.models else (True, False)
            if streamcast.FUSED in job.models:
                splits = (False,)
            variants += [_variant(flow, upscaled, split, False, job.models, tier, crew) for split in splits]
        if "sync" not in job.models and splits[0]:
            variants.append(_variant(flow, sides[0], True, True, job.models, tier, crew))
    return Work(name=name, film_s=job.duration_s, variants=tuple(variants))


def rising(work: Work) -> Work:
    """A film that begins at its lowest tier and is at its best for the rest, as adaptive quality makes it
    (see Objective.rises_s): the ways of the best tier, the first segment by the lowest one's like way."""
    best, lowest = work.variants[0].tier, work.variants[-1].tier
    found = []
    for way in work.variants:
        stages = {stage.name: stage for stage in way.stages}
        like = [
            {stage.name: stage for stage in low.stages}
            for low in work.variants
            if low.tier == lowest and {s.name for s in low.stages} == stages.keys() - {"upscale"}
        ]
        if way.tier != best or not like:
            continue
        made = []
        for stage in way.stages:
            low = like[0].get(stage.name)
            if low is not None and low.features != stage.features:
                stage = msgspec.structs.replace(stage, first=low.features)
            elif low is None:
                stage = msgspec.structs.replace(stage, first=dict.fromkeys(stage.features, 0.0))
            made.append(stage)
        found.append(msgspec.structs.replace(way, stages=tuple(made)))
    return msgspec.structs.replace(work, variants=tuple(found))


def segments(film_s: float) -> int:
    """Segments of a film: as many as a podcast of equal scenes has."""
    return max(1, math.ceil(film_s / SEGMENT_S - 1e-9))


def _variant(
    flow: Workflow, upscaled: bool, split: bool, sync_split: bool, models: dict[str, ModelName],
    tier: Tier = "high", crew: streamcast.Crew | None = None,
) -> Variant:  # fmt: skip
    """The stages of one way to make the film. models: by stage, in place of StreamWise's. crew: of a job; it
    knows what its models can draw."""
    scenes, n = flow.scenes, _units(flow, SEGMENT_S if crew is None else crew.segment_s)
    segment_s = flow.film_s / n
    mpx = flow.width * flow.height / 1e6
    direct = tier == "high" and flow.upscale and not upscaled
    found: list[StageShape] = []

    def add(name: str, after: tuple[str, ...], **fields: object) -> None:
        known = {stage.name for stage in found}
        model = models.get(name, streamcast.STAGE_MODELS.get(name, ""))
        made = {"name": name, "model": model, "after": tuple(a for a in after if a in known), **fields}
        found.append(msgspec.convert(made, StageShape))

    def video(name: str, share: float, fps: float, steps: int) -> dict[str, object]:
        width, height = _size(flow, share)
        frames = segment_s * fps
        if crew is not None and name != "upscale":
            of = crew.sketches if name == "sketch" else name
            width, height = crew.size(of, share)
            frames = segment_s * crew.fps(of)
            if name == "sketch":
                frames = crew.sketch_frames(segment_s, n // scenes) or frames
        features = {
            "film_s": segment_s, "frames": frames, "frame_mpx": width * height / 1e6, "steps": steps,
        }  # fmt: skip
        return {"features": features, "resolution": (width, height)}

    if flow.document:
        add("document", (), fixed_s=DOCUMENT_S)
    if flow.prompt or flow.script:
        first = {"film_s": flow.film_s, "first_scene": flow.prompt, "scenes": flow.script}
        each = {"film_s": 0.0, "first_scene": 0.0, "scenes": flow.script}
        add("screenplay", ("document",), units=scenes, first=first, features=each, serial=True)
    script = ("screenplay", "document")
    if flow.speech:
        features = {"scenes": flow.speech, "speech_s": flow.speech * flow.film_s / scenes}
        speech_gb = _GB_A_S["speech"] * flow.film_s / scenes
        add("speech", script, units=scenes, features=features, share="light", out_gb=speech_gb)
    if flow.images:
        add("image", script, units=1 if flow.images == 1 else scenes, out_gb=_IMAGE_GB,
            features={"steps": float(streamcast.IMAGE_STEPS), "frame_mpx": mpx},
            resolution=(flow.width, flow.height))  # fmt: skip
        if flow.detect:
            add("detect", ("image",), fixed_s=DETECT_S)
    if flow.sketch:
        alone = direct and not flow.sync
        sketch_share = 1.0 if alone else flow.sketch_share
        fps = float(streamcast.SKETCH_FPS if flow.sync else flow.fps)
        shape = video("sketch", sketch_share, fps, streamcast.DIRECT_STEPS if alone else flow.sketch_steps)
        units = max(1, round(n * flow.sketch))
        gb = {name: each * segment_s for name, each in _GB_A_S.items()}
        after = ("detect", "image", *script)
        if streamcast.ENCODE in models:
            add(streamcast.ENCODE, script, units=scenes, share="light")
        seen = (*(after[:1] if flow.images and flow.detect else after), streamcast.ENCODE)
        if split:
            add("sketch", seen, units=units, near="sketch", out_gb=gb["sketch"], **shape)
            add("decode", ("sketch",), units=units, near="sketch", out_gb=gb["decode"], **shape)
        elif streamcast.FUSED in models:
            add(streamcast.FUSED, seen, units=units, out_gb=gb["decode"], **shape)
        else:
            add("sketch", seen, units=units, out_gb=gb["decode"], **shape)
            found[-1] = msgspec.structs.replace(found[-1], model="framepack")
    drawn = ("decode" if split else "sketch", "speech", *(() if flow.sketch else ("image", *script)))
    drawn = (streamcast.FUSED, *drawn)
    if flow.sync:
        share = 1.0 if direct else flow.sync_share
        shape = video("sync", share, float(flow.fps), streamcast.DIRECT_STEPS if direct else flow.sync_steps)
        units = max(1, round(n * flow.sync))
        gb_sync = _GB_A_S["sync"] * segment_s
        if sync_split:
            add("denoise", drawn, units=units, near="sync", out_gb=_GB_A_S["denoise"] * segment_s,
                **shape)  # fmt: skip
            found[-1] = msgspec.structs.replace(found[-1], model="fantasytalking-dit")
            add("sync", ("denoise",), units=units, near="sync", out_gb=gb_sync, **shape)
            found[-1] = msgspec.structs.replace(found[-1], model="fantasytalking-vae")
        else:
            add("sync", drawn, units=units, out_gb=gb_sync, **shape)
    if upscaled:
        add("upscale", ("sync", *drawn), units=n, **video("upscale", 1.0, float(flow.fps), 1))
    names = [
        "upscaled" if upscaled else "direct" if tier == "high" else tier,
        *(("split" if split else "fused",) if flow.sketch else ()),
        *(("sync-split",) if sync_split else ()),
    ]
    return Variant(name=", ".join(names), stages=tuple(found), tier=tier)


def _units(flow: Workflow, segment_s: float) -> int:
    """Segments: each scene has a whole number of them, as its shot has."""
    return flow.scenes * max(1, math.ceil(flow.film_s / flow.scenes / segment_s - 1e-9))


def _size(flow: Workflow, share: float) -> tuple[int, int]:
    width, height = (max(64, 2 * round(side * share / 2)) for side in (flow.width, flow.height))
    return width, height


def _embedded(job: JobSpec) -> Variant:
    """The default film of this machine: drawn, not diffused; what it needs stands on cores."""
    shots = max(1, round(job.duration_s / planner.SKETCH_SHOT_S))
    shot_s = job.duration_s / shots
    mpx = job.width * job.height / 1e6
    models = {stage: planner.models_of(job, stage)[0] for stage in planner.STAGE_MODELS}
    film = {"film_s": job.duration_s}
    frames = shot_s * job.fps
    stages = (
        StageShape(name="document", model=models["document"], share="all"),
        StageShape(
            name="screenplay", model=models["screenplay"], after=("document",), features=film, share="all"
        ),
        StageShape(name="image", model=models["image"], features={"mpx": mpx}, share="all"),
        StageShape(
            name="speech", model=models["speech"], units=shots, after=("screenplay",),
            features={"speech_s": shot_s}, share="all",
        ),
        StageShape(
            name="animate", model=models["animate"], units=shots, after=("speech", "image"),
            features={"frames": frames, "mpx": frames * mpx, "film_s": shot_s}, share="all",
        ),
    )  # fmt: skip
    return Variant(name="drawn", stages=stages, tier=job.ladder[0])
