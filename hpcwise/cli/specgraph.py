"""Tasks of the `graph` workflow in a job spec."""

from __future__ import annotations

import math
from typing import Any, Final

from hpcwise.cli import specread as f
from hpcwise.cli.values import printable
from hpcwise.cli.yamlread import Value
from hpcwise.core.spec import GraphTask
from hpcwise.core.workflow import Edge

_FIELDS: Final = ("name", "stage", "model", "params", "features", "inputs", "deadline", "seed")


def read_graph(items: list[Value]) -> tuple[GraphTask, ...]:
    """The tasks; raises Part for a wrong field of one, or an input that no task makes."""
    tasks: list[GraphTask] = []
    lines: list[dict[str, Value]] = []
    for i, item in enumerate(items):
        at = f"[{i}]"
        fields = f.part(at, item, lambda v: f.mapping(v, _FIELDS, ("name", "stage", "model")))
        lines.append(fields)
        tasks.append(_task(at, fields))
    names = [task.name for task in tasks]
    for i, task in enumerate(tasks):
        if task.name in names[:i]:
            raise f.Part(f"[{i}].name", lines[i]["name"], "give every task a name of its own")
        for k, edge in enumerate(task.inputs):
            if edge.source not in names:
                written = lines[i]["inputs"].data[k]
                raise f.Part(f"[{i}].inputs[{k}]", written, f.nearest(edge.source, names, "name one of"))
    return tuple(tasks)


def _task(at: str, fields: dict[str, Value]) -> GraphTask:
    given: dict[str, Any] = {
        "name": f.part(f"{at}.name", fields["name"], f.token),
        "stage": f.part(f"{at}.stage", fields["stage"], f.token),
        "model": f.part(f"{at}.model", fields["model"], f.model_name),
    }
    if "params" in fields:
        given["params"] = f.part(f"{at}.params", fields["params"], _params)
    if "features" in fields:
        given["features"] = f.part(f"{at}.features", fields["features"], _features)
    if "inputs" in fields:
        given["inputs"] = f.part(f"{at}.inputs", fields["inputs"], _inputs)
    if "deadline" in fields:
        given["deadline_s"] = f.part(f"{at}.deadline", fields["deadline"], f.duration(0, 30 * 86400))
    if "seed" in fields:
        given["seed"] = f.part(f"{at}.seed", fields["seed"], f.whole(0, 2**63 - 1))
    return GraphTask(**given)


def _params(value: Value) -> dict[str, Any]:
    if not isinstance(value.data, dict):
        raise ValueError("write parameters as fields")
    for path, item in value.walk():
        number = isinstance(item.data, int | float) and not isinstance(item.data, bool)
        if number and not (math.isfinite(item.data) and -(2**63) <= item.data < 2**64):
            raise f.Part(f".{path}", item, "write a finite number of at most 64 bits")
    plain: dict[str, Any] = value.plain()
    return plain


def _features(value: Value) -> dict[str, float]:
    if not isinstance(value.data, dict):
        raise ValueError("write numbers by name, such as frames: 84")
    found: dict[str, float] = {}
    for name, item in value.data.items():
        usable = isinstance(item.data, int | float) and not isinstance(item.data, bool)
        if not usable or not 0 <= item.data < 1e15:
            raise f.Part(f".{printable(name, 40)}", item, "choose a number from 0 to 1e15")
        found[name] = float(item.data)
    return found


def _inputs(value: Value) -> tuple[Edge, ...]:
    if not isinstance(value.data, list):
        raise ValueError("list names of tasks")
    edges: list[Edge] = []
    for k, item in enumerate(value.data):
        if isinstance(item.data, str):
            source = f.part(f"[{k}]", item, f.token)
            edges.append(Edge(name=source, source=source))
            continue
        fields = f.part(f"[{k}]", item, lambda v: f.mapping(v, ("name", "source", "kind"), ("source",)))
        source = f.part(f"[{k}].source", fields["source"], f.token)
        name = f.part(f"[{k}].name", fields["name"], f.token) if "name" in fields else source
        kind: Any = "finish"
        if "kind" in fields:
            kind = f.part(f"[{k}].kind", fields["kind"], f.one_of(("finish", "stream")))
        edges.append(Edge(name=name, source=source, kind=kind))
    return tuple(edges)
