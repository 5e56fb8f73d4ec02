"""Submissions: from files in the inbox to requests, each answered by a file."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.errors import HpcwiseError
from hpcwise.core.spec import JobSpec, problems
from hpcwise.head.clock import EngineClock
from hpcwise.store.inbox import Inbox, Submission
from hpcwise.wire.start import SubmissionAnswer

log = logging.getLogger(__name__)


class Intake:
    """A submission is journalled before it is taken: whoever crashes in between finds it again, and the
    engine knows the token. take: hands an event to the engine."""

    def __init__(
        self, inbox: Inbox, engine: Engine, clock: EngineClock, epoch: int, take: Callable[[m.Event], None]
    ) -> None:
        self._inbox = inbox
        self._engine = engine
        self._clock = clock
        self._epoch = epoch
        self._take = take
        self._judged: dict[str, SubmissionAnswer] = {}

    def poll(self) -> list[SubmissionAnswer]:
        """Judge what is new; the answers are for `settle`, once the journal is on disk.

        Raises StoreError where the inbox cannot be read.
        """
        answers = []
        for submission in self._inbox.pending():
            if submission.token not in self._judged:
                answer = self._judge(submission)
                self._judged[submission.token] = answer
                answers.append(answer)
        return answers

    def settle(self, answers: list[SubmissionAnswer]) -> None:
        """Take the files away and leave the answers. May run in a thread. Raises StoreError; call again."""
        for answer in answers:
            self._inbox.take(answer.request_id)
            self._inbox.acknowledge(answer.request_id, msgspec.json.encode(answer))

    def settled(self, answers: list[SubmissionAnswer]) -> None:
        """Their files are gone: forget them."""
        for answer in answers:
            self._judged.pop(answer.request_id, None)

    def _judge(self, submission: Submission) -> SubmissionAnswer:
        token = submission.token
        if token in self._engine.state.requests:
            return SubmissionAnswer(request_id=token, accepted=True, epoch=self._epoch)
        try:
            job = msgspec.json.decode(self._inbox.read(token), type=JobSpec)
            wrong = problems(job)
            error = wrong[0].line() if wrong else ""
        except (msgspec.MsgspecError, UnicodeDecodeError, HpcwiseError, OSError) as failure:
            error = " ".join(str(failure).split())[:500]
        if error:
            log.warning("submission %s refused: %s", token, error)
            return SubmissionAnswer(request_id=token, accepted=False, error=error, epoch=self._epoch)
        self._take(m.RequestArrived(token, job, self._clock.wall_s()))
        return SubmissionAnswer(request_id=token, accepted=True, epoch=self._epoch)
