"""A denoiser that rank 0 calls and all ranks compute.

Rank 0 runs the pipeline: conditions, sampler, guidance, checkpoints, stops. In place of the transformer's own
`forward` stands `Shared.lead`: it sends the call's tensors to the other ranks, each computes its share, and
rank 0 has the whole result. So no pipeline needs to know, and the ranks cannot disagree.

Guidance in parallel: a pipeline calls its denoiser twice a step, with the same latents and two conditions.
The second condition is known from the step before (or the film before: the negative prompt seldom changes).
So half of the ranks compute it along with the first, and when the pipeline asks for it, bit for bit as
expected, it is there; if it asks for something else, that is computed. A model that hears has three passes
a step: with sound and without, which are known together (`both`), and without anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import torch
import torch.distributed as dist

from hpcwise.core.parallel import Layout, gang_layout
from hpcwise.models.base import Devices
from hpcwise.models.parallel.calls import Header, receive, send
from hpcwise.models.parallel.group import join_group, mesh_of
from hpcwise.models.parallel.tiles import PART, SharedDecoder
from hpcwise.models.parallel.usp import ParallelOptions, check_tokens, own_tokens, parallelise

_EXTRA: Final = "extra:"


class Shared:
    """One denoiser. extra_out: what the first pass needs besides the call's arguments (rank 0); extra_in:
    takes it on the ranks of that pass, with the rank's own tokens of a sequence; on others nothing."""

    def __init__(
        self, part: str, model: Any, layout: Layout, mesh: Any, by: Any, devices: Devices, name: str
    ) -> None:
        self.layout, self._mesh = layout, mesh
        self._part, self._model, self._devices, self._name = part, model, devices, name
        parallelise(model, layout, by, mesh, devices, name)
        self._inner = model.forward
        self._names = list(inspect.signature(type(model).forward).parameters)[1:]
        self.extra_out: Callable[[], Mapping[str, Any]] = dict
        self.extra_in: Callable[[Mapping[str, Any]], None] = lambda _extra: None
        self._last: dict[str, Any] = {}
        self._other: dict[str, Any] = {}
        self._ahead: tuple[dict[str, Any], Any] | None = None
        if devices.rank == 0:
            model.forward = self.lead

    # -- rank 0 ------------------------------------------------------------------------------------------

    def lead(self, *given: Any, **named: Any) -> Any:
        """In place of the model's `forward`."""
        wanted = {**dict(zip(self._names, given, strict=False)), **named}
        plain_result = wanted.pop("return_dict", True) is False
        sample = self._results(wanted, twice=False)[0]
        if plain_result:
            return (sample,)
        from diffusers.models.modeling_outputs import Transformer2DModelOutput

        return Transformer2DModelOutput(sample=sample)

    def both(self, *given: Any, **named: Any) -> tuple[Any, Any]:
        """Side by side: the call's result with what `extra_out` gives, and without."""
        wanted = {**dict(zip(self._names, given, strict=False)), **named}
        wanted.pop("return_dict", None)
        first, second = self._results(wanted, twice=True)
        return first, second

    def _results(self, wanted: dict[str, Any], *, twice: bool) -> list[Any]:
        if self.layout.sequence > 1:
            check_tokens(self._model, self.layout, wanted, self._name)
        passes = [wanted, wanted] if twice else [wanted]
        if self.layout.cfg == 1:
            return self._run(passes)
        if self._ahead is not None:
            (expected, result), self._ahead = self._ahead, None
            if not twice and not _differing(expected, wanted):
                self._last = {}
                return [result]
        if self._last:
            between = _differing(self._last, wanted)
            # The other condition's pass of a step: the same latents at the same time.
            if between and not {"hidden_states", "timestep"} & set(between):
                self._other = between
        self._last = wanted
        other: dict[str, Any] = {}
        if len(passes) < self.layout.cfg and _fits(wanted, self._other):
            other = _differing(wanted, {**wanted, **self._other})
        if not other:
            return self._run(passes)
        *results, theirs = self._run([*passes, {**wanted, **other}])
        self._ahead = {**wanted, **other}, theirs
        return results

    def _run(self, passes: list[dict[str, Any]]) -> list[Any]:
        """The result of each pass, all at once; the first has what `extra_out` gives."""
        extra, first = self.extra_out(), passes[0]
        everything = {**first, **{_EXTRA + key: value for key, value in extra.items()}}
        for number, more in enumerate(passes[1:], 1):
            everything |= {f"{number}:{key}": value for key, value in _differing(first, more).items()}
        mates = self._devices.mates
        assert mates is not None
        send(mates, self._name, self._part, len(passes), everything, self._model.device)
        try:
            self._take(extra)
            results = [self._compute(first)]
            for number in range(1, len(passes)):
                results.append(torch.empty_like(results[0], memory_format=torch.contiguous_format))
                dist.recv(results[-1], src=number * self.layout.sequence)
        except Exception as error:
            mates.out_of_step(error)
            raise
        return results

    # -- all ranks ---------------------------------------------------------------------------------------

    def follow(self, header: Header) -> None:
        """Other ranks: this rank's share of one call of rank 0."""
        values = receive(header, self._model.device)
        group = dist.get_rank() // self.layout.sequence
        if group >= header.passes:
            return
        own, mine = f"{group}:", {key: value for key, value in values.items() if ":" not in key}
        mine |= {key.removeprefix(own): value for key, value in values.items() if key.startswith(own)}
        extra = {k.removeprefix(_EXTRA): v for k, v in values.items() if k.startswith(_EXTRA)}
        self._take({} if group else extra)
        result = self._compute(mine)
        if group and dist.get_rank() == group * self.layout.sequence:
            dist.send(result.contiguous(), dst=0)

    def _take(self, extra: Mapping[str, Any]) -> None:
        """extra, whose values named `tokens:...` are cut to this rank's tokens."""
        rank = self._devices.rank
        own = {
            key.removeprefix("tokens:"): value[own_tokens(self.layout, value.shape[0], rank)]
            if key.startswith("tokens:") and value is not None
            else value
            for key, value in extra.items()
        }
        self.extra_in(own)

    def _compute(self, named: dict[str, Any]) -> Any:
        with torch.no_grad():
            return self._inner(**named, return_dict=False)[0]


class Replica:
    """All denoisers of a pipeline, and its decoder where that is shared too. Rank 0 leads; on the others
    `assist` follows."""

    def __init__(
        self, models: Mapping[str, Any], options: ParallelOptions, devices: Devices, name: str, *,
        vae: Any = None, passes: int = 2,
    ) -> None:  # fmt: skip
        """vae: to be shared. passes: of a step. Raises UsageError for degrees that do not fit and models that
        cannot be shared, ParallelMismatch where attention or the decoder is wrong."""
        assert devices.mates is not None
        self.vae = SharedDecoder(vae, devices, name) if vae is not None else None
        layout = Layout()
        if models:
            first = next(iter(models.values()))
            per_node = devices.mates.nodes.count(devices.mates.nodes[0])
            layout = gang_layout(
                int(first.config.num_attention_heads), devices.world, per_node, passes=passes,
                cfg=options.cfg, ring=options.ring, ulysses=options.ulysses,
            )  # fmt: skip
        self.layout = layout
        devices.mates.agree()
        join_group(devices)
        if self.vae is not None:
            self.vae.verify()
        mesh = mesh_of(layout, devices.kind) if models else None
        self.parts = {
            part: Shared(part, model, layout, mesh, options.by, devices, name)
            for part, model in models.items()
        }

    def assist(self, payload: bytes) -> None:
        header = msgspec.msgpack.decode(payload, type=Header)
        if header.part == PART:
            assert self.vae is not None
            self.vae.follow(header)
        else:
            self.parts[header.part].follow(header)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `other` that are not those of `one`."""
    return {key: value for key, value in other.items() if key not in one or not _same(one[key], value)}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one is other or (
            one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
        )
    return not isinstance(one, torch.Tensor) and not isinstance(other, torch.Tensor) and bool(one == other)


def _fits(wanted: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the condition of an earlier step can stand in this call's place."""
    return bool(other) and all(
        isinstance(wanted.get(key), torch.Tensor) == isinstance(value, torch.Tensor)
        and (not isinstance(value, torch.Tensor) or wanted[key].shape == value.shape)
        for key, value in other.items()
    )
