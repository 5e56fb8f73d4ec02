"""What can be seen: lips, hands, captions, whole figures, fades, names, odd letters, odd picture shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
import skia
from numpy.typing import NDArray

from hpcwise.core.screenplay import Character, Speech, Viseme, Word
from hpcwise.models.base import Call, Input
from hpcwise.models.drawn.adapter import DrawnSceneAdapter
from hpcwise.models.drawn.captions import paged
from hpcwise.models.drawn.layout import Box, CardLayout, FigureLayout, Stage, card_layout, figure_layout
from hpcwise.models.drawn.motion import acting
from hpcwise.models.drawn.scene import logo_box, seated
from hpcwise.models.drawn.text import DISPLAY, REGULAR, SEMI, fitted, width_of

CAST = [
    {"id": "maya", "name": "Maya", "role": "host", "voice": "af_heart", "look": "maya"},
    {"id": "dan", "name": "Daniel", "role": "expert", "voice": "am_michael", "look": "dan"},
]
SIZES = [(320, 200), (640, 400), (640, 360), (400, 400), (360, 640), (1920, 1080)]
Picture = NDArray[np.int64]


def talk(*visemes: Viseme, words: tuple[Word, ...] = (), duration_s: float = 2.0) -> Speech:
    """Maya speaks for the whole shot."""
    return Speech(
        duration_s=duration_s,
        sample_rate_hz=24_000,
        words=words,
        visemes=visemes,
        spans=(("maya", 0.0, duration_s),),
    )


def frames_of(
    tmp_path: Path, speech: Speech, kind: str, size: tuple[int, int], **change: Any
) -> list[Picture]:
    """All frames of a shot, decoded, as RGB."""
    folder = tmp_path / f"{kind}-{size[0]}x{size[1]}-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "speech.json").write_bytes(msgspec.json.encode(speech))
    shot = {"kind": kind, "lines": [], "heading": "A heading", **change.pop("shot", {})}
    inputs: dict[str, Iterator[Input]] = {"speech": iter([Input(folder, {})])}
    if "document" in change:
        inputs["document"] = iter([Input(change.pop("document"), {})])
    if "backdrop" in change:
        inputs["backdrop"] = iter([change.pop("backdrop")])
    params = {
        "shot": shot,
        "cast": CAST,
        "width": size[0],
        "height": size[1],
        "segment_frames": 9999,
        **change,
    }
    call = Call("animate", params, 0, inputs, folder)
    (out,) = DrawnSceneAdapter().run(call, lambda done, total, note: None, lambda: False)
    with av.open(str(out.files["video.mp4"])) as file:
        return [f.to_ndarray(format="rgb24").astype(np.int64) for f in file.decode(video=0)]


def near(picture: Picture, red: int, green: int, blue: int, reach: int = 40) -> NDArray[np.bool_]:
    """Where a picture has about that colour."""
    return np.asarray(np.abs(picture - np.array([red, green, blue])).max(axis=2) < reach)


def test_lips_open_in_the_picture_when_a_vowel_sounds_and_are_shut_before_and_after(tmp_path: Path) -> None:
    frames = frames_of(tmp_path, talk(Viseme("D", 0.8, 0.5, "maya")), "close_up", (640, 400), index=2)
    # Around the mouth its inside is the only dark red.
    dark = [int(near(f[168:222, 262:335], 0x3C, 0x10, 0x15, 40).sum()) for f in frames]
    shut = max(dark[2:17] + dark[36:46])
    assert min(dark[22:29]) > shut + 60
    moving = acting(talk(Viseme("D", 0.8, 0.5, "maya")), msgspec.convert(CAST, tuple[Character, ...]), {}, 24)
    opening = moving["maya"].mouth[:, 0]
    assert np.corrcoef(opening[2:46], np.array(dark[2:46]))[0, 1] > 0.9


def test_hands_rise_on_stressed_words_and_rest_without(tmp_path: Path) -> None:
    cast = msgspec.convert(CAST, tuple[Character, ...])
    stressed = talk(*(Viseme("!", 0.5 * i, 0.05, "maya") for i in range(1, 14)), duration_s=8.0)
    moves = acting(stressed, cast, {"maya": -1, "dan": 1}, 24)
    assert len(moves["maya"].gestures) >= 2
    assert moves["dan"].gestures == ()
    gaps = [b.start_s - a.end_s for a, b in itertools.pairwise(moves["maya"].gestures)]
    assert min(gaps) > 0
    assert acting(talk(duration_s=8.0), cast, {}, 24)["maya"].gestures == ()


def test_the_listener_watches_the_speaker_nods_and_blinks(tmp_path: Path) -> None:
    cast = msgspec.convert(CAST, tuple[Character, ...])
    words = tuple(Word("so," if i % 4 == 3 else "so", i * 0.5, i * 0.5 + 0.3) for i in range(24))
    moves = acting(talk(words=words, duration_s=12.0), cast, {"maya": -1, "dan": 1}, 24)
    dan = moves["dan"]
    assert dan.gaze[12:-12].max() <= -0.99
    assert dan.turn[24:-24].max() < -0.6
    assert dan.nod.max() > 0.3
    assert not moves["maya"].nod.any()
    assert 2 <= (np.diff((dan.blink > 0.9).astype(int)) == 1).sum() <= 9
    assert not dan.mouth[:, 0].any()


def test_the_spoken_word_is_coloured_in_its_time_only(tmp_path: Path) -> None:
    words = (Word("alpha", 0.5, 0.9), Word("omega", 1.2, 1.6))
    frames = frames_of(tmp_path, talk(words=words), "two_shot", (640, 400), index=1)
    lit = [near(f[345:388], 0xFF, 0xD1, 0x66, 25) for f in frames]
    columns = [np.flatnonzero(mask.any(axis=0)) for mask in lit]
    assert columns[6].size == 0 and columns[25].size == 0
    assert columns[16].size > 9 and columns[33].size > 9
    assert columns[16].max() < columns[33].min()


def test_caption_pages_hold_two_lines_that_fit_and_every_word_once() -> None:
    text = "Extraordinarily long captions, e.g. of 3.5 words, wrap. Short. They never lose a word, " * 4
    said = text.split()
    words = tuple(Word(w, 0.1 + i * 0.3, 0.35 + i * 0.3) for i, w in enumerate(said))
    speech = talk(words=words, duration_s=0.3 * len(said) + 1)
    for width in (240.0, 520.0):
        pages = paged(speech, 17.0, width)
        assert [w.text for p in pages for line in p.lines for w in line] == said
        assert max(len(p.lines) for p in pages) == 2
        assert all(
            width_of(" ".join(w.text for w in line), SEMI, 17.0) <= width - 20
            for p in pages
            for line in p.lines
        )
        assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(pages))
        assert "e.g." not in [p.lines[-1][-1].text for p in pages]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aspect", [0.3, 0.66, 1.0, 1.6, 2.7, 6.0])
def test_in_a_figure_shot_of_any_shape_nothing_overlaps_the_figure(
    size: tuple[int, int], aspect: float
) -> None:
    stage = Stage.of(*size)
    layout: FigureLayout = figure_layout(stage, aspect)
    logos = [skia.Surface(*shape).makeImageSnapshot() for shape in ((400, 60), (60, 60), (30, 90))]
    for logo in logos:
        beside = figure_layout(stage, aspect, logo=True)
        assert not any(logo_box(logo, stage).overlaps(b) for b in (beside.card, beside.captions))
    whole = Box(0, 0, stage.width, stage.height)
    for part in (layout.card, layout.inset, layout.captions):
        assert part.x >= whole.x and part.y >= whole.y
        assert part.right <= whole.right + 1e-6 and part.bottom <= whole.bottom + 1e-6
    assert not layout.card.overlaps(layout.inset)
    assert not layout.card.overlaps(layout.captions)
    assert not layout.inset.overlaps(layout.captions)
    assert layout.figure.width / layout.figure.height == pytest.approx(aspect)
    card, figure = layout.card, layout.figure
    assert card.x <= figure.x and figure.right <= card.right and card.y <= figure.y
    assert figure.bottom <= layout.label.y and layout.label.bottom <= card.bottom + 1e-6
    # Nothing else would be worth a shot of its own.
    assert figure.width * figure.height > 0.045 * stage.width * stage.height


@pytest.mark.parametrize("size", SIZES)
def test_cards_of_any_shape_keep_text_hosts_and_captions_apart(size: tuple[int, int]) -> None:
    stage = Stage.of(*size)
    for layout in (card_layout(stage), card_layout(stage, end=True)):
        _apart(stage, layout)


def _apart(stage: Stage, layout: CardLayout) -> None:
    for a, b in itertools.combinations((layout.text, layout.window, layout.captions), 2):
        assert not a.overlaps(b)
    for part in (layout.text, layout.window, layout.captions):
        assert 0 <= part.x < part.right <= stage.width and 0 <= part.y < part.bottom <= stage.height


@pytest.mark.parametrize("size", [(400, 400), (640, 400), (360, 640)])
def test_the_words_of_an_end_card_with_long_sources_stay_above_or_beside_the_hosts(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    title = "Using Time Dependent Covariates and Time Dependent Coefficients in the Cox Model"
    notes = ["Terry Therneau, Cynthia Crowson", "Said and shown here: pages 1, 3, 9 and 12 of 30, Figure 1"]
    shot = {"heading": "Thank you for watching", "subheading": title, "notes": notes}
    area = card_layout(Stage.of(*size), end=True)
    with_sources, without = (
        frames_of(tmp_path, talk(duration_s=1 / 24), "end", size, index=2, total_shots=9, shot=dict(s))[0]
        for s in (shot, {**shot, "notes": []})
    )
    changed = np.argwhere(np.abs(with_sources - without).max(axis=2) > 60)
    scale = min(size) / 400
    assert changed.size and changed[:, 0].min() >= area.text.y * scale - 2
    assert changed[:, 0].max() <= area.text.bottom * scale + 2
    assert changed[:, 1].max() <= area.text.right * scale + 2


@pytest.mark.parametrize("shape", [(400, 150), (200, 320)])
def test_a_figure_is_whole_at_the_start_and_at_the_end_of_its_shot(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    document = tmp_path / "doc"
    document.mkdir()
    surface = skia.Surface(*shape)
    surface.getCanvas().clear(skia.Color(255, 0, 255))
    surface.makeImageSnapshot().save(str(document / "f.png"), skia.kPNG)
    (document / "document.json").write_text(
        '{"figures": [{"label": "Figure 1", "caption": "It.", "file": "f.png"}]}'
    )
    frames = frames_of(tmp_path, talk(), "figure", (640, 400), index=2, document=document, shot={"figure": 0})
    areas = []
    for frame in (frames[14], frames[-1]):
        rows, columns = (np.flatnonzero(near(frame, 255, 0, 255, 60).any(axis=a)) for a in (1, 0))
        wide, tall = columns.max() - columns.min() + 1, rows.max() - rows.min() + 1
        assert wide / tall == pytest.approx(shape[0] / shape[1], rel=0.03)
        assert columns.min() > 8 and columns.max() < 632 and rows.min() > 8
        assert near(frame, 255, 0, 255, 60).sum() > 0.97 * wide * tall  # nothing lies on it
        areas.append(wide * tall)
    assert 1.02 < areas[1] / areas[0] < 1.12  # the slow push


@pytest.mark.parametrize(("label", "parts"), [("Table 1", 4), ("Equation 1", 0)])
def test_what_is_written_too_small_is_shown_part_by_part_but_a_formula_is_left_whole(
    tmp_path: Path, label: str, parts: int
) -> None:
    document = tmp_path / "doc"
    document.mkdir()
    colours = ((255, 0, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0))  # in the order of reading
    pixels = np.zeros((240, 320, 4), np.uint8)
    for i, tint in enumerate(colours):
        pixels[i // 2 * 120 : i // 2 * 120 + 120, i % 2 * 160 : i % 2 * 160 + 160] = (*tint, 255)
    skia.Image.fromarray(pixels).save(str(document / "f.png"), skia.kPNG)
    words = [[f"w{i}", 0.1, i / 40, 0.2, i / 40 + 0.02] for i in range(30)]
    figure = {"label": label, "caption": "", "file": "f.png", "words": words}
    (document / "document.json").write_bytes(msgspec.json.encode({"figures": [figure]}))
    frames = frames_of(
        tmp_path, talk(duration_s=12.0), "figure", (320, 200),
        index=2, document=document, shot={"figure": 0}, fps=2,
    )  # fmt: skip
    seen = [[int(near(frame, *tint, 90).sum()) for tint in colours] for frame in frames]
    most = [s.index(max(s)) for s in seen if max(s) > 0.6 * sum(s)]
    assert [colour for colour, _ in itertools.groupby(most)] == list(range(parts))


def test_the_film_fades_in_at_its_start_and_out_at_its_end_only(tmp_path: Path) -> None:
    def ends(index: int, kind: str = "two_shot") -> tuple[float, float]:
        frames = frames_of(tmp_path, talk(), kind, (160, 100), index=index, total_shots=5)
        return float(frames[0].mean()), float(frames[-1].mean())

    first, middle, last = ends(0), ends(2), ends(4)
    assert min(middle) > 30
    # Darker at first, but a picture: it stands for the film where files are listed.
    assert 0.5 * middle[0] < first[0] < 0.85 * middle[0] and first[1] > 30
    assert last[1] < 12 < 30 < last[0]
    assert ends(-1, "title")[0] < 0.85 * ends(2, "title")[0]
    assert ends(-1, "end")[1] < 12


def test_a_name_is_shown_at_the_first_close_up_and_leaves_again(tmp_path: Path) -> None:
    def accents(**change: Any) -> list[int]:
        frames = frames_of(tmp_path, talk(duration_s=6.0), "close_up", (640, 400), index=2, **change)
        return [int(near(f[250:340, :60], 0xFF, 0xD1, 0x66).sum()) for f in frames]

    shown, plain = accents(show_name=True), accents()
    assert max(plain) == 0
    assert shown[2] == 0 and shown[48] > 60 and shown[-1] == 0


@pytest.mark.parametrize(("kind", "index"), [("close_up", 2), ("close_up", 4), ("split", 2)])
def test_the_highest_hair_is_whole_in_the_picture(tmp_path: Path, kind: str, index: int) -> None:
    cast = [{**CAST[0], "look": "sol"}, CAST[1]]
    (frame,) = frames_of(tmp_path, talk(duration_s=1 / 24), kind, (320, 200), index=index, cast=cast)
    white = near(frame[:, 20:-20], 0xE8, 0xE6, 0xE2, 26)
    first = 12 if kind == "split" else 1  # a window has a white frame
    assert white[first:90].sum() > 400 and not white[first : first + 2].any()


@pytest.mark.parametrize("size", [s for s in SIZES if s[0] < 1000])
@pytest.mark.parametrize("kind", ["title", "two_shot", "close_up", "end"])
def test_every_kind_fills_pictures_of_every_shape(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    (last,) = frames_of(tmp_path, talk(duration_s=1 / 24), kind, size, index=2, total_shots=9)[-1:]
    assert last.shape == (size[1], size[0], 3)
    assert last.reshape(-1, 3).std(axis=0).min() > 12
    # Her sweater and his jacket are both there where both hosts are.
    assert near(last, 0x1F, 0x8A, 0x8C, 30).sum() > 0.004 * size[0] * size[1]
    if kind != "close_up":
        assert near(last, 0x31, 0x43, 0x6E, 30).sum() > 0.004 * size[0] * size[1]


def test_a_frame_can_be_full_hd(tmp_path: Path) -> None:
    (frame,) = frames_of(tmp_path, talk(duration_s=1 / 24), "two_shot", (1920, 1080), index=2)
    assert frame.shape == (1080, 1920, 3)


def test_long_titles_shrink_until_they_fit_and_absurd_ones_end_in_an_ellipsis() -> None:
    for count in (2, 12, 400):
        block = fitted("Serving Multi-Modal " * count, DISPLAY, 39, 14, 300, 180)
        assert block.height <= 180 + 1e-6
        assert max(width_of(line, DISPLAY, block.size) for line in block.lines) <= 300
        assert block.lines[-1].endswith("…") == (count == 400)
    assert (
        fitted("Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen", DISPLAY, 39, 14, 200, 100).size
        < 39
    )


def test_letters_that_no_font_has_are_dropped_and_others_come_from_the_system(tmp_path: Path) -> None:
    assert width_of("a\x07b\u200d", REGULAR, 20) == pytest.approx(width_of("ab", REGULAR, 20))
    assert width_of("\U000f0000", REGULAR, 20) == 0
    title = {"heading": "漢字 ∀x∃y 🚀 Ωmega \x00 " + "z" * 90}
    frames = frames_of(tmp_path, talk(duration_s=1.0), "title", (320, 200), index=2, shot=title)
    assert near(frames[-1][:, :180], 255, 255, 255, 30).sum() > 200


def test_those_who_speak_sit_at_the_table_in_the_order_of_the_cast() -> None:
    cast = msgspec.convert(
        [
            {**CAST[0], "id": name, "look": look}
            for name, look in zip("abc", ("maya", "dan", "ada"), strict=True)
        ],
        tuple[Character, ...],
    )
    speech = msgspec.structs.replace(talk(), spans=(("c", 0.0, 1.0), ("b", 1.0, 2.0)))
    assert [(c.id, side) for c, side in seated(cast, speech)] == [("b", -1.0), ("c", 1.0)]
    assert [(c.id, side) for c, side in seated(cast, talk())] == [("a", -1.0), ("b", 1.0)]
    assert [(c.id, side) for c, side in seated(cast[:1], talk())] == [("a", 0.0)]
