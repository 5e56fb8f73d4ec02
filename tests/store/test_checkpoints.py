"""State of running loops on disk."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import numpy as np
import pytest

from hpcwise.store.checkpoints import KEPT, CheckpointStore
from hpcwise.store.paths import RunPaths

KEY = hashlib.sha256(b"task").hexdigest()


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    made = RunPaths(tmp_path / "run")
    made.create()
    return made


def _arrays(step: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(step)
    bits = draw.integers(0, 1 << 16, (2, 5), np.uint16)
    return {"latents": draw.standard_normal((1, 4, 3), np.float32), "bits": bits, "none": np.empty((0,))}


def test_a_checkpoint_comes_back_whole_with_its_types_and_facts(paths: RunPaths) -> None:
    store = CheckpointStore(paths)
    store.write(KEY, 2, 7, _arrays(7), {"sampler": "unipc", "order": 2}, ("bits",))
    found = CheckpointStore(paths).latest(KEY, 2)
    assert found is not None
    assert (found.chunk, found.step, found.bfloat16) == (2, 7, ("bits",))
    assert found.facts == {"sampler": "unipc", "order": 2}
    for name, array in _arrays(7).items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)
    assert found.size_bytes == sum(a.nbytes for a in _arrays(7).values())
    assert store.latest(KEY, 1) is None and store.latest(KEY[::-1], 2) is None


def test_only_the_newest_are_kept_and_a_torn_one_is_passed_over(paths: RunPaths) -> None:
    store = CheckpointStore(paths)
    for step in range(5):
        store.write(KEY, 0, step, _arrays(step), {})
    files = sorted(paths.checkpoints_of(KEY).iterdir())
    assert [path.name for path in files] == ["00000-000003.h5", "00000-000004.h5"] and KEPT == 2
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files} == {0o700}
    data = bytearray(files[1].read_bytes())
    at = data.find(_arrays(4)["latents"].tobytes())
    assert at > 0
    data[at] ^= 1
    files[1].write_bytes(data)
    found = store.latest(KEY, 0)
    assert found is not None and found.step == 3
    files[0].write_bytes(files[0].read_bytes()[:-20])
    files[1].write_bytes(b"")
    assert store.latest(KEY, 0) is None


def test_a_committed_chunk_takes_its_checkpoints_with_it(paths: RunPaths) -> None:
    store = CheckpointStore(paths, durable=False)
    store.write(KEY, 0, 9, _arrays(1), {})
    store.write(KEY, 1, 1, _arrays(2), {})
    store.drop(KEY, 0)
    assert store.latest(KEY, 0) is None
    left = store.latest(KEY, 1)
    assert left is not None and left.step == 1
    store.drop(KEY)
    assert not paths.checkpoints_of(KEY).exists()
