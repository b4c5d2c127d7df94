"""The command that shows how every member stands, by its own account."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from protocol.address import parse_address
from skiff.cli import output
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.errors import SkiffError
from skiff.records import Member, NodeStatus, Role

MEMBER_SECONDS = 1.0  # within which a member must answer to count as reachable
COLUMNS = ("id", "address", "role", "term", "revision")


class Standing(msgspec.Struct, frozen=True):
    """A member and what it says of itself, None if it says nothing."""

    member: Member
    status: NodeStatus | None

    @property
    def is_removed(self) -> bool:
        """Whether it was a member and is none any more."""
        return self.status is not None and self.status.removed

    @property
    def is_waiting(self) -> bool:
        """Whether it has never been in a cluster: it asks to join, or stands by."""
        return self.status is not None and self.status.cluster_id is None

    @property
    def role(self) -> str:
        """What the member does, in one word."""
        if self.status is None:
            return "unreachable"
        if self.is_removed or self.is_waiting:
            return "removed" if self.is_removed else "waiting"
        if not self.member.voter and self.status.role is Role.FOLLOWER:
            return "learner"
        return str(self.status.role)


def status(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Show every member of the cluster, by its own account."""
    with connect(url, timeout) as client:
        answer = client.status()
    standings = ask_members(answer, min(timeout, MEMBER_SECONDS))
    if as_json:
        output.json(report(standings))
        return
    show(standings)
    output.line(summary(standings))


def ask_members(answer: NodeStatus, timeout: float) -> list[Standing]:
    """Ask every member that a node knows; add the node itself where it is no member."""
    itself = Member(answer.id, answer.address, voter=False)
    others = [member for member in answer.members if member.id != answer.id or not answer.removed]
    alone = [] if itself.id in {member.id for member in others} else [Standing(itself, answer)]
    with ThreadPoolExecutor(len(others) or 1) as threads:
        return [*threads.map(lambda member: _ask(member, timeout), others), *alone]


def show(standings: list[Standing]) -> None:
    """Print the members as a table."""
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    table.show(COLUMNS, [_row(standing) for standing in standings])


def summary(standings: list[Standing]) -> str:
    """Return in one line how many members there are and who leads them, and who is none."""
    if all(standing.is_waiting for standing in standings):
        return "in no cluster yet: waits to join, or for 'skiff member add'"
    members = [standing for standing in standings if not standing.is_removed]
    reached = [standing for standing in members if standing.status is not None]
    leader = leader_of(standings)
    led = "no leader is known" if leader is None else f"{leader.member.address} leads"
    removed = [f", {each.member.address} was removed" for each in standings if each.is_removed]
    return f"{len(reached)} of {len(members)} reachable, {led}{''.join(removed)}"


def leader_of(standings: list[Standing]) -> Standing | None:
    """Return the member that says it leads, in the newest term if there are several."""
    leaders = [each for each in standings if each.role == Role.LEADER]
    return max(leaders, key=lambda each: each.status.term if each.status else 0, default=None)


def report(standings: list[Standing]) -> dict[str, object]:
    """Return all that is known, for programs."""
    leader = leader_of(standings)
    clusters = {each.status.cluster_id for each in standings if each.status} - {None}
    return {
        "cluster_id": next(iter(clusters), None),
        "leader": leader.member.id if leader else None,
        "members": [_facts(standing) for standing in standings],
    }


def _facts(standing: Standing) -> dict[str, object]:
    member, answer = standing.member, standing.status
    facts: dict[str, object] = {
        "id": member.id,
        "address": member.address,
        "voter": member.voter,
        "standing": standing.role,
        "reachable": answer is not None,
    }
    if answer is None:
        return facts
    return {
        **facts,
        "role": answer.role,
        "term": answer.term,
        "leader": answer.leader,
        "revision": answer.revision,
        "last_index": answer.last_index,
        "commit_index": answer.commit_index,
        "applied_index": answer.applied_index,
    }


def _row(standing: Standing) -> tuple[str, ...]:
    member, answer = standing.member, standing.status
    numbers = (answer.term, answer.revision) if answer else ("-", "-")
    return (str(member.id), member.address, standing.role, *map(str, numbers))


def _ask(member: Member, timeout: float) -> Standing:
    deadline = time.monotonic() + timeout
    if not _takes_connections(member, timeout) or (left := deadline - time.monotonic()) <= 0:
        return Standing(member, None)
    with Client([member.address], timeout=left, follow_leader=False) as client:
        try:
            answer = client.status()
        except SkiffError:
            return Standing(member, None)
    # Another node may have taken the address of one that is gone.
    return Standing(member, answer if answer.id == member.id else None)


def _takes_connections(member: Member, timeout: float) -> bool:
    """Whether somebody listens there: else a client would ask again until its time is over."""
    address = parse_address(member.address)
    try:
        socket.create_connection((address.host, address.port), timeout).close()
    except OSError:
        return False
    return True
