"""Title and authors of a PDF, from the type on its first page. A wrong title is worse than none."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcwise.models.document.glyphs import END, SUB, SUP, Line, PageText
from hpcwise.models.document.sentences import clean, join_lines

_NOT_A_TITLE = re.compile(
    r"^(accepted manuscript|article|research( article)?|original( research)?|review|letter"
    r"|technical report|preprint"
    r"|contents|abstract|introduction|table of contents|open access|journal of\b|untitled|microsoft word\b"
    r"|slide \d"
    r"|.*\.(docx?|tex|dvi|pdf|indd|pptx?)$)",
    re.I,
)
_PLACE = re.compile(
    r"universit|institut|department|dept|school|college|laborator|\blabs?\b|research|inc\b|corp|academy"
    r"|centre|center"
    r"|hospital|faculty|division|google|microsoft|meta\b|abstract|keywords|version|january|february|march"
    r"|april|june"
    r"|july|august|september|october|november|december|street|associates|gmbh|project|company|group|press"
    r"|editor"
    r"|copyright|http|www|doi|@|demo|team\b|corresponding|email|conference|journal|workshop|vol\b|\beth\b"
    r"|epfl|inria"
    r"|clinic|technikum|\bfh\b|polytech|enthusiast|foundation|society|agency|ministry|bureau|cnrs|\bmit\b"
    r"|kaist|nvidia|openai",
    re.I,
)
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|la|le|el|al|bin|ten|ter|zu|y)"
_NAME = re.compile(rf"^[A-ZÀ-ÖØ-Þ][\w.’'’-]*(?: (?:{_PARTICLE}|[A-ZÀ-ÖØ-Þ][\w.’'’-]*|[A-Z]\.)){{1,4}}$")
_NOBODY = re.compile(
    r"\b(?:unit|report|manual|guide|medical|services?|committee|mailing list|handbook)\b", re.I
)
_MARKS = re.compile(f"[{SUP}{SUB}][^{END}]*{END}")


def _is_name(text: str) -> bool:
    return bool(_NAME.match(text)) and not _NOBODY.search(text)


def names_in(text: str) -> tuple[str, ...]:
    """The people of a line that names people and nothing else; empty for any other line."""
    parts = [clean(x).strip(" .") for x in re.split(r",|;|\band\b|&|·|•", text)]
    parts = [x for x in parts if x]
    return tuple(parts) if parts and all(_is_name(x) and not _PLACE.search(x) for x in parts) else ()


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def find_title(pages: Sequence[PageText], metadata_title: str, body_pt: float) -> tuple[str, list[Line]]:
    """The title and its lines on the first page.

    A title in the file's metadata counts if the first three pages print it. Else the largest type on the
    upper half of page 1 counts, if it is larger than the text and reads like a title. Else "".
    """
    if not pages:
        return "", []
    stated = clean(metadata_title)
    printed = "".join(_plain(_MARKS.sub("", line.text)) for page in pages[:3] for line in page.lines)
    stated_ok = bool(
        len(_plain(stated)) >= 6
        and not _NOT_A_TITLE.match(stated)
        and _plain(stated) in printed
        and " " in stated
    )
    labelled = _labelled(pages)
    if labelled and not stated_ok:
        return labelled
    first = pages[0]
    top = [x for x in first.lines if x.y0 < 0.6 * first.height and sum(c.isalpha() for c in x.text) >= 3]
    top = [x for x in top if not _NOT_A_TITLE.match(x.text)]
    abstract = [x.y0 for x in first.lines if re.match(r"\W*abstract\b", x.text, re.I)]
    best: tuple[float, str, list[Line]] = (0.0, "", [])
    for size in sorted({round(x.size, 1) for x in top}, reverse=True):
        if size < 1.12 * body_pt:
            break
        block = _block(top, size)
        text = _text_of(block)
        if abstract and block[0].y0 > abstract[0]:
            continue
        if stated_ok and (_plain(text) in _plain(stated) or _plain(stated) in _plain(text)):
            return (text if _plain(text) == _plain(stated) else stated), block
        words = text.split()
        plausible = 8 <= len(text) <= 250 and 2 <= len(words) <= 35 and not _PLACE.match(text)
        plausible = plausible and not _LETTERHEAD.search(text)
        if len(words) == 1 and text.isalpha() and len(text) >= 5 and size > 1.3 * body_pt:
            plausible = True
        # large type wins, but two words in huge type below a longer line are rather a logo than the title
        score = size * min(len(words), 8) ** 0.5
        logo = bool(best[1]) and block[0].y0 < best[2][0].y0 and score > best[0]
        if plausible and not stated_ok and (logo or not best[1]):
            best = (score, text, block)
    if best[1]:
        return best[1], best[2]
    if stated_ok:
        wanted = _plain(stated)
        return stated, [x for x in first.lines if len(_plain(x.text)) > 3 and _plain(x.text) in wanted]
    return "", []


#: A letterhead: whose paper it is, and not what is on it.
_LETTERHEAD = re.compile(
    r"\b(?:hospital|university|institute|department|inc|ltd|gmbh|corporation|ministry)\W*$", re.I
)
_LABEL = re.compile(r"^(?:\d{1,3} )?(?:manuscript |full )?title\s*:\s*(?=\S)", re.I)
_NEXT_LABEL = re.compile(r"^(?:\d{1,3} )?(?:running|short)?\s*\w+ ?\w*\s*:")


def _labelled(pages: Sequence[PageText]) -> tuple[str, list[Line]] | None:
    """A manuscript's "TITLE: ...", as journals ask for it, with the lines that it goes on in."""
    for page in pages[:3]:
        lines = sorted((x for x in page.lines if not x.text.isdigit()), key=lambda x: (round(x.base), x.x0))
        for i, line in enumerate(lines):
            if not _LABEL.match(line.text):
                continue
            block = [line]
            for other in lines[i + 1 : i + 3]:
                far = other.base - block[-1].base > 2.7 * line.size or abs(other.x0 - line.x0) > 2 * line.size
                if far or _NEXT_LABEL.match(other.text):
                    break
                block.append(other)
            return _LABEL.sub("", _text_of(block)).rstrip(" ."), block
    return None


def _block(lines: Sequence[Line], size: float) -> list[Line]:
    """The topmost run of lines in this size."""
    same = sorted((x for x in lines if abs(x.size - size) < 0.06 * size), key=lambda x: (round(x.base), x.x0))
    block: list[Line] = []
    for line in same:
        if block and line.base - block[-1].base > 2.7 * size:
            break
        block.append(line)
    return block


def _text_of(block: Sequence[Line]) -> str:
    text = clean(_MARKS.sub("", join_lines([x.text for x in block], frozenset()))).strip(" ∗*†‡§")
    letters = [c for c in text if c.isalpha()]
    if len(letters) > 12 and sum(c.isupper() for c in letters) > 0.9 * len(letters):
        text = text.title()
    return text


def front_lines(page: PageText, ends: float) -> list[Line]:
    """Lines above the y at which the front matter ends. Where the right column's text begins higher than the
    abstract on the left, it is none of them; the page has its columns set."""
    above = [x for x in page.lines if x.y1 < ends - 1]
    right = sorted((x for x in page.lines if x.column == 1), key=lambda x: x.base, reverse=True)
    text: set[int] = set()
    last: Line | None = None
    for line in right:
        if line.y1 >= ends - 1:
            last = line
        elif (
            last is not None and last.base - line.base < 1.5 * line.size and abs(last.size - line.size) < 0.3
        ):
            text.add(id(line))
            last = line
        else:
            break
    return [x for x in above if id(x) not in text]


def find_authors(
    first: PageText, title: Sequence[Line], metadata_author: str
) -> tuple[tuple[str, ...], float]:
    """Names under the title, and the y (points) at which the front matter ends.

    Names in the metadata count if the page prints each of them. Else lines under the title are read as
    long as every part of them has the form of a name. Unsure is empty.
    """
    if not title:
        return (), 0.0
    below = max(x.y1 for x in title)
    stop = next(
        (
            x.y0
            for x in sorted(first.lines, key=lambda x: x.y0)
            if x.y0 > below and re.match(r"\W*(abstract|summary|\d?\.?\s*introduction)\b", x.text, re.I)
        ),
        below,
    )
    printed = _plain("".join(_MARKS.sub("", x.text) for x in first.lines))
    stated = [clean(x) for x in re.split(r",|;|\band\b|&", metadata_author) if x.strip()]
    if len(stated) > 1 and all(_NAME.match(x) and _plain(x.split()[-1]) in printed for x in stated):
        return tuple(stated), stop
    names: list[str] = []
    under = sorted(
        (x for x in first.lines if x.y0 >= below - 2 and x not in title), key=lambda x: (round(x.base), x.x0)
    )
    limit = stop if stop > below else below + 0.25 * first.height
    carry, last_base, open_end, ends = "", 0.0, False, below
    for line in under:
        if line.y0 > limit or len(names) > 40:
            break
        raw = line.text
        if _PLACE.search(raw) or re.search(r"[{}\d]", _MARKS.sub("", raw)):
            carry, open_end = "", False
            continue
        if abs(line.size - under[0].size) > 0.12 * under[0].size and names:
            continue
        text = carry + " " + _MARKS.sub(", ", raw) if carry else _MARKS.sub(", ", raw)
        beside = abs(line.base - last_base) < 2
        surname = re.match(r"^[A-ZÀ-Þ][\w’'-]+(?=\s*(?:,|$|and\b))", text)
        if open_end and not beside and surname and names:
            names[-1] += " " + surname.group()  # a name that was broken before its last word
            text = text[surname.end() :]
        last_base, open_end = line.base, False
        text = re.sub(r"[()∗*†‡§¶\ufffd]", " ", text)
        parts = [clean(x).strip(" .") for x in re.split(r",|;|\band\b|&|·|•", text)]
        parts = [x for x in parts if x]
        carry = ""
        good = [x for x in parts if _is_name(x)]
        rest = [x for x in parts if not _is_name(x)]
        if rest and rest == parts[-1:] and re.fullmatch(r"[A-ZÀ-Þ][\w.’'-]*(?: [A-Z][\w.]*)?", rest[0]):
            carry = rest[0]  # a name that goes on in the next line
        elif rest:
            if names:
                break
            continue
        names += [x for x in good if x not in names]
        open_end = bool(good) and good[-1:] == parts[-1:] and raw[-1].isalpha()
        ends = max(ends, line.y1) if good else ends
    if len(stated) == 1 and not names and _NAME.match(stated[0]) and _plain(stated[0]) in printed:
        names = [stated[0]]
    return tuple(names), max(stop, ends)
