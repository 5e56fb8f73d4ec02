"""Scheduling policies by name."""

from __future__ import annotations

from hpcwise.core.errors import UsageError
from hpcwise.core.policies.base import Placement, Policy
from hpcwise.core.policies.heft import Heft
from hpcwise.core.policies.simple import Edf, Fifo, LeastLoad, RoundRobin
from hpcwise.core.policies.streamwise import StreamWise

__all__ = ["Placement", "Policy", "policy_named", "policy_names"]


def _policies() -> tuple[Policy, ...]:
    return StreamWise(), Fifo(), Edf(), RoundRobin(), LeastLoad(), Heft()


def policy_names() -> tuple[str, ...]:
    """All names that `policy_named` knows."""
    return tuple(p.name for p in _policies())


def policy_named(name: str) -> Policy:
    """The policy called `name`; raises UsageError that lists them."""
    for policy in _policies():
        if policy.name == name:
            return policy
    raise UsageError(f"policy: {name!r} does not exist; choose one of {', '.join(policy_names())}")
