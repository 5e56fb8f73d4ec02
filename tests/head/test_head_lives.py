"""A real head with real workers: from a file in the inbox to artifacts in the store, and the faults."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec

from hpcwise.core.explain import Explanation
from hpcwise.core.report import RequestRow, RequestView
from hpcwise.core.spec import JobSpec
from hpcwise.store.journal import read_header
from hpcwise.wire import messages as w
from hpcwise.wire.messages import Up, decode_down, encode
from tests.head.harness import Site, graph, node, until


def diamond(salt: int = 0, **params: object) -> JobSpec:
    """Two streamed branches between a source and a sink."""
    return graph(
        node("source", chunks=2, nbytes=2000, salt=salt, **params),
        node("left", "source", kind="stream", chunks=2, nbytes=1000, **params),
        node("right", "source", chunks=1, nbytes=1000, **params),
        node("sink", "left", "right", nbytes=500, **params),
    )


def test_a_graph_runs_to_its_end_and_an_equal_one_is_taken_from_the_store(site: Site) -> None:
    head = site.start()
    answer = site.submit(diamond(), "first")
    assert (answer.accepted, answer.request_id, answer.epoch, answer.error) == (True, "first", 1, "")
    view = site.ended("first")
    assert (view.row.state, view.row.tasks_done, view.row.tasks) == ("done", 4, 4)
    assert len(site.digests()) == 4
    before = site.status().view.workers
    assert {worker.kind for worker in before} == {"cpu"} and 1 <= len(before) <= 2

    site.submit(diamond(), "second")
    assert site.ended("second").row.state == "done"
    assert len(site.digests()) == 4
    assert sum(worker.dispatches for worker in site.status().view.workers) == 4

    rows = site.get(tuple[RequestRow, ...], w.AskList)
    assert [row.request_id for row in rows] == ["first", "second"]
    assert site.get(Explanation, w.AskExplain, "first").state == "done"
    refused = site.ask(w.AskShow, "third")
    assert isinstance(refused, w.Refused) and "'third' is not known" in refused.reason

    head.send_signal(signal.SIGTERM)
    assert head.wait(20) == 0
    assert site.worker_pids() == {}
    assert not site.paths.head_json.exists()


def test_a_head_that_starts_again_knows_what_was_and_makes_nothing_twice(site: Site) -> None:
    site.start().send_signal(signal.SIGINT)
    assert site.heads[0].wait(20) == 0
    site.drop(diamond(), "early")  # nobody is there: it waits in the inbox
    site.start()
    assert site.ended("early").row.state == "done"
    digests = site.digests()
    assert isinstance(site.ask(w.StopHead), w.Answer)
    assert site.heads[1].wait(20) == 0
    head = site.start()
    assert site.view("early").row.state == "done"
    assert site.address().epoch == 3
    assert [read_header(p).epoch for p in site.paths.journal_files()] == [1, 2, 3]
    site.submit(diamond(), "again")
    assert site.ended("again").row.state == "done"
    assert site.digests() == digests
    assert head.poll() is None


def test_a_submission_that_is_wrong_is_refused_in_one_line(site: Site) -> None:
    site.start()
    broken = site.submit(b"\x00 no json", "broken")
    assert not broken.accepted and "\n" not in broken.error and "JSON is malformed" in broken.error
    cycle = site.submit(graph(node("a", "b"), node("b", "a")), "cycle")
    assert not cycle.accepted and cycle.error.startswith("graph: 'a' is not usable; break the cycle")
    unknown = msgspec.json.encode(diamond()).replace(b'"graph"', b'"opera"', 1)
    assert "Invalid enum value 'opera'" in site.submit(unknown, "opera").error
    assert site.get(tuple[RequestRow, ...], w.AskList) == ()
    assert sorted(p.name for p in site.paths.inbox.iterdir()) == []


def test_a_killed_worker_is_noticed_within_seconds_and_its_task_goes_again(site: Site) -> None:
    site.start()
    site.submit(graph(node("slow", seconds=3.0, steps=60, chunks=6, nbytes=600)), "r")
    until(lambda: site.view("r").row.running)
    until(lambda: len(list(site.paths.store.glob("*/*/0000*"))) >= 1)
    [(victim, _)] = [(w.worker_id, w) for w in site.status().view.workers if w.running]
    os.kill(site.worker_pids()[victim][-1], signal.SIGKILL)
    at = time.monotonic()
    until(
        lambda: (
            f"worker {victim} lost" in str(site.get(Explanation, w.AskExplain, "r"))
            or victim not in [worker.worker_id for worker in site.status().view.workers]
        )
    )
    assert time.monotonic() - at < 8.0  # long before its heartbeats would be missed
    assert site.ended("r").row.state == "done"
    [digest] = site.digests().values()
    assert len(digest) == 6


def test_a_killed_head_leaves_its_workers_to_the_next_one_and_nothing_differs(
    site: Site, tmp_path: Path
) -> None:
    quiet = Site(tmp_path / "quiet")
    try:
        quiet.start()
        quiet.submit(diamond(seconds=0.6, steps=12), "r")
        assert quiet.ended("r").row.state == "done"
        expected = quiet.digests()
    finally:
        quiet.close()

    head = site.start()
    site.submit(diamond(seconds=0.6, steps=12), "r")
    until(lambda: len(list(site.paths.store.glob("*/*/0000*"))) >= 1)
    workers = site.worker_pids()
    head.kill()
    head.wait()
    site.start()
    assert site.ended("r").row.state == "done"
    assert site.digests() == expected
    # The same processes went on: nobody was started in their place.
    assert site.worker_pids() == workers
    assert "ignored" not in site.log()


def test_a_second_head_is_refused_and_one_that_takes_over_ends_the_first(site: Site) -> None:
    first = site.start()
    site.submit(graph(node("slow", seconds=4.0, steps=80)), "r")
    until(lambda: site.view("r").row.running)
    second = site.begin()
    assert second.wait(20) == 3
    assert second.stderr is not None
    told = second.stderr.read().decode()
    assert f"a head of epoch 1 runs on {site.address().host} (process {first.pid})" in told
    assert first.poll() is None and site.address().epoch == 1

    workers = site.worker_pids()
    site.start("--takeover")
    assert first.wait(20) == 3
    assert site.address().epoch == 2
    assert site.ended("r").row.state == "done"
    assert site.worker_pids() == workers


def test_a_cancelled_request_really_stops_and_a_task_that_does_not_is_killed(site: Site) -> None:
    site.start()
    site.submit(graph(node("good", seconds=600.0, steps=12_000)), "q")
    until(lambda: site.runs("q") == 1)
    assert isinstance(site.ask(w.CancelRequest, "q"), w.Answer)
    until(lambda: not any(worker.running for worker in site.status().view.workers))
    assert "killing" not in site.log()
    site.submit(graph(node("deaf", fail="hang")), "r")
    until(lambda: site.runs("r") == 1)
    assert isinstance(site.ask(w.CancelRequest, "r"), w.Answer)
    assert site.view("r").row.state == "cancelled"
    until(lambda: not any(worker.running for worker in site.status().view.workers), 20.0)
    assert "did not stop when told to" in site.log()
    site.submit(graph(node("next", nbytes=10)), "s")
    assert site.ended("s").row.state == "done"


def test_garbage_and_other_versions_on_the_socket_harm_nobody(site: Site) -> None:
    site.start()
    socket = site.client()
    for junk in (b"", b"GET / HTTP/1.1", b"HPW\x01\xc1", encode(Up(1, ()))[:5]):
        socket.send(junk)
    socket.send(b"HPW\x07hello")
    answer = socket.receive(10.0)
    assert answer is not None
    [refused] = decode_down(answer).messages
    assert isinstance(refused, w.Refused) and "the peer speaks protocol 7" in refused.reason
    site.submit(graph(node("a")), "r")
    assert site.ended("r").row.state == "done"
    until(lambda: site.status().garbage == 5)
    assert site.log().count("ignored a message of") == 1
    socket.close()


def test_a_watch_is_answered_when_something_changes(site: Site) -> None:
    site.start()
    site.submit(graph(node("slow", seconds=0.5, steps=10)), "r")
    version = -1
    for _ in range(200):
        note = site.ask(w.AskWatch, "r", version)
        assert isinstance(note, w.Answer) and note.state_version > version
        version = note.state_version
        view = msgspec.msgpack.decode(note.body, type=RequestView)
        if view.row.state == "done":
            break
    assert view.row.state == "done"


def test_workers_that_cannot_start_are_tried_again_and_named(site: Site) -> None:
    # A worker reads all cards before it joins; the head only reads what planning needs.
    (site.configs / "models" / "broken.yaml").write_text("name: broken\nversion: '1'\nfamily: nonesuch\n")
    site.start()
    site.submit(graph(node("a")), "r")
    until(lambda: len(list(site.paths.workers.glob("*/worker.log"))) >= 3)
    assert site.view("r").row.state == "running"
    (site.configs / "models" / "broken.yaml").unlink()
    assert site.ended("r", 90.0).row.state == "done"


def test_a_run_directory_of_another_user_or_without_space_is_one_line(site: Site, tmp_path: Path) -> None:
    site.paths.root.mkdir()
    os.chown(site.paths.root, 12345, 12345)
    head = site.begin()
    assert head.wait(20) == 1
    assert head.stderr is not None
    told = head.stderr.read().decode()
    assert told.startswith(f"error: {site.paths.root}: belongs to user 12345") and told.count("\n") == 1


def test_a_worker_that_loads_a_model_for_long_keeps_what_it_was_given(site: Site) -> None:
    card = site.configs / "models" / "emulated.yaml"
    card.write_text(card.read_text() + "options: {load_s: 5.0}\n")
    site.workers = 1
    site.start()
    site.submit(graph(node("a", nbytes=10)), "first")
    until(lambda: site.status().view.workers and site.status().view.workers[0].running)
    site.submit(graph(node("b", nbytes=20)), "second")  # sent while nobody reads
    assert (site.ended("first").row.state, site.ended("second").row.state) == ("done", "done")
    assert "misses parcels" not in site.log()
