"""What the figures share: the catalogue at both price lists, plans and their execution, made once each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final, Literal

import msgspec

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.errors import UsageError
from hpcwise.core.measure import Measurement
from hpcwise.core.provisioner.check import provision_checked
from hpcwise.core.provisioner.provision import ITERATIONS, Problem, evaluate, problem, provision
from hpcwise.core.provisioner.shapes import Workflow, work_of
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Replicas, Work
from hpcwise.evaluation.published import Published
from hpcwise.evaluation.rows import Figure, Point
from hpcwise.sim.planrun import Executed, execute

#: paper: Table 3. artifact: what its code reckons with (dollars of a device-hour).
PriceList = Literal["paper", "artifact"]
ARTIFACT_SPOT: Final = {"a100": 1.07, "h100": 4.03, "h200": 4.22, "gb200": 10.76}
ARTIFACT_RESERVED: Final = {"a100": 3.4, "h100": 5.39, "h200": 5.64, "gb200": 14.42}
SEED: Final = 1

#: In the order of the paper; each is a module of this package.
FIGURES: Final = (
    "fig3", "fig4", "fig5", "table4", "fig8", "relaxed", "fig9", "fig10", "fig11", "fig12",
    "fig13", "fig14", "fig15", "fig16",
)  # fmt: skip


class Context:
    """Everything that a figure may ask for.

    fitted: the catalogue by fitted profiles, measured: what they were fitted to; catalogue: by the artifact's
    points, which all figures from Table 4 on use. step: told what is done now, for a progress bar.
    All plans are of spot or reserved devices as their pools say; equal questions are answered from memory.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fitted: Catalogue,
        workflows: Mapping[str, Workflow],
        published: Sequence[Published] = (),
        measured: Sequence[Measurement] = (),
        step: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.catalogue, self.fitted, self.workflows = catalogue, fitted, dict(workflows)
        self.published, self.measured = tuple(published), tuple(measured)
        self.step, self.seed = step, SEED
        self._catalogues: dict[PriceList, Catalogue] = {
            "paper": catalogue,
            "artifact": _at_artifact(catalogue),
        }
        self._problems: dict[object, Problem] = {}
        self._plans: dict[object, Plan] = {}
        self._done: dict[object, Executed] = {}

    def prices(self, which: PriceList = "paper") -> Catalogue:
        """The catalogue at a price list."""
        return self._catalogues[which]

    def work(self, name: str = "podcast") -> Work:
        """One of the workflows of Table 1, with every way to make it."""
        return work_of(name, self.workflows[name])

    def series(self, name: str) -> list[Published]:
        """What the artifact published under that name; empty if nothing."""
        return [row for row in self.published if row.series == name]

    def budget(self, name: str, **devices: int) -> Published | None:
        """What the artifact published of a series for just these devices, None if nothing."""
        return next((row for row in self.series(name) if row.devices == devices), None)

    def points(self, name: str, *kinds: str) -> list[Point]:
        """A published series as points; kinds: only configurations of just these GPU types."""
        rows = [row for row in self.series(name) if not kinds or set(row.devices) == set(kinds)]
        return [Point(row.ttff_s, row.cost_usd, label(row.devices)) for row in rows]

    def problem(
        self, work: Work, pools: Sequence[Pool], *, fluid: bool = False, prices: PriceList = "paper"
    ) -> Problem:
        """Raises UsageError where the work fits nowhere."""
        key = (_key(work), tuple(pools), fluid, prices)
        if key not in self._problems:
            self._problems[key] = problem(work, pools, self.prices(prices), fluid=fluid)
        return self._problems[key]

    def plan(
        self,
        work: Work,
        pools: Sequence[Pool],
        objective: Objective | None = None,
        *,
        fluid: bool = False,
        prices: PriceList = "paper",
        iterations: int = ITERATIONS,
    ) -> Plan:
        """Ours, by the estimate alone. fluid: by the paper's estimate instead of whole units."""
        goal = objective or Objective()
        key = (_key(work), tuple(pools), goal, fluid, prices, iterations)
        if key not in self._plans:
            asked = self.problem(work, pools, fluid=fluid, prices=prices)
            self._plans[key] = provision(asked, goal, iterations=iterations)
        return self._plans[key]

    def checked(
        self,
        work: Work,
        pools: Sequence[Pool],
        objective: Objective | None = None,
        *,
        prices: PriceList = "paper",
    ) -> tuple[Plan, Executed]:
        """Ours as `hpcwise plan` gives it: of the plans by both estimates the one that the engine makes more
        of. Raises UsageError where the devices are too few."""
        goal = objective or Objective()
        key = (_key(work), tuple(pools), goal, "checked", prices)
        if key not in self._plans:
            asked = self.problem(work, pools, prices=prices)
            self._plans[key], self._done[key] = provision_checked(
                asked, lambda plan: self.execute(plan, work, pools, prices=prices), goal
            )
        return self._plans[key], self._done[key]

    def evaluate(
        self,
        work: Work,
        pools: Sequence[Pool],
        variant: str,
        replicas: Sequence[Replicas],
        *,
        fluid: bool = False,
        prices: PriceList = "paper",
    ) -> Plan:
        """The estimate of replicas that somebody else chose (see core.provisioner.provision.evaluate)."""
        return evaluate(self.problem(work, pools, fluid=fluid, prices=prices), variant, replicas)

    def execute(
        self, plan: Plan, work: Work, pools: Sequence[Pool], *, prices: PriceList = "paper"
    ) -> Executed:
        """A plan carried out by the engine. Raises UsageError where it could not finish the film."""
        key = (_key(work), tuple(pools), plan.variant, plan.replicas, plan.estimate.usd_per_h, prices)
        if key not in self._done:
            self._done[key] = execute(plan, work, pools, self.prices(prices), self.seed)
        return self._done[key]


def pools_of(devices: Mapping[str, int], *, spot: bool = True) -> tuple[Pool, ...]:
    """A budget of devices by hardware: one warm pool each, without evictions, as the paper reckons."""
    return tuple(Pool(name=name, hardware=name, devices=n, spot=spot) for name, n in devices.items() if n)


def label(devices: Mapping[str, int]) -> str:
    """Devices as figures name them: 256 A100 + 64 H200."""
    return " + ".join(f"{n} {kind.upper()}" for kind, n in devices.items() if n)


def reproduce(name: str, context: Context) -> Figure:
    """Raises UsageError for a figure that there is not."""
    if name not in FIGURES:
        raise UsageError(f"figure: {name!r} is not known; choose all or one of {', '.join(FIGURES)}")
    make: Callable[[Context], Figure] = import_module(f"hpcwise.evaluation.{name}").reproduce
    return make(context)


def _key(work: Work) -> bytes:
    """Two works of one name may differ in their ways; features are a dict, hence no hash of its own."""
    return msgspec.msgpack.encode(work)


def _at_artifact(catalogue: Catalogue) -> Catalogue:
    """The catalogue at the artifact's prices; hardware that it has no price of keeps the paper's."""
    hardware = {
        name: msgspec.structs.replace(
            info,
            spot_usd_per_h=ARTIFACT_SPOT.get(name, info.spot_usd_per_h),
            usd_per_h=ARTIFACT_RESERVED.get(name, info.usd_per_h),
        )
        for name, info in catalogue.hardware.items()
    }
    return msgspec.structs.replace(catalogue, hardware=hardware)
