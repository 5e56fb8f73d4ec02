"""The worker's local queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core.queue import LocalQueue, QueueEntry
from hpcwise.core.resources import AttemptRef


def entry(name: str, deadline_s: float, attempt: int = 1, model: str = "m") -> QueueEntry:
    return QueueEntry(ref=AttemptRef(name, attempt), model=model, deadline_s=deadline_s)


def test_the_nearest_deadline_is_taken_first_and_equals_in_order_of_arrival() -> None:
    queue = LocalQueue()
    for name, deadline_s in (("late", 9.0), ("first", 5.0), ("second", 5.0)):
        queue.put(entry(name, deadline_s))
    assert [queue.take()[0].ref.task_id for _ in range(3)] == ["first", "second", "late"]
    assert queue.take() == ()


def test_revoke_is_answered_by_whether_the_attempt_was_still_held() -> None:
    queue = LocalQueue()
    queue.put(entry("a", 1.0, attempt=2))
    assert not queue.revoke(AttemptRef("a", 1))
    assert queue.revoke(AttemptRef("a", 2))
    assert not queue.revoke(AttemptRef("a", 2))


def test_a_later_attempt_replaces_an_earlier_one_and_never_the_other_way_round() -> None:
    queue = LocalQueue()
    assert queue.put(entry("a", 1.0, attempt=2))
    assert not queue.put(entry("a", 1.0, attempt=1))
    assert queue.put(entry("a", 1.0, attempt=3))
    assert [e.ref.attempt for e in queue.take()] == [3]


def test_a_batch_holds_only_neighbours_of_one_model() -> None:
    queue = LocalQueue()
    for i, model in enumerate("xxyx"):
        queue.put(entry(f"t{i}", float(i), model=model))
    assert [e.ref.task_id for e in queue.take(lambda _m: 4)] == ["t0", "t1"]
    assert [e.ref.task_id for e in queue.take(lambda _m: 4)] == ["t2"]


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 100), st.booleans()), max_size=60))
def test_whatever_is_put_is_taken_once_or_revoked_once(steps: list[tuple[int, float, bool]]) -> None:
    queue = LocalQueue()
    expected: set[str] = set()
    for i, deadline_s, revoke in steps:
        name = f"t{i}"
        if revoke:
            assert queue.revoke(AttemptRef(name, 1)) == (name in expected)
            expected.discard(name)
        else:
            assert queue.put(entry(name, deadline_s)) == (name not in expected)
            expected.add(name)
    taken = [e.ref.task_id for _ in range(len(queue)) for e in queue.take()]
    assert sorted(taken) == sorted(expected)
