"""Pictures of places and shots: they differ, fit every shape, keep text clear, join without a jump."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skia

from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Speech, Viseme, Word
from hpcwise.models.base import Call, Input
from hpcwise.models.drawn.adapter import DrawnSceneAdapter
from hpcwise.models.drawn.layout import Box, Stage, split_layout
from hpcwise.models.drawn.places import PLACES
from hpcwise.models.drawn.sets import far_picture, near_picture, used_areas
from tests.models.test_drawn_pictures import SIZES, Picture, frames_of, near, talk

FONT = Path(__file__).parents[2] / "hpcwise" / "models" / "drawn" / "fonts" / "Inter-Regular.otf"
BOTH = [{"speaker": "maya", "text": "x"}, {"speaker": "dan", "text": "y"}]


def asked() -> Speech:
    """Maya asks, Dan answers about one panel."""
    said = "What is it? See the top right panel here. It is that."
    words = tuple(Word(text, 0.3 + 0.3 * i, 0.55 + 0.3 * i) for i, text in enumerate(said.split()))
    return Speech(
        duration_s=4.2,
        sample_rate_hz=24_000,
        words=words,
        visemes=(Viseme("D", 0.4, 0.3, "maya"), Viseme("D", 1.4, 0.3, "dan")),
        spans=(("maya", 0.3, 1.15), ("dan", 1.2, 3.9)),
    )


def backdrop(tmp_path: Path, name: str, size: tuple[int, int], seed: int = 0) -> Input:
    work = tmp_path / f"{name}-{seed}-{size[0]}"
    work.mkdir()
    call = Call("image", {"set": name, "width": size[0], "height": size[1]}, seed, {}, work)
    (out,) = DrawnSceneAdapter().run(call, lambda *a: None, lambda: False)
    return Input(work, out.facts)


def rgb(image: Any) -> Picture:
    pixels = image.toarray(colorType=skia.kRGBA_8888_ColorType)
    return np.asarray(pixels[..., :3].astype(np.int64))


def four_panels(folder: Path) -> Path:
    """A document with a figure of three magenta panels and a green one at the top right."""
    folder.mkdir()
    surface = skia.Surface(400, 220)
    canvas = surface.getCanvas()
    canvas.clear(skia.ColorWHITE)
    for x, y in itertools.product((6, 210), (6, 116)):
        tint = skia.Color(0, 200, 60) if (x, y) == (210, 6) else skia.Color(255, 0, 255)
        canvas.drawRect(skia.Rect.MakeXYWH(x, y, 184, 98), skia.Paint(Color=tint))
    surface.makeImageSnapshot().save(str(folder / "f.png"), skia.kPNG)
    (folder / "document.json").write_text(
        '{"figures": [{"label": "Figure 1", "caption": "It.", "file": "f.png"}]}'
    )
    return folder


def test_places_and_their_moods_can_be_told_apart_at_a_glance() -> None:
    pictures = {
        (name, mood): rgb(far_picture(name, 160, 100, seed))
        for name, place in PLACES.items()
        for seed, mood in enumerate(place.moods)
    }
    for (one, a), (other, b) in itertools.combinations(pictures.items(), 2):
        assert np.abs(a - b).mean() > (15 if one[0] != other[0] else 0.4), (one, other)
    assert len(PLACES) == 4 and all(len(place.moods) >= 2 for place in PLACES.values())


@pytest.mark.parametrize("name", sorted(PLACES))
def test_what_is_near_leaves_the_middle_to_the_people_and_is_drawn_where_it_is_only(name: str) -> None:
    image = near_picture(name, 640, 400)
    alpha = image.toarray(colorType=skia.kRGBA_8888_ColorType)[..., 3]
    assert alpha[:, :100].any() and alpha[:, -100:].any()
    assert not alpha[60:290, 225:430].any()
    covered = np.zeros_like(alpha, dtype=int)
    for area in used_areas(image):
        rows = slice(round(area.y * 400), round(area.bottom * 400))
        covered[rows, round(area.x * 640) : round(area.right * 640)] += 1
    assert covered.max() == 1 and not alpha[covered == 0].any()
    assert covered.mean() < 0.75


@pytest.mark.parametrize("name", sorted(PLACES))
def test_a_place_lives_while_people_keep_still(tmp_path: Path, name: str) -> None:
    work = backdrop(tmp_path, name, (320, 200))
    quiet = talk(duration_s=1.8)
    frames = frames_of(tmp_path, quiet, "two_shot", (320, 200), index=2, backdrop=work)
    # The strip above all heads and beside the captions.
    moved = np.abs(frames[8][:30] - frames[40][:30]).max(axis=2) > 24
    assert moved.sum() > 3
    assert np.array_equal(
        frames[20], frames_of(tmp_path, quiet, "two_shot", (320, 200), index=2, backdrop=work)[20]
    )


@pytest.mark.parametrize("size", [s for s in SIZES if s[0] < 1000])
@pytest.mark.parametrize("kind", ["chapter", "over_shoulder", "split"])
def test_new_kinds_fill_pictures_of_every_shape(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    shot = {"heading": "A chapter's name that is fairly long", "subheading": "Part 2 of 5", "lines": BOTH}
    last = frames_of(tmp_path, talk(duration_s=1.0), kind, size, index=2, total_shots=9, shot=dict(shot))[-1]
    assert last.shape == (size[1], size[0], 3)
    assert last.reshape(-1, 3).std(axis=0).min() > 10
    if kind == "chapter":  # its words are white, and end before the edge
        white = np.flatnonzero(near(last, 255, 255, 255, 30).any(axis=0))
        assert white.size > 0.2 * size[0] and white.max() < size[0] * 0.96
    elif kind == "split":
        assert near(last, 0x31, 0x43, 0x6E, 30).sum() > 0.004 * size[0] * size[1]


@pytest.mark.parametrize("size", SIZES)
def test_windows_of_a_split_screen_keep_clear_of_each_other_and_of_captions(size: tuple[int, int]) -> None:
    stage = Stage.of(*size)
    layout = split_layout(stage)
    whole = Box(0, 0, stage.width, stage.height)
    boxes = (layout.first, layout.second, layout.captions)
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for part in boxes:
        assert part.x >= whole.x and part.right <= whole.right and part.y >= 0 and part.bottom <= whole.bottom
    assert layout.first.width == layout.second.width and layout.first.height == layout.second.height


@pytest.mark.parametrize("size", [(640, 400), (360, 640)])
def test_the_named_panel_is_lit_framed_and_brought_closer_in_its_time(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    document = four_panels(tmp_path / "doc")
    shot = {"figure": 0, "lines": BOTH}
    frames = frames_of(tmp_path, asked(), "figure", size, index=2, document=document, shot=shot)
    seen = [frames[20], frames[64], frames[-4]]
    frame, magenta, green = (
        [int(near(f, *tint, 50).sum()) for f in seen]
        for tint in ((0xF0, 0x8A, 0x24), (255, 0, 255), (0, 200, 60))
    )
    assert frame[1] > 100 + 2 * max(frame[0], frame[2])
    assert magenta[1] < 0.1 * magenta[0]  # dimmed, or out of the frame
    assert green[1] > 1.5 * green[0]
    assert green[2] == pytest.approx(green[0], rel=0.12)
    assert magenta[2] == pytest.approx(magenta[0], rel=0.12)


def test_a_dissolve_begins_where_the_shot_before_ended(tmp_path: Path) -> None:
    """Though each is made in a call of its own."""
    document = four_panels(tmp_path / "doc")
    quiet, size = talk(duration_s=1.5), (320, 200)
    figure = {"figure": 0, "lines": BOTH[:1]}
    first = frames_of(tmp_path, quiet, "figure", size, index=4, document=document, shot=dict(figure))
    before = {"kind": "figure", "figure": 0, "speakers": ["maya"], "heading": "A heading"}
    common: dict[str, Any] = {"index": 5, "shot": {"lines": BOTH[:1]}, "document": document}
    joined = frames_of(
        tmp_path, quiet, "two_shot", size, before=before, **{**common, "shot": {"lines": BOTH[:1]}}
    )
    alone = frames_of(tmp_path, quiet, "two_shot", size, **{**common, "shot": {"lines": BOTH[:1]}})

    def apart(a: Picture, b: Picture) -> float:
        return float(np.abs(a - b).mean())

    cut = apart(first[-1], alone[0])
    assert apart(first[-1], joined[0]) < 0.12 * cut
    steps = [apart(f, alone[i]) for i, f in enumerate(joined[:14])]
    assert steps[0] > 0.8 * cut and all(b <= a + 0.5 for a, b in itertools.pairwise(steps))
    assert steps[12] < 0.12 * cut
    assert max(apart(a, b) for a, b in itertools.pairwise(joined[:14])) < 0.3 * cut


def test_between_people_there_is_a_cut_and_between_scenes_a_dip_that_never_hides_all(tmp_path: Path) -> None:
    quiet, size = talk(duration_s=1.5), (160, 100)

    def frames(**change: Any) -> list[Picture]:
        return frames_of(tmp_path, quiet, "close_up", size, index=3, **change)

    plain = frames()
    cut = frames(before={"kind": "two_shot", "speakers": ["dan"]})
    assert [i for i, (a, b) in enumerate(zip(plain, cut, strict=True)) if not np.array_equal(a, b)] == []
    dipped = frames(opens=True, closes=True)
    assert np.abs(dipped[18] - plain[18]).mean() < 4
    for at in (0, -1):
        contrast = dipped[at].std() / plain[at].std()
        assert 0.1 < contrast < 0.7
        assert dipped[at].reshape(-1, 3).std(axis=0).min() > 4


def test_a_logo_stands_in_the_corner_of_every_shot_and_on_the_title_and_off_figures(tmp_path: Path) -> None:
    logo = tmp_path / "logo.png"
    surface = skia.Surface(120, 60)
    surface.getCanvas().clear(skia.Color(0, 255, 0))
    surface.makeImageSnapshot().save(str(logo), skia.kPNG)
    own = {"logo": "ab", "logo_path": str(logo)}

    def where(kind: str, size: tuple[int, int] = (640, 400), **change: Any) -> tuple[int, ...]:
        (frame,) = frames_of(tmp_path, talk(duration_s=1 / 24), kind, size, index=2, **own, **change)
        lit = near(frame, 0, 255, 0, 60)
        rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
        return (columns[0], columns[-1], rows[0], rows[-1]) if rows.size else ()

    left, right, top, bottom = where("two_shot")
    assert 540 < left < right < 630 and 5 < top < bottom < 60
    left, right, top, bottom = where("close_up", (360, 640))
    assert 240 < left < right < 356 and 5 < top < bottom < 60
    for size in ((640, 400), (360, 640)):
        left, right, top, bottom = where("split", size)
        assert size[0] - 120 < left < right < size[0] - 4 and 5 < top < bottom < 60
    left, right, top, bottom = where("title")
    assert 20 < left < right < 380 and 20 < top < bottom < 120
    with pytest.raises(UsageError, match="logo and logo_path: give both, or neither"):
        frames_of(tmp_path, talk(), "title", (160, 100), logo="ab")


def test_tables_and_equations_lie_on_paper_of_their_own_and_keep_their_ink(tmp_path: Path) -> None:
    surface = skia.Surface(300, 100)
    surface.getCanvas().clear(skia.ColorWHITE)
    surface.getCanvas().drawRect(skia.Rect.MakeXYWH(140, 40, 20, 20), skia.Paint(Color=skia.ColorBLACK))
    seen = {}
    for label in ("Figure 1", "Table 1", "Equation 1"):
        folder = tmp_path / label.replace(" ", "")
        folder.mkdir()
        surface.makeImageSnapshot().save(str(folder / "f.png"), skia.kPNG)
        told = {"figures": [{"label": label, "caption": "It.", "file": "f.png"}]}
        (folder / "document.json").write_text(json.dumps(told))
        (frame,) = frames_of(
            tmp_path,
            talk(duration_s=1 / 24),
            "figure",
            (640, 400),
            index=2,
            document=folder,
            shot={"figure": 0},
        )
        seen[label] = [int(near(frame, *tint, 8).sum()) for tint in
                       ((255, 255, 255), (0xF3, 0xF7, 0xFC), (0xFF, 0xF8, 0xE6))]  # fmt: skip
        assert near(frame, 0, 0, 0, 30).sum() > 100
    most = {label: counts.index(max(counts)) for label, counts in seen.items()}
    assert most == {"Figure 1": 0, "Table 1": 1, "Equation 1": 2}
    assert all(max(counts) > 20_000 for counts in seen.values())


def test_captions_are_set_in_a_persons_own_font_and_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    words = (Word("Illuminating", 0.0, 0.6), Word("captions", 0.6, 1.0))
    own = {"fonts": {"regular": "ab"}, "font_paths": {"regular": str(FONT)}}

    def caption(**change: Any) -> Picture:
        frame = frames_of(
            tmp_path, talk(words=words, duration_s=1.0), "two_shot", (640, 400), index=2, **change
        )[8]
        return frame[330:390]

    bold, light = caption(), caption(**own)
    ink = [int(near(p, 0xFF, 0xD1, 0x66, 60).sum()) for p in (bold, light)]
    assert ink[1] < 0.9 * ink[0]
    wrong = tmp_path / "font.otf"
    wrong.write_text("no font")
    with pytest.raises(UsageError, match=r"font .*font\.otf: holds no font"):
        caption(fonts={"regular": "cd"}, font_paths={"regular": str(wrong)})
