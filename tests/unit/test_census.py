"""Census: decides which cluster a client's addresses name, even if one was taken over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.client.census import (
    MAJORITY_SECONDS,
    MINORITY_SECONDS,
    UNDECIDED,
    Census,
    DividedCensus,
    Greeting,
)
from protocol.client.steps import Counted
from protocol.membership import Member, Membership
from protocol.messages.client import Welcome

REAL, GHOST = b"real", b"ghost"
A, B, C = "a:1", "b:1", "c:1"
FOREVER = 3600.0


def membership(*addresses: str, cluster: bytes = REAL) -> Membership:
    """Return a membership at these addresses, with ids of its own cluster."""
    members = (Member(cluster + each.encode(), each, True) for each in addresses)
    return Membership(tuple(members))


def answer(at: str, *members: str, cluster: bytes = REAL, itself: str = "") -> Greeting:
    """Return a node's reply at one address, whose cluster may be elsewhere."""
    node = cluster + (itself or at).encode()
    return Greeting(at, node, cluster, membership(*members, cluster=cluster))


def ghost(at: str, *members: str) -> Greeting:
    return answer(at, *(members or (at,)), cluster=GHOST)


def census(*answers: Greeting, given: tuple[str, ...] = (A, B, C)) -> Census:
    taken = Census(given)
    for each in answers:
        taken.note_answer(each)
    return taken


def greeting(at: str) -> Welcome:
    """Return the greeting of a node that knows only itself."""
    return Welcome(REAL, REAL + at.encode(), "", membership=membership(at))


def test_a_reply_that_names_members_at_all_addresses_decides_immediately() -> None:
    assert census(answer(B, A, B, C)).decide(0.0) == REAL


def test_a_reply_that_names_only_its_own_address_decides_nothing() -> None:
    assert census(ghost(A)).decide(0.0) == b""


def test_a_member_disowns_a_foreign_node_at_another_members_address() -> None:
    assert census(ghost(A), answer(B, A, B, C)).decide(0.0) == REAL


def test_a_member_disowns_foreign_nodes_at_a_majority_of_the_addresses() -> None:
    assert census(ghost(A, A, B), ghost(B, A, B), answer(C, A, B, C)).decide(0.0) == REAL


def test_a_member_disowns_a_foreign_node_by_the_address_it_reports() -> None:
    given_names = ("name-a:1", "name-b:1")
    strange = answer("name-a:1", A, cluster=GHOST, itself=A)
    real = answer("name-b:1", A, B, itself=B)
    assert census(strange, real, given=given_names).decide(0.0) == REAL


def test_the_cluster_with_most_addresses_wins_if_none_is_disowned() -> None:
    answers = (ghost(A), answer(B, B, C), answer(C, B, C))
    assert census(*answers).decide(0.0) == REAL
    assert census(*reversed(answers)).decide(0.0) == REAL


def test_clusters_that_disown_each_other_are_decided_by_address_count() -> None:
    answers = (ghost(A, A, B, C), answer(B, A, B, C), answer(C, A, B, C))
    assert census(*answers).decide(0.0) == REAL


def test_a_tie_between_two_clusters_is_a_contradiction() -> None:
    divided = census(ghost(A), answer(B, B), given=(A, B))
    with pytest.raises(DividedCensus, match=f"a:1 to {GHOST.hex()}, b:1 to {REAL.hex()}"):
        divided.decide(0.0)


def test_a_contradiction_waits_for_addresses_that_may_resolve_it() -> None:
    divided = census(ghost(A), answer(B, B))
    assert divided.decide(0.0) == b""
    divided.note_answer(answer(C, B, C))
    assert divided.decide(0.0) == REAL


def test_a_census_does_not_wait_for_an_address_without_a_node() -> None:
    taken = census(answer(A, A))
    taken.note_absence(B)
    assert taken.decide(0.0) == b""
    taken.note_absence(C)
    assert taken.decide(0.0) == REAL


def test_a_census_waits_longer_for_a_silent_majority_of_addresses() -> None:
    minority, majority = census(answer(A, A)), census(answer(A, A, B), answer(B, A, B))
    assert majority.decide(0.0) == minority.decide(MAJORITY_SECONDS) == b""
    assert majority.decide(MAJORITY_SECONDS) == minority.decide(MINORITY_SECONDS) == REAL


def test_a_census_without_replies_stays_undecided() -> None:
    taken = census()
    for address in (A, B, C):
        taken.note_absence(address)
    assert taken.decide(FOREVER) == b""


def test_the_latest_reply_of_an_address_counts() -> None:
    taken = census(ghost(A), given=(A,))
    taken.note_absence(A)
    assert taken.decide(FOREVER) == b""
    taken.note_answer(answer(A, A))
    assert taken.decide(0.0) == REAL


def test_a_census_lasts_until_the_cluster_is_decided_or_its_deadline_passes() -> None:
    taken = Census((A, B, C))
    taken.begin(A, greeting(A), 5.0)
    assert taken.count(5.0, 9.0) is None
    assert taken.count(5.0, 5.0) == Counted(b"", UNDECIDED)
    taken.note_answer(answer(B, A, B, C))
    assert taken.count(5.0, 9.0) == Counted(REAL)


def test_the_waits_for_silent_addresses_begin_with_the_first_greeting() -> None:
    taken = Census((A, B, C))
    taken.begin(A, greeting(A), 5.0)
    taken.begin(A, greeting(A), 6.0)
    assert taken.count(5.0 + MINORITY_SECONDS, 9.0) == Counted(REAL)


def test_a_contradiction_ends_a_census_and_lists_the_addresses_by_cluster() -> None:
    divided = census(ghost(A), answer(B, B), given=(A, B))
    counted = divided.count(0.0, 9.0)
    assert counted is not None
    assert counted.cluster == b""
    assert f"a:1 to {GHOST.hex()}, b:1 to {REAL.hex()}" in counted.obstacle


@given(
    st.permutations(range(5)),
    st.integers(min_value=1, max_value=4),
    st.integers(min_value=1, max_value=5),
)
def test_a_ghost_is_never_trusted_once_a_member_has_replied(
    order: list[int], ghosts: int, answers: int
) -> None:
    """Some of five members lost their directories and formed a cluster of their own."""
    given = tuple(f"node-{number}:1" for number in range(5))
    lost = given[:ghosts]
    taken = Census(given)
    for number in order[:answers]:
        at = given[number]
        taken.note_answer(ghost(at, *lost) if at in lost else answer(at, *given))
    heard_member = any(number >= ghosts for number in order[:answers])
    assert taken.decide(0.0) == (REAL if heard_member else b"")
