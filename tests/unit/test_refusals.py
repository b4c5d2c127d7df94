"""Refusals: a watch ends once all nodes have refused, or a majority and no other answers."""

import pytest

from protocol.client.attempts import ATTEMPT_SECONDS
from protocol.client.refusals import GRACE_SECONDS, NO_HISTORY, Refusals
from protocol.client.routing import Route, address_of
from protocol.deadlines import NEVER
from protocol.membership import Member, Membership
from protocol.messages.client import Welcome
from protocol.ranges import LEVEL_MIN

NOW = 100.0
LATER = NOW + GRACE_SECONDS
A, B, C, D, E = (f"tcp://{name}:1" for name in "abcde")


def refusing(*endpoints: str) -> tuple[Route, Refusals]:
    """Return refusals by no node yet of these."""
    route = Route(list(endpoints), follow_leader=True)
    route.settle(b"cluster")
    return route, Refusals(route)


def refuse(refusals: Refusals, oldest: int = 9, now: float = NOW) -> str:
    """Let the next node refuse; return its endpoint."""
    endpoint = refusals.link.choose(now)
    refuse_as(endpoint, refusals, oldest, now)
    return endpoint


def refuse_as(node: str, refusals: Refusals, oldest: int = 9, now: float = NOW) -> None:
    """Let the chosen node refuse, which has this id."""
    refusals.link.welcome(refusals.link.endpoint, node.encode(), LEVEL_MIN, now)
    refusals.note(oldest, now)


def fail(refusals: Refusals, now: float) -> str:
    """Let the next node not answer; return its endpoint."""
    endpoint = refusals.link.choose(now)
    refusals.link.abandon(endpoint, now)
    return endpoint


def members(*names: str) -> Welcome:
    each = tuple(Member(name.encode(), f"{name}:1", True) for name in names)
    return Welcome(b"cluster", b"a", "tcp://a:2", None, "", Membership(each))


def test_the_watch_ends_at_once_when_all_nodes_have_refused() -> None:
    _, refusals = refusing(A, B, C)
    assert refuse(refusals, 30) == A
    assert refuse(refusals, 20) == B
    assert refusals.verdict(NOW) is None
    assert refuse(refusals, 40) == C
    assert refusals.verdict(NOW) == 20


def test_one_reachable_node_with_a_fresh_snapshot_ends_no_watch() -> None:
    _, refusals = refusing(A, B, C)
    assert refuse(refusals) == A
    now, asked = NOW, []
    for _ in range(20):  # the others are unreachable, and are tried again
        now += ATTEMPT_SECONDS
        asked.append(refusals.link.choose(now))
        if asked[-1] == A:
            refuse_as(A, refusals, now=now)
        else:
            refusals.link.abandon(asked[-1], now)
        assert refusals.verdict(now) is None
        assert refusals.deadline(now) == NEVER
    assert 2 <= asked.count(A) <= 6, "the one that has refused only once the others were silent"
    refusals.clear()  # by a page of one of them
    assert refusals.verdict(now) is None


def test_the_watch_ends_when_the_others_were_removed_since_one_has_refused() -> None:
    route, refusals = refusing(A, B, C)
    route.learn(members("a", "b"))
    assert refuse(refusals) == A
    now = NOW
    while (asked := refusals.link.choose(now)) != A:
        refusals.link.abandon(asked, now)
        assert refusals.verdict(now) is None
        now += ATTEMPT_SECONDS
    route.learn(members("a"))
    refuse_as(A, refusals, now=now)
    assert refusals.verdict(now) == 9


def test_a_majority_ends_the_watch_once_the_others_have_failed_for_a_while() -> None:
    _, refusals = refusing(A, B, C)
    refuse(refusals, 30)
    refuse(refusals, 20)
    assert refusals.deadline(NOW) == LATER
    assert fail(refusals, NOW + 1) == C
    assert refusals.verdict(NOW + 1) is None
    assert refusals.verdict(LATER) == 20


def test_a_node_that_was_not_asked_since_may_yet_have_a_page() -> None:
    _, refusals = refusing(A, B, C, D, E)
    for expected in (A, B):
        assert refuse(refusals) == expected
    assert fail(refusals, NOW + 1) == C
    assert refuse(refusals, now=LATER + 60) == D  # long after, as nothing was received meanwhile
    assert refusals.verdict(LATER + 60) is None
    assert refusals.deadline(LATER + 60) == LATER + 60 + 2 * ATTEMPT_SECONDS
    assert {fail(refusals, LATER + 61), fail(refusals, LATER + 61)} == {C, E}
    assert refusals.verdict(LATER + 61) == 9


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_nodes_all_must_refuse(count: int) -> None:
    _, refusals = refusing(*(A, B)[:count])
    for _ in range(count):
        assert refusals.verdict(LATER) is None
        refuse(refusals)
    assert refusals.verdict(NOW) == 9


def test_a_page_clears_the_refusals() -> None:
    _, refusals = refusing(A, B, C)
    refuse(refusals)
    refuse(refusals)
    assert refusals.link.choose(NOW) == C
    refusals.clear()
    assert refusals.link.endpoint == C  # the next page comes from there, too
    refuse(refusals, now=NOW + 10)
    assert refusals.verdict(NOW + 10) is None
    refuse(refusals, now=NOW + 10)
    assert refusals.deadline(NOW + 10) == NOW + 10 + GRACE_SECONDS


def test_only_members_count_once_they_are_known() -> None:
    route, refusals = refusing(D, A)  # the first is an alias, or a node that was removed
    route.learn(members("a", "b", "c"))
    assert route.nodes == [A, B, C]
    assert refuse(refusals) == D
    assert {refuse(refusals), refuse(refusals)} < {A, B, C}
    assert refusals.verdict(NOW) is None
    refuse(refusals)
    assert refusals.verdict(NOW) == 9


def test_a_client_that_keeps_to_its_addresses_needs_refusals_of_these_only() -> None:
    route = Route([A, D], follow_leader=False)
    route.settle(b"cluster")
    refusals = Refusals(route)
    route.learn(members("a", "b", "c"))
    assert (route.all, route.nodes) == ([A, D], [A])
    assert refuse(refusals) == A
    assert refusals.verdict(NOW) == 9


def test_a_standby_node_does_not_make_a_client_forget_the_members() -> None:
    route, _ = refusing(A, D)
    route.learn(members("a", "b"))
    route.learn(Welcome(b"", b"d", "tcp://d:2"))
    assert route.nodes == [A, B]


def test_older_nodes_count_as_refusing_and_end_no_watch_alone() -> None:
    _, refusals = refusing(A, B, C)
    for _ in range(3):
        refuse(refusals, NO_HISTORY)
    assert refusals.verdict(NOW) == NO_HISTORY
    refusals.clear()
    refuse(refusals)
    for _ in range(2):
        refuse(refusals, NO_HISTORY)
    assert refusals.verdict(NOW) == 9


def test_refusals_by_nodes_that_are_no_longer_known_as_members_count() -> None:
    route, refusals = refusing(A, B, C)
    assert [refuse(refusals), refuse(refusals)] == [A, B]
    route.learn(members("b", "c"))  # by the last one, which was removed and does not know it yet
    fail(refusals, NOW)
    assert refusals.verdict(NOW) is None
    fail(refusals, LATER)
    assert refusals.verdict(LATER) == 9


@pytest.mark.parametrize("known", [True, False])
def test_a_node_that_refuses_at_two_addresses_counts_once(*, known: bool) -> None:
    """One of them may be its former one, which the members no longer know."""
    route, refusals = refusing(*(f"tcp://alias-{name}:1" for name in "abcde"))
    route.learn(members("a", "b", "c", "d", "e"))
    for node in (A, B):
        alias = node.replace("//", "//alias-")
        if known:
            route.note_member(alias, address_of(node))
        for endpoint in (alias, node):
            refusals.link.endpoint = endpoint
            refuse_as(node, refusals)
    for silent in (C, D, E):
        route.note_failure(silent, LATER)
    assert refusals.verdict(LATER) is None
