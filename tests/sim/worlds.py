"""Small worlds whose times can be computed by hand."""

from __future__ import annotations

from typing import Any

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, Link, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.resources import FleetItem
from hpcwise.core.spec import Batch, GraphTask, JobSpec
from hpcwise.core.workflow import Edge
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload, paper_job

MODELS = {
    "pdf-document": 1.0,
    "gemma-3-27b": 2.0,
    "kokoro-82m": 0.5,
    "flux": 3.0,
    "yolo": 0.25,
    "framepack-dit": 4.0,
    "framepack-vae": 1.0,
    "fantasytalking": 6.0,
    "real-esrgan": 2.0,
}


def catalogue(**seconds: float) -> Catalogue:
    """Models that take so many seconds whatever they are asked, on `gpu`; a batch-free, load-free world."""
    models = {
        name: ModelInfo(name=name, family="test", memory_gb=1.0, profiles={"gpu": LinearProfile(base_s=s)})
        for name, s in {**MODELS, **{k.replace("_", "-"): v for k, v in seconds.items()}}.items()
    }
    hardware = {"gpu": HardwareInfo(name="gpu", usd_per_h=3.6, busy_w=100.0, idle_w=10.0)}
    return Catalogue(
        models=models, hardware=hardware, links=(Link(a="a", b="b", gb_per_s=1.0, latency_s=0.5),)
    )


def item(n: int, *models: str, kind: str = "gpu", **more: Any) -> FleetItem:
    """`n` workers that may host `models`, by default all."""
    fields: dict[str, Any] = {
        "kind": kind,
        "hardware": "gpu",
        "models": models or tuple(MODELS),
        "memory_gb": 100.0,
        "min_workers": n,
        "max_workers": n,
        "launch_s": 0.0,
        "idle_timeout_s": 1e9,
    }
    return FleetItem(**{**fields, **more})


def config(*fleet: FleetItem, models: Catalogue | None = None, **more: Any) -> SimConfig:
    """Exact times: no overhead, no noise, all workers there with everything loaded."""
    engine = EngineConfig(catalogue=models or catalogue(), fleet=fleet or (item(4),))
    fields: dict[str, Any] = {
        "engine": engine, "overhead_s": 0.0, "publish_s": 0.0, "film_s": 0.0, "warm": True, "tick_s": 1.0,
    }  # fmt: skip
    return SimConfig(**{**fields, **more})


def podcast(duration_s: float = 60.0, **more: Any) -> JobSpec:
    """A short film by the paper's workflow."""
    return paper_job(**{"duration_s": duration_s, "slo": Batch(), **more})


#: Four scenes of one shot of 14 s: four segments each.
FOUR = Workload(n_shots=4, shots_a_scene=1)


def node(name: str, model: str, *sources: str, kind: Any = "finish", **params: Any) -> GraphTask:
    edges = tuple(Edge(source, source, kind) for source in sources)
    return GraphTask(name=name, stage=name, model=model, inputs=edges, params={"name": name, **params})


def graph(*tasks: GraphTask) -> JobSpec:
    return JobSpec(workflow="graph", graph=tasks)


class Watched:
    """Collects every event with its decisions, and checks the engine's invariants after each."""

    def __init__(self) -> None:
        self.simulation: Simulation | None = None
        self.log: list[tuple[float, m.Event, list[m.Command]]] = []

    def __call__(self, now_s: float, event: m.Event, commands: list[m.Command]) -> None:
        assert self.simulation is not None
        self.simulation.engine.check()
        self.log.append((now_s, event, commands))

    def events(self, kind: type[Any]) -> list[tuple[float, Any]]:
        return [(t, e) for t, e, _ in self.log if type(e) is kind]

    def commands(self, kind: type[Any]) -> list[tuple[float, Any]]:
        return [(t, c) for t, _, found in self.log for c in found if type(c) is kind]


def watched(simulation_config: SimConfig, arrivals: Any, workload: Workload | None = None) -> Any:
    """Run under watch; (result, watch)."""
    watch = Watched()
    watch.simulation = Simulation(simulation_config, arrivals, workload, watch=watch)
    return watch.simulation.run(), watch
