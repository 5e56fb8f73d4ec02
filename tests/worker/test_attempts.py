"""What a worker does with the tasks it is given."""

from __future__ import annotations

import hashlib
import os
import resource
import signal

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef
from hpcwise.core.resources import AttemptRef
from tests.worker.conftest import Start
from tests.worker.scripted import WITHIN_S, ScriptedHead, task

K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(20)]


def test_a_task_without_files_travels_inline_and_leaves_nothing_in_the_store(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0], facts={"x": 1}))
    done = joined.event(m.TaskFinished)
    assert (done.task_id, done.attempt, done.n_chunks, done.inline, done.nbytes) == ("t", 1, 1, True, 0)
    assert done.facts["x"] == 1 and len(done.facts["digest"]) == 16
    assert [type(e) for e in joined.events] == [m.TaskStarted, m.ModelLoaded, m.TaskFinished]
    assert list(joined.store.scan()) == []


def test_a_thousand_tasks_come_back_in_few_parcels_each_once(joined: ScriptedHead) -> None:
    joined.run("w1", *(task(f"t{i}", K[0], n=i) for i in range(1000)))
    joined.until(lambda: sum(isinstance(e, m.TaskFinished) for e in joined.events) == 1000)
    finished = [e.task_id for e in joined.events if isinstance(e, m.TaskFinished)]
    assert finished == [f"t{i}" for i in range(1000)]
    assert not [e for e in joined.events if isinstance(e, m.TaskStarted)][1:]
    assert len(joined.parcels) < 200


def test_the_local_queue_runs_by_deadline(joined: ScriptedHead) -> None:
    joined.run("w1", *(task(f"t{d}", K[0], deadline_s=float(d), seconds=0.02) for d in (5, 3, 9, 1)))
    joined.until(lambda: sum(isinstance(e, m.TaskFinished) for e in joined.events) == 4)
    assert [e.task_id for e in joined.events if isinstance(e, m.TaskFinished)] == ["t1", "t3", "t5", "t9"]


def test_chunks_are_in_the_store_when_they_are_announced(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0], chunks=3, nbytes=3_000_000, seconds=0.3, steps=9))
    first = joined.event(m.ChunkReady)
    assert joined.store.read(K[0], 0).manifest.size_bytes == first.nbytes == 1_000_000
    done = joined.event(m.TaskFinished)
    assert (done.n_chunks, done.nbytes, done.inline) == (3, 3_000_000, False)
    assert [(e.index, e.nbytes) for e in joined.events if isinstance(e, m.ChunkReady)] == [
        (0, 1_000_000), (1, 1_000_000), (2, 1_000_000)
    ]  # fmt: skip
    final = joined.store.final(K[0])
    assert final is not None and final.n_chunks == 3
    assert [joined.store.read(K[0], k).manifest.facts for k in range(3)] == [
        e.facts for e in joined.events if isinstance(e, m.ChunkReady)
    ]


def test_streamed_facts_are_announced_while_the_task_still_runs(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0], chunks=2, seconds=1.0, steps=10))
    first = joined.event(m.ChunkReady)
    assert first.index == 0 and not [e for e in joined.events if isinstance(e, m.TaskFinished)]
    done = joined.event(m.TaskFinished)
    assert (done.n_chunks, done.inline) == (2, False)
    assert joined.store.chunks(K[0]) == 2


def test_a_resumed_attempt_makes_the_rest_with_the_same_bytes(joined: ScriptedHead) -> None:
    whole, resumed = (task("t", K[i], chunks=4, nbytes=400_000, n=7) for i in (0, 1))
    joined.run("w1", whole)
    joined.event(m.TaskFinished, "t")
    for chunk in range(2):
        scratch = joined.store.begin(K[1], chunk)
        (scratch / "data.bin").write_bytes((joined.store.read(K[0], chunk).path / "data.bin").read_bytes())
        joined.store.commit(K[1], chunk, scratch, joined.store.read(K[0], chunk).manifest.facts)
    joined.events.clear()
    joined.run("w1", task("u", K[1], chunks=4, nbytes=400_000, n=7, first_chunk=2, attempt=2))
    joined.event(m.TaskFinished, "u")
    assert [e.index for e in joined.events if isinstance(e, m.ChunkReady)] == [2, 3]
    for chunk in range(4):
        assert joined.store.read(K[1], chunk).manifest.files == joined.store.read(K[0], chunk).manifest.files
    assert whole.params == resumed.params


def test_a_cancelled_task_stops_between_two_steps_and_the_next_one_runs(joined: ScriptedHead) -> None:
    joined.run("w1", task("long", K[0], seconds=1000.0, steps=20_000), task("next", K[1], deadline_s=9.0))
    joined.event(m.TaskProgress, "long")
    joined.say("w1", m.Cancel("w1", "long", 1))
    assert joined.event(m.TaskCancelled) == m.TaskCancelled("long", 1)
    joined.event(m.TaskFinished, "next")


def test_cancelling_what_waits_or_is_not_there_is_confirmed_too(joined: ScriptedHead) -> None:
    joined.run("w1", task("long", K[0], seconds=1000.0, steps=20_000), task("waits", K[1], deadline_s=9.0))
    joined.event(m.TaskStarted, "long")
    joined.say("w1", m.Cancel("w1", "waits", 1), m.Cancel("w1", "never", 3), m.Cancel("w1", "long", 7))
    for ref in (("waits", 1), ("never", 3), ("long", 7)):
        assert joined.event(m.TaskCancelled, ref[0]) == m.TaskCancelled(*ref)
    joined.say("w1", m.Cancel("w1", "long", 1))
    joined.until(lambda: m.TaskCancelled("long", 1) in joined.events)
    assert not [e for e in joined.events if isinstance(e, m.TaskFinished)]


def test_a_revoked_task_is_given_back_unless_it_has_started(joined: ScriptedHead) -> None:
    joined.run("w1", task("long", K[0], seconds=1000.0, steps=20_000), task("waits", K[1], deadline_s=9.0))
    joined.event(m.TaskStarted, "long")
    joined.say("w1", m.Revoke("w1", "waits", 1), m.Revoke("w1", "long", 1))
    assert joined.event(m.Revoked) == m.Revoked("waits", 1)
    assert joined.event(m.TooLate) == m.TooLate("long", 1)


def test_a_paused_task_keeps_its_chunks_and_frees_the_worker(joined: ScriptedHead) -> None:
    joined.run("w1", task("long", K[0], seconds=100.0, steps=2000, chunks=100, nbytes=100))
    joined.event(m.ChunkReady, "long")
    joined.say("w1", m.Pause("w1", "long", 1))
    paused = joined.event(m.TaskPaused)
    assert (paused.task_id, paused.attempt, paused.checkpoint) == ("long", 1, "")
    assert joined.store.chunks(K[0]) >= 1
    joined.run("w1", task("tight", K[1]))
    joined.event(m.TaskFinished, "tight")


def test_a_stream_input_is_waited_for_and_read_chunk_by_chunk(joined: ScriptedHead) -> None:
    joined.run("w1", task("source", K[0], chunks=3, nbytes=30))
    joined.event(m.TaskFinished, "source")
    stream = InputRef(name="in", kind="stream", key=K[0], n_chunks=1, done=False)
    joined.run("w1", task("sink", K[1], (stream,), chunks=3))
    joined.until(lambda: joined.store.chunks(K[1]) == 1)
    joined.say("w1", m.DeliverChunk("w1", "sink", 1, "in", K[0], 2, False))
    joined.until(lambda: joined.store.chunks(K[1]) == 2)
    joined.say("w1", m.DeliverChunk("w1", "sink", 1, "in", K[0], 3, True))
    assert joined.event(m.TaskFinished, "sink").n_chunks == 3
    # The same inputs, all there from the start, give the same chunks.
    finish = InputRef(name="in", kind="finish", key=K[0], n_chunks=3, done=True)
    joined.run("w1", task("again", K[2], (finish,), chunks=3))
    joined.event(m.TaskFinished, "again")
    assert [joined.store.manifest(K[1], k).facts for k in range(3)] == [
        joined.store.manifest(K[2], k).facts for k in range(3)
    ]


def test_a_reader_of_one_chunk_of_a_stream_waits_for_no_other(joined: ScriptedHead) -> None:
    joined.run("w1", task("source", K[0], chunks=3, nbytes=30))
    joined.event(m.TaskFinished, "source")
    digests = []
    for k in range(3):
        # The stream goes on, but this reader was told of its chunk only.
        ref = InputRef(name="in", kind="stream", key=K[0], n_chunks=k + 1, done=False, only=k)
        joined.run("w1", task(f"sink{k}", K[k + 1], (ref,)))
        digests.append(joined.event(m.TaskFinished, f"sink{k}").facts["digest"])
    assert len(set(digests)) == 3
    facts = tuple(dict(joined.store.manifest(K[0], k).facts) for k in range(3))
    alone = InputRef(name="in", kind="finish", key=K[5], n_chunks=1, done=True, inline_facts=facts[1:2])
    joined.run("w1", task("alone", K[6], (alone,)))
    assert joined.event(m.TaskFinished, "alone").facts["digest"] == digests[1]


def test_a_reader_of_a_stream_that_stopped_can_be_cancelled(joined: ScriptedHead) -> None:
    stream = InputRef(name="in", kind="stream", key=K[0], n_chunks=0, done=False)
    joined.run("w1", task("sink", K[1], (stream,)))
    joined.event(m.TaskStarted)
    joined.say("w1", m.Cancel("w1", "sink", 1))
    assert joined.event(m.TaskCancelled) == m.TaskCancelled("sink", 1)


def test_inline_facts_are_inputs_like_any_other(joined: ScriptedHead) -> None:
    for i, inline in enumerate(({"v": 1}, {"v": 1}, {"v": 2})):
        ref = InputRef(name="in", kind="finish", key=K[9], n_chunks=1, done=True, inline_facts=(inline,))
        joined.run("w1", task(f"t{i}", K[i], (ref,)))
    digests = [joined.event(m.TaskFinished, f"t{i}").facts["digest"] for i in range(3)]
    assert digests[0] == digests[1] != digests[2]


def test_a_torn_input_is_reported_by_key_and_the_task_may_go_again(joined: ScriptedHead) -> None:
    joined.run("w1", task("source", K[0], nbytes=1000))
    joined.event(m.TaskFinished, "source")
    ref = InputRef(name="in", kind="finish", key=K[3], n_chunks=1, done=True)
    joined.run("w1", task("sink", K[1], (ref,)))
    assert joined.event(m.ArtifactTorn) == m.ArtifactTorn(K[3])
    failed = joined.event(m.TaskFailed)
    assert (failed.task_id, failed.attempt, failed.transient) == ("sink", 1, True)
    assert "is missing" in failed.reason


def test_a_crashing_model_fails_its_attempt_and_leaves_its_traceback_in_the_log(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0], fail="error"), task("u", K[1], fail="bad_output"), task("v", K[2]))
    assert joined.event(m.TaskFailed, "t") == m.TaskFailed("t", 1, "RuntimeError: emulated failure", False)
    assert joined.event(m.TaskFailed, "u") == m.TaskFailed(
        "u", 1, "emulated black frames", True, bad_output=True
    )
    joined.event(m.TaskFinished, "v")
    log = joined.paths.worker_log("w1").read_text()
    assert "Traceback (most recent call last)" in log and "in _fail" in log


def test_a_wrong_parameter_is_named(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0], chunks="three"))
    failed = joined.event(m.TaskFailed)
    assert "Expected `int`, got `str` - at `$.chunks`" in failed.reason and not failed.transient


def test_a_model_that_is_not_there_is_named_to_the_head(joined: ScriptedHead) -> None:
    joined.run("w1", task("t", K[0], model="nonesuch"))
    reason = joined.event(m.ModelLoadFailed).reason
    assert reason.startswith("model 'nonesuch': no card in configs/models; known are ")
    assert joined.event(m.TaskFailed).reason == reason


def test_models_are_loaded_and_dropped_when_told(joined: ScriptedHead) -> None:
    joined.say("w1", m.LoadModel("w1", "emulated"))
    joined.event(m.ModelLoaded)
    joined.say("w1", m.UnloadModel("w1", "emulated"))
    assert joined.event(m.ModelUnloaded) == m.ModelUnloaded("w1", "emulated")
    joined.run("w1", task("t", K[0]))
    joined.event(m.TaskFinished)
    assert sum(isinstance(e, m.ModelLoaded) for e in joined.events) == 2


def test_the_work_folder_is_empty_for_each_task_and_gone_at_the_end(head: ScriptedHead, start: Start) -> None:
    worker = start()
    head.until(lambda: head.hellos)
    head.run("w1", task("t", K[0], nbytes=10, fail="error", fail_at_chunk=1, chunks=2), task("u", K[1]))
    head.event(m.TaskFinished, "u")
    [work] = head.paths.worker("w1").glob("work-*")
    assert list(work.iterdir()) == []
    worker.send_signal(signal.SIGTERM)
    head.until(lambda: head.goodbyes)
    assert worker.wait(WITHIN_S) == 0
    assert not work.exists()


def test_a_full_store_is_a_named_pause_and_not_a_failure_of_the_task(
    head: ScriptedHead, start: Start
) -> None:
    # A file size limit is, to a process, what a full disk is: the same errno family, the same path.
    worker = start()
    head.until(lambda: head.hellos)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))
    head.run("w1", task("t", K[0], nbytes=1_000_000))
    failed = head.event(m.TaskFailed)
    assert failed.transient and "File too large" in failed.reason
    assert "free space or raise the quota" in head.event(m.StoreFull).reason
    assert AttemptRef(failed.task_id, failed.attempt) == AttemptRef("t", 1)
    assert os.waitpid(worker.pid, os.WNOHANG) == (0, 0)


def test_a_start_is_said_before_a_model_that_may_end_the_process(head: ScriptedHead, start: Start) -> None:
    worker = start()
    head.until(lambda: head.hellos)
    head.run("w1", task("t", K[0], fail="exit", expected_s=1.0))
    assert head.event(m.TaskStarted) == m.TaskStarted("t", 1)
    assert worker.wait(WITHIN_S) != 0
