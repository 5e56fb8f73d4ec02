"""Sizes of replicas and a site's own prices."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core.billing import DeviceShare, billed, parse_weights
from hpcwise.core.catalogue import HardwareInfo, ModelInfo, Vae
from hpcwise.core.errors import UsageError
from hpcwise.core.parallel import sequence_tokens, ulysses_ring, usp_degrees

A100 = HardwareInfo(name="a100", memory_gb=80, devices_per_node=8, usd_per_h=1.8, spot_usd_per_h=1.0)
GB200 = HardwareInfo(name="gb200", memory_gb=186, devices_per_node=4)


def model(**changes: Any) -> ModelInfo:
    given: dict[str, Any] = {
        "name": "m", "family": "f", "attention_heads": 40, "max_frames": 81, "memory_gb": 48,
        "vae": Vae(spatial=8, temporal=4, patch=2),
    }  # fmt: skip
    return ModelInfo(**{**given, **changes})


def test_tokens_are_those_of_the_latent_the_first_frame_alone() -> None:
    assert sequence_tokens(model(), (784, 496)) == 49 * 31 * 21
    assert sequence_tokens(model(), (640, 400), frames=1) == 40 * 25
    assert sequence_tokens(model(), (854, 480)) == 0


def test_sizes_that_the_artifact_found_to_work_or_not_for_fantasytalking() -> None:
    """apps/resolutions.py of the artifact: 320x240 not on 8, 640x480 and 768x576 on up to 8."""
    assert usp_degrees(model(), A100, (320, 240))[-1] == 4
    for size in ((640, 480), (768, 576), (640, 360)):
        assert {1, 2, 4, 8} <= set(usp_degrees(model(), A100, size))


def test_a_replica_beyond_its_node_takes_whole_nodes() -> None:
    padded = model(pads=True)
    degrees = usp_degrees(padded, A100, (1280, 800))
    assert degrees == (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80)
    assert usp_degrees(padded, GB200, (1280, 800))[:6] == (1, 2, 4, 8, 12, 16)
    assert usp_degrees(model(pads=True, max_devices=4), A100, (1280, 800)) == (1, 2, 4)


def test_a_model_that_does_not_fit_or_may_not_run_there_has_no_size() -> None:
    assert usp_degrees(model(memory_gb=81), A100, (640, 400)) == ()
    assert usp_degrees(model(hardware=("h100",)), A100, (640, 400)) == ()
    assert usp_degrees(model(resolutions=((1280, 800),)), A100, (640, 400)) == ()
    assert usp_degrees(model(), A100, (641, 400)) == ()
    assert usp_degrees(model(attention_heads=0), A100, (640, 400)) == (1,)


@given(st.integers(1, 64), st.integers(1, 80))
def test_ulysses_divides_the_heads_and_ring_makes_up_the_rest(heads: int, n: int) -> None:
    ulysses, ring = ulysses_ring(heads, n)
    assert ulysses * ring == n
    assert heads % ulysses == 0


@given(st.sampled_from([(320, 240), (640, 400), (1280, 800), (784, 496)]), st.integers(1, 129))
def test_no_size_leaves_a_device_without_its_whole_share_unless_the_model_pads(
    size: tuple[int, int], frames: int
) -> None:
    for n in usp_degrees(model(), A100, size, frames):
        assert sequence_tokens(model(), size, frames) % n == 0


def test_heads_of_forty_on_sixteen_devices_are_split_eight_by_two() -> None:
    assert ulysses_ring(40, 16) == (8, 2)
    assert ulysses_ring(40, 40) == (40, 1)


def test_a_sites_billing_weights_replace_prices_of_what_it_has() -> None:
    weights = parse_weights("CPU=1.0, Mem=0.25G,GRES/gpu:a100=40,GRES/gpu=20")
    assert weights == {"cpu": 1.0, "mem": 0.25, "gres/gpu:a100": 40.0, "gres/gpu": 20.0}
    shares = {"a100": DeviceShare(cpus=12, memory_gb=128)}
    priced = billed({"a100": A100, "gb200": GB200}, shares, weights, 0.01)
    assert priced["a100"].usd_per_h == priced["a100"].spot_usd_per_h == pytest.approx(0.84)
    assert priced["a100"].price_source == "billing weights of this site"
    assert priced["gb200"] == GB200


def test_memory_weights_without_a_suffix_are_per_megabyte() -> None:
    assert parse_weights("Mem=0.001")["mem"] == pytest.approx(1.024)
    assert parse_weights("Mem=0.5M")["mem"] == pytest.approx(512)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("CPU", "billing.weights: 'CPU' is not NAME=NUMBER; copy Slurm's TRESBillingWeights"),
        ("CPU=-1", "billing.weights: 'CPU=-1' is not NAME=NUMBER; copy Slurm's TRESBillingWeights"),
        ("CPU=1,Mem=nan", "billing.weights: 'Mem=nan' is not NAME=NUMBER; copy Slurm's TRESBillingWeights"),
    ],
)
def test_a_wrong_weight_is_one_line(text: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_weights(text)
    assert str(error.value) == line


def test_devices_that_the_weights_do_not_price_or_that_are_unknown_are_one_line() -> None:
    with pytest.raises(UsageError, match=r"^billing.devices: 'x' is not in hardware.yaml; known are a100$"):
        billed({"a100": A100}, {"x": DeviceShare(cpus=1)}, {"cpu": 1.0}, 1.0)
    with pytest.raises(UsageError, match=r"^billing.devices.a100: no weight applies to it"):
        billed({"a100": A100}, {"a100": DeviceShare(cpus=1)}, {"mem": 1.0}, 1.0)
