"""Handlers: every message that can reach the Raft core has a handler in every role."""

from typing import get_args

import pytest

from protocol.messages import peer, replicator
from protocol.messages.replicator import InviteMember, Recovered
from protocol.raft.handlers import ACTOR_HANDLERS, ACTOR_RULES, PEER_HANDLERS, PEER_RULES, Ignored
from protocol.raft.roles import Role
from tests.harness.raft_cluster import A, B, led_by

ROLES = get_args(Role)
STOPS_AT_THE_SHELL = {
    Recovered: "the core begins with it",
    InviteMember: "the shell sends the invitation",
}


def test_every_message_of_a_peer_is_handled_or_ignored_in_every_role() -> None:
    expected = {(role, each) for role in ROLES for each in get_args(peer.PeerMessage)}
    assert expected == PEER_HANDLERS.keys()


def test_every_message_of_an_actor_is_handled_or_ignored_in_every_role() -> None:
    messages = set(get_args(replicator.ReplicatorMessage)) - STOPS_AT_THE_SHELL.keys()
    assert {(role, each) for role in ROLES for each in messages} == ACTOR_HANDLERS.keys()


def test_no_message_has_two_rules() -> None:
    messages = [rule.message for rule in (*PEER_RULES, *ACTOR_RULES)]
    assert len(messages) == len(set(messages))


def test_every_ignored_message_has_a_reason() -> None:
    handlers: list[object] = [*PEER_HANDLERS.values(), *ACTOR_HANDLERS.values()]
    ignored = [handler for handler in handlers if isinstance(handler, Ignored)]
    assert ignored
    assert all(" " in each.reason for each in ignored)


def test_an_ignored_message_changes_nothing() -> None:
    cluster = led_by(A, B)
    cluster.step(B, replicator.HeartbeatDue())
    assert cluster.sent() == []


def test_a_message_without_a_rule_is_a_programming_error() -> None:
    cluster = led_by(A, B)
    with pytest.raises(KeyError):
        cluster[A].core.step(InviteMember("c.example:9400"))
