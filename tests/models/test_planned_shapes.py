"""What the planner asks of the models in configs/models, their adapters draw as it is asked: nothing is
refused, and no frame more is drawn than the features count."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.config import EngineConfig
from hpcwise.core.resources import FleetItem
from hpcwise.core.state import RequestRecord
from hpcwise.core.streamcast import Crew, filmed, first_tasks
from hpcwise.head.settings import read_models
from hpcwise.models.registry import Registry
from hpcwise.sim.workload import paper_job

CONFIGS = Path(__file__).parents[2] / "configs" / "models"
CARDS = read_models(CONFIGS)
#: Of every family that draws video, and the stage of the podcast that it may be.
VIDEO = {
    name: "animate" if "animate" in info.stages else "sketch"
    for name, info in CARDS.items()
    if info.family in ("diffusers", "framepack") and {"animate", "sketch"} & set(info.stages)
}


@pytest.mark.parametrize("name", VIDEO)
@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(64, 960).map(lambda n: 2 * n), height=st.integers(64, 540).map(lambda n: 2 * n),
    shot_s=st.floats(0.5, 40.0), devices=st.sampled_from((1, 2, 4, 8, 16)),
    tier=st.sampled_from(("high", "medium", "low")),
)  # fmt: skip
def test_every_card_that_draws_video_takes_what_the_planner_asks_of_it(
    name: str, width: int, height: int, shot_s: float, devices: int, tier: str
) -> None:
    from hpcwise.models.diffusion.grid import Grid, fitted
    from hpcwise.models.diffusion.options import DiffuseParams, DiffusersOptions, converted

    info, card = CARDS[name], Registry.read(CONFIGS, Path("nowhere")).card(name)
    options = converted(card.options, DiffusersOptions, name)
    assert info.vae is not None
    grid = Grid(info.vae.spatial * info.vae.patch, info.vae.temporal)
    gang = FleetItem(kind="k", hardware="h", models=(name,), devices_per_node=devices)
    known = EngineConfig(catalogue=Catalogue(models=CARDS), fleet=(gang,))
    job = paper_job(width=width, height=height, models={VIDEO[name]: name})
    crew = Crew(job, known)
    chunks = max(1, math.ceil(shot_s / crew.segment_s - 1e-9))
    length_s = shot_s / chunks
    way = filmed(crew, VIDEO[name], length_s, tier, chunks)  # type: ignore[arg-type]
    asked = {"fps": job.fps, "chunks": chunks, "seconds": length_s, **way.params}
    params = converted(asked, DiffuseParams, name)
    if info.family == "framepack":  # any number of sections
        options = converted({**card.options, "most_frames": 1 << 30}, DiffusersOptions, name)
    drawn = fitted(params, options, grid, name)
    assert drawn.size == params.size
    fps = options.fps or params.fps
    assert drawn.frames >= min(length_s * fps - 1e-6 + (chunks > 1), options.most_frames)
    if info.max_frames:
        assert (drawn.frames, drawn.fps) == (params.frames, params.fps)
        assert way.features["frames"] == drawn.frames * chunks
    assert way.features["frame_mpx"] == params.size[0] * params.size[1] / 1e6


@pytest.mark.parametrize("name", [n for n, info in CARDS.items() if "image" in info.stages and info.vae])
def test_every_card_that_draws_the_set_takes_its_size(name: str) -> None:
    from hpcwise.models.diffusion.grid import Grid, fitted
    from hpcwise.models.diffusion.options import DiffuseParams, DiffusersOptions, converted

    info, card = CARDS[name], Registry.read(CONFIGS, Path("nowhere")).card(name)
    assert info.vae is not None
    known = EngineConfig(catalogue=Catalogue(models=CARDS))
    job = paper_job(width=854, height=482, models={"image": name})
    request = RequestRecord(request_id="r", ordinal=0, job=job, arrived_s=0.0)
    assert [spec.stage for spec in first_tasks(request, known).tasks] == ["document", "screenplay"]
    width, height = Crew(job, known).size("image", 1.0)
    asked = converted({"width": width, "height": height, "steps": 25}, DiffuseParams, name)
    options = converted(card.options, DiffusersOptions, name)
    side = info.vae.spatial * info.vae.patch
    assert fitted(asked, options, Grid(side, 1), name).size == (width, height)
    assert abs(width - 854) <= side / 2 and abs(height - 482) <= side / 2
