"""Characters of a PDF page -> lines with their geometry and style.

PDFium gives characters in the order in which the file draws them. They are put into lines by baseline
and distance here, because styles (bold, monospaced, mathematical, raised) decide later what is a heading,
what is code and what cannot be spoken, and PDFium's own lines do not carry them.

Coordinates are points from the top left corner of the page, y downwards.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from dataclasses import dataclass, field

import pypdfium2 as pdfium
import pypdfium2.raw as raw

#: Private-use marks round raised and lowered text; what they mean is decided in context, in prose.py.
SUP, SUB, END = "\ue000", "\ue001", "\ue002"
#: A hyphen that ends a line, and may or may not belong to the word.
LINE_HYPHEN = "\u00ad"

# By name: the weight that files state is often the thickness of a stem, and wrong.
_BOLD = re.compile(r"bold|black|heavy|semib|demi|medi$|-medi|bx\d|bx$|mb8|-b$|bd$|[a-z]b8", re.I)
_MONO = re.compile(r"mono|courier|cmtt|typewriter|consol|cursor|inconsolata|sourcecode|txtt|pcrr|menlo", re.I)
_MATH = re.compile(r"cmmi|cmsy|cmex|msam|msbm|math|symbol|eufm|rsfs|stmary|txsy|txmi|mtmi|mtsy|pxsy", re.I)
# Characters of mathematical fonts that are plain punctuation in running text.
_MATH_PLAIN = {"·": "·", "•": "•", "−": "-", "∗": "*", "×": "×", "†": "†", "‡": "‡", "∼": "~", "%": "%"}
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
# TeX fonts without a table of Unicode values show their ligatures at these codes (T1, then OT1).
_LIGATURES |= {"\x1b": "ff", "\x1c": "fi", "\x1d": "fl", "\x1e": "ffi", "\x1f": "ffl"}
_LIGATURES |= {"\x0b": "ff", "\x0c": "fi", "\x0e": "ffi", "\x0f": "ffl"}


@dataclass(slots=True)
class Line:
    """A run of text on one baseline without a wide gap.

    size: of most characters, in points. bold_lead: how many characters at the start are bold.
    """

    page: int
    x0: float
    y0: float
    x1: float
    y1: float
    base: float
    size: float
    text: str = ""
    bold: float = 0.0
    mono: float = 0.0
    bold_lead: int = 0
    column: int = 0

    @property
    def width(self) -> float:
        """In points."""
        return self.x1 - self.x0


@dataclass(slots=True)
class PageText:
    """Lines of a page in drawing order; index counts from 0, width and height are in points.

    turned: letters that do not stand upright, one `Line` each without text: labels of axes. head, foot: y
    in points between which no running head or page number stands; known once those have been dropped.
    """

    index: int
    width: float
    height: float
    rotated: bool
    lines: list[Line] = field(default_factory=list)
    turned: list[Line] = field(default_factory=list)
    head: float = 0.0
    foot: float = float("inf")


@dataclass(slots=True, frozen=True)
class _Style:
    size: float
    bold: bool
    mono: bool
    math: bool
    upright: bool


@dataclass(slots=True)
class _Glyph:
    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    base: float
    style: _Style
    space_before: bool


def _style_of(text_page: int, index: int, text_object: object) -> _Style:
    """Style of the text object that the character belongs to."""
    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(text_page, index, matrix)
    scale = math.hypot(matrix.c, matrix.d) or 1.0
    size = raw.FPDFText_GetFontSize(text_page, index) * scale
    font = raw.FPDFTextObj_GetFont(text_object)
    name = ""
    if font:
        buffer = ctypes.create_string_buffer(256)
        if raw.FPDFFont_GetBaseFontName(font, buffer, 256):
            name = buffer.value.decode("utf-8", "replace").split("+")[-1]
    upright = abs(matrix.b) <= 0.05 * scale and matrix.a >= 0
    return _Style(
        size=round(size, 2),
        bold=bool(_BOLD.search(name)),
        mono=bool(_MONO.search(name)),
        math=bool(_MATH.search(name)),
        upright=upright,
    )


def _printable(code: int, math_font: bool) -> str:
    """One character as text: ligatures opened, controls dropped, letters of mathematical fonts kept apart."""
    if code in (0xFFFE, 0x02):
        return LINE_HYPHEN
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    char = chr(code)
    if char in _LIGATURES:
        return _LIGATURES[char]
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Co"):
        return "" if unicodedata.category(char) == "Cf" else "\ufffd"
    if math_font:
        if char in _MATH_PLAIN:
            return _MATH_PLAIN[char]
        if "A" <= char <= "Z":
            return chr(0x1D434 + ord(char) - ord("A"))
        if "a" <= char <= "z" and char != "h":
            return chr(0x1D44E + ord(char) - ord("a"))
        if char == "h":
            return "ℎ"
    return char


def _glyphs(page: pdfium.PdfPage, height: float, left: float, bottom: float) -> list[_Glyph]:
    text_page = page.get_textpage()
    handle = text_page.raw
    box, x, y = raw.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    styles: dict[int, _Style] = {}
    out: list[_Glyph] = []
    space = False
    for i in range(text_page.count_chars()):
        code = raw.FPDFText_GetUnicode(handle, i)
        if code in (9, 10, 13, 32, 0xA0) or 0x2000 <= code <= 0x200B:
            space = True
            continue
        text_object = raw.FPDFText_GetTextObject(handle, i)
        address = ctypes.cast(text_object, ctypes.c_void_p).value
        if address is None:
            continue
        style = styles.get(address)
        if style is None:
            style = styles[address] = _style_of(handle, i, text_object)
        char = _printable(code, style.math)
        if not char or not raw.FPDFText_GetLooseCharBox(handle, i, box):
            continue
        raw.FPDFText_GetCharOrigin(handle, i, x, y)
        y0, y1 = height - (box.top - bottom), height - (box.bottom - bottom)
        base = height - (y.value - bottom)
        out.append(_Glyph(char, box.left - left, y0, box.right - left, y1, base, style, space))
        space = False
    return out


class _Building:
    """A line under construction: glyphs with their level (0 normal, 1 raised, -1 lowered)."""

    def __init__(self, glyph: _Glyph) -> None:
        self.glyphs = [(glyph, 0)]
        self.size, self.base = glyph.style.size, glyph.base

    def take(self, glyph: _Glyph) -> bool:
        """Add the glyph if it continues this line."""
        last = self.glyphs[-1][0]
        gap, size = glyph.x0 - last.x1, max(self.size, glyph.style.size)
        rise = self.base - glyph.base
        same_box = abs(glyph.x0 - last.x0) < 0.01 * size  # letters out of one ligature
        if (gap < -0.6 * size and not same_box) or abs(rise) > 0.8 * size:
            return False
        short = len(self.glyphs) <= 7 and all(g.text in "0123456789.•·–-*" for g, _ in self.glyphs)
        if gap > (2.6 if short else 1.0) * size:
            return False
        if glyph.style.size > 1.18 * self.size and len(self.glyphs) <= 8 and rise < -0.1 * size:
            # what came so far was a raised mark before the text
            self.glyphs = [(g, 1) for g, _ in self.glyphs]
            self.size, self.base = glyph.style.size, glyph.base
            level = 0
        elif abs(rise) <= 0.12 * size:
            level = 0
        elif glyph.style.size < 0.88 * self.size:
            level = 1 if rise > 0 else -1
        elif abs(rise) > 0.35 * size:
            return False
        else:
            level = 0
        self.glyphs.append((glyph, level))
        return True

    def line(self, page: int) -> Line:
        """The finished line."""
        flat = [g for g, _ in self.glyphs]
        text, level, last = "", 0, None
        for glyph, new_level in self.glyphs:
            spaced = last is not None and (
                (glyph.space_before and glyph.x0 - last.x1 > 0.06 * self.size)
                or glyph.x0 - last.x1 > 0.22 * self.size
            )
            if new_level != level:
                if level:
                    text += END
                if spaced:
                    text, spaced = text + " ", False
                if new_level:
                    text += SUP if new_level > 0 else SUB
                level = new_level
            text += (" " if spaced else "") + glyph.text
            last = glyph
        if level:
            text += END
        lead = 0
        for glyph in flat:
            if not glyph.style.bold:
                break
            lead += 1
        normal = [g for g, lv in self.glyphs if lv == 0] or flat
        return Line(
            page=page,
            x0=min(g.x0 for g in flat),
            y0=min(g.y0 for g in normal),
            x1=max(g.x1 for g in flat),
            y1=max(g.y1 for g in normal),
            base=self.base,
            size=sorted(g.style.size for g in normal)[len(normal) // 2],
            text=unicodedata.normalize("NFC", text).strip(),
            bold=sum(g.style.bold for g in flat) / len(flat),
            mono=sum(g.style.mono for g in flat) / len(flat),
            bold_lead=lead,
        )


def read_page(page: pdfium.PdfPage, index: int) -> PageText:
    """All upright text of a page as lines, in drawing order."""
    left, bottom, right, top = page.get_bbox()  # the crop box may stand in the page's parent
    width, height = right - left, top - bottom
    out = PageText(index, width, height, rotated=page.get_rotation() != 0)
    building: _Building | None = None
    for glyph in _glyphs(page, height, left, bottom):
        if not glyph.style.upright:
            box = (glyph.x0, glyph.y0, glyph.x1, glyph.y1)
            out.turned.append(Line(index, *box, base=glyph.base, size=glyph.style.size))
            continue
        if building is not None and building.take(glyph):
            continue
        if building is not None:
            out.lines.append(building.line(index))
        building = _Building(glyph)
    if building is not None:
        out.lines.append(building.line(index))
    out.lines = [line for line in out.lines if line.text]
    return out
