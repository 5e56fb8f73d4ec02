"""When Slurm says that jobs would start: `sbatch --test-only`, a few times a minute and no more.

Answers are kept beside the cluster file for a minute, so that neither the rungs of a ladder nor the next
quote ask again; a question beyond the budget is not asked, and the waits of the past answer for it.
"""

from __future__ import annotations

import contextlib
import math
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.cluster import Cluster, Pool
from hpcwise.core.contract import Offer
from hpcwise.core.errors import UsageError
from hpcwise.store.paths import write_beside

#: An answer holds so long: a plan that is younger could not change.
_HOLDS_S: Final = 60.0
#: Calls a minute, as for a head.
_A_MINUTE: Final = 6


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """Unix times: asked, and of the start that Slurm expects."""

    asked_s: float
    start_s: float


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """configs/clusters/<name>.starts.json: answers by command."""

    said: dict[str, _Said] = {}


class Starts:
    """cluster, path: the cluster's file. asked, skipped: calls of Slurm's that were made, and that were not
    for the budget."""

    def __init__(self, cluster: Cluster, path: Path) -> None:
        self._cluster, self._name = cluster, path.stem
        self._path = path.with_suffix(".starts.json")
        self._said: dict[str, _Said] | None = None
        self.asked = self.skipped = 0

    def of(self, offer: Offer, now_s: float) -> Offer:
        """The offer with what Slurm says of its start, as far as it may be asked. Raises UsageError in
        Slurm's words where it would refuse the job."""
        command = self._command(offer)
        known = self._known(now_s)
        said = known.get(" ".join(command))
        if said is None and len(known) >= _A_MINUTE:
            self.skipped += 1
            return offer
        if said is None:
            said = _Said(asked_s=now_s, start_s=self._ask(command))
            known[" ".join(command)] = said
            with contextlib.suppress(OSError):  # configurations that only admins write are no obstacle
                write_beside(self._path, msgspec.json.encode(_File(said=known)) + b"\n", durable=False)
        return msgspec.structs.replace(offer, start_s=max(0.0, said.start_s - now_s))

    def _known(self, now_s: float) -> dict[str, _Said]:
        if self._said is None:
            try:
                self._said = msgspec.json.decode(self._path.read_bytes(), type=_File).said
            except (OSError, msgspec.DecodeError):
                self._said = {}
        self._said = {key: s for key, s in self._said.items() if 0 <= now_s - s.asked_s < _HOLDS_S}
        return self._said

    def _command(self, offer: Offer) -> list[str]:
        cluster = self._cluster
        pool: Pool = next(p for p in cluster.pools if p.pool == offer.pools[0])
        command = [
            "sbatch", "--test-only", "-p", offer.partition, "-N", str(offer.nodes),
            "-t", str(math.ceil(offer.walltime_s / 60)), "--wrap", "true",
        ]  # fmt: skip
        if pool.gpus_per_node:
            kind = f"{pool.gpu}:" if pool.gpu else ""
            command += [f"--gres=gpu:{kind}{pool.gpus_per_node}"]
        command += ["-A", cluster.account] if cluster.account else []
        command += ["-q", cluster.qos] if cluster.qos else []
        return command

    def _ask(self, command: list[str]) -> float:
        from hpcwise.launch.base import LaunchError
        from hpcwise.launch.slurm import ask, parse_test_only

        self.asked += 1
        try:
            return datetime.fromisoformat(parse_test_only(ask(command))).timestamp()
        except LaunchError as error:
            raise UsageError(
                f"{error}; compare with `hpcwise cluster check {self._name}` (nothing was submitted)"
            ) from None
