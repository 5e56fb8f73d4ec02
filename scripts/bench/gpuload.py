"""The measuring of scripts/bench/gpu."""

from __future__ import annotations

import contextlib
import functools
import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

#: One picture in latents: eight pixels a side by the VAE; four frames after the first.
_SPATIAL, _TEMPORAL, _CHANNELS = 8, 4, 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """Shape of the model and the points at which a step is timed: (width, height, frames)."""

    device: str
    dtype: torch.dtype
    heads: int
    head_dim: int
    layers: int
    ffn: int
    text: int
    text_dim: int
    point: tuple[int, int, int]
    points: tuple[tuple[int, int, int], ...]
    steps: int
    rounds: int
    vae: dict[str, Any]

    @classmethod
    def paper(cls, *, quick: bool) -> Sizes:
        """Wan 2.1 14B (its published configuration) and the paper's point."""
        sides = ((512, 320), (640, 400), (832, 480), (960, 608), (1280, 720))
        frames = (17, 33, 49, 65, 81)
        points = tuple((w, h, f) for w, h in sides[: 3 if quick else 5] for f in frames[:: 2 if quick else 1])
        return cls(
            "cuda", torch.bfloat16, 40, 128, 40, 13824, 512, 4096, (640, 400, 81), points, 10, 3,
            {"base_dim": 96, "z_dim": 16},
        )  # fmt: skip

    @classmethod
    def tiny(cls) -> Sizes:
        """The same lines of code in a second or two on a CPU."""
        points = tuple((w, 32, f) for w in (32, 48, 64, 80) for f in (5, 9, 13))
        vae = {"base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
        return cls("cpu", torch.float32, 2, 12, 2, 32, 16, 32, (48, 32, 9), points, 3, 3, vae)


def measure(sizes: Sizes, say: Callable[[str], object]) -> tuple[str, dict[str, float]]:
    """Name of the device, and the figures: seconds, watts, gigabytes (10^9). RuntimeError without it."""
    if sizes.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("no CUDA device here")
    name = torch.cuda.get_device_name() if sizes.device == "cuda" else "cpu"
    figures: dict[str, float] = {}
    started_s = time.perf_counter()
    model = _denoiser(sizes)
    _sync(sizes)
    figures["load_s"] = time.perf_counter() - started_s
    figures["parameters_b"] = sum(p.numel() for p in model.parameters()) / 1e9
    started_s = time.perf_counter()
    _step(model, sizes, sizes.point)
    _sync(sizes)
    figures["warmup_s"] = time.perf_counter() - started_s
    say(f"{name}: {figures['parameters_b']:.3g} billion parameters, loaded and warm")
    with _power(sizes) as watts:
        figures["step_s"] = _timed(model, sizes, sizes.point)
    figures |= {"power_w": statistics.fmean(watts) if watts else 0.0, "memory_gb": _memory_gb(sizes)}
    times = {}
    for point in sizes.points:
        times[point] = _timed(model, sizes, point)
        say(f"step at {point[0]}x{point[1]}, {point[2]} frames: {times[point]:.4f} s")
    figures |= _fit(times)
    figures |= _loops(model, sizes)
    for label, changed in _variants(model, sizes):
        try:
            with changed():
                figures[f"{label}_vs_plain"] = _timed(model, sizes, sizes.point) / figures["step_s"]
        except (ImportError, RuntimeError, ValueError, NotImplementedError) as error:
            say(f"{label}: not here: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    del model
    gc.collect()
    figures |= _decoder(sizes)
    return name.lower().replace(" ", "-"), {key: round(value, 5) for key, value in figures.items()}


def _denoiser(sizes: Sizes) -> Any:
    import diffusers

    with torch.device(sizes.device):
        held = torch.get_default_dtype()
        torch.set_default_dtype(sizes.dtype)
        try:
            model = diffusers.WanTransformer3DModel(
                patch_size=(1, 2, 2), num_attention_heads=sizes.heads, attention_head_dim=sizes.head_dim,
                in_channels=36, out_channels=_CHANNELS, text_dim=sizes.text_dim, freq_dim=256,
                ffn_dim=sizes.ffn, num_layers=sizes.layers, cross_attn_norm=True,
                qk_norm="rms_norm_across_heads", rope_max_seq_len=1024,
            )  # fmt: skip
        finally:
            torch.set_default_dtype(held)
    return model.eval()


def _given(sizes: Sizes, point: tuple[int, int, int]) -> dict[str, Any]:
    width, height, frames = point
    latent = (1, 36, 1 + (frames - 1) // _TEMPORAL, height // _SPATIAL // 2 * 2, width // _SPATIAL // 2 * 2)
    draw = torch.Generator(sizes.device).manual_seed(0)
    return {
        "hidden_states": torch.randn(latent, generator=draw, device=sizes.device, dtype=sizes.dtype),
        "timestep": torch.tensor([500], device=sizes.device),
        "encoder_hidden_states": torch.randn(
            (1, sizes.text, sizes.text_dim), generator=draw, device=sizes.device, dtype=sizes.dtype
        ),
        "return_dict": False,
    }


def _step(model: Any, sizes: Sizes, point: tuple[int, int, int]) -> Any:
    """One denoising step with guidance: two passes."""
    given = _given(sizes, point)
    with torch.no_grad():
        with model.cache_context("cond"):
            made = model(**given)[0]
        with model.cache_context("uncond"):
            return made - model(**given)[0]


def _timed(model: Any, sizes: Sizes, point: tuple[int, int, int]) -> float:
    """Median seconds of a step; the first run at a point is thrown away."""
    took = []
    for _ in range(sizes.rounds + 1):
        _sync(sizes)
        started_s = time.perf_counter()
        _step(model, sizes, point)
        _sync(sizes)
        took.append(time.perf_counter() - started_s)
    return statistics.median(took[1:])


def _fit(times: dict[tuple[int, int, int], float]) -> dict[str, float]:
    """The linear profile of planning (core/profiles.py) on every other point, judged on the rest."""
    points = sorted(times)
    rows = np.array([_features(point) for point in points])
    seconds = np.array([times[point] for point in points])
    fitted = np.arange(len(points)) % 2 == 0
    weights, *_ = np.linalg.lstsq(rows[fitted] / seconds[fitted, None], np.ones(fitted.sum()), rcond=None)
    guess, real = rows[~fitted] @ weights, seconds[~fitted]
    r2 = 1.0 - float(((guess - real) ** 2).sum() / ((real - real.mean()) ** 2).sum())
    worst = float(np.abs(guess / real - 1).max())
    return {"fit_r2": r2, "fit_error_max": worst, "fit_points": float(len(points))}


def _features(point: tuple[int, int, int]) -> tuple[float, ...]:
    width, height, frames = point
    mpx, latent = width * height / 1e6, 1 + (frames - 1) / _TEMPORAL
    return 1.0, mpx * latent, (mpx * latent) ** 2


def _loops(model: Any, sizes: Sizes) -> dict[str, float]:
    """A whole loop as diffusers runs it, and through the sampler that can be left after any step."""
    import diffusers

    from hpcwise.models.diffusion import sampler

    def loop(scheduler: Any, *, kept: bool) -> float:
        scheduler.set_timesteps(sizes.steps, device=sizes.device)
        given = _given(sizes, sizes.point)
        latents = given["hidden_states"][:, :_CHANNELS].float()
        generator = torch.Generator(sizes.device)
        _sync(sizes)
        started_s = time.perf_counter()
        for number, at in enumerate(scheduler.timesteps):
            noise = _step(model, sizes, sizes.point)
            latents = scheduler.step(noise.float(), at, latents, return_dict=False)[0]
            if kept and number == sizes.steps // 2:
                sampler.loop_state(scheduler, latents, generator)
        _sync(sizes)
        return time.perf_counter() - started_s

    def made() -> Any:
        flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
        return diffusers.UniPCMultistepScheduler(**flow)

    pairs = [
        (loop(sampler.resumable(made(), None, 0), kept=True), loop(made(), kept=False)) for _ in range(3)
    ]
    ratio = statistics.median(mine / its for mine, its in pairs)
    return {"loop_s": statistics.median(mine for mine, _ in pairs), "loop_overhead_fraction": ratio - 1}


def _variants(model: Any, sizes: Sizes) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Ways to run the same weights; each is undone before the next but for those that change the weights."""

    @contextlib.contextmanager
    def backend(name: str) -> Iterator[None]:
        model.set_attention_backend(name)
        try:
            yield
        finally:
            model.reset_attention_backend()

    @contextlib.contextmanager
    def first_block() -> Iterator[None]:
        from diffusers import FirstBlockCacheConfig

        model.enable_cache(FirstBlockCacheConfig(threshold=0.05))
        try:
            yield
        finally:
            model.disable_cache()

    @contextlib.contextmanager
    def fp8() -> Iterator[None]:
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=sizes.dtype)
        yield

    @contextlib.contextmanager
    def int8() -> Iterator[None]:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(model, Int8WeightOnlyConfig())
        yield

    @contextlib.contextmanager
    def compiled() -> Iterator[None]:
        model.compile_repeated_blocks(fullgraph=True)
        yield

    names = (
        ("native", "_native_math") if sizes.device == "cpu" else ("native", "_native_flash", "_native_cudnn")
    )
    for name in names:
        yield f"attention_{name.strip('_')}", functools.partial(backend, name)
    yield "first_block_cache", first_block
    if sizes.device == "cuda":
        yield "compile", compiled
        yield "int8_weights", int8
    yield "fp8_storage", fp8


def _decoder(sizes: Sizes) -> dict[str, float]:
    """The decoder of a clip at the point, latent frame by latent frame."""
    import diffusers

    from hpcwise.models.diffusion.decode import pictures

    vae = diffusers.AutoencoderKLWan(**sizes.vae).to(sizes.device, sizes.dtype).eval()
    width, height, frames = sizes.point
    latents = torch.randn(
        (1, _CHANNELS, 1 + (frames - 1) // _TEMPORAL, height // _SPATIAL, width // _SPATIAL),
        device=sizes.device,
    )
    _sync(sizes)
    started_s = time.perf_counter()
    count = sum(1 for _ in pictures(vae, latents, lambda _: None))
    _sync(sizes)
    return {"decode_s": time.perf_counter() - started_s, "decoded_frames": float(count)}


@contextlib.contextmanager
def _power(sizes: Sizes) -> Iterator[list[float]]:
    """Watts of the device while the block runs, ten times a second."""
    watts: list[float] = []
    if sizes.device == "cpu":
        yield watts
        return
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.1):
            watts.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield watts
    finally:
        over.set()
        thread.join()


def _memory_gb(sizes: Sizes) -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if sizes.device == "cuda" else 0.0


def _sync(sizes: Sizes) -> None:
    if sizes.device == "cuda":
        torch.cuda.synchronize()
