"""Status: the command that shows the status of every member."""

from skiff.addresses import addresses_of, moved_to
from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.member_status import MEMBER_SECONDS, MemberStatus, ask_members, leader_of, trouble
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT, Client

COLUMNS = ("id", "address", "role", "term", "revision", "level", "keys")


def status(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Show the status of every member of the cluster, as the member reports it.

    The exit code is 5 if no leader is known, no majority of the voters answers, or a node of
    another cluster answers at one of the addresses.
    """
    standings = survey(url, timeout)
    if as_json:
        output.json(report(standings))
    else:
        show(standings)
        output.line(summary(standings))
    if reason := trouble(standings):
        raise CommandFailed(reason, ExitCode.UNAVAILABLE)


def survey(url: str, timeout: float) -> list[MemberStatus]:
    """Request the members from a node, then the status of each member and given address."""
    with connect(url, timeout) as client:
        answer = client.status()

    def reach(address: str, seconds: float) -> Client:
        return Client(moved_to(url, address), timeout=seconds, follow_leader=False)

    return ask_members(answer, reach, min(timeout, MEMBER_SECONDS), addresses_of(url))


def show(standings: list[MemberStatus]) -> None:
    """Print the members as a table."""
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    table.show(COLUMNS, [_row(standing) for standing in standings])


def summary(standings: list[MemberStatus]) -> str:
    """Return a one-line summary: reachable members, leader, level, removed and foreign nodes."""
    if all(standing.is_waiting for standing in standings):
        return "in no cluster yet: waits to join, or for 'skiff member add'"
    members = [each for each in standings if each.is_member and not each.is_removed]
    reached = [standing for standing in members if standing.is_reachable]
    leader = leader_of(standings)
    led = "no leader is known" if leader is None else f"{leader.member.address} leads"
    level = cluster_level(standings)
    levelled = "" if level is None else f", level {level}"
    removed = [f", {each.member.address} was removed" for each in standings if each.is_removed]
    foreign = [
        f", foreign cluster at {each.member.address}" for each in standings if each.is_foreign
    ]
    short = [f", {each.shortage} at {each.member.address}" for each in members if each.shortage]
    others = "".join([*removed, *foreign, *short])
    return f"{len(reached)} of {len(members)} reachable, {led}{levelled}{others}"


def report(standings: list[MemberStatus]) -> dict[str, object]:
    """Return all statuses as an object for JSON."""
    leader = leader_of(standings)
    own = {each.status.cluster_id for each in standings if each.status and not each.is_foreign}
    return {
        "cluster_id": next(iter(own - {None}), None),
        "leader": leader.member.id if leader else None,
        "level": cluster_level(standings),
        "members": [_facts(standing) for standing in standings],
    }


def cluster_level(standings: list[MemberStatus]) -> int | None:
    """Return the level of commands that all members can apply, None if no member tells.

    It never falls: the highest that any member knows is the latest.
    """
    own = [each.status for each in standings if each.status and not each.is_foreign]
    return max((each.cluster_level for each in own if each.cluster_level), default=None)


def _facts(standing: MemberStatus) -> dict[str, object]:
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
        "cluster_id": answer.cluster_id,
        "role": answer.role,
        "term": answer.term,
        "leader": answer.leader,
        "revision": answer.revision,
        "last_index": answer.last_index,
        "commit_index": answer.commit_index,
        "applied_index": answer.applied_index,
        "silence_ms": answer.silence_ms,
        "free_bytes": answer.free_bytes,
        "state_bytes": answer.state_bytes,
        "shortage": answer.shortage,
        "level": answer.level,
        "secure": answer.secure,
        "refused_handshakes": answer.refused_handshakes,
    }


def _row(standing: MemberStatus) -> tuple[str, ...]:
    member, answer = standing.member, standing.status
    numbers: tuple[object, ...] = ("-",) * 4
    if answer is not None:
        secured = "yes" if answer.secure else "no"
        numbers = (answer.term, answer.revision, answer.level or "-", secured)
    role = ", ".join(filter(None, [standing.role, standing.shortage]))
    return (str(member.id), member.address, role, *map(str, numbers))
