"""Runs inside a checkout of the StreamWise artifact, by its code: what scripts/bench/provision --peer asks.

usage: provisiondriver.py CHECKOUT < questions > answers       (Python 3.12 with pandas, scipy, tabulate,
tqdm and pyomo; on 3.11 also typing_extensions, whose `override` its code wants in `typing`)

Nothing is copied from the artifact: its tables are loaded, its greedy provisioner is asked for each budget,
and its evaluator judges allocations that others made. A question is {"devices": {type: n}, "plans": [{
"split": bool, "sync_split": bool, "upscale": bool, "replicas": [[model, type, devices, n], ...]}]}; its
answer has the greedy one as `greedy` and the plans in order as `plans`, each with ttff_s, total_s and cost;
greedy also with its replicas and seconds.
"""

from __future__ import annotations

import json
import sys
import time
import typing
from dataclasses import replace
from pathlib import Path
from typing import Any


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    if not hasattr(typing, "override"):
        from typing_extensions import override

        typing.override = override  # type: ignore[attr-defined]
    sys.path[:0] = [str(root / "simulator"), str(root / "streamwise")]
    answers = [_answer(root, question) for question in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
    return 0


def _answer(root: Path, question: dict[str, Any]) -> dict[str, Any]:
    from auto_model_allocator import AutoModelAllocator  # type: ignore[import-not-found]
    from constants import DEFAULT_WORKFLOW_CONFIG  # type: ignore[import-not-found]
    from data_loading import load_latency_data  # type: ignore[import-not-found]
    from evaluator import evaluate_model_allocation  # type: ignore[import-not-found]
    from model_provisioner.policies import STREAMWISE_POLICY  # type: ignore[import-not-found]
    from models import get_model_allocation  # type: ignore[import-not-found]
    from sim_types import GPUType, Model  # type: ignore[import-not-found]

    times = load_latency_data(root / "simulator" / "data")
    devices = {GPUType(kind): n for kind, n in question["devices"].items()}
    begin_s = time.process_time()
    found = AutoModelAllocator(DEFAULT_WORKFLOW_CONFIG, times, None, STREAMWISE_POLICY).allocate(
        dict(devices)
    )
    greedy = {
        **_judged(found),
        "seconds": time.process_time() - begin_s,
        "replicas": [
            [model.value, kind.value, each.devices, each.replicas]
            for kind, models in found.models.items()
            for model, allocations in models.items()
            for each in allocations
            if each.get_num_gpus() > 0
        ],
    }
    plans = []
    for plan in question["plans"]:
        apart = {Model.HF: plan["split"], Model.FT: plan["sync_split"]}
        policy = replace(STREAMWISE_POLICY, disaggregation=apart, use_upscaler=plan["upscale"])
        held: dict[Any, dict[Any, list[Any]]] = {kind: {model: [] for model in Model} for kind in devices}
        for model, kind, size, n in plan["replicas"]:
            made = get_model_allocation(model=Model(model), gpu_type=GPUType(kind), devices=size, replicas=n)
            held[GPUType(kind)][Model(model)].append(made)
        judged = evaluate_model_allocation(
            models=held, num_gpus=dict(devices), workflow=DEFAULT_WORKFLOW_CONFIG, latency_data=times,
            power_data=None, policy=policy, round_up_cost_to_server=True,
        )  # fmt: skip
        plans.append(_judged(judged))
    return {"greedy": greedy, "plans": plans}


def _judged(result: Any) -> dict[str, float]:
    return {"ttff_s": result.ttff_s, "total_s": result.total_time_s, "cost": result.cost}


if __name__ == "__main__":
    sys.exit(main())
