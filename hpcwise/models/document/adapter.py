"""The document stage: a file that a person gives -> `document.json` and pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hpcwise.core.document import Document
from hpcwise.core.errors import DocumentError, UsageError
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.document.text import read_text

_LEAST_SENTENCES = 4
_MAX_BYTES = 1 << 30


class DocumentParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """path: the file; sha256: of its bytes, "" where the caller does not know it; pages beyond
    `max_pages` are not read."""

    path: str
    sha256: str = ""
    max_pages: int = 60


class DocumentAdapter:
    """Reads PDF, Markdown and plain text. Needs no weights."""

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
        if kind == "pdf":
            from hpcwise.models.document.pdf import read_pdf

            document = read_pdf(path, name, call.work, params.max_pages, on_step)
        else:
            document = _read_plain(path, name, kind == "markdown", params.max_pages)
        if document.n_sentences < _LEAST_SENTENCES:
            raise DocumentError(
                f"{name}: only {document.n_sentences} sentences of running English text were found; "
                f"give a document with at least {_LEAST_SENTENCES}"
            )
        files = {"document.json": _write(call.work / "document.json", document)}
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
            },
        )


def _check(path: Path, name: str, params: DocumentParams) -> str:
    """pdf, markdown or text; raises DocumentError for what can be told without parsing."""
    if params.max_pages < 1:
        raise DocumentError(f"max_pages: {params.max_pages} is too small; give 1 or more")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DocumentError(f"{name}: is not a file; give a PDF, Markdown or text file")
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
    if suffix in (".md", ".markdown"):
        return "markdown"
    if suffix in (".txt", ".text"):
        return "text"
    raise DocumentError(f"{name}: type {suffix or 'unknown'} cannot be read; give a .pdf, .md or .txt file")


def _read_plain(path: Path, name: str, markdown: bool, max_pages: int) -> Document:
    data = path.read_bytes()
    if b"\0" in data[:4096]:
        raise DocumentError(f"{name}: holds binary data, no text; give a .pdf, .md or .txt file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return read_text(text, markdown, max_pages)


def _write(path: Path, document: Document) -> Path:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    return beside.replace(path)
