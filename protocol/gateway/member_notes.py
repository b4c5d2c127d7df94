"""Member notes: the records that changes of the members leave in the audit trail of each node.

A node that joins, moves or replaces another asks no gateway, so that no request shows it.
"""

from collections.abc import Iterator

from protocol.audit import AuditRecord
from protocol.membership import Member, Membership

ADDED, MOVED, REMOVED = "MemberAdded", "MemberMoved", "MemberRemoved"


def notes_of_members(before: Membership, after: Membership) -> Iterator[AuditRecord]:
    """Yield the records of what differs between two committed memberships.

    The first one that a node knows differs from none: it shows who is there, and no change.
    """
    if not before.members:
        return
    for member in after.members:
        known = before.get(member.id)
        if known is None:
            yield _note(ADDED, member)
        elif known.address != member.address:
            yield _note(MOVED, member)
    for member in before.members:
        if after.get(member.id) is None:
            yield _note(REMOVED, member)


def _note(operation: str, member: Member) -> AuditRecord:
    return AuditRecord("", "", operation, f"{member.id.hex()} {member.address}", "done")
