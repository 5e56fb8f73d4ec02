"""The timeline as a picture: a lane a worker, and below it how far the film was when playback needed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hpcwise.cli.timeline import Slice, Timeline, Track
from hpcwise.cli.values import format_s, printable
from hpcwise.core.errors import ModelMissing
from hpcwise.models import drawn

_STAGES: Final = {
    "document": ("#8D99AE", "document"),
    "screenplay": ("#B07AA1", "screenplay"),
    "image": ("#76B7B2", "set"),
    "speech": ("#F28E2B", "speech"),
    "animate": ("#4E79A7", "film"),
    "detect": ("#9C755F", "detect"),
    "encode": ("#BAB0AC", "prompt"),
    "sketch": ("#EDC948", "sketch"),
    "decode": ("#59A14F", "decode"),
    "sync": ("#4E79A7", "lip sync"),
    "upscale": ("#FF9DA7", "upscale"),
}
#: Colours on which white numbers cannot be read.
_PALE: Final = frozenset({"sketch", "upscale"})
_OTHER: Final = ("#59A14F", "task")
#: Lower tiers are paler, the lowest is hatched: quality is seen before it is read.
_TIERS: Final = {"high": (1.0, ""), "medium": (0.75, ""), "low": (0.5, ""), "static": (0.5, "////")}
_INK, _SOFT, _GRID = "#22262E", "#6B7280", "#E5E7EB"
_BAD, _GOOD = "#C0392B", "#2E8B57"
_LANE_IN: Final = 0.42
#: Steps of the time axis, seconds; and from which span on it counts in which unit.
_STEPS_S: Final = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400,
)  # fmt: skip
_UNITS: Final = ((3 * 3600.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
_MOST_LANES: Final = 60


def draw(timeline: Timeline, path: Path, title: str) -> None:
    """Write a PNG beside `path` and move it there. Raises ModelMissing where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise ModelMissing(f"matplotlib: {error}; install hpcwise[film]") from error
    matplotlib.use("Agg")
    from matplotlib import font_manager
    from matplotlib import pyplot as plt

    fonts = Path(drawn.__file__).parent / "fonts"
    for name in ("Inter-Regular.otf", "Inter-SemiBold.otf", "Inter-Bold.otf"):
        font_manager.fontManager.addfont(fonts / name)
    with plt.rc_context({"font.family": ["Inter", "DejaVu Sans"], "font.size": 9, "hatch.linewidth": 0.6}):
        figure = _figure(plt, timeline, title)
        beside = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(beside, format="png", dpi=160, facecolor="white")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
            plt.close(figure)


def _figure(plt: Any, timeline: Timeline, title: str) -> Any:
    lanes = [life.worker for life in timeline.workers][:_MOST_LANES] or ["no worker"]
    films = [track for track in timeline.requests if track.segments]
    lanes_in = _LANE_IN * len(lanes) + 0.5
    film_in = 1.9 if films else 0.0
    height_in = lanes_in + film_in + 1.75
    figure, axes = plt.subplots(
        2 if films else 1,
        1,
        figsize=(12.5, height_in),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [lanes_in, film_in] if films else [1], "hspace": 0.12},
    )
    figure.subplots_adjust(left=0.105, right=0.98, top=1 - 0.85 / height_in, bottom=0.5 / height_in)
    top = axes[0][0]
    _workers(top, timeline, lanes)
    _legend(top, timeline)
    if films:
        _films(axes[1][0], timeline, films)
    bottom = axes[-1][0]
    span_s = max(0.5, (timeline.end_s - timeline.start_s) * 1.01)
    bottom.set_xlim(0, span_s)
    unit = _clock(bottom, span_s)
    bottom.set_xlabel(
        f"{unit} since the request arrived" if len(timeline.requests) == 1 else unit, color=_SOFT
    )
    figure.text(0.105, 1 - 0.22 / height_in, title, fontsize=13, fontweight="bold", color=_INK, va="top")
    figure.text(0.105, 1 - 0.47 / height_in, _subtitle(timeline), fontsize=9, color=_SOFT, va="top")
    return figure


def _clock(axis: Any, span_s: float) -> str:
    """Ticks at round times; the unit that they count in."""
    from matplotlib import ticker

    _, factor, unit = next(row for row in _UNITS if span_s >= row[0])
    step_s = next((step for step in _STEPS_S if span_s / step <= 12), span_s / 10)
    axis.xaxis.set_major_locator(ticker.MultipleLocator(step_s))
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda at_s, _: f"{at_s / factor:g}"))
    return unit


def _subtitle(timeline: Timeline) -> str:
    busy_s = sum(item.end_s - item.start_s for item in timeline.slices)
    span_s = max(1e-9, timeline.end_s - timeline.start_s)
    lives = len(timeline.workers)
    parts = [f"{len(timeline.slices)} attempts on {lives} workers in {format_s(span_s)}"]
    if lives:
        parts.append(f"busy {100 * busy_s / span_s / lives:.0f} %")
    if len(timeline.requests) == 1:
        track = timeline.requests[0]
        parts.append(track.slo)
        if track.segments:
            parts.append(f"first frame after {format_s(track.segments[0].at_s - track.arrived_s)}")
        parts.append(track.state)
    return printable("   ·   ".join(parts), 160)


def _workers(axis: Any, timeline: Timeline, lanes: list[str]) -> None:
    row = {name: i for i, name in enumerate(lanes)}
    span_s = max(1e-9, timeline.end_s - timeline.start_s)
    for life in timeline.workers:
        if life.worker not in row:
            continue
        begin = max(0.0, life.joined_s - timeline.start_s)
        ended_s = life.ended_s if life.ended_s is not None else timeline.end_s
        end = min(ended_s, timeline.end_s) - timeline.start_s
        axis.broken_barh(
            [(begin, max(0.0, end - begin))], (row[life.worker] - 0.4, 0.8), color="#F3F4F6", zorder=0
        )
        if life.ended_s is not None and life.ended_s < timeline.end_s and "stop" not in life.reason:
            axis.plot([end], [row[life.worker]], marker="x", color=_BAD, markersize=7, zorder=5)
    for loading in timeline.loadings:
        if loading.worker in row:
            begin = max(0.0, loading.start_s - timeline.start_s)
            axis.broken_barh(
                [(begin, loading.end_s - timeline.start_s - begin)],
                (row[loading.worker] - 0.3, 0.6),
                facecolor="#D1D5DB" if loading.ok else _BAD,
                zorder=1,
            )
    for item in timeline.slices:
        if item.worker in row:
            _bar(axis, item, row[item.worker], timeline.start_s, span_s)
    # Of a whole run the first head is no news; of a request every head is that took over while it lived.
    for at_s in timeline.epochs:
        if at_s > timeline.start_s:
            axis.axvline(at_s - timeline.start_s, color=_BAD, linewidth=1, linestyle=":", zorder=4)
            axis.annotate(
                "new head",
                (at_s - timeline.start_s, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, 2),
                textcoords="offset points",
                fontsize=8,
                color=_BAD,
            )
    axis.set_yticks(range(len(lanes)), labels=[printable(name, 18) for name in lanes])
    axis.set_ylim(len(lanes) - 0.45, -0.55)
    _plain(axis)
    axis.tick_params(axis="y", length=0, labelsize=9, labelcolor=_INK)


def _bar(axis: Any, item: Slice, lane: int, start_s: float, span_s: float) -> None:
    colour, _ = _STAGES.get(item.stage, _OTHER)
    alpha, hatch = _TIERS.get(item.tier, (1.0, ""))
    bad = item.outcome in ("failed", "lost", "cancelled")
    begin, length = item.start_s - start_s, max(item.end_s - item.start_s, span_s / 2000)
    axis.broken_barh(
        [(begin, length)],
        (lane - 0.36, 0.72),
        facecolor=(colour, alpha),
        hatch=hatch or ("xx" if bad else None),
        edgecolor=_BAD if bad else "white",
        linewidth=1.2 if bad else 0.6,
        zorder=2,
    )
    late = _late_s(item)
    if late > 0:
        axis.broken_barh([(item.end_s - start_s - late, late)], (lane + 0.28, 0.08), facecolor=_BAD, zorder=3)
    label = str(item.shot) if item.shot >= 0 else ""
    if label and length > span_s * 0.012 * len(label):
        dark = alpha < 0.7 or item.stage in _PALE
        axis.text(
            begin + length / 2,
            lane,
            label,
            ha="center",
            va="center_baseline",
            fontsize=8,
            zorder=3,
            clip_on=True,
            color=_INK if dark else "white",
        )


def _late_s(item: Slice) -> float:
    """For how long it still ran after its deadline."""
    late = item.end_s - max(item.start_s, item.deadline_s)
    return max(0.0, late) if item.outcome == "finished" and not item.remake else 0.0


def _films(axis: Any, timeline: Timeline, films: list[Track]) -> None:
    """Film that could be played, over time, and where playback was: where the lines cross it stalled."""
    for i, track in enumerate(films):
        colour = ("#4E79A7", "#F28E2B", "#59A14F", "#B07AA1", "#E15759", "#76B7B2")[i % 6]
        times, made = [track.segments[0].at_s - timeline.start_s], [0.0]
        for segment in track.segments:
            at, length = segment.at_s - timeline.start_s, segment.frames / track.fps
            times += [at, at]
            made += [made[-1], segment.film_s + length]
        end = (track.ended_s if track.ended_s is not None else timeline.end_s) - timeline.start_s
        times.append(max(end, times[-1]))
        made.append(made[-1])
        axis.fill_between(times, made, color=colour, alpha=0.15, linewidth=0)
        axis.plot(times, made, color=colour, linewidth=1.6, label="could be played")
        playing, position = _playback(track, timeline.start_s)
        axis.plot(playing, position, color=_GOOD, linewidth=1.4, linestyle="--", label="playback")
        if track.ttff_goal_s is not None:
            _goal(axis, track.arrived_s + track.ttff_goal_s - timeline.start_s, timeline)
        versions = [note.at_s - timeline.start_s for note in track.notes if note.kind == "film"]
        for number, at in enumerate(versions):
            axis.plot([at], [made[-1]], marker="v", color=_INK, markersize=6, clip_on=False, zorder=5)
            axis.annotate(
                "film.mp4" if number == 0 else "remade",
                (at, made[-1]),
                xytext=(-7, 0),
                textcoords="offset points",
                fontsize=8,
                ha="right",
                va="center",
                color=_INK,
            )
    axis.set_ylabel("seconds of film", color=_SOFT)
    axis.set_ylim(0, axis.get_ylim()[1] * 1.12)
    if len(films) == 1:
        axis.legend(loc="upper left", frameon=False, fontsize=8)
    _plain(axis)


def _goal(axis: Any, at: float, timeline: Timeline) -> None:
    """When the first frame was promised; said on the side where there is room."""
    axis.axvline(at, color=_SOFT, linewidth=0.9, linestyle=":")
    left = at > 0.6 * (timeline.end_s - timeline.start_s)
    axis.annotate(
        "first frame promised",
        (at, 0.5),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        fontsize=8,
        color=_SOFT,
        ha="right" if left else "left",
    )


def _playback(track: Track, start_s: float) -> tuple[list[float], list[float]]:
    clock = track.segments[0].at_s
    times, position = [clock - start_s], [0.0]
    for segment in track.segments:
        if segment.at_s > clock:  # it stalled
            clock = segment.at_s
            times.append(clock - start_s)
            position.append(segment.film_s)
        clock += segment.frames / track.fps
        times.append(clock - start_s)
        position.append(segment.film_s + segment.frames / track.fps)
    return times, position


def _legend(axis: Any, timeline: Timeline) -> None:
    from matplotlib.patches import Patch

    stages = dict.fromkeys(item.stage for item in timeline.slices)
    marks: list[Any] = []
    for stage in [*_STAGES, *(s for s in stages if s not in _STAGES)]:
        if stage in stages:
            colour, name = _STAGES.get(stage, (_OTHER[0], stage))
            marks.append(Patch(facecolor=colour, label=name))
    if timeline.loadings:
        marks.append(Patch(facecolor="#D1D5DB", label="loading a model"))
    for tier in ("medium", "low", "static"):
        if any(item.tier == tier for item in timeline.slices if item.stage == "animate"):
            alpha, hatch = _TIERS[tier]
            marks.append(
                Patch(facecolor=("#4E79A7", alpha), hatch=hatch, edgecolor="white", label=f"film, {tier}")
            )
    if any(_late_s(item) > 0 for item in timeline.slices):
        marks.append(Patch(facecolor=_BAD, label="after its deadline"))
    axis.legend(
        handles=marks,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(marks) or 1,
        frameon=False,
        fontsize=8,
        handlelength=1.2,
        columnspacing=1.2,
        borderaxespad=0.1,
    )


def _plain(axis: Any) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(_GRID)
    axis.grid(axis="x", color=_GRID, linewidth=0.7, zorder=-1)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_SOFT, length=0)
