"""What xfuser needs only to be imported and run without a GPU: a triton that is never called, a device
version, and attention that a CPU has. On GPUs nothing of this is loaded."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from typing import Any


class _Anything:
    """Stands for whatever a module asks triton for while it is read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything()

    def __call__(self, *given: Any, **named: Any) -> Any:
        return given[0] if given and callable(given[0]) else _Anything()


def _triton() -> None:
    root, language = types.ModuleType("triton"), types.ModuleType("triton.language")
    for module in (root, language):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        module.__getattr__ = _Anything().__getattr__  # type: ignore[method-assign]
    root.__path__, root.__version__, root.language = [], "0.0", language  # type: ignore[attr-defined]
    root.jit = lambda function=None, **_: function or (lambda own: own)  # type: ignore[attr-defined]
    root.autotune = root.heuristics = lambda *_, **__: lambda own: own  # type: ignore[attr-defined]
    sys.modules["triton"], sys.modules["triton.language"] = root, language


def load() -> None:
    """Once, after diffusers and transformers have been imported: they ask for triton too."""
    import diffusers
    import torch
    import transformers

    assert diffusers.WanPipeline and diffusers.FluxPipeline and transformers.UMT5EncoderModel
    if importlib.util.find_spec("triton") is None:
        _triton()
    found = importlib.util.find_spec("xfuser")
    assert found is not None and found.submodule_search_locations is not None
    # Its settings are read, and mended, before the rest of the package reads them.
    package = types.ModuleType("xfuser")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["xfuser"] = package
    import xfuser.envs as envs

    envs.get_device_version = lambda: None
    envs.get_torch_distributed_backend = lambda: "gloo"
    envs.PACKAGES_CHECKER.packages_info["has_long_ctx_attn"] = True
    del sys.modules["xfuser"]
    import xfuser.model_executor.layers.usp as usp
    import yunchang.globals
    from xfuser.core.distributed import parallel_state
    from xfuser.core.distributed.attention_backend import ATTENTION_FUNCTION_REGISTRY, AttentionBackendType

    parallel_state.HAS_LONG_CTX_ATTN = True
    usp.PROCESS_GROUP = yunchang.globals.PROCESS_GROUP

    def attention(query: Any, key: Any, value: Any, dropout_p: float, is_causal: bool, **_: Any) -> Any:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, dropout_p=dropout_p, is_causal=is_causal
        )

    ATTENTION_FUNCTION_REGISTRY[AttentionBackendType.SDPA_FLASH] = attention
