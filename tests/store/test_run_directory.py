"""Paths, epochs, inbox and keys: what heads, workers and the command line meet at."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from hpcwise.core.errors import DiskFull, NotOwner, ReadOnly, StoreError, UsageError
from hpcwise.store.epoch import Epoch, OwnerInfo, claim, current, is_stale
from hpcwise.store.inbox import Inbox
from hpcwise.store.keys import ensure_keys, load_keys
from hpcwise.store.paths import RunPaths, translate_oserror
from tests.store.test_journal import file_size_limit

NOBODY = 65534
EVIL = ["../x", "a/b", "", ".hidden", "a" * 81, "a\n", "a\0b", "-rf", "ü", "a.b"]


def owner(nonce: str) -> OwnerInfo:
    return OwnerInfo(host="node1", pid=42, started_s=1000.5, nonce=nonce)


# -- paths ---------------------------------------------------------------------------------------------


def test_everything_in_a_run_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "new" / "run")
    paths.create()
    paths.create()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (paths.root, *paths.folders())} == {0o700}
    assert sorted(path.name for path in paths.root.iterdir()) == sorted(p.name for p in paths.folders())


def _check_as_nobody(root: Path) -> str:
    """What check_usable says to another user; the error's name and line."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from hpcwise.store.paths import RunPaths; from hpcwise.core.errors import HpcwiseError\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: RunPaths(Path(sys.argv[1])).check_usable()\n"
        "except HpcwiseError as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand folders to others")
def test_a_run_directory_of_another_user_is_refused(open_folder: Path) -> None:
    assert _check_as_nobody(open_folder) == (
        f"NotOwner {open_folder}: belongs to user 0, not to you (65534); use a run directory of your own\n"
    )


def test_a_run_directory_without_write_permission_is_refused(open_folder: Path) -> None:
    run = open_folder / "run"
    run.mkdir()
    if os.geteuid() == 0:
        os.chown(run, NOBODY, NOBODY)
    run.chmod(0o500)
    assert _check_as_nobody(run).startswith(f"NotOwner {run}: Permission denied")
    assert list(run.iterdir()) == []


def test_a_read_only_file_system_is_refused_to_root_too(small_disk: Path) -> None:
    run = RunPaths(small_disk / "run")
    run.create()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ReadOnly, match="Read-only file system"):
        run.check_usable()
    with pytest.raises(ReadOnly, match="Read-only file system"):
        Inbox(run).drop(b"x", "t1")


def test_a_file_or_nothing_in_the_place_of_the_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotOwner, match="is not a directory"):
        RunPaths(tmp_path / "file").create()
    with pytest.raises(NotOwner, match="no such run directory"):
        RunPaths(tmp_path / "nothing").check_usable()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EFBIG, DiskFull),
        (errno.EROFS, ReadOnly), (errno.EACCES, NotOwner), (errno.EIO, StoreError),
    ],
)  # fmt: skip
def test_each_refusal_of_a_disk_has_its_error_in_one_line(number: int, kind: type[StoreError]) -> None:
    error = translate_oserror(OSError(number, os.strerror(number)), Path("/run/x"))
    assert type(error) is kind
    assert str(error).startswith(f"/run/x: {os.strerror(number)}")
    assert "\n" not in str(error)


@pytest.mark.parametrize("name", EVIL)
def test_names_that_could_be_paths_are_refused_everywhere(paths: RunPaths, name: str) -> None:
    inbox = Inbox(paths)
    calls = (
        lambda: paths.worker(name),
        lambda: inbox.drop(b"", name),
        lambda: inbox.take(name),
        lambda: inbox.read(name),
        lambda: inbox.acknowledge(name, b""),
        lambda: inbox.answer(name),
    )
    for call in calls:
        with pytest.raises(UsageError, match="use 1 to 80 letters"):
            call()
    assert [path for path in paths.root.rglob("*") if path.is_file()] == []


# -- epochs --------------------------------------------------------------------------------------------


def test_a_newer_claim_makes_the_old_head_stale(paths: RunPaths) -> None:
    assert current(paths) is None
    first = claim(paths, owner("a"))
    assert (first, current(paths), is_stale(paths, first)) == (Epoch(1, owner("a")), first, False)
    second = claim(paths, owner("b"))
    assert second == Epoch(2, owner("b")) == current(paths)
    assert (is_stale(paths, first), is_stale(paths, second)) == (True, False)
    assert sorted(path.name for path in paths.epochs.iterdir()) == ["000001.json", "000002.json"]


def test_a_head_whose_run_directory_was_replaced_is_stale(paths: RunPaths) -> None:
    mine = claim(paths, owner("a"))
    paths.epoch_claim(1).unlink()
    assert is_stale(paths, mine)
    claim(paths, owner("b"))
    assert is_stale(paths, mine)


def _claim_many(root: Path, barrier: Barrier, name: str, rounds: int, links: bool) -> None:
    if not links:  # a file system without hard links

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        os.link = refuse
    paths = RunPaths(root)
    for n in range(rounds):
        barrier.wait(30)
        mine = claim(paths, owner(f"{name}-{n}"))
        (root / "logs" / f"{name}-{n}").write_text(str(mine.number))


@pytest.mark.parametrize("links", [True, False])
def test_of_racing_claimants_each_number_goes_to_exactly_one(paths: RunPaths, links: bool) -> None:
    context = multiprocessing.get_context("spawn")
    names, rounds = ("a", "b", "c"), 20
    barrier = context.Barrier(len(names))
    processes = [
        context.Process(target=_claim_many, args=(paths.root, barrier, name, rounds, links)) for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    won = {int(path.read_text()): path.name for path in paths.logs.iterdir()}
    assert sorted(won) == list(range(1, len(names) * rounds + 1)) == paths.epoch_numbers()
    for number, nonce in won.items():
        assert f'"nonce":"{nonce}"' in paths.epoch_claim(number).read_text()


# -- inbox ---------------------------------------------------------------------------------------------


def test_a_submission_waits_is_taken_and_answered_once(paths: RunPaths) -> None:
    inbox = Inbox(paths)
    first = inbox.drop(b"spec one", "zz")
    inbox.drop(b"spec two", "aa")
    os.utime(first, ns=(1_000_000_000, 1_000_000_000))
    assert inbox.drop(b"another", "zz") == first
    assert [(s.token, s.path) for s in inbox.pending()] == [("zz", first), ("aa", paths.submission("aa"))]
    assert inbox.read("zz") == b"spec one"
    assert inbox.take("zz") == inbox.take("zz") == paths.done_submission("zz")
    assert inbox.drop(b"again", "zz") == paths.done_submission("zz")
    assert [s.token for s in inbox.pending()] == ["aa"]
    assert inbox.read("zz") == b"spec one"
    assert inbox.answer("zz") is None
    inbox.acknowledge("zz", b'{"request":"r1"}')
    assert inbox.answer("zz") == b'{"request":"r1"}'
    with pytest.raises(StoreError, match="No such file"):
        inbox.take("unknown")


def test_half_written_and_foreign_files_are_no_submissions(paths: RunPaths) -> None:
    (paths.inbox / ".t.job.123").write_bytes(b"half")
    (paths.inbox / "bad name.job").write_bytes(b"x")
    (paths.inbox / "readme.txt").write_bytes(b"x")
    (paths.inbox / "link.job").symlink_to("/etc/passwd")
    (paths.inbox / "folder.job").mkdir()
    inbox = Inbox(paths)
    assert inbox.pending() == []
    with pytest.raises(StoreError):
        inbox.read("link")


def test_a_submission_that_does_not_fit_leaves_nothing(paths: RunPaths) -> None:
    with file_size_limit(1000), pytest.raises(DiskFull):
        Inbox(paths).drop(b"x" * 2000, "big")
    assert list(paths.inbox.iterdir()) == []


# -- keys ----------------------------------------------------------------------------------------------


def test_keys_are_made_once_and_are_private(paths: RunPaths) -> None:
    keys = ensure_keys(paths)
    assert ensure_keys(paths) == load_keys(paths) == keys
    assert keys.server != keys.client
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (paths.keys, *paths.keys.iterdir())}
    assert modes == {"keys": 0o700, "server.key": 0o600, "client.key": 0o600}
    assert keys.server.secret not in repr(keys)


def test_keys_that_others_could_read_or_plant_are_refused(paths: RunPaths) -> None:
    keys = ensure_keys(paths)
    for path, mode, good in ((paths.server_key, 0o640, 0o600), (paths.keys, 0o750, 0o700)):
        path.chmod(mode)
        for call in (ensure_keys, load_keys):
            with pytest.raises(NotOwner, match=rf"{path}: others have access \(mode {mode:o}\); chmod"):
                call(paths)
        path.chmod(good)
    assert load_keys(paths) == keys
    if os.geteuid() == 0:
        os.chown(paths.client_key, NOBODY, NOBODY)
        with pytest.raises(NotOwner, match="belongs to user 65534"):
            load_keys(paths)
    paths.client_key.unlink()
    paths.client_key.symlink_to(paths.server_key)
    with pytest.raises(NotOwner, match="must be a plain file"):
        load_keys(paths)


def test_missing_and_damaged_keys_say_what_to_do(paths: RunPaths) -> None:
    with pytest.raises(StoreError, match="start a head"):
        load_keys(paths)
    ensure_keys(paths)
    os.truncate(paths.server_key, 20)
    with pytest.raises(StoreError, match="delete it while no head runs"):
        load_keys(paths)
