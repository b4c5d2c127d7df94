"""Founding and bootstrap: the replies that a new node needs before it founds a cluster."""

from protocol.membership import Member, Membership
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    ClusterReply,
    JoinReply,
    JoinRequest,
    PeerFrame,
)
from protocol.raft.asking import ASK_SECONDS
from protocol.raft.bootstrap import FRESH_SECONDS, Bootstrap
from protocol.raft.founding import CLAIM_SECONDS, VOID_SECONDS, Founding, Taken
from protocol.raft.joining import Joining

A, B, C, OLD = (bytes([number]) * 16 for number in range(1, 5))
CLUSTER = b"c" * 16
ADDRESSES = ("a:9400", "b:9400", "c:9400")


def founding(quiet: float = 1.0) -> Founding:
    return Founding(A, "a:9400", quiet)


def listing(*members: tuple[bytes, str]) -> ClusterReply:
    return ClusterReply(CLUSTER, Membership(tuple(Member(*each, voter=True) for each in members)))


def frame(sender: bytes, address: str) -> PeerFrame:
    return PeerFrame(PEER_PROTOCOL_VERSION, b"", sender, 1, address, ())


# --- alone


def test_a_node_founds_a_cluster_if_no_member_claims_its_address() -> None:
    assert not founding().is_over(0.99)
    assert founding().is_over(1.0)


def test_a_claim_postpones_the_founding_until_it_expires() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.9)
    assert core.take_requests(0.9) == ["b:9400"]
    assert not core.is_over(2.0)
    core.take_requests(0.9 + CLAIM_SECONDS)
    assert core.is_over(0.9 + CLAIM_SECONDS)


def test_an_address_listed_by_members_is_taken() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.5)
    core.hear("b:9400", listing((OLD, "a:9400"), (B, "b:9400")), 0.6)
    assert core.taken == Taken(CLUSTER, "b:9400")
    assert not core.is_over(100.0)


def test_a_claim_is_void_if_the_members_do_not_list_the_address() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.5)
    core.hear("b:9400", listing((B, "b:9400")), 0.6)
    core.hear_claim("b:9400", 0.7)
    assert core.take_requests(0.7) == []
    assert core.is_over(1.0)
    core.hear_claim("b:9400", 0.6 + VOID_SECONDS)
    assert core.is_asking, "it is looked into again"


def test_an_address_listed_under_the_nodes_own_id_is_not_taken() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.5)
    core.hear("b:9400", listing((A, "a:9400")), 0.6)
    assert core.taken is None


def test_an_unsolicited_reply_is_ignored() -> None:
    core = founding()
    core.hear("b:9400", listing((OLD, "a:9400")), 0.6)
    assert core.taken is None


def test_claimants_are_queried_repeatedly_and_their_number_is_bounded() -> None:
    core = founding()
    for number in range(100):
        core.hear_claim(f"stranger-{number}:9400", 0.0)
    asked = core.take_requests(0.0)
    assert len(asked) == 8
    assert core.take_requests(0.1) == []
    assert core.take_requests(0.2) == asked


# --- together


def gathered(*, own: str = "a:9400", expects: tuple[str, ...] = ADDRESSES) -> Bootstrap:
    """Return the bootstrap of one node with replies of the two others at time 0."""
    core = Bootstrap(A if own == "a:9400" else B, own, ADDRESSES, 1)
    ids = dict(zip(ADDRESSES, (A, B, C), strict=True))
    for address in ADDRESSES:
        if address != own:
            core.hear(frame(ids[address], address), ClusterReply(b"", Membership(), expects), 0.0)
    return core


def test_the_lowest_address_founds_the_cluster_with_all_expected_nodes() -> None:
    membership = gathered().membership(0.1)
    assert membership is not None
    assert {(m.id, m.address, m.voter) for m in membership.members} == {
        (A, "a:9400", True),
        (B, "b:9400", True),
        (C, "c:9400", True),
    }


def test_no_other_address_founds_the_cluster() -> None:
    assert gathered(own="b:9400").membership(0.1) is None


def test_an_old_reply_does_not_count() -> None:
    core = gathered()
    assert core.membership(FRESH_SECONDS) is None
    assert core.missing(FRESH_SECONDS, {}) == "b:9400 does not answer, c:9400 does not answer"


def test_a_connection_failure_is_reported_instead_of_silence() -> None:
    core = gathered()
    troubles = {"b:9400": "refuses connections", "c:9400": ""}
    assert "b:9400 refuses connections" in core.missing(10.0, troubles)
    assert "c:9400 does not answer" in core.missing(10.0, troubles)


def test_nodes_that_expect_other_addresses_do_not_count() -> None:
    core = gathered(expects=("b:9400", "c:9400"))
    assert core.membership(0.1) is None
    assert "b:9400 was started with other --join, --expect" in core.missing(0.1, {})


def test_one_node_at_two_addresses_counts_once() -> None:
    core = gathered()
    core.hear(frame(B, "c:9400"), ClusterReply(b"", Membership(), ADDRESSES), 0.1)
    assert core.membership(0.1) is None


def test_a_node_that_finds_a_cluster_founds_none() -> None:
    core = gathered()
    core.hear(frame(B, "b:9400"), listing((B, "b:9400")), 0.1)
    assert core.found_cluster
    core.hear(frame(B, "b:9400"), ClusterReply(b"", Membership(), ADDRESSES), 0.2)
    assert core.membership(0.2) is None


def test_a_stranger_is_not_counted() -> None:
    core = Bootstrap(A, "a:9400", ADDRESSES, 1)
    core.hear(frame(B, "x:9400"), listing((B, "x:9400")), 0.0)
    assert not core.found_cluster


def test_all_other_nodes_are_queried_periodically() -> None:
    core = Bootstrap(A, "a:9400", ADDRESSES, 1)
    assert core.take_requests(0.0) == ["b:9400", "c:9400"]
    assert core.take_requests(0.1) == []
    assert core.take_requests(ASK_SECONDS) == ["b:9400", "c:9400"]


# --- joining


def test_a_joining_node_tries_the_given_addresses_and_the_known_members() -> None:
    members = Membership((Member(B, "b:9400", voter=True), Member(A, "a:9400", voter=True)))
    core = Joining(("x:9400",), "a:9400", rejoin=False, level=1)
    asked = [core.take_address(members, now) for now in (0.0, 0.1, 0.2, 0.4)]
    assert asked == ["x:9400", "", "b:9400", "x:9400"]
    alone = Joining(("x:9400",), "a:9400", rejoin=True, level=1)
    assert [alone.take_address(Membership(), now) for now in (0.0, 0.2)] == ["x:9400", "x:9400"]


def test_a_join_request_is_based_on_the_leaders_reply_and_resent_immediately() -> None:
    core = Joining(("x:9400",), "a:9400", rejoin=True, level=1)
    assert core.take_address(Membership(), 0.0) == "x:9400"
    reply = JoinReply(False, Membership(), "x:9400", "", 4, 3)
    core.hear(frame(B, "x:9400"), reply, 0.1)
    assert core.take_address(Membership(), 0.1) == "x:9400"
    assert core.request == JoinRequest("a:9400", True, 4, 3)
    core.hear(frame(B, "x:9400"), reply, 0.2)
    assert core.take_address(Membership(), 0.2) == "", "the leader has taken it, and is not ready"


def test_a_join_request_is_not_based_on_a_followers_reply() -> None:
    core = Joining(("x:9400",), "a:9400", rejoin=False, level=1)
    assert core.take_address(Membership(), 0.0) == "x:9400"
    reply = JoinReply(False, Membership(), "y:9400", "", 4, 3)
    core.hear(frame(B, "x:9400"), reply, 0.1)
    assert core.take_address(Membership(), 0.1) == "y:9400"
    assert core.request == JoinRequest("a:9400")
