"""People in their place: at the table, in a tile, beside a board, from behind."""

from __future__ import annotations

import functools
import math
from typing import Any

import skia

from hpcwise.core.screenplay import Character
from hpcwise.models.drawn.body import TABLE_Y
from hpcwise.models.drawn.characters import draw_character
from hpcwise.models.drawn.hair import draw_back_hair
from hpcwise.models.drawn.layout import Box, Stage
from hpcwise.models.drawn.looks import LOOKS, Look
from hpcwise.models.drawn.paint import (
    LINEAR,
    Canvas,
    Image,
    box,
    colour,
    fill,
    line,
    linear,
    recorded,
    rounded,
    shape,
)
from hpcwise.models.drawn.places import PLACES
from hpcwise.models.drawn.scene import ACCENT, Material, Moment, Scenery
from hpcwise.models.drawn.sets import draw_table

#: How much wider than the picture a set is drawn, so that a camera may move before it.
OVERSCAN = 1.035
#: Stages narrower than this have no room for arms beside the body, units.
NARROW = 500.0


def draw_people(
    canvas: Canvas, material: Material, stage: Stage, moment: Moment, zoom: float, drift: float
) -> None:
    """Set, people at the table and what stands on it, filling `stage`. drift: the camera's way, units."""
    room = 104.0 if not stage.portrait else stage.height * 0.21
    table_y = stage.height - room
    size = min((table_y - 20) / 326.0, stage.width / 2 / 256.0, 1.0)
    apart = min(stage.width * 0.24, 172.0)
    middle = stage.width / 2
    seated = material.seated()

    def draw_each(arms: bool) -> None:
        for character, side in seated:
            canvas.save()
            canvas.translate(middle + side * apart, table_y - TABLE_Y * size)
            canvas.scale(size, size)
            draw_character(
                canvas,
                character.look,
                material.acting[character.id],
                moment.frame,
                moment.time_s,
                upper=not arms,
                arms=arms,
                lead=-1 if side <= 0 else 1,
                tuck=1.0 if stage.width < NARROW else 0.25,
            )
            canvas.restore()

    canvas.save()
    # What the table hides is not drawn.
    canvas.clipRect(box(0, 0, stage.width, stage.height * 0.42 + (table_y - stage.height * 0.42) * zoom + 2))
    draw_set(canvas, material.scenery, stage, moment, zoom, drift)
    _zoomed(canvas, stage, zoom)
    canvas.translate(-drift, 0)
    draw_each(arms=False)
    canvas.restore()
    canvas.save()
    _zoomed(canvas, stage, zoom)
    canvas.translate(-drift, 0)
    draw_table(canvas, material.scenery.name, stage.width, table_y, stage.height)
    for _, side in seated:  # people darken the table that they sit at
        canvas.drawOval(
            box(middle + (side * apart - 92 * size), table_y - 3, 184 * size, 26), fill("#000000", 0.16)
        )
    canvas.save()
    canvas.translate(middle, table_y)
    # Where people sit close, what is between them is smaller.
    canvas.scale(min(size, apart / 172.0), min(size, apart / 172.0))
    canvas.drawPicture(_props(material.scenery.name))
    canvas.restore()
    draw_each(arms=True)
    canvas.restore()


def draw_set(
    canvas: Canvas, scenery: Scenery, stage: Stage, moment: Moment, zoom: float, drift: float
) -> None:
    """The place. What is far moves less than what is near when the camera does."""
    # In a window of another shape the place is cut to it, and what lives in it stays where it belongs.
    own = Stage.of(scenery.far.width(), scenery.far.height())
    canvas.save()
    _zoomed(canvas, stage, OVERSCAN + (zoom - 1) * 0.45)
    canvas.translate(-drift * 0.35, 0)
    _covering(canvas, own, stage)
    draw_backdrop(canvas, scenery.far, own)
    if scenery.near is not None:
        scenery.place.life(canvas, own.width, own.height, moment.time_s, scenery.mood)
    canvas.restore()
    if scenery.near is not None:
        canvas.save()
        _zoomed(canvas, stage, OVERSCAN + (zoom - 1) * 0.8)
        canvas.translate(-drift * 0.8, 0)
        _covering(canvas, own, stage)
        for area in scenery.near_areas:
            canvas.save()
            canvas.clipRect(
                box(area.x * own.width, area.y * own.height, area.width * own.width, area.height * own.height)
            )
            draw_backdrop(canvas, scenery.near, own)
            canvas.restore()
        canvas.restore()


def _covering(canvas: Canvas, own: Stage, stage: Stage) -> None:
    """From here on coordinates are those of a place of size `own`, which covers the stage."""
    scale = max(stage.width / own.width, stage.height / own.height)
    canvas.translate((stage.width - own.width * scale) / 2, (stage.height - own.height * scale) / 2)
    canvas.scale(scale, scale)


def _zoomed(canvas: Canvas, stage: Stage, zoom: float) -> None:
    x, y = stage.width / 2, stage.height * 0.42
    canvas.translate(x, y)
    canvas.scale(zoom, zoom)
    canvas.translate(-x, -y)


def draw_backdrop(canvas: Canvas, backdrop: Image, stage: Stage) -> None:
    """The set's picture so that it covers the stage."""
    scale = max(stage.width / backdrop.width(), stage.height / backdrop.height())
    wide, tall = backdrop.width() * scale, backdrop.height() * scale
    canvas.drawImageRect(
        backdrop, box((stage.width - wide) / 2, (stage.height - tall) / 2, wide, tall), LINEAR
    )


@functools.lru_cache(maxsize=8)
def _props(name: str) -> Any:
    return recorded(200, 200, PLACES[name].props)


def blurred_set(material: Material, side: float, closer: float = 1.5) -> Image:
    """The set out of focus and closer, at half of the picture's size: blur needs no more."""
    stage, scenery = material.stage, material.scenery
    scale = material.scale * 0.5
    surface = skia.Surface(max(2, round(stage.width * scale)), max(2, round(stage.height * scale)))
    canvas = surface.getCanvas()
    canvas.scale(scale * closer, scale * closer)
    canvas.translate(-stage.width * (1 - 1 / closer) * (0.5 + 0.36 * side), -stage.height * 0.06)
    canvas.saveLayer(None, skia.Paint(ImageFilter=skia.ImageFilters.Blur(4.0, 4.0)))
    draw_set(canvas, scenery, stage, Moment(0, 0.0, 0.0, 0.0), 1.0, 0.0)
    canvas.restore()
    return surface.makeImageSnapshot()


def draw_person(
    canvas: Canvas,
    material: Material,
    character: Character,
    moment: Moment,
    x: float,
    neck_y: float,
    size: float,
    lead: int,
    tuck: float = 0.25,
    arms: bool = True,
    table: bool = False,
) -> None:
    """One person with the base of their neck at (x, neck_y). table: with what their hands rest on."""
    acting = material.acting[character.id]
    edge = neck_y + TABLE_Y * size

    def part(upper: bool, arms: bool) -> None:
        canvas.save()
        canvas.translate(x, neck_y)
        canvas.scale(size, size)
        draw_character(
            canvas, character.look, acting, moment.frame, moment.time_s, upper, arms, lead=lead, tuck=tuck
        )
        canvas.restore()

    part(upper=True, arms=arms and not table)
    if table:
        draw_table(canvas, material.scenery.name, material.stage.width, edge, material.stage.height)
        canvas.drawOval(box(x - 92 * size, edge - 3, 184 * size, 26), fill("#000000", 0.16))
        part(upper=False, arms=True)


def draw_inset(canvas: Canvas, material: Material, character: Character, moment: Moment, area: Box) -> None:
    """A round window with one person's head and shoulders."""
    x, y, radius = area.x + area.width / 2, area.y + area.height / 2, area.width / 2 - 3
    canvas.drawCircle(x, y + 2, radius + 3, fill("#000000", 0.35))
    canvas.save()
    circle = skia.Path()
    circle.addCircle(x, y, radius)
    canvas.clipPath(circle, doAntiAlias=True)
    canvas.drawRect(
        box(area.x, area.y, area.width, area.height), linear(0, area.y, 0, area.bottom, "#6A5A96", "#2E2547")
    )
    size = area.width / 192.0
    draw_person(canvas, material, character, moment, x, y + 54 * size, size, 1, arms=False)
    canvas.restore()
    canvas.drawCircle(x, y, radius, line(ACCENT, 3.0))


def draw_tile(
    canvas: Canvas, material: Material, character: Character, moment: Moment, area: Box, behind: Image
) -> None:
    """One person before the blurred set, in a window of their own."""
    frame = rounded(area.x, area.y, area.width, area.height, 12)
    canvas.save()
    canvas.clipRRect(frame, True)
    scale = max(area.width / behind.width(), area.height / behind.height())
    wide, tall = behind.width() * scale, behind.height() * scale
    canvas.drawImageRect(
        behind, box(area.x + (area.width - wide) / 2, area.y + (area.height - tall) / 2, wide, tall), LINEAR
    )
    size = min(area.width / 250.0, area.height / 290.0)
    # A high bun has its place below the window's edge too.
    neck = area.y + max(area.height * 0.5 + 26 * size, 12 + LOOKS[character.look].crown * size)
    lead = 1 if material.side_of(character) <= 0 else -1
    draw_person(canvas, material, character, moment, area.x + area.width / 2, neck, size, lead, tuck=1.0)
    canvas.restore()
    canvas.drawRRect(frame, line("#FFFFFF", 2.0, 0.8))


def back_picture(look_name: str, scale: float, side: float) -> tuple[Image, float]:
    """Somebody's head and shoulders from behind, a little out of focus; with the pixels a unit.

    side: where the one is who they look at, in the light: -1 left, 1 right.
    """
    look = LOOKS[look_name]
    sharp = scale * 1.9
    wide, tall = math.ceil(300 * sharp), math.ceil(330 * sharp)
    flat, lit = skia.Surface(wide, tall), skia.Surface(wide, tall)
    canvas = flat.getCanvas()
    canvas.clear(skia.ColorTRANSPARENT)
    canvas.scale(sharp, sharp)
    canvas.translate(150, 180)
    _draw_back(canvas, look)
    person, canvas = flat.makeImageSnapshot(), lit.getCanvas()
    canvas.clear(skia.ColorTRANSPARENT)
    canvas.saveLayer(None, skia.Paint(ImageFilter=skia.ImageFilters.Blur(1.1 * sharp, 1.1 * sharp)))
    canvas.drawImage(person, 0, 0)
    # The edge towards the light: the silhouette without itself a little farther from it.
    glow = skia.Paint(Alphaf=0.34)
    glow.setColorFilter(skia.ColorFilters.Blend(colour("#FFD9B0"), skia.BlendMode.kSrcIn))
    canvas.saveLayer(None, glow)
    canvas.drawImage(person, 0, 0)
    away = skia.Paint(BlendMode=skia.BlendMode.kDstOut)
    canvas.drawImage(person, -side * 4.0 * sharp, 2.0 * sharp, LINEAR, away)
    canvas.restore()
    canvas.restore()
    return lit.makeImageSnapshot(), sharp


def _draw_back(canvas: Canvas, look: Look) -> None:
    """From behind; the origin is the neck's base."""
    w = look.shoulders
    body = shape(
        f"M -22 -2 C -32 6 {-w * 0.62} 11 {-w * 0.82} 20 C {-w * 1.06} 30 {-w * 1.1} 60 {-w * 1.12} 160 "
        f"L {w * 1.12} 160 C {w * 1.1} 60 {w * 1.06} 30 {w * 0.82} 20 C {w * 0.62} 11 32 6 22 -2 Z"
    )
    canvas.drawPath(shape("M -19 -44 L 19 -44 L 24 6 L -24 6 Z"), fill(look.shade))
    canvas.drawPath(body, linear(-w, 0, w, 120, look.top_colour, look.top_shade, look.top_shade))
    canvas.drawPath(shape("M -22 0 C -12 10 12 10 22 0"), line(look.top_shade, 4.0))
    canvas.save()
    canvas.translate(0, -66)
    if look.hair != "scarf":
        for side in (-1, 1):
            canvas.drawOval(box(side * 46 - 7, -4, 14, 24), fill(look.shade))
    # The skull from behind; short hair ends at the nape.
    nape = 36 if look.hair in ("short", "parted", "quiff", "bun") else 54
    canvas.drawPath(
        shape(
            f"M -46 -16 C -50 -88 50 -88 46 -16 C 47 14 42 {nape - 8} 26 {nape} "
            f"C 10 {nape + 7} -10 {nape + 7} "
            f"-26 {nape} C -42 {nape - 8} -47 14 -46 -16 Z"
        ),
        linear(-46, -70, 44, 40, look.hair_light, look.hair_colour, look.hair_colour),
    )
    draw_back_hair(canvas, look, 0.0)
    if look.hair == "scarf":  # folds of the cloth
        for fold in ("M -30 -58 C -58 -10 -30 40 26 78", "M 24 -62 C 52 -20 50 40 66 84"):
            canvas.drawPath(shape(fold), line("#000000", 3.0, 0.12))
    for x in (-26, -9, 9, 26) if look.hair not in ("curly", "scarf") else ():
        strand = f"M {x * 0.5} -70 C {x * 1.2} -40 {x * 1.3} 0 {x} {nape - 8}"
        canvas.drawPath(shape(strand), line("#000000", 2.2, 0.1))
    # They sit in the shade: the light is on who speaks.
    canvas.restore()
    canvas.drawRect(box(-150, -180, 300, 340), _shade())


def _shade() -> Any:
    """Darkens what has been drawn, and nothing beside it."""
    paint = skia.Paint(Color=colour("#0B0818", 0.34))
    paint.setBlendMode(skia.BlendMode.kSrcATop)
    return paint
