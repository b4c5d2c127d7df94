"""Model: a second, plain implementation of the state machine."""

from collections import Counter
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
from protocol.state.user_commands import Denied, RightsChanged
from tests.harness.breach import expect
from tests.simulation.change import Change, Row
from tests.simulation.lease_model import LeaseModel
from tests.simulation.rights_model import RightsModel


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
        self.rights = RightsModel()
        self.lease_owners: dict[int, int | None] = {}  # as numbered by the rights, when granted
        self._owners: dict[int, bytes] = {}  # keys of the users that sessions were opened by
        self._have_rights_changed = False

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

    def take_changed_rights(self) -> RightsModel | None:
        """Return the rights if they have changed since the last call."""
        changed, self._have_rights_changed = self._have_rights_changed, False
        return self.rights.copy() if changed else None

    def sessions_of_others(self, user: bytes) -> list[tuple[int, int]]:
        """Return the sessions of other users, and the last sequence of each, if it has one."""
        others = [each for each in self._answers if self._owners[each] != user]
        return [(each, max(self._answers[each])) for each in others if self._answers[each]]

    def denied_of(self, user: bytes) -> list[tuple[int, int]]:
        """Return session and sequence of the writes of a user that were denied."""
        return [
            (session, sequence)
            for session, answers in self._answers.items()
            if self._owners[session] == user
            for sequence, answer in answers.items()
            if isinstance(answer, Denied)
        ]

    def _apply(self, write: Write) -> Result:
        if isinstance(write.command, OpenSession):
            return self._open_session(write.user)
        if isinstance(write.command, ExpireLeases | CheckpointLeases):
            return self._expire(write.command)
        if write.session not in self._answers or self._owners[write.session] != write.user:
            return SessionExpired()
        answers = self._answers.pop(write.session)
        self._answers[write.session] = answers
        if write.sequence in answers:
            return answers[write.sequence]
        if write.sequence < self._acknowledged.get(write.session, 0):
            return SessionExpired()
        return self._execute(write, answers)

    def _open_session(self, user: bytes) -> SessionOpened | Denied:
        if user and self.rights.name_of(user) is None:
            return Denied(None)
        self._opened += 1
        self._owners[self._opened] = user
        self._answers[self._opened] = {}
        if len(self._answers) > sessions.SESSIONS_MAX:
            del self._answers[self._session_to_evict()]
        return SessionOpened(self._opened)

    def _session_to_evict(self) -> int:
        """Return the least recently used session of the users that have the most."""
        counts = Counter(self._owners[each] for each in self._answers)
        most = max(counts.values())
        return next(each for each in self._answers if counts[self._owners[each]] == most)

    def _execute(self, write: Write, answers: dict[int, Result]) -> Result:
        once = (write.session, write.sequence)
        expect(once not in self.executed, f"write {once} was done twice")
        self.executed.add(once)
        denied = self.rights.denial(write.user, write.command, self._own_leases(write.user))
        result: Result = denied or self._perform(write.command)
        if isinstance(result, LeaseGranted):
            self.lease_owners[result.lease] = self.rights.owner(write.user)
        answers[write.sequence] = result
        self._acknowledge(write, answers)
        return result

    def _own_leases(self, user: bytes) -> set[int]:
        """Return the leases that a user may use, with those that are none."""
        number, leases = self.rights.owner(user), self.leases
        own = {lease for lease, owner in self.lease_owners.items() if owner == number}
        return own | {each for each in range(leases.granted + 2) if leases.missing(each)}

    def _perform(self, command: Command) -> Any:
        match command:
            case Insert() | Remove():
                return self._mismatch(command) or self._change([command])[0]
            case Increment() | RemovePrefix():
                return self._change([command])[0]
            case GrantLease() | RevokeLease():
                return self._grant_or_revoke(command)
            case Transact():
                return self._transact(command)
            case OpenSession() | ExpireLeases() | CheckpointLeases():
                raise AssertionError("a command of the state")
            case _:
                changed = self.rights.apply(command)
                self._have_rights_changed |= isinstance(changed, RightsChanged)
                self._end_sessions_of_removed_keys()
                return changed

    def _end_sessions_of_removed_keys(self) -> None:
        owners = {session: self._owners[session] for session in self._answers}
        for session, owner in owners.items():
            if owner and self.rights.name_of(owner) is None:
                del self._answers[session]

    def _transact(self, command: Transact) -> Any:
        for fence in command.fences:
            row = self.rows.get(fence.key)
            if row is None or row[0] != fence.token:
                return Inapplicable(Obstacle.FENCED, fence.key)
        self.fenced += command.fences
        holds = all(map(self._holds, command.checks))
        results = self._change(command.then if holds else command.otherwise)
        if any(isinstance(each, Inapplicable | NoLease) for each in results):
            return results[0]
        return Transacted(holds, self.revision, tuple(results))

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
