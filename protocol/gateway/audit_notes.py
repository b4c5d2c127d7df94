"""Audit notes: the records that one request leaves in the audit trail.

These are its audited operations with their outcomes, and the denials of its other operations.
"""

from collections import Counter
from collections.abc import Iterable

from msgspec.structs import replace

from protocol.audit import AuditRecord, denials_in, is_audited, record_of, record_of_denial
from protocol.gateway.pending import Call, Slot
from protocol.messages.client import Operation
from protocol.state.rights import Rights
from protocol.state.user_commands import Denied

DENIALS_MAX = 10  # different ones of one request; further ones are counted


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
        every = call.outcomes
        others = [each for at, each in enumerate(every) if at not in audited] if audited else every
        records += _denials(name, call.user, denials_in(others))
    return records


def _denials(name: str, user: bytes, denials: Iterable[Denied]) -> list[AuditRecord]:
    """Return a record of each of the first different denials; the last one counts all further."""
    counts: Counter[Denied] = Counter()
    further = 0
    for denied in denials:
        if denied in counts or len(counts) < DENIALS_MAX:
            counts[denied] += 1
        else:
            further += 1
    records = [
        replace(record_of_denial(name, user, denied), suppressed=count - 1)
        for denied, count in counts.items()
    ]
    if further:
        records[-1] = replace(records[-1], suppressed=records[-1].suppressed + further)
    return records
