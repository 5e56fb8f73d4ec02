"""Words with times become caption cues, and cues become SRT and WebVTT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Word

LINE_CHARS = 42
LINES = 2
SHORTEST_S = 0.7
#: A cue is not kept open across a pause of this length, nor for longer than LONGEST_S.
_PAUSE_S = 0.8
LONGEST_S = 6.0
#: A cue stays this long after its last word when nothing follows at once.
_LINGER_S = 0.3
_SENTENCE_ENDS = (".", "!", "?", "…", ".”", "?”", "!”", '."', '?"', '!"')


class Caption(msgspec.Struct, frozen=True, kw_only=True):
    """A cue: one or two lines of `text` between two film times."""

    start_s: float
    end_s: float
    text: str


class _Cue(msgspec.Struct, frozen=True):
    """Words that are shown together, before their times are settled."""

    words: tuple[str, ...]
    start_s: float
    end_s: float


def _clean(text: str) -> str:
    """`text` on one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _pieces(words: Iterable[Word]) -> Iterable[Word]:
    """The words, cleaned; one that is longer than a line is cut, its time shared by length."""
    for word in words:
        if not (math.isfinite(word.start_s) and math.isfinite(word.end_s)) or word.end_s < word.start_s:
            raise UsageError(f"captions: word {word.text!r} runs from {word.start_s} to {word.end_s} s")
        for text in _clean(word.text).split():
            parts = range(0, len(text), LINE_CHARS)
            step_s = (word.end_s - word.start_s) / len(parts)
            for count, at in enumerate(parts):
                start_s = word.start_s + count * step_s
                yield Word(text[at : at + LINE_CHARS], start_s, start_s + step_s)


def _lines(words: Sequence[str]) -> tuple[str, ...] | None:
    """The words on one line, or on two of the most even length; None when they do not fit."""
    whole = " ".join(words)
    if len(whole) <= LINE_CHARS:
        return (whole,)
    best: tuple[int, tuple[str, ...]] | None = None
    for cut in range(1, len(words)):
        pair = (" ".join(words[:cut]), " ".join(words[cut:]))
        # A cut after punctuation may cost a few characters of evenness.
        cost = max(map(len, pair)) - (6 if pair[0][-1] in ",;:.!?" else 0)
        if max(map(len, pair)) <= LINE_CHARS and (best is None or cost < best[0]):
            best = (cost, pair)
    return best[1] if best else None


def _grouped(words: Iterable[Word]) -> list[_Cue]:
    cues: list[_Cue] = []
    for word in _pieces(words):
        last = cues[-1] if cues else None
        if (
            last is not None
            and not last.words[-1].endswith(_SENTENCE_ENDS)
            and word.start_s - last.end_s < _PAUSE_S
            and word.end_s - last.start_s <= LONGEST_S
            and _lines((*last.words, word.text)) is not None
        ):
            cues[-1] = _Cue((*last.words, word.text), last.start_s, max(last.end_s, word.end_s))
        else:
            cues.append(_Cue((word.text,), word.start_s, word.end_s))
    return cues


def _joined(cues: Sequence[_Cue]) -> list[_Cue]:
    """Cues that would be gone before they are read join a neighbour that has room."""
    out: list[_Cue] = []
    for cue in cues:
        last = out[-1] if out else None
        if (
            last is not None
            and (cue.start_s - last.start_s < SHORTEST_S or cue.end_s - cue.start_s < SHORTEST_S)
            and cue.start_s - last.end_s < _PAUSE_S
            and cue.end_s - last.start_s <= LONGEST_S
            and _lines((*last.words, *cue.words)) is not None
        ):
            out[-1] = _Cue((*last.words, *cue.words), last.start_s, max(last.end_s, cue.end_s))
        else:
            out.append(cue)
    return out


def cues(words: Iterable[Word], offset_s: float = 0.0) -> tuple[Caption, ...]:
    """Captions of one shot that starts at film time `offset_s`; `words` in order, times in the shot.

    At most two lines of 42 characters, at least 0.7 s each, never two at once. A sentence ends its cue.
    Raises UsageError for times that are no numbers or run backwards.
    """
    groups = _joined(_grouped(words))
    out: list[Caption] = []
    start_s = -math.inf
    for place, cue in enumerate(groups):
        start_s = max(start_s, cue.start_s)
        end_s = max(cue.end_s + _LINGER_S, start_s + SHORTEST_S)
        if place + 1 < len(groups):  # make room for the next one, but not below the shortest time
            end_s = max(min(end_s, groups[place + 1].start_s), start_s + SHORTEST_S)
        lines = _lines(cue.words) or cue.words
        out.append(Caption(start_s=offset_s + start_s, end_s=offset_s + end_s, text="\n".join(lines)))
        start_s = end_s
    return tuple(out)


def joined(shots: Iterable[Sequence[Caption]], end_s: float = math.inf) -> tuple[Caption, ...]:
    """Captions of a film from those of its shots: none reaches into the next or beyond `end_s`."""
    every = sorted((cue for shot in shots for cue in shot), key=lambda cue: (cue.start_s, cue.end_s))
    limits = [*(cue.start_s for cue in every[1:]), end_s]
    return tuple(
        msgspec.structs.replace(cue, end_s=min(cue.end_s, limit))
        for cue, limit in zip(every, limits, strict=True)
        if min(cue.end_s, limit) > cue.start_s
    )


def _clock(time_s: float, point: str) -> str:
    total_ms = max(0, round(time_s * 1000))
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"


def _body(text: str) -> str:
    # An empty line would end the cue, and an arrow would start another.
    return "\n".join(filter(None, map(_clean, text.split("\n")))).replace("-->", "→")


def srt(captions: Sequence[Caption]) -> str:
    """The SubRip file of `captions`."""
    return "".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{_body(cue.text)}\n\n"
        for number, cue in enumerate(captions, 1)
    )


def vtt(captions: Sequence[Caption], *, header: str = "") -> str:
    """The WebVTT file of `captions`; `header`: metadata lines, each ended by a newline."""
    out = f"WEBVTT\n{header}\n"
    for cue in captions:
        body = _body(cue.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        out += f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{body}\n\n"
    return out
