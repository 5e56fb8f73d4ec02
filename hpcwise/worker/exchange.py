"""Latents between an adapter and the store (`Latents` of models/base.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcwise.models.base import Input
from hpcwise.store.digest import FileDigest
from hpcwise.store.latents import LatentMeta, read_latent, write_latent


class LatentFiles:
    """Of one attempt. provenance: model and recipe key, written into each file."""

    def __init__(self, provenance: str) -> None:
        self._provenance = provenance
        self._written: dict[Path, FileDigest] = {}

    def write(self, path: Path, array: Any, *, dtype: str, scale: float, sampler: str, step: int) -> None:
        meta = LatentMeta(
            shape=tuple(array.shape),
            dtype=dtype,
            scale=scale,
            sampler=sampler,
            step=step,
            provenance=self._provenance,
        )
        self._written[path] = write_latent(path, array, meta)

    def read(self, source: Input, name: str) -> tuple[Any, str]:
        """The input's files were checked against their hashes when it was handed to the adapter."""
        array, meta = read_latent(source.path / name)
        return array, meta.dtype

    def digests(self, files: Mapping[str, Path]) -> dict[str, FileDigest]:
        """Of those files that were hashed while they were written, so that none is read again."""
        return {name: self._written.pop(path) for name, path in files.items() if path in self._written}
