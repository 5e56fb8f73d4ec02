"""Plain text and Markdown -> `Document`. No pictures: only files inside a PDF are known to belong to it."""

from __future__ import annotations

import re

from hpcwise.core.document import Document, Section, Sentence, split_sentences
from hpcwise.models.document.blocks import CAPTION
from hpcwise.models.document.sentences import clean, is_sentence

_CHARS_A_PAGE = 3000
_SKIPPED = re.compile(
    r"^(references|bibliography|acknowledge?ments?|licen[sc]e|contents|table of contents|appendix\b.*)$", re.I
)
#: Parts of a project's page that say nothing of what it is; Markdown is what such pages are written in.
_PROJECT = re.compile(
    r"(?:business )?(?:enquiries|inquiries)|contact\b|contribut(?:e|ing|ors?|ions?)\b|sponsors?\b"
    r"|support(?:ing)?\b"
    r"|press\b|media\b|change ?log|releases?\b|community|donat|(?:getting )?help\b|code of conduct|badges"
    r"|cit(?:e"
    r"|ing|ation)\b|security\b|authors?\b|credits?\b|copyright|thanks",
    re.I,
)
_BADGE = re.compile(r"badge|build|status|version|licen[sc]e|downloads|coverage|screenshot|demo", re.I)
_PICTURE = re.compile(r"<img\b[^>]*\balt=[\"']([^\"']+)|!\[([^\]]+)\]\(")


def read_text(text: str, markdown: bool, max_pages: int) -> Document:
    """Headings are `#` or underlined lines in Markdown, short lines between blank ones in plain text.

    A page is 3,000 characters, so that `max_pages` bounds long texts too.
    """
    limit = max_pages * _CHARS_A_PAGE
    n_pages = max(1, -(-len(text) // _CHARS_A_PAGE))
    logo = _logo(text) if markdown else ""
    if markdown:
        text = _without_markup(text)
    title = ""
    sections: list[tuple[str, int, list[Sentence]]] = [("", 1, [])]
    skip = False
    at = 0
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")[:limit]):
        page = at // _CHARS_A_PAGE + 1
        at += len(block) + 2
        for piece in _pieces(block, markdown):
            heading = _heading(piece, markdown)
            if heading is not None:
                if not title and not any(s for _, _, s in sections):
                    title = heading
                    continue
                skip = bool(_SKIPPED.match(heading) or (markdown and _PROJECT.match(heading)))
                sections.append((heading, page, []))
                continue
            if skip or CAPTION.match(piece):
                continue
            for i, sentence in enumerate(split_sentences(clean(piece))):
                if is_sentence(sentence):
                    sections[-1][2].append(Sentence(text=sentence, page=page, starts_paragraph=i == 0))
    return Document(
        title=title or logo,
        authors=(),
        sections=tuple(
            Section(heading=h, page=p, sentences=tuple(s))
            for h, p, s in sections
            if s or (h and not _SKIPPED.match(h) and not (markdown and _PROJECT.match(h)))
        ),
        figures=(),
        n_pages=n_pages,
        truncated=len(text) > limit,
    )


def _logo(text: str) -> str:
    """The name that the first picture of a page shows, where it stands above all prose; else ""."""
    found = _PICTURE.search(text)
    if found is None or any(
        is_sentence(s) for s in split_sentences(clean(_without_markup(text[: found.start()])))
    ):
        return ""
    name = re.sub(r"\s*\b(?:logo|banner|icon)\b\s*", "", clean(found[1] or found[2]), flags=re.I)
    return name if re.match(r"[A-Za-z][\w .+-]{2,60}$", name) and not _BADGE.search(name) else ""


def _without_markup(text: str) -> str:
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", "\n", text, flags=re.S | re.M)
    text = re.sub(r"<!--.*?-->|<[^>\n]+>", "", text, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*\|.*\|\s*$", "", text, flags=re.M)
    return re.sub(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1", r"\2", text)


def _pieces(block: str, markdown: bool) -> list[str]:
    """Headings and list items of a block apart from its prose."""
    out: list[str] = []
    for line in block.strip("\n").split("\n"):
        underline = markdown and re.fullmatch(r"\s*(=+|-{3,})\s*", line) and out
        if underline:
            out[-1] = "# " + out[-1]
            continue
        item = re.match(r"^\s*(?:[-*+•]|\d{1,2}[.)])\s+", line)
        new = not out or item or (markdown and (line.startswith("#") or out[-1].startswith("#")))
        body = line[item.end() :] if item else line
        if new:
            out.append(body.strip())
        else:
            out[-1] = f"{out[-1]} {body.strip()}"
    return [piece for piece in out if piece]


def _heading(piece: str, markdown: bool) -> str | None:
    if markdown:
        match = re.match(r"^#{1,6}\s+(.*?)\s*#*$", piece)
        return clean(match.group(1)) if match else None
    text = clean(piece)
    short = 2 <= len(text) <= 80 and len(text.split()) <= 12
    if (
        short
        and not CAPTION.match(text)
        and text[0].isupper() | text[0].isdigit()
        and not re.search(r"[.,;:!?]$", text)
    ):
        return re.sub(r"^\d+(\.\d+)*\.?\s+", "", text)
    return None
