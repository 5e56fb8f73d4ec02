"""How a worker joins, whom it obeys, how it survives a lost head, and how it leaves."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from pathlib import Path
from typing import Any

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef, RunTask
from hpcwise.core.resources import AttemptRef
from hpcwise.wire import messages as w
from hpcwise.wire.messages import Down, encode
from tests.worker.conftest import Start
from tests.worker.scripted import WITHIN_S, ScriptedHead, task

K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(20)]


def long(task_id: str = "long", **fields: Any) -> RunTask:
    return task(task_id, K[0], seconds=1000.0, steps=20_000, **fields)


def output_of(worker: object) -> str:
    out, _ = worker.communicate(timeout=20)  # type: ignore[attr-defined]
    return bytes(out).decode().strip()


def test_a_worker_says_what_it_is(head: ScriptedHead, start: Start) -> None:
    start("w1", kind="small", memory_gb=3.0, region="eu", spot=True, launch="w1", lifetime_s=500.0)
    [hello] = head.until(lambda: head.hellos)
    info = hello.worker
    assert (info.worker_id, info.kind, info.memory_gb, info.region, info.spot) == (
        "w1",
        "small",
        3.0,
        "eu",
        True,
    )
    assert (info.models, info.loaded, info.launch) == (("emulated",), (), "w1")
    assert info.ranks[0].node == socket.gethostname() and info.n_devices == 1
    assert info.lifetime_s is not None and 490 < info.lifetime_s <= 500
    assert (hello.running, hello.first_seq, hello.unacked) == ((), 0, ())


def test_a_wrong_address_is_survived_until_head_json_is_right(head: ScriptedHead, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        head.advertise((f"tcp://127.0.0.1:{silent.getsockname()[1]}", "tcp://203.0.113.7:1"))
        start()
        log = head.paths.worker_log("w1")
        head.until(lambda: log.exists() and "no head answered" in log.read_text())
        assert head.hellos == []
        head.advertise(head.server.addresses)
        head.until(lambda: head.hellos)


def test_a_lost_head_is_replaced_and_hears_all_that_happened_meanwhile(
    head: ScriptedHead, start: Start
) -> None:
    start()
    head.until(lambda: head.hellos)
    head.run("w1", task("done", K[1]))
    head.event(m.TaskFinished, "done")
    head.run(
        "w1",
        long(deadline_s=2.0),
        task("chunky", K[2], seconds=0.5, chunks=5, nbytes=50),
        task("q", K[3], deadline_s=9.0),
    )
    head.event(m.ChunkReady, "chunky")
    head.answers = False
    head.close()

    heir = ScriptedHead(head.paths.root, epoch=2)
    [hello] = heir.until(lambda: heir.hellos)

    # The first task was acknowledged, what followed was not; nothing of it is lost.
    heir.event(m.TaskFinished, "chunky")
    told = {e.index for e in [*head.events, *heir.events] if isinstance(e, m.ChunkReady)}
    assert told == set(range(5))
    assert AttemptRef("q", 1) in hello.running and AttemptRef("done", 1) not in hello.running
    assert {ref.task_id for ref in hello.running} <= {"long", "chunky", "q"}
    heir.event(m.TaskProgress, "long")
    heir.say("w1", m.Cancel("w1", "long", 1))
    heir.event(m.TaskCancelled, "long")
    heir.event(m.TaskFinished, "q")
    heir.close()


def test_parcels_of_an_older_epoch_are_not_obeyed(head: ScriptedHead, start: Start) -> None:
    head.epoch = 5
    head.advertise(head.server.addresses)
    start()
    head.until(lambda: head.hellos)
    head.run("w1", long())
    head.event(m.TaskStarted)
    stale = encode(Down(4, head.sessions["w1"], head.numbers["w1"] + 1, (m.Cancel("w1", "long", 1),)))
    assert head.server.send(b"w1", stale)
    log = head.paths.worker_log("w1")
    head.until(lambda: "ignored a parcel of epoch 4; this worker obeys epoch 5" in log.read_text())
    assert not [e for e in head.events if isinstance(e, m.TaskCancelled)]
    head.say("w1", m.Cancel("w1", "long", 1))
    head.event(m.TaskCancelled)


def test_a_lost_parcel_is_noticed_and_what_is_held_is_said_again(joined: ScriptedHead) -> None:
    joined.run("w1", long())
    joined.event(m.TaskStarted)
    joined.numbers["w1"] += 1  # this one got lost
    joined.run("w1", task("later", K[1]))
    joined.until(lambda: len(joined.hellos) == 2)
    assert joined.hellos[1].running == (AttemptRef("long", 1),)
    assert joined.hellos[1].nonce == joined.hellos[0].nonce
    joined.run("w1", task("again", K[2], attempt=2))
    joined.say("w1", m.Cancel("w1", "long", 1))
    joined.event(m.TaskFinished, "again")
    assert not [e for e in joined.events if getattr(e, "task_id", "") == "later"]


def test_a_parcel_that_comes_twice_is_obeyed_once(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0]))
    joined.event(m.TaskFinished)
    joined.say("w1", w.Run(task("t", K[0])), number=joined.numbers["w1"])
    joined.run("w1", task("u", K[1]))
    joined.event(m.TaskFinished, "u")
    assert [e.task_id for e in joined.events if isinstance(e, m.TaskFinished)] == ["t", "u"]
    assert len(joined.hellos) == 1


def test_events_without_an_acknowledgement_come_again_with_the_hello(joined: ScriptedHead) -> None:
    joined.answers = False
    joined.run("w1", task("t", K[0]))
    joined.event(m.TaskFinished)
    joined.server.send(b"w1", encode(Down(1, 0, 0, (w.SayHello(),))))
    joined.until(lambda: len(joined.hellos) == 2)
    hello = joined.hellos[1]
    assert hello.first_seq == 0
    assert [type(e) for e in hello.unacked] == [m.TaskStarted, m.ModelLoaded, m.TaskFinished]
    assert len([e for e in joined.events if isinstance(e, m.TaskFinished)]) == 1


def test_garbage_from_the_head_is_ignored_and_logged_once(joined: ScriptedHead) -> None:
    for junk in (b"", b"garbage", b"HPW\x01\xc1", encode(w.Up(1, ()))[:5]):
        joined.server.send(b"w1", junk)
    joined.run("w1", task("t", K[0]))
    joined.event(m.TaskFinished)
    log = joined.paths.worker_log("w1").read_text()
    assert log.count("ignored garbage from the head") == 1


def test_a_head_of_another_version_ends_the_worker_with_a_clear_line(
    head: ScriptedHead, start: Start
) -> None:
    worker = start()
    head.until(lambda: head.hellos)
    head.server.send(b"w1", b"HPW\x09anything")
    assert worker.wait(WITHIN_S) == 1
    log = head.paths.worker_log("w1").read_text()
    assert "ERROR hpcwise.worker: the peer speaks protocol 9, this hpcwise speaks 1; install the same" in log


def test_a_worker_told_to_stop_gives_back_what_waits_and_finishes_what_runs(
    head: ScriptedHead, start: Start
) -> None:
    worker = start("w1", grace_s=30.0)
    head.until(lambda: head.hellos)
    # It lasts until its input is said to be whole.
    stream = InputRef(name="in", kind="stream", key=K[3], n_chunks=0, done=False)
    head.run("w1", task("runs", K[0], (stream,)), task("waits", K[1], deadline_s=9.0))
    head.event(m.TaskStarted)
    worker.send_signal(signal.SIGTERM)
    draining = head.event(m.WorkerDraining)
    assert (draining.worker_id, draining.remaining_s) == ("w1", 30.0)
    assert head.event(m.Revoked) == m.Revoked("waits", 1)
    head.run("w1", task("late", K[2]))
    head.until(lambda: m.Revoked("late", 1) in head.events)
    head.say("w1", m.DeliverChunk("w1", "runs", 1, "in", K[3], 0, True))
    head.event(m.TaskFinished, "runs")
    head.until(lambda: head.goodbyes)
    assert output_of(worker) == head.goodbyes[0] == "told to stop by a signal"


def test_what_does_not_end_within_the_grace_is_given_up(head: ScriptedHead, start: Start) -> None:
    worker = start("w1", grace_s=0.3)
    head.until(lambda: head.hellos)
    head.run("w1", long(chunks=1000, nbytes=1000))
    head.event(m.TaskStarted)
    worker.send_signal(signal.SIGUSR2)  # what submitit has Slurm send
    head.event(m.WorkerDraining)
    head.until(lambda: head.goodbyes)
    assert worker.wait(WITHIN_S) == 0
    assert not [e for e in head.events if isinstance(e, m.TaskFailed | m.TaskCancelled | m.TaskFinished)]


def test_the_head_can_drain_and_stop_a_worker(head: ScriptedHead, start: Start) -> None:
    first, second = start("w1"), start("w2")
    head.until(lambda: len(head.hellos) == 2)
    head.say("w1", m.Drain("w1", "idle"))
    head.say("w2", w.Stop("the head stops"))
    head.until(lambda: len(head.goodbyes) == 2)
    assert sorted(head.goodbyes) == ["idle", "the head stops"]
    assert (first.wait(WITHIN_S), second.wait(WITHIN_S)) == (0, 0)


def test_a_worker_whose_allocation_ends_says_so_in_time(head: ScriptedHead, start: Start) -> None:
    start("w1", lifetime_s=61.0, drain_margin_s=60.0)
    head.until(lambda: head.hellos)
    draining = head.event(m.WorkerDraining)
    assert draining.reason == "its allocation ends" and 0 < draining.remaining_s < 60


def test_an_idle_worker_leaves(head: ScriptedHead, start: Start) -> None:
    worker = start("w1", idle_timeout_s=0.4)
    head.until(lambda: head.hellos)
    head.until(lambda: head.goodbyes)
    assert head.goodbyes == ["idle"] and worker.wait(WITHIN_S) == 0


def test_a_worker_without_a_head_ends_by_itself(head: ScriptedHead, start: Start) -> None:
    worker = start("w1", patience_s=1.5)
    head.until(lambda: head.hellos)
    head.run("w1", long())
    head.event(m.TaskStarted)
    head.close()
    head.paths.head_json.unlink()
    assert output_of(worker) == "no head for 1.5 s"


def test_a_worker_leads_its_process_group_and_heartbeats_while_a_model_computes(
    head: ScriptedHead, start: Start
) -> None:
    worker = start()
    head.until(lambda: head.hellos)
    assert os.getpgid(worker.pid) == worker.pid
    head.run("w1", task("t", K[0], fail="hang"))
    head.event(m.TaskStarted)

    def ages() -> list[float]:
        beats = [note for up in head.parcels for note in up.messages if isinstance(note, w.Heartbeat)]
        return [beat.step_age_s for beat in beats if beat.running == AttemptRef("t", 1)]

    head.until(lambda: len(ages()) >= 4)
    assert ages() == sorted(ages()) and ages()[-1] > 0.5


def test_what_was_said_before_a_model_hangs_is_heard_long_before_the_next_heartbeat(
    head: ScriptedHead, start: Start
) -> None:
    start("w1", heartbeat_s=1000.0)
    head.until(lambda: [note for up in head.parcels for note in up.messages if isinstance(note, w.Heartbeat)])
    head.until(lambda: head.hellos)
    # The start of a short task waits for its end, and the loop does not come back to send it.
    head.run("w1", task("t", K[0], fail="hang"))
    head.event(m.ModelLoaded)
    assert [type(event) for event in head.events] == [m.TaskStarted, m.ModelLoaded]


def test_a_run_directory_without_keys_is_named(start: Start, tmp_path: Path) -> None:
    worker = start()
    assert worker.wait(WITHIN_S) == 1
    log = (tmp_path / "run" / "workers" / "w1" / "worker.log").read_text()
    assert "start a head for this run directory first" in log
