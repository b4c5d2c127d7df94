"""Founding and bootstrap: the replies that a new node needs before it founds a cluster."""

from protocol.membership import Member, Membership
from protocol.messages.peer import (
    PEER_PROTOCOL_VERSION,
    ClusterReply,
    JoinReply,
    JoinRequest,
    PeerFrame,
)
from protocol.raft.bootstrap import ASK_SECONDS, FRESH_SECONDS, Bootstrap
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


def test_a_node_founds_when_nobody_has_claimed_its_address() -> None:
    assert not founding().is_over(0.99)
    assert founding().is_over(1.0)


def test_a_claim_postpones_the_founding_until_it_is_answered_or_old() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.9)
    assert core.take_questions(0.9) == ["b:9400"]
    assert not core.is_over(2.0)
    core.take_questions(0.9 + CLAIM_SECONDS)
    assert core.is_over(0.9 + CLAIM_SECONDS)


def test_an_address_that_members_list_is_taken() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.5)
    core.hear("b:9400", listing((OLD, "a:9400"), (B, "b:9400")), 0.6)
    assert core.taken == Taken(CLUSTER, "b:9400")
    assert not core.is_over(100.0)


def test_a_claim_is_void_where_the_members_do_not_list_the_address() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.5)
    core.hear("b:9400", listing((B, "b:9400")), 0.6)
    core.hear_claim("b:9400", 0.7)
    assert core.take_questions(0.7) == []
    assert core.is_over(1.0)
    core.hear_claim("b:9400", 0.6 + VOID_SECONDS)
    assert core.is_asking, "it is looked into again"


def test_the_node_itself_may_be_listed() -> None:
    core = founding()
    core.hear_claim("b:9400", 0.5)
    core.hear("b:9400", listing((A, "a:9400")), 0.6)
    assert core.taken is None


def test_an_answer_that_was_not_asked_for_means_nothing() -> None:
    core = founding()
    core.hear("b:9400", listing((OLD, "a:9400")), 0.6)
    assert core.taken is None


def test_a_claimant_is_asked_again_and_many_are_not_remembered() -> None:
    core = founding()
    for number in range(100):
        core.hear_claim(f"stranger-{number}:9400", 0.0)
    asked = core.take_questions(0.0)
    assert len(asked) == 8
    assert core.take_questions(0.1) == []
    assert core.take_questions(0.2) == asked


# --- together


def gathered(*, own: str = "a:9400", expects: tuple[str, ...] = ADDRESSES) -> Bootstrap:
    """Return the bootstrap of one node with replies of the two others at time 0."""
    core = Bootstrap(A if own == "a:9400" else B, own, ADDRESSES)
    ids = dict(zip(ADDRESSES, (A, B, C), strict=True))
    for address in ADDRESSES:
        if address != own:
            core.hear(frame(ids[address], address), ClusterReply(b"", Membership(), expects), 0.0)
    return core


def test_the_lowest_address_founds_with_all_that_answer() -> None:
    membership = gathered().membership(0.1)
    assert membership is not None
    assert {(m.id, m.address, m.voter) for m in membership.members} == {
        (A, "a:9400", True),
        (B, "b:9400", True),
        (C, "c:9400", True),
    }


def test_no_other_address_founds() -> None:
    assert gathered(own="b:9400").membership(0.1) is None


def test_an_answer_that_is_old_does_not_count() -> None:
    core = gathered()
    assert core.membership(FRESH_SECONDS) is None
    assert core.missing(FRESH_SECONDS, {}) == "b:9400 does not answer, c:9400 does not answer"


def test_a_trouble_of_an_address_is_named_in_place_of_silence() -> None:
    core = gathered()
    troubles = {"b:9400": "refuses connections", "c:9400": ""}
    assert "b:9400 refuses connections" in core.missing(10.0, troubles)
    assert "c:9400 does not answer" in core.missing(10.0, troubles)


def test_nodes_that_expect_others_do_not_count() -> None:
    core = gathered(expects=("b:9400", "c:9400"))
    assert core.membership(0.1) is None
    assert "b:9400 was started with other --join, --expect" in core.missing(0.1, {})


def test_one_node_at_two_addresses_is_one_node() -> None:
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
    core = Bootstrap(A, "a:9400", ADDRESSES)
    core.hear(frame(B, "x:9400"), listing((B, "x:9400")), 0.0)
    assert not core.found_cluster


def test_all_others_are_asked_again_and_again() -> None:
    core = Bootstrap(A, "a:9400", ADDRESSES)
    assert core.take_questions(0.0) == ["b:9400", "c:9400"]
    assert core.take_questions(0.1) == []
    assert core.take_questions(ASK_SECONDS) == ["b:9400", "c:9400"]


# --- joining


def test_a_node_asks_the_addresses_it_was_given_and_the_members_that_it_knows() -> None:
    members = Membership((Member(B, "b:9400", voter=True), Member(A, "a:9400", voter=True)))
    core = Joining(("x:9400",), "a:9400", rejoin=False)
    asked = [core.take_address(members, now) for now in (0.0, 0.1, 0.2, 0.4)]
    assert asked == ["x:9400", "", "b:9400", "x:9400"]
    alone = Joining(("x:9400",), "a:9400", rejoin=True)
    assert [alone.take_address(Membership(), now) for now in (0.0, 0.2)] == ["x:9400", "x:9400"]


def test_a_request_is_based_on_the_leaders_reply_and_sent_again_at_once() -> None:
    core = Joining(("x:9400",), "a:9400", rejoin=True)
    assert core.take_address(Membership(), 0.0) == "x:9400"
    reply = JoinReply(False, Membership(), "x:9400", "", 4, 3)
    core.hear(frame(B, "x:9400"), reply, 0.1)
    assert core.take_address(Membership(), 0.1) == "x:9400"
    assert core.request == JoinRequest("a:9400", True, 4, 3)
    core.hear(frame(B, "x:9400"), reply, 0.2)
    assert core.take_address(Membership(), 0.2) == "", "the leader has taken it, and is not ready"


def test_a_request_is_not_based_on_a_followers_reply() -> None:
    core = Joining(("x:9400",), "a:9400", rejoin=False)
    assert core.take_address(Membership(), 0.0) == "x:9400"
    reply = JoinReply(False, Membership(), "y:9400", "", 4, 3)
    core.hear(frame(B, "x:9400"), reply, 0.1)
    assert core.take_address(Membership(), 0.1) == "y:9400"
    assert core.request == JoinRequest("a:9400")
