"""Documents that are no papers: slides, web pages, books, scans, other languages, a person's own pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

import msgspec
import pypdfium2 as pdfium
import pytest
import typst
from PIL import Image
from pptx import Presentation
from pptx.util import Inches

from hpcwise.core.document import Document
from hpcwise.core.errors import DocumentError
from hpcwise.models.base import Call
from hpcwise.models.document.adapter import DocumentAdapter


def read(path: Path, work: Path, **params: object) -> Document:
    """The document of a file, as the stage leaves it; its spans hold."""
    work.mkdir(exist_ok=True)
    call = Call("document", {"path": str(path), **params}, 0, {}, work)
    (output,) = DocumentAdapter().run(call, lambda *_: None, lambda: False)
    document = msgspec.json.decode(output.files["document.json"].read_bytes(), type=Document)
    text = output.files["document.txt"].read_text("utf-8")
    spans = document.spans()
    assert all(text[a:b] == source for source, (a, b) in spans.items())
    assert len(spans) >= document.n_sentences
    return document


def prose(document: Document) -> dict[str, list[str]]:
    return {section.heading: [s.text for s in section.sentences] for section in document.sections}


def png(width: int = 400, height: int = 240) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (40, 90, 160)).save(out, "PNG")
    return out.getvalue()


def test_slides_speak_by_their_notes_and_points_and_show_their_pictures(tmp_path: Path) -> None:
    deck = Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "Kites that pull ships"
    second = deck.slides.add_slide(deck.slide_layouts[1])
    second.shapes.title.text = "Why kites"
    second.placeholders[
        1
    ].text = "kites use the wind above the waves\nFuel\nWinches are heavy and costly to maintain"
    second.notes_slide.notes_text_frame.text = "A kite of this size saves two tonnes of fuel a day."
    third = deck.slides.add_slide(deck.slide_layouts[5])
    third.shapes.title.text = "Pull over one day"
    third.shapes.add_picture(io.BytesIO(png()), Inches(1), Inches(2))
    third.notes_slide.notes_text_frame.text = "The pull follows the wind with a delay of two minutes."
    hidden = deck.slides.add_slide(deck.slide_layouts[5])
    hidden.shapes.title.text = "Backup slide that nobody should see"
    hidden._element.set("show", "0")
    deck.save(str(tmp_path / "kites.pptx"))
    document = read(tmp_path / "kites.pptx", tmp_path / "work", max_pages=3)
    assert (document.title, document.n_pages, document.language) == ("Kites that pull ships", 3, "en")
    assert prose(document) == {
        "Why kites": [
            "A kite of this size saves two tonnes of fuel a day.",
            "Kites use the wind above the waves.",
            "Winches are heavy and costly to maintain.",
        ],
        "Pull over one day": ["The pull follows the wind with a delay of two minutes."],
    }
    (figure,) = document.figures
    assert (figure.label, figure.caption, figure.page) == ("Slide 3", "Pull over one day", 3)
    assert (tmp_path / "work" / figure.file).is_file()


SLIDES = """
#set page(width: 16cm, height: 9cm, margin: 1cm)
#set text(size: 12pt)
#align(center + horizon)[#text(size: 26pt)[Kites that pull ships]]
#pagebreak()
#text(size: 22pt)[Why kites]
- Winches are heavy, and they are costly to maintain on long journeys
- Crews need months of training before they can fly a kite at night, which
  makes trained crews rare
#pagebreak()
#text(size: 22pt)[Pull of the kite]
#rect(width: 9cm, height: 4cm, fill: blue)
- The pull follows the wind with a delay of two minutes
- Batteries store the energy that the motor gives back
"""


def test_slides_in_a_pdf_are_told_from_a_paper_and_shown_whole(tmp_path: Path) -> None:
    (tmp_path / "deck.typ").write_text(SLIDES, "utf-8")
    typst.compile(str(tmp_path / "deck.typ"), output=str(tmp_path / "deck.pdf"))
    document = read(tmp_path / "deck.pdf", tmp_path / "work")
    assert document.title == "Kites that pull ships"
    assert prose(document) == {
        "Why kites": [
            "Winches are heavy, and they are costly to maintain on long journeys.",
            "Crews need months of training before they can fly a kite at night, "
            "which makes trained crews rare.",
        ],
        "Pull of the kite": [
            "The pull follows the wind with a delay of two minutes.",
            "Batteries store the energy that the motor gives back.",
        ],
    }
    (figure,) = document.figures
    assert (figure.label, figure.caption) == ("Slide 3", "Pull of the kite")
    assert figure.width_px / figure.height_px == pytest.approx(16 / 9, rel=0.02)


PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Kites | The Daily Kite</title>
<meta name="author" content="Ada Lindqvist"><style>p {color: red}</style></head><body>
<nav><p>Home is where the menu is, and it has many entries.</p></nav>
<div class="cookie banner"><p>This site uses cookies and would like you to agree.</p></div>
<article><h1>Kites that pull ships</h1>
<p>Large kites can pull ships across the <b>ocean</b> in most winds.<sup>1</sup></p>
<h2>1. Motors</h2><ul><li>A small motor turns the kite by shortening one line.</li>
<li>Batteries store what the motor gives back.</li></ul>
<figure><img src="data:image/png;base64,PICTURE"><figcaption><p>Figure 2: Pull over a day.</p></figcaption>
</figure>
<p class="caption">A kite of the harbour is seen from the bridge.</p>
<p>Table 2: The kites of the harbour are listed.</p>
<img src="https://example.org/other.png" alt="a picture that lies elsewhere">
<pre>fit(x) is code and not a sentence of prose.</pre>
<p>Crews need months of training before they can fly a kite at night.</p>
<h2>References</h2><p>Marsh wrote about kites before anybody else did it.</p></article>
<footer><p>All of this was written by people of flesh and blood.</p></footer></body></html>"""


def test_a_web_page_is_read_without_its_menus_and_references(tmp_path: Path) -> None:
    text = PAGE.replace("PICTURE", base64.b64encode(png()).decode())
    (tmp_path / "kites.html").write_text(text, "utf-8")
    document = read(tmp_path / "kites.html", tmp_path / "work")
    assert (document.title, document.authors) == ("Kites that pull ships", ("Ada Lindqvist",))
    assert prose(document) == {
        "": ["Large kites can pull ships across the ocean in most winds."],
        "Motors": [
            "A small motor turns the kite by shortening one line.",
            "Batteries store what the motor gives back.",
            "Crews need months of training before they can fly a kite at night.",
        ],
    }
    assert [(f.label, f.caption) for f in document.figures] == [("Figure 2", "Pull over a day.")]


def test_a_book_is_read_chapter_by_chapter(tmp_path: Path) -> None:
    def page(body: str) -> str:
        return f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'

    opf = """<package xmlns="http://www.idpf.org/2007/opf"><metadata
      xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Kite Book</dc:title>
      <dc:creator>Bo Marsh</dc:creator></metadata><manifest>
      <item id="c" href="text/copyright.xhtml"/><item id="two" href="text/two.xhtml"/>
      <item id="one" href="text/one.xhtml"/></manifest>
      <spine><itemref idref="c"/><itemref idref="one"/><itemref idref="two"/></spine></package>"""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    )
    with zipfile.ZipFile(tmp_path / "kites.epub", "w") as book:
        book.writestr("META-INF/container.xml", container)
        book.writestr("OPS/book.opf", opf)
        book.writestr("OPS/text/copyright.xhtml", page("<p>Nobody may copy any of this without asking.</p>"))
        book.writestr(
            "OPS/text/one.xhtml",
            page("<h1>Chapter 1. Wind</h1><p>The wind is stronger above the waves. It rarely stops there.</p>"
                 '<p><img src="../img/kite.png" alt="A kite over the open sea"/></p>'),
        )  # fmt: skip
        book.writestr("OPS/img/kite.png", png())
        book.writestr(
            "OPS/text/two.xhtml",
            page("<h1>Chapter 2. Motors</h1><p>A small motor turns the kite. Three sensors have a vote.</p>"),
        )
    document = read(tmp_path / "kites.epub", tmp_path / "work")
    assert (document.title, document.authors) == ("The Kite Book", ("Bo Marsh",))
    assert prose(document) == {
        "Wind": ["The wind is stronger above the waves.", "It rarely stops there."],
        "Motors": ["A small motor turns the kite.", "Three sensors have a vote."],
    }
    assert [f.caption for f in document.figures] == ["A kite over the open sea"]


def test_a_damaged_book_or_deck_is_named_in_one_line(tmp_path: Path) -> None:
    for name, kind in (("a.epub", "EPUB"), ("a.pptx", "PPTX")):
        (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(200))
        with pytest.raises(
            DocumentError, match=rf"^{name}: is not a readable {kind}.*export it again"
        ) as caught:
            read(tmp_path / name, tmp_path / "work")
        assert "\n" not in str(caught.value)
        (tmp_path / name).write_text("hello")
        with pytest.raises(DocumentError, match=rf"^{name}: is named .{kind.lower()} but is none"):
            read(tmp_path / name, tmp_path / "work")


SCANNED = """
#set page(width: 14cm, height: 12cm, margin: 1.5cm)
#set text(size: 11pt)
#align(center)[#text(size: 18pt)[Large kites at sea]]
#v(6pt)
Ships burn a great deal of heavy fuel when they cross the ocean. Large kites can pull ships, but they are
difficult to steer in gusts of wind. The kite stayed in the air for 96 hours without a landing. Crews need
months of training before they can fly a kite at night.
"""


def test_a_scanned_page_is_read_from_its_picture(tmp_path: Path) -> None:
    (tmp_path / "s.typ").write_text(SCANNED, "utf-8")
    typst.compile(str(tmp_path / "s.typ"), output=str(tmp_path / "text.pdf"))
    with pdfium.PdfDocument(tmp_path / "text.pdf") as pdf:
        pdf[0].render(scale=200 / 72).to_pil().convert("L").save(tmp_path / "scan.pdf", resolution=200)
    document = read(tmp_path / "scan.pdf", tmp_path / "work")
    assert document.title == "Large kites at sea"
    assert [s for said in prose(document).values() for s in said] == [
        "Ships burn a great deal of heavy fuel when they cross the ocean.",
        "Large kites can pull ships, but they are difficult to steer in gusts of wind.",
        "The kite stayed in the air for 96 hours without a landing.",
        "Crews need months of training before they can fly a kite at night.",
    ]


def test_a_language_that_nobody_here_speaks_is_named(tmp_path: Path) -> None:
    german = (
        "Schiffe verbrauchen viel Treibstoff auf dem Weg über das Meer. Große Drachen können sie ziehen. "
        "Die Mannschaft braucht Monate, bis sie einen Drachen bei Nacht steuern kann. Der Wind weht dort "
        "oben stärker als über den Wellen."
    )
    (tmp_path / "drachen.txt").write_text(german, "utf-8")
    with pytest.raises(DocumentError) as caught:
        read(tmp_path / "drachen.txt", tmp_path / "work")
    assert str(caught.value) == (
        "drachen.txt: is written in German; screenplay and voices know English only, so give an "
        "English document"
    )
    japanese = "船は海を渡るときに多くの燃料を使います。大きな凧は船を引くことができます。" * 4
    (tmp_path / "tako.txt").write_text(japanese, "utf-8")
    with pytest.raises(DocumentError, match=r"^tako\.txt: is written in Japanese; "):
        read(tmp_path / "tako.txt", tmp_path / "work")


def test_a_persons_own_pictures_follow_those_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "Kites\n\nLarge kites can pull ships. A motor turns the kite. The wind is strong there. "
        "It almost never stops.\n"
    )
    chart = png(900, 300)
    (tmp_path / "chart.png").write_bytes(chart)
    own = [{"sha256": hashlib.sha256(chart).hexdigest(), "caption": "Fuel by month"}]
    paths = [str(tmp_path / "chart.png")]
    document = read(tmp_path / "a.txt", tmp_path / "work", pictures=own, picture_paths=paths)
    assert [(f.label, f.caption, f.width_px) for f in document.figures] == [
        ("Picture 1", "Fuel by month", 900)
    ]
    (tmp_path / "chart.png").write_bytes(png(10, 10))
    with pytest.raises(DocumentError, match=r"^chart\.png: has changed since it was submitted"):
        read(tmp_path / "a.txt", tmp_path / "work", pictures=own, picture_paths=paths)


EQUATIONS = """
#set page(width: 16cm, height: 14cm, margin: 2cm)
#set math.equation(numbering: "(1)")
#text(size: 18pt)[The pull of large kites]

Large kites can pull ships across the ocean in most winds. The pull of a kite grows with the wind.
$ F = 1/2 rho v^2 A c $
The kite stayed in the air for 96 hours without a landing.
$ P = F v + sum_(i=1)^n p_i $
Equation (2) gives the power that the ship gets from its kite. Nobody has measured it before this summer.
Crews need months of training before they can fly a kite at night in gusts of wind.
"""


def test_an_equation_that_the_text_names_is_a_picture(tmp_path: Path) -> None:
    (tmp_path / "e.typ").write_text(EQUATIONS, "utf-8")
    typst.compile(str(tmp_path / "e.typ"), output=str(tmp_path / "e.pdf"))
    (figure,) = read(tmp_path / "e.pdf", tmp_path / "work").figures
    assert (figure.label, figure.caption, figure.page) == ("Equation 2", "", 1)
    assert 1 < figure.width_px / figure.height_px <= 3.3
    with Image.open(tmp_path / "work" / figure.file) as image:
        ink = image.convert("L").point(lambda value: 255 if value < 128 else 0).getbbox()
    assert ink is not None
    assert min(ink[0], ink[1], image.width - ink[2], image.height - ink[3]) >= 8  # nothing is cut off


def test_a_slide_keeps_the_largest_of_its_pictures_and_no_words_that_programs_wrote(
    tmp_path: Path,
) -> None:
    deck = Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "Kites that pull ships"
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Who flies them"
    told = (
        "text download icon design 12243357 PNG",
        "A picture containing sky, outdoor. Description automatically generated",
        "A crew of two holds the line of a kite",
    )
    for n, words in enumerate(told):
        picture = second.shapes.add_picture(io.BytesIO(png()), Inches(1), Inches(n), width=Inches(1 + n))
        picture._element._nvXxPr.cNvPr.set("descr", words)
    second.notes_slide.notes_text_frame.text = (
        "A crew of two flies each kite. They train for a month. The wind is strong. It almost never stops."
    )
    deck.save(str(tmp_path / "kites.pptx"))
    document = read(tmp_path / "kites.pptx", tmp_path / "work")
    assert document.kind == "talk"
    assert [f.caption for f in document.figures] == ["Who flies them", told[2]]


def test_a_book_that_a_tool_named_is_called_by_its_first_heading_and_has_no_author(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.epub", "w") as book:
        book.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>',
        )
        book.writestr(
            "b.opf",
            "<package><metadata><title>Table of "
            "Contents</title><creator>Unknown</creator></metadata><manifest>"
            '<item id="a" href="a.html"/></manifest><spine><itemref idref="a"/></spine></package>',
        )
        book.writestr(
            "a.html",
            "<html><body><h1>Introduction</h1><h1>Flying at sea</h1><p>Large kites can pull ships. A "
            "motor turns "
            "the kite. The wind is strong there. It almost never stops. Issues and suggestions can be "
            "sent via "
            "the page of the project.</p></body></html>",
        )
    document = read(tmp_path / "b.epub", tmp_path / "work")
    assert (document.title, document.authors, document.kind) == ("Flying at sea", (), "book")
    assert document.sections[-1].sentences[-1].text == "It almost never stops."


def test_a_projects_page_is_named_by_its_logo_without_its_sponsors(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        '<img src="kite.svg" alt="KiteShip">\n\n[![Build Status](https://a.b/c.svg)](https://a.b)\n\n'
        "KiteShip steers large kites from the bridge. It reads the wind ten times a second.\n\n"
        "## Main features\n\nA winch takes the line in. The software knows four kinds of kites.\n\n"
        "## Business enquiries\n\nKiteShip would not be what it is without those who pay for it.\n"
    )
    document = read(tmp_path / "README.md", tmp_path / "work")
    assert document.title == "KiteShip"
    assert list(prose(document)) == ["", "Main features"]
    (tmp_path / "x.md").write_text(
        "Kites pull ships. They use the wind.\n\n![A screenshot](a.png)\n\nA winch takes the line in. A "
        "motor turns the kite. It weighs nine kilograms.\n"
    )
    assert read(tmp_path / "x.md", tmp_path / "work2").title == ""


def test_a_page_of_a_site_is_called_by_its_own_heading_or_the_windows_first_part(tmp_path: Path) -> None:
    text = (
        "<p>Large kites can pull ships. A motor turns the kite. The wind is strong there. It almost "
        "never stops.</p>"
    )
    site = "<html><title>Flying at Sea - The Kite Book</title><body><div><h1>The Kite Book</h1></div>"
    (tmp_path / "a.html").write_text(f"{site}<main><h2>Wind</h2>{text}</main></body></html>")
    assert read(tmp_path / "a.html", tmp_path / "a").title == "Flying at Sea"
    (tmp_path / "b.html").write_text(f"{site}<main><h1>Flying by Night</h1>{text}</main></body></html>")
    assert read(tmp_path / "b.html", tmp_path / "b").title == "Flying by Night"
    (tmp_path / "c.html").write_text(f"{site}<h1>1. Introduction</h1>{text}<h1>2. Wind</h1></body></html>")
    assert read(tmp_path / "c.html", tmp_path / "c").title == "Flying at Sea"
