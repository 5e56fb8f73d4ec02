"""Films and pools for tests of the provisioner: StreamWise's podcast and small made-up pipelines."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, Link, ModelInfo, SizeProfile
from hpcwise.core.provisioner.shapes import WorkflowFile, work_of
from hpcwise.core.provisioner.types import Pool, StageShape, Variant, Work
from hpcwise.head.planning import read_planning
from hpcwise.head.settings import read_file

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@cache
def paper() -> Catalogue:
    """The catalogue with the artifact's profiles."""
    return read_planning(CONFIGS, "streamwise")


@cache
def workflow(name: str) -> Work:
    return work_of(name, read_file(CONFIGS / "workflows.yaml", WorkflowFile).workflows[name])


def pools(**devices: int) -> tuple[Pool, ...]:
    """Spot devices by hardware, without evictions."""
    return tuple(Pool(name=name, hardware=name, devices=n, spot=True) for name, n in devices.items())


def made_up(gpu_gb: float = 80.0, big_gb: float = 40.0, links: tuple[Link, ...] = ()) -> Catalogue:
    """Three models on two kinds of hardware; `fast` is three times as fast and as dear."""

    def model(name: str, memory_gb: float, each_s: float, heads: int) -> ModelInfo:
        def profile(factor: float) -> LinearProfile:
            sizes = {n: SizeProfile(per={"work": factor * each_s / n**0.8}) for n in (2, 4, 8)}
            return LinearProfile(per={"work": factor * each_s}, sizes=sizes if heads else {})

        profiles = {"slow": profile(1.0), "fast": profile(1 / 3)}
        return ModelInfo(
            name=name, family=name, memory_gb=memory_gb, load_s=20.0, attention_heads=heads, max_devices=8,
            profiles=profiles,
        )  # fmt: skip

    hardware = {
        name: HardwareInfo(
            name=name, usd_per_h=2.0 * factor, spot_usd_per_h=1.0 * factor, busy_w=300.0 * factor,
            idle_w=50.0, memory_gb=gpu_gb, devices_per_node=8,
        )
        for name, factor in (("slow", 1.0), ("fast", 3.0))
    }  # fmt: skip
    models = [model("write", 10, 1, 0), model("draw", big_gb, 8, 24), model("move", 30, 20, 24)]
    return Catalogue(models={m.name: m for m in models}, hardware=hardware, links=links)


def film(units: int = 20, near: str = "", film_s: float = 60.0) -> Work:
    """write -> draw -> move, one unit each for every part of the film."""

    def stage(name: str, after: tuple[str, ...], **fields: float) -> StageShape:
        of = near if name != "write" else ""
        return StageShape(
            name=name, model=name, units=units, features={"work": 1.0}, after=after, near=of, out_gb=0.01
        )

    stages = (stage("write", ()), stage("draw", ("write",)), stage("move", ("draw",)))
    return Work(name="film", film_s=film_s, variants=(Variant(name="only", stages=stages),))


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Pool, ...]:
    """One to three pools that hold the film at least once."""
    return tuple(
        Pool(
            name=f"p{i}",
            hardware=draw(st.sampled_from(("slow", "fast"))),
            devices=draw(st.integers(3 if i == 0 else 0, 24)),
            spot=draw(st.booleans()),
            queue_s=draw(st.sampled_from((0.0, 30.0))),
            warm=draw(st.booleans()),
            evictions_per_h=draw(st.sampled_from((0.0, 2.0))),
            together=draw(st.sampled_from((0.0, 1.0))),
        )
        for i in range(draw(st.integers(1, 3)))
    )
