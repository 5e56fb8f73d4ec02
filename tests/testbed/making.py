"""Testbeds for tests. They must be had where CI runs: only a person without root may go without."""

from __future__ import annotations

import os

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.testbed import packages, record
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape

PREFIX = "pytest-"


def name(suffix: str = "") -> str:
    """A name that no other test session of this machine uses."""
    return f"{PREFIX}{os.getpid()}{suffix}"


def made_or_said(shape: Shape, suffix: str = "") -> Testbed:
    """A testbed of this shape; where it cannot be made, the test fails and says why."""
    need(shape)
    return Testbed.up(shape, name(suffix))


def need(shape: Shape) -> None:
    """Fail the test where the machine lacks something. Skipped is only a person without root, never CI."""
    try:
        packages.require(shape)
    except UsageError as error:
        if os.geteuid() != 0 and "CI" not in os.environ:
            pytest.skip(f"{error}; scripts/test as root runs this")
        pytest.fail(f"{error}; scripts/test as root installs it")


def end_those_left() -> None:
    """End the testbeds of test sessions that were killed."""
    for known in record.known():
        if known.name.startswith(PREFIX) and record.started(known.pid) != known.started:
            Testbed.find(known.name).down()
