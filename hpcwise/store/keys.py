"""CURVE key pairs of a run: one for the head, one that the user's workers and command line share.

Files of 0600 in a folder of 0700, refused if anybody else could have read or planted them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from hpcwise.core.errors import NotOwner, StoreError
from hpcwise.store.paths import RunPaths, storage_errors, write_beside

_Z85_CHARS = 40


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A CURVE pair, Z85 text of 40 characters each, as pyzmq takes it (encode to ASCII)."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"  # the secret stays out of logs


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The head serves with `server` and accepts `client.public`; all others use `client` towards
    `server.public`."""

    server: KeyPair
    client: KeyPair


def ensure_keys(paths: RunPaths) -> Keys:
    """The run's keys, made if they are not there; whoever comes second gets the first one's.

    Raises NotOwner where folder or files are foreign or open to others, DiskFull, StoreError.
    """
    with storage_errors(paths.keys):
        paths.keys.mkdir(mode=0o700, exist_ok=True)
    _check_private(paths.keys, stat.S_ISDIR, "a folder", "700")
    for path in (paths.server_key, paths.client_key):
        if not os.path.lexists(path):
            with storage_errors(path):
                write_beside(path, msgspec.json.encode(_new_pair()) + b"\n", replace=False)
    return load_keys(paths)


def load_keys(paths: RunPaths) -> Keys:
    """The run's keys. Raises NotOwner as `ensure_keys`, StoreError where they are missing or damaged."""
    _check_private(paths.keys, stat.S_ISDIR, "a folder", "700")
    return Keys(server=_load(paths.server_key), client=_load(paths.client_key))


def _new_pair() -> KeyPair:
    import zmq

    public, secret = zmq.curve_keypair()
    return KeyPair(public=public.decode("ascii"), secret=secret.decode("ascii"))


def _load(path: Path) -> KeyPair:
    _check_private(path, stat.S_ISREG, "a plain file", "600")
    with storage_errors(path):
        data = path.read_bytes()
    try:
        pair = msgspec.json.decode(data, type=KeyPair)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: is not a key pair ({error}); delete it while no head runs") from error
    if len(pair.public) != _Z85_CHARS or len(pair.secret) != _Z85_CHARS:
        raise StoreError(f"{path}: keys must have {_Z85_CHARS} characters; delete it while no head runs")
    return pair


def _check_private(path: Path, is_kind: Callable[[int], bool], kind: str, mode: str) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise StoreError(f"{path}: is missing; start a head for this run directory first") from None
    except OSError as error:
        raise NotOwner(f"{path}: {error.strerror}") from error
    if not is_kind(status.st_mode):
        raise NotOwner(f"{path}: must be {kind} of yours; remove it, it is made again")
    if status.st_uid != os.geteuid():
        raise NotOwner(f"{path}: belongs to user {status.st_uid}, not to you ({os.geteuid()}); remove it")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise NotOwner(f"{path}: others have access (mode {status.st_mode & 0o777:o}); chmod {mode} it")
