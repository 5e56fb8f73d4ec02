"""Builds the two sets of profiles that planning chooses from, out of configs/profiles/:

- `fitted`: linear models of measured/*.csv, split into their parts (DiT, VAE), with measured power. What
  was never measured on a GPU type is scaled by how Wan 2.1 compares on both, and marked as estimated;
- `streamwise`: references.csv, the one point per model, GPU type and size from which the artifact of the
  paper works, scaled linearly as its estimator does: what a reproduction of its evaluation must use.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.cli.profilefit import fit_model
from hpcwise.core.catalogue import Fit, LinearProfile, SizeProfile
from hpcwise.core.errors import UsageError
from hpcwise.core.measure import STEPS, Measurement, part_of_shape, scaled_shape
from hpcwise.core.profiles import profile_s

ProfileSet = dict[str, dict[str, LinearProfile]]
#: (quantity, model, hardware) -> devices -> (value, whether the artifact measured it).
References = dict[tuple[str, str, str], dict[int, tuple[float, bool]]]

SOURCE: Final = "measurements of the StreamWise artifact (MIT, Microsoft)"
GPUS: Final = ("a100", "h100", "h200", "gb200")
#: Compares GPU types: measured on all four with the same settings (StreamWise Figure 4).
YARDSTICK: Final = "wan-2.1"
YARDSTICK_FEATURES: Final = {"steps": 10.0, "frames": 81.0, "frame_mpx": 784 * 496 / 1e6}
#: Models that are made of a DiT and a VAE that may run apart.
SPLIT: Final = ("fantasytalking", "framepack", "wan-2.1")
#: What the artifact's estimator takes its points to stand for: (frames, megapixels of a frame).
REFERENCE_CLIP: Final = {"fantasytalking": (77, 640 * 400 / 1e6), "framepack": (324, 512 * 320 / 1e6)}
REFERENCE_IMAGE_MPX: Final = 1280 * 800 / 1e6


def fitted_set(measurements: Sequence[Measurement], references: References) -> ProfileSet:
    """Profiles by model and hardware. Raises ModelMissing where scikit-learn is not installed."""
    models = sorted({m.model for m in measurements})
    whole = {name: fit_model([m for m in measurements if m.model == name], source=SOURCE) for name in models}
    result: ProfileSet = {}
    for name, measured in whole.items():
        complete = {**measured, **_estimated(measured, whole.get(YARDSTICK, {}))}
        result[name] = complete
        if name in SPLIT:
            result[f"{name}-dit"] = {hardware: _part(p, steps=True) for hardware, p in complete.items()}
            result[f"{name}-vae"] = {hardware: _part(p, steps=False) for hardware, p in complete.items()}
    # What nobody measured over sizes and frames: the artifact's own point for it.
    points = streamwise_set(references)
    for name in points.keys() - result.keys():
        result[name] = points[name]
    return with_power(result, references)


def _estimated(
    measured: Mapping[str, LinearProfile], yardstick: Mapping[str, LinearProfile]
) -> dict[str, LinearProfile]:
    """Profiles of the GPUs of GPUS that were not measured, or not on one device."""
    donors = [gpu for gpu in ("h100", "a100") if gpu in measured and not _guessed(measured[gpu])]
    if not donors or any(gpu not in yardstick for gpu in GPUS):
        return {}
    donor = donors[0]
    base_s = profile_s(yardstick[donor], YARDSTICK_FEATURES)
    return {
        gpu: _scaled(measured[donor], donor, profile_s(yardstick[gpu], YARDSTICK_FEATURES) / base_s)
        for gpu in GPUS
        if gpu not in measured or _guessed(measured[gpu])
    }


def _guessed(profile: LinearProfile) -> bool:
    return profile.fit is not None and profile.fit.estimated


def _scaled(profile: LinearProfile, donor: str, factor: float) -> LinearProfile:
    one = scaled_shape(profile, factor)
    ranges = profile.fit.ranges if profile.fit else {}
    text = f"scaled from {donor} by {factor:.3f}, as {YARDSTICK} compares on both"
    return LinearProfile(
        base_s=one.base_s,
        per=one.per,
        floor=one.floor,
        sizes={n: scaled_shape(size, factor) for n, size in profile.sizes.items()},
        fit=Fit(source=text, estimated=True, ranges=ranges),
    )


def _part(profile: LinearProfile, *, steps: bool) -> LinearProfile:
    """The steps, or what does not repeat with them; the latter runs on one device."""
    one = part_of_shape(profile, STEPS, with_it=steps)
    sizes = profile.sizes if steps else {}
    return LinearProfile(
        base_s=one.base_s,
        per=one.per,
        floor=one.floor,
        sizes={n: part_of_shape(size, STEPS, with_it=True) for n, size in sizes.items()},
        fit=profile.fit,
    )


def read_references(path: Path) -> References:
    """configs/profiles/references.csv. Raises UsageError that names the line."""
    found: References = {}
    try:
        lines = [
            (number, line)
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
            if line.strip() and not line.startswith("#")
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    for number, line in lines[1:]:
        try:
            quantity, model, hardware, n, value, state = next(csv.reader([line]))
            point = (float(value), state == "measured")
            devices = int(n)
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}; run scripts/extract-measurements again") from None
        if not 0 < point[0] < float("inf"):
            raise UsageError(f"{path}:{number}: value: {value} cannot be; make it again")
        found.setdefault((quantity, model, hardware), {})[devices] = point
    return found


def streamwise_set(references: References) -> ProfileSet:
    """The artifact's points as profiles: time proportional to steps, frames and pixels."""
    result: ProfileSet = {}

    def add(model: str, hardware: str, terms: Mapping[str, tuple[str, float]], of: str = "") -> None:
        """terms: of a profile -> (quantity, what its point divides by). of: whose points they are."""
        curves = {term: references.get((q, of or model, hardware), {}) for term, (q, _) in terms.items()}
        if not all(curves.values()):
            return
        sizes = sorted(set.intersection(*(set(curve) for curve in curves.values())))
        per = {
            n: {term: float(f"{curves[term][n][0] / over:.6g}") for term, (_, over) in terms.items()}
            for n in sizes
        }
        guessed = [n for n in sizes if not all(curve[n][1] for curve in curves.values())]
        text = "one point of the StreamWise artifact (MIT, Microsoft)"
        fit = Fit(source=text + (f"; extrapolated by it from {min(guessed)} devices on" if guessed else ""))
        result.setdefault(model, {})[hardware] = LinearProfile(
            per=per[sizes[0]],
            sizes={n: SizeProfile(per=per[n]) for n in sizes[1:]},
            fit=msgspec.structs.replace(fit, points=len(sizes)),
        )

    for hardware in GPUS:
        add("flux", hardware, {"steps*frame_mpx": ("step_s", REFERENCE_IMAGE_MPX)})
        add("gemma-3-27b", hardware, {"first_scene": ("first_scene_s", 1.0), "scenes": ("scene_s", 1.0)})
        add("kokoro-82m", hardware, {"scenes": ("scene_s", 1.0)})
        add("real-esrgan", hardware, {"frames*frame_mpx": ("frame_s", REFERENCE_IMAGE_MPX)})
        for model, (frames, mpx) in REFERENCE_CLIP.items():
            add(f"{model}-dit", hardware, {"steps*frames*frame_mpx": ("step_s", frames * mpx)}, of=model)
            add(f"{model}-vae", hardware, {"frames*frame_mpx": ("vae_s", frames * mpx)}, of=model)
            _join(result, model, hardware)
    return with_power(result, references)


def _join(result: ProfileSet, model: str, hardware: str) -> None:
    """The fused model: its DiT, and its VAE as what sequence parallelism does not split."""
    dit, vae = result[f"{model}-dit"].get(hardware), result[f"{model}-vae"].get(hardware)
    if dit and vae:
        # The VAE's point is repeated for every size: it uses one device whatever the replica has.
        result[f"{model}-vae"][hardware] = vae = msgspec.structs.replace(vae, sizes={})
        result.setdefault(model, {})[hardware] = msgspec.structs.replace(dit, serial=vae.per)


def with_power(profiles: ProfileSet, references: References) -> ProfileSet:
    """The same profiles with measured power; a fused model draws what its DiT draws, which is most of it."""
    result: ProfileSet = {}
    for model, by_hardware in profiles.items():
        result[model] = {}
        for hardware, profile in by_hardware.items():
            curve = references.get(("power_w", model, hardware)) or references.get(
                ("power_w", f"{model}-dit", hardware), {}
            )
            watts = {n: value for n, (value, _) in sorted(curve.items())}
            result[model][hardware] = msgspec.structs.replace(profile, power_w=watts) if watts else profile
    return result
