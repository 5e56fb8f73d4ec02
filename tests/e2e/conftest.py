"""Films through real heads and workers, on a site of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.films import FilmSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FilmSite]:
    made = FilmSite(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilmSite]:
    """A site on which the film `quiet` was made without any disturbance."""
    made = FilmSite(tmp_path_factory.mktemp("undisturbed"))
    try:
        made.start()
        made.submit(made.film(), "quiet")
        view = made.ended("quiet", 120.0)
        assert view.row.state == "done", (view.row.reason, made.log())
        yield made
    finally:
        made.close()
