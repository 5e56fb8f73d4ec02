"""The measuring of scripts/bench/gpu."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hpcwise.core.errors import ModelMissing
from hpcwise.core.measure import VIDEO_TERMS, Measurement, judge

#: Width, height (pixels) and frames of a clip.
Point = tuple[int, int, int]
#: One picture in latents: eight pixels a side by the VAE; four frames after the first.
_SPATIAL, _TEMPORAL, _CHANNELS = 8, 4, 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """Shape of the model and the points at which a step is timed: (width, height, frames). lengths: other
    numbers of steps of a loop at the point."""

    device: str
    dtype: torch.dtype
    heads: int
    head_dim: int
    layers: int
    ffn: int
    text: int
    text_dim: int
    point: Point
    points: tuple[Point, ...]
    steps: int
    lengths: tuple[int, ...]
    rounds: int
    vae: dict[str, Any]

    @classmethod
    def paper(cls, *, quick: bool) -> Sizes:
        """Wan 2.1 14B (its published configuration), the paper's point, and those of the artifact's runs on
        one device."""
        sides = ((512, 320), (640, 400), (832, 480), (960, 608), (1280, 720))
        frames = (17, 33, 49, 65, 81)
        points = tuple((w, h, f) for w, h in sides[: 3 if quick else 5] for f in frames[:: 2 if quick else 1])
        points += ((720, 544, 81), (784, 496, 81))
        return cls(
            "cuda", torch.bfloat16, 40, 128, 40, 13824, 512, 4096, (640, 400, 81), points, 10,
            (4,) if quick else (4, 20), 2 if quick else 3, {"base_dim": 96, "z_dim": 16},
        )  # fmt: skip

    @classmethod
    def tiny(cls) -> Sizes:
        """The same lines of code in a few seconds on a CPU."""
        points = tuple((w, 32, f) for w in (32, 48, 64, 80) for f in (5, 9, 13))
        vae = {"base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
        return cls("cpu", torch.float32, 2, 12, 2, 32, 16, 32, (48, 32, 9), points, 3, (2, 6), 3, vae)


@dataclass(frozen=True, slots=True)
class Measured:
    """device: its name. figures: seconds, watts, gigabytes (10^9), and ratios to `step_s`. missing: figures
    that could not be had here, and why."""

    device: str
    figures: dict[str, float]
    missing: dict[str, str]


def measure(sizes: Sizes, say: Callable[[str], object]) -> Measured:
    """Everything. Raises RuntimeError without the device, ModelMissing without scikit-learn."""
    if sizes.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("no CUDA device here")
    if importlib.util.find_spec("sklearn") is None:
        raise ModelMissing("fitting needs scikit-learn")
    import diffusers  # noqa: F401  # which takes seconds, and is no part of loading a model

    name = torch.cuda.get_device_name() if sizes.device == "cuda" else "cpu"
    figures: dict[str, float] = {}
    missing: dict[str, str] = {}
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
    with _power(sizes, missing) as watts:
        figures["step_s"] = _timed(model, sizes, sizes.point)
    if watts:
        figures["power_w"] = statistics.fmean(watts)
    elif "power_w" not in missing:
        missing["power_w"] = "NVML gave no sample while the steps ran"
    if sizes.device == "cuda":
        figures["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    else:
        missing["memory_gb"] = "of a GPU's memory; this is none"
    measured = []
    for point in sizes.points:
        seconds = figures[f"step_s.{shape(point)}"] = _timed(model, sizes, point)
        measured.append(Measurement(model="step", hardware=name, features=_features(point), seconds=seconds))
        say(f"step at {shape(point)}: {seconds:.4f} s")
    figures |= _fit(measured)
    figures |= _loops(model, sizes)
    for label, changed in _variants(sizes):
        figure = f"{label}_vs_plain"
        try:
            with changed(model):
                figures[figure] = _timed(model, sizes, sizes.point) / figures["step_s"]
        except (ImportError, RuntimeError, ValueError, NotImplementedError) as error:
            missing[figure] = _line(error)
    del model
    for label, weights in _weights(sizes):
        figure = f"{label}_vs_plain"
        gc.collect()
        try:
            figures[figure] = _timed(weights(_denoiser(sizes)), sizes, sizes.point) / figures["step_s"]
        except (ImportError, RuntimeError, ValueError, NotImplementedError) as error:
            missing[figure] = _line(error)
    gc.collect()
    figures |= _decoder(sizes)
    for figure, reason in missing.items():
        say(f"{figure}: not here: {reason}")
    device = name.lower().replace(" ", "-")
    return Measured(device, {key: round(value, 5) for key, value in figures.items()}, missing)


def shape(point: Point) -> str:
    """As figures name it: 640x400x81."""
    return "x".join(map(str, point))


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


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


def _given(sizes: Sizes, point: Point) -> dict[str, Any]:
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


def _step(model: Any, sizes: Sizes, point: Point) -> Any:
    """One denoising step with guidance: two passes."""
    given = _given(sizes, point)
    with torch.no_grad():
        with model.cache_context("cond"):
            made = model(**given)[0]
        with model.cache_context("uncond"):
            return made - model(**given)[0]


def _timed(model: Any, sizes: Sizes, point: Point) -> float:
    """Median seconds of a step; the first run at a point is thrown away."""
    took = []
    for _ in range(sizes.rounds + 1):
        _sync(sizes)
        started_s = time.perf_counter()
        _step(model, sizes, point)
        _sync(sizes)
        took.append(time.perf_counter() - started_s)
    return statistics.median(took[1:])


def _fit(measured: list[Measurement]) -> dict[str, float]:
    """The profile of planning on every other point, judged on the rest."""
    from hpcwise.cli.profilefit import fit_all

    ordered = sorted(measured, key=lambda m: (m.features["frame_mpx"], m.features["frames"]))
    profile = fit_all(ordered[::2], VIDEO_TERMS, source="scripts/bench/gpu", version="", measured_on="")
    verdict = judge(profile, ordered[1::2])
    return {
        "fit_r2": verdict.r2, "fit_error_mean": verdict.mape, "fit_error_max": verdict.worst,
        "fit_points": float(len(ordered)),
    }  # fmt: skip


def _features(point: Point) -> dict[str, float]:
    width, height, frames = point
    return {"steps": 1.0, "frames": float(frames), "frame_mpx": width * height / 1e6}


def _loops(model: Any, sizes: Sizes) -> dict[str, float]:
    """A whole loop as diffusers runs it, and through the sampler that can be left after any step."""
    import diffusers

    from hpcwise.models.diffusion import sampler

    def loop(scheduler: Any, steps: int, *, kept: bool) -> float:
        scheduler.set_timesteps(steps, device=sizes.device)
        given = _given(sizes, sizes.point)
        latents = given["hidden_states"][:, :_CHANNELS].float()
        generator = torch.Generator(sizes.device)
        _sync(sizes)
        started_s = time.perf_counter()
        for number, at in enumerate(scheduler.timesteps):
            noise = _step(model, sizes, sizes.point)
            latents = scheduler.step(noise.float(), at, latents, return_dict=False)[0]
            if kept and number == steps // 2:
                sampler.loop_state(scheduler, latents, generator)
        _sync(sizes)
        return time.perf_counter() - started_s

    def made() -> Any:
        flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
        return diffusers.UniPCMultistepScheduler(**flow)

    def ours(steps: int) -> float:
        return loop(sampler.resumable(made(), None, 0), steps, kept=True)

    pairs = [(ours(sizes.steps), loop(made(), sizes.steps, kept=False)) for _ in range(sizes.rounds)]
    at = shape(sizes.point)
    return {
        f"loop_s.{at}x{sizes.steps}": statistics.median(mine for mine, _ in pairs),
        **{f"loop_s.{at}x{steps}": ours(steps) for steps in sizes.lengths},
        "diffusers_loop_s": statistics.median(its for _, its in pairs),
        "loop_overhead_fraction": statistics.median(mine / its for mine, its in pairs) - 1,
    }


def _variants(sizes: Sizes) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Ways to run the same weights, each undone behind it."""

    def backend(name: str) -> Callable[[Any], Any]:
        @contextlib.contextmanager
        def within(model: Any) -> Iterator[None]:
            model.set_attention_backend(name)
            try:
                yield
            finally:
                model.reset_attention_backend()

        return within

    @contextlib.contextmanager
    def first_block(model: Any) -> Iterator[None]:
        from diffusers import FirstBlockCacheConfig

        model.enable_cache(FirstBlockCacheConfig(threshold=0.05))
        try:
            yield
        finally:
            model.disable_cache()

    @contextlib.contextmanager
    def compiled(model: Any) -> Iterator[None]:
        if sizes.device == "cpu":
            raise RuntimeError("compiling takes longer than everything else on a CPU")
        model.compile_repeated_blocks(fullgraph=True)
        try:
            yield
        finally:
            for module in model.modules():
                module._compiled_call_impl = None

    names = (
        ("native", "_native_math") if sizes.device == "cpu" else ("native", "_native_flash", "_native_cudnn")
    )
    for name in names:
        yield f"attention_{name.strip('_')}", backend(name)
    yield "first_block_cache", first_block
    yield "compile", compiled


def _weights(sizes: Sizes) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Other forms of the weights, of a model of its own."""

    def fp8(model: Any) -> Any:
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=sizes.dtype)
        return model

    def int8(model: Any) -> Any:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(model, Int8WeightOnlyConfig())
        return model

    yield "fp8_weights", fp8
    yield "int8_weights", int8


def _decoder(sizes: Sizes) -> dict[str, float]:
    """The decoder of a clip at each point, latent frame by latent frame."""
    import diffusers

    from hpcwise.models.diffusion.decode import pictures

    vae = diffusers.AutoencoderKLWan(**sizes.vae).to(sizes.device, sizes.dtype).eval()

    def decoded(point: Point) -> float:
        width, height, frames = point
        latents = torch.randn(
            (1, _CHANNELS, 1 + (frames - 1) // _TEMPORAL, height // _SPATIAL, width // _SPATIAL),
            device=sizes.device,
        )
        _sync(sizes)
        started_s = time.perf_counter()
        if sum(1 for _ in pictures(vae, latents, lambda _: None)) != frames:
            raise RuntimeError(f"the decoder made other pictures than {shape(point)}")
        _sync(sizes)
        return time.perf_counter() - started_s

    decoded(sizes.point)
    points = dict.fromkeys((sizes.point, *sizes.points))
    return {f"decode_s.{shape(point)}": decoded(point) for point in points}


@contextlib.contextmanager
def _power(sizes: Sizes, missing: dict[str, str]) -> Iterator[list[float]]:
    """Watts of the device while the block runs, ten times a second; none, and why, where NVML has none."""
    watts: list[float] = []
    if sizes.device == "cpu":
        missing["power_w"] = "NVML reads a GPU's power; this is none"
        yield watts
        return
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        pynvml.nvmlDeviceGetPowerUsage(handle)
    except Exception as error:  # NVML's errors are classes that it makes when it is loaded
        missing["power_w"] = _line(error)
        yield watts
        return
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


def _sync(sizes: Sizes) -> None:
    if sizes.device == "cuda":
        torch.cuda.synchronize()
