"""Naming: a member by its id, a prefix of its id, or its address."""

import uuid

import pytest

from skiff import InvalidRequest, Member, PeerNotFound
from skiff.naming import find_member, whole_id

FIRST = Member(uuid.UUID("aabbccdd-0000-4000-8000-000000000001"), "host-1:9400", voter=True)
TWIN = Member(uuid.UUID("aabbccdd-0000-4000-8000-000000000002"), "host-2:9400", voter=True)
OTHER = Member(uuid.UUID("0123456789abcdef0123456789abcdef"), "cafe:9500", voter=False)
MEMBERS = (FIRST, TWIN, OTHER)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("0123", OTHER),
        ("01234567-89AB", OTHER),
        ("aabbccdd-0000-4000-8000-000000000001", FIRST),
        ("host-2:9400", TWIN),
        ("host-2", TWIN),  # the default port
        ("cafe:9500", OTHER),
    ],
)
def test_a_member_is_found_by_id_prefix_or_address(text: str, member: Member) -> None:
    assert find_member(text, MEMBERS) == member


def test_an_ambiguous_prefix_is_refused_with_all_matching_ids() -> None:
    with pytest.raises(InvalidRequest, match=f"'aabb' may mean any of {FIRST.id}, {TWIN.id}"):
        find_member("aabb", MEMBERS)


def test_a_short_prefix_is_refused_even_if_it_is_unique() -> None:
    with pytest.raises(InvalidRequest, match="'012' is too short"):
        find_member("012", MEMBERS)


@pytest.mark.parametrize("text", ["ffff", "host-3", "host-1:9401", "cafe"])
def test_an_unknown_member_is_not_found(text: str) -> None:
    with pytest.raises(PeerNotFound, match="no member has the id or the address"):
        find_member(text, MEMBERS)


@pytest.mark.parametrize("text", ["", "no one", "host:port"])
def test_text_that_is_neither_an_id_nor_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is neither a node id nor an address"):
        find_member(text, MEMBERS)


def test_a_whole_id_needs_no_list_of_members() -> None:
    assert whole_id(FIRST.id) == whole_id(FIRST.id.hex) == whole_id(str(FIRST.id)) == FIRST.id
    assert whole_id("aabb") is None
