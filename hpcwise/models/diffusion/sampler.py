"""A sampler (diffusers calls it scheduler) whose loop can be left after any step and gone on with elsewhere.

A pipeline asks its sampler for the timesteps, then calls `step` for each. `resumable` gives the pipeline a
sampler of the same class that hands out only the timesteps that are left and has, when the pipeline has set
it up, the state that it had after the last step: so every pipeline of diffusers can go on in the middle,
with its own code for conditions, guidance and experts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.base import LoopState

#: Classes of diffusers that denoise along a flow, as the models here were trained, and are known to end in
#: the same bits wherever they were left (tests/models/test_samplers.py).
SUPPORTED: Final = (
    "UniPCMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler", "SASolverScheduler", "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler", "FlowMapEulerDiscreteScheduler",
    "LTXEulerAncestralRFScheduler",
)  # fmt: skip
#: Attributes of a sampler that its set-up makes again from the configuration; the rest is the loop's.
_SET_UP = frozenset({"timesteps", "sigmas", "_internal_dict", "config", "num_inference_steps"})
_PREFIX = "sampler."


def check_supported(sampler: Any, name: str) -> None:
    """Raises UsageError for a sampler of a class that is not in SUPPORTED."""
    kind = type(sampler).__name__
    if kind not in SUPPORTED:
        known = ", ".join(SUPPORTED)
        raise UsageError(
            f"model {name}: options.sampler: {kind!r} cannot be left and gone on with; use {known}"
        )


def resumable(sampler: Any, state: LoopState | None, done: int) -> Any:
    """A sampler as `sampler`, that starts after `done` calls of `step` in `state`; with None at the start."""
    cls = type(sampler)

    class Resumed(cls):  # type: ignore[valid-type, misc]
        """Only what is left is handed out; `step` itself sees all timesteps, which it counts by index."""

        @property
        def timesteps(self) -> Any:
            whole = self.__dict__["_whole"]
            return whole if self.__dict__.get("_stepping") else whole[done:]

        @timesteps.setter
        def timesteps(self, value: Any) -> None:
            self.__dict__["_whole"] = value

        @functools.wraps(cls.set_timesteps)
        def set_timesteps(self, *arguments: Any, **named: Any) -> None:
            super().set_timesteps(*arguments, **named)
            if state is not None:
                _restore(self, state)

        @functools.wraps(cls.step)
        def step(self, *arguments: Any, **named: Any) -> Any:
            self.__dict__["_stepping"] = True
            try:
                return super().step(*arguments, **named)
            finally:
                self.__dict__["_stepping"] = False

    Resumed.__name__, Resumed.__qualname__ = cls.__name__, cls.__qualname__
    return Resumed.from_config(sampler.config)


def loop_state(
    sampler: Any,
    latents: torch.Tensor,
    generator: torch.Generator,
    more: Mapping[str, torch.Tensor] | None = None,
) -> LoopState:
    """Everything that the steps to come depend on: latents, the sampler's memory, random numbers to come, and
    `more`, whatever else the loop holds."""
    arrays: dict[str, Any] = {}
    halves: list[str] = []
    plain: dict[str, Any] = {}

    def put(name: str, tensor: torch.Tensor) -> None:
        held = tensor.detach()
        # A copy: the loop goes on while this is written.
        held = held.to("cpu", copy=True) if held.device.type == "cpu" else held.cpu()
        if held.dtype == torch.bfloat16:
            halves.append(name)
            held = held.view(torch.uint16)
        arrays[name] = held.contiguous().numpy()

    put("latents", latents)
    for name, tensor in (more or {}).items():
        put(name, tensor)
    for name, value in _memory(sampler).items():
        if isinstance(value, torch.Tensor):
            put(_PREFIX + name, value)
        elif isinstance(value, list):
            plain[name] = [
                None if v is None else "tensor" if isinstance(v, torch.Tensor) else v for v in value
            ]
            for i, item in enumerate(value):
                if isinstance(item, torch.Tensor):
                    put(f"{_PREFIX}{name}.{i}", item)
        else:
            plain[name] = value
    put("random.own", generator.get_state())
    # Some samplers draw from the process's own numbers.
    put("random.cpu", torch.random.get_rng_state())
    if generator.device.type == "cuda":
        put("random.cuda", torch.cuda.get_rng_state(generator.device))
    return LoopState(arrays, {"sampler": type(sampler).__name__, "memory": plain}, tuple(halves))


def array_of(state: LoopState, name: str, device: torch.device) -> torch.Tensor:
    """A tensor of a state, on `device`."""
    return _tensor(state, name).to(device)


def latents_of(state: LoopState, device: torch.device) -> torch.Tensor:
    """The latents of a state, on `device`."""
    return _tensor(state, "latents").to(device)


def restore_random(state: LoopState, generator: torch.Generator) -> None:
    """The random numbers to come; those of another kind of device cannot be continued and start anew."""
    own = _tensor(state, "random.own")
    if own.numel() == generator.get_state().numel():
        generator.set_state(own)
    torch.random.set_rng_state(_tensor(state, "random.cpu"))
    if generator.device.type == "cuda" and "random.cuda" in state.arrays:
        torch.cuda.set_rng_state(_tensor(state, "random.cuda"), generator.device)


def _memory(sampler: Any) -> Mapping[str, Any]:
    """What a sampler remembers between two steps: the attributes that are not its set-up."""
    found: dict[str, Any] = {}
    for name, value in sorted(sampler.__dict__.items()):
        if name in _SET_UP or name in ("_whole", "_stepping"):
            continue
        flat = value if isinstance(value, list) else [value]
        if all(v is None or isinstance(v, bool | int | float | str | torch.Tensor) for v in flat):
            found[name] = list(value) if isinstance(value, list) else value
    return found


def _restore(sampler: Any, state: LoopState) -> None:
    """Raises BadOutput for the state of another sampler."""
    was = state.facts.get("sampler")
    if was != type(sampler).__name__:
        raise BadOutput(f"checkpoint of sampler {was}, this model uses {type(sampler).__name__}")
    device = sampler.__dict__["_whole"].device
    for name, value in dict(state.facts["memory"]).items():
        if isinstance(value, list):
            value = [
                _tensor(state, f"{_PREFIX}{name}.{i}").to(device) if item == "tensor" else item
                for i, item in enumerate(value)
            ]
        setattr(sampler, name, value)
    for name in state.arrays:
        field = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and "." not in field:
            # Tables that the set-up makes stay where the sampler keeps them (some on the CPU).
            held = getattr(sampler, field, None)
            setattr(sampler, field, _tensor(state, name).to(held.device if held is not None else device))


def _tensor(state: LoopState, name: str) -> torch.Tensor:
    array = np.ascontiguousarray(state.arrays[name])
    tensor = torch.from_numpy(array.copy() if not array.flags.writeable else array)
    return tensor.view(torch.bfloat16) if name in state.bfloat16 else tensor
