"""Whose picture a worker's preview is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from hpcwise.core.shotwork import ShotWork
from hpcwise.store.paths import RunPaths
from hpcwise.store.preview import Stamp, read_preview, stamped


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    made = RunPaths(tmp_path / "run")
    made.create()
    made.worker("w1").mkdir()
    return made


def jpeg(colour: str = "red") -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (40, 24), colour).save(held, "JPEG")
    return held.getvalue()


def work(**changes: object) -> ShotWork:
    usual = {
        "task_id": "film/sketch/0001", "attempt": 2, "worker": "w1", "begin": 10, "step": 3, "steps": 10,
    }  # fmt: skip
    return ShotWork(stage="sketch", model="m", **{**usual, **changes})  # type: ignore[arg-type]


def test_a_stamped_picture_is_the_same_picture_and_found_by_whom_it_is_of(paths: RunPaths) -> None:
    plain = jpeg()
    told = stamped(plain, Stamp("film/sketch/0001", 2, 12))
    paths.preview("w1").write_bytes(told)
    found = read_preview(paths, work())
    assert found is not None and (found.jpeg, found.path) == (told, str(paths.preview("w1")))
    assert Image.open(io.BytesIO(told)).tobytes() == Image.open(io.BytesIO(plain)).tobytes()
    paths.preview("w1").write_bytes(stamped(jpeg("blue"), Stamp("film/sketch/0001", 2, 13)))
    later = read_preview(paths, work())
    assert later is not None and later.tag != found.tag


@pytest.mark.parametrize(
    "stamp",
    [
        Stamp("other-film/sketch/0001", 2, 12),
        Stamp("film/sketch/0001", 1, 12),
        Stamp("film/sketch/0001", 2, 9),
        Stamp("film/sketch/0001", 2, 20),
    ],
)
def test_a_picture_of_another_film_attempt_or_segment_is_not_shown(paths: RunPaths, stamp: Stamp) -> None:
    paths.preview("w1").write_bytes(stamped(jpeg(), stamp))
    assert read_preview(paths, work()) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8\xff\xfe", b"\xff\xd8\xff\xfe\x00\x09{{{{{{{", b"GIF89a" * 9, jpeg(), bytes(2 << 20)],
)
def test_what_is_no_preview_is_none(paths: RunPaths, data: bytes) -> None:
    paths.preview("w1").write_bytes(data)
    assert read_preview(paths, work()) is None


def test_no_file_no_worker_a_link_and_a_name_that_is_a_path_are_no_preview(
    paths: RunPaths, tmp_path: Path
) -> None:
    assert read_preview(paths, work()) is None
    secret = tmp_path / "other.jpg"
    secret.write_bytes(stamped(jpeg(), Stamp("film/sketch/0001", 2, 12)))
    paths.preview("w1").symlink_to(secret)
    for worker in ("w1", "w2", "../w1", "", "."):
        assert read_preview(paths, work(worker=worker)) is None
