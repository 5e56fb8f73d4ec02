"""The loads of `scripts/bench/simulate`: the paper's podcast on the 320 GPUs of its Table 4.

Profiles are the artifact's points (configs/profiles/streamwise.yaml). What the artifact has none of is
given here: detection takes the 0.1 s and reading the document the 1.2 s of Table 4, on a host's cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.catalogue import Catalogue, LinearProfile
from hpcwise.core.config import EngineConfig
from hpcwise.core.resources import FleetItem
from hpcwise.head.planning import read_planning
from hpcwise.sim.config import SimConfig

CONFIGS: Final = Path(__file__).resolve().parents[2] / "configs"
_CORES: Final = {"yolo": 0.1, "pdf-document": 1.2}
#: Table 4, right half: model -> replicas as (hardware, GPUs of one, how many). The paper gives the GPUs of
#: each model and 12 sync instances on A100; the sizes of the other replicas are ours.
TABLE_4: Final[dict[str, tuple[tuple[str, int, int], ...]]] = {
    "gemma-3-27b": (("a100", 8, 1),),
    "flux": (("a100", 16, 1),),
    "framepack-dit": (("a100", 8, 5), ("a100", 1, 1), ("h200", 8, 1)),
    "framepack-vae": (("a100", 1, 20), ("h200", 1, 4)),
    "fantasytalking": (("a100", 8, 12), ("h200", 10, 5)),
    "real-esrgan": (("a100", 1, 74), ("h200", 2, 1)),
}


def catalogue() -> Catalogue:
    """The planning catalogue with the two profiles that it lacks."""
    found = read_planning(CONFIGS, "streamwise")
    models = dict(found.models)
    for name, seconds in _CORES.items():
        profiles = {**models[name].profiles, "cpu": LinearProfile(base_s=seconds)}
        models[name] = msgspec.structs.replace(models[name], profiles=profiles)
    return msgspec.structs.replace(found, models=models)


def config(tick_s: float, keep_ended_s: float) -> SimConfig:
    """320 GPUs that are there and hold their models."""
    known = catalogue()

    def item(model: str, hardware: str, devices: int, n: int) -> FleetItem:
        nodes = -(-devices // 8)
        return FleetItem(
            kind=f"{model}-{hardware}x{devices}",
            hardware=hardware,
            models=(model,),
            memory_gb=known.hardware[hardware].memory_gb,
            min_workers=n,
            max_workers=n,
            nodes=nodes,
            devices_per_node=devices // nodes,
            idle_timeout_s=1e9,
        )

    fleet = [item(model, *each) for model, replicas in TABLE_4.items() for each in replicas]
    fleet.append(item("kokoro-82m", "a100", 1, 1))
    fleet.append(
        FleetItem(
            kind="cores",
            hardware="cpu",
            models=tuple(_CORES),
            min_workers=2,
            max_workers=2,
            idle_timeout_s=1e9,
        )
    )
    engine = EngineConfig(catalogue=known, fleet=tuple(fleet), keep_ended_s=keep_ended_s)
    return SimConfig(engine=engine, warm=True, tick_s=tick_s)


def gpus(made: SimConfig) -> int:
    """How many GPUs the fleet of a configuration has."""
    return sum(
        i.max_workers * max(1, i.nodes) * i.devices_per_node for i in made.engine.fleet if i.hardware != "cpu"
    )
