"""Where speech is computed: on the worker's GPU if it has one that onnxruntime can use, else on its cores."""

from __future__ import annotations

from typing import Any

import onnxruntime
import pytest

from hpcwise.models.base import Devices
from hpcwise.models.kokoro.adapter import _providers


@pytest.mark.parametrize(
    ("built", "devices", "wanted"),
    [
        (True, Devices("cuda", (1,)), [("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]),
        (False, Devices("cuda", (1,)), ["CPUExecutionProvider"]),
        (True, Devices(), ["CPUExecutionProvider"]),
    ],
)
def test_speech_takes_the_gpu_that_the_worker_has(
    built: bool, devices: Devices, wanted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [*(["CUDAExecutionProvider"] if built else []), "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    assert _providers(devices) == wanted
