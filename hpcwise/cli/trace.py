"""The timeline as Chrome trace JSON, which Perfetto (ui.perfetto.dev) opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpcwise.cli.timeline import Timeline, short_name

_WORKERS, _REQUESTS = 1, 2


def trace(timeline: Timeline) -> dict[str, Any]:
    """A track a worker with a slice an attempt; a track a request with its segments and decisions."""
    return {
        "traceEvents": list(_events(timeline)),
        "displayTimeUnit": "ms",
        "otherData": {"wall_s": timeline.wall_s, "program": "hpcwise"},
    }


def _events(timeline: Timeline) -> Iterator[dict[str, Any]]:
    def us(at_s: float) -> float:
        return round((at_s - timeline.start_s) * 1e6, 1)

    for pid, name in ((_REQUESTS, "requests"), (_WORKERS, "workers")):
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": 3 - pid}}
    lanes = {life.worker: i for i, life in enumerate(timeline.workers, 1)}
    for life in timeline.workers:
        label = f"{life.worker} on {life.node}"
        yield {
            "ph": "M",
            "pid": _WORKERS,
            "tid": lanes[life.worker],
            "name": "thread_name",
            "args": {"name": label},
        }
        for at_s, text in ((life.joined_s, "joined"), (life.ended_s, f"left: {life.reason}")):
            if at_s is not None and at_s >= timeline.start_s:
                yield _instant(_WORKERS, lanes[life.worker], us(at_s), text, {})
    for loading in timeline.loadings:
        yield {
            "ph": "X",
            "pid": _WORKERS,
            "tid": lanes.get(loading.worker, 0),
            "ts": us(loading.start_s),
            "dur": us(loading.end_s) - us(loading.start_s),
            "name": f"load {loading.model}",
            "cat": "load",
            "args": {"ok": loading.ok},
        }
    for item in timeline.slices:
        yield {
            "ph": "X",
            "pid": _WORKERS,
            "tid": lanes.get(item.worker, 0),
            "ts": us(item.start_s),
            "dur": us(item.end_s) - us(item.start_s),
            "name": short_name(item),
            "cat": item.stage,
            "args": {
                "task": item.task_id,
                "attempt": item.attempt,
                "model": item.model,
                "tier": item.tier,
                "shot": item.shot,
                "outcome": item.outcome,
                "queued_s": item.start_s - item.queued_s,
                "deadline_in_s": item.deadline_s - item.end_s,
                "expected_s": item.expected_s,
                "reason": item.reason,
                "key": item.key,
            },
        }
    for tid, track in enumerate(timeline.requests, 1):
        label = f"{track.request_id} ({track.slo})"
        yield {"ph": "M", "pid": _REQUESTS, "tid": tid, "name": "thread_name", "args": {"name": label}}
        end_s = track.ended_s if track.ended_s is not None else timeline.end_s
        yield {
            "ph": "X",
            "pid": _REQUESTS,
            "tid": tid,
            "ts": us(track.arrived_s),
            "dur": us(end_s) - us(track.arrived_s),
            "name": track.name,
            "cat": "request",
            "args": {"state": track.state, "slo": track.slo},
        }
        for segment in track.segments:
            arguments = {"shot": segment.shot, "film_s": segment.film_s, "frames": segment.frames}
            yield _instant(_REQUESTS, tid, us(segment.at_s), f"segment {segment.index}", arguments)
        for note in track.notes:
            yield _instant(_REQUESTS, tid, us(note.at_s), note.kind, {"text": note.text})


def _instant(pid: int, tid: int, ts: float, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"ph": "i", "s": "t", "pid": pid, "tid": tid, "ts": ts, "name": name, "args": dict(arguments)}
