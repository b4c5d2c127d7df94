"""Model: a second, plain implementation of the state machine."""

from typing import Any

from protocol import sessions
from protocol.commands import (
    Event,
    Insert,
    Inserted,
    OpenSession,
    Remove,
    Removed,
    Result,
    RevisionMismatch,
    SessionExpired,
    SessionOpened,
    Write,
)
from protocol.entry import EntryKind, LogEntry
from protocol.state_machine import decode_batch
from tests.simulation.breach import expect

Row = tuple[int, int, int, bytes]  # create revision, revision, version, value


class Model:
    """Keys, sessions and results after all committed entries."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.events: list[Event] = []  # the change of revision n is at n - 1
        self.results: dict[int, tuple[Result, ...]] = {}  # by the index of their entry
        self._opened = 0  # sessions
        # By session, the least recently used one first, and sequence.
        self._answers: dict[int, dict[int, Result]] = {}
        self._acknowledged: dict[int, int] = {}
        self.executed: set[tuple[int, int]] = set()

    @property
    def revision(self) -> int:
        """The number of changes."""
        return len(self.events)

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
        command: Any = write.command
        row = self.rows.get(command.key)
        current = 0 if row is None else row[1]
        result: Result
        if command.if_revision is not None and command.if_revision != current:
            result = RevisionMismatch(current)
        elif isinstance(command, Insert):
            result = self._insert(command, row)
        else:
            result = self._remove(command, row)
        answers[write.sequence] = result
        self._acknowledge(write, answers)
        return result

    def _insert(self, command: Insert, row: Row | None) -> Inserted:
        revision = self.revision + 1
        created, before, version = (revision, 0, 0) if row is None else row[:3]
        self.rows[command.key] = (created, revision, version + 1, command.value)
        self.events.append(Event(revision, command.key, command.value, before))
        return Inserted(revision)

    def _remove(self, command: Remove, row: Row | None) -> Removed:
        if row is None:
            return Removed(existed=False, revision=self.revision)
        del self.rows[command.key]
        self.events.append(Event(self.revision + 1, command.key, None, row[1]))
        return Removed(existed=True, revision=self.revision)

    def _acknowledge(self, write: Write, answers: dict[int, Result]) -> None:
        if write.acknowledged > self._acknowledged.get(write.session, 0):
            self._acknowledged[write.session] = write.acknowledged
            for sequence in [each for each in answers if each < write.acknowledged]:
                del answers[sequence]
