"""Artifacts are whole or not there, whatever happens to disks and processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import xxhash

from hpcwise.core.errors import DiskFull, StoreError, TornArtifact
from hpcwise.store.artifacts import Known, Store
from hpcwise.store.housekeeping import Usage
from hpcwise.store.manifest import Final
from hpcwise.store.paths import RunPaths

KEY = "ab" + "0" * 62
OTHER = "cd" + "1" * 62


def put(store: Store, key: str, chunk: int, data: bytes, **facts: object) -> Path:
    """Commit a chunk of one file; its final folder."""
    scratch = store.begin(key, chunk)
    (scratch / "data.bin").write_bytes(data)
    store.commit(key, chunk, scratch, facts)
    return store.read(key, chunk).path


def left_over(paths: RunPaths) -> list[str]:
    """Names of scratch and torn folders, without their nonce."""
    return sorted(path.name.rsplit("-", 1)[0] for path in paths.store.glob("*/*/.*"))


@pytest.mark.parametrize("durable", [True, False])
def test_a_committed_chunk_comes_back_with_its_facts(paths: RunPaths, durable: bool) -> None:
    store = Store(paths, durable=durable)
    scratch = store.begin(KEY, 7)
    (scratch / "a.txt").write_bytes(b"alpha")
    (scratch / "b.bin").write_bytes(os.urandom(3_000_000))
    manifest = store.commit(KEY, 7, scratch, {"frames": 84, "names": ["x"], "s": 3.5})
    artifact = Store(paths).read(KEY, 7)
    assert artifact.manifest == manifest
    assert artifact.path == paths.store / "ab" / KEY / "00007"
    assert dict(manifest.facts) == {"frames": 84, "names": ["x"], "s": 3.5}
    assert [(f.name, f.digest.size_bytes) for f in manifest.files] == [("a.txt", 5), ("b.bin", 3_000_000)]
    assert left_over(paths) == []


def test_the_first_commit_of_a_chunk_stays(paths: RunPaths) -> None:
    store = Store(paths)
    put(store, KEY, 0, b"first", n=1)
    scratch = store.begin(KEY, 0)
    (scratch / "data.bin").write_bytes(b"second")
    assert dict(store.commit(KEY, 0, scratch, {"n": 2}).facts) == {"n": 1}
    assert (store.read(KEY, 0).path / "data.bin").read_bytes() == b"first"
    assert left_over(paths) == []


@pytest.mark.parametrize(
    "harm", ["flip", "cut", "file gone", "manifest cut", "manifest gone", "manifest swapped"]
)
def test_a_torn_artifact_is_set_aside_and_computed_again(paths: RunPaths, harm: str) -> None:
    folder = put(Store(paths), KEY, 0, b"good" * 1000)
    data, manifest = folder / "data.bin", folder / "manifest.json"
    match harm:
        case "flip":
            data.write_bytes(b"good" * 999 + b"bad!")
        case "cut":
            os.truncate(data, 3999)
        case "file gone":
            data.unlink()
        case "manifest cut":
            os.truncate(manifest, manifest.stat().st_size - 10)
        case "manifest gone":
            manifest.unlink()
        case "manifest swapped":
            shutil.copy(put(Store(paths), OTHER, 0, b"x") / "manifest.json", manifest)
    store = Store(paths)
    with pytest.raises(TornArtifact):
        store.read(KEY, 0)
    assert store.chunks(KEY) == 0
    assert left_over(paths) == [".torn-00000"]
    again = put(store, KEY, 0, b"good" * 1000)
    assert (again / "data.bin").read_bytes() == b"good" * 1000


def test_a_commit_replaces_a_torn_chunk_that_nobody_read(paths: RunPaths) -> None:
    folder = put(Store(paths), KEY, 0, b"good")
    (folder / "data.bin").write_bytes(b"evil")
    store = Store(paths)
    put(store, KEY, 0, b"good")
    assert (store.read(KEY, 0).path / "data.bin").read_bytes() == b"good"


def test_a_chunk_that_changes_after_it_was_checked_is_checked_again(paths: RunPaths) -> None:
    store = Store(paths)
    folder = put(store, KEY, 0, b"good")
    os.truncate(folder / "data.bin", 3)
    with pytest.raises(TornArtifact):
        store.read(KEY, 0)


def test_a_missing_chunk_is_an_error_that_computing_again_cures(paths: RunPaths) -> None:
    with pytest.raises(TornArtifact, match="is missing"):
        Store(paths).read(KEY, 3)
    assert TornArtifact.transient


@pytest.mark.parametrize("key", ["../../../etc", "AB" + "0" * 62, "ab/cd", "", "ab\n" + "0" * 60, "short"])
def test_a_key_that_could_be_a_path_is_refused(paths: RunPaths, key: str) -> None:
    with pytest.raises(StoreError, match="lower-case hex"):
        Store(paths).begin(key, 0)


@pytest.mark.parametrize("chunk", [-1, 100_000])
def test_a_chunk_number_out_of_range_is_refused(paths: RunPaths, chunk: int) -> None:
    with pytest.raises(StoreError, match="not within"):
        Store(paths).begin(KEY, chunk)


def test_an_artifact_with_a_link_or_folder_in_it_is_refused(paths: RunPaths) -> None:
    store = Store(paths)
    scratch = store.begin(KEY, 0)
    (scratch / "data.bin").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="plain files only"):
        store.commit(KEY, 0, scratch, {})
    assert store.chunks(KEY) == 0


def test_a_stream_is_finished_once_and_only_when_whole(paths: RunPaths) -> None:
    store = Store(paths)
    put(store, KEY, 0, b"a")
    put(store, KEY, 2, b"c")
    assert (store.chunks(KEY), store.final(KEY)) == (1, None)
    with pytest.raises(StoreError, match="3 chunks cannot be finished, 1 exist"):
        store.finish(KEY, 3, {})
    put(store, KEY, 1, b"b")
    final = Final(key=KEY, n_chunks=3, facts={"v": 1})
    assert store.finish(KEY, 3, {"v": 1}) == final
    assert store.finish(KEY, 3, {"v": 2}) == final
    assert store.final(KEY) == final
    os.truncate(paths.final_json(KEY), 5)
    assert store.final(KEY) is None
    assert store.finish(KEY, 3, {"v": 1}) == final == store.final(KEY)


def test_start_up_finds_what_is_there_and_what_is_done(paths: RunPaths) -> None:
    store = Store(paths)
    put(store, KEY, 0, b"aaaa", k=0)
    put(store, KEY, 1, b"bb", k=1)
    store.finish(KEY, 2, {"all": True})
    put(store, OTHER, 0, b"x" * 10, k=0)
    torn = put(store, OTHER, 1, b"y" * 10, k=1)
    os.truncate(torn / "data.bin", 9)
    store.begin(OTHER, 2)

    def digest(data: bytes) -> dict[str, str]:
        return {"data.bin": xxhash.xxh3_128_hexdigest(data)}

    assert list(Store(paths).scan()) == [
        Known(KEY, 2, True, {"all": True}, ({"k": 0}, {"k": 1}), (digest(b"aaaa"), digest(b"bb")), 6),
        Known(OTHER, 1, False, {}, ({"k": 0},), (digest(b"x" * 10),), 10),
    ]


def test_a_removed_artifact_is_gone_and_removing_again_is_no_error(paths: RunPaths) -> None:
    store = Store(paths)
    put(store, KEY, 0, b"a")
    put(store, OTHER, 0, b"b")
    store.remove(KEY)
    store.remove(KEY)
    assert [known.key for known in store.scan()] == [OTHER]
    assert not any(paths.store.glob("ab/*"))
    put(store, KEY, 0, b"a")
    assert store.chunks(KEY) == 1


def test_the_sweep_takes_old_scratch_only(paths: RunPaths) -> None:
    store = Store(paths)
    put(store, KEY, 0, b"kept")
    young, old = store.begin(KEY, 1), store.begin(KEY, 1)
    for path in (old / "data.bin", young / "data.bin"):
        path.write_bytes(b"1234")
    now_s = young.stat().st_mtime
    for path in (old / "data.bin", old):
        os.utime(path, (now_s - 7200, now_s - 7200))
    manifest_bytes = (paths.chunk_dir(KEY, 0) / "manifest.json").stat().st_size
    assert store.usage() == Usage(keys=1, chunks=1, size_bytes=4 + manifest_bytes, scratch_bytes=8)
    assert store.sweep_scratch(older_than_s=3600, now_s=now_s + 1) == 1
    assert (old.exists(), young.exists(), store.chunks(KEY)) == (False, True, 1)


def _commit_same_key(root: Path, barrier: Barrier, me: int, rounds: int) -> None:
    store = Store(RunPaths(root))
    for n in range(rounds):
        scratch = store.begin(KEY, n)
        (scratch / "data.bin").write_bytes(bytes([me]) * 200_000)
        barrier.wait(30)
        store.commit(KEY, n, scratch, {"me": me})


def test_two_processes_that_commit_one_key_leave_one_intact_chunk(paths: RunPaths) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, rounds = context.Barrier(2), 30
    processes = [
        context.Process(target=_commit_same_key, args=(paths.root, barrier, me, rounds)) for me in (1, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    store = Store(paths)
    assert store.chunks(KEY) == rounds
    for n in range(rounds):
        artifact = store.read(KEY, n)
        me = artifact.manifest.facts["me"]
        assert (artifact.path / "data.bin").read_bytes() == bytes([me]) * 200_000
    assert left_over(paths) == []


_WRITE_FOREVER = """
import sys, numpy as np
from pathlib import Path
from hpcwise.store.artifacts import Store
from hpcwise.store.latents import LatentMeta, write_latent
from hpcwise.store.paths import RunPaths
store = Store(RunPaths(Path(sys.argv[1])))
array = np.arange(5_000_000, dtype=np.float32)
for n in range(10_000):
    scratch = store.begin("ab" + "0" * 62, n)
    meta = LatentMeta(shape=array.shape, dtype="float32", step=n)
    digest = write_latent(scratch / "latent.h5", array, meta)
    print(n, flush=True)
    store.commit("ab" + "0" * 62, n, scratch, {"n": n}, {"latent.h5": digest})
"""


@pytest.mark.parametrize("wait_for", [0, 3])
def test_kill_9_in_the_middle_of_writing_leaves_nothing_half_visible(paths: RunPaths, wait_for: int) -> None:
    command = [sys.executable, "-c", _WRITE_FOREVER, str(paths.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != str(wait_for):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    store = Store(paths)
    visible = sorted(path.name for path in paths.key_dir(KEY).iterdir() if not path.name.startswith("."))
    assert len(visible) in (wait_for, wait_for + 1)
    assert visible == [f"{n:05d}" for n in range(store.chunks(KEY))]
    for n in range(len(visible)):
        array, meta = store.read_latent(KEY, n)
        assert (meta.step, float(array[-1])) == (n, 4_999_999.0)
    assert len(left_over(paths)) <= 1
    put(store, KEY, len(visible), b"goes on")


def test_a_full_disk_is_a_pause_after_which_the_same_commit_succeeds(small_disk: Path) -> None:
    paths = RunPaths(small_disk / "run")
    paths.create()
    store = Store(paths)
    scratch = store.begin(KEY, 0)
    (scratch / "data.bin").write_bytes(b"d" * 1000)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 65536)
    with pytest.raises(DiskFull, match="free space or raise the quota"):
        store.commit(KEY, 0, scratch, {"n": 1})
    with pytest.raises(DiskFull):
        paths.check_usable()
    assert store.chunks(KEY) == 0
    ballast.unlink()
    manifest = store.commit(KEY, 0, scratch, {"n": 1})
    assert store.read(KEY, 0).manifest == manifest


def test_the_node_cache_serves_a_checked_copy_and_stays_within_its_limit(
    paths: RunPaths, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    store = Store(paths, local, cache_limit_gb=25e-6)
    shared = [put(Store(paths), KEY, n, bytes([n]) * 10_000) for n in range(4)]
    reads = [store.read(KEY, n).path for n in range(4)]
    # Two fit; those in use are not evicted, so the others are read from the shared store.
    assert [path.parent == local for path in reads] == [True, True, False, False]
    assert reads[2:] == shared[2:]
    shutil.rmtree(shared[0] / "..", ignore_errors=True)
    assert [(path / "data.bin").read_bytes() for path in reads[:2]] == [b"\0" * 10_000, b"\1" * 10_000]


def test_old_copies_make_room_in_the_node_cache(paths: RunPaths, tmp_path: Path) -> None:
    local = tmp_path / "local"
    store = Store(paths, local, cache_limit_gb=25e-6)
    for n in range(3):
        put(Store(paths), KEY, n, bytes([n]) * 10_000)
    first, second = store.read(KEY, 0).path, store.read(KEY, 1).path
    for age_s, path in ((2000, second), (1000, first)):
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    third = store.read(KEY, 2).path
    assert sorted(local.iterdir()) == sorted([first, third])
    assert store.read(KEY, 0).path == first


def test_a_rotten_copy_in_the_node_cache_is_made_again(paths: RunPaths, tmp_path: Path) -> None:
    local = tmp_path / "local"
    put(Store(paths), KEY, 0, b"good")
    copy = Store(paths, local).read(KEY, 0).path
    (copy / "data.bin").write_bytes(b"evil")
    again = Store(paths, local).read(KEY, 0).path
    assert (again.parent, (again / "data.bin").read_bytes()) == (local, b"good")


def test_a_torn_chunk_does_not_enter_the_node_cache(paths: RunPaths, tmp_path: Path) -> None:
    local = tmp_path / "local"
    folder = put(Store(paths), KEY, 0, b"good")
    (folder / "data.bin").write_bytes(b"evil")
    with pytest.raises(TornArtifact):
        Store(paths, local).read(KEY, 0)
    assert list(local.iterdir()) == []
    assert left_over(paths) == [".torn-00000"]
