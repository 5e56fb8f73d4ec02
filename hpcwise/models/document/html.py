"""HTML and EPUB -> `Document`: what a reader came for, without the menus round it."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from hpcwise.core.document import Document
from hpcwise.core.errors import DocumentError
from hpcwise.models.document.blocks import Block, to_document
from hpcwise.models.document.sentences import clean

_DROPPED = {
    "script", "style", "nav", "header", "footer", "aside", "form", "noscript", "template", "button", "svg",
    "math", "pre", "code", "table", "iframe", "object", "select", "sup",
}  # fmt: skip
_CHROME = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|menu|footer|sidebar|breadcrumbs?|cookies?|banner|share|social|comments?|toc"
    r"|advert\w*|promo|subscribe|related|references|bibliography|footnotes?|endnotes?)(?:$|[\s_-])",
    re.I,
)
_TEXTS = {"p", "li", "blockquote", "dd", "figcaption"}
_ABOUT_THE_BOOK = re.compile(
    r"cover|title.?page|copyright|imprint|colophon|dedication|contents|\btoc\b|nav\.x?html|also by|about the",
    re.I,
)
_MOST_ENTRY_BYTES = 64 << 20
_CHAPTER = re.compile(
    r"(?:\d+(?:\.\d+)*[.:)]?\s+)?(?:abstract|introduction|overview|background)$|\d+(?:\.\d+)*\.? ", re.I
)
#: What tools write where nobody said a title or an author.
_NO_TITLE = re.compile(
    r"(?:table of )?contents$|untitled|unknown|(?:about|chapter \w+|cover|e?book|foreword|home|index"
    r"|introduction"
    r"|part \w+|preface|readme|summary|title(?: page)?)$|$",
    re.I,
)
_NOBODY = re.compile(r"unknown|anonymous|author\b|calibre|gitbook|pandoc|(?:the )?authors?$|\W*$", re.I)
#: Words of a chapter after which the next one is a page further on.
_CHARS_A_PAGE = 3000
Fetch = Callable[[str], bytes]


def read_html(path: Path, name: str, work: Path, max_pages: int) -> Document:
    """Pictures count where they are in the file itself (data: addresses). Raises DocumentError."""
    data = path.read_bytes()
    root = _parse(data, name)
    limit = max_pages * _CHARS_A_PAGE
    body = next((e for tag in ("article", "main", "body") for e in root.iter(tag)), root)
    stated = next((clean(t.text or "") for t in root.iter("title")), "")
    stated = re.split(r"\s+[|–—·-]\s+", stated)[0]
    # A heading outside of the article is the site's.
    heads = [clean(h.text_content()) for h in body.iter("h1")]
    title = next(iter(heads), "") or stated
    # Where chapters are of the first rank none of them is the title.
    if stated and " " in stated and (len(heads) > 2 or _CHAPTER.match(title)):
        title = stated
    title = title or next((clean(h.text_content()) for h in root.iter("h1")), "")
    # A chapter's number says nothing to those who see this page only.
    title = re.sub(r"^(?:Chapter|Part|Appendix) [\dIVXA-Z]+[.:]? +(?=\w{3})", "", title)
    authors = tuple(
        clean(meta.get("content", ""))
        for meta in root.iter("meta")
        if meta.get("name", "").lower() in ("author", "citation_author") and meta.get("content")
    )
    blocks, truncated = _within(_blocks(body, 1, _data_uri), limit)
    pages = max((block.page for block in blocks), default=1)
    return to_document(blocks, title, authors, pages, work, truncated=truncated)


def read_epub(path: Path, name: str, work: Path, max_pages: int) -> Document:
    """Chapters in the order of the book's spine; a page is 3,000 characters. Raises DocumentError."""
    from lxml import etree

    try:
        with zipfile.ZipFile(path) as book:
            container = _xml(book, "META-INF/container.xml")
            opf_name = str(container.xpath("string(//*[local-name()='rootfile']/@full-path)"))
            opf = _xml(book, opf_name)
            title = clean(str(opf.xpath("string(//*[local-name()='title'])")))
            stated = [clean(str(a.text)) for a in opf.xpath("//*[local-name()='creator']") if a.text]
            authors = tuple(a for a in stated if not _NOBODY.match(a))
            files = {i.get("id"): i.get("href") for i in opf.xpath("//*[local-name()='item']")}
            spine = [files.get(r.get("idref")) for r in opf.xpath("//*[local-name()='itemref']")]
            base = posixpath.dirname(opf_name)
            limit = max_pages * _CHARS_A_PAGE
            found: list[Block] = []
            chars = 0
            for href in spine:
                if href is None or chars > limit:
                    continue
                chapter = posixpath.normpath(posixpath.join(base, unquote(href)))
                if _ABOUT_THE_BOOK.search(posixpath.basename(chapter)):
                    continue
                root = _parse(_entry(book, chapter), name)
                folder = posixpath.dirname(chapter)

                def fetch(address: str, folder: str = folder) -> bytes:
                    inside = posixpath.normpath(posixpath.join(folder, unquote(address.split("#")[0])))
                    return _entry(book, inside)

                body = next(iter(root.iter("body")), root)
                part = list(_blocks(body, 1 + chars // _CHARS_A_PAGE, fetch))
                first = next((b.text for b in part if b.kind == "heading"), "")
                if _ABOUT_THE_BOOK.match(first.strip()):
                    continue
                chars += sum(len(b.text) for b in part)
                found += part
    except (zipfile.BadZipFile, KeyError, etree.XMLSyntaxError, UnicodeDecodeError) as error:
        raise DocumentError(f"{name}: is not a readable EPUB ({error}); export it again") from error
    if " " not in title or _NO_TITLE.match(title):  # "developers-reference": the name of a file
        heads = (clean(block.text) for block in found if block.kind == "heading")
        title = next((h for h in heads if not _NO_TITLE.match(h)), "" if _NO_TITLE.match(title) else title)
    n_pages = 1 + chars // _CHARS_A_PAGE
    return to_document(found, title, authors, n_pages, work, truncated=chars > limit, kind="book")


def _parse(data: bytes, name: str) -> Any:
    from lxml import etree, html

    parser = html.HTMLParser(encoding=_encoding(data), remove_comments=True, remove_pis=True)
    try:
        return html.document_fromstring(data, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, LookupError) as error:
        raise DocumentError(f"{name}: is not readable HTML ({error}); export it again") from error


def _encoding(data: bytes) -> str:
    stated = re.search(rb"(?:charset|encoding)=[\"']?([\w-]+)", data[:2048])
    if stated:
        return stated.group(1).decode("ascii")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _blocks(element: Any, page: int, fetch: Fetch) -> Iterator[Block]:
    """Blocks below an element in document order."""
    chars = 0
    for child in _walk(element):
        at = page + chars // _CHARS_A_PAGE
        tag = child.tag
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            yield Block("heading", child.text_content(), at)
        elif tag == "img":
            caption = _caption(child)
            address = child.get("src") or ""
            try:
                data = fetch(address)
            except (KeyError, ValueError):
                continue
            if data and caption:
                yield Block("picture", caption, at, data)
        else:
            text = _text(child)
            chars += len(text)
            if tag != "figcaption" and not _in_caption(child):
                yield Block("text", text, at)


def _walk(element: Any) -> Iterator[Any]:
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""
        named = f"{child.get('class', '')} {child.get('id', '')} {child.get('role', '')}"
        if tag in _DROPPED or (tag in ("div", "section", "ul", "ol", "span") and _CHROME.search(named)):
            continue
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6", "img"):
            yield child
        elif tag in _TEXTS and not any(e.tag in _TEXTS for e in child.iterdescendants(*_TEXTS)):
            yield child
            yield from (e for e in child.iter("img"))
        else:
            yield from _walk(child)


def _in_caption(element: Any) -> bool:
    """Whether a paragraph is what a picture or table is called, by its own or its parents' tag or class."""
    named = (e for e in (element, *element.iterancestors()) if isinstance(e.tag, str))
    return any(e.tag == "figcaption" or "caption" in (e.get("class") or "").lower() for e in named)


def _text(element: Any) -> str:
    """Text of a paragraph without notes, code that stands as a block, and links that are only numbers."""
    parts: list[str] = []

    def add(node: Any) -> None:
        if isinstance(node.tag, str) and node.tag not in ("sup", "script", "style", "math", "table", "pre"):
            parts.append(" " if node.tag == "br" else node.text or "")
            for child in node:
                add(child)
                parts.append(child.tail or "")

    add(element)
    return "".join(parts)


def _caption(image: Any) -> str:
    for parent in image.iterancestors("figure"):
        for caption in parent.iter("figcaption"):
            return str(caption.text_content())
    alt = image.get("alt") or image.get("title") or ""
    return alt if len(alt.split()) >= 3 else ""


def _data_uri(address: str) -> bytes:
    match = re.match(r"data:image/[\w.+-]+(?:;[\w=.+-]+)*?(;base64)?,(.*)", address, re.S)
    if match is None:
        return b""
    try:
        return base64.b64decode(match.group(2)) if match.group(1) else unquote_to_bytes(match.group(2))
    except binascii.Error:
        return b""


def _within(blocks: Iterator[Block], limit: int) -> tuple[list[Block], bool]:
    out: list[Block] = []
    chars = 0
    for block in blocks:
        chars += len(block.text)
        if chars > limit:
            return out, True
        out.append(block)
    return out, False


def _entry(book: zipfile.ZipFile, name: str) -> bytes:
    """An entry of the archive; refuses one that would unfold into more than memory should hold."""
    if book.getinfo(name).file_size > _MOST_ENTRY_BYTES:
        raise KeyError(f"{name} is larger than {_MOST_ENTRY_BYTES >> 20} MiB")
    return book.read(name)


def _xml(book: zipfile.ZipFile, name: str) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    return etree.fromstring(_entry(book, name), parser)
