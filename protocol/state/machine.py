"""State machine: applies log entries; its results and events are the same on every node."""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from protocol.encoding import encode
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.keys import is_key
from protocol.load import load_of_writes
from protocol.membership import Membership, MembershipAt, NodeId
from protocol.state import key_leases
from protocol.state.commands import (
    Batch,
    BatchOrigin,
    CheckpointLeases,
    Event,
    ExpireLeases,
    GrantLease,
    Inapplicable,
    Increment,
    Insert,
    LeaseEnded,
    LeaseGranted,
    NoLease,
    OpenSession,
    Remove,
    RemovePrefix,
    Result,
    RevokeLease,
    SessionExpired,
    SessionOpened,
    StateCommand,
    Transact,
    Write,
    keys_of,
)
from protocol.state.key_leases import KeyLeases, LeaseChanges
from protocol.state.key_value import KeyValue, decode_stored_value
from protocol.state.needed_rights import denial_of
from protocol.state.rights import UNKNOWN, Rights
from protocol.state.sessions import Sessions, is_duplicate, recall, remember
from protocol.state.tables import Table
from protocol.state.transactions import perform_alone, transact
from protocol.state.user_commands import Denied, RightsChanged, RightsRefused, UserCommand
from protocol.state.user_table import UserTable
from protocol.wire import Decoder, Malformed

APPLIED_KEY = b"\0applied"  # in the values table, below all user keys
MEMBERSHIP_KEY = b"\0membership"
SESSIONLESS = (OpenSession, ExpireLeases, CheckpointLeases)  # commands of no session
SESSION_MAX = (1 << 63) - 1  # the highest session number

_decode_batch: Decoder[Batch] = Decoder(Batch)
_decode_origin: Decoder[BatchOrigin] = Decoder(BatchOrigin)
_decode_change: Decoder[MembershipChange] = Decoder(MembershipChange)


class Applied(msgspec.Struct, frozen=True, array_like=True):
    """The state machine's progress: the last entry applied, and its counters."""

    index: int = 0
    term: int = 0
    revision: int = 0
    sessions_opened: int = 0
    session_uses: int = 0
    state_bytes: int | None = None  # of all keys and values; None in directories of older versions
    leases_granted: int = 0
    leases: int = 0  # that have not ended


_decode_applied = msgspec.msgpack.Decoder(Applied).decode
_decode_membership_at = msgspec.msgpack.Decoder(MembershipAt).decode


class EntryOutcome(msgspec.Struct, frozen=True):
    """The effect of one entry: results for the node that proposed it, and change events.

    An entry that cannot be decoded is skipped on every node; ``fault`` is the reason.
    """

    origin: bytes = b""
    incarnation: int = 0
    number: int = 0
    results: tuple[Result, ...] = ()
    events: tuple[Event, ...] = ()
    load: int = 1  # number of operations
    fault: str = ""


class StateMachine:
    """Applies committed entries in order, each once.

    The caller writes the changes of ``apply`` calls and of the ``store_progress`` after them as one
    atomic batch, so that a crash leaves only whole entries.
    """

    def __init__(
        self,
        tables: Iterable[Table],
        stored_sessions: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Load the state from its tables, in the order of ``storage.state_tables``."""
        values, prefixes, sessions, leases, lease_keys, rights = tables
        stored = values.get(APPLIED_KEY)
        applied = Applied() if stored is None else _decode_applied(stored)
        self._values = values
        self._session_table = sessions
        self._sessions = Sessions(stored_sessions)
        self._leases = KeyLeases(leases, lease_keys, applied.leases_granted, applied.leases)
        self.users = UserTable(rights)
        self._key_value = KeyValue(
            values, prefixes, self._leases, applied.revision, applied.state_bytes or 0
        )
        self.counts_bytes = stored is None or applied.state_bytes is not None
        self._sessions_opened = applied.sessions_opened
        self._session_uses = applied.session_uses
        self.applied_index = applied.index
        self.applied_term = applied.term

    @property
    def revision(self) -> int:
        """The number of changes to the state since the cluster was founded."""
        return self._key_value.revision

    @property
    def rights(self) -> Rights:
        """What each user may do, by the entries applied so far."""
        return self.users.rights

    @property
    def state_bytes(self) -> int:
        """The size of all keys and values, in bytes."""
        return self._key_value.state_bytes

    def count_bytes(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Compute ``state_bytes`` from the user keys, for a directory of an older version."""
        stored = ((key, decode_stored_value(row).value) for key, row in rows)
        self._key_value.state_bytes = sum(len(key) + len(value) for key, value in stored)

    @property
    def membership(self) -> MembershipAt:
        """The last applied membership."""
        stored = self._values.get(MEMBERSHIP_KEY)
        return MembershipAt(0, Membership()) if stored is None else _decode_membership_at(stored)

    def apply(self, entry: LogEntry) -> EntryOutcome:
        """Apply the entry that follows the last applied one."""
        assert entry.index == self.applied_index + 1, "entries are applied in order, once"
        outcome = self._outcome(entry)
        self.applied_index = entry.index
        self.applied_term = entry.term
        return outcome

    @property
    def leases_granted(self) -> int:
        """The last id that was given to a lease."""
        return self._leases.granted

    def take_lease_changes(self) -> LeaseChanges:
        """Return the leases that were granted and ended since the last call."""
        return self._leases.take_changes()

    def skip_sessions(self, count: int) -> None:
        """Skip ``count`` session numbers and ids of leases; ``store_progress`` stores that.

        Raises:
            OverflowError: too few numbers are left.
        """
        if self._sessions_opened + count > SESSION_MAX:
            raise OverflowError("too few session numbers are left")
        self._sessions_opened += count
        self._leases.granted += count

    def store_progress(self) -> None:
        """Put the state machine's progress and the changed sessions into the tables."""
        for key, record in self._sessions.take_changes():
            if record is None:
                self._session_table.delete(key)
            else:
                self._session_table.put(key, record)
        self._key_value.store_counts()
        self._values.put(APPLIED_KEY, encode(self._progress()))

    def _progress(self) -> Applied:
        return Applied(
            self.applied_index,
            self.applied_term,
            self.revision,
            self._sessions_opened,
            self._session_uses,
            self.state_bytes,
            self._leases.granted,
            self._leases.count,
        )

    def _outcome(self, entry: LogEntry) -> EntryOutcome:
        """Apply an entry; an entry that cannot be decoded changes nothing."""
        try:
            match entry.kind:
                case EntryKind.NO_OP:
                    self._leases.begin_term()
                    return EntryOutcome()
                case EntryKind.BATCH:
                    return self._apply_batch(decode_batch(entry.payload))
                case EntryKind.MEMBERSHIP:
                    change = decode_membership_change(entry.payload)
                    return self._apply_change(entry.index, change)
                case unknown:
                    assert_never(unknown)
        except Malformed as error:
            return EntryOutcome(fault=str(error))

    def _apply_change(self, index: int, change: MembershipChange) -> EntryOutcome:
        self._values.put(MEMBERSHIP_KEY, encode(MembershipAt(index, change.membership)))
        return EntryOutcome(change.origin, change.incarnation, change.number)

    def _apply_batch(self, batch: Batch) -> EntryOutcome:
        events: list[Event] = []
        self._key_value.begin_entry()
        results = tuple([self._apply_once(write, events) for write in batch.writes])
        origin = (batch.origin, batch.incarnation, batch.number)
        return EntryOutcome(*origin, results, tuple(events), load_of_writes(batch.writes))

    def _apply_once(self, write: Write, events: list[Event]) -> Result:
        self._session_uses += 1
        command = write.command
        if isinstance(command, SESSIONLESS):
            return self._apply_sessionless(command, write.user, events)
        session = self._sessions.find(write.session, self._session_uses, write.user)
        if session is None:
            return SessionExpired()
        if is_duplicate(session, write):
            return recall(session, write)
        result = self._denial(write) or self._execute(command, write.user, events)
        remember(session, write, result)
        return result

    def _denial(self, write: Write) -> Denied | None:
        if not write.user:
            return None
        return denial_of(write.command, write.user, self.rights, self._leases)

    def _apply_sessionless(
        self,
        command: OpenSession | ExpireLeases | CheckpointLeases,
        user: bytes,
        events: list[Event],
    ) -> Result:
        match command:
            case OpenSession():
                return self._open_session(user)
            case ExpireLeases():
                return self._expire(command, events)
            case CheckpointLeases():
                return self._checkpoint(command)
            case unknown:
                assert_never(unknown)

    def _open_session(self, user: bytes) -> SessionOpened | Denied:
        if user and self.rights.name_of(user) is None:
            return UNKNOWN
        self._sessions_opened += 1
        self._sessions.open(self._sessions_opened, self._session_uses, user)
        return SessionOpened(self._sessions_opened)

    def _execute(self, command: StateCommand, user: bytes, events: list[Event]) -> Result:
        match command:
            case Insert():
                return self._key_value.insert(command, events)
            case Remove():
                return self._key_value.remove(command, events)
            case Transact():
                return transact(self._key_value, command, events)
            case Increment() | RemovePrefix():
                return perform_alone(self._key_value, command, events)
            case GrantLease() | RevokeLease():
                return self._grant_or_revoke(command, user, events)
            case _:
                return self._change_users(command)

    def _change_users(self, command: UserCommand) -> RightsChanged | RightsRefused:
        result = self.users.apply(command, self._leases.granted)
        for key in self.users.take_removed_keys():
            self._sessions.end_all(key)
        return result

    def _grant_or_revoke(
        self, command: GrantLease | RevokeLease, user: bytes, events: list[Event]
    ) -> LeaseGranted | LeaseEnded | NoLease | Inapplicable:
        if isinstance(command, GrantLease):
            return self._grant(command.ttl_ms, self.rights.name_of(user) or "")
        return self._revoke(command, events)

    def _grant(self, ttl_ms: int, user: str) -> LeaseGranted | Inapplicable:
        why_not = self._leases.why_not_grant()
        return why_not or LeaseGranted(self._leases.grant(ttl_ms, user=user))

    def _revoke(self, command: RevokeLease, events: list[Event]) -> LeaseEnded | NoLease:
        if self._leases.find_shared(command.lease) is None:
            return self._leases.missing(command.lease)
        count = self._key_value.end_lease(command.lease, events)
        return LeaseEnded(count, self.revision)

    def _expire(self, command: ExpireLeases, events: list[Event]) -> LeaseEnded:
        """End leases, one at least, until they have too many keys for one change."""
        removed: list[Event] = []
        count = 0
        for lease in dict.fromkeys(command.leases):
            row = self._leases.find(lease)
            if row is not None and (not count or count + row.keys <= key_leases.ENDED_KEYS_MAX):
                count += self._key_value.end_lease(lease, removed)
        events.extend(msgspec.structs.replace(each, expired=True) for each in removed)
        return LeaseEnded(count, self.revision)

    def _checkpoint(self, command: CheckpointLeases) -> LeaseEnded:
        """Record what is left to leases; none of them ends."""
        for lease, left_ms in command.leases:
            self._leases.checkpoint(lease, left_ms)
        return LeaseEnded(0, self.revision)


def decode_batch(payload: bytes) -> Batch:
    """Decode the batch of an entry or of a proposal.

    Raises:
        Malformed: it is not a batch, or has a key that no table can hold.
    """
    batch = _decode_batch(payload)
    for write in batch.writes:
        for key in keys_of(write.command):
            if not is_key(key):
                raise Malformed(f"{key[:40]!r} cannot be a key")
    return batch


def decode_membership_change(payload: bytes) -> MembershipChange:
    """Decode the membership change of an entry.

    Raises:
        Malformed: it is not a membership change, or its membership is invalid.
    """
    change = _decode_change(payload)
    if not change.membership.is_sound:
        raise Malformed("a membership without voters, or with one id twice")
    return change


def is_proposed_by(entry: LogEntry, node: NodeId) -> bool:
    """Whether this node proposed the entry, so that its clients wait for the results."""
    if entry.kind is not EntryKind.BATCH:
        return False
    try:
        return _decode_origin(entry.payload).origin == node
    except Malformed:
        return False
