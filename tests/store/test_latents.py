"""Latents keep every bit, are plain HDF5, and say when they are torn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwise.core.errors import DiskFull, StoreError, TornArtifact
from hpcwise.store.artifacts import Store
from hpcwise.store.digest import digest_file
from hpcwise.store.latents import LatentMeta, read_latent, write_latent
from hpcwise.store.paths import RunPaths
from tests.store.test_journal import file_size_limit

KEY = "0" * 64


def sample(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    stored = {"bfloat16": "uint16"}.get(dtype, dtype)
    count = int(np.prod(shape)) * np.dtype(stored).itemsize
    return np.frombuffer(np.random.default_rng(1).bytes(count), stored).reshape(shape)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64"]
)
@pytest.mark.parametrize("shape", [(16, 21, 60, 104), (3,), (), (4, 0, 2), (1, 300_000)])
def test_a_latent_keeps_every_bit_and_its_meta(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = sample(shape, dtype)
    meta = LatentMeta(
        shape=shape, dtype=dtype, scale=0.476986, sampler="unipc é", step=17, provenance="wan 2.1 " + "k" * 64
    )
    digest = write_latent(tmp_path / "x.h5", array, meta)
    assert digest == digest_file(tmp_path / "x.h5")
    for expect in (None, digest):
        again, read_meta = read_latent(tmp_path / "x.h5", expect)
        assert read_meta == meta
        assert (again.shape, again.dtype) == (array.shape, array.dtype)
        assert again.tobytes() == array.tobytes()
        assert again.flags.writeable


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=6000), shape=st.lists(st.integers(0, 40), max_size=5))
def test_any_meta_and_shape_come_back(tmp_path: Path, text: str, shape: list[int]) -> None:
    path = tmp_path / "x.h5"
    path.unlink(missing_ok=True)
    if np.prod(shape) > 100_000:
        shape = shape[:2]
    text = text.encode("utf-8", "replace").decode()
    array = sample(tuple(shape), "float32")
    meta = LatentMeta(shape=tuple(shape), dtype="float32", provenance=text)
    digest = write_latent(path, array, meta)
    again, read_meta = read_latent(path, digest)
    assert (again.tobytes(), again.shape, read_meta) == (array.tobytes(), array.shape, meta)


def test_any_hdf5_reader_opens_a_latent(tmp_path: Path) -> None:
    array = sample((5, 300, 40), "float32")
    write_latent(tmp_path / "x.h5", array, LatentMeta(shape=array.shape, dtype="float32", step=2))
    with h5py.File(tmp_path / "x.h5") as file:
        assert sorted(file) == ["latent", "meta"]
        assert file["latent"][:].tobytes() == array.tobytes()
        assert json.loads(file["meta"][()])["meta"]["step"] == 2
        assert file["latent"].chunks is None
        assert file["latent"].id.get_offset() % 4096 == 0


def test_equal_latents_are_equal_files_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path;"
        "from hpcwise.store.latents import LatentMeta, write_latent;"
        "print(write_latent(Path(sys.argv[1]), np.arange(50000, dtype='f4'),"
        " LatentMeta(shape=(50000,), dtype='float32')).xxh128)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    array = np.arange(50000, dtype="f4")
    here = write_latent(tmp_path / "here", array, LatentMeta(shape=(50000,), dtype="float32"))
    assert digests == {here.xxh128 + "\n"}


def test_a_strided_latent_is_written_as_it_reads(tmp_path: Path) -> None:
    array = sample((30, 40, 50), "float32").transpose(2, 0, 1)[::2]
    digest = write_latent(tmp_path / "x.h5", array, LatentMeta(shape=array.shape, dtype="float32"))
    assert np.array_equal(read_latent(tmp_path / "x.h5", digest)[0].view("u4"), array.view("u4"))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (LatentMeta(shape=(2, 3), dtype="float32"), r"float32\[3, 2\], its meta says float32\[2, 3\]"),
        (LatentMeta(shape=(3, 2), dtype="float16"), r"its meta says float16"),
        (LatentMeta(shape=(3, 2), dtype="complex64"), r"'complex64' is none of bfloat16, float16"),
    ],
)
def test_an_array_that_its_meta_misstates_is_refused(tmp_path: Path, meta: LatentMeta, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        write_latent(tmp_path / "x.h5", np.zeros((3, 2), np.float32), meta)
    assert list(tmp_path.iterdir()) == []


def test_a_latent_torn_at_any_place_is_never_read_as_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    array = sample((100, 50), "float32")
    digest = write_latent(path, array, LatentMeta(shape=array.shape, dtype="float32"))
    whole = path.read_bytes()
    for at in (*range(0, 600, 7), 5000, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(TornArtifact):
            read_latent(path, digest)
        path.write_bytes(whole[:at])
        with pytest.raises(TornArtifact):
            read_latent(path)
    path.unlink()
    with pytest.raises(TornArtifact, match="is missing"):
        read_latent(path, digest)


def test_a_latent_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    array = sample((1_000_000,), "float32")
    with file_size_limit(2_000_000), pytest.raises(DiskFull):
        write_latent(tmp_path / "x.h5", array, LatentMeta(shape=array.shape, dtype="float32"))
    assert list(tmp_path.iterdir()) == []


def test_the_store_takes_over_the_digest_and_finds_a_torn_latent(paths: RunPaths) -> None:
    store = Store(paths)
    array = sample((16, 64, 64), "bfloat16")
    meta = LatentMeta(shape=array.shape, dtype="bfloat16", step=4)
    scratch = store.begin(KEY, 0)
    digest = write_latent(scratch / "latent.h5", array, meta)
    manifest = store.commit(KEY, 0, scratch, {}, {"latent.h5": digest})
    assert manifest.digest("latent.h5") == digest == digest_file(paths.chunk_dir(KEY, 0) / "latent.h5")
    again, read_meta = Store(paths).read_latent(KEY, 0)
    assert (again.tobytes(), read_meta) == (array.tobytes(), meta)
    with (paths.chunk_dir(KEY, 0) / "latent.h5").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    with pytest.raises(TornArtifact, match="do not match"):
        store.read_latent(KEY, 0)
    assert store.chunks(KEY) == 0


def test_the_latents_bench_measures_and_reports(tmp_path: Path) -> None:
    bench = Path(__file__).parents[2] / "scripts" / "bench" / "latents"
    command = [sys.executable, str(bench), "--json", "--size-mb", "1", "--rounds", "2", "--dir"]
    command.append(str(tmp_path))
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(result.stdout)
    assert sorted(report) == ["figures", "goals", "machine", "met", "name"]
    assert (report["name"], report["goals"]) == (
        "latents",
        {"write_vs_raw": [">=", 0.8], "read_vs_raw": [">=", 0.8]},
    )
    figures = report["figures"]
    assert figures["write_vs_raw"] == figures["write_vs_raw.1mb"] > 0
    assert report["met"] == (figures["write_vs_raw"] >= 0.8 and figures["read_vs_raw"] >= 0.8)
    assert list(tmp_path.iterdir()) == []
    command[-1] = str(tmp_path / "not there")
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 2
