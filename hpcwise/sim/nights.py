"""Nights on a simulated site: the contract's own policy among everybody else's jobs.

    result = night(site.copy(), terms, deadline_s, error=1.07)

The policy sees what a head sees: its jobs' starts, ends and evictions, and the clock. Other people's jobs
feel it too, for its jobs take nodes.
"""

from __future__ import annotations

from hpcwise.core.contract import Cancel, Submit, Terms, decide, next_look_s
from hpcwise.core.contractrun import HORIZON_S, Book, Outcome, outcome
from hpcwise.sim.sitequeue import SiteQueue


def night(site: SiteQueue, terms: Terms, deadline_s: float, error: float = 1.0) -> Outcome:
    """From the site's present on. The site is used up. error: of the profiles, on this film.

    A job that is evicted or at its walltime keeps what it has finished: segments are short.
    """
    begin_s = site.now_s
    book = Book(terms, deadline_s, begin_s, error)
    asked: list[int] = []
    while True:
        for action in decide(terms, book.night(), book.now_s):
            _act(site, book, action, asked)
        for each in site.happened():
            _note(book, str(each.ident), each.what)
        if book.now_s - begin_s >= HORIZON_S:
            break
        next_s = min(book.done_s(), next_look_s(terms, book.night(), book.now_s), begin_s + HORIZON_S)
        at_s = site.run_until(next_s, {int(ident) for ident in book.held})
        book.advance(at_s)
        if book.remaining <= 1e-12:
            break
        for each in site.happened():
            _note(book, str(each.ident), each.what)
    for ident in list(book.held):
        site.cancel(int(ident))
    return outcome(book, tuple(asked))


def _act(site: SiteQueue, book: Book, action: Submit | Cancel, asked: list[int]) -> None:
    if isinstance(action, Cancel):
        site.cancel(int(action.ident))
        book.gone(action.ident, "cancelled")
        return
    offer = book.terms.offers[action.offer]
    ident = site.submit(offer.partition, offer.nodes, offer.walltime_s)
    book.asked(str(ident), action.offer)
    asked.append(action.offer)


def _note(book: Book, ident: str, what: str) -> None:
    if ident not in book.held:
        return
    if what == "started":
        book.started(ident)
    else:
        book.gone(ident, "preempted" if what == "preempted" else "walltime")
