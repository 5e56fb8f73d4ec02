"""Deadlines by recursion (StreamWise section 4.5): whoever makes an input is due before whoever reads it."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, LinearProfile
from hpcwise.core.planner import STAGE_MODELS
from hpcwise.core.spec import By, JobSpec, Live
from hpcwise.core.state import ENDED
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload
from tests.sim.worlds import MODELS, catalogue, config, item, podcast

EMBEDDED = tuple(names[0] for names in STAGE_MODELS.values())


def world(seconds: list[float]) -> Catalogue:
    """Every model of both workflows with a time of its own, of which half grows with the work."""
    known = catalogue()
    plain = known.models["flux"]
    names = dict.fromkeys((*MODELS, *EMBEDDED))
    models = {
        name: msgspec.structs.replace(
            plain, name=name,
            profiles={"gpu": LinearProfile(base_s=s / 2, per={"film_s": s / 28, "speech_s": s / 28})},
        )
        for name, s in zip(names, seconds * len(names), strict=False)
    }  # fmt: skip
    return msgspec.structs.replace(known, models=models)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seconds=st.lists(st.floats(0.05, 20.0), min_size=5, max_size=13),
    workflow=st.sampled_from(("podcast", "streamwise-podcast")),
    ladder=st.sampled_from((("high",), ("high", "medium", "low"))),
    slo=st.sampled_from((Live(ttff_s=10.0), By(wall_s=900.0))),
    shots=st.integers(2, 5),
)
def test_deadlines_never_fall_along_an_edge(
    seconds: list[float], workflow: str, ladder: tuple[str, ...], slo: Live | By, shots: int
) -> None:
    known = world(seconds)
    job: JobSpec = podcast(
        60.0, workflow=workflow, ladder=ladder, fixed_ladder=len(ladder) == 1, slo=slo, input_path="a.pdf"
    )
    seen = 0

    def watch(_now_s: float, _event: m.Event, commands: list[m.Command]) -> None:
        nonlocal seen
        if not any(isinstance(c, m.AddTasks | m.ReplaceTask) for c in commands):
            return
        world_ = simulation.engine.world
        for task in simulation.engine.state.tasks.values():
            if task.state in ENDED or task.spec.remake_of:
                continue
            for edge in task.spec.inputs:
                source = simulation.engine.state.tasks[edge.source]
                if source.state in ENDED:  # made: when it was due says nothing any more
                    continue
                assert world_.deadline_s(source) <= world_.deadline_s(task) + 1e-6, (edge, task.spec.task_id)
                seen += 1

    made = config(item(12, *known.models), models=known)
    simulation = Simulation(made, at_once(job), Workload(n_shots=shots, shots_a_scene=2), watch=watch)
    simulation.run()
    assert seen >= 3
