"""A change of one thing in a job makes again what it can be heard or seen in, and no more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hpcwise.core.cache import recipe_key
from hpcwise.core.planner import expand, first_tasks
from hpcwise.core.screenplay import Character, Line, Scene, Shot
from hpcwise.core.spec import Asset, JobSpec, Music, OwnPicture
from hpcwise.core.state import RequestRecord, ShotRecord, TaskRecord
from tests.core.driver import CAST, podcast

CAST_OF_3 = (*CAST, Character(id="eva", name="Eva", role="sceptic", voice="bf_emma", look="eva"))


def said(kind: str, who: str, text: str, figure: int | None = None) -> Shot:
    return Shot(kind=kind, lines=(Line(speaker=who, text=text),), figure=figure)  # type: ignore[arg-type]


#: Shots 0 to 8. Each of the three speaks alone somewhere; Eva is at the table only where she speaks.
SCENES = (
    Scene(
        title="Opening",
        shots=(
            said("title", "maya", "Welcome."),
            said("two_shot", "maya", "What is this about?"),
            said("close_up", "dan", "It is about the estuary."),
        ),
    ),
    Scene(
        title="Evidence",
        shots=(
            said("chapter", "maya", "Now the evidence."),
            said("figure", "dan", "Here it is.", 0),
            said("figure", "dan", "And here.", 1),
            said("close_up", "eva", "Is that all?"),
            said("close_up", "dan", "It is."),
        ),
    ),
    Scene(title="Close", shots=(said("end", "maya", "Goodbye."),), last=True),
)
JOB = podcast(cast=CAST_OF_3, script=SCENES, lexicon={"Bacon": "bay con"})
ALL = tuple(range(9))


def keys_of(job: JobSpec) -> dict[str, str]:
    """Key of each task of the job's film, all in their best alternative."""
    request = RequestRecord(request_id="r", ordinal=0, job=job, arrived_s=0.0)
    tasks: dict[str, TaskRecord] = {}
    keys: dict[str, str] = {}

    def add(specs: Any) -> None:
        for spec in specs:
            tasks[spec.task_id] = TaskRecord(spec=spec, ordinal=len(tasks))
            best = spec.alternatives[0]
            sources = [(edge.name, keys[edge.source]) for edge in spec.inputs]
            keys[spec.task_id] = recipe_key(spec, best, "1", sources)
            if spec.publishes:
                request.shots.append(ShotRecord(len(request.shots), spec.task_id, best.features["film_s"]))

    add(first_tasks(request).tasks)
    for scene in job.script:
        facts = {"scene": msgspec.to_builtins(scene)}
        add(expand(request, tasks["r/screenplay"], tasks, facts).tasks)
    return keys


def again(stage: str, change: dict[str, Any], job: JobSpec = JOB) -> tuple[int, ...]:
    """Numbers of the tasks of a stage that the changed job makes and the job did not."""
    before, after = keys_of(job), keys_of(msgspec.structs.replace(job, **change))
    made = {name for name in after if f"/{stage}/" in name and after[name] not in before.values()}
    return tuple(sorted(int(name.rpartition("/")[2]) for name in made))


def cast(who: str, **change: Any) -> dict[str, Any]:
    """The cast with one of them changed."""
    return {"cast": tuple(msgspec.structs.replace(c, **change) if c.id == who else c for c in CAST_OF_3)}


def line(number: int, **change: Any) -> dict[str, Any]:
    """The script with the line of one shot changed."""
    shots = [shot for scene in SCENES for shot in scene.shots]
    shots[number] = msgspec.structs.replace(
        shots[number], lines=(msgspec.structs.replace(shots[number].lines[0], **change),)
    )
    left = iter(shots)
    return {
        "script": tuple(msgspec.structs.replace(s, shots=tuple(next(left) for _ in s.shots)) for s in SCENES)
    }


OWN = Asset(path="/own", sha256="cd" * 32)
MAYA, DAN = (0, 1, 3, 8), (2, 4, 5, 7)


@pytest.mark.parametrize(
    ("change", "speech", "pictures"),
    [
        # A picture is made again with the speech that moves its lips, and where the thing itself is seen.
        (line(2, text="It is about a river."), (2,), (2,)),
        (line(2, source="Somewhere else."), (), ()),
        (line(6, speaker="maya"), (6,), (6,)),
        (cast("dan", pace=0.9), DAN, DAN),
        (cast("maya", pace=1.1), MAYA, MAYA),
        (cast("dan", voice="am_adam"), DAN, DAN),
        (cast("dan", look="ravi"), (), (0, 1, 2, 4, 5, 6, 7, 8)),  # 6 comes from him; 3 is a chapter's card
        (cast("eva", look="nora"), (), (6,)),
        (cast("eva", name="Evelyn"), (), (6,)),  # her first close-up, which introduces her
        (cast("dan", name="Dan"), (), (2,)),
        ({"lexicon": {"estuary": "est you airy", "Bacon": "bay con"}}, (2,), (2,)),
        ({"lexicon": {}}, (), ()),
        ({"show": "Paper Talk"}, (), (0, 1, 8)),  # the card, and the shot that it gives way to
        ({"logo": OWN}, (), ALL),
        ({"fonts": {"regular": OWN}}, (), ALL),
        ({"set_name": "street"}, (), ALL),
        ({"pictures": (OwnPicture(file=OWN, caption="A mill."),)}, (), (4, 5, 6)),
        ({"music": Music(file=OWN, level_db=18.0)}, (), ()),
        ({"subtitles": ("vtt",)}, (), ()),
        ({"outputs": ("mp4",), "renditions": ()}, (), ()),
        ({"name": "Another title", "budget_usd": 2.0}, (), ()),
        ({"duration_s": 120.0}, (), ()),  # a script is filmed as it stands
    ],
)  # fmt: skip
def test_a_change_makes_the_shots_again_that_it_touches(
    change: dict[str, Any], speech: tuple[int, ...], pictures: tuple[int, ...]
) -> None:
    assert again("speech", change) == speech
    assert again("animate", change) == pictures


GENERATED = msgspec.structs.replace(JOB, workflow="streamwise-podcast")
STAGES = ("speech", "detect", "sketch", "decode", "sync", "upscale")


@pytest.mark.parametrize(
    ("change", "made"),
    [
        # Numbers are of segments, two a shot; what is enlarged is named by the segment that it is part of.
        (line(2, text="It is about a river."), {"speech": (4,), "sync": (4, 5)}),
        (cast("eva", voice="bf_alice"), {"speech": (12,), "sync": (12, 13)}),
        ({"lexicon": {"estuary": "est you airy"}}, {"speech": (4,), "sync": (4, 5)}),
        (cast("dan", look="ravi"), {}),  # of looks nothing is in the prompts
    ],
)
def test_a_change_of_a_generated_film_leaves_the_picture_that_all_shots_are_cut_from(
    change: dict[str, Any], made: dict[str, tuple[int, ...]]
) -> None:
    assert {stage: found for stage in STAGES if (found := again(stage, change, GENERATED))} == made
