"""Predicted times, power and prices: monotone, within what was measured, flagged where they are not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core.catalogue import (
    Catalogue,
    Fit,
    Frequency,
    HardwareInfo,
    LinearProfile,
    ModelInfo,
    SizeProfile,
)
from hpcwise.core.frequency import at_mhz, thriftiest
from hpcwise.core.measure import VIDEO_TERMS, Measurement, judge
from hpcwise.core.profile_flags import profile_flags
from hpcwise.core.profiles import Profiles, profile_s, speedup

each_s = st.floats(0, 10)
terms = st.dictionaries(st.sampled_from(VIDEO_TERMS), each_s, max_size=len(VIDEO_TERMS))
floors = st.dictionaries(st.just("steps"), st.floats(0, 5), max_size=1)
size_profiles = st.builds(SizeProfile, base_s=st.floats(0.01, 100), per=terms, floor=floors)
sizes = st.dictionaries(st.integers(2, 64), size_profiles, max_size=5)
features = st.fixed_dictionaries(
    {"steps": st.floats(1, 50), "frames": st.floats(1, 400), "frame_mpx": st.floats(0.05, 8)}
)
profiles = st.builds(
    LinearProfile, base_s=st.floats(0.01, 100), per=terms, floor=floors, sizes=sizes, serial=terms
)


@given(
    profiles, features, st.integers(1, 80), st.sampled_from(["steps", "frames", "frame_mpx"]), st.floats(1, 4)
)
def test_time_never_falls_when_steps_frames_or_pixels_grow(
    profile: LinearProfile, f: dict[str, float], n: int, grown: str, by: float
) -> None:
    more = {**f, grown: f[grown] * by}
    assert profile_s(profile, more, n) >= profile_s(profile, f, n) * (1 - 1e-9)


@given(profiles, features, st.integers(1, 80))
def test_a_replica_of_any_size_takes_a_time_between_the_two_measured_sizes_around_it(
    profile: LinearProfile, f: dict[str, float], n: int
) -> None:
    measured = sorted({1, *profile.sizes})
    below = max(size for size in measured if size <= n)
    above = min((size for size in measured if size >= n), default=measured[-1])
    bounds = sorted((profile_s(profile, f, below), profile_s(profile, f, above)))
    assert bounds[0] * (1 - 1e-9) <= profile_s(profile, f, n) <= bounds[1] * (1 + 1e-9)


@given(
    st.dictionaries(st.integers(1, 64), st.floats(1, 40), min_size=1, max_size=6),
    st.integers(1, 100),
)
def test_interpolated_speedup_stays_within_the_measured_ones(curve: dict[int, float], n: int) -> None:
    values = [1.0, *curve.values()]
    gain = speedup(LinearProfile(speedup=curve), n)
    assert min(values) - 1e-9 <= gain <= max(values) + 1e-9
    if n in curve and n > 1:
        assert gain == curve[n]


@given(profiles, features, st.floats(1, 3))
def test_a_longer_shot_scales_frames_but_neither_steps_nor_pixels(
    profile: LinearProfile, f: dict[str, float], scale: float
) -> None:
    longer = {**f, "frames": f["frames"] * scale}
    assert profile_s(profile, f, 1, scale) == pytest.approx(profile_s(profile, longer))


def test_what_sequence_parallelism_cannot_split_takes_as_long_on_eight_devices() -> None:
    profile = LinearProfile(per={"steps": 8.0}, speedup={8: 4.0}, serial_s=3.0, serial={"frames": 0.5})
    assert profile_s(profile, {"steps": 10, "frames": 4}, 1) == 85.0
    assert profile_s(profile, {"steps": 10, "frames": 4}, 8) == 25.0


def test_a_step_takes_no_less_than_its_floor_and_no_more_than_its_terms_above_it() -> None:
    profile = LinearProfile(base_s=1.0, per={"steps*frame_mpx": 0.2, "frames": 0.5}, floor={"steps": 0.1})
    small, large = {"steps": 10.0, "frame_mpx": 0.1, "frames": 2.0}, {"steps": 10.0, "frame_mpx": 2.0}
    assert profile_s(profile, small) == pytest.approx(1.0 + 10 * 0.1 + 1.0)
    assert profile_s(profile, large) == pytest.approx(1.0 + 10 * 0.4)


def catalogue() -> Catalogue:
    profile = LinearProfile(per={"steps": 2.0}, speedup={2: 1.9, 8: 5.0}, power_w={1: 400.0, 2: 760.0})
    models = {"dit": ModelInfo(name="dit", family="f", profiles={"a100": profile}, memory_gb=48, load_s=30)}
    a100 = HardwareInfo(
        name="a100", usd_per_h=3.6, spot_usd_per_h=1.8, busy_w=390, idle_w=63, memory_gb=80,
        devices_per_node=8,
    )  # fmt: skip
    return Catalogue(models=models, hardware={"a100": a100})


def test_power_is_the_measured_one_between_sizes_the_share_of_a_device_is_interpolated() -> None:
    p = Profiles(catalogue(), {})
    assert [p.power_w("dit", "a100", n) for n in (1, 2, 8)] == [400.0, 760.0, 3040.0]
    assert p.power_w("unknown", "a100", 2) == 780.0
    assert p.energy_j("a100", 2, 10.0, "dit") == 7600.0
    assert p.idle_w("a100", 8) == 504.0


def test_spot_and_reserved_prices_are_told_apart() -> None:
    p = Profiles(catalogue(), {})
    assert p.cost_usd("a100", 8, 1800.0) == pytest.approx(14.4)
    assert p.cost_usd("a100", 8, 1800.0, spot=True) == pytest.approx(7.2)


def test_real_runs_correct_the_profile_and_show_as_drift() -> None:
    ratios: dict[str, float] = {}
    p = Profiles(catalogue(), ratios)
    for _ in range(60):
        p.learn("dit", "a100", p.expected_s("dit", "a100", {"steps": 5}), 20.0)
    assert p.expected_s("dit", "a100", {"steps": 5}) == pytest.approx(20.0, rel=0.01)
    [flag] = profile_flags(catalogue().models["dit"], "a100", ratio=ratios["dit@a100"])
    assert flag.kind == "drift"
    assert flag.text == "dit on a100: real runs take 2.00 times the profile"


def test_every_reason_to_doubt_a_prediction_is_flagged() -> None:
    fit = Fit(source="x", model_version="1", ranges={"frames": (9.0, 81.0)})
    profile = LinearProfile(per={"frames": 1.0}, sizes={4: SizeProfile()}, fit=fit)
    model = ModelInfo(name="m", version="2", family="f", profiles={"h100": profile})
    flags = profile_flags(model, "h100", {"frames": 200.0, "steps": 3.0}, n_devices=16)
    assert [f.text for f in flags] == [
        "m on h100: measured for version 1, the card says 2",
        "m on h100: frames 200 is outside what was measured, 9 to 81",
        "m on h100: 16 devices extrapolates; measured are 1, 4",
    ]
    assert profile_flags(model, "v100")[0].kind == "unmeasured"
    same = msgspec.structs.replace(model, version="1")
    assert profile_flags(same, "h100", {"frames": 81.0}, n_devices=4) == ()
    guessed = msgspec.structs.replace(profile, fit=Fit(source="scaled from a100 by 0.5", estimated=True))
    [flag] = profile_flags(msgspec.structs.replace(model, profiles={"h100": guessed}), "h100")
    assert flag.text == "m on h100: not measured, scaled from a100 by 0.5"


def test_a_judgement_counts_relative_errors_and_explained_spread() -> None:
    profile = LinearProfile(per={"steps": 1.0})
    points = [
        Measurement(model="m", hardware="h", features={"steps": s}, seconds=t)
        for s, t in ((1.0, 1.0), (2.0, 2.5), (3.0, 3.0))
    ]
    verdict = judge(profile, points)
    assert verdict.mape == pytest.approx(0.2 / 3)
    assert verdict.worst == pytest.approx(0.2)
    spread = sum((t - 6.5 / 3) ** 2 for t in (1.0, 2.5, 3.0))
    assert verdict.r2 == pytest.approx(1 - 0.25 / spread)


CLOCKS = (
    Frequency(mhz=400, power=0.4, time=3.0),
    Frequency(mhz=1000, power=0.6, time=1.25),
    Frequency(mhz=1400, power=1.0, time=1.0),
)


@given(st.floats(0, 3000))
def test_a_clock_between_two_measured_ones_draws_and_delays_between_theirs(mhz: float) -> None:
    point = at_mhz(HardwareInfo(name="a100", frequencies=CLOCKS), mhz)
    assert 0.4 <= point.power <= 1.0
    assert 1.0 <= point.time <= 3.0


def test_the_thriftiest_clock_needs_the_least_energy_and_hardware_without_clocks_runs_at_full() -> None:
    assert thriftiest(HardwareInfo(name="a100", frequencies=CLOCKS)).mhz == 1000
    assert thriftiest(HardwareInfo(name="cpu")).power == 1.0
