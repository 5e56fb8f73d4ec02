"""The browser of the tests: scripts/bench/chromium.py's, and a skipped test where none is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bench import chromium


class Browser(chromium.Browser):
    """One tab; a context manager. Skips the test where no Chromium is installed."""

    def __init__(self, folder: Path, *, dark: bool = False) -> None:
        try:
            super().__init__(folder, dark=dark)
        except LookupError as error:
            pytest.skip(str(error))
