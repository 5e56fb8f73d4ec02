"""What a shot's recipe leaves out of its job (core/needs.py) can be neither seen nor heard in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import skia

from hpcwise.core.needs import cut_of, drawn, spoken
from hpcwise.core.screenplay import Character, Line, Scene, Shot, ShotKind, Speech, Word
from hpcwise.core.spec import JobSpec
from hpcwise.models.base import Call, Input
from hpcwise.models.drawn.adapter import _Shot
from hpcwise.models.drawn.params import checked_animate
from hpcwise.models.kokoro.fallback import manners
from hpcwise.models.kokoro.params import speech_params

CAST = (
    Character(id="maya", name="Maya", role="host", voice="af_heart", look="maya"),
    Character(id="dan", name="Daniel", role="expert", voice="am_michael", look="dan", pace=0.9),
    Character(id="eva", name="Eva", role="guest", voice="bf_emma", look="eva"),
)
#: Long enough for takes from several sides.
LENGTH_S = 9.0
AT_S = (0.0, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in ("speech", "document")}
    for folder in folders.values():
        folder.mkdir()
    surface = skia.Surface(60, 30)
    surface.getCanvas().clear(skia.Color(40, 90, 200))
    surface.makeImageSnapshot().save(str(folders["document"] / "fig-0.png"), skia.kPNG)
    figure = {"index": 0, "label": "Figure 1", "caption": "All of it.", "file": "fig-0.png", "page": 1}
    (folders["document"] / "document.json").write_bytes(msgspec.json.encode({"figures": [figure]}))
    return folders


def pictures(inputs: dict[str, Path], work: Path, speaker: str, params: dict[str, Any]) -> list[bytes]:
    words = tuple(Word(f"word{i}.", i + 0.1, i + 0.8) for i in range(int(LENGTH_S)))
    speech = Speech(
        duration_s=LENGTH_S, sample_rate_hz=24_000, words=words, visemes=(), spans=((speaker, 0.1, 8.9),)
    )
    (inputs["speech"] / "speech.json").write_bytes(msgspec.json.encode(speech))
    edges = {name: iter([Input(folder, {})]) for name, folder in inputs.items()}
    call = Call("animate", params, 0, edges, work)
    shot = _Shot(checked_animate(params, tuple(c.look for c in CAST)), call)
    return [np.ascontiguousarray(shot.pixels(round(s * 10))).tobytes() for s in AT_S]


@pytest.mark.parametrize("before", ["", "two_shot", "chapter", "figure"])
@pytest.mark.parametrize(
    ("kind", "speaker"),
    [
        ("title", "maya"), ("chapter", "dan"), ("figure", "dan"), ("close_up", "dan"), ("split", "maya"),
        ("end", "maya"),
    ],
)  # fmt: skip
def test_nothing_that_a_recipe_leaves_out_can_be_seen(
    inputs: dict[str, Path], tmp_path: Path, kind: ShotKind, speaker: str, before: ShotKind
) -> None:
    def shot(of: ShotKind, who: str) -> Shot:
        return Shot(kind=of, lines=(Line(speaker=who, text="x"),), figure=0 if of == "figure" else None)

    scene = Scene(title="", shots=(*([shot(before, "maya")] if before else []), shot(kind, speaker)))
    last = len(scene.shots) - 1
    seen = scene.shots[last]
    job = JobSpec(cast=CAST, show="The show")
    common = {"width": 64, "height": 64, "fps": 10}
    lean = common | drawn(job, seen, cut_of(scene, 5, last), introduces=kind == "close_up")
    # The same with everything that the job says, and with the shot before even where a cut hides it.
    there = (
        {"before": {"kind": before, "speakers": ["maya"], "figure": scene.shots[0].figure}} if before else {}
    )
    full = lean | there | {"cast": msgspec.to_builtins(CAST), "show_title": job.show}
    assert lean != full
    assert pictures(inputs, tmp_path, speaker, lean) == pictures(inputs, tmp_path, speaker, full)


@pytest.mark.parametrize("voices", [("af_heart", "am_adam", "bf_emma"), ("am_adam", "bm_george", "am_onyx")])
@pytest.mark.parametrize("speaking", [("maya",), ("dan",), ("eva",), ("eva", "maya")])
def test_who_speaks_sounds_the_same_beside_those_who_do_not(
    voices: tuple[str, ...], speaking: tuple[str, ...]
) -> None:
    cast = tuple(msgspec.structs.replace(c, voice=v) for c, v in zip(CAST, voices, strict=True))
    shot = Shot(kind="two_shot", lines=tuple(Line(speaker=who, text="x") for who in speaking))
    lean = speech_params(spoken(JobSpec(cast=cast), shot))
    full = speech_params(spoken(JobSpec(cast=cast), shot) | {"cast": msgspec.to_builtins(cast)})
    for who in speaking:
        assert lean.pace_of(who) == full.pace_of(who)
        assert manners(lean.cast)[who] == manners(full.cast)[who]
        assert [c.voice for c in lean.cast if c.id == who] == [c.voice for c in full.cast if c.id == who]
