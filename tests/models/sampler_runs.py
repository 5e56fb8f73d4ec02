"""A denoising loop that is killed, for test_samplers.py: each runs in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import diffusers
import torch

# Looked up by whoever forks this, once: these packages import a class's module when it is asked for.
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel  # noqa: F401
from transformers import T5Tokenizer, UMT5EncoderModel  # noqa: F401

from hpcwise.models.base import LoopState
from hpcwise.models.diffusion import sampler
from hpcwise.store.checkpoints import CheckpointStore
from hpcwise.store.paths import RunPaths

STEPS = 5
_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
_SHIFT = {"shift": 3.0}
#: Name of a test -> class and settings.
SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, settings)
    for settings, names in (
        (_FLOW, ("UniPCMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
                 "DEISMultistepScheduler", "SASolverScheduler")),
        (_SHIFT, ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler",
                  "FlowMatchLCMScheduler", "FlowMapEulerDiscreteScheduler")),
        ({}, ("LTXEulerAncestralRFScheduler",)),
    )
    for name in names
} | {
    "DPMSolverMultistepScheduler, stochastic": (
        "DPMSolverMultistepScheduler", {**_FLOW, "algorithm_type": "sde-dpmsolver++"},
    ),
    "FlowMatchEulerDiscreteScheduler, stochastic": (
        "FlowMatchEulerDiscreteScheduler", {**_SHIFT, "stochastic_sampling": True},
    ),
}  # fmt: skip


def loaded(folder: Path) -> Any:
    """The pipeline, on one thread."""
    torch.set_num_threads(1)
    pipe = WanPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe: Any, name: str, seed: int, kept: tuple[int, LoopState] | None, after_step: Any) -> Any:
    """Latents of a loop, from a state if there is one; after_step(steps done, state of the loop)."""
    cls, settings = SAMPLERS[name]
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    done, state = kept or (0, None)
    begin = {}
    if state is not None:
        sampler.restore_random(state, generator)
        begin = {"latents": sampler.latents_of(state, torch.device("cpu"))}
    pipe.scheduler = sampler.resumable(getattr(diffusers, cls)(**settings), state, done)

    def after(p: Any, index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        after_step(done + index + 1, lambda: sampler.loop_state(p.scheduler, tensors["latents"], generator))
        return tensors

    return pipe(
        prompt="A host", negative_prompt="", width=32, height=32, num_frames=5, guidance_scale=5.0,
        num_inference_steps=STEPS, output_type="latent", generator=generator,
        callback_on_step_end=after, **begin,
    ).frames  # fmt: skip


def killed(folder: Path, root: Path, key: str, name: str, seed: int, at: int) -> None:
    """A loop that saves after every step, until kill -9 comes after step `at`."""
    store = CheckpointStore(RunPaths(root))

    def after(step: int, state: Any) -> None:
        made = state()
        store.write(key, 0, step, made.arrays, made.facts, made.bfloat16)
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    run(loaded(folder), name, seed, None, after)
