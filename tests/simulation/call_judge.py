"""CallJudge: the requests that one call may send, and the results that it may return."""

from collections.abc import Iterable, Sequence

from protocol.client.calls import Ending
from protocol.messages.client import Failed, FailureCode, Operation, Outcome
from protocol.state.commands import (
    Found,
    Inserted,
    Missing,
    Removed,
    RevisionMismatch,
    SessionExpired,
    Write,
)
from tests.harness.breach import expect
from tests.simulation.levels import UNREADABLE

DONE = (Inserted, Removed, RevisionMismatch)


class CallJudge:
    """The writes of one call, by its requests and their replies."""

    def __init__(self) -> None:
        # By session: the last sequence known to be done, and the last one sent when it expired.
        self._done: dict[int, int] = {}
        self._expired: dict[int, int] = {}

    def asks(self, operations: Sequence[Operation]) -> None:
        """Check the operations of a request."""
        for write in _writes(operations):
            new_after = self._expired.get(write.session, write.sequence)
            expect(
                write.sequence <= new_after,
                "a client uses a session of which it was told that it expired",
            )
            done = self._done.get(write.session, 0)
            expect(write.sequence > done, "a client repeats a write although a later one is done")

    def hears(self, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        """Note a reply."""
        writes = _writes(operations)
        for operation, outcome in zip(operations, outcomes, strict=True):
            is_invalid = isinstance(outcome, Failed) and outcome.code is FailureCode.INVALID
            is_invalid = is_invalid and outcome != UNREADABLE
            expect(not is_invalid, f"a client asks for what is invalid: {outcome}")
            if isinstance(operation, Write) and isinstance(outcome, SessionExpired):
                self._expired[operation.session] = writes[-1].sequence
            elif isinstance(operation, Write) and isinstance(outcome, DONE):
                done = self._done.get(operation.session, 0)
                self._done[operation.session] = max(done, operation.sequence)


def _writes(operations: Sequence[Operation]) -> list[Write]:
    return [each for each in operations if isinstance(each, Write) and each.session]


def judge_order(endings: Iterable[Ending]) -> None:
    """Check the revisions of a pipeline's results, in the order of its operations."""
    written = 0
    for ending in endings:
        match ending.outcome:
            case Inserted(revision=revision) | Removed(existed=True, revision=revision):
                expect(revision > written, "the writes of a pipeline took effect in another order")
                written = revision
            case Found(revision=revision) | Missing(revision=revision):
                expect(revision >= written, "a read missed an earlier write of its pipeline")
