"""Model: a second, plain implementation of the state machine."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from protocol.entry import EntryKind, LogEntry
from protocol.state import key_leases, sessions
from protocol.state.commands import (
    Check,
    CheckpointLeases,
    Command,
    Event,
    ExpireLeases,
    Fence,
    GrantLease,
    Inapplicable,
    Increment,
    Insert,
    LeaseEnded,
    LeaseGranted,
    NoLease,
    Obstacle,
    OpenSession,
    Remove,
    RemovePrefix,
    Result,
    RevisionMismatch,
    RevokeLease,
    SessionExpired,
    SessionOpened,
    Transact,
    Transacted,
    TransactionOperation,
    Write,
)
from protocol.state.machine import decode_batch
from tests.harness.breach import expect
from tests.simulation.change import Change, Row
from tests.simulation.lease_model import LeaseModel


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
        self.leases = LeaseModel()
        self.all_ttls: dict[int, int] = {}  # of leases that have ended, too
        self.fenced: list[Fence] = []  # those behind which something was done
        self.expired: list[int] = []  # leases, in the order in which they have expired

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
        if isinstance(write.command, ExpireLeases | CheckpointLeases):
            return self._expire(write.command)
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
                return self._mismatch(command) or self._change([command])[0]
            case Increment() | RemovePrefix():
                return self._change([command])[0]
            case GrantLease() | RevokeLease():
                return self._grant_or_revoke(command)
            case Transact(checks=checks, then=then, otherwise=otherwise, fences=fences):
                for fence in fences:
                    row = self.rows.get(fence.key)
                    if row is None or row[0] != fence.token:
                        return Inapplicable(Obstacle.FENCED, fence.key)
                self.fenced += fences
                holds = all(map(self._holds, checks))
                results = self._change(then if holds else otherwise)
                if any(isinstance(each, Inapplicable | NoLease) for each in results):
                    return results[0]
                return Transacted(holds, self.revision, tuple(results))
        raise AssertionError("a command of the state")

    def _mismatch(self, command: Insert | Remove) -> RevisionMismatch | None:
        row = self.rows.get(command.key)
        current = 0 if row is None else row[1]
        return None if command.if_revision in (None, current) else RevisionMismatch(current)

    def _grant_or_revoke(
        self, command: GrantLease | RevokeLease
    ) -> LeaseGranted | LeaseEnded | NoLease:
        if isinstance(command, GrantLease):
            self.all_ttls[self.leases.granted + 1] = command.ttl_ms
            return LeaseGranted(self.leases.grant(command.ttl_ms))
        why_not = self.leases.missing(command.lease)
        if why_not is not None:
            return why_not
        count = self._end_lease(command.lease, Change._remove)
        return LeaseEnded(count, self.revision)

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
        change = Change(dict(self.rows), self.revision + 1, self.leases)
        for operation in operations:
            obstacle = change.perform(operation)
            if obstacle is not None:
                return [obstacle]
        self._make(change)
        return [msgspec.structs.replace(each, revision=self.revision) for each in change.results]

    def _make(self, change: Change) -> None:
        if change.events:
            self.rows, self.leases = change.rows, change.leases
            self.changes.append(tuple(change.events))

    def _expire(self, command: ExpireLeases | CheckpointLeases) -> LeaseEnded:
        """End leases, except those whose keys are too many after the others'."""
        count = 0
        for lease in command.leases if isinstance(command, ExpireLeases) else ():
            keys = len(self.leases.keys_of(lease))
            if lease in self.leases.ttls and (
                not count or count + keys <= key_leases.ENDED_KEYS_MAX
            ):
                count += self._end_lease(lease, Change.expire)
                self.expired.append(lease)
        return LeaseEnded(count, self.revision)

    def _end_lease(self, lease: int, remove: Callable[[Change, str], None]) -> int:
        """End a lease, and remove its keys as one change; return their number."""
        change = Change(dict(self.rows), self.revision + 1, self.leases)
        keys = self.leases.keys_of(lease)
        for key in keys:
            remove(change, key)
        self._make(change)
        self.leases.end(lease)
        return len(keys)

    def _acknowledge(self, write: Write, answers: dict[int, Result]) -> None:
        if write.acknowledged > self._acknowledged.get(write.session, 0):
            self._acknowledged[write.session] = write.acknowledged
            for sequence in [each for each in answers if each < write.acknowledged]:
                del answers[sequence]
