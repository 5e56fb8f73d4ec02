"""A document as the film makers see it: prose in sentences and pictures with captions, nothing else.

Written by the document stage as `document.json`, read by the screenplay stage. Headers, footers, page
numbers, references, tables and mathematics that cannot be spoken are gone before this form.
"""

from __future__ import annotations

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


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A picture cut whole out of the document. `file` is its name in the artifact, `label` as printed."""

    index: int
    label: str
    caption: str
    file: str
    width_px: int
    height_px: int
    page: int


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of the document; `title` may be "" and `authors` empty where that is unsure."""

    title: str
    authors: tuple[str, ...]
    sections: tuple[Section, ...]
    figures: tuple[Figure, ...]
    n_pages: int
    truncated: bool = False

    @property
    def n_sentences(self) -> int:
        """Sentences of all sections."""
        return sum(len(section.sentences) for section in self.sections)
