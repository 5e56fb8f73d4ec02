"""Family `transformers-screenplay`: scenes worded by a model that transformers loads; no server, one device.

What is fixed in the answer (its frame, who may speak, which sentences there are) is not left to the model:
the frame is written for it, names and sources are chosen among those that exist by what it finds likeliest,
and only what is said it writes itself. So every answer is JSON of the schema, whatever the model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import torch

from hpcwise.core.errors import BadOutput, ModelMissing, Stopped, UsageError
from hpcwise.models.base import Devices, ModelSpec
from hpcwise.models.device import device_of
from hpcwise.models.llm.adapter import Chat, LlmParams, LlmScreenplayAdapter
from hpcwise.models.llm.client import Endpoint
from hpcwise.models.weights import UNREADABLE, why

#: Most sources of a line.
_SOURCES: Final = 3


class LocalOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a card. most_lines: of a scene; line_tokens: of a line. temperature: 0 takes the likeliest token."""

    dtype: str = "bfloat16"
    most_lines: int = 8
    line_tokens: int = 96
    temperature: float = 0.3


class LocalScreenplayAdapter(LlmScreenplayAdapter):
    """One model in memory."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Raises ModelMissing where the checkpoint is none, UsageError for a card that is wrong."""
        import transformers

        try:
            self._options = msgspec.convert(dict(spec.options), LocalOptions)
        except msgspec.ValidationError as error:
            raise UsageError(f"model {spec.name}: options: {error}") from error
        super().load(spec, devices)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._device = device_of(devices)
        self._name = spec.name
        try:
            self._tokens = transformers.AutoTokenizer.from_pretrained(spec.path, local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                spec.path, dtype=getattr(torch, self._options.dtype), local_files_only=True
            )
        except UNREADABLE as error:
            said = f"model {spec.name}: {spec.path} holds no language model: {why(error)}"
            raise ModelMissing(said) from error
        self._model = model.to(self._device).eval()

    def _endpoint(self, params: LlmParams) -> Endpoint:
        return Endpoint("", self._name)

    def _chat(self, endpoint: Endpoint, seed: int, should_stop: Callable[[], bool]) -> Chat:
        def chat(messages: list[dict[str, str]], schema: dict[str, Any]) -> Iterator[str]:
            line = schema["properties"]["lines"]["items"]["properties"]
            speakers, sources = line["speaker"]["enum"], line["sources"]["items"]["enum"]
            text = _Text(self._model, self._tokens, self._options.temperature, seed, should_stop)
            text.add(self._prompt(messages))
            yield from _lines(text, speakers, sources, self._options)

        return chat

    def _prompt(self, messages: list[dict[str, str]]) -> str:
        if getattr(self._tokens, "chat_template", None):
            return str(self._tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        return "\n\n".join(f"{m['role']}: {m['content']}" for m in messages) + "\n\nassistant: "


def _lines(
    text: _Text, speakers: Sequence[str], sources: Sequence[str], options: LocalOptions
) -> Iterator[str]:
    """Pieces of the answer: its frame is given, the rest chosen or written."""
    yield text.add('{"lines": [')
    for index in range(options.most_lines):
        yield text.add('{"speaker": "')
        yield text.choose([f'{name}", "text": "' for name in speakers])
        yield text.write(options.line_tokens)
        yield text.add('", "sources": [')
        left = list(sources)
        for number in range(_SOURCES):
            comma = ", " if number else ""
            chosen = text.choose([*(f'{comma}"{source}"' for source in left), "]"])
            if chosen == "]":
                break
            yield chosen
            left = [source for source in left if f'{comma}"{source}"' != chosen]
        else:
            text.add("]")
        yield "]"
        if index + 1 == options.most_lines or text.choose(["}, ", "}]}"]) == "}]}":
            break
        yield "}, "
    yield "}]}"


class _Text:
    """A text that grows, and the model's memory of it."""

    def __init__(
        self, model: Any, tokens: Any, temperature: float, seed: int, should_stop: Callable[[], bool]
    ) -> None:
        self._model, self._tokens, self._temperature = model, tokens, temperature
        self._should_stop = should_stop
        self._draws = torch.Generator().manual_seed(seed % 2**63)
        self._memory: Any = None
        self._next: Any = None

    def add(self, text: str) -> str:
        """Go on with a text that is given."""
        self._feed(self._ids(text))
        return text

    def choose(self, options: Sequence[str]) -> str:
        """Go on with the option that is likeliest by its token, on the mean."""
        if len(options) == 1:
            return self.add(options[0])
        scores = []
        for option in options:
            ids = self._ids(option)
            logits = torch.cat([self._next[None], self._look(ids)[:-1]])
            likely = torch.log_softmax(logits.float(), -1)[torch.arange(len(ids)), torch.tensor(ids)]
            scores.append(float(likely.mean()))
        if not all(score == score for score in scores):
            raise BadOutput("a language model whose scores are no numbers")
        return self.add(options[scores.index(max(scores))])

    def write(self, most: int) -> str:
        """Go on until a closing quote, which is not part of it; escaped as JSON wants it."""
        ids: list[int] = []
        for _ in range(most):
            if self._should_stop():
                raise Stopped("stopped while a screenplay was written")
            if not bool(torch.isfinite(self._next).all()):
                raise BadOutput("a language model whose scores are no numbers")
            token = self._draw()
            if token == self._tokens.eos_token_id:
                break
            text = self._tokens.decode([*ids, token], skip_special_tokens=True)
            if '"' in text or "\n" in text:
                break
            ids.append(token)
            self._feed([token])
        written = str(self._tokens.decode(ids, skip_special_tokens=True))
        return json.dumps(written)[1:-1]

    def _draw(self) -> int:
        scores = self._next.float().cpu()
        if self._temperature <= 0:
            return int(scores.argmax())
        shares = torch.softmax(scores / self._temperature, -1)
        return int(torch.multinomial(shares, 1, generator=self._draws))

    def _ids(self, text: str) -> list[int]:
        return list(self._tokens(text, add_special_tokens=self._memory is None).input_ids)

    def _feed(self, ids: list[int]) -> None:
        self._next = self._forward(ids)[-1]

    def _look(self, ids: list[int]) -> Any:
        """Scores after each of `ids`, which are then forgotten again."""
        seen = self._forward(ids)
        self._memory.crop(-len(ids))
        return seen

    def _forward(self, ids: list[int]) -> Any:
        given = torch.tensor([ids], device=self._model.device)
        with torch.no_grad():
            made = self._model(input_ids=given, past_key_values=self._memory, use_cache=True)
        self._memory = made.past_key_values
        return made.logits[0]
