"""Vouching: the addresses that a node asks about unknown senders, and the pace of its rounds."""

from protocol.membership import Member, Membership
from protocol.raft.asking import ASK_SECONDS
from protocol.raft.vouching import ASKED_MAX, Vouching

OWN = "own:9400"


def membership(*members: tuple[str, bool]) -> Membership:
    return Membership(
        tuple(
            Member(bytes([number]) * 16, address, voter)
            for number, (address, voter) in enumerate(members)
        )
    )


KNOWN = membership((OWN, True), ("learner:1", False), ("voter:1", True))


def test_given_addresses_come_first_then_voters_and_never_the_nodes_own() -> None:
    vouching = Vouching(("given:1", "voter:1", OWN), OWN)
    assert vouching.take_addresses(KNOWN, 5.0) == ["given:1", "voter:1", "learner:1"]


def test_a_round_is_due_again_after_a_pause() -> None:
    vouching = Vouching((), OWN)
    assert vouching.take_addresses(KNOWN, 5.0)
    assert vouching.take_addresses(KNOWN, 5.0 + ASK_SECONDS / 2) == []
    assert vouching.ask_at == 5.0 + ASK_SECONDS
    assert vouching.take_addresses(KNOWN, 5.0 + ASK_SECONDS) == ["voter:1", "learner:1"]


def test_a_large_membership_is_queried_in_part_with_voters_first() -> None:
    learners = [(f"learner:{number}", False) for number in range(ASKED_MAX)]
    asked = Vouching((), OWN).take_addresses(membership(*learners, ("voter:9", True)), 0.0)
    assert len(asked) == ASKED_MAX
    assert asked[0] == "voter:9"
