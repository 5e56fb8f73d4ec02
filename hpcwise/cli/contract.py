"""The ready-by contract: what is promised before anything is spent. Used by `submit` and `plan`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import click
import msgspec

from hpcwise.cli.clusterfile import Learned, read, read_learned
from hpcwise.cli.contractstarts import Starts
from hpcwise.cli.output import console
from hpcwise.cli.values import format_s
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.cluster import Cluster
from hpcwise.core.config import EngineConfig
from hpcwise.core.contract import Offer, Terms, latest_s
from hpcwise.core.contracthead import Agreement
from hpcwise.core.contractoffers import choices, offers_of, site_catalogue, terms_of
from hpcwise.core.contractquote import Calibration, Contract, contract, earliest, kind_of, quote_for
from hpcwise.core.contractrun import draws
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.shapes import work_of_job
from hpcwise.core.provisioner.types import Work
from hpcwise.core.queuewait import WaitModel
from hpcwise.core.spec import By, JobSpec
from hpcwise.core.units import HOUR_S

#: Error of profiles that were not checked against runs of their own.
_SIGMA: Final = 0.1
#: Sets of offers that are looked at, and rehearsals of each.
SETS: Final = 8
_POINTS: Final = 24


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster file and what was learned beside it."""

    cluster: Cluster
    path: str
    learned: Learned | None


class Deal(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. times: Unix time. degraded: the tier that the film would be made in, empty where
    it is the one that was asked for. latest: by offer, the latest safe moment to ask for it. asked_slurm: how
    often Slurm was asked for this quote."""

    cluster: str
    made_s: float
    film: str
    verdict: Literal["sold", "tight", "refused"]
    contract: Contract
    offers: tuple[Offer, ...]
    latest: dict[str, float]
    degraded: str
    billing: str
    waits: str
    asked_slurm: int = 0


def site_of(name: str) -> Site:
    """Raises UsageError for a file that is not there or wrong."""
    cluster, path = read(name)
    return Site(cluster=cluster, path=str(path), learned=read_learned(path))


def make(
    job: JobSpec, site: Site, now_s: float, level: float, partition: str = "", ask: bool = True
) -> tuple[Deal, Terms]:
    """The contract for a job with a deadline. ask: let Slurm say when each job would start (--test-only).

    Lower rungs of the quality ladder are tried where the best one cannot be sold. Raises UsageError for a
    job without a deadline and for whatever Slurm refuses.
    """
    if not isinstance(job.slo, By):
        raise UsageError("contract: this job has no deadline; add --by 08:00 or --in 9h")
    by_s = job.slo.wall_s
    if by_s <= now_s:
        raise UsageError(f"by: {job.slo.text} is past since {format_s(now_s - by_s)}; choose a later time")
    made: tuple[Deal, Terms] | None = None
    starts = Starts(site.cluster, Path(site.path)) if ask else None
    tiers = job.ladder if job.workflow == "streamwise-podcast" and not job.fixed_ladder else job.ladder[:1]
    for tier in tiers:
        rung = msgspec.structs.replace(job, ladder=(tier,), fixed_ladder=True)
        found = _of_rung(rung, site, by_s, now_s, level, partition, starts)
        degraded = "" if tier == job.ladder[0] else tier
        found = (msgspec.structs.replace(found[0], degraded=degraded), found[1])
        if found[0].verdict == "sold":
            return found
        if made is None or found[0].contract.confidence > made[0].contract.confidence:
            made = found
    assert made is not None
    return made


def shapes(
    job: JobSpec, site: Site, partition: str = "", level: float = 0.9
) -> tuple[Work, Catalogue, tuple[Offer, ...], float]:
    """The film's work, its catalogue, all offers of the cluster, and the profiles' sigma."""
    from hpcwise.head.planning import read_planning
    from hpcwise.head.settings import find_configs

    planned = read_planning(find_configs(), "streamwise")
    work = work_of_job(job, EngineConfig(catalogue=planned))
    catalogue = site_catalogue(site.cluster, planned, work)
    sigma = _sigma(work, catalogue)
    learned = site.learned
    offers = offers_of(
        site.cluster, work, catalogue, learned.waits if learned else None, level, partition,
        learned.evictions_per_h if learned else 0.1, sigma,
    )  # fmt: skip
    return work, catalogue, offers, sigma


def midnight_s(now_s: float) -> float:
    """Unix time of the last midnight in the local zone."""
    moment = datetime.fromtimestamp(now_s)
    return moment.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def agree(path: Path, request_id: str, deal: Deal, terms: Terms) -> None:
    """Keep the contract beside the film, for the head and for the morning's report."""
    from hpcwise.store.paths import storage_errors, write_beside

    agreement = Agreement(
        request_id=request_id, cluster=deal.cluster, made_s=deal.made_s, terms=terms, contract=deal.contract
    )
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(path, msgspec.json.encode(agreement) + b"\n", durable=False)


def show(deal: Deal) -> None:
    """For people."""
    out = console()
    c, q = deal.contract, deal.contract.quote

    def line(name: str, text: str) -> None:
        out.print(f"{name:<14}{text}", markup=False)

    percent = f"{100 * c.level:.0f} %"
    by = _clock(c.by_s, deal.made_s)
    sure = next((quote for quote in c.earliest if quote.level == c.level), q)
    if deal.verdict == "sold":
        line("contract", f"ready by {by} with {100 * c.confidence:.0f} % confidence")
    elif deal.verdict == "tight":
        line("contract", f"ready by {by} with {100 * c.confidence:.0f} % confidence only, not {percent}")
    else:
        line("contract", f"cannot be met by {by}")
    if deal.verdict != "sold":
        line("", f"the earliest time with {percent}: {_clock(sure.promise_s, deal.made_s)}")
    line("planned", f"{_clock(q.median_s, deal.made_s)}, as likely as not")
    each = ", ".join(f"{100 * e.level:.0f} % {_clock(e.promise_s, deal.made_s)}" for e in c.earliest)
    line("earliest", each)
    line(
        "GPU-hours",
        f"{q.gpu_h:.2g} expected"
        if any(o.gpus or any(k.gpus for k in o.kept) for o in deal.offers)
        else "0 (cores only)",
    )
    line("price", f"{money(q.usd)} expected, {money(q.usd_high)} at most with {percent}; {deal.billing}")
    for i, offer in enumerate(deal.offers):
        share = q.asked.get(offer.name, 0.0)
        begins = (
            "asked for at once" if share == 1 and i == 0 else f"asked for in {100 * share:.0f} % of nights"
        )
        latest = "" if i == 0 else f", at the latest {_clock(deal.latest[offer.name], deal.made_s)}"
        start = "" if offer.start_s is None else f"; Slurm says it starts in {format_s(offer.start_s)}"
        gpus = f"{offer.gpus} GPUs" if offer.gpus else "cores"
        line(
            "partitions" if i == 0 else "",
            f"{offer.partition}: {offer.nodes} nodes, {gpus}, {format_s(offer.walltime_s)}; "
            f"{begins}{latest}{start}",
        )
    for kept in {each.name: each for offer in deal.offers for each in offer.kept}.values():
        held = f"{kept.nodes} node{'s' if kept.nodes > 1 else ''}, {kept.gpus or 'no'} GPUs"
        line(
            "kept beside",
            f"{kept.name}: one replica of {held}, {money(kept.usd_per_h)} an hour, from its start to the "
            "film's end; counted above",
        )
    line("quality", f"{deal.degraded} tier: better ones are not ready in time" if deal.degraded
         else f"{deal.offers[0].tier} tier, as asked for")  # fmt: skip
    line("waits", deal.waits)


def _of_rung(
    job: JobSpec, site: Site, by_s: float, now_s: float, level: float, partition: str, starts: Starts | None
) -> tuple[Deal, Terms]:
    _, _, offers, sigma = shapes(job, site, partition, level)
    learned = site.learned
    waits = learned.waits if learned else None
    known = learned.calibration if learned else Calibration()
    best = _chosen(choices(offers), waits, level, sigma, by_s, now_s, known)
    if starts is not None:
        asked = tuple(starts.of(offer, now_s) for offer in best.offers)
        best = msgspec.structs.replace(best, offers=asked)
    made = contract(best, by_s, now_s, known)
    night = _whole(best, made, now_s)
    prices = dict.fromkeys(f"{o.partition}: {o.price}" for o in best.offers)
    deal = Deal(
        cluster=Path(site.path).stem,
        made_s=now_s,
        film=job.name or job.workflow,
        verdict=made.verdict,
        contract=made,
        offers=best.offers,
        latest=night,
        degraded="",
        billing=f"by the second from each job's start to its end ({'; '.join(prices)})",
        waits=_of_waits(learned, site.cluster, Path(site.path).stem),
        asked_slurm=starts.asked if starts is not None else 0,
    )
    return deal, best


def _chosen(
    sets: Sequence[tuple[Offer, ...]], waits: WaitModel | None, level: float, sigma: float, by_s: float,
    now_s: float, known: Calibration,
) -> Terms:  # fmt: skip
    """The set of offers that is cheapest for that deadline; where none can be promised, the soonest."""
    midnight = midnight_s(now_s)
    options = []
    for chosen in sets[:SETS]:
        terms = terms_of(chosen, waits, level, sigma, midnight)
        quote = earliest(terms, now_s, known, _POINTS)
        late = quote.promise_s > by_s
        usd = quote.usd
        if not late:
            # What it costs with the time that there is, not in the hurry of the earliest promise.
            planned_s = now_s + (by_s - now_s) / max(1.0, known.at(level, kind_of(terms)))
            usd = quote_for(terms, planned_s, now_s, draws(_POINTS)).usd
        options.append((late, quote.promise_s if late else usd, terms))
    return min(options, key=lambda row: row[:2])[2]


def _whole(terms: Terms, made: Contract, now_s: float) -> dict[str, float]:
    from hpcwise.core.contract import Night

    night = Night(remaining=1.0, deadline_s=made.quote.planned_s)
    return {o.name: max(now_s, latest_s(terms, i, night, now_s)) for i, o in enumerate(terms.offers)}


def _sigma(work: Work, catalogue: Catalogue) -> float:
    """From the error of the fits on runs that were held out, where that is known."""
    names = {s.model for v in work.variants for s in v.stages if s.fixed_s is None}
    errors: list[float] = [
        profile.fit.mape
        for name in names
        for profile in catalogue.models[name].profiles.values()
        if profile.fit is not None and profile.fit.mape > 0
    ]
    # A log-normal error of sigma has a mean absolute error of about 0.8 sigma.
    return max(_SIGMA, 1.25 * sum(errors) / len(errors)) if errors else _SIGMA


def _of_waits(learned: Learned | None, cluster: Cluster, name: str) -> str:
    if learned is None:
        how = "hpcwise cluster learn" if cluster.accounting else "hpcwise cluster learn --swf FILE"
        return f"a guess of 10 min for each queue; learn this site's: {how} {name}"
    nights = learned.calibration.nights
    held = ", ".join(f"{100 * float(k):.0f} %: {100 * v:.0f} %" for k, v in learned.calibration.held.items())
    checked = f"checked on {nights} nights of that past (held {held})" if nights else (
        "not yet checked on past nights"
    )  # fmt: skip
    return f"learned from {learned.waits.jobs} jobs ({learned.waits.source}); {checked}"


def _clock(at_s: float, now_s: float) -> str:
    """A time of day, with its date where that is another day than the next one."""
    if not math.isfinite(at_s):
        return "never"
    moment = datetime.fromtimestamp(at_s)
    return f"{moment:%H:%M}" if at_s - now_s < 24 * HOUR_S else f"{moment:%Y-%m-%d %H:%M}"


def money(usd: float) -> str:
    """Dollars; small sums with two digits that say something."""
    return f"${usd:.2f}" if usd >= 0.1 or not usd else f"${usd:.2g}"


def check_level(value: float) -> float:
    if not 0.5 <= value <= 0.99:
        raise UsageError(f"--confidence: {value:g} is not usable; choose 0.5 to 0.99")
    return value


def sellable(deal: Deal) -> bool:
    """Whether the job may be handed in with this contract."""
    return deal.verdict != "refused"


def refuse(deal: Deal) -> None:
    """Say on standard error why nothing was handed in."""
    sure = next(q for q in deal.contract.earliest if q.level == deal.contract.level)
    click.echo(
        f"hpcwise: by: cannot be met; choose {_clock(sure.promise_s, deal.made_s)} or later "
        "(nothing was submitted)",
        err=True,
    )
