"""Lines in reading order -> sections of sentences. What is no prose of the author is left out here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hpcwise.core.document import Section, Sentence, split_sentences
from hpcwise.models.document.glyphs import LINE_HYPHEN, SUP, Line
from hpcwise.models.document.layout import column_edges
from hpcwise.models.document.sentences import append, clean, is_sentence, resolve_levels

_NUMBER = r"(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?|[IVX]{1,4}\.|[A-H]\.(?:\d{1,2}\.?)*)"
_NUMBERED = re.compile(rf"^{_NUMBER}\s+(?=[A-Z“\"'‘])")
_KNOWN = re.compile(
    rf"^(?:{_NUMBER}\s+)?(abstract|summary|executive summary|(?:\w+ and )?introduction|background"
    rf"|motivation|overview"
    r"|related works?|preliminaries|methods?|methodology|materials and methods|approach|model|experiments?"
    r"|experimental (?:setup|results)|evaluation|results?|results and discussion|discussion|limitations?"
    r"|conclusions?"
    r"|conclusions? and future work|concluding remarks|future work|acknowledge?ments?|references|bibliography"
    r"|appendix|appendices|funding|keywords)\s*(?:\(\d+(?: words)?\))?\s*[:.]?$",
    re.I,
)
_ABSTRACT_LEAD = re.compile(r"^(abstract|summary)\s*[.:—–-]+\s*(?=\S)", re.I)
SKIPPED = re.compile(
    r"^(acknowledge?ments?|funding|author contributions?|(?:conflicts?|competing"
    r"|declaration)s? (?:of )?(?:competing )?"
    r"interests?.*|declarations?|data availability.*|code availability.*|availability|ethic.*|supplement.*"
    r"|about the authors?|(?:table of )?contents|computational details|session info.*|nomenclature"
    r"|abbreviations"
    r"|keywords?|affiliations?|copyright.*|licen[sc]e.*|credits?|index|author(?:s|\s+information).*"
    r"|disclaimer|notices|trademarks|back cover|comments welcome)$",
    re.I,
)
REST_SKIPPED = re.compile(
    r"^(references|bibliography|literature cited|works cited|appendi(?:x|ces)\b.*)$", re.I
)
_NOT_PROSE = re.compile(
    r"^(key ?words|index terms|ccs concepts|acm reference|categories|jel|msc|pacs)\b", re.I
)
BOILERPLATE = re.compile(
    r"unedited manuscript|copyediting|early version of the manuscript|legal disclaimers"
    r"|cite this (?:article|paper)"
    r"|all rights reserved|permission to make|permissions? (?:from|to reprint)|licensed under"
    r"|creative commons"
    r"|corresponding author|equal(?:ly)? contribut|work (?:was )?done (?:while|during)|published by elsevier"
    r"|\b(?:comments|feedback|suggestions|bugs|issues) (?:can|may|should) be \w+ (?:using|to|on|via"
    r"|through|at|by)\b"
    r"|to whom correspondence|this version was compiled|arxiv preprint|under the terms of|©|doi\.org",
    re.I,
)
_BULLET = re.compile(
    r"^(?:[•▪◦‣●○■–—*]|\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})\)|\d{1,2}\.(?=\s+[A-Z][a-z]+(?:[-,]\S+)? [a-z\d]))\s+"
)
_LEADERS = re.compile(r"(?:\. ?){5,}")
#: The two forms of headings of IEEE papers, which are neither bold nor large: "III. PROBLEM STATEMENT", in
#: capitals of which the small ones are smaller than the text, and "A. Dataset Generation", in italics.
_ROMAN_CAPITALS = re.compile(r"^[IVX]{1,5}\.\s+[A-Z][^a-z]{3,}$")
_LETTERED = re.compile(r"^[A-N]\.\s+[A-Z][^.,;?]{2,70}$")
#: "Divide the first element of": the first line of something that is no heading.
_BREAKS_OFF = re.compile(r"\b(?:of|the|a|an|and|or|to|in|for|on|with|by|from|at|as|is|are|defining)$", re.I)
_COUNTED = re.compile(r"^(?:chapter|part) (?:\d{1,2}|[IVX]{1,5})[.:]\s+(?=\w{3})", re.I)
_ENDING = re.compile(r"conclu|discuss|limit", re.I)
_SMALL_TEXT = "a an and as at between by for from in into is of on or per the to under via vs with"
_SMALL_WORDS = frozenset(_SMALL_TEXT.split())


@dataclass(slots=True)
class _Paragraph:
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    heading: str
    page: int
    paragraphs: list[_Paragraph] = field(default_factory=list)
    in_appendix: bool = False


def to_sections(lines: Sequence[Line], body_pt: float, words: frozenset[str], n_pages: int) -> list[Section]:
    """Sections in reading order. Headings without prose of their own are kept, empty: they give context."""
    rows = _merge_split_rows(lines)
    drafts = _drafts(rows, body_pt, n_pages)
    out = []
    for draft in drafts:
        sentences = tuple(s for p in draft.paragraphs for s in _sentences(p, words))
        if draft.heading or sentences:
            out.append(Section(heading=draft.heading, page=draft.page + 1, sentences=sentences))
    return out


def _merge_split_rows(lines: Sequence[Line]) -> list[Line]:
    """Join parts of a line that a wide word space tore; drop rows of a table (several cells side by side)."""
    out: list[Line] = []
    tabular: set[int] = set()
    for line in lines:
        symbols = any(unicodedata.category(c) == "Sm" for c in line.text)
        if symbols and not any(c.isalnum() for c in line.text):
            continue  # a root or a brace that stands taller than its line
        last = out[-1] if out else None
        beside = (
            last is not None
            and last.page == line.page
            and last.column == line.column
            and abs(last.base - line.base) < 0.35 * line.size
        )
        if last is None or not beside:
            out.append(line)
            continue
        gap = line.x0 - last.x1
        if last.bold > 0.85 and line.bold < 0.3 and gap > 0.5 * line.size:
            out.append(line)  # a heading and the text that follows in the same line
        elif -0.6 * line.size < gap < 2.0 * line.size and len(last.text) + len(line.text) > 24:
            last.text += ("" if gap < 0.1 * line.size else " ") + line.text
            last.x1 = line.x1
        else:
            tabular.add(id(last))
            tabular.add(id(line))
            out.append(line)
    return [line for line in out if id(line) not in tabular or len(line.text) > 70]


def _heading_text(text: str, acronyms: Collection[str] = ()) -> str:
    """acronyms: words that stay in capitals where all of a heading is set in them."""
    text = clean(resolve_levels(text.replace(LINE_HYPHEN, "-"))).rstrip(" .:")
    text = re.sub(r"\s*\(\d+(?: words)?\)$", "", _COUNTED.sub("", _NUMBERED.sub("", text))).strip()
    letters = [c for c in text if c.isalpha()]
    if len(letters) > 5 and all(c.isupper() for c in letters):
        small = {"And", "Of", "The", "In", "For", "On", "To", "A", "An", "With", "By", "From"}
        words = [w if w.strip("(),:") in acronyms else w.title() for w in text.split()]
        text = " ".join(w.lower() if w in small and i else w for i, w in enumerate(words))
    return text


def _acronyms(rows: Sequence[Line]) -> frozenset[str]:
    """Words in capitals inside of lines that are not."""
    return frozenset(
        word
        for line in rows
        if re.search(r"[a-z]{3,} [a-z]{2,}", line.text)
        for word in re.findall(r"(?<![\w-])[A-Z][A-Z\d]{1,7}(?![\w-])", line.text)
    )


def _is_heading(line: Line, body_pt: float) -> bool:
    text = line.text
    if _KNOWN.match(text) or (_ROMAN_CAPITALS.match(text) and line.size > 0.7 * body_pt):
        return True
    if 0 < _run_in(line) < len(text):
        return False
    letters = sum(c.isalpha() for c in text)
    if not 3 <= len(text) <= 90 or letters < 0.6 * len(text) or line.mono > 0.8 or _LEADERS.search(text):
        return False
    if (re.search(r"[.,;?]$", text) and not _NUMBERED.match(text)) or "@" in text or "://" in text:
        return False
    bold, larger = line.bold > 0.85, line.size > 1.1 * body_pt
    if not (bold or larger) or line.size < 0.93 * body_pt:
        return False
    return bool(_NUMBERED.match(text) or (text[0].isupper() and len(text.split()) <= 12))


def _stands_apart(line: Line, before: Line | None, leading: float) -> bool:
    """Whether this is a lettered heading in the text's own type: in title case, with room above it."""
    if not _LETTERED.match(line.text):
        return False
    named = all(w[0].isupper() or w in _SMALL_WORDS for w in re.findall(r"[A-Za-z][\w-]*", line.text))
    near = before is not None and (before.page, before.column) == (line.page, line.column)
    return named and not (near and before and 0 < line.base - before.base < 1.15 * leading * line.size)


def _goes_on(heading: Line, line: Line) -> bool:
    """Whether a heading continues in the next line."""
    near = heading.page == line.page and 0 < line.base - heading.base < 1.7 * max(line.size, heading.size)
    return near and abs(heading.size - line.size) < 0.3 and not _NUMBERED.match(line.text)


def _goes_on_in_capitals(heading: Line, line: Line) -> bool:
    """Whether a heading in capitals, which are smaller than the text, continues in the next line."""
    near = heading.page == line.page and 0 < line.base - heading.base < 1.7 * max(line.size, heading.size)
    return near and bool(_ROMAN_CAPITALS.match(heading.text) and re.match(r"[A-Z][^a-z]{3,}$", line.text))


def _drafts(rows: Sequence[Line], body_pt: float, n_pages: int) -> list[_Draft]:
    edges = column_edges(rows)
    leading = _leading(rows)
    drafts = [_Draft("", rows[0].page if rows else 0)]
    acronyms = _acronyms(rows)
    skip = roman = False
    previous: Line | None = None
    previous_heading: Line | None = None
    for i, line in enumerate(rows):
        if _is_heading(line, body_pt) or _stands_apart(line, rows[i - 1] if i else None, leading):
            roman = roman or bool(_ROMAN_CAPITALS.match(line.text))
            if previous_heading is not None and _goes_on(previous_heading, line):
                drafts[-1].heading += " " + _heading_text(line.text, acronyms)
                previous_heading, previous = line, None
                continue
            heading = _heading_text(line.text, acronyms)
            if REST_SKIPPED.match(heading) and (line.page + 1 > 0.35 * n_pages or n_pages == 1):
                break
            lettered = re.match(r"^(appendix )?[A-H][.\s]\s*\S", line.text, re.I)
            if lettered and not roman and any(_ENDING.match(d.heading) for d in drafts):
                break  # lettered sections after the conclusions are appendices
            skip = bool(SKIPPED.match(heading))
            drafts.append(_Draft(heading, line.page))
            previous_heading, previous = line, None
            continue
        if previous_heading is not None and _goes_on_in_capitals(previous_heading, line):
            drafts[-1].heading += " " + _heading_text(line.text, acronyms)
            previous_heading = line
            continue
        previous_heading = None
        if skip or _is_noise(line, body_pt):
            previous = None if skip else previous
            if not skip and line.mono > 0.6:
                previous = None
            continue
        abstract = _ABSTRACT_LEAD.match(line.text)
        if abstract and line.page <= 2:
            drafts.append(_Draft("Abstract", line.page))
            line.text, line.bold_lead, previous = line.text[abstract.end() :], 0, None
        draft = drafts[-1]
        if previous is None or not draft.paragraphs or _breaks(previous, line, edges, leading):
            draft.paragraphs.append(_Paragraph())
            _strip_run_in_heading(line)
        draft.paragraphs[-1].lines.append(line)
        previous = line
    return _without_fragments([d for d in drafts if not SKIPPED.match(d.heading)])


def _without_fragments(drafts: Sequence[_Draft]) -> list[_Draft]:
    """What stands under a heading that breaks off belongs to the part before it."""
    out: list[_Draft] = []
    for draft in drafts:
        if out and _BREAKS_OFF.search(draft.heading):
            out[-1].paragraphs += draft.paragraphs
        else:
            out.append(draft)
    return out


def _is_noise(line: Line, body_pt: float) -> bool:
    text = line.text
    least = 0.76 if line.page == 0 else 0.87
    if line.size < least * body_pt or line.mono > 0.6 or _LEADERS.search(text):
        return True
    if text.startswith(SUP) and line.size < 0.96 * body_pt:
        return True
    return bool(_NOT_PROSE.match(text))


def _leading(rows: Sequence[Line]) -> float:
    """Median distance of baselines, in font sizes: 1.2 in most papers, 2 and more in manuscripts."""
    gaps = sorted(
        (b.base - a.base) / b.size
        for a, b in pairwise(rows)
        if (a.page, a.column) == (b.page, b.column) and 0.8 * b.size < b.base - a.base < 3.5 * b.size
    )
    return gaps[len(gaps) // 2] if gaps else 1.2


def _breaks(
    last: Line, line: Line, edges: dict[tuple[int, int], tuple[float, float]], leading: float
) -> bool:
    """Whether a new paragraph begins with this line."""
    if abs(last.size - line.size) > 0.1 * line.size or _BULLET.match(line.text):
        return True
    ended = bool(re.search(r"[.?!:][\"”’')\]]*$", last.text))
    if (last.page, last.column) != (line.page, line.column):
        return False
    gap = line.base - last.base
    if gap > max(1.75, 1.3 * leading) * line.size or gap < 0:
        return True
    left, right = edges[(line.page, line.column)]
    indented = 0.7 * line.size < line.x0 - left < 5 * line.size and line.x0 - last.x0 > 0.5 * line.size
    short = last.x1 < right - 4 * line.size
    return ended and (indented or short)


def _run_in(line: Line) -> int:
    """Where the text begins after a bold `Topic.` at the start of a line; 0 without one."""
    if not 3 <= line.bold_lead <= 60 or line.bold > 0.97:
        return 0
    seen = 0
    for i, char in enumerate(line.text):
        seen += char != " "
        if seen == line.bold_lead:
            lead, rest = line.text[: i + 1].rstrip(), line.text[i + 1 :].lstrip(" .:—–")
            capital = rest[:1].isupper() and " " in lead and line.text[i + 1 : i + 2] == " "
            return len(line.text) - len(rest) if lead.endswith((".", ":", "—")) or capital else 0
    return 0


def _strip_run_in_heading(line: Line) -> None:
    """Cut a bold `Topic.` off the start of a paragraph: it is a heading, and no sentence."""
    line.text = line.text[_run_in(line) :]


def _sentences(paragraph: _Paragraph, words: frozenset[str]) -> list[Sentence]:
    text, starts = "", []
    for line in paragraph.lines:
        part = resolve_levels(line.text)
        starts.append((len(text), line.page + 1))
        text = append(text, part, words)
    text = text.replace(LINE_HYPHEN, "\u2010")
    out, at = [], 0
    bullet = _BULLET.match(text)
    for i, sentence in enumerate(split_sentences(text)):
        at = max(at, text.find(sentence, at))
        page = max((p for offset, p in starts if offset <= at + 1), default=starts[0][1])
        at += len(sentence)
        if i == 0 and bullet:
            sentence = sentence[bullet.end() :]
        if is_sentence(sentence) and not BOILERPLATE.search(sentence):
            out.append(Sentence(text=clean(sentence), page=page, starts_paragraph=i == 0))
    return out
