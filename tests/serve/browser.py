"""The browser of the tests: scripts/bench/chromium.py's, and a skipped test where none is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.bench import chromium

#: What takes a second alone takes several where other tests run beside: limits only end what hangs.
PATIENCE = 4.0


class Browser(chromium.Browser):
    """One tab; a context manager. Skips the test where no Chromium is installed."""

    def __init__(self, folder: Path, *, dark: bool = False) -> None:
        try:
            super().__init__(folder, dark=dark)
        except LookupError as error:
            pytest.skip(str(error))

    def until(self, expression: str, within_s: float = 20.0) -> Any:
        """As there, `within_s` being for a machine that does nothing else."""
        return super().until(expression, within_s * PATIENCE)
