"""The document stage: a file that a person gives -> `document.json` and pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hpcwise.core.document import Document, Figure
from hpcwise.core.errors import DocumentError, UsageError
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.document.language import SPOKEN, name_of
from hpcwise.models.document.text import read_text

_LEAST_SENTENCES = 4
_MAX_BYTES = 1 << 30
#: What a file is, by the end of its name; a PDF is known by its first bytes.
_KINDS = {
    ".pdf": "pdf", ".pptx": "pptx", ".md": "markdown", ".markdown": "markdown", ".html": "html",
    ".htm": "html", ".epub": "epub", ".txt": "text", ".text": "text",
}  # fmt: skip


class PictureParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """sha256: of the picture's bytes."""

    sha256: str
    caption: str


class DocumentParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """path: the file; sha256: of its bytes, "" where the caller does not know it; pages beyond
    `max_pages` are not read. pictures: the person's own, which follow the document's figures; picture_paths:
    where they lie."""

    path: str
    sha256: str = ""
    max_pages: int = 60
    pictures: tuple[PictureParams, ...] = ()
    picture_paths: tuple[str, ...] = ()


class DocumentAdapter:
    """Reads PDF, slides (PDF, PPTX), Markdown, HTML, EPUB and plain text. Needs no weights."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Nothing to load."""

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """One output: document.json, fig-<i>.png and the facts that the planner and the user see.

        Raises DocumentError with one line that names the file and what to do.
        """
        try:
            params = msgspec.convert(dict(call.params), DocumentParams)
        except msgspec.ValidationError as error:
            raise UsageError(f"document: {error}") from error
        if call.first_chunk > 0:
            return
        path = Path(params.path)
        name = "".join(c if c.isprintable() else "?" for c in path.name) or "document"
        kind = _check(path, name, params)
        on_step(0, 1, "open")
        document = _read(kind, path, name, call.work, params.max_pages, on_step)
        language = _language(kind, path, document)
        if language not in ("", SPOKEN):
            raise DocumentError(
                f"{name}: is written in {name_of(language)}; screenplay and voices know English only, "
                "so give an English document"
            )
        if document.n_sentences < _LEAST_SENTENCES:
            raise DocumentError(
                f"{name}: only {document.n_sentences} sentences of running English text were found; "
                f"give a document with at least {_LEAST_SENTENCES}"
            )
        document = msgspec.structs.replace(document, language=language or SPOKEN)
        document = _with_pictures(document, params, call.work)
        files = {"document.json": _write(call.work / "document.json", document)}
        text = call.work / "document.txt"
        text.write_text(document.text, "utf-8")
        files["document.txt"] = text
        files |= {figure.file: call.work / figure.file for figure in document.figures}
        on_step(1, 1, "done")
        yield Output(
            files=files,
            facts={
                "title": document.title,
                "authors": list(document.authors),
                "n_pages": document.n_pages,
                "n_figures": len(document.figures),
                "n_sentences": document.n_sentences,
                "truncated": document.truncated,
                "language": document.language,
            },
        )


def _check(path: Path, name: str, params: DocumentParams) -> str:
    """pdf, pptx, html, epub, markdown or text; raises DocumentError for what can be told without parsing."""
    if params.max_pages < 1:
        raise DocumentError(f"max_pages: {params.max_pages} is too small; give 1 or more")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DocumentError(f"{name}: is not a file; give a document")
        if size > _MAX_BYTES:
            raise DocumentError(f"{name}: is larger than 1 GiB; give a smaller file")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            head = file.read(1024)
    except FileNotFoundError as error:
        raise DocumentError(f"{name}: there is no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path is malformed"
        raise DocumentError(
            f"{name}: cannot be read ({reason}); check the path and its permissions"
        ) from error
    if size == 0:
        raise DocumentError(f"{name}: is empty; give a file with text")
    if params.sha256 and digest != params.sha256:
        raise DocumentError(f"{name}: has changed since it was submitted; submit it again")
    if b"%PDF-" in head:
        return "pdf"
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        raise DocumentError(f"{name}: is named .pdf but is no PDF; export it again as PDF")
    if suffix not in _KINDS:
        raise DocumentError(f"{name}: type {suffix or 'unknown'} cannot be read; give {', '.join(_KINDS)}")
    kind = _KINDS[suffix]
    if kind in ("pptx", "epub") and not head.startswith(b"PK\x03\x04"):
        raise DocumentError(f"{name}: is named {suffix} but is none; export it again")
    return kind


def _read(kind: str, path: Path, name: str, work: Path, max_pages: int, on_step: OnStep) -> Document:
    # Each reader has libraries of its own, which take a moment to import.
    if kind == "pdf":
        from hpcwise.models.document.pdf import read_pdf

        return read_pdf(path, name, work, max_pages, on_step)
    if kind == "pptx":
        from hpcwise.models.document.pptx import read_pptx

        return read_pptx(path, name, work, max_pages)
    if kind in ("html", "epub"):
        from hpcwise.models.document.html import read_epub, read_html

        return (read_html if kind == "html" else read_epub)(path, name, work, max_pages)
    return _read_plain(path, name, kind == "markdown", max_pages)


def _language(kind: str, path: Path, document: Document) -> str:
    from hpcwise.models.document.language import language_of

    text = " ".join(s.text for section in document.sections for s in section.sentences)
    if document.n_sentences < _LEAST_SENTENCES and kind == "pdf":
        # Sentences of other scripts are not recognised as such: look at the bare text.
        from hpcwise.models.document.pdf import bare_text

        text = bare_text(path)
    elif document.n_sentences < _LEAST_SENTENCES and kind in ("text", "markdown"):
        text = path.read_text("utf-8", "replace")
    return language_of(text)


def _with_pictures(document: Document, params: DocumentParams, work: Path) -> Document:
    """The document with the person's own pictures behind its figures."""
    from hpcwise.models.document.blocks import write_png

    figures = list(document.figures)
    for number, (own, where) in enumerate(zip(params.pictures, params.picture_paths, strict=True), 1):
        path, index = Path(where), len(figures)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DocumentError(
                f"{path.name}: cannot be read ({error.strerror}); submit the job again"
            ) from error
        if hashlib.sha256(data).hexdigest() != own.sha256:
            raise DocumentError(f"{path.name}: has changed since it was submitted; submit it again")
        size = write_png(data, work / f"fig-{index}.png", least_px=1)
        if size is None:
            raise DocumentError(f"{path.name}: is not a readable picture; give a PNG or JPEG")
        figures.append(
            Figure(
                index=index,
                label=f"Picture {number}",
                caption=own.caption,
                file=f"fig-{index}.png",
                width_px=size[0],
                height_px=size[1],
                page=0,
            )
        )
    return msgspec.structs.replace(document, figures=tuple(figures))


def _read_plain(path: Path, name: str, markdown: bool, max_pages: int) -> Document:
    data = path.read_bytes()
    if b"\0" in data[:4096]:
        raise DocumentError(f"{name}: holds binary data, no text; give a document")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return read_text(text, markdown, max_pages)


def _write(path: Path, document: Document) -> Path:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    return beside.replace(path)
