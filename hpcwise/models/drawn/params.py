"""What the drawn family is asked for, checked before the first pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Character, Shot, ShotKind
from hpcwise.core.units import exact_fps

Quality = Literal["high", "medium", "low", "static"]
SMALLEST_PX, LARGEST_PX = 64, 4096

P = TypeVar("P", bound=msgspec.Struct)


class ImageParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set without people: `set` is one of `places.PLACES`; sizes in pixels."""

    set: str
    width: int
    height: int


class Before(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be seen of the shot before: enough to dissolve from it. speakers: in order of speaking."""

    kind: ShotKind
    heading: str = ""
    subheading: str = ""
    notes: tuple[str, ...] = ()
    figure: int | None = None
    speakers: tuple[str, ...] = ()


class OwnFonts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's own fonts; `bold` is the regular one where it is not given."""

    regular: str
    bold: str = ""


class AnimateParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shot. `width` x `height` is the size of the file, `render_*` the size it is drawn at (0: the same).

    Lower tiers draw smaller and are scaled up, so that all segments of a film share one stream header.
    show_title: name of the show, on title and end cards. show_name: this is the speaker's first close-up,
        so a lower third introduces them. segment_frames: frames of a chunk (the last may be shorter).
    index, total_shots: place in the film; the first shot fades in, the last one out. Where `index` is not
        known (-1), a title shot is taken for the first and an end shot for the last.
    before: the shot before this one, where both are of one scene. opens, closes: the first and the last shot
        of a scene, which come from and go to the set's colour.
    enlarge: pictures that are smaller than the film are enlarged by Real-ESRGAN.
    logo, fonts: SHA-256 of a person's own files, which lie at logo_path and font_paths.
    """

    shot: Shot
    cast: tuple[Character, ...]
    width: int
    height: int
    render_width: int = 0
    render_height: int = 0
    fps: float = 24
    segment_frames: int = 84
    show_title: str = "Paper Talk"
    show_name: bool = False
    quality: Quality = "high"
    index: int = -1
    total_shots: int = 0
    captions: bool = True
    before: Before | None = None
    opens: bool = False
    closes: bool = False
    logo: str = ""
    logo_path: str = ""
    enlarge: bool = False
    fonts: OwnFonts | None = None
    font_paths: OwnFonts | None = None

    @property
    def drawn_size(self) -> tuple[int, int]:
        """Pixels at which frames are drawn."""
        return self.render_width or self.width, self.render_height or self.height


def converted(stage: str, raw: Mapping[str, Any], kind: type[P]) -> P:
    """`raw` as `kind`; raises `UsageError` that names stage and field."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{stage}: {error}") from error


def checked_image(raw: Mapping[str, Any], known_sets: tuple[str, ...]) -> ImageParams:
    """Parameters of the image stage."""
    params = converted("image", raw, ImageParams)
    if params.set not in known_sets:
        raise UsageError(f"image: set is {params.set!r}; use one of {', '.join(known_sets)}")
    _check_size("image", "width", params.width)
    _check_size("image", "height", params.height)
    return params


def checked_animate(raw: Mapping[str, Any], known_looks: tuple[str, ...]) -> AnimateParams:
    """Parameters of the animate stage."""
    params = converted("animate", raw, AnimateParams)
    for field in ("width", "height"):
        size = getattr(params, field)
        _check_size("animate", field, size)
        if size % 2:
            raise UsageError(f"animate: {field} is {size}; H.264 in 4:2:0 needs an even number")
        drawn = getattr(params, f"render_{field}")
        if drawn:
            _check_size("animate", f"render_{field}", drawn)
    if not 1 <= params.fps <= 120:
        raise UsageError(f"animate: fps is {params.fps:g}; give 1 to 120")
    params = msgspec.structs.replace(params, fps=float(exact_fps(params.fps)))
    if params.segment_frames < 1:
        raise UsageError(f"animate: segment_frames is {params.segment_frames}; give 1 or more")
    ids = [c.id for c in params.cast]
    if not ids:
        raise UsageError("animate: cast is empty; give at least one character")
    for i, character in enumerate(params.cast):
        if character.look not in known_looks:
            raise UsageError(
                f"animate: cast[{i}].look is {character.look!r}; use one of {', '.join(known_looks)}"
            )
    strangers = sorted(set(params.before.speakers if params.before else ()) - set(ids))
    if strangers:
        raise UsageError(f"animate: before.speakers has {strangers[0]!r}; the cast has {', '.join(ids)}")
    if bool(params.logo) != bool(params.logo_path):
        raise UsageError("animate: logo and logo_path: give both, or neither")
    if (params.fonts is None) != (params.font_paths is None):
        raise UsageError("animate: fonts and font_paths: give both, or neither")
    for i, line in enumerate(params.shot.lines):
        if line.speaker not in ids:
            raise UsageError(
                f"animate: shot.lines[{i}].speaker is {line.speaker!r}; the cast has {', '.join(ids)}"
            )
    return params


def _check_size(stage: str, field: str, size: int) -> None:
    if not SMALLEST_PX <= size <= LARGEST_PX:
        raise UsageError(f"{stage}: {field} is {size}; give {SMALLEST_PX} to {LARGEST_PX} pixels")
