"""Replicas of several processes under a contract: the film waits for them, the quote counts their hours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hpcwise.core.cluster import Cluster, Pool, Replica
from hpcwise.core.contract import Offer, Terms
from hpcwise.core.contracthead import Agreement
from hpcwise.core.contractoffers import offers_of, site_catalogue, terms_of
from hpcwise.core.contractquote import Calibration, contract, quote_for
from hpcwise.core.contractrun import Book
from hpcwise.core.errors import UsageError
from hpcwise.core.queuewait import WaitSample, flat, learn
from tests.core.provisioner.cases import film, made_up

HOUR = 3600.0
WIDE = Replica(models=("move",), nodes=2, tasks_per_node=8)


def cluster(*replicas: Replica, nodes: int = 8, **fields: Any) -> Cluster:
    """A pool of 8-GPU nodes at $2 a GPU hour, and another one."""
    usual: dict[str, Any] = {
        "cpus_per_node": 64, "memory_gb_per_node": 500.0, "hardware": "slow", "gpu": "g", "gpus_per_node": 8,
    }  # fmt: skip
    own = Pool(
        pool="own", partition="own", nodes=nodes, usd_per_gpu_h=2.0, replicas=replicas, **usual, **fields
    )
    other = Pool(pool="other", partition="other", nodes=2, usd_per_gpu_h=3.0, **usual)
    return Cluster(cluster="c", slurm="24.11", pools=(own, other))


def sold(site: Cluster, partition: str = "own") -> tuple[Offer, ...]:
    work = film(units=400, film_s=1200.0)
    return offers_of(site, work, site_catalogue(site, made_up(), work), None, partition=partition)


def test_a_quote_counts_the_hours_of_a_wide_replica_that_the_film_needs() -> None:
    narrow, wide = sold(cluster()), sold(cluster(WIDE))
    assert all(offer.kept == () for offer in narrow)
    [kept] = wide[0].kept
    assert (kept.name, kept.partition, kept.nodes, kept.gpus, kept.usd_per_h) == (
        "own-2x8",
        "own",
        2,
        16,
        32.0,
    )
    assert all(offer.kept == (kept,) for offer in wide) and kept.load_s == 20.0
    # Twenty-three workers of one process cannot move what the replica alone holds: it sets the pace.
    assert {offer.nodes for offer in wide} < {1, 2, 4} and wide[0].gpus == 8
    terms = terms_of(wide[:1], None, 0.9, 0.0, 0.0)
    alone = msgspec.structs.replace(terms, kept=(), kept_waits=())
    quotes = [quote_for(each, 9 * HOUR, 0.0) for each in (terms, alone)]
    # All wait for ten minutes, as nothing is known of the queues, and load side by side.
    hours = (quotes[0].median_s - 600) / HOUR
    assert quotes[0].gpu_h - quotes[1].gpu_h == pytest.approx(16 * hours)
    assert quotes[0].usd - quotes[1].usd == pytest.approx(32 * hours)
    assert wide[0].usd == pytest.approx((wide[0].load_s + wide[0].work_s) * (16 + 32) / HOUR)


def test_another_pools_offer_has_it_too_where_the_head_would_keep_it() -> None:
    (offer, *_) = sold(cluster(WIDE), "other")
    assert [each.name for each in offer.kept] == ["own-2x8"]
    assert sold(cluster(Replica(models=("sing",), nodes=2)), "own")[0].kept == ()  # a film without it


def test_the_film_waits_for_it_and_it_is_paid_from_its_start_to_the_end() -> None:
    (offer, *_) = sold(cluster(WIDE))
    offer = msgspec.structs.replace(offer, work_s=HOUR, load_s=100.0, walltime_s=4 * HOUR)
    terms = Terms(offers=(offer,), waits=((flat(0.0),) * 24,), sigma=0.0, kept=offer.kept,
                  kept_waits=((flat(1000.0),) * 24,))  # fmt: skip
    book = Book(terms, 9 * HOUR, 0.0, kept_s=(1000.0,))
    book.asked("a", 0)
    book.started("a")
    assert book.done_s() == pytest.approx(1020 + HOUR)
    book.advance(600.0)
    assert (book.remaining, book.usd()) == (1.0, 0.0)
    book.advance(9 * HOUR)
    assert book.remaining == 0.0 and book.now_s == pytest.approx(1020 + HOUR)
    book.gone("a", "done")
    assert book.gpu_h() == pytest.approx(8 * (1020 + HOUR) / HOUR + 16 * (20 + HOUR) / HOUR)
    made = contract(terms, 2 * HOUR, 0.0, Calibration())
    assert made.verdict == "sold" and made.quote.median_s == pytest.approx(1020 + HOUR)
    assert made.quote.usd == pytest.approx((16 * (1020 + HOUR) + 32 * (20 + HOUR)) / HOUR)


def test_waits_of_its_own_size_and_walltime_are_learned_for_it() -> None:
    rows = [
        WaitSample(partition="own", nodes=nodes, walltime_s=7 * 24 * HOUR, hour=h, wait_s=900.0 * nodes)
        for nodes in (1, 2) for h in range(24) for _ in range(40)
    ]  # fmt: skip
    terms = terms_of(sold(cluster(WIDE))[:1], learn(rows, "test"), 0.9, 0.0, 0.0)
    assert terms.kept_waits[0][3].at(0.5) == 1800.0


def test_one_that_leaves_no_node_to_others_is_one_line_and_one_of_half_a_node_leaves_the_rest() -> None:
    with pytest.raises(UsageError, match=r"^pools\.own\.replicas: leave too few of its 2 nodes to other"):
        sold(cluster(WIDE, nodes=2))
    half = Replica(models=("move",), nodes=1, tasks_per_node=4)
    assert {offer.nodes for offer in sold(cluster(half, nodes=2))} == {1}


def test_an_agreement_of_before_is_read_as_one_without() -> None:
    terms = terms_of(sold(cluster()), None, 0.9, 0.0, 0.0)
    agreed = Agreement(
        request_id="r",
        cluster="c",
        made_s=0.0,
        terms=terms,
        contract=contract(terms, 9 * HOUR, 0.0, Calibration()),
    )
    told = msgspec.json.decode(msgspec.json.encode(agreed))
    del told["terms"]["kept"], told["terms"]["kept_waits"]
    for offer in told["terms"]["offers"]:
        del offer["kept"]
    assert msgspec.convert(told, Agreement) == agreed
