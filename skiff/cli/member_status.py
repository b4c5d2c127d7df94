"""MemberStatus: the status of each member as it reports it, requested concurrently."""

import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import msgspec

from protocol.address import parse_address
from skiff.client import Client
from skiff.errors import SkiffError
from skiff.records import Member, NodeStatus, Role, Shortage

MEMBER_SECONDS = 1.0  # for a reachable member to reply

Reach: TypeAlias = Callable[[str, float], Client]
Question: TypeAlias = Callable[[str], NodeStatus | None]

SHORTAGES = {
    Shortage.NONE: "",
    Shortage.QUOTA: "quota reached",
    Shortage.LOW: "disk low",
    Shortage.CRITICAL: "disk full",
}


class MemberStatus(msgspec.Struct, frozen=True):
    """A member, or a node that answers at an address, and the status that it reports."""

    member: Member
    status: NodeStatus | None  # None without a reply from this very node
    is_foreign: bool = False  # whether a node of another cluster answers at the address
    is_member: bool = True  # False for a node at an address of no member

    @property
    def is_removed(self) -> bool:
        """Whether it is a former member."""
        return self.status is not None and self.status.removed

    @property
    def is_waiting(self) -> bool:
        """Whether it knows no members yet: it asks to join, stands by, or receives the log."""
        return self.status is not None and not (self.status.cluster_id and self.status.members)

    @property
    def is_reachable(self) -> bool:
        """Whether this very member, or a node of this cluster, replies."""
        return self.status is not None and not self.is_foreign

    @property
    def role(self) -> str:
        """The role or the condition of the member, in one word."""
        if self.status is None:
            return "unreachable"
        if self.is_foreign:
            return "foreign"
        if self.is_removed or self.is_waiting:
            return "removed" if self.is_removed else "waiting"
        if not self.member.voter and self.status.role is Role.FOLLOWER:
            return "learner"
        return str(self.status.role)

    @property
    def shortage(self) -> str:
        """The member's shortage of space as text; empty if there is none."""
        return SHORTAGES[self.status.shortage] if self.status else ""


def ask_members(
    answer: NodeStatus, reach: Reach, timeout: float, given: Iterable[str] = ()
) -> list[MemberStatus]:
    """Request the status of every member that a node knows, and of every other given address.

    The node itself is included if it is no member. An address without a reply, or another
    address of a member, is left out. ``reach`` returns a client of an address alone, given its
    timeout; ``timeout`` is in seconds.
    """
    itself = Member(answer.id, answer.address, voter=False)
    members = [member for member in answer.members if member.id != answer.id or not answer.removed]
    known = {member.id for member in members}
    alone = [] if itself.id in known else [MemberStatus(itself, answer, is_member=False)]
    ask = partial(_status, reach=reach, timeout=timeout)
    others = set(given) - {member.address for member in (*members, itself)}
    with ThreadPoolExecutor(len(members) + len(others) or 1) as threads:
        asked = threads.map(lambda member: _ask_member(member, answer, ask), members)
        found = threads.map(lambda address: _ask_other(address, answer, ask), sorted(others))
        strangers = [each for each in found if each and each.member.id not in {*known, itself.id}]
        return [*asked, *alone, *strangers]


def leader_of(standings: list[MemberStatus]) -> MemberStatus | None:
    """Return the member that reports to lead, the one of the highest term if there are several."""
    leaders = [each for each in standings if each.role == Role.LEADER]
    return max(leaders, key=lambda each: each.status.term if each.status else 0, default=None)


def has_majority(standings: list[MemberStatus]) -> bool:
    """Whether a majority of the voters answers."""
    voters = [each for each in standings if each.is_member and each.member.voter]
    return 2 * sum(each.is_reachable for each in voters) > len(voters)


def trouble(standings: list[MemberStatus]) -> str:
    """Return why the cluster does not serve or misleads its clients; empty if it is well."""
    foreign = [each.member.address for each in standings if each.is_foreign]
    if foreign:
        return f"a node of another cluster answers at {', '.join(foreign)}"
    if not any(each.is_member for each in standings):
        return "the node belongs to no cluster"
    if not has_majority(standings):
        return "no majority of the voters answers"
    return "" if leader_of(standings) else "no leader is known"


def _ask_member(member: Member, answer: NodeStatus, ask: Question) -> MemberStatus:
    status = ask(member.address)
    if status is not None and _is_foreign(status, answer):
        return MemberStatus(member, status, is_foreign=True)
    # Another node may have taken the address of a former one.
    return MemberStatus(member, status if status is not None and status.id == member.id else None)


def _ask_other(address: str, answer: NodeStatus, ask: Question) -> MemberStatus | None:
    status = ask(address)
    if status is None:
        return None
    stranger = Member(status.id, address, voter=False)
    return MemberStatus(stranger, status, is_foreign=_is_foreign(status, answer), is_member=False)


def _is_foreign(status: NodeStatus, answer: NodeStatus) -> bool:
    return None not in (status.cluster_id, answer.cluster_id) and (
        status.cluster_id != answer.cluster_id
    )


def _status(address: str, reach: Reach, timeout: float) -> NodeStatus | None:
    """Return the status of the node at an address, or None without a reply in time."""
    deadline = time.monotonic() + timeout
    if not _takes_connections(address, timeout) or (left := deadline - time.monotonic()) <= 0:
        return None
    with reach(address, left) as client:
        try:
            return client.status()
        except SkiffError:
            return None


def _takes_connections(address: str, timeout: float) -> bool:
    """Return whether the address accepts connections; else a client would use up its timeout."""
    place = parse_address(address)
    try:
        socket.create_connection((place.host, place.port), timeout).close()
    except (OSError, UnicodeError):  # no such host, or no name of one
        return False
    return True
