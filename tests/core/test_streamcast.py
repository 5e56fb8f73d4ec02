"""StreamWise's podcast: one shot of the plan a segment, each made from its own chunk of a streamed sketch."""

from __future__ import annotations

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef
from hpcwise.core.catalogue import Catalogue, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.resources import FleetItem
from hpcwise.core.spec import Live
from hpcwise.core.streamcast import STAGE_MODELS
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload, paper_job


def made(**job: object) -> tuple[Engine, list[m.Dispatch], dict[str, tuple[InputRef, ...]]]:
    """The engine after a film of 28 s in two shots, with what was dispatched and what each call was told."""
    models = {
        name: ModelInfo(name=name, family="test", profiles={"gpu": LinearProfile(base_s=1.0)})
        for name in STAGE_MODELS.values()
    }
    fleet = (FleetItem(kind="gpu", hardware="gpu", models=tuple(models), min_workers=30, max_workers=30),)
    config = SimConfig(engine=EngineConfig(catalogue=Catalogue(models=models), fleet=fleet), warm=True)
    sent: list[m.Dispatch] = []
    told: dict[str, tuple[InputRef, ...]] = {}

    def watch(_now_s: float, _event: m.Event, commands: list[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Dispatch):
                sent.append(command)
                told[command.task_id] = simulation.engine.run_message(command).inputs

    arrivals = at_once(paper_job(duration_s=28.0, **job), "r")
    simulation = Simulation(config, arrivals, Workload(n_shots=2, shots_a_scene=1), watch=watch)
    assert simulation.run().requests[0].state == "done"
    return simulation.engine, sent, told


def test_a_film_has_a_shot_for_every_segment_and_the_tasks_of_table_4() -> None:
    engine, sent, _ = made()
    stages: dict[str, int] = {}
    for command in sent:
        stage = command.task_id.split("/")[1]
        stages[stage] = stages.get(stage, 0) + 1
    assert stages == {
        "document": 1, "screenplay": 1, "image": 1, "speech": 2, "detect": 2, "sketch": 2, "decode": 8,
        "sync": 8, "upscale": 8,
    }  # fmt: skip
    assert [s.task_id for s in engine.state.requests["r"].shots] == [f"r/upscale/{i:04d}" for i in range(8)]


def test_a_worker_is_told_which_chunk_of_the_stream_it_needs() -> None:
    _, _, told = made()
    for index in range(8):
        [latents] = told[f"r/decode/{index:04d}"]
        assert (latents.name, latents.kind, latents.only) == ("latents", "stream", index % 4)
        assert latents.n_chunks > index % 4


def test_segments_of_one_shot_have_keys_of_their_own() -> None:
    _, sent, _ = made()
    assert len({command.key for command in sent}) == len(sent)


def test_the_plan_of_the_film_finds_each_segments_part_of_its_shots_speech() -> None:
    engine, _, _ = made()
    plan = engine.film_plan("r", live=False)
    tasks = engine.state.tasks
    assert [s.speech_key for s in plan.segments] == [tasks["r/speech/0000"].key] * 4 + [
        tasks["r/speech/0004"].key
    ] * 4
    assert [s.first_frame for s in plan.segments[:5]] == [0, 80, 161, 242, 0]
    assert sum(s.frames for s in plan.segments) == 28 * 23


def test_without_upscaling_the_sync_model_draws_the_film_at_full_size_in_more_steps() -> None:
    engine, _, _ = made(upscale=False)
    shots = engine.state.requests["r"].shots
    assert [s.task_id for s in shots] == [f"r/sync/{i:04d}" for i in range(8)]
    chosen = engine.state.tasks["r/sync/0000"].spec.alternatives[0]
    film = {"film_width": 1280, "film_height": 800}
    assert chosen.params == {"steps": 20, "render_width": 1280, "render_height": 800, **film}


def test_a_lower_rung_is_drawn_smaller_in_fewer_steps_and_not_enlarged() -> None:
    engine, _, _ = made(ladder=("low",))
    chosen = engine.state.tasks["r/sync/0000"].spec.alternatives[0]
    assert chosen.tier == "low"
    film = {"film_width": 1280, "film_height": 800}
    # 200 is none that a VAE of 8 and patches of 2 divide.
    assert chosen.params == {"steps": 5, "render_width": 320, "render_height": 192, **film}
    assert not any("/upscale/" in name for name in engine.state.tasks)


def adaptive(seconds: float = 8.0, **job: object) -> tuple[Engine, list[m.SetAlternative]]:
    """A live film of 112 s whose best rung takes `seconds` a segment on each of four workers."""
    times = {"fantasytalking": {"steps": seconds / 20, "frame_mpx": seconds / 0.512}}
    models = {
        name: ModelInfo(
            name=name, family="test",
            profiles={"gpu": LinearProfile(base_s=0.05, per=times.get(name, {"frame_mpx": 0.5}))},
        )
        for name in STAGE_MODELS.values()
    }  # fmt: skip
    rest = tuple(sorted(models.keys() - {"fantasytalking"}))
    fleet = tuple(
        FleetItem(kind=kind, hardware="gpu", models=hosted, min_workers=n, max_workers=n)
        for kind, hosted, n in (("gpu", ("fantasytalking",), 4), ("rest", rest, 12))
    )
    config = SimConfig(engine=EngineConfig(catalogue=Catalogue(models=models), fleet=fleet), warm=True)
    moved: list[m.SetAlternative] = []

    def watch(_now_s: float, _event: m.Event, commands: list[m.Command]) -> None:
        simulation.engine.check()
        moved.extend(c for c in commands if isinstance(c, m.SetAlternative))

    fields = {"slo": Live(ttff_s=5.0), "ladder": ("high", "medium", "low"), "fixed_ladder": False, **job}
    arrivals = at_once(paper_job(duration_s=112.0, **fields), "r")
    simulation = Simulation(config, arrivals, Workload(n_shots=8, shots_a_scene=1), watch=watch)
    [result] = simulation.run().requests
    assert result.state == "done"
    return simulation.engine, moved


def tiers(engine: Engine) -> list[str]:
    """The rung at which each segment was shown."""
    tasks = (engine.state.tasks[shot.task_id] for shot in engine.state.requests["r"].shots)
    return [task.spec.alternatives[task.alternative].tier for task in tasks]


def test_an_adaptive_film_begins_low_and_is_at_its_best_for_the_rest() -> None:
    engine, _ = adaptive()
    shown = tiers(engine)
    assert shown[0] == "low" and shown[-16:] == ["high"] * 16
    first = {tier: shown.index(tier) for tier in dict.fromkeys(shown)}
    assert first["low"] < first["high"]
    request = engine.state.requests["r"]
    assert request.published[0][0] < 5.0
    # Shown without a stall, then made again at their best for film.mp4.
    assert request.film_version == 2
    remade = [name for name in engine.state.tasks if name.endswith("/remake")]
    assert len(remade) == len([tier for tier in shown if tier != "high"])
    for index, tier in enumerate(shown):
        if tier == "medium":  # made anew from what its whole chain was made from
            again = engine.state.tasks[f"r/sync/{index:04d}/remake/sync"].spec
            assert {e.name: e.source for e in again.inputs} == {
                "video": f"r/decode/{index:04d}", "speech": f"r/speech/{index // 4 * 4:04d}",
            }  # fmt: skip


def test_segments_that_were_decided_do_not_count_again() -> None:
    """Not on the workers that enlarge, nor twice on the one that has them: the film rises and stays."""
    engine, _ = adaptive()
    shown = tiers(engine)
    order = {"low": 0, "medium": 1, "high": 2}
    assert shown == sorted(shown, key=order.__getitem__)


def test_high_and_medium_segments_are_synced_small_then_enlarged_and_a_low_one_is_one_task() -> None:
    engine, _ = adaptive()
    tasks = engine.state.tasks
    for index, tier in enumerate(tiers(engine)):
        last = tasks[f"r/sync/{index:04d}"]
        chain = tasks.get(f"r/sync/{index:04d}/sync")
        if tier != "low":
            assert last.spec.stage == "upscale" and chain is not None
            assert chain.spec.alternatives[0].params["render_width"] == (640 if tier == "high" else 320)
            assert [e.name for e in chain.spec.inputs] == ["video", "speech"]
            assert chain.tail_s > last.tail_s > 0
        else:
            assert last.spec.stage == "sync" and chain is None
    plan = engine.film_plan("r", live=False)
    assert all(segment.speech_key for segment in plan.segments)
    assert sum(segment.frames for segment in plan.segments) == 112 * 23


def test_a_sketch_goes_with_the_first_segment_that_is_made_from_it() -> None:
    engine, moved = adaptive()
    tasks = engine.state.tasks
    assert any("/sketch/" in c.task_id for c in moved)
    first = tasks["r/sketch/0000"]
    assert first.spec.alternatives[first.alternative].params["render_width"] == 256
    last = tasks["r/sketch/0028"]
    assert last.spec.alternatives[last.alternative].params["render_width"] == 512


def test_enough_workers_lower_nothing() -> None:
    engine, moved = adaptive(seconds=1.0)
    assert moved == [] and set(tiers(engine)) == {"high"}
