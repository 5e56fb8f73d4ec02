"""Figure 4 and section 3.3: generations of GPUs, what they cost and how much energy they take.

Wan 2.1, 81 frames at 784 x 496, 10 steps, four GPUs of each type. Times are inputs; ratios of cost (reserved
prices of Table 3) and energy (thermal design power times time) follow from them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from hpcwise.core.profiles import Profiles
from hpcwise.evaluation.plots import COLOURS
from hpcwise.evaluation.rows import Figure, Kind, Price, Row, Table
from hpcwise.evaluation.run import Context

KINDS: Final = ("a100", "h100", "h200", "gb200")
GPUS: Final = 4
_FEATURES: Final = {"steps": 10.0, "frames": 81.0, "frame_mpx": 784 * 496 / 1e6}
#: Frequency scaling of an A100 (section 3.3): share of the clock -> (times as long, share of the power).
_CLOCKS: Final = ((0.85, 1.08, 0.77), (0.55, 1.52, 0.52))


def reproduce(context: Context) -> Figure:
    profiles = Profiles(context.fitted, {})
    ours = {kind: profiles.expected_s("wan-2.1", kind, _FEATURES, GPUS) for kind in KINDS}
    measured = {
        m.hardware: m.seconds
        for m in context.measured
        if m.model == "wan-2.1" and m.n_devices == GPUS
        and all(abs(m.features[name] - value) < 1e-6 for name, value in _FEATURES.items())
    }  # fmt: skip
    hardware = context.fitted.hardware

    def usd(kind: str, seconds: float) -> float:
        return hardware[kind].usd_per_h * GPUS * seconds / 3600

    def kwh(kind: str, seconds: float) -> float:
        return hardware[kind].tdp_w * GPUS * seconds / 3.6e6

    def over_a100(value: Any, kind: str, times: dict[str, float]) -> float | None:
        return value(kind, times[kind]) / value("a100", times["a100"]) if kind in times else None

    def row(
        what: str, paper: float, artifact: float | None, mine: float | None, kind: Kind, note: str = "",
        price: Price = "", window: str = "",
    ) -> Row:  # fmt: skip
        return Row(figure="fig4", what=what, unit="x", paper=paper, artifact=artifact, ours=mine, kind=kind,
                   goal=0.15, note=note, price=price, window=window)  # fmt: skip

    rows = []
    for kind, paper in (("h100", 1.9), ("h200", 1.9 * 1.05), ("gb200", 2.9)):
        published = measured["a100"] / measured[kind] if kind in measured else None
        rows.append(
            row(f"A100 over {kind.upper()}: time", paper, published, ours["a100"] / ours[kind], "input")
        )
    for kind, paper in (("h100", 1.6), ("gb200", 2.7)):
        rows.append(
            row(f"{kind.upper()} over A100: cost of the same clip", paper, over_a100(usd, kind, measured),
                over_a100(usd, kind, ours), "regression", price="reserved", window="the clip's time")
        )  # fmt: skip
    for kind, paper in (("h100", 0.93), ("h200", 0.88), ("gb200", 1.02)):
        rows.append(
            row(f"{kind.upper()} over A100: energy of the same clip", paper, over_a100(kwh, kind, measured),
                over_a100(kwh, kind, ours), "regression", "thermal design power times time, as the paper")
        )  # fmt: skip
    curve = [(f.mhz / 1410, f.time, f.power) for f in hardware["a100"].frequencies]
    for share, time, power in _CLOCKS:
        rows.append(row(f"A100 at {share:.0%} of its clock: times as long", time, None,
                        _between(curve, share, 1), "input", "between measured clocks"))  # fmt: skip
        rows.append(row(f"A100 at {share:.0%} of its clock: power", power, None,
                        _between(curve, share, 2), "input", "mean, not peak power"))  # fmt: skip

    def draw(sheet: Any) -> None:
        panels: tuple[tuple[str, Callable[[str, float], float]], ...] = (
            ("seconds", lambda kind, s: s), ("cents, reserved", lambda kind, s: 100 * usd(kind, s)),
            ("Wh by thermal design power", lambda kind, s: 1e3 * kwh(kind, s)),
        )  # fmt: skip
        for ax, (unit, value) in zip(sheet.subplots(1, 3), panels, strict=True):
            for i, kind in enumerate(KINDS):
                ax.bar(i, value(kind, ours[kind]), 0.6, color=COLOURS[kind])
                if kind in measured:
                    ax.plot(i, value(kind, measured[kind]), "o", color=COLOURS["paper"],
                            markerfacecolor="none",
                            label="measured (artifact)" if not i else None)  # fmt: skip
            ax.set_xticks(range(len(KINDS)), [kind.upper() for kind in KINDS])
            ax.set_ylabel(unit)
            ax.grid(axis="x", visible=False)
        sheet.axes[0].legend(loc="upper right")

    lines = tuple((k, ours[k], measured.get(k), usd(k, ours[k]), kwh(k, ours[k])) for k in KINDS)
    columns = ("hardware", "ours_s", "measured_s", "ours_usd_reserved", "ours_kwh_tdp")
    return Figure(
        name="fig4", title="Figure 4: an 81-frame clip of Wan 2.1 at 784 x 496 on four GPUs of each type",
        rows=tuple(rows), tables=(Table(name="fig4-points", columns=columns, rows=lines),), draw=draw,
        size_in=(9.0, 2.9),
    )  # fmt: skip


def _between(curve: list[tuple[float, float, float]], share: float, place: int) -> float | None:
    for low, high in pairwise(curve):
        if low[0] <= share <= high[0]:
            part = (share - low[0]) / (high[0] - low[0])
            return low[place] + part * (high[place] - low[place])
    return None
