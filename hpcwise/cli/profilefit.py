"""Fits profiles to measurements: non-negative least squares (scikit-learn), each size of a replica apart.

Non-negative, so that a prediction can never fall when steps, frames or pixels grow. Weighted by one over
the time, between absolute errors (which only see the longest runs) and relative ones (the shortest).
scikit-learn is the extra `plan`; what is fitted is written to configs/profiles/ and needs none of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from hpcwise.core.catalogue import Fit, LinearProfile, SizeProfile
from hpcwise.core.errors import ModelMissing
from hpcwise.core.measure import VIDEO_TERMS, Judgement, Measurement, judge, ranges, scale_profile
from hpcwise.core.profiles import profile_s, term_value

#: Fewer configurations than this say too little about the shape: it is taken from another size or hardware.
ENOUGH = 12
#: A training point this far off (relative) is fitted without: some hosts were measured twice as slow.
OUTLIER = 0.35
#: Times below this weigh as if they were it: the files hold two decimals.
SHORTEST_S = 0.2

Shape = tuple[float, dict[str, float]]


def fit_shape(points: Sequence[Measurement], terms: Sequence[str]) -> tuple[Shape, int]:
    """Constant and coefficients for one size, and how many points were left out as outliers.

    Raises ModelMissing where scikit-learn is not installed.
    """
    shape = _least_squares(points, terms)
    kept = [m for m in points if abs(_predict(shape, m) - m.seconds) <= OUTLIER * m.seconds]
    if ENOUGH <= len(kept) < len(points):
        shape = _least_squares(kept, terms)
    else:
        kept = list(points)
    return shape, len(points) - len(kept)


def _least_squares(points: Sequence[Measurement], terms: Sequence[str]) -> Shape:
    try:
        from sklearn.linear_model import LinearRegression
    except ImportError as error:
        raise ModelMissing(f"fitting needs scikit-learn: {error}; install hpcwise[plan]") from error
    import numpy as np

    values = np.array([[term_value(term, m.features) for term in terms] for m in points])
    values = values.reshape(len(points), len(terms))
    seconds = np.array([m.seconds for m in points])
    # Columns of like size, or the solver stops early on the small ones.
    size = values.max(axis=0, initial=0.0)
    used = [i for i in range(len(terms)) if size[i] > 0 and np.ptp(values[:, i]) > 0]
    weight = 1 / np.maximum(seconds, SHORTEST_S)
    if not used:
        return float(np.average(seconds, weights=weight)), {}
    model = LinearRegression(positive=True)
    model.fit(values[:, used] / size[used], seconds, sample_weight=weight)
    per = {terms[i]: _rounded(c / size[i]) for i, c in zip(used, model.coef_, strict=True) if c > 0}
    if model.intercept_ >= 0:
        return _rounded(model.intercept_), per
    # The constant must not be negative either: through the origin.
    model = LinearRegression(positive=True, fit_intercept=False)
    model.fit(values[:, used] / size[used], seconds, sample_weight=weight)
    return 0.0, {terms[i]: _rounded(c / size[i]) for i, c in zip(used, model.coef_, strict=True) if c > 0}


def _rounded(value: float) -> float:
    """Six digits: files stay readable, and a last bit of the solver's does not change them."""
    return float(f"{value:.6g}")


def _predict(shape: Shape, m: Measurement) -> float:
    return profile_s(LinearProfile(base_s=shape[0], per=shape[1]), m.features)


def parts(shape: Shape) -> tuple[Shape, Shape]:
    """A shape's steps (DiT, which sequence parallelism splits) and all that does not repeat with them."""
    base_s, per = shape
    steps = {term: each_s for term, each_s in per.items() if "steps" in term.split("*")}
    rest = {term: each_s for term, each_s in per.items() if term not in steps}
    return (0.0, steps), (base_s, rest)


def level(points: Sequence[Measurement], donor: Shape, *, same_hardware: bool) -> Shape:
    """`donor` at the level of `points`, by the geometric mean of measured over predicted.

    On the donor's own hardware only the steps change with the size of a replica; what is left is as it was.
    """
    steps, rest = parts(donor)
    if same_hardware and all(m.seconds > _predict(rest, m) and _predict(steps, m) > 0 for m in points):
        factor = _geometric([(m.seconds - _predict(rest, m)) / _predict(steps, m) for m in points])
        return rest[0], {**scale_profile(*steps, factor)[1], **rest[1]}
    return scale_profile(*donor, _geometric([m.seconds / _predict(donor, m) for m in points]))


def _geometric(ratios: Sequence[float]) -> float:
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))


def fit_model(
    measurements: Sequence[Measurement], *, source: str, version: str = "", measured_on: str = "",
    terms: Sequence[str] = VIDEO_TERMS,
) -> dict[str, LinearProfile]:  # fmt: skip
    """Profiles of one model by hardware, from the points that are not held out, judged by those that are.

    A size with fewer than ENOUGH configurations takes its shape from the nearest size that has enough, of
    the same hardware if there is one, and its level from its own points.
    """
    training, heldout = split(measurements)
    shapes = {key: fit_shape(points, terms)[0] for key, points in training.items() if len(points) >= ENOUGH}
    if not shapes:
        every = [m for points in training.values() for m in points]
        alone = min(training, key=lambda key: (key[1], -len(training[key])))
        shapes[alone] = fit_shape(training[alone] if len(training[alone]) > 1 else every, terms)[0]
    profiles = {}
    for hardware in sorted({hardware for hardware, _ in training}):
        sizes = {n: points for (name, n), points in training.items() if name == hardware}
        own = {n: _shape(hardware, n, points, shapes) for n, points in sizes.items()}
        estimated = 1 not in own
        if estimated:
            own[1] = _one_device(own)
        judged = [m for m in heldout if m.hardware == hardware]
        profile = LinearProfile(
            base_s=own[1][0],
            per=own[1][1],
            sizes={n: SizeProfile(base_s=own[n][0], per=own[n][1]) for n in sorted(own) if n > 1},
        )
        verdict = judge(profile, judged)
        profiles[hardware] = _with_fit(
            profile, verdict, source=source, version=version, measured_on=measured_on, estimated=estimated,
            ranges_=ranges(m for points in sizes.values() for m in points),
            points=sum(len(points) for points in sizes.values()),
        )  # fmt: skip
    return profiles


def fit_all(
    points: Sequence[Measurement], terms: Sequence[str], *, source: str, version: str, measured_on: str
) -> LinearProfile:
    """One profile from all points, of one device; nothing is held out, so its fit holds no judgement."""
    base_s, per = _least_squares(points, terms)
    fit = Fit(
        source=source, model_version=version, measured_on=measured_on, points=len(points),
        ranges={name: (_rounded(low), _rounded(high)) for name, (low, high) in ranges(points).items()},
    )  # fmt: skip
    return LinearProfile(base_s=base_s, per=per, fit=fit)


def split(
    measurements: Sequence[Measurement],
) -> tuple[dict[tuple[str, int], list[Measurement]], list[Measurement]]:
    """Points to fit by (hardware, devices), and those held out. A size of which too little would be left
    keeps all of its points and is not judged."""
    by_size: dict[tuple[str, int], list[Measurement]] = defaultdict(list)
    for m in measurements:
        by_size[m.hardware, m.n_devices].append(m)
    training: dict[tuple[str, int], list[Measurement]] = {}
    heldout: list[Measurement] = []
    for key, points in by_size.items():
        left = [m for m in points if not m.heldout]
        enough = len(left) >= min(ENOUGH, len(points) / 2)
        training[key] = left if enough else points
        heldout += [m for m in points if m.heldout] if enough else []
    return training, heldout


def _shape(
    hardware: str, n: int, points: Sequence[Measurement], shapes: dict[tuple[str, int], Shape]
) -> Shape:
    if (hardware, n) in shapes:
        return shapes[hardware, n]
    donor = min(shapes, key=lambda k: (k[0] != hardware, abs(math.log2(k[1] / n)), k))
    base_s, per = level(points, shapes[donor], same_hardware=donor[0] == hardware)
    return _rounded(base_s), {term: _rounded(each_s) for term, each_s in per.items()}


def _one_device(own: dict[int, Shape]) -> Shape:
    """Shape of one device that was never measured: the smallest measured size's, its steps as if they
    split perfectly, hence never too short."""
    smallest = min(own)
    steps, rest = parts(own[smallest])
    return rest[0], {**{t: _rounded(s * smallest) for t, s in steps[1].items()}, **rest[1]}


def _with_fit(
    profile: LinearProfile, verdict: Judgement, *, source: str, version: str, measured_on: str, points: int,
    estimated: bool, ranges_: dict[str, tuple[float, float]],
) -> LinearProfile:  # fmt: skip
    import msgspec

    text = "scaled from its smallest measured replica" if estimated else source
    fit = Fit(
        source=text, model_version=version, measured_on=measured_on, points=points, heldout=verdict.points,
        r2=round(verdict.r2, 6), mape=round(verdict.mape, 4), estimated=estimated,
        ranges={name: (_rounded(low), _rounded(high)) for name, (low, high) in ranges_.items()},
    )  # fmt: skip
    return msgspec.structs.replace(profile, fit=fit)
