"""The real network in ncnn: size, sharpness, tiles, equality; clips and small figures of a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hpcwise.core.errors import ModelMissing
from hpcwise.core.planner import ENLARGER
from hpcwise.models.base import Devices, Input, ModelSpec
from hpcwise.models.frames import read_frames, write_frames
from hpcwise.models.registry import FAMILIES
from hpcwise.models.sources import read_card, resolve
from hpcwise.models.upscale_ncnn import enlarge
from hpcwise.models.upscale_ncnn.adapter import UpscaleNcnnAdapter
from hpcwise.models.upscale_ncnn.enlarge import Enlarger, Pixels, enlarged_to
from tests.models.tinies import called, ran

CARD = read_card(Path(__file__).parents[2] / "configs" / "models" / "realesr-animevideov3-x2.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights out of their package, hashes checked."""
    return resolve(CARD.name, CARD.files, CARD.sources, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def enlarger(folder: Path) -> Enlarger:
    return Enlarger(folder)


def chart(width: int, height: int) -> Image.Image:
    """A drawing with hard edges."""
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    for i, colour in enumerate(("#C83C3C", "#3C78C8", "#3CA05A")):
        left = width * (i + 1) // 5
        pen.rectangle((left, height * (3 - i) // 5, left + width // 8, height * 4 // 5), fill=colour)
    pen.line((4, height * 4 // 5, width - 4, height * 4 // 5), fill="black", width=max(1, width // 60))
    return picture


def error(one: Pixels, other: Pixels) -> float:
    return float(np.sqrt(((one.astype(float) - other) ** 2).mean()))


def test_a_drawing_comes_out_twice_as_large_and_nearer_to_the_large_one_than_by_lanczos(
    enlarger: Enlarger,
) -> None:
    large = chart(192, 128)
    small = large.resize((96, 64), Image.Resampling.BOX)
    made = enlarger.enlarge(np.asarray(small))
    assert made.shape == (128, 192, 3)
    lanczos = np.asarray(small.resize((192, 128), Image.Resampling.LANCZOS))
    assert error(made, np.asarray(large)) < 0.85 * error(lanczos, np.asarray(large))
    assert np.array_equal(enlarger.enlarge(np.asarray(small)), made)


def test_tiles_leave_no_seams(enlarger: Enlarger, monkeypatch: pytest.MonkeyPatch) -> None:
    small = np.asarray(chart(110, 80))
    whole = enlarger.enlarge(small)
    monkeypatch.setattr(enlarge, "_TILE_PX", 48)
    assert np.abs(enlarger.enlarge(small).astype(int) - whole).max() <= 2


def test_a_picture_is_doubled_only_until_it_fills_the_film(enlarger: Enlarger) -> None:
    small = np.asarray(chart(40, 30))
    sizes = {film: enlarged_to(enlarger, small, *film).shape[:2] for film in ((40, 90), (70, 90), (640, 400))}
    assert sizes == {(40, 90): (30, 40), (70, 90): (60, 80), (640, 400): (120, 160)}


def test_a_clip_is_enlarged_picture_by_picture(folder: Path, tmp_path: Path) -> None:
    assert FAMILIES[CARD.family][1] == UpscaleNcnnAdapter.__name__ and CARD.name == ENLARGER
    adapter = UpscaleNcnnAdapter()
    adapter.load(ModelSpec(CARD.name, CARD.version, CARD.family, folder), Devices())
    frames = [np.asarray(chart(48, 32 + 0 * i)) // (i + 1) for i in range(2)]
    (tmp_path / "clip").mkdir()
    write_frames(tmp_path / "clip" / "frames.mkv", frames, 12)
    clip = Input(tmp_path / "clip", {"fps": 12, "frames": 2, "first_frame": 5})
    call = called("upscale", tmp_path / "w", {}, {"video": [clip]})
    ((output, chunk),) = ran(adapter, call, tmp_path)
    assert dict(output.facts) == {"frames": 2, "fps": 12, "first_frame": 5}
    assert [f.shape for f in read_frames(chunk.path / "frames.mkv")] == [(64, 96, 3)] * 2


def test_weights_that_lack_are_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"x2.param is missing or torn; install hpcwise\[upscale\]"):
        Enlarger(tmp_path)


def test_small_figures_of_a_film_are_enlarged_and_large_ones_left_alone() -> None:
    skia = pytest.importorskip("skia")
    from hpcwise.models.drawn.adapter import _enlarged

    small = np.dstack([np.asarray(chart(60, 40)), np.full((40, 60), 255, np.uint8)])
    small[:10, :10, 3] = 0  # transparent: paper
    picture = skia.Image.fromarray(np.ascontiguousarray(small), colorType=skia.kRGBA_8888_ColorType)
    large = _enlarged(picture, 200, 120)
    assert (large.width(), large.height()) == (240, 160)
    assert large.toarray(colorType=skia.kRGBA_8888_ColorType)[5, 5].min() > 245
