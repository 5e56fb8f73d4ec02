"""What the models say: screenplays, lengths of speech and sizes of artifacts, drawn instead of computed."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from hpcwise.core.screenplay import Character, Line, Scene, Shot
from hpcwise.core.spec import JobSpec
from hpcwise.core.state import TaskRecord
from hpcwise.core.units import SEGMENT_S
from hpcwise.sim.draws import Draws

CAST: Final = (
    Character(id="maya", name="Maya", role="host", voice="af_heart", look="maya"),
    Character(id="dan", name="Daniel", role="expert", voice="am_michael", look="dan"),
)
#: Words spoken in a second.
_WORDS_A_S: Final = 2.6
#: Bytes for a second of film, of what each stage writes at the paper's sizes (raw frames for `decode`).
_BYTES_A_S: Final = {
    "speech": 48_000,
    "animate": 300_000,
    "sketch": 500_000,
    "decode": 11_000_000,
    "sync": 2_000_000,
    "upscale": 4_000_000,
}


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """How documents turn into films.

    shot_s, shot_sigma: mean length of a shot and the spread of its logarithm; n_shots: a fixed number of
    equal shots instead, 0 for none. shots_a_scene: of a chunk of the screenplay. speech_sigma: spread of
    the spoken length around what the screenplay expected. bytes_a_s: size of a stage's artifact for each
    second of film; other stages make `other_bytes`.
    """

    shot_s: float = 8.0
    shot_sigma: float = 0.35
    n_shots: int = 0
    shots_a_scene: int = 4
    speech_sigma: float = 0.0
    bytes_a_s: dict[str, int] = msgspec.field(default_factory=lambda: dict(_BYTES_A_S))
    other_bytes: int = 500_000

    def screenplay(self, job: JobSpec, draws: Draws, request_id: str) -> tuple[Scene, ...]:
        """The scenes of a film of about `job.duration_s` seconds."""
        lengths = self._lengths(job, draws, request_id)
        speakers = [c.id for c in job.cast] or [c.id for c in CAST]
        shots = [
            Shot(
                kind="title" if i == 0 else "end" if i == len(lengths) - 1 else "close_up",
                lines=(Line(speaker=speakers[i % len(speakers)], text=_text(request_id, i, length_s)),),
                prominence=1.0 if i in (0, len(lengths) - 1) else 0.4,
                expected_s=length_s,
            )
            for i, length_s in enumerate(lengths)
        ]
        n = max(1, self.shots_a_scene)
        groups = [tuple(shots[i : i + n]) for i in range(0, len(shots), n)]
        return tuple(
            Scene(title=f"scene {i + 1}", shots=group, last=i == len(groups) - 1)
            for i, group in enumerate(groups)
        )

    def speech_s(self, task: TaskRecord, draws: Draws) -> float:
        """How long the speech of a shot really is, seconds."""
        alternative = task.spec.alternatives[task.alternative]
        expected_s = alternative.features.get("speech_s", SEGMENT_S)
        return expected_s * draws.factor(self.speech_sigma, "speech", task.spec.task_id)

    def nbytes(self, task: TaskRecord) -> int:
        """Size of the whole artifact of a task."""
        rate = self.bytes_a_s.get(task.spec.stage)
        if rate is None:
            return self.other_bytes
        features = task.spec.alternatives[task.alternative].features
        film_s = features.get("film_s", features.get("speech_s", SEGMENT_S))
        return int(rate * film_s * task.scale)

    def _lengths(self, job: JobSpec, draws: Draws, request_id: str) -> list[float]:
        if self.n_shots:
            return [job.duration_s / self.n_shots] * self.n_shots
        lengths: list[float] = []
        left_s = job.duration_s
        while left_s > 0:
            length_s = self.shot_s * draws.factor(self.shot_sigma, "shot", request_id, len(lengths))
            # No sliver at the end: what is left goes into the last shot.
            if left_s - length_s < self.shot_s / 2:
                length_s = left_s
            lengths.append(length_s)
            left_s -= length_s
        return lengths


#: The paper's podcast (section 5): 600 s in 43 scenes of one shot, four segments of 3.5 s each.
PAPER: Final = Workload(n_shots=43, shots_a_scene=1)


def paper_job(**changes: Any) -> JobSpec:
    """The paper's 10-minute podcast at 1280x800 and 23 frames a second; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "workflow": "streamwise-podcast",
        "name": "podcast",
        "input_path": "paper.pdf",
        "input_sha256": "5e" * 32,
        "cast": CAST,
        "duration_s": 600.0,
        "width": 1280,
        "height": 800,
        "fps": 23,
        "ladder": ("high",),
        "fixed_ladder": True,
    }
    return JobSpec(**{**fields, **changes})


def frames_of(task: TaskRecord, job: JobSpec, length_s: float) -> list[int]:
    """Frames of each segment of a publishing task whose shot is `length_s` seconds long."""
    fixed = task.spec.params.get("frames")
    if isinstance(fixed, int):
        return [fixed]
    per = max(1, int(task.spec.params.get("segment_frames", round(SEGMENT_S * job.fps))))
    total = max(1, round(length_s * job.fps))
    n = math.ceil(total / per)
    return [min(per, total - k * per) for k in range(n)]


def _text(request_id: str, index: int, length_s: float) -> str:
    words = max(1, round(length_s * _WORDS_A_S) - 3)
    return f"{request_id} shot {index}: " + " ".join(["word"] * words)
