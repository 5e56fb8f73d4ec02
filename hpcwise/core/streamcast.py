"""The podcast of the StreamWise paper (section 5.1, Figure 2), generic over the model of every stage.

document -> screenplay (LLM, scene by scene) -> image (once) -> per shot: speech, detect (crops), sketch
(video in latent space, a stream of segments) -> per segment: decode (VAE), sync (lips to speech), upscale.
A job that names a model for the stage `encode` has the sketch's prompt made into conditions by replicas of
their own; shots with the same prompt share them (equal keys). One that names a model for `animate` has sketch
and decoding fused: one replica denoises and decodes, segment by segment.
The unit of streaming is the segment, and each is a shot of the film's plan of its own: so segments of one
shot are made side by side by several replicas, which real time needs as soon as a replica takes longer
for a segment than it plays. A segment is shorter where a model's longest clip is; speech that turns out
longer than it was expected to be is cut at its pauses by the sync model (models/sync).

With a ladder of several rungs each segment has an alternative a rung: high is synced at half size and then
enlarged (a chain of two tasks), medium at a quarter and enlarged to half (a film of half the size), low in
fewer steps at a quarter and shown as it is. Sketch and decode go with the segment that needs them first
(core/quality.py).
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from hpcwise.core.catalogue import ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.drawing import clip_frames, drawn_size, longest_clip, replicas_of
from hpcwise.core.messages import AddTasks
from hpcwise.core.needs import spoken
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
#: The screenplay of a job that brings its own.
SCRIPT_MODEL: Final = "approved-script"
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
#: The stage that makes prompts into conditions, for jobs that name a model for it.
ENCODE: Final = "encode"
#: Sketch and decoding by one model, for jobs that name one for it.
FUSED: Final = "animate"
#: Stages that only jobs have that name a model for them.
MORE_STAGES: Final = (ENCODE, FUSED)
#: The sketch is drawn small and at its own rate (the artifact's 512x320 for 1280x800), in ten steps.
SKETCH_SHARE: Final = 0.4
SKETCH_FPS: Final = 30
SKETCH_STEPS: Final = 10
IMAGE_STEPS: Final = 25
#: A scene of the paper's podcast: 600 s in 43. Its measurements of LLM and speech count scenes.
SCENE_S: Final = 600 / 43


class Crew(msgspec.Struct, frozen=True):
    """A job and what is known of the models and replicas that make it."""

    job: JobSpec
    known: EngineConfig

    @property
    def sketches(self) -> str:
        """The stage that draws the shots."""
        return FUSED if FUSED in self.job.models else "sketch"

    def model(self, stage: str) -> str:
        if stage == "screenplay" and self.job.script:
            return SCRIPT_MODEL
        return self.job.models.get(stage) or STAGE_MODELS[stage]

    @property
    def models(self) -> set[str]:
        """Of all stages."""
        return {*map(self.model, STAGE_MODELS), *self.job.models.values()}

    def info(self, stage: str) -> ModelInfo | None:
        return self.known.catalogue.models.get(self.model(stage))

    def size(self, stage: str, share: float) -> tuple[int, int]:
        """Width and height nearest to that share of the film's that the stage's model can draw."""
        info = self.info(stage)
        wanted = max(64.0, self.job.width * share), max(64.0, self.job.height * share)
        return drawn_size(info, wanted, replicas_of(self.known.fleet, info))

    def fps(self, stage: str) -> float:
        """Of the stage's own pictures."""
        info, usual = self.info(stage), SKETCH_FPS if stage == self.sketches else self.job.fps
        return float(info.fps if info is not None and info.fps else usual)

    @property
    def segment_s(self) -> float:
        """The longest segment: none of its stages needs more than one clip for it. One that goes on where
        the one before ended gives its first frame away."""
        sketch, sync = longest_clip(self.info(self.sketches)), longest_clip(self.info("sync"))
        return min(
            SEGMENT_S,
            (sketch - 1) / self.fps(self.sketches) if sketch else SEGMENT_S,
            sync / self.fps("sync") if sync else SEGMENT_S,
        )

    def sketch_frames(self, length_s: float, chunks: int) -> int:
        """Frames of each of `chunks` clips that follow one another; 0 where the model makes any number."""
        info = self.info(self.sketches)
        if info is None or not longest_clip(info):
            return 0
        return clip_frames(info, math.ceil(length_s * self.fps(self.sketches) - 1e-9) + (chunks > 1))


def first_tasks(request: RequestRecord, known: EngineConfig) -> AddTasks:
    """What is known before anything has run."""
    job, rid = request.job, request.request_id
    crew = Crew(job, known)
    document = TaskSpec(
        task_id=f"{rid}/document",
        request_id=rid,
        stage="document",
        params={"sha256": job.input_sha256},
        local={"path": job.input_path},
        alternatives=(_made(crew, "document", {}),),
    )
    screenplay = TaskSpec(
        task_id=f"{rid}/screenplay",
        request_id=rid,
        stage="screenplay",
        params=written(job),
        inputs=(Edge("document", document.task_id),),
        alternatives=(_made(crew, "screenplay", _screenplay_features(job)),),
        expand="streamcast",
        seed=job.seed,
    )
    return AddTasks(request_id=rid, tasks=(document, screenplay), total_s=job.duration_s)


def scene_tasks(request: RequestRecord, facts: dict[str, Any], known: EngineConfig) -> AddTasks:
    """The shots of one scene, and with the first scene the image that all shots are cut from."""
    scene = msgspec.convert(facts["scene"], Scene)
    crew = Crew(request.job, known)
    specs: list[TaskSpec] = []
    lengths: list[float] = []
    if not request.shots:
        specs.append(_image(request, crew))
    for shot in scene.shots:
        made, of_segments = _shot(request, crew, len(request.shots) + len(lengths), shot)
        specs += made
        lengths += of_segments
    return AddTasks(
        request_id=request.request_id,
        tasks=tuple(specs),
        lengths_s=tuple(lengths),
        total_s=max(request.job.duration_s, request.total_s) if not scene.last else 0.0,
        last=scene.last,
    )


def written(job: JobSpec) -> dict[str, Any]:
    """What the screenplay is made of, beside the document: the job's own, or the wish for one."""
    if job.script:
        return {"scenes": msgspec.to_builtins(job.script)}
    return {"duration_s": job.duration_s, "cast": msgspec.to_builtins(job.cast)}


def sketch_segments(request: RequestRecord, known: EngineConfig) -> int:
    """Segments that are expected and have no tasks yet."""
    planned_s = sum(s.expected_s for s in request.shots)
    segment_s = Crew(request.job, known).segment_s
    return max(0, math.ceil((request.job.duration_s - planned_s) / segment_s - 1e-9))


def sketch_alternatives(job: JobSpec, known: EngineConfig) -> tuple[Alternative, ...]:
    """What lies between a scene of the screenplay and its first segment, one segment of each stage."""
    crew = Crew(job, known)
    length_s = crew.segment_s
    drawn = (FUSED,) if FUSED in job.models else ("sketch", "decode")
    names = (*drawn, "sync", *(("upscale",) if _upscales(job) else ()))
    return (
        _made(crew, "speech", _speech_features(length_s)),
        *((_made(crew, ENCODE, {}),) if ENCODE in job.models else ()),
        *(filmed(crew, name, length_s, job.ladder[0]) for name in names),
    )


def _image(request: RequestRecord, crew: Crew) -> TaskSpec:
    job, rid = request.job, request.request_id
    width, height = crew.size("image", 1.0)
    features = {"steps": float(IMAGE_STEPS), "frame_mpx": width * height / 1e6}
    return TaskSpec(
        task_id=f"{rid}/image",
        request_id=rid,
        stage="image",
        params={
            "set": job.set_name, "width": width, "height": height, "steps": IMAGE_STEPS,
            "prompt": picture_prompt(job.set_name, job.cast),
        },
        alternatives=(_made(crew, "image", features),),
        seed=job.seed,
    )  # fmt: skip


def _shot(request: RequestRecord, crew: Crew, first: int, shot: Shot) -> tuple[list[TaskSpec], list[float]]:
    """Tasks of the shot whose first segment is segment `first` of the film, and its segments' lengths."""
    job, rid = request.job, request.request_id
    n = max(1, math.ceil(shot.expected_s / crew.segment_s - 1e-9))
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

    ids = [c.id for c in job.cast]
    who = ids.index(shot.lines[0].speaker) if shot.lines and shot.lines[0].speaker in ids else 0
    asked = {"prompt": shot_prompt(job.set_name, job.cast, shot), "negative_prompt": NEGATIVE, "fps": job.fps}
    speech = task(
        "speech", first, spoken(job, shot), (),
        alternatives=(_made(crew, "speech", _speech_features(shot.expected_s)),),
    )  # fmt: skip
    detect = task(
        "detect", first, {"kind": shot.kind, "who": who}, (Edge("image", f"{rid}/image"),),
        alternatives=(_made(crew, "detect", {"frame_mpx": _mpx(job)}),),
    )  # fmt: skip
    made = [speech, detect]
    seen: tuple[Edge, ...] = (Edge("image", detect.task_id),)
    drawn = {**asked, "chunks": n, "seconds": length_s}
    if ENCODE in job.models:
        # The conditions are the recipe then: the words are in their key.
        words = {name: drawn.pop(name) for name in ("prompt", "negative_prompt")}
        made.append(task(ENCODE, first, words, (), alternatives=(_made(crew, ENCODE, {}),)))
        seen = (*seen, Edge("prompt", made[-1].task_id))
    stage = crew.sketches
    sketch = task(stage, first, drawn, seen, alternatives=_rungs(crew, stage, length_s, n))
    made.append(sketch)
    begins = [round(k * length_s * job.fps) for k in range(n + 1)]
    for k in range(n):
        index = first + k
        frames = {"frames": begins[k + 1] - begins[k], "first_frame": begins[k], "segment": k, "segments": n}
        video = Edge("video", sketch.task_id, "stream", k)
        if stage != FUSED:
            decode = task(
                "decode", index, {"segment": k}, (Edge("latents", sketch.task_id, "stream", k),),
                alternatives=_rungs(crew, "decode", length_s, n),
            )  # fmt: skip
            made.append(decode)
            video = Edge("video", decode.task_id)
        upscales = _upscales(job) and not _adaptive(job)
        shown = (video, Edge("speech", speech.task_id))
        sync = task(
            "sync", index, {**frames, **asked}, shown,
            alternatives=_rungs(crew, "sync", length_s, n), publishes=not upscales,
        )  # fmt: skip
        made.append(sync)
        if upscales:
            upscale = task(
                "upscale", index, dict(frames), (Edge("video", sync.task_id),),
                alternatives=_rungs(crew, "upscale", length_s, n), publishes=True,
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


def _rungs(crew: Crew, stage: str, length_s: float, chunks: int) -> tuple[Alternative, ...]:
    """The ways of a stage, one a rung of the job's ladder, or the best one alone. length_s: of a segment,
    of which a shot has `chunks`."""
    job = crew.job
    if not _adaptive(job):
        return (filmed(crew, stage, length_s, job.ladder[0], chunks),)
    found = []
    for tier in job.ladder:
        made = filmed(crew, stage, length_s, tier, chunks)
        if stage == "sync" and _enlarged(job, tier):
            parts = tuple(
                Part(
                    stage=name, model=way.model, params=way.params, features=way.features, input_name="video",
                    kind="finish",
                )
                for name, way in (("sync", made), ("upscale", filmed(crew, "upscale", length_s, tier)))
            )  # fmt: skip
            made = Alternative(tier=tier, model=made.model, features=made.features, parts=parts)
        found.append(made)
    return tuple(found)


def _made(crew: Crew, stage: str, features: dict[str, float], tier: Tier | None = None) -> Alternative:
    """A way of a stage, by default at the best rung that the job names."""
    return Alternative(tier=tier or crew.job.ladder[0], model=crew.model(stage), features=features)


def _mpx(job: JobSpec) -> float:
    return job.width * job.height / 1e6


def _screenplay_features(job: JobSpec) -> dict[str, float]:
    scenes = max(1.0, float(round(job.duration_s / SCENE_S)))
    return {"film_s": job.duration_s, "first_scene": 1.0, "scenes": scenes}


def _speech_features(length_s: float) -> dict[str, float]:
    return {"speech_s": length_s, "scenes": length_s / SCENE_S}


def filmed(crew: Crew, stage: str, length_s: float, tier: Tier, chunks: int = 1) -> Alternative:
    """A way of a stage that makes `length_s` seconds of pictures for a rung; the sketch all its `chunks`.

    features: steps, frames, frame_mpx (megapixels of one frame), film_s. The upscaler's are of its output,
    the sync model's of its own picture, sketch and decode have their own size and rate. Sizes and the
    sketch's frames are those that are drawn; the sync model's frames are those of the expected speech at its
    own rate, since its clips follow the real one (what rounding adds there, measured runs teach).
    """
    job = crew.job
    steps, share = RUNGS[tier]
    shown = 1.0
    if _enlarged(job, tier):
        share, shown = ENLARGED[tier]
    of, frames, drawn = stage, 0, {}
    if stage in (crew.sketches, "decode"):
        of, steps, share = crew.sketches, SKETCH_STEPS, SKETCH_SHARE * min(1.0, 2 * share)
        frames = crew.sketch_frames(length_s, chunks)
    elif stage == "upscale":
        share = shown
    elif tier == "high" and not job.upscale:
        steps, share = DIRECT_STEPS, 1.0
    if stage == "upscale":
        width, height = (max(64, 2 * round(n * share / 2)) for n in (job.width, job.height))
    else:
        width, height = crew.size(of, share)
    each = frames or length_s * crew.fps(of)
    if stage == crew.sketches:
        length_s, each = length_s * chunks, each * chunks
        drawn = {"frames": frames, "fps": round(crew.fps(of))} if frames else {}
    features = {
        "film_s": length_s, "frames": each, "frame_mpx": width * height / 1e6, "steps": float(steps),
    }  # fmt: skip
    params = {"steps": steps, "render_width": width, "render_height": height, **drawn}
    if stage == "upscale" or (stage == "sync" and not _enlarged(job, tier)):
        params |= {"film_width": job.width, "film_height": job.height}
    return msgspec.structs.replace(_made(crew, stage, features, tier), params=params)
