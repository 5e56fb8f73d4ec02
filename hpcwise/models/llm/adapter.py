"""The screenplay stage by a language model: it words the scenes, the document decides what may be said.

The extractive writer plans the film: which sentences and pictures, in which order, for how long. A model
words each scene after the opening. Every line must name its sentences and pass `core.faithful`; one that
does not is replaced by the document's own sentence, and the receipt says so. Where the endpoint cannot be
had the film is the extractive one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hpcwise.core.document import Document
from hpcwise.core.errors import ModelError, Stopped, UsageError
from hpcwise.core.faithful import departures, names, strange_numbers
from hpcwise.core.screenplay import Character, Line, Scene, Screenplay
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.llm import prompt
from hpcwise.models.llm.client import Endpoint, key_of_user, objects, stream_chat
from hpcwise.models.screenplay.adapter import opened
from hpcwise.models.screenplay.embed import Embedder, load_embedder
from hpcwise.models.screenplay.files import scene_output, write_json
from hpcwise.models.screenplay.shots import scenes_s
from hpcwise.models.screenplay.writer import Writer, cast_of

#: Words that a voice says in a second, pauses included.
_WORDS_A_SECOND = 2.4
#: Sentences beside those that the plan chose, for the model to lean on.
_NEIGHBOURS = 6
_LONGEST_LINE = 330


#: Messages and the JSON Schema of the answer -> its pieces as they come.
Chat = Callable[[list[dict[str, str]], dict[str, Any]], Iterator[str]]


class EndpointParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `core.spec.Llm`."""

    url: str
    model: str


class LlmParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As of the extractive stage, with the endpoint where the model is not this worker's own."""

    duration_s: float
    cast: tuple[Character, ...]
    endpoint: EndpointParams | None = None


class LlmScreenplayAdapter:
    """Streams scenes; scene 0 waits for no model."""

    def __init__(self) -> None:
        self._embed: Embedder | None = None

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Load sentence vectors for the plan."""
        self._embed = load_embedder()

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """As the extractive adapter; the facts also say who wrote it and which lines were replaced."""
        try:
            params = msgspec.convert(dict(call.params), LlmParams)
        except msgspec.ValidationError as error:
            raise UsageError(f"screenplay: {error}") from error
        document, writer = opened(call, params.duration_s, params.cast)
        on_step(0, 100, "open")
        opening = writer.opening()
        asked = self._endpoint(params)
        by = f"{asked.model} with this document's own sentences"
        if call.first_chunk == 0:
            yield scene_output(call.work, 0, opening, None, {"written_by": by})
        self._embed = self._embed or load_embedder()
        plan = writer.rest(self._embed, on_step)
        model = _Model(self._chat(asked, call.seed, should_stop), document, writer, params.cast, on_step)
        scenes, notes = [opening], []
        behind_s = 0.0
        for index, planned in enumerate(plan, start=1):
            on_step(index, len(plan) + 1, f"scene {index}: {planned.title}")
            if index < call.first_chunk:
                scenes.append(planned)
                continue
            wished_s = scenes_s([planned])
            scene = planned
            said: list[str] = []
            if not planned.last:
                scene, said = model.scene(planned, scenes[-1], wished_s + behind_s)
                behind_s += wished_s - scenes_s([scene])
            scenes.append(scene)
            notes += said
            play = None
            if scene.last:
                whole = Screenplay(
                    title=document.title, scenes=tuple(scenes), written_by=by, notes=tuple(notes)
                )
                play = write_json(call.work / "screenplay.json", whole)
            yield scene_output(call.work, index, scene, play, {"notes": said})

    def _endpoint(self, params: LlmParams) -> Endpoint:
        """Who is asked. Raises UsageError."""
        if params.endpoint is None:
            raise UsageError("screenplay: no endpoint; give `llm` in the job, or HPCWISE_LLM_URL")
        return Endpoint(params.endpoint.url, params.endpoint.model, key_of_user())

    def _chat(self, endpoint: Endpoint, seed: int, should_stop: Callable[[], bool]) -> Chat:
        """How it is asked."""
        return lambda messages, schema: stream_chat(endpoint, messages, schema, should_stop, seed=seed)


class _Model:
    """Words scenes. Once the endpoint failed it is not asked again in this film."""

    def __init__(
        self,
        chat: Chat,
        document: Document,
        writer: Writer,
        cast: tuple[Character, ...],
        on_step: OnStep,
    ) -> None:
        self._chat, self._document, self._writer = chat, document, writer
        self._cast = cast_of(cast)
        self._everybody = cast
        self._on_step = on_step
        self._down = ""
        self._pages = {s.text: s.page for part in document.sections for s in part.sentences}

    def scene(self, planned: Scene, before: Scene, wished_s: float) -> tuple[Scene, list[str]]:
        """The scene in the model's words, and what of them was not taken. wished_s: how long it should be."""
        if self._down:
            return planned, []
        chosen = [line for shot in planned.shots for line in shot.lines if line.source]
        if not chosen:
            return planned, []
        sentences = self._numbered(chosen)
        taken: list[Line] = []
        notes: list[str] = []
        try:
            for found in objects(self._ask(planned, before, wished_s, sentences)):
                line, note = self._checked(found, sentences, chosen, taken)
                if note:
                    notes.append(f"{planned.title}: {note}")
                if line is not None:
                    taken.append(line)
                    self._on_step(50, 100, f"{planned.title}: {len(taken)} lines")
        except Stopped:
            raise
        except ModelError as error:
            self._down = str(error)
            notes.append(f"{planned.title}: {error}; from here on the document's own sentences are said")
        if not any(line.source for line in taken):
            return planned, notes
        return self._writer.worded(planned, taken, wished_s), notes

    def _numbered(self, chosen: list[Line]) -> dict[str, str]:
        """What the plan chose and what stands round it, in the document's order, as s1, s2, ..."""
        everything = list(self._pages)
        picked = {line.source for line in chosen}
        places = [i for i, text in enumerate(everything) if text in picked]
        near = [i + d for i in places for d in (1, -1) if 0 <= i + d < len(everything)]
        texts = [everything[i] for i in sorted({*places, *near[:_NEIGHBOURS]})]
        captions = [line.source for line in chosen if line.source not in self._pages]
        return {f"s{n}": text for n, text in enumerate(dict.fromkeys([*texts, *captions]), 1)}

    def _ask(
        self, planned: Scene, before: Scene, wished_s: float, sentences: dict[str, str]
    ) -> Iterator[str]:
        shown = [shot.figure for shot in planned.shots if shot.figure is not None]
        caption = ""
        if shown:
            figure = self._document.figures[shown[0]]
            caption = f"{figure.label}: {figure.caption}"
        asker = next((line.speaker for shot in planned.shots for line in shot.lines if not line.source), "")
        asking = next((c for c in self._everybody if c.id == asker), self._cast.host)
        telling = [c for c in (self._cast.expert, self._cast.guest) if c is not None]
        chat = prompt.messages(
            self._document.title,
            planned.title,
            asking,
            telling,
            max(20, round(wished_s * _WORDS_A_SECOND)),
            before.shots[-1].lines[-1].text,
            sentences,
            caption,
        )
        speakers = [c.id for c in self._everybody]
        wanted = prompt.schema(speakers, list(sentences))
        return self._chat(chat, wanted)

    def _checked(
        self, found: dict[str, Any], sentences: dict[str, str], chosen: list[Line], taken: list[Line]
    ) -> tuple[Line | None, str]:
        """The line, or the document's own in its place, or None; and why it was not taken as it came."""
        text = " ".join(str(found["text"]).split())
        speaker = str(found.get("speaker", ""))
        given = found.get("sources")
        ids = [str(i) for i in given if str(i) in sentences] if isinstance(given, list) else []
        source = " ".join(sentences[i] for i in dict.fromkeys(ids))
        wrong = self._wrong(text, speaker, source, sentences)
        if text in (line.text for line in taken):
            return None, ""
        if not wrong:
            if not source:
                return Line(speaker=speaker, text=text), ""
            alone = [sentences[i] for i in ids if not self._wrong(text, speaker, sentences[i], sentences)]
            first = alone[0] if alone else sentences[ids[0]]
            page = self._pages.get(first) or next((c.page for c in chosen if c.source == first), 0)
            return self._writer.sourced(speaker, text, first if alone else source, page), ""
        said = {line.source for line in taken}
        own = (
            next((c for c in chosen if c.source in source and c.source not in said), None) if source else None
        )
        done = "the document's own sentence is said" if own else "left out"
        return own, f"{text[:120]!r}: {wrong}; {done}"

    def _wrong(self, text: str, speaker: str, source: str, sentences: dict[str, str]) -> str:
        """What keeps a line from being said; "" where nothing does."""
        people = [c.name for c in self._everybody]
        if speaker not in [c.id for c in self._everybody]:
            return f"speaker {speaker[:40]!r} is not in the cast"
        if not 2 <= len(text) <= _LONGEST_LINE or not text.isprintable():
            return f"it has {len(text)} characters"
        if any(mark in text for mark in ("**", "`", "http", "[", "]", "{", "}")):
            return "it holds markup"
        known = [self._document.title, *people]
        if source:
            return "; ".join(departures(text, source, known))
        if not text.endswith("?") and len(text.split()) > 12:
            return "it states something without a source"
        there = [*known, *sentences.values()]
        foreign = [f"name {name} is not in the source" for name in names(text, there)]
        foreign += [f"number {number} is not in the source" for number in strange_numbers(text, there)]
        return "; ".join(foreign)
