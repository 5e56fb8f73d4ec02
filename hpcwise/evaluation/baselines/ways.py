"""Which ways to make a film a comparison allows: Figs 9 and 10 add and remove StreamWise's techniques.

A technique is an option that the planner has or has not: variants of the work, kinds of pools, a price, the
planner itself. Nothing is scaled.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.options import Station
from hpcwise.core.provisioner.shapes import Workflow, work_of
from hpcwise.core.provisioner.types import Plan, StageShape, Variant, Work
from hpcwise.evaluation.rows import Point
from hpcwise.evaluation.run import Context

#: Without an upscaler sync and sketch are drawn with four times the pixels, in as many steps: what the
#: artifact reckons. The paper's text says 20 steps instead of 10, which would make everything without an
#: upscaler twice as slow.
_SIDES: Final = 2.0


def direct(flow: Workflow) -> Workflow:
    """The workflow drawn at the film's size, without an upscaler."""
    return msgspec.structs.replace(
        flow,
        upscale=False,
        sync_share=min(1.0, _SIDES * flow.sync_share),
        sketch_share=min(1.0, _SIDES * flow.sketch_share),
    )


def restricted(
    context: Context, name: str = "podcast", *, upscale: bool, split: bool, sync_split: bool = False
) -> Work:
    """One workflow with exactly one way to make it: with or without upscaler, DiT and VAE of the sketch (and
    of the sync model) apart or in one replica. Raises UsageError where the workflow has no such way."""
    flow = context.workflows[name]
    if upscale and not flow.upscale:
        raise UsageError(f"workflows.{name}: is not enlarged; ask for it without an upscaler")
    work = work_of(name, flow if upscale else direct(flow))
    words = ["upscaled" if upscale else "direct"]
    if flow.sketch:
        words.append("split" if split else "fused")
    words += ["sync-split"] if sync_split else []
    kept = tuple(variant for variant in work.variants if variant.name == ", ".join(words))
    if sync_split and not split and not kept:
        raise UsageError(f"workflows.{name}: the sync model is split only where the sketch is")
    return msgspec.structs.replace(work, variants=kept)


def ours(context: Context, name: str = "podcast", *, split: bool = True, upscale: bool = True) -> Work:
    """One workflow with every way that the planner may choose from, less what is taken from it."""
    flow = context.workflows[name]
    work = work_of(name, flow if upscale else direct(flow))
    wanted = "upscaled" if upscale and flow.upscale else "direct"
    kept = tuple(
        variant
        for variant in work.variants
        if variant.name.startswith(wanted) and (split or not _is_split(variant))
    )
    return msgspec.structs.replace(work, variants=kept)


def _is_split(variant: Variant) -> bool:
    return any(word in ("split", "sync-split") for word in variant.name.split(", "))


def video(stage: StageShape) -> bool:
    """Whether its units are segments that any number of replicas may share."""
    return stage.units > 1 and not stage.serial and not stage.share


def shareable(station: Station, shapes: tuple[StageShape, ...]) -> bool:
    """Whether more replicas of the station make the film sooner."""
    return all(video(shapes[stage]) for stage in station.stages)


def text(plan: Plan) -> str:
    """A plan's replicas on one line: `sync 4 x 1 a100, ...`."""
    return ", ".join(f"{'+'.join(r.stages)} {r.n} x {r.devices} {r.pool}" for r in plan.replicas)


def best(points: list[Point]) -> Point:
    """The one of least cost x TTFF. Raises UsageError where there is none."""
    if not points:
        raise UsageError("evaluation: no budget could be planned; give more devices")
    return min(points, key=lambda point: point.cost_usd * point.ttff_s)
