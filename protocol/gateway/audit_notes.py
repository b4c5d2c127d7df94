"""Audit notes: the records that one request leaves in the audit trail.

These are its audited operations with their outcomes, and the denials of its other operations.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator

from msgspec.structs import replace

from protocol.audit import (
    AuditRecord,
    denial_in,
    is_audited,
    name_of,
    record_of,
    record_of_denial,
)
from protocol.gateway.pending import Call, Slot
from protocol.messages.client import Operation
from protocol.state.rights import Rights
from protocol.state.user_commands import Denied

DENIALS_MAX = 10  # different ones of one request; further ones are counted


def keep_names(call: Call, operations: Iterable[Operation]) -> None:
    """Keep the names of a user's operations, for the record of a denial; not what they carry."""
    if call.user:
        call.names = tuple(map(name_of, operations))


def keep_audited(call: Call, operations: Iterable[Operation]) -> None:
    """Keep those operations of a call that are to be recorded with their outcomes."""
    for position, operation in enumerate(operations):
        if is_audited(operation):
            Slot(call, position).audit(operation)


def notes_of(call: Call, rights: Rights) -> list[AuditRecord]:
    """Return the records of a call whose operations all have outcomes."""
    name = rights.name_of(call.user) or ""
    audited = call.audited or {}
    records = [record_of(name, call.user, each, call.outcomes[at]) for at, each in audited.items()]
    if call.user:
        records += _denials(name, call.user, _denied_in(call, audited))
    return records


def _denied_in(call: Call, audited: Container[int]) -> Iterator[tuple[str, Denied]]:
    """Yield the denials of a call's other operations, with the operations' names."""
    for at, outcome in enumerate(call.outcomes):
        denied = denial_in(outcome)
        if denied is not None and at not in audited:
            yield call.names[at], denied


def _denials(name: str, user: bytes, denials: Iterable[tuple[str, Denied]]) -> list[AuditRecord]:
    """Return a record of each of the first different denials; the last one counts all further."""
    counts: Counter[tuple[str, Denied]] = Counter()
    further = 0
    for each in denials:
        if each in counts or len(counts) < DENIALS_MAX:
            counts[each] += 1
        else:
            further += 1
    records = [
        replace(record_of_denial(name, user, *each), suppressed=count - 1)
        for each, count in counts.items()
    ]
    if further:
        records[-1] = replace(records[-1], suppressed=records[-1].suppressed + further)
    return records
