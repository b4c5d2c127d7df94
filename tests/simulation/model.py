"""Model: a second, plain implementation of the state machine."""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol.entry import EntryKind, LogEntry
from protocol.state import sessions
from protocol.state.commands import (
    Check,
    Command,
    Event,
    Inapplicable,
    Increment,
    Insert,
    OpenSession,
    Remove,
    RemovePrefix,
    Result,
    RevisionMismatch,
    SessionExpired,
    SessionOpened,
    Transact,
    Transacted,
    TransactionOperation,
    Write,
)
from protocol.state.machine import decode_batch
from tests.simulation.breach import expect
from tests.simulation.change import Change, Row


class Model:
    """Keys, sessions and results after all committed entries."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.changes: list[tuple[Event, ...]] = []  # those of revision n are at n - 1
        self.results: dict[int, tuple[Result, ...]] = {}  # by the index of their entry
        self._opened = 0  # sessions
        # By session, the least recently used one first, and sequence.
        self._answers: dict[int, dict[int, Result]] = {}
        self._acknowledged: dict[int, int] = {}
        self.executed: set[tuple[int, int]] = set()

    @property
    def revision(self) -> int:
        """The number of revisions."""
        return len(self.changes)

    def apply(self, entry: LogEntry) -> None:
        """Apply an entry."""
        self.results[entry.index] = ()
        if entry.kind == EntryKind.BATCH:
            writes = decode_batch(entry.payload).writes
            self.results[entry.index] = tuple([self._apply(write) for write in writes])

    def _apply(self, write: Write) -> Result:
        if isinstance(write.command, OpenSession):
            return self._open_session()
        answers = self._answers.pop(write.session, None)
        if answers is None:
            return SessionExpired()
        self._answers[write.session] = answers
        if write.sequence in answers:
            return answers[write.sequence]
        if write.sequence < self._acknowledged.get(write.session, 0):
            return SessionExpired()
        return self._execute(write, answers)

    def _open_session(self) -> SessionOpened:
        self._opened += 1
        self._answers[self._opened] = {}
        if len(self._answers) > sessions.SESSIONS_MAX:
            del self._answers[next(iter(self._answers))]
        return SessionOpened(self._opened)

    def _execute(self, write: Write, answers: dict[int, Result]) -> Result:
        once = (write.session, write.sequence)
        expect(once not in self.executed, f"write {once} was done twice")
        self.executed.add(once)
        result: Result = self._perform(write.command)
        answers[write.sequence] = result
        self._acknowledge(write, answers)
        return result

    def _perform(self, command: Command) -> Any:
        match command:
            case Insert() | Remove():
                row = self.rows.get(command.key)
                current = 0 if row is None else row[1]
                if command.if_revision not in (None, current):
                    return RevisionMismatch(current)
                return self._change([command])[0]
            case Increment() | RemovePrefix():
                return self._change([command])[0]
            case Transact(checks=checks, then=then, otherwise=otherwise):
                holds = all(map(self._holds, checks))
                results = self._change(then if holds else otherwise)
                if any(isinstance(each, Inapplicable) for each in results):
                    return results[0]
                return Transacted(holds, self.revision, tuple(results))
        raise AssertionError("a command of the state")

    def _holds(self, check: Check) -> bool:
        row = self.rows.get(check.key)
        created, revision, version = (0, 0, 0) if row is None else row[:3]
        wanted = (check.revision, check.create_revision, check.version)
        if any(
            want is not None and want != have
            for want, have in zip(wanted, (revision, created, version), strict=True)
        ):
            return False
        if check.exists is not None and check.exists != (row is not None):
            return False
        return check.value is None or (row is not None and row[3] == check.value)

    def _change(self, operations: Sequence[TransactionOperation]) -> list[Any]:
        """Make one change of some operations, or none; return their results, or the obstacle."""
        change = Change(dict(self.rows), self.revision + 1)
        for operation in operations:
            obstacle = change.perform(operation)
            if obstacle is not None:
                return [obstacle]
        if change.events:
            self.rows = change.rows
            self.changes.append(tuple(change.events))
        return [msgspec.structs.replace(each, revision=self.revision) for each in change.results]

    def _acknowledge(self, write: Write, answers: dict[int, Result]) -> None:
        if write.acknowledged > self._acknowledged.get(write.session, 0):
            self._acknowledged[write.session] = write.acknowledged
            for sequence in [each for each in answers if each < write.acknowledged]:
                del answers[sequence]
