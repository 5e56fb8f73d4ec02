"""What a language model is asked: one scene at a time, out of numbered sentences of the document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from hpcwise.core.screenplay import Character

_SYSTEM: Final = """You write one scene of a short film in which people talk about a document.
You get numbered sentences of the document and write what is said, as spoken English.

Rules:
- Every line of somebody who explains rests on the numbered sentences that it names in "sources". It says
  nothing that these sentences do not say: no other number, no other name, no opinion.
- Numbers, units and names are repeated exactly as they are printed.
- Whoever asks gives short questions that a curious listener would ask, or short reactions. Their "sources"
  is an empty list, and they state no facts.
- Explain, do not quote: short sentences, no jargon that was not introduced, no "this paper shows" twice.
- Say "the authors" or "they" for "we". No citations, no section or equation numbers, no markdown.
- Do not greet, do not say goodbye, do not repeat what was said before.
- Answer with JSON: {"lines": [{"speaker": ..., "text": ..., "sources": [...]}, ...]}."""

_EXAMPLE_ASKED: Final = """Scene: How it works
Speakers: ann (host, asks), ben (expert, explains)
About 45 words.
Said before: "Before we get to the answer, what is the problem here?"
Sentences:
s1: We steer the kite with one motor of 200 W that shortens one of its two lines.
s2: In 31 of 33 trials the landing at night succeeded."""
_EXAMPLE_ANSWER: Final = {
    "lines": [
        {"speaker": "ann", "text": "So how do you steer a thing like that?", "sources": []},
        {
            "speaker": "ben",
            "text": "With a single motor. It has 200 W, and it shortens one of the kite's two lines.",
            "sources": ["s1"],
        },
        {"speaker": "ann", "text": "Even at night?", "sources": []},
        {
            "speaker": "ben",
            "text": "Even at night. The landing succeeded in 31 of 33 trials.",
            "sources": ["s2"],
        },
    ]
}
_SECOND_ASKED: Final = """Scene: Limits
Speakers: ann (host, asks), ben (expert, explains)
About 25 words.
Said before: "Even at night. The landing succeeded in 31 of 33 trials."
Sentences:
s1: However, our trials covered summer weather only, so ice on the lines remains a challenge."""
_SECOND_ANSWER: Final = {
    "lines": [
        {"speaker": "ann", "text": "What have they not tried yet?", "sources": []},
        {
            "speaker": "ben",
            "text": "Winter. The trials covered summer weather only, so ice remains a challenge.",
            "sources": ["s1"],
        },
    ]
}


def messages(
    title: str,
    scene: str,
    asker: Character,
    tellers: Sequence[Character],
    words: int,
    before: str,
    sentences: dict[str, str],
    on_screen: str,
) -> list[dict[str, str]]:
    """The chat of one scene. sentences: by their id; on_screen: caption of the picture shown, or ""."""
    people = [f"{asker.id} ({asker.role}, asks)", *(f"{c.id} ({c.role}, explains)" for c in tellers)]
    asked = [
        f"Document: {title}" if title else "",
        f"Scene: {scene}",
        f"Speakers: {', '.join(people)}",
        f"About {words} words.",
        f"On screen: {on_screen}" if on_screen else "",
        f'Said before: "{before}"',
        "Sentences:",
        *(f"{number}: {text}" for number, text in sentences.items()),
    ]
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": _EXAMPLE_ASKED},
        {"role": "assistant", "content": json.dumps(_EXAMPLE_ANSWER)},
        {"role": "user", "content": _SECOND_ASKED},
        {"role": "assistant", "content": json.dumps(_SECOND_ANSWER)},
        {"role": "user", "content": "\n".join(line for line in asked if line)},
    ]


def schema(speakers: Sequence[str], sources: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of an answer."""
    line = {
        "type": "object",
        "additionalProperties": False,
        "required": ["speaker", "text", "sources"],
        "properties": {
            "speaker": {"type": "string", "enum": list(speakers)},
            "text": {"type": "string"},
            "sources": {"type": "array", "items": {"type": "string", "enum": list(sources)}},
        },
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["lines"],
        "properties": {"lines": {"type": "array", "items": line}},
    }
