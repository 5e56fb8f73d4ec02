"""What diffusers' context parallelism lacks on a machine without a GPU. Loaded for devices of kind cpu
alone, on which the tests and the tiny models run: a count of accelerators, and attention that also returns
the logarithm of its sum, which the ring adds parts up by."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import attention_dispatch


def enable() -> None:
    """Once a process; a second call changes nothing."""
    if getattr(attention_dispatch._native_attention_forward_op, "of_hpcwise", False):
        return
    if torch.accelerator.device_count() == 0:
        torch.accelerator.device_count = lambda: 1
    plain = attention_dispatch._native_attention_forward_op

    def forward(
        ctx: Any, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
        return_lse: bool = False, _save_ctx: bool = True, _parallel_config: Any = None,
    ) -> Any:  # fmt: skip
        if not return_lse:
            return plain(ctx, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa,
                         return_lse, _save_ctx, _parallel_config)  # fmt: skip
        heads_first = (part.transpose(1, 2).contiguous() for part in (query, key, value))
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *heads_first, dropout_p=dropout_p, is_causal=is_causal, attn_mask=attn_mask, scale=scale
        )
        return out.transpose(1, 2).contiguous(), lse.transpose(1, 2).contiguous()

    forward.of_hpcwise = True  # type: ignore[attr-defined]
    attention_dispatch._native_attention_forward_op = forward


def without_compiler() -> None:
    """DeepSpeed compiles a shared-memory operation when it is first asked for its group, for a minute;
    Ulysses does without it."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
