"""Tokens of a denoiser dealt out to the ranks, and attention over all of them.

The tokens are cut and put together by diffusers' hooks, at the places that the model's class names.
Attention is diffusers' own, xfuser's USP, or DeepSpeed's Ulysses: `options.parallel.by` of the card. Each
of them has been silently wrong in some combination of versions, so `verify` asks before a replica serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Literal

import msgspec
import torch
import torch.distributed as dist

from hpcwise.core.errors import ModelMissing, ParallelMismatch, UsageError
from hpcwise.core.parallel import Layout
from hpcwise.models.base import Devices

By = Literal["diffusers", "xfuser", "deepspeed"]
#: Largest difference of one number, for outputs of size about one.
TOLERANCE: Final = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
_TOKENS_EACH: Final = 8


class ParallelOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a model card: `parallel`. Degrees of 0 are chosen (core/parallel.py); their product is the number
    of the replica's processes. by: whose attention. vae: whether the decoder is shared too."""

    cfg: int = 1
    ring: int = 0
    ulysses: int = 0
    by: By = "diffusers"
    vae: bool = False


@dataclass(frozen=True, slots=True)
class Attention:
    """Stands where diffusers' parallel configuration stands in an attention processor: attend(query, key,
    value, mask) on [batch, own tokens, heads, width]."""

    attend: Callable[[Any, Any, Any, Any], Any]


def parallelise(model: Any, layout: Layout, by: By, mesh: Any, devices: Devices, name: str) -> None:
    """Have `model` compute its own share of the tokens on each rank of a sequence group. Raises UsageError
    for a model that cannot be cut, ParallelMismatch where attention is wrong."""
    if layout.sequence == 1:
        return
    plan = getattr(model, "_cp_plan", None)
    # With a mask the parts of the heads and those of the mask do not fit together (LTX, diffusers 0.42).
    if plan is None or any("mask" in str(key) for key in plan.get("") or ()):
        raise UsageError(
            f"model {name}: diffusers cannot cut {type(model).__name__}; give it replicas of one device"
        )
    if devices.kind == "cpu":
        from hpcwise.models.parallel import on_cpu

        on_cpu.enable()
    from diffusers import ContextParallelConfig

    config = ContextParallelConfig(ring_degree=layout.ring, ulysses_degree=layout.ulysses, mesh=mesh)
    if by == "diffusers":
        model.enable_parallelism(config=config)
    else:
        from diffusers.hooks.context_parallel import apply_context_parallel

        attention = Attention(_xfuser(layout) if by == "xfuser" else _deepspeed(layout, mesh, devices, name))
        _take_ours()
        config.setup(dist.get_rank(), dist.get_world_size(), torch.device(devices.kind), mesh)
        for processor in _processors(model):
            processor._parallel_config = attention
        apply_context_parallel(model, config, plan)
    verify(model, layout, mesh, devices, name)


def verify(model: Any, layout: Layout, mesh: Any, devices: Devices, name: str) -> None:
    """Parallel attention against that of one process, on the same random numbers. All ranks raise
    together."""
    from diffusers.models.attention_dispatch import dispatch_attention_fn

    processor = next(p for p in _processors(model) if p._parallel_config is not None)
    heads, width = int(model.config.num_attention_heads), int(model.config.attention_head_dim)
    group = mesh["ring", "ulysses"]._flatten().get_group() if layout.ring > 1 and layout.ulysses > 1 else (
        mesh["ulysses" if layout.ulysses > 1 else "ring"].get_group()
    )  # fmt: skip
    draw = torch.Generator().manual_seed(11)
    shape = 1, _TOKENS_EACH * layout.sequence, heads, width
    whole = [torch.randn(shape, generator=draw).to(model.device, model.dtype) for _ in range(3)]
    own = [part.chunk(layout.sequence, dim=1)[dist.get_rank(group)].contiguous() for part in whole]
    backend = processor._attention_backend
    with torch.no_grad():
        made = dispatch_attention_fn(*own, backend=backend, parallel_config=processor._parallel_config)
        parts = [torch.empty_like(made) for _ in range(layout.sequence)]
        dist.all_gather(parts, made.contiguous(), group=group)
        single = torch.nn.functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in whole))
    off = (torch.cat(parts, dim=1) - single.transpose(1, 2)).abs().max().float().nan_to_num(torch.inf)
    # The worst of all ranks: whether to serve is one answer.
    dist.all_reduce(off, op=dist.ReduceOp.MAX)
    if float(off) > TOLERANCE[model.dtype]:
        raise ParallelMismatch(
            f"model {name}: attention over ring {layout.ring} x ulysses {layout.ulysses} is off by "
            f"{float(off):.3g} from that of one process; try another parallel.by in its card or other degrees"
        )


def own_tokens(layout: Layout, tokens: int, rank: int) -> slice:
    """Which of the sequence's tokens this rank holds."""
    each = tokens // layout.sequence
    part = rank % layout.sequence
    return slice(part * each, (part + 1) * each)


def check_tokens(model: Any, layout: Layout, named: dict[str, Any], name: str) -> None:
    """Raises UsageError for a call whose tokens cannot be dealt out evenly, on rank 0, before the others
    wait."""
    counts = {}
    hidden = named["hidden_states"]
    if hidden.ndim == 5:
        patch = model.config.patch_size
        counts["tokens"] = (
            (hidden.shape[2] // patch[0]) * (hidden.shape[3] // patch[1]) * (hidden.shape[4] // patch[2])
        )
    for key, cut in (model._cp_plan.get("") or {}).items():
        value = named.get(key)
        if isinstance(value, torch.Tensor) and value.ndim == cut.expected_dims:
            counts[key] = value.shape[cut.split_dim]
    for what, count in counts.items():
        if count % layout.sequence:
            raise UsageError(
                f"model {name}: {count} {what} cannot be dealt out to {layout.sequence} processes; give it "
                "replicas of another size or another resolution"
            )


def _processors(model: Any) -> list[Any]:
    found = (getattr(module, "processor", None) for module in model.modules())
    return [processor for processor in found if hasattr(processor, "_parallel_config")]


def _take_ours() -> None:
    """Have diffusers' plain backend recognise `Attention`; everything else is as it was."""
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

    registry = _AttentionBackendRegistry._backends
    plain = registry[AttentionBackendName.NATIVE]
    if getattr(plain, "of_hpcwise", False):
        return

    def native(
        query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
        return_lse: bool = False, _parallel_config: Any = None,
    ) -> Any:  # fmt: skip
        if isinstance(_parallel_config, Attention):
            return _parallel_config.attend(query, key, value, attn_mask)
        return plain(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, return_lse,
                     _parallel_config)  # fmt: skip

    native.of_hpcwise = True  # type: ignore[attr-defined]
    registry[AttentionBackendName.NATIVE] = native


def _xfuser(layout: Layout) -> Callable[[Any, Any, Any, Any], Any]:
    try:
        from xfuser.core.distributed import (
            init_distributed_environment,
            initialize_model_parallel,
            model_parallel_is_initialized,
            runtime_state,
        )
        from xfuser.core.distributed.attention_backend import AttentionBackendType
        from xfuser.core.distributed.parallel_state import destroy_model_parallel
        from xfuser.model_executor.layers.usp import USP
    except ImportError as error:
        raise ModelMissing(f"parallel.by xfuser: {error}; install hpcwise[usp]") from error
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if model_parallel_is_initialized():
        destroy_model_parallel()
    init_distributed_environment(rank=dist.get_rank(), world_size=dist.get_world_size(), backend=backend)
    initialize_model_parallel(
        classifier_free_guidance_degree=layout.cfg, sequence_parallel_degree=layout.sequence,
        ulysses_degree=layout.ulysses, ring_degree=layout.ring, backend=backend,
    )  # fmt: skip
    kernel = AttentionBackendType.SDPA if layout.ring == 1 else AttentionBackendType.SDPA_FLASH
    if not runtime_state.runtime_state_is_initialized():
        # What USP asks its own engine for, which is not there: this pipeline is not xfuser's.
        runtime_state._RUNTIME = SimpleNamespace(
            attention_backend=kernel, fp8_comms=None,
            runtime_config=SimpleNamespace(use_spargeattn_head_balance=False),
        )  # fmt: skip

    def attend(query: Any, key: Any, value: Any, mask: Any) -> Any:
        if mask is not None:
            raise UsageError("parallel.by xfuser: attention with a mask; use diffusers")
        parts = (part.transpose(1, 2).contiguous() for part in (query, key, value))
        return USP(*parts, backend=kernel).transpose(1, 2).contiguous()

    return attend


def _deepspeed(layout: Layout, mesh: Any, devices: Devices, name: str) -> Callable[[Any, Any, Any, Any], Any]:
    if layout.ring > 1:
        raise UsageError(f"model {name}: parallel.by deepspeed has no ring; use ring: 1, or diffusers")
    try:
        import deepspeed
        from deepspeed.sequence.layer import DistributedAttention
    except ImportError as error:
        raise ModelMissing(f"parallel.by deepspeed: {error}; install hpcwise[usp]") from error
    if devices.kind == "cpu":
        from hpcwise.models.parallel import on_cpu

        on_cpu.without_compiler()
    deepspeed.comm.init_distributed(dist_init_required=False, auto_mpi_discovery=False)

    def local(query: Any, key: Any, value: Any) -> Any:
        parts = (part.transpose(1, 2) for part in (query, key, value))
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).contiguous()

    dealt = DistributedAttention(local, mesh["ulysses"].get_group(), scatter_idx=2, gather_idx=1)

    def attend(query: Any, key: Any, value: Any, mask: Any) -> Any:
        if mask is not None:
            raise UsageError("parallel.by deepspeed: attention with a mask; use diffusers")
        return dealt(query.contiguous(), key.contiguous(), value.contiguous(), 0)

    return attend
