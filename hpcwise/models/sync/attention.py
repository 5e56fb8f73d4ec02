"""Attention to sound in a Wan transformer, after FantasyTalking (Wang et al., arXiv 2504.04842, section 3).

Every block's cross-attention gets a third source beside text and picture: keys and values of the speech. A
token of latent frame f attends to the sound of that frame and a little around it, so that the mouth follows
the words and not the sentence. Three passes a step: words and sound, words alone, nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from hpcwise.core.errors import ModelMissing
from hpcwise.models.parallel.shared import Shared

#: Sound on either side of a latent frame's own that its tokens hear, in sound tokens.
MARGIN: Final = 4
_FILE: Final = "diffusion_pytorch_model.safetensors"


class AudioCondition(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Projects sound features [batch, tokens, audio_dim] and gives each block its keys and values. As the
    released weights have it (released.py)."""

    def __init__(self, audio_dim: int, context_dim: int, inner_dim: int, layers: int) -> None:
        super().__init__()
        self.sizes = {
            "audio_dim": audio_dim, "context_dim": context_dim, "inner_dim": inner_dim, "layers": layers,
        }  # fmt: skip
        self.proj = nn.Linear(audio_dim, context_dim, bias=False)
        self.norm = nn.LayerNorm(context_dim)
        self.keys = nn.ModuleList(nn.Linear(context_dim, inner_dim, bias=False) for _ in range(layers))
        self.values = nn.ModuleList(nn.Linear(context_dim, inner_dim, bias=False) for _ in range(layers))

    def forward(self, features: Any) -> Any:
        """Sound as the blocks hear it: [batch, tokens, context_dim]."""
        return self.norm(self.proj(features))

    def save(self, folder: Path) -> None:
        """config.json and the weights."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.sizes, indent=2))
        save_file(self.state_dict(), folder / _FILE)

    @classmethod
    def read(cls, folder: Path, name: str) -> AudioCondition:
        """Raises ModelMissing where a file lacks."""
        from safetensors.torch import load_file

        try:
            made = cls(**json.loads((folder / "config.json").read_text("utf-8")))
            made.load_state_dict(load_file(folder / _FILE))
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ModelMissing(f"model {name}: {folder} holds no audio condition: {said}") from error
        return made


class Heard:
    """What all blocks hear during one pass; `context` is None in passes without sound.

    allowed: [tokens of the video, tokens of the sound], which may attend to which.
    """

    def __init__(self) -> None:
        self.context: Any = None
        self.allowed: Any = None
        self.scale = 1.0


def windows(latent_frames: int, per_frame: int, sound_tokens: int, temporal: int = 4) -> Any:
    """allowed[video token, sound token]: each latent frame's own stretch of sound and MARGIN around it.

    per_frame: video tokens of a latent frame. The first latent frame is one picture, later ones `temporal`.
    Rounded as the released weights were trained with: a later frame hears as many tokens on either side of
    its middle, and the first one all that comes before the second one's.
    """
    pictures = 1 + temporal * (latent_frames - 1)
    of_picture = sound_tokens / pictures
    half = int(of_picture * temporal / 2)
    ends = of_picture * (1 + temporal * torch.arange(latent_frames, dtype=torch.float64))
    middle = ((ends[:-1] + ends[1:]) / 2).floor() - 1
    start = torch.cat([torch.zeros(1), middle - half - MARGIN])
    own_end = middle[:1] - half if latent_frames > 1 else torch.tensor([float(sound_tokens)])
    last = torch.cat([own_end, middle + half]) + MARGIN
    place = torch.arange(sound_tokens, dtype=torch.float64)
    of_frame = (place >= start[:, None]) & (place <= last[:, None])
    return of_frame.repeat_interleave(per_frame, dim=0)


def listening(base: Any, key: Any, value: Any, heard: Heard) -> Any:
    """A processor for one block's cross-attention: `base` (Wan's own), and what the sound adds to it."""

    class Listening(type(base)):  # type: ignore[misc]
        def __call__(
            self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, *rest: Any, **named: Any
        ) -> Any:
            out = super().__call__(attn, hidden_states, encoder_hidden_states, *rest, **named)
            if heard.context is None:
                return out
            query = attn.norm_q(attn.to_q(hidden_states))
            parts = (query, key(heard.context), value(heard.context))
            query, keys, values = (part.unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in parts)
            added = nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=heard.allowed)
            added = added.transpose(1, 2).flatten(2, 3).type_as(out)
            # The output layer is linear: what comes before its bias may be added behind it.
            return out + heard.scale * nn.functional.linear(added, attn.to_out[0].weight)

    return Listening()


class Conductor:
    """Makes a Wan transformer listen, and guides it by words and sound.

    A pipeline calls the transformer twice a step and adds guidance * (with words - without). The call with
    words is answered by a mixture that makes this sum: nothing + words_guidance * (words - nothing) +
    sound_guidance * (words and sound - words).
    """

    def __init__(self, transformer: Any, condition: AudioCondition) -> None:
        self._transformer, self._condition = transformer, condition
        self._heard = Heard()
        self._beside: Callable[..., tuple[Any, Any]] | None = None
        for block, key, value in zip(transformer.blocks, condition.keys, condition.values, strict=True):
            block.attn2.set_processor(listening(block.attn2.processor, key, value, self._heard))

    def share(self, shared: Shared) -> None:
        """Where several processes compute the transformer: those of the pass with sound hear what rank 0
        hears, each with the windows of its own tokens. With parallel.cfg the pass without sound is computed
        beside it, and with 3 that without anything too."""
        heard = self._heard

        def out() -> dict[str, Any]:
            return (
                {} if heard.context is None else {"context": heard.context, "tokens:allowed": heard.allowed}
            )

        def take(extra: Mapping[str, Any]) -> None:
            heard.context, heard.allowed = extra.get("context"), extra.get("allowed")

        shared.extra_out, shared.extra_in = out, take
        self._beside = shared.both if shared.layout.cfg > 1 else None

    @contextmanager
    def conducting(self, features: Any, guidance: float, sound_guidance: float) -> Iterator[None]:
        """For one call of the pipeline. features: [1, sound tokens, audio_dim], of the whole clip."""
        transformer, heard = self._transformer, self._heard
        forward, cache_context = transformer.forward, transformer.cache_context
        context = self._condition(features)
        patch = transformer.config.patch_size
        of_words = False

        @contextmanager
        def noted(name: str, **named: Any) -> Iterator[None]:
            nonlocal of_words
            of_words = name == "cond"
            with cache_context(name, **named):
                yield

        def guided(hidden_states: Any, *rest: Any, **named: Any) -> Any:
            if not of_words:
                return forward(hidden_states, *rest, **named)
            _, _, frames, height, width = hidden_states.shape
            tokens = (height // patch[1]) * (width // patch[2])
            heard.allowed = windows(frames // patch[0], tokens, context.shape[1]).to(hidden_states.device)
            heard.context = context.to(hidden_states.dtype)
            words = None
            try:
                if self._beside is not None:
                    both, words = self._beside(hidden_states, *rest, **named)
                else:
                    both = forward(hidden_states, *rest, **named)[0]
            finally:
                heard.context = None
            if words is None:
                words = forward(hidden_states, *rest, **named)[0]
            # Without guidance by words the pipeline makes no second call, and adds nothing to this one.
            return (words + (sound_guidance / max(1.0, guidance)) * (both - words),)

        transformer.forward, transformer.cache_context = guided, noted
        try:
            yield
        finally:
            transformer.forward, transformer.cache_context = forward, cache_context
