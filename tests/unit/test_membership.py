"""Membership: members, voters and majorities."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.membership import Member, Membership, is_majority, majority_index

VOTER = Member(b"b", "b.example:9400", voter=True)
LEARNER = Member(b"a", "a.example:9400", voter=False)
BOTH = Membership((LEARNER, VOTER))


@pytest.mark.parametrize(
    ("voters", "smallest"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)]
)
def test_a_majority_is_more_than_half(voters: int, smallest: int) -> None:
    assert is_majority(smallest, voters)
    assert not is_majority(smallest - 1, voters)


def test_zero_of_zero_voters_is_no_majority() -> None:
    assert not is_majority(0, 0)


@given(st.integers(1, 9))
def test_two_majorities_always_share_a_voter(voters: int) -> None:
    sizes = [size for size in range(voters + 1) if is_majority(size, voters)]
    assert 2 * min(sizes) > voters


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9))
def test_the_majority_index_is_the_highest_that_a_majority_holds(held: list[int]) -> None:
    index = majority_index(held)
    assert is_majority(sum(each >= index for each in held), len(held))
    assert not is_majority(sum(each > index for each in held), len(held))


def test_majorities_before_and_after_one_change_share_a_voter() -> None:
    before = frozenset(range(4))
    for after in [before | {4}, before - {0}]:
        for one in combinations(sorted(before), len(before) // 2 + 1):
            for other in combinations(sorted(after), len(after) // 2 + 1):
                assert set(one) & set(other)


def test_a_learner_is_a_member_without_a_vote() -> None:
    assert BOTH.voters == {b"b"}
    assert BOTH.get(b"a") == LEARNER
    assert not BOTH.is_voter(b"a")
    assert BOTH.is_voter(b"b")
    assert not BOTH.is_voter(b"c")


def test_members_are_found_by_id_and_by_address() -> None:
    assert BOTH.at("b.example:9400") == VOTER
    assert BOTH.at("c.example:9400") is None
    assert BOTH.get(b"c") is None


def test_members_are_ordered_by_id() -> None:
    assert Membership().with_member(VOTER).with_member(LEARNER) == BOTH
    assert Membership().with_member(LEARNER).with_member(VOTER) == BOTH


def test_a_changed_member_replaces_itself() -> None:
    promoted = Member(b"a", "elsewhere:9400", voter=True)
    assert BOTH.with_member(promoted).members == (promoted, VOTER)


def test_removing_a_member_keeps_the_others() -> None:
    assert BOTH.without(b"a").members == (VOTER,)
    assert BOTH.without(b"c") == BOTH
