"""The morning's report, made by itself: `hpcwise report` for a request that ended with a ready-by contract.

Another process makes it, for it reads the whole journal and draws: the command itself, so
that the head imports nothing of it. Without matplotlib, or where the command fails, its line stands in the
log, and `hpcwise report` makes the page later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

#: The run directory's place below the folder of films, for which the command looks.
_STATE: Final = ".hpcwise"


class Morning:
    """run_dir, results: of the head. Belongs to the event loop."""

    def __init__(self, run_dir: Path, results: Path) -> None:
        self._results = results
        self._usual = run_dir.absolute() == (results / _STATE).absolute()
        self._making: set[asyncio.Task[None]] = set()

    def ended(self, request_id: str) -> None:
        """Its receipt is written: make its report, if anything was promised."""
        if self._usual and (self._results / request_id / "contract.json").is_file():
            task = asyncio.get_running_loop().create_task(self._make(request_id))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def close(self, patience_s: float) -> None:
        """Wait for what is being made; what takes too long is ended."""
        if self._making:
            _, late = await asyncio.wait(self._making, timeout=patience_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _make(self, request_id: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hpcwise", "report", request_id, "--run-dir", str(self._results),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, "MPLBACKEND": "Agg"},
        )  # fmt: skip
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
            raise
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            log.warning("no report of %s: %s", request_id, last[0] if last else "the command failed")
        else:
            log.info("report of %s is there", request_id)
