"""What the ranks of test_parallel.py do. Each function runs in every process of a gang (ranks.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from hpcwise.core.errors import HpcwiseError
from hpcwise.models.base import Devices
from hpcwise.models.diffusion.checkpoint import DENOISERS
from hpcwise.models.parallel import shared
from hpcwise.models.parallel.usp import ParallelOptions
from hpcwise.models.sync.attention import AudioCondition, Conductor
from tests.models import xfuser_on_cpu
from tests.models.decoding_ranks import LATENTS, by_adapters, decoded, dies, spoiled
from tests.models.ranks import follow

#: As a pipeline calls it: sixteen tokens of three latent frames, words, and a picture's features.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny-wan2.1-t2v": {"hidden_states": (1, 16, 3, 8, 8), "encoder_hidden_states": (1, 24, 32)},
    "tiny-wan2.1-i2v": {
        "hidden_states": (1, 36, 3, 8, 8), "encoder_hidden_states": (1, 512, 32),
        "encoder_hidden_states_image": (1, 17, 4),
    },
    "tiny-flux": {
        "hidden_states": (1, 32, 16), "encoder_hidden_states": (1, 24, 32), "pooled_projections": (1, 32),
        "img_ids": (32, 3), "txt_ids": (24, 3),
    },
}  # fmt: skip


def inputs(name: str, seed: int = 1) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    made = {key: torch.randn(shape, generator=draw) for key, shape in SHAPES[name].items()}
    return {**made, "timestep": torch.tensor([500])}


def model(folder: Path, name: str) -> Any:
    import diffusers

    index = json.loads((folder / name / "model_index.json").read_text())
    cls = getattr(diffusers, index["transformer"][1])
    return cls.from_pretrained(folder / name / "transformer").eval()


class Led:
    """A model on all ranks. On rank 0 `call` is its forward; the others follow until it has left."""

    def __init__(self, devices: Devices, model: Any, options: ParallelOptions) -> None:
        self.devices, self.model = devices, model
        self.replica = shared.Replica({DENOISERS[0]: model}, options, devices, "m")

    def call(self, **named: Any) -> Any:
        with torch.no_grad():
            return self.model(**named, return_dict=False)[0]

    def done(self) -> None:
        """Rank 0: no more calls."""
        self.devices.mates.tell("m", b"")  # type: ignore[union-attr]

    def follow(self) -> None:
        """The other ranks, until rank 0 is done."""
        follow(self.devices, self.replica)


def off(devices: Devices, folder: Path, name: str, options: ParallelOptions) -> float:
    """Largest difference of one call's result from that of one process."""
    led = Led(devices, model(folder, name), options)
    if devices.rank:
        led.follow()
        return 0.0
    given = inputs(name)
    made = led.call(**given)
    led.done()
    with torch.no_grad():
        single = model(folder, name)(**given, return_dict=False)[0]
    return float((made - single).abs().max())


def named(options: ParallelOptions) -> str:
    return f"{options.cfg}x{options.ring}x{options.ulysses}"


def of_four(devices: Devices, folder: Path) -> dict[str, Any]:
    """cfg x ring x ulysses on four ranks."""
    folder = folder / "checkpoints"
    every = [
        ParallelOptions(cfg=cfg, ring=ring, ulysses=ulysses)
        for cfg, ring, ulysses in ((1, 1, 4), (1, 4, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1))
    ]
    found = {
        f"{name} {named(options)}": off(devices, folder, name, options)
        for name in ("tiny-wan2.1-i2v", "tiny-flux")
        for options in every
        # Flux's tiny one has two heads.
        if name != "tiny-flux" or (options.ring > 1)
    }
    both = ParallelOptions(ring=2, ulysses=2)
    found[f"tiny-fantasytalking {named(both)}"] = off_hearing(devices, folder, both)
    heard = heard_steps(devices, folder, ParallelOptions(cfg=2, ulysses=2))
    pictures = {name: decoded(devices, folder, name) for name in ("tiny-wan2.1-t2v", "tiny-framepack")}
    return {"off": found, "runs": guided(devices, folder), "heard": heard, "decoded": pictures}


def guided(devices: Devices, folder: Path) -> dict[str, int]:
    """Three steps of a pipeline: each of them with a condition and without. Right, and how many were run."""
    led = Led(devices, model(folder, "tiny-wan2.1-t2v"), ParallelOptions(cfg=2, ulysses=2))
    if devices.rank:
        led.follow()
        return {}
    single = model(folder, "tiny-wan2.1-t2v")
    part = led.replica.parts[DENOISERS[0]]
    runs, run = [], part._run

    def counted(*given: Any) -> Any:
        runs.append(given)
        return run(*given)

    part._run = counted  # type: ignore[assignment, method-assign]
    words = [inputs("tiny-wan2.1-t2v", seed)["encoder_hidden_states"] for seed in (5, 6)]
    for step in range(3):
        for condition in words:
            given = {**inputs("tiny-wan2.1-t2v", 10 + step), "encoder_hidden_states": condition.clone()}
            with torch.no_grad():
                wanted = single(**given, return_dict=False)[0]
            assert float((led.call(**given) - wanted).abs().max()) <= 1e-5, (step, len(runs))
    led.done()
    return {"calls": 6, "computed": len(runs)}


def off_hearing(devices: Devices, folder: Path, options: ParallelOptions) -> float:
    """The same of a Wan that hears: each rank's tokens with their own windows on the sound."""
    name = "tiny-fantasytalking"
    condition = AudioCondition.read(folder / name / "audio_condition", "m").eval()
    wan = model(folder, name)
    led = Led(devices, wan, options)
    conductor = Conductor(wan, condition)
    conductor.share(led.replica.parts[DENOISERS[0]])
    if devices.rank:
        led.follow()
        return 0.0
    alone = model(folder, name)
    results = []
    for transformer, conducts in ((wan, conductor), (alone, Conductor(alone, condition))):
        sound = torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(2))
        with torch.no_grad(), conducts.conducting(sound, 5.0, 2.5):
            for passed in ("uncond", "cond"):
                with transformer.cache_context(passed):
                    given = inputs("tiny-wan2.1-i2v")
                    results.append(transformer(**given, return_dict=False)[0])
    led.done()
    assert float((results[0] - results[1]).abs().max()) > 1e-2, "the sound is heard"
    return max(float((results[i] - results[i + 2]).abs().max()) for i in (0, 1))


def heard_steps(devices: Devices, folder: Path, options: ParallelOptions) -> dict[str, Any]:
    """Three steps of a Wan that hears, three passes each, against one process: the largest difference, and
    how many passes each call of the ranks had."""
    name = "tiny-fantasytalking"
    condition = AudioCondition.read(folder / name / "audio_condition", "m").eval()
    wan = model(folder, name)
    replica = shared.Replica({DENOISERS[0]: wan}, options, devices, "m", passes=3)
    part, conductor = replica.parts[DENOISERS[0]], Conductor(wan, condition)
    conductor.share(part)
    if devices.rank:
        follow(devices, replica)
        return {}
    runs, run = [], part._run

    def counted(passes: list[Any]) -> Any:
        runs.append(len(passes))
        return run(passes)

    part._run = counted  # type: ignore[method-assign]
    alone, words = model(folder, name), [inputs("tiny-wan2.1-i2v", seed) for seed in (5, 6)]
    results: list[list[Any]] = []
    for transformer, conducts in ((wan, conductor), (alone, Conductor(alone, condition))):
        sound = torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(2))
        found = []
        with torch.no_grad(), conducts.conducting(sound, 5.0, 2.5):
            for step in range(3):
                latents = inputs("tiny-wan2.1-i2v", 10 + step)["hidden_states"]
                for passed, given in zip(("cond", "uncond"), words, strict=True):
                    with transformer.cache_context(passed):
                        now = {
                            **given,
                            "encoder_hidden_states_image": words[0]["encoder_hidden_states_image"],
                        }
                        found.append(transformer(**{**now, "hidden_states": latents}, return_dict=False)[0])
        results.append(found)
    devices.mates.tell("m", b"")  # type: ignore[union-attr]
    offs = [float((a - b).abs().max()) for a, b in zip(*results, strict=True)]
    return {"off": max(offs), "runs": runs, "calls": len(offs)}


def of_three(devices: Devices, folder: Path) -> dict[str, Any]:
    """The three passes of a step, each on a rank of its own; a model that has but two; and an end."""
    folder = folder / "checkpoints"
    steps = heard_steps(devices, folder, ParallelOptions(cfg=3))
    two = refusal(devices, folder, ParallelOptions(cfg=3))
    return {"steps": steps, "two": two, "dies": dies(devices, folder)}


def of_two(devices: Devices, folder: Path) -> dict[str, Any]:
    """Each package on two ranks; and attention that is wrong on one of them."""
    folder, results = folder / "checkpoints", folder
    name, found = "tiny-wan2.1-t2v", {}
    ways = {"ulysses": (1, 2), "ring": (2, 1)}
    for way, (ring, ulysses) in ways.items():
        options = ParallelOptions(ring=ring, ulysses=ulysses)
        found[f"diffusers {way}"] = off(devices, folder, name, options)
    deepspeed = ParallelOptions(by="deepspeed", ulysses=2)
    found["deepspeed ulysses"] = off(devices, folder, name, deepspeed)
    found["deepspeed hears"] = off_hearing(devices, folder, deepspeed)
    heard = heard_steps(devices, folder, ParallelOptions(cfg=2))
    pictures = {name: decoded(devices, folder, name) for name in LATENTS}
    adapters = by_adapters(devices, folder)
    other = spoiled(devices, results)
    refused = refusal(devices, folder, ParallelOptions(by="deepspeed", ring=2))
    ltx = refusal(devices, folder, ParallelOptions(ulysses=2), "tiny-ltx-i2v")
    xfuser_on_cpu.load()
    for way, (ring, ulysses) in ways.items():
        options = ParallelOptions(by="xfuser", ring=ring, ulysses=ulysses)
        found[f"xfuser {way}"] = off(devices, folder, name, options)
    # One rank sends its heads to the wrong place.
    if devices.rank == 1:
        from diffusers.models import attention_dispatch

        attention_dispatch._all_to_all_single = _reversed(attention_dispatch._all_to_all_single)
    wrong = refusal(devices, folder, ParallelOptions(ulysses=2))
    (results / f"wrong-{devices.rank}").write_text(wrong)
    dist.barrier()
    both = [(results / f"wrong-{rank}").read_text() for rank in range(2)]
    return {
        "off": found, "deepspeed ring": refused, "ltx": ltx, "wrong": both, "heard": heard,
        "decoded": pictures, "adapters": adapters, "spoiled": other,
    }  # fmt: skip


def _reversed(exchange: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tensor, group: exchange(tensor, group).flip(0)


def refusal(devices: Devices, folder: Path, options: ParallelOptions, name: str = "tiny-wan2.1-t2v") -> str:
    try:
        Led(devices, model(folder, name), options)
    except HpcwiseError as error:
        return f"{type(error).__name__}: {error}"
    return "served"
