"""Moving: a moved node queries its former address; only its own id there makes it a copy."""

from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.peer import PEER_PROTOCOL_VERSION, PeerFrame
from protocol.messages.replicator import Recovered
from protocol.raft.asking import ASK_SECONDS
from protocol.raft.moving import QUIET_SECONDS, Moving

NODE, OTHER = b"A" * 16, b"B" * 16
FORMER, NEW = "a:9400", "new:9400"


def moving(address: str = NEW, *, members: bool = True) -> Moving:
    membership = Membership((Member(NODE, FORMER, True), Member(OTHER, "b:9400", True)))
    held = (MembershipAt(3, membership),) if members else ()
    return Moving(Recovered(NODE, b"c" * 16, 1, HardState(), 0, 0, 0, (), held), address, 0.0)


def frame(sender: bytes, address: str) -> PeerFrame:
    return PeerFrame(PEER_PROTOCOL_VERSION, b"", sender, 1, address, ())


def test_an_unmoved_node_and_a_non_member_do_not_wait() -> None:
    assert moving(FORMER).is_over(0.0)
    assert moving(members=False).is_over(0.0)


def test_the_former_address_is_queried_periodically_for_the_quiet_time() -> None:
    core = moving()
    assert core.former_address == FORMER
    asked = [at for at in range(10) if core.take_request(at * ASK_SECONDS / 2)]
    assert asked == [0, 2, 4, 6, 8]
    assert not core.is_over(QUIET_SECONDS - 0.01)
    assert core.is_over(QUIET_SECONDS)
    assert not core.is_copy


def test_a_node_whose_own_id_is_at_the_former_address_is_a_copy() -> None:
    core = moving()
    core.hear(frame(NODE, FORMER))
    core.hear(frame(OTHER, FORMER))
    assert core.is_copy
    assert core.is_over(0.0)
    assert FORMER in core.failure


def test_no_other_reply_makes_a_node_a_copy() -> None:
    core = moving()
    for answer in (frame(OTHER, FORMER), frame(NODE, NEW), frame(OTHER, "b:9400")):
        core.hear(answer)
    assert not core.is_copy
