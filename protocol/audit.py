"""Audit: what is recorded, and how: administration, denials, refused connections. Never values.

A flood makes few records: of a user, or of a host, further ones are only counted for a while, and
the last of them is recorded with their number. So no user erases the trail by filling it.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from enum import Enum, auto
from typing import get_args

import msgspec

from protocol.deadlines import NEVER
from protocol.messages.client import (
    AddNode,
    Done,
    Failed,
    Operation,
    ReadSnapshot,
    RemoveNode,
    SnapshotPart,
    TransferLeadership,
    Transferred,
)
from protocol.state.commands import Write
from protocol.state.user_commands import Denied, Right, RightsChanged, RightsRefused, UserCommand
from protocol.wire import decode_outcome

DONE_MAX = 50  # of one user recorded in a window
FAILURES_MAX = 20  # likewise, of administration and of other requests each
USERS_MAX = 10  # users with limits of their own in a window; all others share one
OTHER_USERS = "*"  # in place of their names, of which none has this character
WINDOW_SECONDS = 60.0
TARGET_LENGTH_MAX = 200  # characters
HOSTS_MAX = 20  # named in a window, of those whose connections were refused
OTHER_HOSTS = "others"  # in place of further ones
SUCCESSES = (Done, RightsChanged, SnapshotPart, Transferred)
FINGERPRINT_DIGITS = 16  # of the SHA-256 of a public key

_DENIED = msgspec.msgpack.encode(Denied(None))[:2]  # of storage's encoded outcomes
_decode_denied = msgspec.msgpack.Decoder(Denied).decode


class AuditRecord(msgspec.Struct, frozen=True):
    """One line of the audit trail, without its time."""

    user: str  # name; empty for none in particular, without restrictions
    key: str  # fingerprint of the user's public key; empty likewise
    operation: str  # name in the protocol; or Subscribe, Connect, MemberAdded, -Moved or -Removed
    target: str  # node, user, role, right and prefix, or the key that was denied; its beginning
    outcome: str  # done, denied, or the name of the failure
    suppressed: int = 0  # similar records of the user or host before this one, not written


_CLUSTER_WIDE = AddNode | RemoveNode | TransferLeadership
ADMINISTRATION = frozenset(
    kind.__name__ for kind in (*get_args(UserCommand), *get_args(_CLUSTER_WIDE), ReadSnapshot)
)  # the names of operations that are recorded whatever their outcome


def is_audited(operation: Operation) -> bool:
    """Whether an operation is recorded, whatever its outcome: administration and backups."""
    if isinstance(operation, Write):
        return isinstance(operation.command, UserCommand)
    if isinstance(operation, ReadSnapshot):
        return operation.position is None
    return isinstance(operation, _CLUSTER_WIDE)


def record_of(user: str, key: bytes, operation: Operation, outcome: object) -> AuditRecord:
    """Return the record of an operation that is audited."""
    what = operation.command if isinstance(operation, Write) else operation
    target = _target(what)[:TARGET_LENGTH_MAX]
    return AuditRecord(user, fingerprint(key), name_of(operation), target, _outcome(outcome))


def name_of(operation: Operation) -> str:
    """Return the name of an operation in the protocol; of a write, that of its command."""
    return type(operation.command if isinstance(operation, Write) else operation).__name__


def denial_in(outcome: object) -> Denied | None:
    """Return the denial that an outcome is, decoded or as storage sends it; None if it is none."""
    if isinstance(outcome, Denied):
        return outcome
    if isinstance(outcome, msgspec.Raw) and memoryview(outcome)[:2] == _DENIED:
        return _decode_denied(outcome)
    return None


def record_of_denial(user: str, key: bytes, operation: str, denied: Denied) -> AuditRecord:
    """Return the record of an operation that was denied, by its name."""
    right = "known user" if denied.right is None else denied.right.name.lower()
    target = f"{right} {denied.place}".rstrip()
    return AuditRecord(user, fingerprint(key), operation, target, "denied")


def fingerprint(key: bytes) -> str:
    """Return the first digits of a public key's hash; empty for no key."""
    return hashlib.sha256(key).hexdigest()[:FINGERPRINT_DIGITS] if key else ""


class _Kind(Enum):
    """What a record tells; each kind has a limit of its own, so that none hides another."""

    DONE = auto()
    FAILED = auto()  # administration
    DENIED = auto()  # other requests


_Source = tuple[_Kind, str]  # a user, or all others
_MAX = {_Kind.DONE: DONE_MAX, _Kind.FAILED: FAILURES_MAX, _Kind.DENIED: FAILURES_MAX}


class RecordLimit:
    """How much is recorded of each user in a window. Times are seconds of a steady clock.

    A record is written at once if it is new in its window, and the limit is not reached. Otherwise
    it is counted, and the last one of each operation is recorded with their number at the end.
    """

    def __init__(self) -> None:
        self._ends = float("-inf")
        self._seen: set[AuditRecord] = set()  # as they were recorded in this window
        self._users: set[_Source] = set()  # that are counted by themselves
        self._counts: Counter[_Source] = Counter()
        self._suppressed: dict[tuple[_Source, str], AuditRecord] = {}  # the last, by operation

    def admit(self, record: AuditRecord, now: float) -> AuditRecord | None:
        """Return a record if it is to be written now; call ``take`` before."""
        if not self._seen:
            self._ends = now + WINDOW_SECONDS
        source = self._source_of(record)
        new = msgspec.structs.replace(record, suppressed=0) if record.suppressed else record
        if new in self._seen or self._counts[source] >= _MAX[source[0]]:
            self._suppress(source, record)
            return None
        self._counts[source] += 1
        self._seen.add(new)
        return record

    def take(self, now: float) -> list[AuditRecord]:
        """End the window if it is over; return the records of what was counted in it."""
        if now < self._ends:
            return []
        counted = list(self._suppressed.values())
        self._seen, self._users = set(), set()
        self._counts, self._suppressed = Counter(), {}
        return counted

    @property
    def deadline(self) -> float:
        """When a record is due."""
        return self._ends if self._suppressed else NEVER

    def _source_of(self, record: AuditRecord) -> _Source:
        kind = _kind_of(record)
        source = (kind, record.user or record.key)
        if source not in self._users:
            if sum(each is kind for each, _ in self._users) >= USERS_MAX:
                return kind, OTHER_USERS
            self._users.add(source)
        return source

    def _suppress(self, source: _Source, record: AuditRecord) -> None:
        """Count a record, as the last one of its operation."""
        before = self._suppressed.pop((source, record.operation), None)
        count = record.suppressed + (0 if before is None else before.suppressed + 1)
        last = msgspec.structs.replace(record, suppressed=count)
        self._suppressed[source, record.operation] = last


class RefusedConnections:
    """Which connections were refused, by host: one record for a host in a while, with their number.

    Times are seconds of a steady clock.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()  # not recorded yet
        self._quiet_until: dict[str, float] = {}  # by host that was recorded

    def note(self, refused: Mapping[str, int], now: float) -> None:
        """Count refused connections by their hosts."""
        if refused:
            self._forget_recorded(now)
        for host, count in refused.items():
            known = self._counts.keys() | self._quiet_until.keys()
            is_named = host in known or len(known) < HOSTS_MAX
            self._counts[host if is_named else OTHER_HOSTS] += count

    def take(self, now: float) -> list[AuditRecord]:
        """Return the records that are due."""
        self._forget_recorded(now)
        due = [host for host in self._counts if host not in self._quiet_until]
        self._quiet_until.update(dict.fromkeys(due, now + WINDOW_SECONDS))
        return [_refusal(host, self._counts.pop(host)) for host in due]

    @property
    def deadline(self) -> float:
        """When the next record is due."""
        if not self._counts:
            return NEVER
        return min(self._quiet_until.get(host, 0.0) for host in self._counts)

    def _forget_recorded(self, now: float) -> None:
        self._quiet_until = {host: at for host, at in self._quiet_until.items() if at > now}


def _kind_of(record: AuditRecord) -> _Kind:
    if record.outcome == "done":
        return _Kind.DONE
    return _Kind.FAILED if record.operation in ADMINISTRATION else _Kind.DENIED


def _refusal(host: str, count: int) -> AuditRecord:
    return AuditRecord("", "", "Connect", host, "refused", count - 1)


def _target(what: msgspec.Struct) -> str:
    """Return the names in an operation, without keys and other bytes that identify nothing."""
    match what:
        case RemoveNode(node=node) | TransferLeadership(node=node):
            return node.hex()
        case ReadSnapshot(backup=backup):
            return backup.hex()
        case _:
            fields = msgspec.structs.asdict(what)
            named = ("address", "name", "user", "role", "right", "prefix")
            found = [fields[each] for each in named if fields.get(each)]
            return " ".join(
                each.name.lower() if isinstance(each, Right) else str(each) for each in found
            )


def _outcome(outcome: object) -> str:
    if isinstance(outcome, msgspec.Raw):  # as storage sends it
        outcome = decode_outcome(bytes(outcome))
    match outcome:
        case Denied():
            return "denied"
        case RightsRefused(objection=objection):
            return objection.name.lower()
        case Failed(code=code):
            return code.name.lower()
        case _ if isinstance(outcome, SUCCESSES):
            return "done"
        case _:
            return type(outcome).__name__
