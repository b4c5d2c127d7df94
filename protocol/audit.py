"""Audit: what is recorded, and how: administration, denials, refused connections. Never values.

A flood of what is not done makes few records: further ones of its user, or of its host, are only
counted for a while.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

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

FAILURES_MAX = 20  # of one user recorded in a window, of administration and of other requests each
WINDOW_SECONDS = 10.0
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
    operation: str  # its name in the protocol; empty if only its denial is known
    target: str  # node, user, role, right and prefix, or the key that was denied
    outcome: str  # done, denied, or the name of the failure
    suppressed: int = 0  # failures of the user, or host, before this one that were not recorded


def is_audited(operation: Operation) -> bool:
    """Whether an operation is recorded, whatever its outcome: administration and backups."""
    if isinstance(operation, Write):
        return isinstance(operation.command, UserCommand)
    if isinstance(operation, ReadSnapshot):
        return operation.position is None
    return isinstance(operation, AddNode | RemoveNode | TransferLeadership)


def record_of(user: str, key: bytes, operation: Operation, outcome: object) -> AuditRecord:
    """Return the record of an operation that is audited."""
    what = operation.command if isinstance(operation, Write) else operation
    return AuditRecord(
        user, fingerprint(key), type(what).__name__, _target(what), _outcome(outcome)
    )


def denial_in(outcomes: Iterable[object]) -> Denied | None:
    """Return the first denial among the outcomes of a request, decoded or as storage sends it."""
    for outcome in outcomes:
        if isinstance(outcome, Denied):
            return outcome
        if isinstance(outcome, msgspec.Raw) and bytes(outcome)[:2] == _DENIED:
            return _decode_denied(outcome)
    return None


def record_of_denial(user: str, key: bytes, denied: Denied) -> AuditRecord:
    """Return the record of a request that was denied."""
    right = "known user" if denied.right is None else denied.right.name.lower()
    return AuditRecord(user, fingerprint(key), "", f"{right} {denied.place}".rstrip(), "denied")


def fingerprint(key: bytes) -> str:
    """Return the first digits of a public key's hash; empty for no key."""
    return hashlib.sha256(key).hexdigest()[:FINGERPRINT_DIGITS] if key else ""


class FailureLimit:
    """How much is recorded that was not done. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._counts: Counter[tuple[str, str, bool]] = Counter()
        self._suppressed: Counter[tuple[str, str, bool]] = Counter()

    def admit(self, record: AuditRecord, now: float) -> AuditRecord | None:
        """Return a record as it is to be written; None for one of too many failures of a user."""
        if record.outcome == "done":
            return record
        if now >= self._began + WINDOW_SECONDS:
            self._began, self._counts = now, Counter()
        source = (record.user, record.key, bool(record.operation))
        self._counts[source] += 1
        if self._counts[source] > FAILURES_MAX:
            self._suppressed[source] += 1
            return None
        suppressed = self._suppressed.pop(source, 0)
        return msgspec.structs.replace(record, suppressed=suppressed) if suppressed else record


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
