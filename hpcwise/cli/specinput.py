"""Files that a job names: the document, and a film's own logo, fonts, pictures and music."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: As much of a document as is looked at; the document stage refuses more.
MAX_INPUT_BYTES: Final = 1 << 30
DOCUMENT_SUFFIXES: Final = (
    ".pdf", ".pptx", ".md", ".markdown", ".html", ".htm", ".epub", ".txt", ".text",
)  # fmt: skip
#: Formats that are ZIP archives inside.
_ZIPPED: Final = (".pptx", ".epub")
#: How a picture or font begins.
_BEGINS: Final[dict[str, tuple[bytes, ...]]] = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    **dict.fromkeys((".jpg", ".jpeg"), (b"\xff\xd8\xff",)),
    **dict.fromkeys((".otf", ".ttf"), (b"OTTO", b"\0\1\0\0", b"true", b"ttcf")),
}
#: Largest file of the person's own (a picture, a font, music).
MAX_ASSET_BYTES: Final = 256 << 20


def check_input(text: str, folder: Path) -> tuple[Path, str]:
    """The document's absolute path and sha256; raises ValueError with the fix."""
    return _checked(text, folder, DOCUMENT_SUFFIXES, MAX_INPUT_BYTES)


def check_asset(text: str, folder: Path, suffixes: Sequence[str]) -> tuple[Path, str]:
    """As check_input, of another file that a job names."""
    return _checked(text, folder, suffixes, MAX_ASSET_BYTES)


def _checked(text: str, folder: Path, suffixes: Sequence[str], most_bytes: int) -> tuple[Path, str]:
    if not text.isprintable() or not text.strip():
        raise ValueError("its name is empty, not UTF-8 or holds control characters; rename it")
    if text.startswith("~") and not text.startswith("~/"):
        raise ValueError("write the path in full; only ~/ is understood")
    path = Path(text).expanduser() if text.startswith("~/") else folder / text
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"name a file of type {', '.join(suffixes)}")
    try:
        if path.is_dir():
            raise ValueError("it is a folder; name a file in it")
        if not path.is_file():
            raise ValueError("there is no such file; check the path")
        size = path.stat().st_size
        if size == 0:
            raise ValueError("the file is empty; name one with something in it")
        if size > most_bytes:
            most = f"{most_bytes >> 30} GiB" if most_bytes >= 1 << 30 else f"{most_bytes >> 20} MiB"
            raise ValueError(f"the file is larger than {most}; name a smaller one")
        with path.open("rb") as file:
            start = file.read(4096)
            if suffixes is DOCUMENT_SUFFIXES:
                _check_kind(path, start)
            elif (begins := _BEGINS.get(path.suffix.lower())) and not start.startswith(begins):
                raise ValueError(f"it is named {path.suffix.lower()} but is none; export it again")
            file.seek(0)
            return path.resolve(), hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror}); check its permissions") from error


def _check_kind(path: Path, start: bytes) -> None:
    """What can be told of a document at once; what is in it is for the document stage."""
    suffix = path.suffix.lower()
    if suffix in _ZIPPED:
        if not start.startswith(b"PK\x03\x04"):
            raise ValueError(f"it is named {suffix} but is none; export it again")
        return
    if suffix != ".pdf":
        if b"%PDF-" not in start[:1024] and b"\0" in start:
            raise ValueError("it holds binary data, no text; name a document of the type it says")
        return
    if b"%PDF-" not in start[:1024]:
        raise ValueError("it is named .pdf but is no PDF; export it again as PDF")
    try:
        import pypdfium2
    except ImportError:
        return  # a machine that only hands jobs in need not be able to read them
    try:
        pypdfium2.PdfDocument(path).close()
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ValueError("it is encrypted; save it without a password") from error
        raise ValueError("it is not a readable PDF (damaged or cut off); export it again") from error
