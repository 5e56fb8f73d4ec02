"""What a batch gains where several tasks wait for one encoder: seconds an item, alone and together.

Layers of real width with random weights, few of them: what a batch gains is in the sizes of the matrices, not
in their number. On a GPU where torch has one, by the clock; else on one thread, by its CPU time, so that
other work on the machine does not count. Sizes are taken in turns, and the least of the rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

SIZES: Final = (1, 2, 4, 8)

#: Runs a batch of so many items.
Run = Callable[[int], object]


MAKERS: Final[Mapping[str, Callable[[], Run]]] = {
    "umt5_512": lambda: _t5(4096, 512),
    "clip_77": lambda: _clip(768),
    "yolos_base": lambda: _yolos(768, 800),
    "wav2vec2_base": lambda: _speech(768),
    "real_esrgan": lambda: _upscaler(160),
}


def gains(
    rounds: int,
    makers: Mapping[str, Callable[[], Run]] = MAKERS,
    told: Callable[[str], None] = lambda _line: None,
) -> dict[str, float]:
    """`batch_gain_NAME`: how many times less an item takes in the best batch than alone, and
    `batch_best_NAME`: how many that are; `batch_item_s_NAME`: seconds of one alone."""
    import torch

    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    torch.set_default_device("cuda" if gpu else "cpu")
    torch.set_default_dtype(torch.bfloat16 if gpu else torch.float32)

    def took_s(run: Run, size: int) -> float:
        start_s = time.perf_counter() if gpu else time.process_time()
        run(size)
        if gpu:
            torch.cuda.synchronize()
            return time.perf_counter() - start_s
        return time.process_time() - start_s

    figures: dict[str, float] = {}
    for name, make in makers.items():
        run = make()
        least = dict.fromkeys(SIZES, float("inf"))
        with torch.inference_mode():
            run(1)
            for _ in range(rounds):
                for size in SIZES:
                    least[size] = min(least[size], took_s(run, size) / size)
        best = min(SIZES[1:], key=lambda size: least[size])
        figures[f"batch_item_s_{name}"] = round(least[1], 4)
        figures[f"batch_gain_{name}"] = round(least[1] / least[best], 3)
        figures[f"batch_best_{name}"] = float(best)
        told(f"{name}: " + ", ".join(f"{size}: {least[size]:.4f} s" for size in SIZES))
    return figures


def _t5(width: int, tokens: int) -> Run:
    """An encoder layer as of UMT5-XXL, on prompts padded to what Wan reads."""
    import torch
    from transformers import UMT5Config, UMT5EncoderModel

    heads = max(1, width // 64)
    model: Any = UMT5EncoderModel(UMT5Config(
        vocab_size=1000, d_model=width, d_kv=64, d_ff=width * 5 // 2, num_heads=heads, num_layers=1,
    )).eval()  # fmt: skip
    ids = torch.randint(0, 1000, (max(SIZES), tokens))
    mask = torch.ones_like(ids)
    return lambda n: model(input_ids=ids[:n], attention_mask=mask[:n])


def _clip(width: int) -> Run:
    """Layers of CLIP's text encoder (Flux, HunyuanVideo)."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    model: Any = CLIPTextModel(CLIPTextConfig(
        vocab_size=1000, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=4,
        num_attention_heads=max(1, width // 64), eos_token_id=2, bos_token_id=1,
    )).eval()  # fmt: skip
    ids = torch.randint(3, 1000, (max(SIZES), 77))
    return lambda n: model(input_ids=ids[:n])


def _yolos(width: int, side: int) -> Run:
    """Layers of YOLOS-base, on pictures as its processor makes them."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection

    size = [side, side * 4 // 3]
    model: Any = YolosForObjectDetection(YolosConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=1,
        num_attention_heads=max(1, width // 64), image_size=size, num_detection_tokens=100,
        use_mid_position_embeddings=False,
    )).eval()  # fmt: skip
    pictures = torch.rand(max(SIZES), 3, *size)
    return lambda n: model(pixel_values=pictures[:n])


def _speech(width: int) -> Run:
    """Layers of wav2vec2-base on 3.5 s of sound, as the speech-driven model asks."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    model: Any = Wav2Vec2Model(Wav2Vec2Config(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2,
        num_attention_heads=max(1, width // 64), num_conv_pos_embedding_groups=4,
    )).eval()  # fmt: skip
    sound = torch.rand(max(SIZES), 56_000)
    return lambda n: model(sound[:n])


def _upscaler(side: int) -> Run:
    """Blocks of Real-ESRGAN x2 on tiles."""
    import torch

    from hpcwise.models.upscale.nets import Residual

    model: Any = Residual(64, 1, 2).eval()
    tiles = torch.rand(max(SIZES), 3, side, side)
    return lambda n: model(tiles[:n])
