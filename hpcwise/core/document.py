"""A document as the film makers see it: prose in sentences and pictures with captions, nothing else.

Written by the document stage as `document.json`, read by the screenplay stage. Headers, footers, page
numbers, references, tables and mathematics that cannot be spoken are gone before this form.
"""

from __future__ import annotations

import re

import msgspec


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence of prose, as printed; `page` counts from 1.

    `starts_paragraph` tells a writer where a thought begins: a sentence in the middle of a paragraph
    may lean on the one before it.
    """

    text: str
    page: int
    starts_paragraph: bool = False


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A heading (numbering removed, "" for text before the first one) and its prose in reading order."""

    heading: str
    page: int
    sentences: tuple[Sentence, ...]


class FigureWord(msgspec.Struct, frozen=True, array_like=True):
    """A word that stands in a figure, its box in shares of the figure's width and height."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A picture cut whole out of the document. `file` is its name in the artifact, `label` as printed.

    words: what is written in the picture, where that is known; a film points at them when they are said.
    """

    index: int
    label: str
    caption: str
    file: str
    width_px: int
    height_px: int
    page: int
    words: tuple[FigureWord, ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of the document; `title` may be "" and `authors` empty where that is unsure.

    kind: what people call it, "book" or "talk"; "" where only its parts can tell.
    """

    title: str
    authors: tuple[str, ...]
    sections: tuple[Section, ...]
    figures: tuple[Figure, ...]
    n_pages: int
    truncated: bool = False
    language: str = "en"
    kind: str = ""

    @property
    def text(self) -> str:
        """`document.txt`: every sentence and then every caption on a line of its own. Spans count in it."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> list[str]:
        said = [sentence.text for section in self.sections for sentence in section.sentences]
        return [*said, *(f"{figure.label}: {figure.caption}" for figure in self.figures)]

    def spans(self) -> dict[str, tuple[int, int]]:
        """Where each sentence and caption stands in `text`: first character, and the one after its last."""
        found: dict[str, tuple[int, int]] = {}
        at = 0
        for line in self._lines():
            found.setdefault(line, (at, at + len(line)))
            at += len(line) + 1
        return found

    @property
    def n_sentences(self) -> int:
        """Sentences of all sections."""
        return sum(len(section.sentences) for section in self.sections)


_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|et al|al|cf|vs|viz|fig|figs|eq|eqs|sec|secs|ch|no|nos|vol|pp|p|ed|eds|approx|resp"
    r"|dr|prof|mr|mrs|ms|st|jr|inc|ltd|dept|tab|ref|refs|ca|incl|min|max|a\.k\.a|w\.r\.t|i\.i\.d|u\.s|u\.k)"
    r"|(?:^|[\s(.])[A-Z])\.$",
    re.I,
)
_INITIAL = re.compile(r"(?:^|[\s(.])[A-Z]\.$")
_BOUNDARY = re.compile(r"[.?!][\"”’')\]]*\s+(?=[\"“‘'(\[]?[A-Z0-9•])")


def split_sentences(paragraph: str) -> list[str]:
    """Sentences of a paragraph. Abbreviations, initials and decimals do not end one."""
    text, out, start = paragraph.strip(), [], 0
    for match in _BOUNDARY.finditer(text):
        head = text[start : match.end()].rstrip()
        if text[match.start()] == "." and (
            (_ABBREVIATION.search(head) and not re.search(r"\b(etc|no|min|max|ed|st|al)\.$", head, re.I))
            or _INITIAL.search(head)
            or (
                re.search(r"\b(no|st|al|fig)\.$", head, re.I)
                and (re.match(r"\d|\(", text[match.end() :]) or head.lower().endswith("al."))
            )
        ):
            continue
        out.append(head)
        start = match.end()
    tail = text[start:].strip()
    return [*out, tail] if tail else out
