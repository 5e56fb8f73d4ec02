"""What `scripts/e2e-slurm` films: three short documents, and a pipeline of emulated models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.workflow import Edge

_KITES: Final = """# Kites that pull ships

## Abstract

Large kites can pull cargo ships across an ocean with little fuel. A kite that flies in loops pulls with
the force of a small engine. The crew needs no sail and no mast for it.

## How it works

A computer on deck steers the kite through two short lines. The kite flies two hundred metres above the
water, where the wind is steady. A winch pulls the kite back in when the wind drops below five knots.

## Results

The trial ship saved nineteen percent of its fuel on the route from Hamburg to Halifax. The kite flew on
twelve of the fifteen days at sea.

## Limitations

The kite cannot fly in a thunderstorm. Harbours do not allow it within three miles of the coast.

## Conclusion

A kite is the cheapest engine that a ship can add today.
"""
_ROOFS: Final = """# Moss roofs for hot cities

## Abstract

A layer of moss on flat roofs cools a city block without any machine. Moss holds six times its weight in
water and gives it back on hot days. It needs no soil and no gardener.

## How it works

Mats of moss are laid over felt that drinks the rain. In the sun the water leaves the mat and takes heat
with it. A white edge reflects what the moss does not take.

## Results

Rooms below the mats were four degrees cooler than those beside them. The roofs held back half of the rain
of a heavy storm.

## Limitations

Moss turns brown in a month without rain. Old roofs have to be checked before they carry wet mats.

## Conclusion

A roof of moss is a cheap answer to hot summers.
"""
_OWLS: Final = """# What owls teach fans

## Abstract

Owls fly without a sound that mice could hear. A fan whose blades copy the edge of an owl's wing is half as
loud. The shape costs nothing once the mould is made.

## How it works

The front edge of the wing is a comb that breaks the air into small swirls. A soft fringe at the back lets
them meet without a clap. Both were cut into the blades of a common fan.

## Results

The fan was nine decibels quieter at the same flow. It used two percent more power.

## Limitations

Dust fills the comb within a year. The blades must be brushed now and then.

## Conclusion

Quiet fans need no new motor, only a better edge.
"""
_VOICES: Final = (("af_heart", "am_michael"), ("bf_emma", "bm_george"))


@dataclass(frozen=True, slots=True)
class Film:
    """A film that is asked for. live: watched while it is made; else ready by a time of day."""

    name: str
    text: str
    live: bool
    seed: int

    def write(self, folder: Path, duration_s: int) -> Path:
        """Document and spec in `folder`; 320x200 at 12 frames a second and a ladder of one rung, so that
        nothing depends on how busy the machine is."""
        (folder / f"{self.name}.md").write_text(self.text, "utf-8")
        voices = _VOICES[self.seed % len(_VOICES)]
        spec: dict[str, Any] = {
            "workflow": "podcast",
            "input": f"{self.name}.md",
            "name": self.name,
            "cast": [
                {"id": "maya", "name": "Maya", "role": "host", "voice": voices[0], "look": "maya"},
                {"id": "dan", "name": "Dan", "role": "expert", "voice": voices[1], "look": "dan"},
            ],
            "duration": f"{duration_s}s",
            "resolution": "320x200",
            "fps": 12,
            "fixed_ladder": True,
            "seed": self.seed,
        }
        path = folder / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(spec, sort_keys=False), "utf-8")
        return path


KITES = Film("kites", _KITES, live=False, seed=1)
OWLS = Film("owls", _OWLS, live=True, seed=2)
ROOFS = Film("roofs", _ROOFS, live=False, seed=3)
FILMS: Final = (KITES, OWLS, ROOFS)


def pipeline(shots: int) -> JobSpec:
    """A film in which every model is emulated: speech, a streamed sketch, upscaling. Its tasks sleep."""

    def task(stage: str, shot: int, seconds: float, chunks: int, *sources: str) -> GraphTask:
        return GraphTask(
            name=f"{stage}-{shot}",
            stage=stage,
            model="emulated",
            params={
                "seconds": seconds, "steps": round(5 * seconds), "chunks": chunks, "nbytes": 100_000,
                "shot": shot,
            },
            features={"seconds": seconds},
            inputs=tuple(
                Edge(source, f"{source}-{shot}", "stream" if source == "sketch" else "finish")
                for source in sources
            ),
        )  # fmt: skip

    tasks: list[GraphTask] = []
    for shot in range(shots):
        tasks += [
            task("speech", shot, 1.0, 1),
            task("sketch", shot, 8.0, 4, "speech"),
            task("upscale", shot, 4.0, 4, "sketch"),
        ]
    return JobSpec(workflow="graph", name="emulated", graph=tuple(tasks))


def seconds_of(job: JobSpec) -> float:
    """GPU seconds that the models of an emulated pipeline take, whatever else the machine does."""
    return sum(float(task.params["seconds"]) for task in job.graph)
