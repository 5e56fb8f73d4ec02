"""Where the voices cannot be had the film is spoken by another, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.films import FilmSite


def test_without_kokoro_the_film_is_spoken_by_the_fallback_voice(
    site: FilmSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    card = site.configs / "models" / "kokoro-82m.yaml"
    lines = card.read_text().splitlines()
    sources = lines.index("sources:")
    # Only the local folder is left of the sources, and it is empty.
    card.write_text(
        "\n".join([*lines[: sources + 1], "  - {kind: folder, path: $HPCWISE_MODELS/none}"]) + "\n"
    )
    site.models_dir = tmp_path / "models"
    monkeypatch.setenv("HPCWISE_MODELS", str(tmp_path))
    site.start()
    site.submit(site.film(), "film")
    view = site.ended("film", 120.0)
    assert view.row.state == "done", (view.row.reason, site.log())
    shots = json.loads((site.results / "film" / "receipt.json").read_text())["shots"]
    assert {shot["speech_model"] for shot in shots} == {"fallback-voice"}
