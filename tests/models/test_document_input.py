"""Bad and simple inputs of the document stage: one clear line each, nothing half written."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import msgspec
import pytest
import typst

from hpcwise.core.document import Document
from hpcwise.core.errors import DocumentError, Stopped
from hpcwise.models.base import Call, Output
from hpcwise.models.document.adapter import DocumentAdapter

PROSE = (
    "The harbour was quiet on that day. Nine boats lay at the pier. "
    "Nobody went out to fish. It was cold and grey."
)


def outputs(path: Path, work: Path, **params: object) -> list[Output]:
    work.mkdir(exist_ok=True)
    call = Call("document", {"path": str(path), **params}, 0, {}, work)
    return list(DocumentAdapter().run(call, lambda *_: None, lambda: False))


def document_of(path: Path, work: Path) -> Document:
    return msgspec.json.decode(outputs(path, work)[0].files["document.json"].read_bytes(), type=Document)


def encrypted_pdf() -> bytes:
    """A PDF under the standard handler (40-bit RC4) that opens with the password "kite" only."""
    pad = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")

    def rc4(key: bytes, data: bytes) -> bytes:
        s, j = list(range(256)), 0
        for i in range(256):
            j = (j + s[i] + key[i % len(key)]) % 256
            s[i], s[j] = s[j], s[i]
        out, i, j = bytearray(), 0, 0
        for byte in data:
            i = (i + 1) % 256
            j = (j + s[i]) % 256
            s[i], s[j] = s[j], s[i]
            out.append(byte ^ s[(s[i] + s[j]) % 256])
        return bytes(out)

    padded, identity = (b"kite" + pad)[:32], b"0123456789abcdef"
    owner = rc4(hashlib.md5(padded).digest()[:5], padded)
    key = hashlib.md5(padded + owner + (0xFFFFFFFC).to_bytes(4, "little") + identity).digest()[:5]
    user = rc4(key, pad)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
        b"<</Filter/Standard/V 1/R 2/P -4/O<" + owner.hex().encode() + b">/U<" + user.hex().encode() + b">>>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % x for x in offsets)
    ident = identity.hex().encode()
    out += b"trailer\n<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<%s><%s>]>>\n" % (ident, ident)
    return out + b"startxref\n%d\n%%%%EOF\n" % xref


CASES = {
    "empty.pdf": (b"", "empty.pdf: is empty; give a file with text"),
    "letter.pdf": (b"Dear reader", "letter.pdf: is named .pdf but is no PDF; export it again as PDF"),
    "torn.pdf": (
        b"%PDF-1.7\n1 0 obj\n<<",
        "torn.pdf: is not a readable PDF (damaged or cut off); export it again",
    ),
    "locked.pdf": (
        encrypted_pdf(),
        "locked.pdf: is encrypted; save a copy without a password and give that one",
    ),
    "film.docx": (
        b"PK\3\4",
        "film.docx: type .docx cannot be read; "
        "give .pdf, .pptx, .md, .markdown, .html, .htm, .epub, .txt, .text",
    ),
    "noise.txt": (b"\0\1\2\3" * 99, "noise.txt: holds binary data, no text; give a document"),
    "short.txt": (
        b"Only this one sentence is here.",
        "short.txt: only 1 sentences of running English text were found; give a document with at least 4",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_cannot_be_used_gives_one_line_with_its_name_and_the_fix(
    name: str, tmp_path: Path
) -> None:
    data, message = CASES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        outputs(tmp_path / name, tmp_path / "work")
    assert str(caught.value) == message
    assert list((tmp_path / "work").iterdir()) == []


def test_a_text_of_symbols_is_told_from_letters(tmp_path: Path) -> None:
    (tmp_path / "zapf.typ").write_text("✈❛r✐❛❜❧❡ ❋♦r ❡①❛♠♣❧❡ ❤❡r❡ " * 40, "utf-8")
    typst.compile(str(tmp_path / "zapf.typ"), output=str(tmp_path / "zapf.pdf"))
    with pytest.raises(DocumentError, match=r"^zapf\.pdf: its fonts do not say which letters they draw"):
        outputs(tmp_path / "zapf.pdf", tmp_path / "work")


def test_missing_files_folders_and_malformed_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"^gone\.pdf: there is no such file; check the path$"):
        outputs(tmp_path / "gone.pdf", tmp_path / "work")
    with pytest.raises(DocumentError, match=r"^\S+: is not a file; give a document"):
        outputs(tmp_path, tmp_path / "work")
    with pytest.raises(DocumentError, match=r"^a\?b\.pdf: cannot be read \(the path is malformed\)"):
        outputs(tmp_path / "a\0b.pdf", tmp_path / "work")


def test_a_file_that_changed_since_its_submission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(PROSE, "utf-8")
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(outputs(path, tmp_path / "work", sha256=good)) == 1
    path.write_text(PROSE + " One boat left.", "utf-8")
    with pytest.raises(DocumentError, match=r"^a\.txt: has changed since it was submitted; submit it again$"):
        outputs(path, tmp_path / "again", sha256=good)


def test_markdown_keeps_its_headings_and_loses_its_markup(tmp_path: Path) -> None:
    text = (
        "# A Day at the Harbour\n\nThe *harbour* was quiet on that day. "
        "Nine [boats](http://x.y/z) lay at the pier.\n\n"
        "## The **wind**\n\nIt came from the east all morning.\n```\ncode that nobody reads aloud.\n```\n"
        "- The first boat had a green hull.\n- The second boat was grey.\n\n"
        "Evening\n-------\nEverybody went home early.\n\n"
        "## References\n\nA book about boats was printed in 1901.\n"
    )
    (tmp_path / "day.md").write_text(text, "utf-8")
    document = document_of(tmp_path / "day.md", tmp_path / "work")
    assert document.title == "A Day at the Harbour"
    assert [(s.heading, [x.text for x in s.sentences]) for s in document.sections] == [
        ("", ["The harbour was quiet on that day.", "Nine boats lay at the pier."]),
        (
            "The wind",
            [
                "It came from the east all morning.",
                "The first boat had a green hull.",
                "The second boat was grey.",
            ],
        ),
        ("Evening", ["Everybody went home early."]),
    ]


def test_control_characters_do_not_get_into_the_document(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(PROSE.replace("quiet", "qui\x1b[31met\x07\u202e").encode())
    document = document_of(tmp_path / "c.txt", tmp_path / "work")
    assert document.sections[0].sentences[0].text == "The harbour was qui[31met on that day."


def test_a_stop_between_two_pages_leaves_no_document(tmp_path: Path) -> None:
    source = "\n#pagebreak()\n".join(f"Page {i} holds one sentence about a boat." for i in range(9))
    (tmp_path / "b.typ").write_text(source, "utf-8")
    typst.compile(str(tmp_path / "b.typ"), output=str(tmp_path / "b.pdf"))

    def stop(done: int, total: int, note: str) -> None:
        if note == "read page 3":
            raise Stopped

    work = tmp_path / "work"
    work.mkdir()
    call = Call("document", {"path": str(tmp_path / "b.pdf")}, 0, {}, work)
    with pytest.raises(Stopped):
        list(DocumentAdapter().run(call, stop, lambda: False))
    assert list(work.iterdir()) == []


def test_of_five_hundred_pages_the_first_sixty_are_read_and_the_rest_is_said_to_be_left(
    tmp_path: Path,
) -> None:
    dice = random.Random(5)
    who = ("The harbour master", "An old fisherman", "The young pilot", "Every sailor on the pier")
    does = ("counted the boats", "looked at the grey water", "mended a torn net", "waited for the wind")
    when = ("before the storm came", "until it was dark", "while the tide was low", "and said nothing more")

    def page(n: int) -> str:
        said = (f"{dice.choice(who)} {dice.choice(does)} {dice.choice(when)}." for _ in range(12))
        return f"= Day {n}\n{' '.join(said)}\n"

    pages = "#pagebreak()\n".join(page(n) for n in range(1, 501))
    source, path = tmp_path / "book.typ", tmp_path / "book.pdf"
    source.write_text(pages)
    typst.compile(str(source), output=str(path))
    [output] = outputs(path, tmp_path / "work")
    assert (output.facts["n_pages"], output.facts["truncated"]) == (500, True)
    document = msgspec.json.decode(output.files["document.json"].read_bytes(), type=Document)
    assert max(sentence.page for section in document.sections for sentence in section.sentences) == 60
