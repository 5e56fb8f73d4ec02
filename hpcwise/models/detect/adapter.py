"""Family `detect`: finds the people of a picture and cuts it to what a shot shows.

Any object detector that transformers loads (YOLOS, DETR, RT-DETR). Where it is not sure of anybody, the crop
is the shot's usual frame: a picture must come out whatever the detector thinks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import torch

from hpcwise.core.errors import BadOutput, ModelMissing, UsageError
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.device import device_of
from hpcwise.models.diffusion.options import converted, picture_of
from hpcwise.models.weights import UNREADABLE, why

Box = tuple[float, float, float, float]

#: Shots that show one person from near; all others show the whole picture.
_NEAR: Final = frozenset({"close_up", "over_shoulder"})
#: Air around a person in a close-up, as a share of the box.
_AIR: Final = 0.25


class DetectOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a card. label: class of the detector that counts as a person. least: score of somebody."""

    label: str = "person"
    least: float = 0.5


class DetectParams(msgspec.Struct, frozen=True, kw_only=True):
    """kind: of the shot. who: which of the people from the left, counted round."""

    kind: str = "two_shot"
    who: int = 0


class DetectAdapter:
    """One detector in memory."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Raises ModelMissing."""
        import transformers

        self._options = converted(spec.options, DetectOptions, f"model {spec.name}: options")
        self._name = spec.name
        self._device = device_of(devices)
        try:
            self._reader = transformers.AutoImageProcessor.from_pretrained(spec.path, local_files_only=True)
            model = transformers.AutoModelForObjectDetection.from_pretrained(spec.path, local_files_only=True)
        except UNREADABLE as error:
            raise ModelMissing(f"model {spec.name}: {spec.path} holds no detector: {why(error)}") from error
        self._model = model.to(self._device).eval()

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """`crop.png` with the picture's own proportions; facts: box in pixels, people found."""
        params = converted(call.params, DetectParams, call.stage)
        if call.stage != "detect":
            raise UsageError(f"model {self._name}: stage is {call.stage!r}; it does detect")
        picture = picture_of(next(iter(call.inputs["image"])))
        on_step(0, 1, "looking")
        people = self._people(picture)
        box: Box = (0.0, 0.0, float(picture.width), float(picture.height))
        if params.kind in _NEAR and people:
            box = framed(people[params.who % len(people)], picture.width, picture.height)
        path = call.work / "crop.png"
        cut = picture.crop(tuple(round(side) for side in box))
        cut.resize(picture.size).save(path)
        on_step(1, 1, "cut")
        yield Output(files={"crop.png": path}, facts={"box": [round(s) for s in box], "people": len(people)})

    def _people(self, picture: Any) -> list[Box]:
        """Boxes left, top, right, bottom in pixels, from the left of the picture to its right."""
        given = self._reader(images=picture, return_tensors="pt").to(self._device)
        with torch.no_grad():
            seen = self._model(**given)
        if not bool(torch.isfinite(seen.logits).all() and torch.isfinite(seen.pred_boxes).all()):
            raise BadOutput(f"{self._name}: scores or boxes that are no numbers")
        size = torch.tensor([[picture.height, picture.width]])
        (found,) = self._reader.post_process_object_detection(seen, self._options.least, size)
        names = self._model.config.id2label
        boxes = [
            tuple(box.tolist())
            for box, label in zip(found["boxes"], found["labels"], strict=True)
            if names.get(int(label)) == self._options.label and _has_size(box)
        ]
        return sorted(boxes)


def _has_size(box: Any) -> bool:
    """Whether there is anything in a box: a detector may be sure of a line or a point."""
    return bool(box[2] - box[0] >= 1 and box[3] - box[1] >= 1)


def framed(box: Box, width: int, height: int) -> Box:
    """A crop around `box` with some air, in the picture's proportions and inside it."""
    left, top, right, bottom = box
    wide = max(right - left, (bottom - top) * width / height) * (1 + 2 * _AIR)
    wide = min(wide, float(width))
    tall = wide * height / width
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    x = min(max(0.0, middle_x - wide / 2), width - wide)
    y = min(max(0.0, middle_y - tall / 2), height - tall)
    return x, y, x + wide, y + tall
