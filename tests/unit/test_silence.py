"""Silence: the loss of the leader is logged once, its end once, an ordinary election never."""

from protocol.membership import Membership
from protocol.messages.gateway import Leadership
from protocol.silence import QUIET_SECONDS, Silence
from protocol.status import RoleName

LEADER, CLUSTER = b"\xab" * 16, b"c" * 16


def leadership(
    leader: bytes | None, cluster: bytes = CLUSTER, *, removed: bool = False
) -> Leadership:
    return Leadership(cluster, 1, RoleName.FOLLOWER, leader, "", Membership(), removed, False)


def test_a_long_silence_is_logged_at_its_start_and_its_end() -> None:
    silence = Silence()
    silence.observe(leadership(None), 10.0)
    silence.observe(leadership(None), 11.0)
    assert silence.deadline == 10.0 + QUIET_SECONDS
    assert silence.take_notes(11.9) == []
    (lost,) = silence.take_notes(12.0)
    assert lost.startswith("no leader")
    assert silence.take_notes(100.0) == []
    silence.observe(leadership(LEADER), 110.0)
    assert silence.take_notes(110.0) == ["node abababab leads after 100 s without a leader"]
    assert silence.take_notes(200.0) == []


def test_an_ordinary_election_is_not_logged() -> None:
    silence = Silence()
    silence.observe(leadership(None), 10.0)
    silence.observe(leadership(LEADER), 10.9)
    assert silence.take_notes(100.0) == []


def test_a_node_without_a_cluster_or_removed_from_it_logs_no_silence() -> None:
    silence = Silence()
    silence.observe(leadership(None, b""), 10.0)
    assert silence.take_notes(100.0) == []
    silence.observe(leadership(None), 100.0)
    silence.take_notes(110.0)
    silence.observe(leadership(None, removed=True), 120.0)
    assert silence.take_notes(130.0) == []
