"""Figures where they are hard to cut: under a running head, beside another figure with turned labels."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hpcwise.core.document import Document
from hpcwise.models.base import Call
from hpcwise.models.document import layout
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
