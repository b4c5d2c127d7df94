"""Membership: the members of the cluster, its voters and majorities."""

from functools import cached_property

import msgspec

from protocol.ranges import LEVEL_MIN, AddressText, Id, Index, Level

NodeId = Id


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One node of the cluster; a learner receives the log but does not vote yet."""

    id: NodeId  # UUID of the node, 16 bytes
    address: AddressText  # host:port of its gateway; peers use the second port after it
    voter: bool  # else a learner
    level: Level = LEVEL_MIN  # of the commands that it can apply, as last recorded


class Membership(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """All members, in the order of their ids."""

    members: tuple[Member, ...] = ()  # sorted by id

    def get(self, node: NodeId) -> Member | None:
        """Return the member with this id."""
        return self._by_id.get(node)

    def at(self, address: str) -> Member | None:
        """Return the member with this address."""
        return next((member for member in self.members if member.address == address), None)

    @cached_property
    def _by_id(self) -> dict[NodeId, Member]:
        return {member.id: member for member in self.members}

    @cached_property
    def voters(self) -> frozenset[NodeId]:
        """Ids of the voters, of which a majority elects and commits."""
        return frozenset(member.id for member in self.members if member.voter)

    @cached_property
    def level(self) -> int:
        """The lowest level of any member: all can apply the commands up to it."""
        return min((member.level for member in self.members), default=LEVEL_MIN)

    @property
    def is_sound(self) -> bool:
        """Whether there is a voter, and no id is used twice."""
        return bool(self.voters) and len(self._by_id) == len(self.members)

    @property
    def learners(self) -> tuple[Member, ...]:
        """The members that do not vote yet."""
        return tuple(member for member in self.members if not member.voter)

    def is_voter(self, node: NodeId) -> bool:
        """Whether this node is a voter."""
        member = self.get(node)
        return member is not None and member.voter

    def with_member(self, member: Member) -> "Membership":
        """Return the membership with this member added, or replaced if its id is present."""
        others = [other for other in self.members if other.id != member.id]
        return Membership(tuple(sorted([*others, member], key=lambda each: each.id)))

    def without(self, node: NodeId) -> "Membership":
        """Return the membership without this node."""
        return Membership(tuple(member for member in self.members if member.id != node))


class MembershipAt(msgspec.Struct, frozen=True, array_like=True):
    """A membership and the index of its log entry."""

    index: Index  # of the entry
    membership: Membership  # in force from the entry on


def after_snapshot(
    known: tuple[MembershipAt, ...], installed: MembershipAt, kept_after: int | None
) -> tuple[MembershipAt, ...]:
    """Return the memberships that remain after a snapshot and the entries kept after it."""
    if kept_after is None:
        return (installed,)
    return (installed, *[each for each in known if each.index > kept_after])


def is_majority(nodes: int, voters: int) -> bool:
    """Whether ``nodes`` of ``voters`` are a majority."""
    return nodes * 2 > voters


def majority_index(match_indexes: list[int]) -> int:
    """Return the highest index that a majority of the voters holds (Raft §5.3)."""
    return sorted(match_indexes, reverse=True)[len(match_indexes) // 2]
