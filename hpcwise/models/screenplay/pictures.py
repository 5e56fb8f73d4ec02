"""Pictures of a document with what can be said over them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcwise.core.document import Document, Figure, split_sentences
from hpcwise.models.screenplay.leaning import leans_on_previous
from hpcwise.models.screenplay.speakable import named_equations, to_speech
from hpcwise.models.screenplay.timing import expected_s

#: A claim that takes longer does not fit into a shot, in seconds.
MAX_CLAIM_S = 13.5
#: Lines over one picture.
_MOST_LINES = 3
# Says where something is and nothing about it: "All results are summarised in Table 2."
_POINTER = re.compile(
    r"^.{0,60}\b(?:summari[sz]ed|shown|given|listed|presented|reported|found|displayed) in \w+ \d+\.$"
)
_OVERVIEW = re.compile(
    r"\b(?:overview|architecture|overall|framework|workflow|pipeline|concept|components?|structure)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with what can be said over it; `texts` are (line, source, page), best first."""

    figure: Figure
    section: int
    order: int
    texts: tuple[tuple[str, str, int], ...]


def pictures_of(document: Document) -> list[Picture]:
    """Figures over which something can be said, in the order in which the text comes to them."""
    out = []
    for figure in document.figures:
        if figure.height_px > 1.9 * figure.width_px or figure.width_px > 6 * figure.height_px:
            continue
        number = re.escape(figure.label.split()[-1])
        kind = (
            r"(?:Figures?|Figs?\.)"
            if figure.label.startswith("Figure")
            else re.escape(figure.label.split()[0])
        )
        mention = re.compile(rf"\b{kind}\s*{number}\b(?!\.\d)", re.I)
        texts: list[tuple[str, str, int]] = []
        section, order, count = -1, 0, 0
        for index, part in enumerate(document.sections):
            for sentence in part.sentences:
                count += 1
                text = named_equations(sentence.text)
                if not mention.search(text):
                    continue
                if section < 0:
                    section, order = index, count
                spoken = to_speech(text, figure=figure.label)
                opens = re.match(rf"^(?:as \w+ in )?{kind}\s*{number}\b", text, re.I)
                pointer = spoken is not None and _POINTER.search(spoken)
                if spoken is not None:
                    spoken = _without_pointer(spoken, figure.label)
                if spoken is not None and not pointer and (opens or not leans_on_previous(sentence.text)):
                    texts.append((spoken, sentence.text, sentence.page))
        if figure.label.startswith("Slide"):
            section, order, texts = _slide_lines(document, figure)
        texts = [t for t in _caption_lines(figure, document) + texts if expected_s(t[0]) <= MAX_CLAIM_S]
        if not texts:
            continue
        if section < 0:
            section = max((i for i, s in enumerate(document.sections) if s.page <= figure.page), default=0)
            order = sum(len(s.sentences) for s in document.sections[: section + 1])
        out.append(Picture(figure, section, order, _different(texts)[:_MOST_LINES]))
    return out


def _slide_lines(document: Document, figure: Figure) -> tuple[int, int, list[tuple[str, str, int]]]:
    """What a slide says beside its picture: (section, place of its first sentence, lines)."""
    section, order, count = -1, 0, 0
    texts: list[tuple[str, str, int]] = []
    for index, part in enumerate(document.sections):
        for sentence in part.sentences:
            count += 1
            spoken = to_speech(sentence.text, point=True) if sentence.page == figure.page else None
            if spoken is not None and not leans_on_previous(sentence.text):
                section, order = (index, count) if section < 0 else (section, order)
                texts.append((spoken, sentence.text, sentence.page))
    return section, order, texts


def _without_pointer(text: str, label: str) -> str:
    """ "As shown in Figure 2, the pull rises." -> "The pull rises.": the picture is on the screen."""
    text = re.sub(
        rf"^{re.escape(label)} (?=(?:shows?|illustrates?|depicts?|displays?|presents?|gives?|compares?)\b)",
        "It ",
        text,
    )
    rest = re.sub(rf"^(?:As )?(?:\w+ )?(?:in|by|from) {re.escape(label)}, ", "", text)
    return rest[0].upper() + rest[1:]


def _different(texts: Sequence[tuple[str, str, int]]) -> tuple[tuple[str, str, int], ...]:
    """Lines that do not say what one before them said: of the shorter one's words less than two thirds."""
    out: list[tuple[str, str, int]] = []
    for text in texts:
        words = stems(text[0])
        others = (stems(other[0]) for other in out)
        if all(len(words & o) < 0.67 * max(1, min(len(words), len(o))) for o in others):
            out.append(text)
    return tuple(out)


def _caption_lines(figure: Figure, document: Document) -> list[tuple[str, str, int]]:
    """What the caption says: its first phrase under its label, then whole sentences. The title of a slide,
    which is shown and named by the question, is no caption."""
    titles = {_bare(s.heading) for s in document.sections}
    if not figure.caption or (figure.label.startswith("Slide") and _bare(figure.caption) in titles):
        return []
    source = f"{figure.label}: {figure.caption}"
    out: list[tuple[str, str, int]] = []
    parts = split_sentences(figure.caption.rstrip(".") + ".")
    for i, part in enumerate(parts[:3]):
        spoken = to_speech(part, figure=figure.label, phrase=i == 0, max_chars=150)
        if spoken is None:
            continue
        if i == 0:
            own = figure.label.startswith(("Picture", "Slide"))  # these have no number in the document
            spoken = spoken if own else f"{figure.label}. {spoken}"
            # What is said rests on this phrase, not on all that follows it.
            stated = part if figure.caption.startswith(part) else part.rstrip(".")
            whole = figure.caption.startswith(stated)
            out.append((spoken, f"{figure.label}: {stated}" if whole else source, figure.page))
            continue
        if leans_on_previous(part) or re.match(r"^(?:left|right|top|bottom|middle|center)\b", part, re.I):
            continue
        stated = part if part in figure.caption else part.rstrip(".")
        out.append((spoken, stated if stated in figure.caption else source, figure.page))
    return [*out[:2], *_panel_lines(figure, source)][:3]


def _bare(text: str) -> str:
    """Letters and digits of a title."""
    return re.sub(r"\W+", " ", text).strip().lower()


_PANELS = re.compile(
    r"(?:^|[.;,:] )(?:\((?P<letter>[a-f])\)|(?P<side>Left|Right|Top|Bottom|Upper|Lower)(?: panel)?:) "
)


def _panel_lines(figure: Figure, source: str) -> list[tuple[str, str, int]]:
    """ "(a) Pull. (b) Drift." -> one line that walks from panel to panel: "Panel a: Pull. Panel b: Drift.".

    The renderer lights each panel while it is named. None where one part cannot be said.
    """
    marks = list(_PANELS.finditer(figure.caption))
    if len(marks) < 2 or len(marks) > 4:
        return []
    said = []
    for mark, end in zip(marks, [*(m.start() for m in marks[1:]), len(figure.caption)], strict=True):
        part = figure.caption[mark.end() : end].strip(" .;,")
        part = split_sentences(part + ".")[0]
        spoken = to_speech(part, figure=figure.label, phrase=True, max_chars=90)
        if spoken is None:
            return []
        name = f"Panel {mark['letter']}" if mark["letter"] else f"{mark['side']} panel"
        said.append(f"{name}: {spoken}")
    return [(" ".join(said), source, figure.page)]


def is_overview(picture: Picture) -> bool:
    """Whether it shows the whole of the work, and so may stand beside its idea."""
    drawn = not picture.figure.label.startswith(("Table", "Equation"))
    return drawn and bool(_OVERVIEW.search(picture.figure.caption[:120]))


def stems(text: str) -> set[str]:
    return {word[:6].lower() for word in re.findall(r"[A-Za-z][\w-]{3,}", text)}
