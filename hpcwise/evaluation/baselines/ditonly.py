"""DiT and VAE apart, and nothing else: DDiT and StreamDiT, as StreamWise ports them (section 5.2).

The sketch's transformer and its VAE get replicas of their own, each scaled by itself; everything else is the
naive partition. On few devices that costs more, as the VAE takes one that the transformer could use; on
many, only the transformer is enlarged. The artifact's policy of that name does the same, on all hardware.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Work
from hpcwise.evaluation.baselines import naive
from hpcwise.evaluation.run import Context, PriceList


def plan(
    context: Context,
    work: Work,
    pools: Sequence[Pool],
    objective: Objective | None = None,
    *,
    prices: PriceList = "paper",
) -> Plan:
    """The naive partition of a work whose DiT and VAE are apart. Raises UsageError for one where they are
    not, and where there are fewer devices than models."""
    if not any(stage.name == "decode" for stage in work.variants[0].stages):
        raise UsageError(f"plan: {work.name!r} has DiT and VAE in one replica; ask for a split variant")
    return naive.plan(context, work, pools, objective, prices=prices)
