"""Pictures in a terminal: a cell shows two pixels, one in the colour of its ▀, one behind it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


def half_blocks(jpeg: bytes, columns: int, rows: int) -> Text | None:
    """The picture within `columns` × `rows` cells, its proportions kept; None where it cannot be read."""
    from PIL import Image, UnidentifiedImageError
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    try:
        with Image.open(io.BytesIO(jpeg)) as opened:
            whole = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    share = min(columns / whole.width, 2 * rows / whole.height)
    width = max(1, round(whole.width * share))
    height = max(2, 2 * round(whole.height * share / 2))
    small = whole.resize((width, height), Image.Resampling.LANCZOS).tobytes()

    def colour(x: int, y: int) -> Color:
        at = 3 * (y * width + x)
        return Color.from_rgb(*small[at : at + 3])

    drawn = Text(no_wrap=True)
    for y in range(0, height, 2):
        if y:
            drawn.append("\n")
        for x in range(width):
            drawn.append("▀", Style(color=colour(x, y), bgcolor=colour(x, y + 1)))
    return drawn
