"""The policy for a head: how many workers of each pool a request's contract wants now.

    counts = wanted(terms, night_of(terms, remaining, deadline_s, running, asked), per_node, now_s)
    engine.handle(PlanReady(version, counts), now_s)      # the engine launches and drains by it

A head's kinds of workers are the pools; `per_node` says how many of them a node holds.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hpcwise.core.cluster import Cluster
from hpcwise.core.contract import Held, Night, Submit, Terms, decide, next_look_s
from hpcwise.core.contractquote import Contract


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed with whoever asked: `contract.json` beside the film, which a head reads. Times are
    Unix time. cluster: name of its file."""

    request_id: str
    cluster: str
    made_s: float
    terms: Terms
    contract: Contract


def night_of(
    terms: Terms,
    remaining: float,
    deadline_s: float,
    running: Mapping[str, float],
    asked: Mapping[str, float],
) -> Night:
    """running: pool -> since when its workers run; asked: pool -> since when they are waited for."""
    held = []
    for i, offer in enumerate(terms.offers):
        pool = offer.pools[0]
        if pool in running:
            held.append(Held(ident=pool, offer=i, running=True, since_s=running[pool]))
        elif pool in asked:
            held.append(Held(ident=pool, offer=i, running=False, since_s=asked[pool]))
    return Night(remaining=remaining, deadline_s=deadline_s, held=tuple(held))


def wanted(terms: Terms, night: Night, per_node: Mapping[str, int], now_s: float) -> dict[str, int]:
    """Workers by pool; 0 for those that nothing is asked of any more. The rest is `PlanReady`'s."""
    actions = decide(terms, night, now_s)
    taken_back = {action.ident for action in actions if not isinstance(action, Submit)}
    wanted_now = {job.offer for job in night.held if job.ident not in taken_back}
    wanted_now |= {action.offer for action in actions if isinstance(action, Submit)}
    found = {offer.pools[0]: 0 for offer in terms.offers}
    for i in wanted_now:
        offer = terms.offers[i]
        found[offer.pools[0]] = offer.nodes * per_node[offer.pools[0]]
    return found


def per_node_of(cluster: Cluster) -> dict[str, int]:
    """Workers that a node of each pool holds: one a GPU, or one a core."""
    return {pool.pool: pool.gpus_per_node or pool.cpus_per_node for pool in cluster.pools}


__all__ = ["Agreement", "next_look_s", "night_of", "per_node_of", "wanted"]
