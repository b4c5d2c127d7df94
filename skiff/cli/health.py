"""Health: the command that checks a cluster and prints its findings, for probes and people."""

from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec
import typer

from skiff.cli import output
from skiff.cli.failures import ExitCode
from skiff.cli.member_status import MemberStatus, has_majority, leader_of
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url
from skiff.cli.status import survey
from skiff.client import DEFAULT_TIMEOUT
from skiff.errors import ClientConnectFailed, NoNodeReached, RequestTimeout
from skiff.records import Role, Shortage

SILENCE_MS_MAX = 3000  # since the last contact; above it is a finding
LAG_ENTRIES_MAX = 1000  # behind the commit index; above it is a finding


class Severity(StrEnum):
    """Severity of a finding; the worst one decides the exit code."""

    OK = "ok"
    WARNING = "warning"  # the cluster serves, and needs attention
    CRITICAL = "critical"  # the cluster does not serve, or misleads its clients


EXIT_CODES = {
    Severity.OK: ExitCode.OK,
    Severity.WARNING: ExitCode.ERROR,
    Severity.CRITICAL: ExitCode.UNAVAILABLE,
}


class Finding(msgspec.Struct, frozen=True):
    """A finding of one check."""

    check: str  # name of the check
    severity: Severity
    message: str
    address: str | None = None  # of the member concerned; None for the cluster


def health(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Check the cluster: majority, leader, contact, lag, members, foreign nodes, disks, quota.

    Prints one finding on each line, with its severity first. The exit code is 0 if there are
    none, 1 if there are warnings, and 5 if the cluster does not serve or a node of another
    cluster answers at one of its addresses.
    """
    try:
        findings = judge(survey(url, timeout))
    except (NoNodeReached, RequestTimeout, ClientConnectFailed) as error:
        findings = [Finding("majority", Severity.CRITICAL, str(error))]
    if as_json:
        output.json({"severity": worst(findings), "findings": findings})
    else:
        for finding in findings:
            output.line(f"{finding.severity}: {finding.message}")
    raise typer.Exit(EXIT_CODES[worst(findings)])


def judge(standings: list[MemberStatus]) -> list[Finding]:
    """Return the findings on a cluster whose members have these statuses."""
    return [finding for check in CHECKS for finding in check(standings)]


def worst(findings: list[Finding]) -> Severity:
    """Return the severity of the worst finding."""
    found = {finding.severity for finding in findings}
    return next(each for each in reversed(Severity) if each in found or each is Severity.OK)


def _check_majority(standings: list[MemberStatus]) -> Iterator[Finding]:
    voters = _voters(standings)
    reached = sum(each.is_reachable for each in voters)
    summary = f"{reached} of {len(voters)} voters answer"
    if not has_majority(standings):
        yield Finding("majority", Severity.CRITICAL, f"{summary}, which is not a majority")
    else:
        yield Finding("majority", Severity.OK, summary)


def _check_leader(standings: list[MemberStatus]) -> Iterator[Finding]:
    leader = leader_of(standings)
    if leader is None:
        yield Finding("leader", Severity.CRITICAL, "no leader is known")
        return
    yield Finding("leader", Severity.OK, f"{leader.member.address} leads", leader.member.address)
    for each in _answering_members(standings):
        if each.status is not None and each.status.leader != leader.member.id:
            named = each.status.leader or "no leader"
            message = f"{each.member.address} follows {named}"
            yield Finding("leader", Severity.WARNING, message, each.member.address)


def _check_lag(standings: list[MemberStatus]) -> Iterator[Finding]:
    members = _answering_members(standings)
    committed = max((each.status.commit_index for each in members if each.status), default=0)
    for each in members:
        behind = committed - each.status.applied_index if each.status else 0
        if behind > LAG_ENTRIES_MAX:
            message = f"{each.member.address} is {behind} entries behind the commit index"
            yield Finding("lag", Severity.WARNING, message, each.member.address)


def _check_contact(standings: list[MemberStatus]) -> Iterator[Finding]:
    """Find members without a recent message from the leader, or from a majority."""
    for each in _answering_members(standings):
        silence_ms = each.status.silence_ms if each.status else None
        if silence_ms is not None and silence_ms > SILENCE_MS_MAX:
            seconds = f"{silence_ms / 1000:.0f} s"
            of = "a majority" if each.role == Role.LEADER else "a leader"
            message = f"{each.member.address} has not heard {of} for {seconds}"
            yield Finding("contact", Severity.WARNING, message, each.member.address)


def _check_members(standings: list[MemberStatus]) -> Iterator[Finding]:
    """Find members that are down, do not vote or were removed."""
    reasons = {
        "unreachable": "does not answer",
        "learner": "has no vote yet",
        "waiting": "belongs to no cluster yet",
        "removed": "was removed from the cluster",
    }
    for each in standings:
        if each.role in reasons:
            message = f"{each.member.address} {reasons[each.role]}"
            yield Finding("members", Severity.WARNING, message, each.member.address)


def _check_voters(standings: list[MemberStatus]) -> Iterator[Finding]:
    count = len(_voters(standings))
    if count and count % 2 == 0:
        message = f"{count} voters survive no more failures than {count - 1}"
        yield Finding("voters", Severity.WARNING, message)


def _check_foreign(standings: list[MemberStatus]) -> Iterator[Finding]:
    for each in standings:
        if each.is_foreign and each.status is not None:
            at = each.member.address
            message = f"a node of another cluster, {each.status.cluster_id}, answers at {at}"
            yield Finding("foreign", Severity.CRITICAL, message, at)


def _check_space(standings: list[MemberStatus]) -> Iterator[Finding]:
    """Find full disks and quotas; critical if a majority of the voters has no room."""
    short = [each for each in _answering_members(standings) if _lacks_disk(each)]
    voters = _voters(standings)
    is_majority_short = 2 * sum(each in short for each in voters) >= len(voters) > 0
    severity = Severity.CRITICAL if is_majority_short else Severity.WARNING
    for each in short:
        free = each.status.free_bytes if each.status else 0
        message = f"{each.member.address} has {max(free, 0)} bytes of disk space left"
        yield Finding("disk space", severity, message, each.member.address)


def _check_quota(standings: list[MemberStatus]) -> Iterator[Finding]:
    leader = leader_of(standings)
    for each in _answering_members(standings):
        if each.status is not None and each.status.shortage is Shortage.QUOTA:
            severity = Severity.CRITICAL if each is leader else Severity.WARNING
            message = (
                f"{each.member.address} has reached its quota: {each.status.state_bytes} bytes"
            )
            yield Finding("quota", severity, message, each.member.address)


def _lacks_disk(standing: MemberStatus) -> bool:
    status = standing.status
    return status is not None and status.shortage in (Shortage.LOW, Shortage.CRITICAL)


# In the order of output; a check of a further status field goes here.
CHECKS: tuple[Callable[[list[MemberStatus]], Iterator[Finding]], ...] = (
    _check_majority,
    _check_leader,
    _check_contact,
    _check_foreign,
    _check_members,
    _check_lag,
    _check_space,
    _check_quota,
    _check_voters,
)


def _voters(standings: list[MemberStatus]) -> list[MemberStatus]:
    return [each for each in standings if each.is_member and each.member.voter]


def _answering_members(standings: list[MemberStatus]) -> list[MemberStatus]:
    return [each for each in standings if each.is_member and each.is_reachable]
