"""bench/provision --peer: our plans in the artifact's terms, and its code in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.provision import problem
from hpcwise.core.provisioner.shapes import WorkflowFile, work_of
from hpcwise.core.provisioner.types import Estimate, Plan, Pool, Replicas
from hpcwise.head.planning import read_planning
from hpcwise.head.settings import read_file
from scripts.bench import provisionpeer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

#: The names that the driver uses of a checkout; its evaluator here counts GPUs.
LAYOUT = {
    "simulator/constants.py": "DEFAULT_WORKFLOW_CONFIG = 'podcast'\n",
    "simulator/data_loading.py": "def load_latency_data(data_dir):\n    return data_dir.name\n",
    "simulator/data/x.csv": "",
    "simulator/sim_types.py": """\
from enum import Enum
GPUType = Enum("GPUType", {name: name for name in ("A100", "H200")})
Model = Enum("Model", {name: name for name in
    ("gemma", "flux", "hf", "hf_vae", "ft", "ft_vae", "upscaler", "others")} | {"HF": "hf", "FT": "ft"})
""",
    "simulator/models.py": """\
class Allocation:
    def __init__(self, model, gpu_type, devices, replicas):
        self.model, self.gpu_type, self.devices, self.replicas = model, gpu_type, devices, replicas
    def get_num_gpus(self):
        return self.devices * self.replicas
def get_model_allocation(*, model, gpu_type, devices, replicas):
    return Allocation(model, gpu_type, devices, replicas)
""",
    "simulator/evaluator.py": """\
from types import SimpleNamespace
def evaluate_model_allocation(*, models, num_gpus, workflow, latency_data, power_data, policy,
                              round_up_cost_to_server):
    gpus = sum(a.get_num_gpus() for held in models.values() for each in held.values() for a in each)
    return SimpleNamespace(models=models, ttff_s=float(gpus), total_time_s=600.0,
                           cost=2.0 if policy.use_upscaler else 1.0)
""",
    "simulator/auto_model_allocator.py": """\
from models import get_model_allocation
from sim_types import GPUType, Model
from evaluator import evaluate_model_allocation
class AutoModelAllocator:
    def __init__(self, workflow, times, power, policy):
        self.policy = policy
    def allocate(self, num_gpus):
        kind = next(iter(num_gpus))
        held = {kind: {Model.ft: [get_model_allocation(model=Model.ft, gpu_type=kind, devices=10,
                                                       replicas=2)]}}
        return evaluate_model_allocation(models=held, num_gpus=num_gpus, workflow=0, latency_data=0,
            power_data=None, policy=self.policy, round_up_cost_to_server=True)
""",
    "streamwise/model_provisioner/__init__.py": "",
    "streamwise/model_provisioner/greedy.py": "",
    "streamwise/model_provisioner/policies.py": """\
from dataclasses import dataclass, field
@dataclass
class Policy:
    disaggregation: dict = field(default_factory=dict)
    use_upscaler: bool = True
STREAMWISE_POLICY = Policy()
""",
}
NOTHING = Estimate(
    ttff_s=0.0, ready_s=0.0, ttff_eff_s=0.0, cost_usd=0.0, usd_per_h=0.0, risk_usd=0.0, energy_kwh=0.0,
    peak_w=0.0, devices={}, stages=(), first_binds="", rest_binds="",
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in LAYOUT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def plan(*rows: tuple[str, str, int, int]) -> Plan:
    replicas = tuple(Replicas((stage,), (stage,), pool, devices, n) for stage, pool, devices, n in rows)
    return Plan(work="podcast", variant="", tier="high", replicas=replicas, estimate=NOTHING)


def test_a_plan_in_the_artifacts_terms_names_its_models_and_what_is_apart() -> None:
    apart = plan(("decode", "a100", 1, 3), ("denoise", "h200", 8, 2), ("sync", "a100", 1, 1))
    assert provisionpeer.question(apart) == {
        "split": True, "sync_split": True, "upscale": False,
        "replicas": [["hf_vae", "A100", 1, 3], ["ft", "H200", 8, 2], ["ft_vae", "A100", 1, 1]],
    }  # fmt: skip
    fused = plan(("sync", "a100", 2, 1), ("upscale", "a100", 1, 1))
    assert provisionpeer.question(fused)["replicas"] == [["ft", "A100", 2, 1], ["upscaler", "A100", 1, 1]]
    assert provisionpeer.question(fused)["upscale"] is True


def test_its_own_code_judges_our_plans_and_answers_with_its_greedy_one(checkout: Path) -> None:
    mine = provisionpeer.question(plan(("sync", "a100", 8, 2), ("upscale", "a100", 1, 3)))
    asked = [{"devices": {"A100": 64}, "plans": [mine]}]
    [answer] = provisionpeer.ask(checkout, sys.executable, asked)
    assert answer["plans"] == [{"ttff_s": 19.0, "total_s": 600.0, "cost": 2.0}]
    assert answer["greedy"]["replicas"] == [["ft", "A100", 10, 2]]
    assert answer["greedy"]["ttff_s"] == 20.0


def test_replicas_that_our_nodes_cannot_hold_keep_their_gpus_in_parts_and_are_counted() -> None:
    catalogue = provisionpeer.padded(read_planning(CONFIGS, "streamwise"))
    flows = read_file(CONFIGS / "workflows.yaml", WorkflowFile).workflows
    pools = (Pool(name="a100", hardware="a100", devices=64, spot=True),)
    asked = problem(work_of("podcast", flows["podcast"]), pools, catalogue)
    rows = [["ft", "A100", 10, 2], ["ft", "A100", 16, 1], ["hf_vae", "A100", 1, 4]]
    held, parted = provisionpeer.replicas_of(rows, asked)
    assert [(row.models, row.devices, row.n) for row in held] == [
        (("fantasytalking",), 8, 2), (("fantasytalking",), 2, 2), (("fantasytalking",), 16, 1),
        (("framepack-vae",), 1, 4),
    ]  # fmt: skip
    assert parted == 2


def test_a_folder_that_is_no_checkout_and_code_that_fails_are_named_in_one_line(checkout: Path) -> None:
    catalogue = read_planning(CONFIGS, "streamwise")
    flows = read_file(CONFIGS / "workflows.yaml", WorkflowFile).workflows
    work = work_of("podcast", flows["podcast"])
    with pytest.raises(UsageError, match=r"has no simulator/evaluator\.py"):
        provisionpeer.rivals(checkout / "simulator", sys.executable, work, catalogue)
    (checkout / "simulator" / "constants.py").write_text("raise ValueError('no tables')\n", encoding="utf-8")
    with pytest.raises(UsageError, match="ValueError: no tables") as error:
        provisionpeer.ask(checkout, sys.executable, [{"devices": {"A100": 8}, "plans": []}])
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="--peer-python"):
        provisionpeer.ask(checkout, "no-such-python", [])
