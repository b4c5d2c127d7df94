"""Health: the findings on a cluster, by the statuses of its members."""

import uuid

import pytest
from msgspec.structs import replace

from skiff import Member, NodeStatus, Role, Shortage
from skiff.cli.health import LAG_ENTRIES_MAX, SILENCE_MS_MAX, Severity, judge, worst
from skiff.cli.member_status import MemberStatus, trouble

CLUSTER, FOREIGN = uuid.UUID(int=9), uuid.UUID(int=8)
MEMBERS = tuple(Member(uuid.UUID(int=n), f"host-{n}:9400", voter=True) for n in range(1, 5))
LEADER = MEMBERS[0]


def standing(member: Member, **changes: object) -> MemberStatus:
    status = NodeStatus(
        id=member.id,
        cluster_id=CLUSTER,
        address=member.address,
        role=Role.LEADER if member is LEADER else Role.FOLLOWER,
        term=3,
        leader=LEADER.id,
        revision=7,
        last_index=5000,
        commit_index=5000,
        applied_index=5000,
        removed=False,
        members=MEMBERS,
    )
    return MemberStatus(member, replace(status, **changes))


WHOLE = [standing(each) for each in MEMBERS[:3]]


def findings(standings: list[MemberStatus], severity: Severity) -> dict[str, str]:
    return {each.check: each.message for each in judge(standings) if each.severity is severity}


def test_a_complete_cluster_is_healthy() -> None:
    assert worst(judge(WHOLE)) is Severity.OK
    assert trouble(WHOLE) == ""
    assert findings(WHOLE, Severity.OK) == {
        "majority": "3 of 3 voters answer",
        "leader": "host-1:9400 leads",
    }


def test_an_unresponsive_member_is_a_warning() -> None:
    standings = [*WHOLE[:2], MemberStatus(MEMBERS[2], None)]
    assert trouble(standings) == ""
    assert findings(standings, Severity.WARNING) == {"members": "host-3:9400 does not answer"}


def test_a_lost_majority_is_critical() -> None:
    standings = [WHOLE[0], MemberStatus(MEMBERS[1], None), MemberStatus(MEMBERS[2], None)]
    assert trouble(standings) == "no majority of the voters answers"
    critical = findings(standings, Severity.CRITICAL)
    assert critical == {"majority": "1 of 3 voters answer, which is not a majority"}


def test_a_missing_leader_is_critical() -> None:
    standings = [standing(each, role=Role.FOLLOWER, leader=None) for each in MEMBERS[:3]]
    assert trouble(standings) == "no leader is known"
    assert findings(standings, Severity.CRITICAL) == {"leader": "no leader is known"}


@pytest.mark.parametrize(("leader", "named"), [(None, "no leader"), (MEMBERS[2].id, MEMBERS[2].id)])
def test_a_member_that_does_not_follow_the_leader_is_a_warning(
    leader: uuid.UUID | None, named: object
) -> None:
    standings = [*WHOLE[:2], standing(MEMBERS[2], leader=leader)]
    assert findings(standings, Severity.WARNING) == {"leader": f"host-3:9400 follows {named}"}


def test_a_lagging_member_is_a_warning_beyond_a_bound() -> None:
    near, far = 5000 - LAG_ENTRIES_MAX, 5000 - LAG_ENTRIES_MAX - 1
    standings = [WHOLE[0], standing(MEMBERS[1], applied_index=near)]
    assert "lag" not in findings(standings, Severity.WARNING)
    standings = [WHOLE[0], standing(MEMBERS[1], applied_index=far)]
    assert findings(standings, Severity.WARNING)["lag"] == (
        f"host-2:9400 is {LAG_ENTRIES_MAX + 1} entries behind the commit index"
    )


@pytest.mark.parametrize(("number", "of"), [(0, "a majority"), (1, "a leader")])
def test_a_member_without_recent_contact_is_a_warning(number: int, of: str) -> None:
    standings = list(WHOLE)
    for silence_ms in (None, 0, SILENCE_MS_MAX):
        standings[number] = silent(WHOLE[number], silence_ms)
        assert "contact" not in findings(standings, Severity.WARNING)
    standings[number] = silent(WHOLE[number], SILENCE_MS_MAX + 1500)
    told = f"host-{number + 1}:9400 has not heard {of} for 4 s"
    assert findings(standings, Severity.WARNING)["contact"] == told


def silent(healthy: MemberStatus, silence_ms: int | None) -> MemberStatus:
    assert healthy.status is not None
    return replace(healthy, status=replace(healthy.status, silence_ms=silence_ms))


def test_an_even_number_of_voters_is_a_warning() -> None:
    standings = [standing(each) for each in MEMBERS]
    assert findings(standings, Severity.WARNING) == {
        "voters": "4 voters survive no more failures than 3"
    }


def test_learners_and_removed_nodes_are_warnings() -> None:
    learner = replace(MEMBERS[3], voter=False)
    standings = [*WHOLE, replace(standing(learner), member=learner)]
    assert findings(standings, Severity.WARNING) == {"members": "host-4:9400 has no vote yet"}
    removed = replace(standing(learner, removed=True), is_member=False)
    assert findings([*WHOLE, removed], Severity.WARNING) == {
        "members": "host-4:9400 was removed from the cluster"
    }


def test_a_foreign_node_at_a_members_address_is_critical() -> None:
    foreign = replace(standing(MEMBERS[2], cluster_id=FOREIGN), is_foreign=True)
    standings = [*WHOLE[:2], foreign]
    assert trouble(standings) == "a node of another cluster answers at host-3:9400"
    assert findings(standings, Severity.CRITICAL) == {
        "foreign": f"a node of another cluster, {FOREIGN}, answers at host-3:9400"
    }
    assert findings(standings, Severity.OK)["majority"] == "2 of 3 voters answer"


def test_a_foreign_node_at_a_given_address_is_not_counted_as_a_member() -> None:
    stranger = standing(MEMBERS[3], cluster_id=FOREIGN, role=Role.LEADER, term=99)
    standings = [*WHOLE, replace(stranger, is_foreign=True, is_member=False)]
    assert findings(standings, Severity.OK)["majority"] == "3 of 3 voters answer"
    assert findings(standings, Severity.OK)["leader"] == "host-1:9400 leads"
    assert worst(judge(standings)) is Severity.CRITICAL


def test_a_node_without_a_cluster_is_critical() -> None:
    waiting = replace(standing(LEADER, cluster_id=None, role=Role.FOLLOWER), is_member=False)
    assert trouble([waiting]) == "the node belongs to no cluster"
    assert worst(judge([waiting])) is Severity.CRITICAL


def test_one_full_disk_is_a_warning_and_a_majority_is_critical() -> None:
    full = [standing(each, shortage=Shortage.CRITICAL, free_bytes=5) for each in MEMBERS[1:3]]
    one = findings([*WHOLE[:2], full[1]], Severity.WARNING)
    assert one == {"disk space": "host-3:9400 has 5 bytes of disk space left"}
    assert "disk space" in findings([WHOLE[0], *full], Severity.CRITICAL)


def test_a_leader_at_its_quota_is_critical() -> None:
    reached = standing(LEADER, shortage=Shortage.QUOTA, state_bytes=9)
    critical = findings([reached, *WHOLE[1:]], Severity.CRITICAL)
    assert critical == {"quota": "host-1:9400 has reached its quota: 9 bytes"}
