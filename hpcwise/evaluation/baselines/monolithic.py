"""One model for the whole film: StreamWise's monolithic comparison (section 5.2; like StreamDiffusionV2).

No model makes a podcast from end to end, so the paper emulates one by the lip-sync model alone, which draws
the whole film at its full size: one set of replicas holds everything there is to do, text encoder, DiT and
VAE in one, and no model of another kind shares the work. No choice of model by stage, no mixed hardware
(a replica set is of one kind of GPU), no upscaling. Its DiT and VAE are apart only where the paper runs its
own techniques on it (`split`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Variant, Work
from hpcwise.evaluation.baselines import naive
from hpcwise.evaluation.baselines.ways import restricted
from hpcwise.evaluation.run import Context, PriceList

#: The only stages that are left of the film.
_STAGES: Final = ("denoise", "sync")


def work(context: Context, *, split: bool = False) -> Work:
    """The podcast by one model. split: its DiT and VAE in replicas of their own."""
    whole = restricted(context, upscale=False, split=split, sync_split=split)
    [variant] = whole.variants
    stages = tuple(
        msgspec.structs.replace(stage, after=tuple(a for a in stage.after if a in _STAGES))
        for stage in variant.stages
        if stage.name in _STAGES
    )
    name = "one model" + (", sync-split" if split else "")
    return Work(name="monolith", film_s=whole.film_s, variants=(Variant(name=name, stages=stages),))


def plan(
    context: Context,
    work: Work,
    pools: Sequence[Pool],
    objective: Objective | None = None,
    *,
    prices: PriceList = "paper",
) -> Plan:
    """All devices in equal replicas of the one model. Raises UsageError for more than one kind of GPU."""
    if len({pool.hardware for pool in pools if pool.devices}) > 1:
        raise UsageError("plan: one replica set is of one kind of GPU; give one pool")
    return naive.plan(context, work, pools, objective, prices=prices)
