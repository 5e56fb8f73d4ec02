"""The faults of `scripts/e2e-slurm`, each provoked while it hurts and waited for until it is over."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from hpcwise.core.report import WorkerRow
from hpcwise.wire.start import HeadAddress
from scripts.e2esite import NightSite

#: On a busy machine processes start slowly.
SOON_S = 180.0
GPUS = 4


@dataclass(frozen=True, slots=True)
class Faults:
    """say: told of each step."""

    site: NightSite
    say: Callable[[str], None]

    def preempt(self) -> float:
        """A job of the partition above takes the node of a spot worker that runs a task. Seconds until the
        worker is gone."""
        site = self.site
        victim = site.wait(lambda: self._busy("spot"), "a spot worker runs a task", SOON_S)
        node = victim.nodes[0]
        began_s = time.monotonic()
        urgent = site.testbed.run(
            ["sbatch", "--parsable", "-A", "research", "-p", node.partition("-")[0], "-w", node, "-t", "5",
             "-c", "1", "--mem=1G", f"--gres=gpu:{self._reachable(node)}", "-o", "/dev/null",
             "--wrap", "sleep 300"]
        ).stdout.strip()  # fmt: skip
        try:
            site.wait(lambda: self._gone(victim), f"{victim.worker_id} leaves {node}", SOON_S)
            took_s = time.monotonic() - began_s
            site.testbed.wait_job(urgent, "RUNNING", timeout_s=SOON_S)
            log = site.run.paths.worker_log(victim.worker_id).read_text()
            if "preempted or cancelled" not in log:
                self.say(f"{victim.worker_id} left without having seen the notice")
        finally:
            site.testbed.run(["scancel", urgent], check=False)
        self.say(f"preempted: {victim.worker_id} on {node}, gone after {took_s:.1f} s")
        return took_s

    def kill_head(self) -> float:
        """kill -9 of the head's process. Seconds until its job has another one that answers."""
        site = self.site
        address = HeadAddress.decode(site.run.paths.head_json.read_bytes())
        began_s = time.monotonic()
        os.kill(address.pid, signal.SIGKILL)

        def back() -> bool:
            with contextlib.suppress(FileNotFoundError):
                # To ask one that is dead takes seconds.
                if HeadAddress.decode(site.run.paths.head_json.read_bytes()).epoch == address.epoch:
                    return False
            status = site.status()
            return status is not None and status.view.epoch > address.epoch

        site.wait(back, "the head is started again", SOON_S)
        took_s = time.monotonic() - began_s
        self.say(f"head killed on {address.host}, back after {took_s:.1f} s")
        return took_s

    def cut(self) -> float:
        """The cable of a node whose worker runs a task is pulled, and put back when Slurm has given the node
        up. Seconds until the head has given up the worker."""
        site = self.site
        head = HeadAddress.decode(site.run.paths.head_json.read_bytes()).host
        victim = site.wait(
            lambda: self._busy("", but=head), "a worker beside the head's node runs a task", SOON_S
        )
        node = victim.nodes[0]
        began_s = time.monotonic()
        site.testbed.cut(node)
        try:
            site.wait(lambda: self._gone(victim), f"{victim.worker_id} on {node} is given up", SOON_S)
            took_s = time.monotonic() - began_s
            site.testbed.wait_state(node, "down", "down*", timeout_s=SOON_S)
        finally:
            site.testbed.heal(node)
        site.testbed.wait_state(node, "idle", "mixed", "allocated", timeout_s=SOON_S)
        self.say(f"cut: {node} with {victim.worker_id}, given up after {took_s:.1f} s, healed")
        return took_s

    def near_its_end(self, pool: str, within_s: float) -> WorkerRow:
        """A worker of that pool whose allocation ends within that time."""

        def found() -> WorkerRow | None:
            for worker in self.site.fleet():
                if worker.kind == pool and worker.ends_in_s is not None and worker.ends_in_s < within_s:
                    return worker
            return None

        return self.site.wait(found, f"a worker of {pool} nears its walltime", SOON_S)

    # -- inside ------------------------------------------------------------------------------------------

    def _busy(self, kind: str, but: str = "") -> WorkerRow | None:
        """A worker that runs a task and has time: of a kind that begins so, not on node `but`."""
        for worker in self.site.fleet():
            long = worker.ends_in_s is None or worker.ends_in_s > 120
            if worker.running and long and worker.kind.startswith(kind) and but not in worker.nodes:
                return worker
        return None

    def _gone(self, victim: WorkerRow) -> bool:
        status = self.site.status()
        if status is None:
            return False
        return all(worker.worker_id != victim.worker_id for worker in status.view.workers)

    def _reachable(self, node: str) -> int:
        """GPUs of a node that no job of its own partition holds."""
        text = self.site.testbed.run(["squeue", "-h", "-r", "-w", node, "-t", "R", "-o", "%P|%b"]).stdout
        rows = [line.split("|") for line in text.splitlines()]
        return GPUS - sum(partition != "spot" and "gpu" in gres for partition, gres in rows)
