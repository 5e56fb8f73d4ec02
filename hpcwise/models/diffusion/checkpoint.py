"""A checkpoint as diffusers writes it: a folder with model_index.json and a folder for each component.

Checked before anything is loaded, and by `hpcwise models check` and `generate` before anything is started: a
missing shard is a line that says which file to put where, not a stack of a library. Hashes stand in
SHA256SUMS (as `sha256sum` writes it) where there is one; a file that was checked and has not changed since is
not read again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from hpcwise.core.errors import ModelMissing
from hpcwise.models.sources import sha256_of

INDEX: Final = "model_index.json"
SUMS: Final = "SHA256SUMS"
_SEEN: Final = ".hpcwise-verified.json"
#: Components of a pipeline that denoise; some have one for early steps and one for late ones.
DENOISERS: Final = ("transformer", "transformer_2")
#: What turns words into conditions.
TEXT_PARTS: Final = frozenset({
    "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3",
})  # fmt: skip
#: What a component that is no network is read from.
_SETTINGS: Final = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
_TRANSFORMERS: Final = "transformers"


def not_loaded(parts: str, text: bool) -> frozenset[str]:
    """Components that a part of a pipeline (options.parts, options.text of a card) does without."""
    if parts == "encode":
        return frozenset({*DENOISERS, "vae", "image_encoder", "image_processor", "feature_extractor"})
    if parts == "decode":
        return frozenset({*DENOISERS, *TEXT_PARTS, "image_encoder"})
    return frozenset() if text else TEXT_PARTS


def check(folder: Path, name: str, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The index of the checkpoint in `folder`, after a look at every file that it promises, and at its bytes
    where their hashes are known.

    leave_out: components that will not be loaded. Raises ModelMissing: one line, which file and where.
    """
    index = listed(folder, name, leave_out)
    verify(folder, name, leave_out)
    return index


def listed(folder: Path, name: str, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The index of the checkpoint in `folder`, after a look at the names of all files that it promises: no
    weights are opened. Raises ModelMissing."""
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
        stem = component.rstrip("_0123456789")
        if stem in _SETTINGS:
            present(folder, name, [folder / component / _SETTINGS[stem]])
        elif stem in ("image_processor", "feature_extractor", "processor"):
            present(folder, name, [] if _any(folder / component, "*.json") else [folder / component])
        else:
            present(folder, name, network(folder / component, where[0] == _TRANSFORMERS))
    for _, file in summed(folder, leave_out):
        present(folder, name, [folder / file])
    return index


def present(folder: Path, name: str, files: Iterable[Path]) -> None:
    """Raises ModelMissing for the first of `files`, which lie in `folder`, that is not there."""
    for path in files:
        if not path.is_file():
            raise ModelMissing(f"model {name}: {path.relative_to(folder)} is missing in {folder}")


def network(component: Path, transformers: bool) -> Iterator[Path]:
    """Files that a network's folder cannot be without. transformers: whether that library wrote it."""
    yield component / "config.json"
    for listing in sorted(component.glob("*.safetensors.index.json")):
        with contextlib.suppress(ValueError, KeyError):
            for shard in sorted(set(json.loads(listing.read_text("utf-8"))["weight_map"].values())):
                yield component / shard
    if not _any(component, "*.safetensors*") and not (transformers and _any(component, "*.bin")):
        yield component / ("model.safetensors" if transformers else "diffusion_pytorch_model.safetensors")


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
    return "".join(f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in files)


def _any(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern), None) is not None


def summed(folder: Path, leave_out: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """(hash, file) of SHA256SUMS; none where there is none."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    pairs = (line.partition("  ") for line in lines)
    return [(wanted, file) for wanted, _, file in pairs if file.split("/")[0] not in leave_out]


def verify(folder: Path, name: str, leave_out: frozenset[str] = frozenset()) -> None:
    """Compare files with SHA256SUMS, where there is one. Raises ModelMissing."""
    seen = _seen(folder)
    now: dict[str, list[int]] = {}
    for wanted, file in summed(folder, leave_out):
        path = folder / file
        try:
            status = path.stat()
        except FileNotFoundError:
            raise ModelMissing(f"model {name}: {file} is missing in {folder}") from None
        now[file] = [status.st_size, status.st_mtime_ns]
        if seen.get(file) != now[file] and sha256_of(path) != wanted:
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
