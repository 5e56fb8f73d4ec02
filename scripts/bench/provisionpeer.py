"""Our plans against the StreamWise artifact's greedy provisioner: `scripts/bench/provision --peer DIR`.

DIR is a checkout of github.com/Azure/realtimevideogen (MIT). Its code runs in a process of its own
(provisiondriver.py), by the interpreter named with --peer-python: it wants Python 3.12, pandas, scipy, pyomo,
tabulate and tqdm. None of it is part of this project.

For the podcast on BUDGETS: its greedy's replicas and ours are judged by its evaluator at its prices, ours
sought by the same estimate; and both are carried out by our engine, ours as `hpcwise plan` gives it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.check import provision_checked
from hpcwise.core.provisioner.provision import Problem, evaluate, problem
from hpcwise.core.provisioner.types import Plan, Pool, Replicas, Work
from hpcwise.evaluation.baselines.maxima import provision_in_turn
from hpcwise.sim.planrun import Executed, execute

BUDGETS: Final[tuple[Mapping[str, int], ...]] = (
    {"a100": 8}, {"a100": 16}, {"a100": 64}, {"a100": 128}, {"h100": 16}, {"h200": 64}, {"gb200": 32},
    {"a100": 24, "h100": 8}, {"a100": 48, "h200": 16}, {"a100": 96, "h200": 32}, {"a100": 256, "h200": 64},
)  # fmt: skip
#: The artifact's names of models, by our stage; sync is its VAE alone where the transformer is apart.
_MODELS: Final = {
    "screenplay": "gemma", "image": "flux", "speech": "others", "sketch": "hf", "decode": "hf_vae",
    "denoise": "ft", "sync": "ft", "upscale": "upscaler",
}  # fmt: skip
#: The card that each of its models is here; its greedy keeps the sketch's DiT and VAE apart.
_CARDS: Final = {
    "gemma": "gemma-3-27b", "flux": "flux", "others": "kokoro-82m", "hf": "framepack-dit",
    "hf_vae": "framepack-vae", "ft": "fantasytalking", "upscaler": "real-esrgan",
}  # fmt: skip
_VARIANT: Final = "upscaled, split"
_NEEDED: Final = ("simulator/evaluator.py", "simulator/data", "streamwise/model_provisioner/greedy.py")
_LIMIT_S: Final = 600.0


class Rival(NamedTuple):
    """One budget, cost x start. theirs, ours: by the artifact's evaluator; ours_bound: bound to the one way
    to make the film that its greedy has. The rest by our engine. parted: replicas of a size that our nodes
    cannot hold."""

    theirs: float
    ours: float
    ours_bound: float
    theirs_s: float
    theirs_engine: float
    ours_engine: float
    parted: int


def rivals(root: Path, python: str, work: Work, catalogue: Catalogue) -> list[Rival]:
    """Every budget. Raises UsageError for a folder that is no such checkout, and where its code fails."""
    missing = [name for name in _NEEDED if not (root / name).exists()]
    if missing:
        raise UsageError(f"peer: {root} has no {missing[0]}; name a checkout of Azure/realtimevideogen")
    bound = msgspec.structs.replace(work, variants=tuple(v for v in work.variants if v.name == _VARIANT))
    questions = [
        {
            "devices": {kind.upper(): n for kind, n in budget.items()},
            "plans": [
                question(provision_in_turn(problem(each, _pools(budget), catalogue)))
                for each in (work, bound)
            ],
        }
        for budget in BUDGETS
    ]
    answers = ask(root, python, questions)
    return [
        _rival(budget, work, catalogue, answer) for budget, answer in zip(BUDGETS, answers, strict=True)
    ]  # fmt: skip


def question(plan: Plan) -> dict[str, Any]:
    """A plan in the artifact's terms."""
    stages = {stage for row in plan.replicas for stage in row.stages}
    apart = "denoise" in stages
    rows = []
    for row in plan.replicas:
        [stage] = row.stages
        model = "ft_vae" if stage == "sync" and apart else _MODELS[stage]
        rows.append([model, row.pool.upper(), row.devices, row.n])
    return {
        "split": "decode" in stages, "sync_split": apart, "upscale": "upscale" in stages, "replicas": rows,
    }  # fmt: skip


def ask(root: Path, python: str, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The driver's answers. Raises UsageError with the last line of what went wrong."""
    driver = Path(__file__).resolve().with_name("provisiondriver.py")
    try:
        done = subprocess.run(
            [python, str(driver), str(root)], input=json.dumps(questions), capture_output=True, text=True,
            timeout=_LIMIT_S, check=False, cwd=root / "simulator",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"peer: {python} did not run it: {error}; choose another with --peer-python"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UsageError(f"peer: its code failed under {python}: {lines[-1]}; see --peer-python")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def padded(catalogue: Catalogue) -> Catalogue:
    """The catalogue with models that pad their sequence: the artifact splits it over any number of GPUs."""
    models = {name: msgspec.structs.replace(info, pads=True) for name, info in catalogue.models.items()}
    return msgspec.structs.replace(catalogue, models=models)


def replicas_of(rows: Sequence[Sequence[Any]], asked: Problem) -> tuple[tuple[Replicas, ...], int]:
    """The artifact's replicas as ours on as many GPUs, and how many had to be parted: a replica of ten GPUs
    would share the links of a node of eight, so it is one of eight and one of two."""
    [candidate] = [c for c in asked.candidates if c.variant.name == _VARIANT][:1]
    sizes: dict[tuple[str, str], list[int]] = {}
    for station in candidate.stations:
        for option in station.options:
            sizes.setdefault((station.models[0], asked.pools[option.pool].name), []).append(option.devices)
    found, parted = [], 0
    for model, kind, devices, n in rows:
        card, pool = _CARDS[model], kind.lower()
        valid = sizes[card, pool]
        parted += n if devices not in valid else 0
        left = devices
        while left > 0:
            size = max(each for each in valid if each <= left)
            found.append(Replicas(stages=(), models=(card,), pool=pool, devices=size, n=n))
            left -= size
    return tuple(found), parted


def _rival(budget: Mapping[str, int], work: Work, catalogue: Catalogue, answer: dict[str, Any]) -> Rival:
    pools = _pools(budget)
    asked = problem(work, pools, catalogue)
    generous = problem(work, pools, padded(catalogue))
    held, parted = replicas_of(answer["greedy"]["replicas"], generous)
    theirs = execute(evaluate(generous, _VARIANT, held), work, pools, generous.catalogue)

    def carry_out(plan: Plan) -> Executed:
        return execute(plan, work, pools, catalogue)

    _, ours = provision_checked(asked, carry_out)
    greedy, [mine, bound] = answer["greedy"], answer["plans"]
    return Rival(
        theirs=greedy["ttff_s"] * greedy["cost"], ours=mine["ttff_s"] * mine["cost"],
        ours_bound=bound["ttff_s"] * bound["cost"],
        theirs_s=greedy["seconds"], theirs_engine=theirs.cost_x_ttff, ours_engine=ours.cost_x_ttff,
        parted=parted,
    )  # fmt: skip


def _pools(budget: Mapping[str, int]) -> tuple[Pool, ...]:
    return tuple(Pool(name=kind, hardware=kind, devices=n, spot=True) for kind, n in budget.items())
