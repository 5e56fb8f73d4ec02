"""Figures where they are hard to cut: under a running head, beside another figure with turned labels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pypdfium2 as pdfium

from hpcwise.core.document import Document
from hpcwise.models.base import Call
from hpcwise.models.document import figures, glyphs, layout
from hpcwise.models.document.adapter import DocumentAdapter
from hpcwise.models.document.glyphs import Line, PageText

WHITE_PAPER = Path(__file__).resolve().parents[2] / "jobs" / "inputs" / "hpcwise.pdf"


def test_figures_of_the_white_paper_end_at_their_column_whatever_stands_beside_them(tmp_path: Path) -> None:
    call = Call("document", {"path": str(WHITE_PAPER)}, 0, {}, tmp_path)
    [output] = DocumentAdapter().run(call, lambda *_: None, lambda: False)
    found = msgspec.json.decode(output.files["document.json"].read_bytes(), type=Document).figures
    assert len(found) == 4
    # Three pixels a point, columns of 246 points and a rim: the labels turned in Figure 4's column are not in
    # Figure 2 beside it.
    assert max(figure.width_px for figure in found) <= 246 * 3 + 30


def line(text: str, y0: float, size: float = 9.0) -> Line:
    return Line(page=0, text=text, x0=100.0, y0=y0, x1=400.0, y1=y0 + size, base=y0 + size, size=size)


def test_running_heads_of_small_formats_are_dropped_and_bound_what_is_below_them() -> None:
    # Springer's proceedings: the head stands 13 % down the page.
    pages = [PageText(index=i, width=612.0, height=792.0, rotated=False) for i in range(3)]
    for page in pages:
        own = f"Unlike text {page.index * 'x'}"
        page.lines = [line(f"Kites at Sea {page.index}", 93.0), line(own, 119.0)]
    layout.drop_running_heads(pages)
    assert [[x.text for x in page.lines] for page in pages[1:]] == [["Unlike text x"], ["Unlike text xx"]]
    assert [page.head for page in pages[1:]] == [102.0, 102.0]


def test_labels_of_figures_at_the_head_of_pages_are_no_running_heads() -> None:
    pages = [PageText(index=i, width=612.0, height=792.0, rotated=False) for i in range(3)]
    for page in pages:
        page.lines = [line(f"Unlike text {page.index * 'x'}", 300.0), line("Kites at Sea", 50.0)]
    pages[1].lines += [line("ML-SVM", 79.0)]
    pages[2].lines += [line("ML-SVM", 70.0), line("1", 62.0), line("2", 62.0)]
    layout.drop_running_heads(pages)
    assert [[x.text for x in page.lines] for page in pages[1:]] == [
        ["Unlike text x", "ML-SVM"],
        ["Unlike text xx", "ML-SVM", "1", "2"],
    ]
    assert [page.head for page in pages[1:]] == [59.0, 59.0]


def at(text: str, y0: float, x0: float = 72.0, x1: float = 540.0) -> Line:
    return Line(page=0, text=text, x0=x0, y0=y0, x1=x1, y1=y0 + 10, base=y0 + 8, size=10.0)


def test_a_table_and_a_picture_with_nothing_between_them_are_parted_where_it_is_white() -> None:
    page = PageText(index=0, width=612.0, height=792.0, rotated=False)
    wide = "Running text that is as wide as the column and bounds what is shown on this page of a paper"
    page.lines = [at(wide, 100.0), at(wide, 600.0)]
    page.lines += [at("Table 1: Pull.", 130.0, 80.0, 140.0), at("Figure 1: Drift.", 500.0, 80.0, 140.0)]
    page.lines += [at(f"{n}", 175.0 + 17 * n, 90.0 + 100 * n, 100.0 + 100 * n) for n in (0, 1, 2, 3)]
    layout.set_columns(page)
    drawn = [(80.0, 160.0, 400.0, 162.0), (80.0, 250.0, 400.0, 252.0), (80.0, 300.0, 400.0, 480.0)]
    table, figure = figures.find(page, drawn, 10.0, frozenset())
    assert (table.label, figure.label) == ("Table 1", "Figure 1")
    assert table.box is not None and figure.box is not None
    assert table.box[1] < 160 and table.box[3] == figure.box[1] == 276.0 and figure.box[3] > 480


def test_captions_side_by_side_own_what_stands_above_each_of_them() -> None:
    page = PageText(index=0, width=612.0, height=792.0, rotated=False)
    wide = "Running text that is as wide as the column and bounds what is shown on this page of a paper"
    left, right = at("Figure 2: Pull.", 300.0, 80.0, 140.0), at("Table 2: Mass.", 300.0, 330.0, 400.0)
    page.lines = [at(wide, 500.0), left, right]
    layout.set_columns(page)
    drawn = [(80.0, 60.0, 280.0, 280.0), (330.0, 60.0, 530.0, 280.0)]
    figure, table = figures.find(page, drawn, 10.0, frozenset())
    assert figure.box is not None and table.box is not None
    assert figure.box[2] < 300 < table.box[0]


def test_the_size_of_a_page_may_stand_in_its_parent(tmp_path: Path) -> None:
    body = b"0 0 1 rg 100 700 200 80 re f"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 400 900]>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(body), body),
    ]
    data, places = b"%PDF-1.4\n", []
    for n, text in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj%b endobj\n" % (n, text)
    table = b"".join(b"%010d 00000 n \n" % at for at in places)
    trailer = b"xref\n0 5\n0000000000 65535 f \n%btrailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    (tmp_path / "a.pdf").write_bytes(data + trailer % (table, len(data)))
    with pdfium.PdfDocument(tmp_path / "a.pdf") as pdf:
        page = glyphs.read_page(pdf[0], 0)
        assert (page.width, page.height) == (400.0, 900.0)
        (box,) = figures.drawn_boxes(pdf[0], page.width, page.height)
    assert box == (100.0, 120.0, 300.0, 200.0)


def test_a_listing_does_not_take_the_drawing_of_the_figure_below_it() -> None:
    page = PageText(index=0, width=612.0, height=792.0, rotated=False)
    wide = "Running text that is as wide as the column and bounds what is shown on this page of a paper"
    page.lines = [at("for (i = 0; i < 9; ++i) {", 70.0, 80.0, 240.0), at(wide, 400.0)]
    page.lines += [
        at("Figure 1: A program.", 130.0, 80.0, 200.0),
        at("Figure 2: Its states.", 350.0, 80.0, 200.0),
    ]
    layout.set_columns(page)
    listing, states = figures.find(page, [(80.0, 160.0, 500.0, 330.0)], 10.0, frozenset())
    assert (listing.label, listing.box) == ("Figure 1", None)
    assert states.box is not None and states.box[1] < 160 < 330 < states.box[3]


def test_each_of_two_tables_above_their_captions_goes_to_its_own() -> None:
    page = PageText(index=0, width=612.0, height=792.0, rotated=False)
    wide = "Running text that is as wide as the column and bounds what is shown on this page of a paper"
    page.lines = [at("Table 5: Pull.", 200.0, 80.0, 140.0), at("Table 6: Mass.", 360.0, 80.0, 140.0)]
    page.lines.append(at(wide, 400.0))
    layout.set_columns(page)
    drawn = [(80.0, 70.0, 500.0, 190.0), (80.0, 214.0, 500.0, 340.0), (2.0, 40.0, 560.0, 700.0)]
    found = figures.find(page, drawn, 10.0, frozenset())
    assert [(x.label, x.box and (x.box[1], x.box[3])) for x in found] == [
        ("Table 5", (65.0, 195.0)),
        ("Table 6", (211.0, 345.0)),
    ]


def test_the_last_line_of_a_widely_set_paragraph_is_no_part_of_the_figure_below_it() -> None:
    page = PageText(index=0, width=612.0, height=792.0, rotated=False)
    wide = "Running text that is as wide as the column and bounds what is shown on this page of a paper"
    page.lines = [at(wide, 60.0), at(wide, 84.0), at("the end of it.", 108.0, 72.0, 150.0)]
    page.lines += [
        at("Pull", 126.0, 200.0, 230.0),
        at("Figure 1: Pull.", 360.0, 80.0, 140.0),
        at(wide, 400.0),
    ]
    layout.set_columns(page)
    (figure,) = figures.find(page, [(80.0, 140.0, 500.0, 340.0)], 10.0, frozenset())
    assert figure.box is not None
    assert 118 <= figure.box[1] <= 126
    assert "the end of it." not in [x.text for x in figure.lines]
