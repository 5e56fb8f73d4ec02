"""Whether this worker's device and its way to the store are well enough to work on.

Looked at when the worker starts, when it has been idle for a while, and behind an error that a sick device
may have caused. Who is not well says so and leaves; its node is avoided by new launches (docs/gpu.md).
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hpcwise.core.errors import Unhealthy
from hpcwise.models.base import Devices
from hpcwise.store.paths import translate_oserror
from hpcwise.worker.nvml import Gpu, Gpus, asked, is_lost

log = logging.getLogger(__name__)

#: A driver that does not answer for so long will not, seconds.
ANSWER_S: Final = 120.0
#: Side of the matrices that are multiplied, and the largest of their numbers: sums stay below 2^24, so that
#: float32, and what tensor cores make of it, is exact.
_SIDE: Final = 512
_MOST: Final = 11
_BLOCK: Final = 1 << 16

Product = Callable[[Any, Any], Any]


class Health:
    """compute: how a product of two matrices, arrays of float32, is made on the device, or None: nothing to
    try. Asked for once the cards are well, as it may take seconds to say."""

    def __init__(
        self, gpus: Gpus, folder: Path, compute: Callable[[], Product | None], durable: bool
    ) -> None:
        self._gpus = gpus.found
        self._trouble = gpus.trouble
        self._folder = folder
        self._compute = compute
        self._durable = durable
        self._faults: dict[str, int] = {}

    def look(self) -> None:
        """Raises Unhealthy that names the device and what is wrong with it, DiskFull where the store is."""
        self.look_at_cards()
        product = self._compute()
        if product is not None:
            self._answers(product)
        self._store()

    def wrong_cards(self) -> str:
        """What `look_at_cards` finds, empty where all are well."""
        try:
            self.look_at_cards()
        except Unhealthy as error:
            return str(error)
        return ""

    def look_at_cards(self) -> None:
        """What they have counted; errors that were there at the start are another job's. Raises Unhealthy."""
        if self._trouble:
            raise Unhealthy(self._trouble)
        for gpu in self._gpus:
            rows = _card(gpu, "nvmlDeviceGetRemappedRows")
            # Rows that wait to be replaced are not used meanwhile (from Ampere on); pages are.
            if rows is not None and rows[3]:
                raise Unhealthy(f"GPU {gpu.name}: a row of its memory is broken and could not be replaced")
            if _card(gpu, "nvmlDeviceGetRetiredPagesPendingStatus"):
                raise Unhealthy(f"GPU {gpu.name}: pages of its memory wait to be retired by a reset")
            # 1: uncorrected, 0: since the driver was loaded.
            count = _card(gpu, "nvmlDeviceGetTotalEccErrors", 1, 0)
            if count is not None and count > self._faults.setdefault(gpu.name, count):
                raise Unhealthy(f"GPU {gpu.name}: {count} uncorrected memory errors")

    def _answers(self, compute: Product) -> None:
        """A known product, in a thread: a device that is lost may not come back from a call."""
        import numpy as np

        numbers = np.arange(_SIDE * _SIDE, dtype=np.int64).reshape(_SIDE, _SIDE) * 7919 % _MOST
        left, right = numbers.astype(np.float64), (numbers.T * 31 % _MOST).astype(np.float64)
        said: list[Any] = []

        def ask() -> None:
            try:
                said.append(np.asarray(compute(left.astype(np.float32), right.astype(np.float32))))
            except BaseException as error:  # a driver may raise anything; that is the finding
                said.append(error)

        thread = threading.Thread(target=ask, name="health", daemon=True)
        thread.start()
        thread.join(ANSWER_S)
        if not said:
            raise Unhealthy(f"the device has not answered for {ANSWER_S:g} s")
        if isinstance(said[0], BaseException):
            first = (str(said[0]).strip().splitlines() or [""])[0]
            raise Unhealthy(f"the device failed at a small product: {type(said[0]).__name__}: {first}"[:300])
        wrong = int(np.count_nonzero(said[0] != left @ right))
        if wrong:
            raise Unhealthy(f"the device computes wrongly: {wrong} of {_SIDE * _SIDE} numbers of a product")

    def _store(self) -> None:
        """Written and read again. A full disk is everybody's, and no reason to leave."""
        path = self._folder / f".health-{secrets.token_hex(6)}"
        data = secrets.token_bytes(_BLOCK)
        try:
            try:
                with path.open("wb") as file:
                    file.write(data)
                    if self._durable:
                        file.flush()
                        os.fsync(file.fileno())
                read = path.read_bytes()
            finally:
                path.unlink(missing_ok=True)
        except OSError as error:
            meant = translate_oserror(error, path)
            if meant.transient:
                raise meant from error
            raise Unhealthy(f"the run directory cannot be used: {meant}") from error
        if read != data:
            raise Unhealthy(f"{path.parent}: a file that was written is read differently")


def product_on(devices: Devices, seen: Gpus) -> Product | None:
    """How a product is made on the device of this process. None where no library is there to make it, or NVML
    shows no GPU: torch takes seconds to import."""
    if devices.kind == "cpu":
        import numpy as np

        return np.matmul
    if devices.kind != "cuda" or not seen.found:
        return None
    try:
        import torch
    except ImportError:
        return None

    def product(left: Any, right: Any) -> Any:
        where = torch.device("cuda", devices.indices[0] if devices.indices else 0)
        return (torch.from_numpy(left).to(where) @ torch.from_numpy(right).to(where)).cpu().numpy()

    return product if torch.cuda.is_available() else None


def _card(gpu: Gpu, function: str, *arguments: Any) -> Any:
    """None where the card does not tell. Raises Unhealthy for one that is lost, or wants a reset."""
    try:
        return asked(function, gpu.card, *arguments)
    except Exception as error:
        if is_lost(error):
            raise Unhealthy(f"GPU {gpu.name}: {error}") from error
        log.warning("GPU %s: %s: %s", gpu.name, function, error)
        return None
