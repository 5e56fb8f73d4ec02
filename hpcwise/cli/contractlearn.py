"""Nights of a site's past, rehearsed when its queues are learned: what its contracts are stretched by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hpcwise.cli.clusterfile import Learned
from hpcwise.cli.contract import Site, midnight_s, shapes
from hpcwise.core.cluster import Cluster
from hpcwise.core.contractoffers import choices
from hpcwise.core.contractpast import LEAST_DAYS, LEAST_JOBS, Past, Sets
from hpcwise.core.contractquote import Calibration, calibrate
from hpcwise.core.errors import UsageError
from hpcwise.core.queuewait import WaitSample
from hpcwise.core.spec import JobSpec

#: Lengths of the films that are rehearsed, seconds.
_FILMS_S: Final = (1200.0, 2700.0)
#: Sets of offers of each film.
_SETS: Final = 3
#: Nights of which so few are left, for want of jobs near them, say nothing.
_LEAST: Final = 10


def rehearsed(
    ours: Cluster, path: Path, made: Learned, samples: Sequence[WaitSample], n: int
) -> tuple[Calibration | None, str]:
    """The stretch of `n` nights of the past; or None, and why not."""
    if n == 0:
        return None, "none were asked for"
    past = Past(samples, midnight_s(samples[0].submit_s))
    if not past.enough:
        return None, (
            f"{past.days:.0f} days with {len(samples)} jobs; {LEAST_DAYS} days with {LEAST_JOBS} are needed"
        )
    site = Site(cluster=ours, path=str(path), learned=made)
    try:
        films, sigma = _films(site, frozenset(sample.partition for sample in samples))
    except UsageError as error:
        return None, str(error)
    with _shown(n) as tell:
        nights = past.nights(films, n, sigma, tell)
    found = calibrate(nights)
    if found.nights < _LEAST:
        return None, f"only {found.nights} of {n} nights had other jobs near them in the queues that are used"
    return found, ""


@contextmanager
def _shown(n: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while it takes long; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    out = Console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("nights of the past", total=n)
        yield lambda done: bar.update(task, completed=done)


def _films(site: Site, known: frozenset[str]) -> tuple[list[Sets], float]:
    """What is offered for films by the big models; for those on cores where the site cannot make them."""
    error: UsageError | None = None
    for workflow in ("streamwise-podcast", "podcast"):
        films: list[Sets] = []
        sigma = 0.0
        try:
            for film_s in _FILMS_S:
                job = JobSpec(
                    workflow=workflow, duration_s=film_s, width=1280, height=800, fps=23, ladder=("high",),
                    fixed_ladder=True,
                )  # fmt: skip
                _, _, offers, sigma = shapes(job, site)
                # Of partitions without a past there is nothing to rehearse.
                offers = tuple(offer for offer in offers if offer.partition in known)
                if not offers:
                    raise UsageError("no job of that past was in a partition that films would use")
                films.append(choices(offers)[:_SETS])
            return films, sigma
        except UsageError as wrong:
            error = wrong
    assert error is not None
    raise error
