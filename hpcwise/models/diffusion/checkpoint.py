"""A checkpoint as diffusers writes it: a folder with model_index.json and a folder for each component.

Checked before anything is loaded: a missing shard is a line that says which file to put where, not a stack of
a library. Hashes stand in SHA256SUMS (as `sha256sum` writes it) where there is one; a file that was checked
and has not changed since is not read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hpcwise.core.errors import ModelMissing

INDEX: Final = "model_index.json"
SUMS: Final = "SHA256SUMS"
_SEEN: Final = ".hpcwise-verified.json"


def check(folder: Path, name: str, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The index of the checkpoint in `folder`, after a look at every file that it promises.

    leave_out: components that will not be loaded. Raises ModelMissing: one line, which file and where.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text("utf-8"))
    except FileNotFoundError:
        raise ModelMissing(
            f"model {name}: no {INDEX} in {folder}; put the checkpoint there (the folder that diffusers' "
            f"save_pretrained writes), or name its place in the card"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelMissing(f"model {name}: {folder / INDEX} cannot be read: {error}") from error
    for component, where in index.items():
        if component.startswith("_") or component in leave_out or not isinstance(where, list) or not where[0]:
            continue
        for path in _promised(folder / component):
            if not path.is_file():
                raise ModelMissing(f"model {name}: {path.relative_to(folder)} is missing in {folder}")
    _verify(folder, name, leave_out)
    return index


def denoisers(folder: Path, dtype: Any, device: Any) -> dict[str, Any]:
    """The denoisers of a checkpoint, alone: what a replica's other processes need of it."""
    import diffusers

    index = json.loads((folder / INDEX).read_text("utf-8"))
    found: dict[str, Any] = {}
    for part, where in index.items():
        if part.startswith("transformer") and isinstance(where, list) and where[1]:
            model = getattr(diffusers, where[1]).from_pretrained(
                folder / part, dtype=dtype, local_files_only=True
            )
            found[part] = model.to(device).eval()
    return found


def sums(folder: Path) -> str:
    """The text of SHA256SUMS for what is in `folder`."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (SUMS, _SEEN))
    return "".join(f"{_sha256(path)}  {path.relative_to(folder)}\n" for path in files)


def _promised(component: Path) -> Iterator[Path]:
    """Files that a component cannot be without; none for those that are text or vocabulary alone."""
    if not component.is_dir():
        yield component / "config.json"
        return
    for listing in component.glob("*.safetensors.index.json"):
        with contextlib.suppress(ValueError, KeyError):
            for shard in sorted(set(json.loads(listing.read_text("utf-8"))["weight_map"].values())):
                yield component / shard
    # A tokenizer, sampler or image processor has no weights.
    if (component / "config.json").is_file() and not list(component.glob("*.safetensors*")):
        yield component / "diffusion_pytorch_model.safetensors"


def _verify(folder: Path, name: str, leave_out: frozenset[str]) -> None:
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return
    seen = _seen(folder)
    now: dict[str, list[int]] = {}
    for line in lines:
        wanted, _, file = line.partition("  ")
        if file.split("/")[0] in leave_out:
            continue
        path = folder / file
        try:
            status = path.stat()
        except FileNotFoundError:
            raise ModelMissing(f"model {name}: {file} is missing in {folder}") from None
        now[file] = [status.st_size, status.st_mtime_ns]
        if seen.get(file) != now[file] and _sha256(path) != wanted:
            raise ModelMissing(f"model {name}: {path} has another sha256 than {SUMS} says; fetch it again")
    now = {**seen, **now}
    if now != seen:
        beside = folder / f"{_SEEN}.{os.getpid()}"
        with contextlib.suppress(OSError):  # a folder that is read-only is checked at each load
            beside.write_text(json.dumps(now))
            beside.replace(folder / _SEEN)


def _seen(folder: Path) -> dict[str, list[int]]:
    with contextlib.suppress(OSError, ValueError):
        held = json.loads((folder / _SEEN).read_text("utf-8"))
        if isinstance(held, dict):
            return held
    return {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
