"""The command that shows how every member stands, by its own account."""

from concurrent.futures import ThreadPoolExecutor

import msgspec

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
    def role(self) -> str:
        """What the member does, in one word."""
        if self.status is None:
            return "unreachable"
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
    """Ask every member that a node knows, or the node alone where it is in no cluster yet."""
    if not answer.members:
        return [Standing(Member(answer.id, answer.address, voter=False), answer)]
    with ThreadPoolExecutor(len(answer.members)) as threads:
        return list(threads.map(lambda member: _ask(member, timeout), answer.members))


def show(standings: list[Standing]) -> None:
    """Print the members as a table."""
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    table.show(COLUMNS, [_row(standing) for standing in standings])


def summary(standings: list[Standing]) -> str:
    """Return in one line how many there are and who leads them."""
    reached = [standing for standing in standings if standing.status is not None]
    leader = leader_of(standings)
    led = "no leader is known" if leader is None else f"{leader.member.address} leads"
    return f"{len(reached)} of {len(standings)} reachable, {led}"


def leader_of(standings: list[Standing]) -> Standing | None:
    """Return the member that says it leads, in the newest term if there are several."""
    leaders = [each for each in standings if each.status and each.status.role is Role.LEADER]
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
    facts: dict[str, object] = {"id": member.id, "address": member.address, "voter": member.voter}
    if answer is None:
        return {**facts, "reachable": False}
    return {
        **facts,
        "reachable": True,
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
    with Client([member.address], timeout=timeout, follow_leader=False) as client:
        try:
            answer = client.status()
        except SkiffError:
            return Standing(member, None)
    # Another node may have taken the address of one that is gone.
    return Standing(member, answer if answer.id == member.id else None)
