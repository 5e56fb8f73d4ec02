"""The document stage on papers set for these tests: every fact of the page is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typst
from PIL import Image, ImageDraw

from hpcwise.core.document import Document
from hpcwise.models.base import Call, Output
from hpcwise.models.document.adapter import DocumentAdapter
from hpcwise.models.document.front import find_title, front_lines, names_in
from hpcwise.models.document.glyphs import Line, PageText
from hpcwise.models.document.layout import in_reading_order, set_columns
from hpcwise.models.document.prose import to_sections
from hpcwise.models.document.sentences import clean, join_lines

PAPER = r"""
#set page(paper: "a4", columns: 2, margin: (x: 2cm, y: 2.4cm), numbering: "1",
  header: context if counter(page).get().first() > 1 [_Kite Control at Sea_ #h(1fr) Journal of Winds])
#set text(size: 10pt, font: "New Computer Modern", hyphenate: true, lang: "en")
#set par(justify: true, first-line-indent: 1em)
#set heading(numbering: "1.1")
#set figure.caption(separator: [: ])
#place(top + center, scope: "parent", float: true)[
  #text(size: 17pt, weight: "bold")[Steering Large Kites with Small Motors at Sea]
  #v(2mm)
  #text(size: 12pt)[Ada Lindqvist#super[1], Bo van der Meer#super[2] and Chen Wei-Lin#super[1]]
  #v(1mm)
  #text(size: 9pt)[#super[1]University of Tromsø, #super[2]Delft Institute of Wind]
]
#heading(numbering: none)[Abstract]
We present Fjord, a controller that steers large kites with small motors. Fjord uses
43% less energy than winches do on the open sea [3, 7].
= Introduction
Ships burn a great deal of heavy fuel when they cross the ocean against the wind (Marsh et al., 2019).
Large kites can pull such ships, but they are difficult to steer in gusts. Existing winches are heavy and
costly to maintain. The state-of-the-art controllers need a crew of four people.
The differ#[]ential method first finds efficient flight paths for the kite.
#figure(image("plot.png", width: 90%),
  caption: [Pull of the kite over one day. The dashed line is the wind.]) <pull>
= Method
Our controller measures the pull at three points of the line. As shown in Figure 1, the pull follows the
wind with a delay of two minutes. The gain is $alpha = sqrt(x^2 + 1)$ in all runs. However, the sensors
drift when they are wet. The motor turns the kite by shortening one of two lines.#footnote[Lines were bought
in Bergen.]
== Training on land
Every trial on land lasted for twenty minutes and used the same kite. A crane held the line at a height of
30 metres above the ground.
= Results
Fjord kept the kite in the air for 96 hours without a landing. The energy for steering fell from 5.1 kWh to
2.9 kWh a day. #lorem(520)
#figure(
  table(columns: 3, [Run], [Hours], [kWh], [One], [96], [2.9], [Two], [88], [3.1]),
  caption: [Two long runs.])
= Limitations
The tests covered summer weather only, and ice on the lines remains a challenge.
= Conclusion
Small motors are enough to steer large kites on the open sea.
#heading(numbering: none)[Acknowledgements]
We thank the crew of the ship for their patience and good coffee.
#heading(numbering: none)[References]
[3] A. Marsh. Winches at sea and what they cost the crew. Journal of Winds, 2019.

[7] B. Okafor. Kites were always there for those who looked. Sail Press, 2021.
"""


@dataclass(frozen=True)
class Read:
    """What the stage made of a file."""

    document: Document
    output: Output
    folder: Path
    steps: list[tuple[int, int, str]]


def read(path: Path, work: Path, **params: object) -> Read:
    """Run the stage as a worker does."""
    work.mkdir(exist_ok=True)
    steps: list[tuple[int, int, str]] = []
    call = Call("document", {"path": str(path), **params}, 0, {}, work)
    outputs = list(DocumentAdapter().run(call, lambda *step: steps.append(step), lambda: False))
    assert len(outputs) == 1
    raw = outputs[0].files["document.json"].read_bytes()
    return Read(msgspec.json.decode(raw, type=Document), outputs[0], work, steps)


def plot_png(path: Path) -> None:
    """A picture with ink up to its four corners, so that a cut can be told from a whole."""
    image = Image.new("RGB", (600, 300), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 599, 299), outline="black", width=8)
    draw.line((40, 260, 300, 60, 560, 200), fill="red", width=6)
    image.save(path)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Read:
    folder = tmp_path_factory.mktemp("paper")
    plot_png(folder / "plot.png")
    (folder / "paper.typ").write_text(PAPER, "utf-8")
    typst.compile(str(folder / "paper.typ"), output=str(folder / "paper.pdf"))
    return read(folder / "paper.pdf", folder / "work")


def sentences(document: Document, heading: str) -> list[str]:
    return [s.text for x in document.sections if x.heading == heading for s in x.sentences]


def test_title_and_authors_come_from_the_type_of_the_first_page(paper: Read) -> None:
    assert paper.document.title == "Steering Large Kites with Small Motors at Sea"
    assert paper.document.authors == ("Ada Lindqvist", "Bo van der Meer", "Chen Wei-Lin")


def test_sections_follow_two_columns_and_leave_out_thanks_and_references(paper: Read) -> None:
    assert [s.heading for s in paper.document.sections] == [
        "Abstract",
        "Introduction",
        "Method",
        "Training on land",
        "Results",
        "Limitations",
        "Conclusion",
    ]
    assert sentences(paper.document, "Introduction") == [
        "Ships burn a great deal of heavy fuel when they cross the ocean against the wind "
        "(Marsh et al., 2019).",
        "Large kites can pull such ships, but they are difficult to steer in gusts.",
        "Existing winches are heavy and costly to maintain.",
        "The state-of-the-art controllers need a crew of four people.",
        "The differential method first finds efficient flight paths for the kite.",
    ]


def test_mathematics_footnotes_and_table_cells_are_no_sentences(paper: Read) -> None:
    assert sentences(paper.document, "Method") == [
        "Our controller measures the pull at three points of the line.",
        "As shown in Figure 1, the pull follows the wind with a delay of two minutes.",
        "However, the sensors drift when they are wet.",
        "The motor turns the kite by shortening one of two lines.",
    ]
    everything = " ".join(s.text for x in paper.document.sections for s in x.sentences)
    for noise in ("Bergen", "Journal of Winds", "Okafor", "coffee", "Tromsø", "Two long runs", "dashed"):
        assert noise not in everything
    assert not set(everything) & {chr(c) for c in [*range(32), 0xAD, 0xFFFD, 0xFFFE, *range(0xE000, 0xE010)]}


def test_a_sentence_knows_its_page_and_paragraph(paper: Read) -> None:
    last = [s for x in paper.document.sections if x.heading == "Conclusion" for s in x.sentences]
    assert [(s.page, s.starts_paragraph) for s in last] == [(paper.document.n_pages, True)]
    first = [s for x in paper.document.sections if x.heading == "Introduction" for s in x.sentences]
    assert [s.starts_paragraph for s in first] == [True, False, False, False, False]


def test_a_figure_is_cut_out_whole_with_its_caption(paper: Read) -> None:
    figure = paper.document.figures[0]
    assert (figure.index, figure.label, figure.file) == (0, "Figure 1", "fig-0.png")
    assert figure.caption == "Pull of the kite over one day. The dashed line is the wind"
    image = Image.open(paper.folder / figure.file)
    assert image.size == (figure.width_px, figure.height_px)
    ink = np.asarray(image.convert("L")) < 100
    rows, columns = np.flatnonzero(ink.mean(axis=1) > 0.8), np.flatnonzero(ink.mean(axis=0) > 0.8)
    # the frame is there on all four sides, and nothing beyond it but the rim
    assert rows[0] <= 16
    assert rows[-1] >= image.height - 17
    assert columns[0] <= 16
    assert columns[-1] >= image.width - 17
    assert image.width > 500
    assert paper.output.files["fig-0.png"] == paper.folder / "fig-0.png"


def test_facts_say_what_the_planner_and_the_user_need(paper: Read) -> None:
    document = paper.document
    assert paper.output.facts == {
        "title": document.title,
        "authors": list(document.authors),
        "n_pages": document.n_pages,
        "n_figures": len(document.figures),
        "n_sentences": document.n_sentences,
        "truncated": False,
        "language": "en",
    }
    assert [x.label for x in document.figures] == ["Figure 1", "Table 1"]
    assert document.n_pages >= 2


def test_progress_is_told_page_by_page(paper: Read) -> None:
    notes = [note for _, _, note in paper.steps]
    assert [n for n in notes if n.startswith("read")] == [
        f"read page {i + 1}" for i in range(paper.document.n_pages)
    ]


def test_the_same_file_gives_the_same_bytes(paper: Read, tmp_path: Path) -> None:
    again = read(paper.folder.parent / "paper.pdf", tmp_path / "again")
    assert sorted(again.output.files) == sorted(paper.output.files)
    for name, path in again.output.files.items():
        assert path.read_bytes() == paper.output.files[name].read_bytes()


def test_pages_beyond_the_most_are_not_read_and_the_facts_say_so(tmp_path: Path) -> None:
    source = "#set page(width: 8cm, height: 8cm)\n" + "\n#pagebreak()\n".join(
        f"Page number {i} of this long book tells a story about the sea." for i in range(1, 521)
    )
    (tmp_path / "long.typ").write_text(source, "utf-8")
    typst.compile(str(tmp_path / "long.typ"), output=str(tmp_path / "long.pdf"))
    got = read(tmp_path / "long.pdf", tmp_path / "work", max_pages=6)
    assert (got.document.n_pages, got.document.truncated, got.output.facts["truncated"]) == (520, True, True)
    assert [s.page for x in got.document.sections for s in x.sentences] == [1, 2, 3, 4, 5, 6]


def test_without_larger_type_there_is_no_title_rather_than_a_wrong_one(tmp_path: Path) -> None:
    (tmp_path / "plain.typ").write_text(
        "A letter begins without any heading at all. It goes on for a while in the same type. "
        "Nobody signed it in the end. The reader is left to wonder who wrote it.",
        "utf-8",
    )
    typst.compile(str(tmp_path / "plain.typ"), output=str(tmp_path / "plain.pdf"))
    document = read(tmp_path / "plain.pdf", tmp_path / "work").document
    assert (document.title, document.authors, document.n_sentences) == ("", (), 4)


def line(text: str, base: float, size: float = 10.0, bold: int = 0, x1: float = 300.0) -> Line:
    """A line of a column that begins at 50 points; bold: so many letters at its start."""
    letters = sum(c != " " for c in text)
    return Line(0, 50.0, base - 8, x1, base + 2, base, size, text, bold=bold / letters, bold_lead=bold)


def test_headings_of_an_ieee_paper_are_known_by_their_form_and_stay_out_of_the_sentences() -> None:
    lines = [
        line("III. PROBLEM STATEMENT", 100, 8.0),
        line("We consider the problem of planning a robust grasp for one rigid", 120),
        line("object that lies on a flat table.", 132, x1=200),
        line("A. Physical Benchmark Description", 152, x1=200),
        line("We created a benchmark for grasping single objects on a tabletop", 170),
        line("to compare three methods. It was built with help from the lab of", 182),
        line("C. elegans researchers, who lent us a robot for these trials.", 194),
        line("Random Forests (ML). We also compared the performance of a forest", 206, bold=18),
        line("with 200 trees of depth up to 10.", 218, x1=200),
    ]
    sections = to_sections(lines, 10.0, frozenset(), 1)
    assert [(s.heading, [x.text for x in s.sentences]) for s in sections] == [
        (
            "Problem Statement",
            [
                "We consider the problem of planning a robust grasp for one rigid object that lies on a "
                "flat table."
            ],
        ),
        (
            "Physical Benchmark Description",
            [
                "We created a benchmark for grasping single objects on a tabletop to compare three methods.",
                "It was built with help from the lab of C. elegans researchers, who lent us a robot for "
                "these trials.",
                "We also compared the performance of a forest with 200 trees of depth up to 10.",
            ],
        ),
    ]


def test_a_heading_keeps_its_acronyms_goes_on_and_is_none_where_it_breaks_off() -> None:
    lines = [
        line("IV. MRKT (MARKET DRIVEN", 100, 8.0),
        line("KITE MODEL)", 112, 8.0),
        line("The MRKT was built for all of the kites that fly at sea.", 130),
        line("Divide the first part of the kite by", 150, bold=29),
        line("The sum of the lines is taken before the kite comes down.", 170),
        line("Chapter 2. Kites and their crews", 190, 12.0, bold=27),
        line("Three people fly a kite of this size in the harbour.", 210),
    ]
    sections = to_sections(lines, 10.0, frozenset(), 1)
    assert [(s.heading, len(s.sentences)) for s in sections] == [
        ("MRKT (Market Driven Kite Model)", 2),
        ("Kites and their crews", 1),
    ]


def test_accents_that_are_letters_of_their_own_go_back_to_their_letters() -> None:
    assert clean("the Lema\u02c6\u0131tre model of Andr\u00b4es") == "the Lema\u00eetre model of Andr\u00e9s"
    assert clean("it\u00b4s a kite") == "it\u00b4s a kite"


def test_whoever_is_no_person_is_no_author() -> None:
    assert names_in("Ada Marsh and Bo Lindqvist") == ("Ada Marsh", "Bo Lindqvist")
    assert names_in("Ada Marsh, MRC Biostatistics Unit Cambridge") == ()
    page = PageText(0, 600.0, 800.0, False)
    page.lines = [line("Seaside General Hospital", 60, 16.0), line("Report on a Broken Kite", 90, 14.0)]
    assert find_title([page], "", 10.0)[0] == "Report on a Broken Kite"


def test_a_compound_keeps_the_hyphen_at_which_its_line_ends() -> None:
    words = frozenset(["of", "the", "state-of-the-art", "art", "a", "method", "physics", "grasp"])
    assert join_lines(["a state-of\u00ad", "the-art method"], words) == "a state-of-the-art method"
    assert join_lines(["a physics\u00ad", "based method"], words) == "a physics-based method"
    words = frozenset(["load", "displacement", "con", "tract", "come", "over"])
    assert join_lines(["a load\u00ad", "displacement graph"], words) == "a load-displacement graph"
    assert join_lines(["to over\u00ad", "come"], words) == "to overcome"
    words = frozenset(["kitequery", "load"])
    assert (
        join_lines(["a Kite\u00ad", "Query of a Load\u00ad", "Query"], words) == "a KiteQuery of a Load-Query"
    )
    assert join_lines(["post-process\u00ad", "ing of a grasp"], words) == "post-processing of a grasp"


def test_a_heading_below_two_columns_belongs_to_the_text_across_them() -> None:
    page = PageText(0, 600.0, 800.0, False)
    for n in range(5):
        page.lines.append(line(f"left column, line {n} of the text", 100 + 12 * n))
        right = line(f"right column, line {n} of the text", 100 + 12 * n, x1=560.0)
        right.x0 = 310.0
        page.lines.append(right)
    page.lines.append(line("Additional Features", 180, x1=140.0))
    page.lines.append(
        line("Simple operation with a display that guides you through all of it", 192, x1=560.0)
    )
    found = [x.text for x in in_reading_order(page)]
    assert found[:5] == [f"left column, line {n} of the text" for n in range(5)]
    assert found[5:10] == [f"right column, line {n} of the text" for n in range(5)]
    assert found[10:] == ["Additional Features", page.lines[-1].text]


def test_a_manuscripts_title_is_the_one_that_it_calls_so() -> None:
    page = PageText(0, 600.0, 800.0, False)
    page.lines = [line("Accepted Manuscript", 60, 12.0), line("1", 90), line("2", 110)]
    page.lines += [
        line("TITLE: The influence of gap size on the union of", 90),
        line("broken wings", 110, x1=120.0),
    ]
    page.lines += [line("AUTHORS: Ada Lindqvist and Bo Marsh", 130)]
    assert find_title([page], "", 10.0)[0] == "The influence of gap size on the union of broken wings"


def test_a_right_column_that_begins_above_the_abstract_loses_no_line() -> None:
    page = PageText(0, 600.0, 800.0, False)
    page.lines = [line("A Title of This Paper", 60, 16.0), line("Ada Lindqvist", 80)]
    for n in range(6):
        page.lines.append(line(f"left column, line {n} of the text", 112 + 12 * n))
        right = line(f"right column, line {n} of the text", 100 + 12 * n, x1=560.0)
        right.x0 = 310.0
        page.lines.append(right)
    set_columns(page)
    assert [x.text for x in front_lines(page, 105.0)] == ["A Title of This Paper", "Ada Lindqvist"]
