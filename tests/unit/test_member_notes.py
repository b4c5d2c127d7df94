"""Member notes: what the audit trail tells of joins, moves and removals."""

import pytest

from protocol.audit import AuditRecord
from protocol.config import NodeConfig
from protocol.gateway.gateway import Gateway
from protocol.gateway.member_notes import ADDED, MOVED, REMOVED, notes_of_members
from protocol.membership import Member, Membership
from protocol.messages.gateway import Leadership, Opened
from protocol.status import RoleName

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))


def members(*members: tuple[bytes, str]) -> Membership:
    return Membership(tuple(Member(node, address, voter=True) for node, address in members))


BOTH = members((A, "a:9400"), (B, "b:9400"))
GONE = [(REMOVED, A, "a:9400"), (REMOVED, B, "b:9400")]


def note(operation: str, node: bytes, address: str) -> AuditRecord:
    return AuditRecord("", "", operation, f"{node.hex()} {address}", "done")


@pytest.mark.parametrize(
    ("after", "noted"),
    [
        (BOTH, []),
        (members((A, "a:9400"), (B, "b:9400"), (C, "c:9400")), [(ADDED, C, "c:9400")]),
        (members((A, "a:9400"), (B, "b:9410")), [(MOVED, B, "b:9410")]),
        (members((B, "b:9400")), [(REMOVED, A, "a:9400")]),
        (members((A, "a:9400"), (C, "b:9400")), [(ADDED, C, "b:9400"), (REMOVED, B, "b:9400")]),
        (members((C, "c:9400")), [(ADDED, C, "c:9400"), *GONE]),
    ],
)
def test_each_difference_of_two_memberships_is_one_record(
    after: Membership, noted: list[tuple[str, bytes, str]]
) -> None:
    assert list(notes_of_members(BOTH, after)) == [note(*each) for each in noted]


def test_a_promotion_or_a_new_version_is_no_change_of_who_is_a_member() -> None:
    before = Membership((Member(A, "a:9400", voter=True), Member(B, "b:9400", voter=False)))
    after = Membership((Member(A, "a:9400", voter=True, level=9), Member(B, "b:9400", voter=True)))
    assert not list(notes_of_members(before, after))


def test_a_gateway_notes_every_change_after_the_first_membership_that_it_knows() -> None:
    gateway = Gateway(Opened(A, A, 1), NodeConfig(dir="d"))

    def noted_after(membership: Membership) -> list[AuditRecord]:
        standing = Leadership(A, 1, RoleName.FOLLOWER, None, "", membership, False, False)
        gateway.step(standing, 0.0)
        return gateway.flush(0.0).audit

    assert noted_after(Membership()) == []
    assert noted_after(BOTH) == []
    assert noted_after(members((A, "a:9400"))) == [note(REMOVED, B, "b:9400")]
    assert noted_after(members((A, "a:9400"))) == []
    assert noted_after(BOTH) == [note(ADDED, B, "b:9400")]
