"""The ready-by contract: when what is asked for, what is promised, and that promises hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from hpcwise.core.contract import (
    Cancel,
    Held,
    Night,
    Offer,
    Submit,
    Terms,
    decide,
    latest_s,
    next_look_s,
    safe,
)
from hpcwise.core.contracthead import wanted
from hpcwise.core.contractoffers import choices
from hpcwise.core.contractpast import Past
from hpcwise.core.contractquote import (
    Calibration,
    Kind,
    Rehearsed,
    calibrate,
    cheapest_first,
    contract,
    earliest,
    kind_of,
    quote_for,
)
from hpcwise.core.contractrun import Book, draws, first_wait_s, rehearse
from hpcwise.core.queuewait import LEVELS, Waits, WaitSample, flat

HOUR = 3600.0
SPOT = Offer(name="spot", partition="spot", nodes=2, gpus=8, walltime_s=4 * HOUR, load_s=100, work_s=2 * HOUR,
             usd_per_h=10, pools=("spot",))  # fmt: skip
DEAR = Offer(name="dear", partition="dear", nodes=2, gpus=8, walltime_s=4 * HOUR, load_s=100, work_s=1 * HOUR,
             usd_per_h=40, pools=("dear",))  # fmt: skip


def terms(spot_wait_s: float = 600, dear_wait_s: float = 300, sigma: float = 0.0, **changes: object) -> Terms:
    waits = tuple((flat(wait),) * 24 for wait in (spot_wait_s, dear_wait_s))
    made = Terms(offers=(SPOT, DEAR), waits=waits, sigma=sigma)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def test_the_cheapest_is_asked_for_at_once_and_nothing_else_while_there_is_time() -> None:
    night = Night(remaining=1.0, deadline_s=10 * HOUR)
    assert decide(terms(), night, 0.0) == (Submit(0),)


def test_the_dearer_one_is_asked_for_at_its_latest_safe_moment() -> None:
    # By hand: 10 h less 300 s of queue, 100 s of loading and 1 h of work.
    night = Night(
        remaining=1.0, deadline_s=10 * HOUR, held=(Held(ident="1", offer=0, running=False, since_s=0),)
    )
    assert latest_s(terms(), 1, night, 0.0) == 10 * HOUR - 300 - 100 - HOUR
    at_s = 9 * HOUR - 400
    assert decide(terms(), night, at_s - 10) == ()
    assert decide(terms(), night, at_s) == (Submit(1),)
    assert next_look_s(terms(), night, at_s - 100) == at_s


def test_work_that_is_done_moves_the_latest_moment() -> None:
    half = Night(remaining=0.5, deadline_s=10 * HOUR)
    assert latest_s(terms(), 1, half, 0.0) == 10 * HOUR - 300 - 100 - HOUR / 2


def test_what_waits_is_taken_back_as_soon_as_what_runs_is_safe() -> None:
    held = (
        Held(ident="a", offer=0, running=True, since_s=0),
        Held(ident="b", offer=1, running=False, since_s=0),
    )
    night = Night(remaining=1.0, deadline_s=3 * HOUR, held=held)
    assert safe(terms(), night, 0.0)
    assert decide(terms(), night, 0.0) == (Cancel("b"),)
    late = Night(remaining=1.0, deadline_s=1.9 * HOUR, held=held)
    assert not safe(terms(), late, 0.0)
    assert decide(terms(), late, 0.0) == ()


def test_a_job_that_may_be_evicted_is_not_safe_at_that_confidence() -> None:
    risky = Offer(**{f: getattr(SPOT, f) for f in SPOT.__struct_fields__} | {"evictions_per_h": 0.2})
    made = Terms(offers=(risky, DEAR), waits=terms().waits, sigma=0.0)
    held = (Held(ident="a", offer=0, running=True, since_s=0),)
    night = Night(remaining=1.0, deadline_s=9 * HOUR, held=held)
    assert not safe(made, night, 0.0)  # exp(-0.2 * 2.03) is 0.67
    end = Night(remaining=0.2, deadline_s=9 * HOUR, held=held)
    assert safe(made, end, 100.0)  # 0.4 h: exp(-0.08) is 0.92


def test_a_finished_film_gives_everything_back() -> None:
    held = (Held(ident="a", offer=0, running=True, since_s=0),)
    assert decide(terms(), Night(remaining=0.0, deadline_s=1.0, held=held), 0.0) == (Cancel("a"),)


def test_work_adds_up_over_jobs_that_run_together() -> None:
    book = Book(terms(), 10 * HOUR, 0.0)
    book.asked("a", 0)
    book.asked("b", 1)
    book.started("a")
    book.started("b")
    # Both work from second 100 on at 1/7200 and 1/3600 of the film a second: 2400 s for all of it.
    assert book.done_s() == pytest.approx(2500)
    book.advance(1300)
    assert book.remaining == pytest.approx(0.5)
    book.gone("b", "preempted")
    assert book.done_s() == pytest.approx(1300 + 3600)
    book.advance(1e6)
    assert book.remaining == 0.0 and book.now_s == pytest.approx(4900)
    assert book.spent[0].why == "preempted" and book.usd() == pytest.approx(40 * 1300 / 3600)


def test_a_rehearsal_without_chance_is_the_sum_by_hand() -> None:
    rows = rehearse(terms(), 10 * HOUR, 0.0, draws(8))
    assert {round(row.ready_s) for row in rows} == {600 + 100 + 7200}
    assert {row.asked for row in rows} == {(0,)}
    assert rows[0].usd == pytest.approx(10 * 7300 / 3600)


def test_rehearsals_count_in_unix_time_as_they_do_from_zero() -> None:
    now_s = 1_795_169_070.123
    rows = rehearse(terms(sigma=0.2), now_s + 5 * HOUR, now_s, draws(16))
    from_zero = rehearse(terms(sigma=0.2), 5 * HOUR, 0.0, draws(16))
    assert [r.ready_s - now_s for r in rows] == pytest.approx([r.ready_s for r in from_zero], abs=0.01)


def test_a_tight_deadline_buys_the_dearer_one_too() -> None:
    made = quote_for(terms(), 1.4 * HOUR, 0.0)
    assert made.asked == {"spot": 1.0, "dear": 1.0}
    loose = quote_for(terms(), 12 * HOUR, 0.0)
    assert loose.asked == {"spot": 1.0, "dear": 0.0} and loose.usd < made.usd


def spread(low_s: float, high_s: float) -> tuple[Waits, ...]:
    return (Waits(wait_s=tuple(low_s + (high_s - low_s) * level for level in LEVELS)),) * 24


def test_more_confidence_is_promised_later() -> None:
    made = Terms(offers=(SPOT, DEAR), waits=(spread(0, 20 * HOUR), spread(0, 6 * HOUR)), sigma=0.1)
    promises = [
        earliest(
            Terms(offers=made.offers, waits=made.waits, sigma=0.1, level=level), 0.0, Calibration()
        ).promise_s
        for level in (0.5, 0.75, 0.9)
    ]
    assert promises == sorted(promises) and promises[-1] > 1.2 * promises[0]


def test_what_past_nights_took_stretches_the_promise_not_the_plan() -> None:
    plain = earliest(terms(), 0.0, Calibration())
    longer = earliest(terms(), 0.0, Calibration(stretch={"0.90": 1.5}, nights=40))
    assert longer.planned_s == plain.planned_s
    assert longer.promise_s == pytest.approx(1.5 * plain.promise_s)


def nights(ratios: list[float], level: float, kind: Kind = "", groups: int = 1) -> list[Rehearsed]:
    return [Rehearsed(level=level, ratio=r, kind=kind, group=i % groups) for i, r in enumerate(ratios)]


def test_the_stretch_is_the_conformal_rank() -> None:
    ratios = [i / 10 for i in range(1, 20)]  # 19 nights
    made = calibrate(nights(ratios, 0.9) + nights(ratios, 0.5))
    assert made.stretch == {"0.90": ratios[17], "0.50": ratios[9]} and made.nights == 19
    assert made.held == {}, "one group says nothing about the next"
    assert calibrate(nights(ratios, 0.99)).at(0.99) == ratios[-1]


def test_nights_of_a_kind_have_a_stretch_of_their_own_when_enough_are_known() -> None:
    quick, slow = [1 + i / 1000 for i in range(40)], [2 + i / 1000 for i in range(40)]
    made = calibrate(nights(quick, 0.5, "cheapest starts", 4) + nights(slow, 0.5, "all wait", 4)
                     + nights([9.0] * 5, 0.5, "other starts", 4))  # fmt: skip
    assert made.at(0.5, "cheapest starts") == pytest.approx(1.02) and made.at(0.5, "all wait") > 2.0
    assert made.at(0.5, "other starts") == made.at(0.5) == pytest.approx(2.002)
    # Each quarter by the stretch of the other three.
    assert made.held["0.50"] == pytest.approx(0.5, abs=0.1)


def test_the_kind_of_a_night_is_what_slurm_says_of_starts() -> None:
    def kind(spot_s: float | None, dear_s: float | None) -> str:
        offers = (
            msgspec.structs.replace(SPOT, start_s=spot_s),
            msgspec.structs.replace(DEAR, start_s=dear_s),
        )
        return kind_of(msgspec.structs.replace(terms(), offers=offers))

    assert (kind(None, 0.0), kind(5.0, 900.0)) == ("", "cheapest starts")
    assert (kind(900.0, 5.0), kind(900.0, None)) == ("other starts", "all wait")


def test_a_contract_is_sold_tight_or_refused_by_its_deadline() -> None:
    made = Terms(offers=(SPOT, DEAR), waits=(spread(0, 20 * HOUR), spread(0, 6 * HOUR)), sigma=0.1)
    sold = contract(made, 20 * HOUR, 0.0, Calibration())
    assert (sold.verdict, sold.confidence) == ("sold", 0.95)
    refused = contract(made, 0.5 * HOUR, 0.0, Calibration())
    assert (refused.verdict, refused.confidence) == ("refused", 0.0)
    at = {q.level: q.promise_s for q in sold.earliest}
    tight = contract(made, (at[0.75] + at[0.9]) / 2, 0.0, Calibration())
    assert (tight.verdict, tight.confidence) == ("tight", 0.75)


def test_slurms_word_that_it_starts_at_once_counts_and_its_estimate_is_a_bound() -> None:
    half = Waits(wait_s=tuple(0.0 if level < 0.5 else 4 * HOUR * level for level in LEVELS))
    assert first_wait_s(half, 5.0, 0.9) == 5.0
    assert first_wait_s(half, 30 * HOUR, 0.0) >= 0.45 * 4 * HOUR
    assert first_wait_s(half, HOUR, 0.9) == HOUR


def test_offers_are_tried_by_cost_and_what_is_worse_in_both_is_left_out() -> None:
    slow = Offer(name="slow", partition="dear", nodes=1, gpus=4, walltime_s=HOUR, load_s=0, work_s=9 * HOUR,
                 usd_per_h=30, pools=("dear",))  # fmt: skip
    assert [o.name for o in cheapest_first([DEAR, slow, SPOT])] == ["spot", "dear"]


def held(offer: int, running: bool, since_s: float, share: float = 1.0) -> Held:
    return Held(ident=("spot", "dear")[offer], offer=offer, running=running, since_s=since_s, share=share)


def night_of(remaining: float, *jobs: Held) -> Night:
    return Night(remaining=remaining, deadline_s=10 * HOUR, held=jobs)


def test_a_head_is_told_workers_by_pool() -> None:
    workers = {"spot": 8, "dear": 8}
    assert wanted(terms(), night_of(1.0), workers, 0.0) == {"spot": 8, "dear": 0}
    late = night_of(1.0, held(0, False, 0.0))
    assert wanted(terms(), late, workers, 9 * HOUR) == {"spot": 8, "dear": 8}
    runs = night_of(0.1, held(0, True, 8 * HOUR), held(1, False, 9 * HOUR))
    assert wanted(terms(), runs, workers, 9 * HOUR) == {"spot": 8, "dear": 0}
    # Half of its workers are there, and they are enough: nobody waits for the others.
    half = night_of(0.1, held(0, True, 8 * HOUR, share=0.5))
    assert wanted(terms(), half, workers, 8.5 * HOUR) == {"spot": 4, "dear": 0}
    slow = night_of(1.0, held(0, True, 8 * HOUR, share=0.5))
    assert wanted(terms(), slow, workers, 8.9 * HOUR) == {"spot": 8, "dear": 8}


def test_what_waits_is_taken_back_with_some_spare_only() -> None:
    barely = night_of(0.3, held(0, True, 8 * HOUR), held(1, False, 8 * HOUR))
    assert not safe(terms(), barely, 9.42 * HOUR) and decide(terms(), barely, 9.42 * HOUR) == ()
    assert safe(terms(), barely, 9.38 * HOUR) and decide(terms(), barely, 9.38 * HOUR) == ()
    assert decide(terms(), barely, 9.0 * HOUR) == (Cancel("dear"),)


def test_a_little_dedicated_beside_much_spot_is_cheaper_where_neither_makes_it_alone() -> None:
    big_spot = msgspec.structs.replace(SPOT, name="spot x4", nodes=4, work_s=2.2 * HOUR, usd_per_h=20)
    small, big = DEAR, msgspec.structs.replace(DEAR, name="dear x4", nodes=4, work_s=2 * HOUR, usd_per_h=80)
    small = msgspec.structs.replace(small, work_s=4 * HOUR, usd_per_h=40)
    rows = {"spot": [SPOT, big_spot], "dear": [small, big]}
    sets = choices([offer for pool in rows.values() for offer in pool])
    assert [{o.name for o in chosen} for chosen in sets] == [
        {"spot", "dear"}, {"spot x4", "dear x4"}, {"spot x4", "dear"},
    ]  # fmt: skip
    made = []
    for chosen in sets[1:]:
        terms = Terms(offers=cheapest_first(chosen), waits=((flat(0.0),) * 24,) * 2, sigma=0.0)
        made.append(quote_for(terms, 2 * HOUR, 0.0))
    assert [set(q.asked.values()) for q in made] == [{1.0}, {1.0}], "both at once"
    assert made[1].median_s < 2 * HOUR and made[1].usd < 0.9 * made[0].usd


def test_a_night_that_never_ends_says_so() -> None:
    never = Terms(offers=(SPOT,), waits=((flat(1e9),) * 24,), sigma=0.0)
    assert all(math.isinf(row.ready_s) for row in rehearse(never, HOUR, 0.0, draws(2)))


def past(days: int, wait_of: Callable[[int], float]) -> Past:
    """A job of each partition every two hours; `wait_of` day is what all of that day wait."""
    samples = [
        WaitSample(partition=name, nodes=2, walltime_s=4 * HOUR, hour=h, wait_s=wait_of(day), started=True,
                   submit_s=(24 * day + h) * HOUR)
        for day in range(days) for h in range(0, 24, 2) for name in ("spot", "dear")
    ]  # fmt: skip
    return Past(samples, 0.0)


def test_nights_of_the_past_wait_as_the_jobs_near_them_did() -> None:
    busy = past(28, lambda day: 6 * HOUR if day >= 21 else 0.0)
    assert busy.enough and not past(13, lambda day: 0.0).enough
    assert busy.wait_s(SPOT, 5 * 24 * HOUR) == 0.0 and busy.wait_s(DEAR, 25 * 24 * HOUR) == 6 * HOUR
    assert busy.wait_s(SPOT, 40 * 24 * HOUR) is None
    done: list[int] = []
    rows = busy.nights([[(SPOT, DEAR)]], 20, 0.0, done.append)
    assert done == list(range(1, 21)) and len(rows) == 20 * 4
    assert {row.kind for row in rows} == {"cheapest starts", "all wait"}
    # The other weeks knew one busy week in two at most; its nights took longer than was planned.
    last = [row.ratio for row in rows if row.level == 0.5 and row.kind == "all wait"]
    first = [row.ratio for row in rows if row.level == 0.5 and row.kind == "cheapest starts"]
    assert max(first) == pytest.approx(1.0, abs=0.05) and min(last) > 1.0
    made = calibrate(rows)
    assert made.nights == 20 and made.held.keys() == {"0.50", "0.75", "0.90", "0.95"}
