"""The podcast of the StreamWise paper (section 5.1, Figure 2), generic over the model of every stage.

document -> screenplay (LLM, scene by scene) -> image (once) -> per shot: speech, detect (crops), sketch
(video in latent space, a stream of segments) -> per segment: decode (VAE), sync (lips to speech), upscale.
The unit of streaming is the segment, and each is a shot of the film's plan of its own: so segments of one
shot are made side by side by several replicas, which real time needs as soon as a replica takes longer
for a segment than it plays.

With a ladder of several rungs each segment has an alternative a rung: high is synced at half size and then
enlarged (a chain of two tasks), medium at a quarter and enlarged to half (a film of half the size), low in
fewer steps at a quarter and shown as it is. Sketch and decode go with the segment that needs them first
(core/quality.py).
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from hpcwise.core.messages import AddTasks
from hpcwise.core.prompts import NEGATIVE, picture_prompt, shot_prompt
from hpcwise.core.screenplay import Scene, Shot
from hpcwise.core.spec import JobSpec, Tier
from hpcwise.core.state import RequestRecord
from hpcwise.core.units import SEGMENT_S
from hpcwise.core.workflow import Alternative, Edge, Part, TaskSpec

#: The paper's model of each stage; a job may name others.
STAGE_MODELS: Final[dict[str, str]] = {
    "document": "pdf-document",
    "screenplay": "gemma-3-27b",
    "speech": "kokoro-82m",
    "image": "flux",
    "detect": "yolo",
    "sketch": "framepack-dit",
    "decode": "framepack-vae",
    "sync": "fantasytalking",
    "upscale": "real-esrgan",
}
#: Denoising steps of the sync model, and its picture's size as a share of the film's (section 5.2). The
#: best rung is the second enlarged, as in the paper's artifact; drawn directly it takes DIRECT_STEPS.
RUNGS: Final[dict[Tier, tuple[int, float]]] = {
    "high": (10, 0.5),
    "medium": (10, 0.5),
    "low": (5, 0.25),
    "static": (1, 0.25),
}
DIRECT_STEPS: Final = 20
#: Rungs that a ladder enlarges: what the sync model's picture and the enlarged one are a share of.
ENLARGED: Final[dict[Tier, tuple[float, float]]] = {"high": (0.5, 1.0), "medium": (0.25, 0.5)}
#: The sketch is drawn small and at its own rate (the artifact's 512x320 for 1280x800), in ten steps.
SKETCH_SHARE: Final = 0.4
SKETCH_FPS: Final = 30
SKETCH_STEPS: Final = 10
IMAGE_STEPS: Final = 25
#: What a side is divided by on its way into a transformer: eight by the VAE, two by its patches.
_SIDE_PX: Final = 16
#: A scene of the paper's podcast: 600 s in 43. Its measurements of LLM and speech count scenes.
SCENE_S: Final = 600 / 43


def first_tasks(request: RequestRecord) -> AddTasks:
    """What is known before anything has run."""
    job, rid = request.job, request.request_id
    document = TaskSpec(
        task_id=f"{rid}/document",
        request_id=rid,
        stage="document",
        params={"sha256": job.input_sha256},
        local={"path": job.input_path},
        alternatives=(_made(job, "document", {}),),
    )
    screenplay = TaskSpec(
        task_id=f"{rid}/screenplay",
        request_id=rid,
        stage="screenplay",
        params={"duration_s": job.duration_s, "cast": msgspec.to_builtins(job.cast)},
        inputs=(Edge("document", document.task_id),),
        alternatives=(_made(job, "screenplay", _screenplay_features(job)),),
        expand="streamcast",
        seed=job.seed,
    )
    return AddTasks(request_id=rid, tasks=(document, screenplay), total_s=job.duration_s)


def scene_tasks(request: RequestRecord, facts: dict[str, Any]) -> AddTasks:
    """The shots of one scene, and with the first scene the image that all shots are cut from."""
    scene = msgspec.convert(facts["scene"], Scene)
    specs: list[TaskSpec] = []
    lengths: list[float] = []
    if not request.shots:
        specs.append(_image(request))
    for shot in scene.shots:
        made, of_segments = _shot(request, len(request.shots) + len(lengths), shot)
        specs += made
        lengths += of_segments
    return AddTasks(
        request_id=request.request_id,
        tasks=tuple(specs),
        lengths_s=tuple(lengths),
        total_s=max(request.job.duration_s, request.total_s) if not scene.last else 0.0,
        last=scene.last,
    )


def sketch_segments(request: RequestRecord) -> int:
    """Segments that are expected and have no tasks yet."""
    planned_s = sum(s.expected_s for s in request.shots)
    return max(0, math.ceil((request.job.duration_s - planned_s) / SEGMENT_S - 1e-9))


def sketch_alternatives(job: JobSpec) -> tuple[Alternative, ...]:
    """What lies between a scene of the screenplay and its first segment, one segment of each stage."""
    names = ("sketch", "decode", "sync") + (("upscale",) if _upscales(job) else ())
    return (
        _made(job, "speech", _speech_features(SEGMENT_S)),
        *(_video(job, name, SEGMENT_S, job.ladder[0]) for name in names),
    )


def _image(request: RequestRecord) -> TaskSpec:
    job, rid = request.job, request.request_id
    return TaskSpec(
        task_id=f"{rid}/image",
        request_id=rid,
        stage="image",
        params={
            "set": job.set_name, "width": _side(job.width), "height": _side(job.height), "steps": IMAGE_STEPS,
            "prompt": picture_prompt(job.set_name, job.cast),
        },
        inputs=(Edge("screenplay", f"{rid}/screenplay", "stream", 0),),
        alternatives=(_made(job, "image", {"steps": float(IMAGE_STEPS), "frame_mpx": _mpx(job)}),),
        seed=job.seed,
    )  # fmt: skip


def _shot(request: RequestRecord, first: int, shot: Shot) -> tuple[list[TaskSpec], list[float]]:
    """Tasks of the shot whose first segment is segment `first` of the film, and its segments' lengths."""
    job, rid = request.job, request.request_id
    n = max(1, math.ceil(shot.expected_s / SEGMENT_S - 1e-9))
    length_s = shot.expected_s / n
    common: dict[str, Any] = {"request_id": rid, "seed": job.seed, "prominence": shot.prominence}

    def task(
        stage: str, index: int, params: dict[str, Any], inputs: tuple[Edge, ...], **more: Any
    ) -> TaskSpec:
        return TaskSpec(
            task_id=f"{rid}/{stage}/{index:04d}",
            stage=stage,
            params=params,
            inputs=inputs,
            order=float(index),
            shot=index,
            **common,
            **more,
        )

    lines = [{"speaker": line.speaker, "text": line.text} for line in shot.lines]
    cast = msgspec.to_builtins(job.cast)
    ids = [c.id for c in job.cast]
    who = ids.index(lines[0]["speaker"]) if lines and lines[0]["speaker"] in ids else 0
    asked = {"prompt": shot_prompt(job.set_name, job.cast, shot), "negative_prompt": NEGATIVE, "fps": job.fps}
    speech = task(
        "speech", first, {"lines": lines, "cast": cast, "pause_after_s": shot.pause_after_s}, (),
        alternatives=(_made(job, "speech", _speech_features(shot.expected_s)),),
    )  # fmt: skip
    detect = task(
        "detect", first, {"kind": shot.kind, "who": who}, (Edge("image", f"{rid}/image"),),
        alternatives=(_made(job, "detect", {"frame_mpx": _mpx(job)}),),
    )  # fmt: skip
    sketch = task(
        "sketch", first, {**asked, "chunks": n, "seconds": length_s}, (Edge("image", detect.task_id),),
        alternatives=_rungs(job, "sketch", shot.expected_s),
    )  # fmt: skip
    made = [speech, detect, sketch]
    begins = [round(k * length_s * job.fps) for k in range(n + 1)]
    for k in range(n):
        index = first + k
        frames = {"frames": begins[k + 1] - begins[k], "first_frame": begins[k], "segment": k, "segments": n}
        decode = task(
            "decode", index, {"segment": k}, (Edge("latents", sketch.task_id, "stream", k),),
            alternatives=_rungs(job, "decode", length_s),
        )  # fmt: skip
        upscales = _upscales(job) and not _adaptive(job)
        shown = (Edge("video", decode.task_id), Edge("speech", speech.task_id))
        sync = task(
            "sync", index, {**frames, **asked}, shown,
            alternatives=_rungs(job, "sync", length_s), publishes=not upscales,
        )  # fmt: skip
        made += [decode, sync]
        if upscales:
            upscale = task(
                "upscale", index, dict(frames), (Edge("video", sync.task_id),),
                alternatives=_rungs(job, "upscale", length_s), publishes=True,
            )  # fmt: skip
            made.append(upscale)
    return made, [length_s] * n


def _upscales(job: JobSpec) -> bool:
    return job.upscale and job.ladder[0] == "high"


def _adaptive(job: JobSpec) -> bool:
    """Whether segments may be made at other rungs than the best one."""
    return len(job.ladder) > 1 and not job.fixed_ladder


def _enlarged(job: JobSpec, tier: Tier) -> bool:
    """Whether that rung is synced smaller than it is shown."""
    return job.upscale and (tier == "high" or (tier == "medium" and _adaptive(job)))


def _rungs(job: JobSpec, stage: str, length_s: float) -> tuple[Alternative, ...]:
    """The ways of a stage, one a rung of the job's ladder, or the best one alone."""
    if not _adaptive(job):
        return (_video(job, stage, length_s, job.ladder[0]),)
    found = []
    for tier in job.ladder:
        made = _video(job, stage, length_s, tier)
        if stage == "sync" and _enlarged(job, tier):
            parts = tuple(
                Part(
                    stage=name, model=way.model, params=way.params, features=way.features, input_name="video",
                    kind="finish",
                )
                for name, way in (("sync", made), ("upscale", _video(job, "upscale", length_s, tier)))
            )  # fmt: skip
            made = Alternative(tier=tier, model=made.model, features=made.features, parts=parts)
        found.append(made)
    return tuple(found)


def _made(job: JobSpec, stage: str, features: dict[str, float], tier: Tier | None = None) -> Alternative:
    """A way of a stage, by default at the best rung that the job names."""
    model = job.models.get(stage, STAGE_MODELS[stage])
    return Alternative(tier=tier or job.ladder[0], model=model, features=features)


def _mpx(job: JobSpec) -> float:
    return job.width * job.height / 1e6


def _screenplay_features(job: JobSpec) -> dict[str, float]:
    scenes = max(1.0, float(round(job.duration_s / SCENE_S)))
    return {"film_s": job.duration_s, "first_scene": 1.0, "scenes": scenes}


def _speech_features(length_s: float) -> dict[str, float]:
    return {"speech_s": length_s, "scenes": length_s / SCENE_S}


def _video(job: JobSpec, stage: str, length_s: float, tier: Tier) -> Alternative:
    """A way of a stage that makes `length_s` seconds of pictures for a rung.

    features: steps, frames, frame_mpx (megapixels of one frame), film_s. The upscaler's are of its output,
    the sync model's of its own picture, sketch and decode have their own size and rate.
    """
    steps, share = RUNGS[tier]
    fps, shown = float(job.fps), 1.0
    if _enlarged(job, tier):
        share, shown = ENLARGED[tier]
    if stage in ("sketch", "decode"):
        steps, share, fps = SKETCH_STEPS, SKETCH_SHARE * min(1.0, 2 * share), float(SKETCH_FPS)
    elif stage == "upscale":
        share = shown
    elif tier == "high" and not job.upscale:
        steps, share = DIRECT_STEPS, 1.0
    width, height = (max(64, 2 * round(n * share / 2)) for n in (job.width, job.height))
    features = {
        "film_s": length_s,
        "frames": length_s * fps,
        "frame_mpx": width * height / 1e6,
        "steps": float(steps),
    }
    made = _made(job, stage, features, tier)
    params = {"steps": steps, "render_width": _side(width), "render_height": _side(height)}
    if stage == "upscale" or (stage == "sync" and not _enlarged(job, tier)):
        params |= {"film_width": job.width, "film_height": job.height}
    return msgspec.structs.replace(made, params=params)


def _side(pixels: int) -> int:
    """A side that a VAE of 8 and patches of 2 take."""
    return max(_SIDE_PX, _SIDE_PX * round(pixels / _SIDE_PX))
