"""What diffusers' first-block cache remembers from step to step: part of a loop's state.

The cache skips a step's other blocks where the first one changed little, by what it holds of an earlier step.
A loop that goes on without that would compute where it was to skip, and end in other bits; one that begins
with what another task left would skip where it was to compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

from hpcwise.models.base import LoopState

_PREFIX: Final = "cache."
#: Residuals that the cache compares a step's with, and adds in its place: of picture and, in some, of text.
_HEAD: Final = "head"
_TAILS: Final = ("tail", "tail_of_text")


def held(models: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors of all denoisers' caches, by names for a loop's state."""
    found: dict[str, torch.Tensor] = {}
    for part, model in models.items():
        for passed, state in _manager(model)._state_cache.items():
            tails = state.tail_block_residuals or ()
            fields = {_HEAD: state.head_block_residual, **dict(zip(_TAILS, tails, strict=False))}
            for field, tensor in fields.items():
                if tensor is not None:
                    found[f"{_PREFIX}{part}.{passed}.{field}"] = tensor
    return found


def begin(models: Mapping[str, Any], state: LoopState | None, device: Any) -> None:
    """Have the caches hold what `state` has of them, or nothing, whatever was left in them."""
    from hpcwise.models.diffusion.sampler import array_of

    for part, model in models.items():
        model._reset_stateful_cache()
        manager, passes = _manager(model), dict[str, dict[str, torch.Tensor]]()
        for name in state.arrays if state is not None else ():
            if name.startswith(f"{_PREFIX}{part}."):
                passed, field = name.removeprefix(f"{_PREFIX}{part}.").rsplit(".", 1)
                assert state is not None
                passes.setdefault(passed, {})[field] = array_of(state, name, device)
        for passed, fields in passes.items():
            own = manager._state_cache[passed] = manager._state_cls(*manager._init_args)
            own.head_block_residual = fields.get(_HEAD)
            own.tail_block_residuals = tuple(fields.get(name) for name in _TAILS)


def _manager(model: Any) -> Any:
    """Where the cache of a model on which it is enabled keeps its states."""
    from diffusers.hooks.first_block_cache import _FBC_LEADER_BLOCK_HOOK

    registries = (getattr(module, "_diffusers_hook", None) for module in model.modules())
    hooks = (registry.hooks.get(_FBC_LEADER_BLOCK_HOOK) for registry in registries if registry is not None)
    return next(hook for hook in hooks if hook is not None).state_manager
