"""Figure 3: how long Wan 2.1 takes on A100 by frames, resolution, steps and GPUs (section 3.2).

Inputs: the fitted profile beside the measurements that it was fitted to. Agreement shows that the profile
holds what was measured, nothing more.
"""

from __future__ import annotations

from typing import Any, Final

from hpcwise.core.profiles import Profiles
from hpcwise.evaluation.plots import COLOURS
from hpcwise.evaluation.rows import Figure, Row, Table
from hpcwise.evaluation.run import Context

FPS: Final = 16
#: The paper's point: 81 frames, 640 x 400, 10 steps, one A100.
STEPS: Final = 10
FRAMES: Final = 81
MPX: Final = 0.256
_SWEEPS: Final[dict[str, tuple[float, ...]]] = {
    "frames": (1, 5, 21, 41, 61, 81),
    "steps": (1, 2, 5, 8, 10, 15, 20, 25, 30),
    "frame_mpx": (256 * 160 / 1e6, 512 * 320 / 1e6, 0.256, 768 * 480 / 1e6, 1024 * 640 / 1e6, 1.024),
    "GPUs": (1, 2, 4, 8),
}
_LABELS: Final = {
    "frames": "frames (16 a second)", "steps": "denoising steps", "frame_mpx": "megapixels of a frame",
    "GPUs": "A100 GPUs",
}  # fmt: skip


def reproduce(context: Context) -> Figure:
    profiles = Profiles(context.fitted, {})

    def ours(model: str = "wan-2.1", gpus: int = 1, **changes: float) -> float:
        features = {"steps": float(STEPS), "frames": float(FRAMES), "frame_mpx": MPX, **changes}
        return profiles.expected_s(model, "a100", features, gpus)

    def measured(gpus: int = 1, **changes: float) -> float | None:
        asked = {"steps": float(STEPS), "frames": float(FRAMES), "frame_mpx": MPX, **changes}
        return next(
            (
                m.seconds
                for m in context.measured
                if (m.model, m.hardware, m.n_devices) == ("wan-2.1", "a100", gpus)
                and all(abs(m.features[name] - value) < 1e-9 for name, value in asked.items())
            ),
            None,
        )

    def ratio(a: float | None, b: float | None) -> float | None:
        return a / b if a is not None and b else None

    def row(what: str, unit: str, paper: float, artifact: float | None, mine: float, note: str = "") -> Row:
        return Row(figure="fig3", what=what, unit=unit, paper=paper, artifact=artifact, ours=mine,
                   kind="input", goal=0.15, note=note)  # fmt: skip

    film_s = FRAMES / FPS
    rows = (
        row("81 frames at 640 x 400, 10 steps, one A100", "s", 93, measured(), ours()),
        row("the same for a second of video", "s/s", 18, ratio(measured(), film_s), ours() / film_s),
        row("one frame, for a second of video", "s/s", 66, ratio(measured(frames=1.0), 1 / FPS),
            ours(frames=1.0) * FPS, "3.7 s for 62.5 ms; a profile of clips says less of a single image"),
        row("21 frames (1.3 s), for a second of video", "s/s", 23, ratio(measured(frames=21.0), 21 / FPS),
            ours(frames=21.0) / (21 / FPS), "the artifact's own runs are below the paper's text"),
        row("four times the pixels (1280 x 800): times as long", "x", 4,
            ratio(measured(frame_mpx=1.024), measured()), ours(frame_mpx=1.024) / ours(),
            "attention is quadratic in pixels; the artifact's own runs say 8.3, not the text's 4"),
        row("20 steps instead of 10: times as long", "x", 2, ratio(measured(steps=20.0), measured()),
            ours(steps=20.0) / ours()),
        row("DiT: eight GPUs over one ('over 5x')", "x", 5, ratio(87.3, 15.5),
            ours("wan-2.1-dit") / ours("wan-2.1-dit", 8), "the text gives a bound, not a number"),
    )  # fmt: skip
    lines: list[tuple[str, float, float | None, float]] = []
    for name, values in _SWEEPS.items():
        for value in values:
            if name == "GPUs":
                lines.append((name, value, measured(int(value)), ours(gpus=int(value))))
            else:
                lines.append((name, value, measured(1, **{name: value}), ours("wan-2.1", 1, **{name: value})))

    def draw(sheet: Any) -> None:
        for ax, name in zip(sheet.subplots(1, 4), _SWEEPS, strict=True):
            mine = [line for line in lines if line[0] == name]
            ax.plot([x for _, x, _, _ in mine], [y for *_, y in mine], "-", color=COLOURS["ours"],
                    label="fitted profile")  # fmt: skip
            found = [(x, y) for _, x, y, _ in mine if y is not None]
            ax.plot([x for x, _ in found], [y for _, y in found], "o", color=COLOURS["paper"],
                    markerfacecolor="none", markersize=4.5, label="measured (artifact)")  # fmt: skip
            if name == "frames":
                ax.plot([0, 81], [0, 81 / FPS], "--", color="#CC0000", linewidth=1, label="real time")
            else:
                ax.axhline(film_s, linestyle="--", color="#CC0000", linewidth=1, label="real time")
            ax.set_xlabel(_LABELS[name])
            ax.set_ylim(bottom=0)
        sheet.axes[0].set_ylabel("seconds")
        sheet.axes[0].legend(loc="upper left")

    return Figure(
        name="fig3",
        title="Figure 3: latency of Wan 2.1 on A100 (81 frames, 640 x 400, 10 steps unless varied)",
        rows=rows,
        tables=(Table(name="fig3-points", columns=("varied", "value", "measured_s", "ours_s"),
                      rows=tuple(lines)),),
        draw=draw,
        size_in=(11.0, 2.9),
    )  # fmt: skip
