"""Larger pictures and crops."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hpcwise.core.errors import BadOutput, ModelMissing
from hpcwise.models.base import Devices, Input, ModelSpec
from hpcwise.models.detect.adapter import DetectAdapter, framed
from hpcwise.models.diffusion import tiny
from hpcwise.models.frames import read_frames, write_frames
from hpcwise.models.upscale.adapter import UpscaleAdapter
from hpcwise.models.upscale.nets import Residual
from tests.models.tinies import called, picture, ran

NET = {"file": "weights.safetensors", "features": 8, "blocks": 2, "scale": 2, "dtype": "float32"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("tiny-esrgan", "tiny-yolos"):
        tiny.build(name, folder / name)
    return folder


def _upscaler(folder: Path, **options: Any) -> UpscaleAdapter:
    made = UpscaleAdapter()
    made.load(ModelSpec("tiny-esrgan", "1", "upscale", folder, {**NET, **options}), Devices())
    return made


def _clip(folder: Path, frames: int = 5) -> Input:
    folder.mkdir()
    draw = np.random.default_rng(2)
    clip = [draw.integers(0, 255, (40, 64, 3), np.uint8) for _ in range(frames)]
    write_frames(folder / "frames.mkv", clip, 23)
    return Input(folder, {"fps": 23, "frames": frames, "first_frame": 7})


def test_every_picture_comes_out_twice_as_large_whole_or_in_tiles(folders: Path, tmp_path: Path) -> None:
    clip = _clip(tmp_path / "clip")
    made = []
    for name, options in (("whole", {}), ("tiles", {"tile_px": 24}), ("single", {"batch": 1})):
        place = tmp_path / name
        place.mkdir()
        call = called("upscale", place / "w", {}, {"video": [clip]})
        ((output, chunk),) = ran(_upscaler(folders / "tiny-esrgan", **options), call, place)
        assert dict(output.facts) == {"frames": 5, "fps": 23, "first_frame": 7}
        made.append(np.stack(list(read_frames(chunk.path / "frames.mkv"))))
    assert made[0].shape == (5, 80, 128, 3)
    # The net sees six pixels around each: what the overlap of tiles holds.
    assert np.abs(made[0].astype(int) - made[1]).max() <= 1
    assert np.abs(made[0].astype(int) - made[2]).max() <= 1


def test_the_last_stage_writes_a_segment_of_the_film(folders: Path, tmp_path: Path) -> None:
    params = {"film_width": 128, "film_height": 80}
    call = called("upscale", tmp_path / "w", params, {"video": [_clip(tmp_path / "clip")]})
    ((output, chunk),) = ran(_upscaler(folders / "tiny-esrgan"), call, tmp_path)
    assert dict(output.facts) == {"first_frame": 7, "frames": 5, "width": 128, "height": 80}
    assert sorted(p.name for p in chunk.path.iterdir()) == ["thumb.jpg", "video.mp4"]


def test_the_large_network_has_the_released_names_and_enlarges_by_its_scale() -> None:
    net = Residual(features=8, blocks=1, scale=2, growth=4)
    names = set(net.state_dict())
    assert {"conv_first.weight", "body.0.rdb1.conv5.bias", "conv_up2.weight", "conv_last.bias"} <= names
    with torch.no_grad():
        assert net(torch.rand(1, 3, 16, 24)).shape == (1, 3, 32, 48)


def test_weights_of_another_network_are_one_line(folders: Path) -> None:
    with pytest.raises(
        ModelMissing, match=r"model tiny-esrgan: .*weights.safetensors: Error\(s\) in loading"
    ):
        _upscaler(folders / "tiny-esrgan", features=16)
    with pytest.raises(ModelMissing, match=r"nothing.pth"):
        _upscaler(folders / "tiny-esrgan", file="nothing.pth")


def test_a_torn_file_of_weights_is_one_line(folders: Path, tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"params": 5}, tmp_path / "number.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "junk.pth").write_bytes(b"junk" * 99)
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 99)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ModelMissing) as error:
            _upscaler(tmp_path, file=path.name)
        said = str(error.value)
        assert said.startswith(f"model tiny-esrgan: {path}: ") and "\n" not in said
    whole = (folders / "tiny-yolos" / "model.safetensors").read_bytes()
    for kept in (0, 500):
        torn = tmp_path / f"torn-{kept}"
        shutil.copytree(folders / "tiny-yolos", torn)
        (torn / "model.safetensors").write_bytes(whole[:kept])
        with pytest.raises(ModelMissing, match=f"^model y: {torn} holds no detector: [^\n]+$"):
            DetectAdapter().load(ModelSpec("y", "1", "detect", torn, {}), Devices())


def test_a_detector_that_is_sure_of_a_point_leaves_the_picture_whole(folders: Path, tmp_path: Path) -> None:
    adapter = DetectAdapter()
    adapter.load(ModelSpec("y", "1", "detect", folders / "tiny-yolos", {"least": 0.0}), Devices())
    with torch.no_grad():
        adapter._model.class_labels_classifier.layers[-1].bias[0] = 20.0
        adapter._model.bbox_predictor.layers[-1].bias[2:] = -50.0  # neither wide nor high
    call = called("detect", tmp_path / "w", {"kind": "close_up"}, {"image": [picture(tmp_path)]})
    ((output, _),) = ran(adapter, call, tmp_path)
    assert dict(output.facts) == {"box": [0, 0, 64, 48], "people": 0}
    with torch.no_grad():
        adapter._model.bbox_predictor.layers[-1].bias[:] = float("nan")
    (tmp_path / "again").mkdir()
    call = called("detect", tmp_path / "again" / "w", {}, {"image": [picture(tmp_path / "again")]})
    with pytest.raises(BadOutput, match="y: scores or boxes that are no numbers"):
        list(ran(adapter, call, tmp_path / "again"))


def test_a_detector_that_is_sure_of_nobody_leaves_the_picture_whole(folders: Path, tmp_path: Path) -> None:
    adapter = DetectAdapter()
    adapter.load(ModelSpec("tiny-yolos", "1", "detect", folders / "tiny-yolos", {"least": 0.99}), Devices())
    call = called("detect", tmp_path / "w", {"kind": "close_up"}, {"image": [picture(tmp_path)]})
    ((output, chunk),) = ran(adapter, call, tmp_path)
    assert dict(output.facts) == {"box": [0, 0, 64, 48], "people": 0}
    with Image.open(chunk.path / "crop.png") as crop, Image.open(tmp_path / "picture.png") as whole:
        assert np.array_equal(np.asarray(crop), np.asarray(whole))


def test_whom_a_detector_finds_is_shown_from_near_in_the_pictures_proportions(
    folders: Path, tmp_path: Path
) -> None:
    adapter = DetectAdapter()
    spec = ModelSpec("tiny-yolos", "1", "detect", folders / "tiny-yolos", {"least": 0.0})
    adapter.load(spec, Devices())
    with torch.no_grad():  # a detector that takes whatever it sees for people
        adapter._model.class_labels_classifier.layers[-1].bias[0] = 20.0
    call = called("detect", tmp_path / "w", {"kind": "close_up", "who": 1}, {"image": [picture(tmp_path)]})
    ((output, chunk),) = ran(adapter, call, tmp_path)
    assert output.facts["people"] == 6
    with Image.open(chunk.path / "crop.png") as crop:
        assert crop.size == (64, 48)
    left, top, right, bottom = framed((10.0, 20.0, 20.0, 40.0), 640, 480)
    assert (right - left) / (bottom - top) == pytest.approx(640 / 480)
    assert left >= 0 and top >= 0 and left <= 10 and right >= 20 and top <= 20 and bottom >= 40
    assert framed((0.0, 0.0, 640.0, 480.0), 640, 480) == (0.0, 0.0, 640.0, 480.0)
