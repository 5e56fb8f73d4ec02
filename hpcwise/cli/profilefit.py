"""Fits profiles to measurements: non-negative least squares (scikit-learn), each size of a replica apart.

Non-negative, so that a prediction can never fall when steps, frames or pixels grow. Weighted by one over
the time, between absolute errors (which only see the longest runs) and relative ones (the shortest).
scikit-learn is the extra `plan`; what is fitted is written to configs/profiles/ and needs none of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from hpcwise.core.catalogue import Fit, LinearProfile, SizeProfile
from hpcwise.core.errors import ModelMissing
from hpcwise.core.measure import (
    STEPS,
    VIDEO_TERMS,
    Judgement,
    Measurement,
    judge,
    part_of_shape,
    ranges,
    rounded,
    scaled_shape,
)
from hpcwise.core.profiles import shape_s, term_value

#: Fewer configurations than this say too little about the shape: it is taken from another size or hardware.
ENOUGH = 12
#: Different numbers of steps that tell the seconds of steps from those of the rest.
APART = 3
#: A training point this far off (relative) is fitted without: some hosts were measured twice as slow.
OUTLIER = 0.35
#: Floors that are tried, as shares of the quickest step measured, up to FLOOR_MOST of it; how often points
#: are told apart anew for each; and the share of the loss that a floor must leave to be worth a parameter.
FLOORS, FLOOR_MOST, FLOOR_ROUNDS, FLOOR_GAIN = 12, 1.1, 4, 0.8
#: Times below this weigh as if they were it: the files hold two decimals.
SHORTEST_S = 0.2


def fit_shape(points: Sequence[Measurement], terms: Sequence[str]) -> SizeProfile:
    """Constant, coefficients and, where it explains much more, the least time of a step, for one size.

    Points that are far off are left out of a second fit. Raises ModelMissing without scikit-learn.
    """
    shape = _with_floor(points, terms)
    kept = [m for m in points if abs(shape_s(shape, m.features) - m.seconds) <= OUTLIER * m.seconds]
    return _with_floor(kept, terms) if ENOUGH <= len(kept) < len(points) else shape


def _with_floor(points: Sequence[Measurement], terms: Sequence[str]) -> SizeProfile:
    """Tries FLOORS shares of the quickest step as the least time of one: no sum of terms is a maximum."""
    best = least_squares(points, terms)
    best_loss = _loss(best, points) * FLOOR_GAIN
    if STEPS not in terms or len(points) < ENOUGH or not all(m.features.get(STEPS) for m in points):
        return best
    quickest_s = min(m.seconds / m.features[STEPS] for m in points)
    for k in range(1, FLOORS + 1):
        floor_s = rounded(quickest_s * k * FLOOR_MOST / FLOORS)
        shape = best
        for _ in range(FLOOR_ROUNDS):
            shape = least_squares(points, terms, _floored(shape, points, floor_s), floor_s)
        if (loss := _loss(shape, points)) < best_loss:
            best, best_loss = shape, loss
    return best


def _floored(shape: SizeProfile, points: Sequence[Measurement], floor_s: float) -> list[bool]:
    steps = msgspec.structs.replace(part_of_shape(shape, STEPS, with_it=True), floor={})
    return [shape_s(steps, m.features) < floor_s * m.features[STEPS] for m in points]


def _loss(shape: SizeProfile, points: Sequence[Measurement]) -> float:
    return sum((shape_s(shape, m.features) - m.seconds) ** 2 / max(m.seconds, SHORTEST_S) for m in points)


def least_squares(
    points: Sequence[Measurement], terms: Sequence[str], floored: Sequence[bool] = (), floor_s: float = 0.0
) -> SizeProfile:
    """Non-negative constant and coefficients. floored: points whose steps take `floor_s` each instead.

    Raises ModelMissing where scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LinearRegression
    except ImportError as error:
        raise ModelMissing(f"fitting needs scikit-learn: {error}; install hpcwise[plan]") from error
    import numpy as np

    values = np.array([[term_value(term, m.features) for term in terms] for m in points])
    values = values.reshape(len(points), len(terms))
    seconds = np.array([m.seconds for m in points])
    weight = 1 / np.maximum(seconds, SHORTEST_S)
    repeated = [i for i, term in enumerate(terms) if STEPS in term.split("*")]
    for row, is_floored in enumerate(floored):
        if is_floored:
            values[row, repeated] = 0.0
            seconds[row] -= floor_s * points[row].features[STEPS]
    # Columns of like size, or the solver stops early on the small ones.
    size = values.max(axis=0, initial=0.0)
    used = [i for i in range(len(terms)) if size[i] > 0 and np.ptp(values[:, i]) > 0]
    floor = {STEPS: floor_s} if floor_s else {}
    if not used:
        base_s = max(0.0, float(np.average(seconds, weights=weight)))
        return SizeProfile(base_s=rounded(base_s), floor=floor)
    columns = values[:, used] / size[used]
    model = LinearRegression(positive=True).fit(columns, seconds, sample_weight=weight)
    base_s = float(model.intercept_)
    if base_s < 0:
        # The constant must not be negative either: through the origin.
        model = LinearRegression(positive=True, fit_intercept=False)
        model.fit(columns, seconds, sample_weight=weight)
        base_s = 0.0
    per = {terms[i]: rounded(c / size[i]) for i, c in zip(used, model.coef_, strict=True) if c > 0}
    return SizeProfile(base_s=rounded(base_s), per=per, floor=floor)


def level(points: Sequence[Measurement], donor: SizeProfile, *, same_hardware: bool) -> SizeProfile:
    """`donor` at the level of `points`.

    On the donor's own hardware the steps and what is left have a level each where the points have enough
    numbers of steps to tell them apart (least squares, weighted as the fit); otherwise only the steps change
    with the size of a replica, by the geometric mean of measured over predicted.
    """
    steps, rest = (part_of_shape(donor, STEPS, with_it=w) for w in (True, False))
    both = [(shape_s(steps, m.features), shape_s(rest, m.features), m.seconds) for m in points]
    if same_hardware:
        if len({m.features.get(STEPS) for m in points}) >= APART and (factors := _two_levels(both)):
            return scaled_shape(scaled_shape(donor, factors[1]), factors[0] / factors[1], STEPS)
        if all(of_steps_s > 0 and s > of_rest_s for of_steps_s, of_rest_s, s in both):
            return scaled_shape(donor, _geometric([(s - r) / p for p, r, s in both]), STEPS)
    return scaled_shape(donor, _geometric([m.seconds / shape_s(donor, m.features) for m in points]))


def _two_levels(both: Sequence[tuple[float, float, float]]) -> tuple[float, float] | None:
    """Factors on the seconds of steps and rest that come nearest to the measured; None where one would have
    to be 0 or less, or nothing tells them apart."""
    pp = pr = rr = ps = rs = 0.0
    for of_steps_s, of_rest_s, seconds in both:
        weight = 1 / max(seconds, SHORTEST_S)
        pp += weight * of_steps_s * of_steps_s
        pr += weight * of_steps_s * of_rest_s
        rr += weight * of_rest_s * of_rest_s
        ps += weight * of_steps_s * seconds
        rs += weight * of_rest_s * seconds
    determinant = pp * rr - pr * pr
    if determinant <= 1e-9 * pp * rr:
        return None
    of_steps, of_rest = (ps * rr - rs * pr) / determinant, (rs * pp - ps * pr) / determinant
    return (of_steps, of_rest) if of_steps > 0 and of_rest > 0 else None


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
    shapes = {key: fit_shape(points, terms) for key, points in training.items() if len(points) >= ENOUGH}
    if not shapes:
        every = [m for points in training.values() for m in points]
        alone = min(training, key=lambda key: (key[1], -len(training[key])))
        shapes[alone] = fit_shape(training[alone] if len(training[alone]) > 1 else every, terms)
    profiles = {}
    for hardware in sorted({hardware for hardware, _ in training}):
        sizes = {n: points for (name, n), points in training.items() if name == hardware}
        own = {n: _shape(hardware, n, points, shapes) for n, points in sizes.items()}
        estimated = 1 not in own
        if estimated:
            own[1] = _one_device(own)
        judged = [m for m in heldout if m.hardware == hardware]
        profile = LinearProfile(
            base_s=own[1].base_s,
            per=own[1].per,
            floor=own[1].floor,
            sizes={n: own[n] for n in sorted(own) if n > 1},
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
    shape = least_squares(points, terms)
    fit = Fit(
        source=source, model_version=version, measured_on=measured_on, points=len(points),
        ranges={name: (rounded(low), rounded(high)) for name, (low, high) in ranges(points).items()},
    )  # fmt: skip
    return LinearProfile(base_s=shape.base_s, per=shape.per, fit=fit)


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
    hardware: str, n: int, points: Sequence[Measurement], shapes: dict[tuple[str, int], SizeProfile]
) -> SizeProfile:
    if (hardware, n) in shapes:
        return shapes[hardware, n]
    donor = min(shapes, key=lambda k: (k[0] != hardware, abs(math.log2(k[1] / n)), k))
    return level(points, shapes[donor], same_hardware=donor[0] == hardware)


def _one_device(own: dict[int, SizeProfile]) -> SizeProfile:
    """Shape of one device that was never measured: the smallest measured size's, its steps as if they
    split perfectly, hence never too short."""
    smallest = min(own)
    return scaled_shape(own[smallest], smallest, STEPS)


def _with_fit(
    profile: LinearProfile, verdict: Judgement, *, source: str, version: str, measured_on: str, points: int,
    estimated: bool, ranges_: dict[str, tuple[float, float]],
) -> LinearProfile:  # fmt: skip
    text = "scaled from its smallest measured replica" if estimated else source
    fit = Fit(
        source=text, model_version=version, measured_on=measured_on, points=points, heldout=verdict.points,
        r2=round(verdict.r2, 6), mape=round(verdict.mape, 4), estimated=estimated,
        ranges={name: (rounded(low), rounded(high)) for name, (low, high) in ranges_.items()},
    )  # fmt: skip
    return msgspec.structs.replace(profile, fit=fit)
