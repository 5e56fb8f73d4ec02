"""What `hpcwise models show` says of planning: profiles, how far they may be trusted, sizes of replicas."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hpcwise.core.catalogue import Catalogue, LinearProfile, ModelInfo
from hpcwise.core.parallel import usp_degrees
from hpcwise.core.profile_flags import ProfileFlag, profile_flags

#: Sizes of replicas are shown at this width and height, the paper's of sync and video.
SHOWN_PX = (640, 400)


class ProfileView(msgspec.Struct, frozen=True, kw_only=True):
    """A profile on one hardware. ratio: what real runs of this run directory take over it, None before any.
    degrees: numbers of devices that a replica may have at 640x400. flags: reasons to doubt it."""

    hardware: str
    profile: LinearProfile
    ratio: float | None
    degrees: tuple[int, ...]
    flags: tuple[ProfileFlag, ...]


def profile_views(
    model: ModelInfo, catalogue: Catalogue, ratios: Mapping[str, float]
) -> tuple[ProfileView, ...]:
    """Every hardware that the model has a profile on, by name."""
    views = []
    for hardware, profile in sorted(model.profiles.items()):
        ratio = ratios.get(f"{model.name}@{hardware}")
        device = catalogue.hardware.get(hardware)
        views.append(
            ProfileView(
                hardware=hardware,
                profile=profile,
                ratio=ratio,
                degrees=usp_degrees(model, device, SHOWN_PX) if device else (),
                flags=profile_flags(model, hardware, ratio=1.0 if ratio is None else ratio),
            )
        )
    return tuple(views)


def lines(view: ProfileView) -> list[str]:
    """A profile in words: its terms on one device, its sizes, its fit, its doubts."""
    p = view.profile
    terms = ([f"{p.base_s:g} s"] if p.base_s or not (p.per or p.serial) else []) + [
        f"{each_s:g} s x {term}" for term, each_s in {**p.per, **p.serial}.items()
    ]
    found = [f"{view.hardware}: {' + '.join(terms)}"]
    sizes = sorted({*p.sizes, *p.speedup} - {1})
    if sizes:
        found.append(f"{view.hardware}: its own figures with {', '.join(map(str, sizes))} devices")
    if view.degrees and view.degrees != (1,):
        width, height = SHOWN_PX
        sizes_text = ", ".join(map(str, view.degrees))
        found.append(f"{view.hardware}: at {width}x{height} a replica may have {sizes_text} devices")
    if p.fit is not None and p.fit.heldout:
        f = p.fit
        text = f"R2 {f.r2:.4f}, mean error {f.mape:.1%} on {f.heldout} held out of {f.points + f.heldout}"
        found.append(f"{view.hardware}: {text}")
    elif p.fit is not None and p.fit.measured_on:
        found.append(f"{view.hardware}: {p.fit.source} on {p.fit.measured_on}, {p.fit.points} sizes")
    if view.ratio is not None:
        found.append(f"{view.hardware}: drift {view.ratio:.2f}: real runs here over the profile")
    return found + [f"doubt: {flag.text}" for flag in view.flags]
