"""Sizes, rates and lengths that models can draw, and films whose tasks ask for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, ModelInfo, Vae
from hpcwise.core.config import EngineConfig
from hpcwise.core.drawing import clip_frames, drawn_size, longest_clip, replicas_of, shares_out
from hpcwise.core.parallel import gang_layout, sequence_tokens, usp_degrees
from hpcwise.core.planner import expand, first_tasks
from hpcwise.core.provisioner.shapes import work_of_job
from hpcwise.core.resources import FleetItem
from hpcwise.core.screenplay import Line, Scene, Shot
from hpcwise.core.spec import JobSpec
from hpcwise.core.state import RequestRecord, TaskRecord
from hpcwise.core.streamcast import STAGE_MODELS
from hpcwise.core.workflow import Alternative, TaskSpec
from hpcwise.head.settings import read_models
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload, paper_job

CARDS = read_models(Path(__file__).parents[2] / "configs" / "models")


def model(**changes: Any) -> ModelInfo:
    given: dict[str, Any] = {
        "name": "m", "family": "f", "max_frames": 81, "fps": 16.0, "attention_heads": 40,
        "vae": Vae(spatial=8, temporal=4, patch=2),
    }  # fmt: skip
    return ModelInfo(**{**given, **changes})


def scene(*lengths_s: float, **fields: Any) -> dict[str, Any]:
    shots = tuple(
        Shot(kind="close_up", lines=(Line(speaker="maya", text=f"Line {k}."),), expected_s=s, **fields)
        for k, s in enumerate(lengths_s)
    )
    return {"scene": msgspec.to_builtins(Scene(title="one", shots=shots, last=True))}


def planned(
    *lengths_s: float, cards: dict[str, ModelInfo], fleet: tuple[FleetItem, ...] = (), **job: Any
) -> dict[str, TaskSpec]:
    """All tasks of a film of such shots, by id without the request's."""
    known = EngineConfig(catalogue=Catalogue(models=cards), fleet=fleet)
    asked: JobSpec = paper_job(duration_s=sum(lengths_s), **job)
    request = RequestRecord(request_id="r", ordinal=0, job=asked, arrived_s=0.0)
    first = first_tasks(request, known).tasks
    writer = TaskRecord(spec=first[-1], ordinal=1)
    made = expand(request, writer, {}, scene(*lengths_s), known).tasks
    return {spec.task_id.removeprefix("r/"): spec for spec in (*first, *made)}


def test_sides_are_multiples_of_vae_and_patch_for_every_card_that_draws() -> None:
    sides = {name: drawn_size(info, (640, 400))[1] for name, info in CARDS.items() if info.vae}
    assert {sides[name] for name in ("wan-2.1", "wan-2.2", "flux", "framepack", "fantasytalking")} == {400}
    # Whose VAE and patches make 32 together.
    assert sides["wan-2.2-5b"] == sides["ltx-video"] == 384
    assert drawn_size(None, (640, 360)) == (640, 352)
    assert drawn_size(model(resolutions=((832, 480), (480, 832), (1280, 720))), (640, 360)) == (832, 480)


def test_a_clip_is_whole_latent_frames_and_no_longer_than_the_model_was_made_for() -> None:
    wan, ltx = CARDS["wan-2.1"], CARDS["ltx-video"]
    assert [clip_frames(wan, n) for n in (0, 1, 5, 56, 57, 80, 500)] == [5, 5, 5, 57, 57, 81, 81]
    assert [clip_frames(ltx, n) for n in (1, 9, 105, 500)] == [9, 9, 105, 257]
    assert longest_clip(CARDS["framepack"]) == longest_clip(None) == 0
    assert clip_frames(CARDS["framepack"], 106) == 109


@given(
    width=st.integers(64, 3840), height=st.integers(64, 2160),
    n=st.sampled_from((1, 2, 3, 4, 6, 8, 12, 16, 24)), heads=st.sampled_from((8, 24, 40)),
)  # fmt: skip
def test_a_size_that_is_drawn_can_be_shared_by_the_replicas_there_are(
    width: int, height: int, n: int, heads: int
) -> None:
    """Or no size near the wanted one can, which only small pictures and large replicas bring about."""
    info = model(attention_heads=heads)
    item = FleetItem(kind="k", hardware="h", models=("m",), nodes=1, devices_per_node=n)
    size = drawn_size(info, (width, height), replicas_of((item,), info))
    assert size[0] % 16 == size[1] % 16 == 0
    tokens = sequence_tokens(info, size)
    layout = gang_layout(heads, n, 8)
    if shares_out(info, size, n):
        assert tokens % layout.sequence == 0
        bent = max(abs(drawn / wanted - 1) for drawn, wanted in zip(size, (width, height), strict=True))
        assert bent <= max(0.26, 16 / min(width, height))
        hardware = HardwareInfo(name="h", devices_per_node=n)
        assert n in usp_degrees(info, hardware, size)
    else:
        assert width * height < 400 * 256 * n


def test_a_replica_that_pads_takes_any_size() -> None:
    item = FleetItem(kind="k", hardware="h", models=("m",), nodes=2, devices_per_node=7)
    assert replicas_of((item,), model()) == (14,)
    assert replicas_of((item,), model(pads=True)) == replicas_of((item,), model(attention_heads=0)) == ()
    assert replicas_of((msgspec.structs.replace(item, max_workers=0),), model()) == ()


def test_the_planner_asks_each_model_for_its_own_sides_rate_and_clips() -> None:
    cards = {
        "small": model(name="small", vae=Vae(spatial=16, temporal=4, patch=2), fps=24.0, max_frames=121),
        "sync": CARDS["fantasytalking"],
        "painter": model(name="painter", vae=Vae(spatial=32, patch=1), max_frames=0),
    }
    tasks = planned(
        14.0, cards=cards, width=1000, height=600,
        models={"image": "painter", "sketch": "small", "decode": "small-vae", "sync": "sync"},
    )  # fmt: skip
    assert (tasks["image"].params["width"], tasks["image"].params["height"]) == (992, 608)
    [sketch] = tasks["sketch/0000"].alternatives
    # Four chained segments of 3.5 s at 24 a second: 84 and one that is given away, as 4n + 1.
    assert sketch.params == {"steps": 10, "render_width": 384, "render_height": 256, "frames": 85, "fps": 24}
    assert sketch.features == {"film_s": 14.0, "frames": 340, "frame_mpx": 384 * 256 / 1e6, "steps": 10.0}
    assert tasks["sketch/0000"].params["chunks"] == 4
    [decode] = tasks["decode/0002"].alternatives
    assert (decode.features["frames"], decode.features["frame_mpx"]) == (85, 384 * 256 / 1e6)
    [sync] = tasks["sync/0001"].alternatives
    assert (sync.params["render_width"], sync.params["render_height"]) == (496, 304)
    assert sync.features["frames"] == 3.5 * 23


@pytest.mark.parametrize(
    ("stage", "limits", "segments"),
    [
        # 81 frames at 23 a second are 3.52 s: a segment of 3.5 s is one clip.
        ("sync", {"max_frames": 81, "fps": 23.0}, [3.5, 3.5, 3.5, 3.5]),
        # 61 frames are 2.65 s: a shot of 14 s is six segments.
        ("sync", {"max_frames": 61, "fps": 23.0}, [14 / 6] * 6),
        # 63 are no 4n + 1, so 61, of which a chained one gives one away.
        ("sketch", {"max_frames": 63, "fps": 24.0}, [14 / 6] * 6),
        ("sketch", {"max_frames": 81, "fps": 16.0}, [3.5, 3.5, 3.5, 3.5]),
    ],
)
def test_a_shot_longer_than_a_models_longest_clip_is_cut_and_its_clips_are_chained(
    stage: str, limits: dict[str, Any], segments: list[float]
) -> None:
    cards = {"it": model(name="it", **limits)}
    tasks = planned(14.0, cards=cards, models={stage: "it"})
    ways = [spec.alternatives[0] for name, spec in tasks.items() if name.startswith("sync/")]
    assert [way.features["film_s"] for way in ways] == pytest.approx(segments)
    sketch = tasks["sketch/0000"]
    assert sketch.params["chunks"] == len(segments)
    frames = sketch.alternatives[0].params.get("frames")
    if stage == "sketch":
        assert frames is not None and frames <= limits["max_frames"] and frames % 4 == 1
        # Enough for what is shown of each, whose first picture was the last one's before.
        assert frames - 1 >= segments[0] * limits["fps"]
    else:
        assert frames is None and ways[0].features["frames"] <= limits["max_frames"]
    # Every segment is made from its own chunk, and the film has all its frames.
    assert [tasks[f"decode/{k:04d}"].inputs[0].chunk for k in range(len(segments))] == [*range(len(segments))]
    shown = [spec.params["frames"] for name, spec in tasks.items() if name.startswith("sync/")]
    assert sum(shown) == 14 * 23


def test_a_shot_of_one_clip_gives_no_frame_away() -> None:
    tasks = planned(3.5, cards={"it": model(name="it")}, models={"sketch": "it"})
    assert tasks["sketch/0000"].alternatives[0].params["frames"] == 57  # 56 are shown


def test_the_size_follows_the_replicas_of_the_fleet() -> None:
    gang = FleetItem(kind="g", hardware="h", models=("fantasytalking",), nodes=2, devices_per_node=8)
    cards = {"fantasytalking": CARDS["fantasytalking"]}
    [alone] = planned(14.0, cards=cards)["sync/0000"].alternatives
    [shared] = planned(14.0, cards=cards, fleet=(gang,))["sync/0000"].alternatives

    def size(way: Alternative) -> tuple[int, int]:
        return way.params["render_width"], way.params["render_height"]

    # 40 x 25 tokens a latent frame cannot be dealt out to sixteen, 40 x 26 can.
    assert (size(alone), size(shared)) == ((640, 400), (640, 416))
    assert shared.features["frame_mpx"] == 640 * 416 / 1e6


def test_a_job_that_names_an_encoder_has_a_task_of_it_for_each_shot() -> None:
    without = planned(7.0, 7.0, cards={})
    tasks = planned(7.0, 7.0, cards={}, models={"encode": "text"})
    assert sorted(set(tasks) - set(without)) == ["encode/0000", "encode/0002"]
    encode, sketch = tasks["encode/0002"], tasks["sketch/0002"]
    assert encode.stage == "encode" and encode.inputs == () and encode.alternatives[0].model == "text"
    assert set(encode.params) == {"prompt", "negative_prompt"}
    assert [(e.name, e.source, e.kind) for e in sketch.inputs] == [
        ("image", "r/detect/0002", "finish"), ("prompt", "r/encode/0002", "finish"),
    ]  # fmt: skip
    # Its words are the conditions' recipe, and only theirs.
    assert {**sketch.params, **encode.params} == without["sketch/0002"].params
    assert "prompt" not in sketch.params and "prompt" in tasks["sync/0000"].params


def test_a_job_that_names_a_fused_model_has_no_latents_between_sketch_and_sync() -> None:
    cards = {"whole": model(name="whole", vae=Vae(spatial=16, temporal=4, patch=2), fps=24.0)}
    apart = planned(14.0, cards=cards, models={"sketch": "whole"})
    fused = planned(14.0, cards=cards, models={"animate": "whole", "encode": "text"})
    stages = [sorted({name.split("/")[0] for name in tasks}) for tasks in (apart, fused)]
    assert set(stages[0]) - set(stages[1]) == {"sketch", "decode"}
    assert set(stages[1]) - set(stages[0]) == {"animate", "encode"}
    drawn = fused["animate/0000"]
    # 81 frames at 24 a second are 3.37 s of a chained segment: 14 s are five of them.
    assert drawn.alternatives == apart["sketch/0000"].alternatives
    assert drawn.alternatives[0].params["frames"] == 69 and drawn.params["chunks"] == 5
    assert [(e.name, e.source, e.kind, e.chunk) for e in fused["sync/0003"].inputs] == [
        ("video", "r/animate/0000", "stream", 3), ("speech", "r/speech/0000", "finish", -1),
    ]  # fmt: skip


@pytest.mark.parametrize("models", [{}, {"encode": "text"}, {"animate": "whole"}])
def test_a_film_by_any_of_these_ways_is_made_and_planned_for(models: dict[str, str]) -> None:
    names = (*STAGE_MODELS.values(), "text", "whole")
    profile = LinearProfile(base_s=1.0, per={"frames": 0.01})
    cards = {name: ModelInfo(name=name, family="test", profiles={"gpu": profile}) for name in names}
    fleet = (FleetItem(kind="gpu", hardware="gpu", models=names, min_workers=6, max_workers=6),)
    engine = EngineConfig(catalogue=Catalogue(models=cards), fleet=fleet)
    job = paper_job(duration_s=28.0, models=models)
    made: list[TaskSpec] = []

    def watch(_now_s: float, _event: m.Event, commands: list[m.Command]) -> None:
        made.extend(spec for c in commands if isinstance(c, m.AddTasks) for spec in c.tasks)

    simulation = Simulation(
        SimConfig(engine=engine, warm=True),
        at_once(job, "r"),
        Workload(n_shots=2, shots_a_scene=1),
        watch=watch,
    )
    assert simulation.run().requests[0].state == "done"
    simulation.engine.check()
    # What the provisioner reckons with are these tasks: their stages, models and work.
    for variant in work_of_job(job, engine).variants[:1]:
        for stage in variant.stages:
            specs = [spec for spec in made if spec.stage == stage.name]
            assert {spec.alternatives[0].model for spec in specs} == {stage.model}, stage.name
            frames = sum(spec.alternatives[0].features.get("frames", 0.0) for spec in specs)
            assert frames == pytest.approx(stage.units * stage.features.get("frames", 0.0)), stage.name
        assert {spec.stage for spec in made} == {stage.name for stage in variant.stages}


def test_shots_with_the_same_prompt_are_encoded_once() -> None:
    cards = {
        name: ModelInfo(name=name, family="test", profiles={"gpu": LinearProfile(base_s=1.0)})
        for name in (*STAGE_MODELS.values(), "text")
    }
    fleet = (FleetItem(kind="gpu", hardware="gpu", models=tuple(cards), min_workers=4, max_workers=4),)
    config = SimConfig(engine=EngineConfig(catalogue=Catalogue(models=cards), fleet=fleet), warm=True)
    made: list[str] = []
    shared: list[str] = []

    def watch(_now_s: float, _event: m.Event, commands: list[m.Command]) -> None:
        simulation.engine.check()
        made.extend(c.task_id for c in commands if isinstance(c, m.Dispatch) and "/encode/" in c.task_id)
        shared.extend(
            c.task_id
            for c in commands
            if isinstance(c, m.AwaitTwin | m.UseArtifact) and "/encode/" in c.task_id
        )

    job = paper_job(duration_s=42.0, models={"encode": "text"})
    simulation = Simulation(config, at_once(job, "r"), Workload(n_shots=6, shots_a_scene=2), watch=watch)
    assert simulation.run().requests[0].state == "done"
    tasks = simulation.engine.state.tasks
    encoded = [name for name in tasks if "/encode/" in name]
    prompts = {tasks[name].spec.params["prompt"] for name in encoded}
    assert len(encoded) == 6 and 1 < len(prompts) < 6
    assert len(made) == len(prompts) == len({tasks[name].key for name in encoded})
    assert set(made) | set(shared) == set(encoded)
