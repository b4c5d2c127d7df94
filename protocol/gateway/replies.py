"""Replies that the gateway composes itself: greeting, status and failures."""

from msgspec.structs import replace

from protocol.config import NodeConfig
from protocol.gateway.pending import PendingRequest
from protocol.membership import Membership
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    Failed,
    FailureCode,
    NodeStatus,
    Welcome,
)
from protocol.messages.gateway import Leadership, Opened, Refused, StatusReport
from protocol.messages.replicator import AskStatus, Read
from protocol.messages.storage import ReadAt
from protocol.refusal import Refusal
from protocol.state.levels import STATE_LEVEL

NOT_PROPOSED = Failed(FailureCode.NOT_APPLIED, "no leader accepted it before the deadline")
NOT_MEMBER = Failed(FailureCode.NOT_MEMBER, "this node was removed from the cluster")
STALLED = Failed(FailureCode.STALLED, "the storage of this node does not answer")
STALLED_MEANWHILE = Failed(
    FailureCode.UNKNOWN,
    "the storage of this node does not answer; it may have been done or may yet be",
)
STORAGE_FULL = Failed(
    FailureCode.STORAGE_FULL,
    "no room: the disks of a majority are full, or the state has reached its quota",
)
REFUSALS = {
    Refusal.OVERLOADED: Failed(FailureCode.OVERLOADED, "too many proposals are uncommitted"),
    Refusal.UNKNOWN_MEMBER: Failed(FailureCode.UNKNOWN_NODE, "no member has this id"),
    Refusal.STORAGE_FULL: STORAGE_FULL,
    Refusal.LAST_VOTER: Failed(
        FailureCode.INVALID, "the last voter cannot be removed: no quorum would be left"
    ),
    Refusal.QUORUM_AT_RISK: Failed(
        FailureCode.QUORUM_AT_RISK,
        "the voters that answer would be no majority after this change, and nothing could be "
        "written any more",
    ),
    Refusal.OLD_MEMBER: Failed(
        FailureCode.UNSUPPORTED, "not every member can apply it, so that nothing was written"
    ),
    Refusal.INVALID: Failed(FailureCode.INVALID, "the leader refused it as invalid"),
}

NOT_CONFIRMED = Failed(
    FailureCode.NOT_APPLIED,
    "no leader could confirm the read before the deadline: is a majority up?",
)
NOT_REPORTED = Failed(
    FailureCode.NOT_APPLIED, "this node's actors did not report their state before the deadline"
)
EXPIRED_MEANWHILE = Failed(
    FailureCode.UNKNOWN, "the session has expired since an attempt that may have been done"
)
_NOT_KNOWN = Failed(
    FailureCode.UNKNOWN,
    "no majority confirmed it before the deadline; it may have been done or may yet be",
)


def unsupported(version: int) -> Failed:
    """Return the refusal of a request in another version of the protocol."""
    supported = f"this node supports version {CLIENT_PROTOCOL_VERSION} of the client protocol"
    return Failed(FailureCode.UNSUPPORTED, f"{supported}, not {version}")


def welcome(opened: Opened, config: NodeConfig, leadership: Leadership | None) -> Welcome:
    """Return the node's identity, the leader and the members."""
    endpoint = config.address.publish_endpoint
    if leadership is None:
        return Welcome(opened.cluster, opened.node, endpoint, level=STATE_LEVEL)
    return Welcome(
        cluster=leadership.cluster,
        node=opened.node,
        publish_endpoint=endpoint,
        leader=leadership.leader,
        leader_address=leadership.leader_address,
        membership=_membership(opened, leadership),
        level=STATE_LEVEL,
        membership_index=leadership.membership_index,
    )


def _membership(opened: Opened, leadership: Leadership) -> Membership:
    """Return the members; a removed node may not have the entry by which it was removed."""
    if not leadership.removed:
        return leadership.membership
    members = leadership.membership.members
    return Membership(tuple(each for each in members if each.id != opened.node))


def node_status(
    opened: Opened,
    config: NodeConfig,
    leadership: Leadership | None,
    report: StatusReport,
    refused_handshakes: int,
) -> NodeStatus:
    """Return the node's status: the replicator's part, storage's part and its own."""
    status = report.status
    return NodeStatus(
        cluster=opened.cluster if leadership is None else leadership.cluster,
        node=opened.node,
        address=str(config.address),
        role=status.role,
        term=status.term,
        leader=status.leader,
        last_index=status.last_index,
        commit_index=status.commit_index,
        applied_index=report.applied_index,
        revision=report.revision,
        membership=status.membership,
        removed=status.removed,
        room=report.room,
        silence_ms=status.silence_ms,
        level=status.level,
        secure=bool(config.key),
        refused_handshakes=refused_handshakes,
    )


def refused(message: Refused) -> Failed:
    """Return the failure that a leader's refusal means for a client, with its detail."""
    failed = REFUSALS[message.refusal]
    return (
        replace(failed, message=f"{failed.message}: {message.detail}") if message.detail else failed
    )


def timed_out(pending: PendingRequest, *, is_over: bool) -> Failed:
    """Return the failure of an operation whose deadline has passed.

    A request that is not over is re-sent whole for its other slots, and may yet take effect.
    """
    match pending.message:
        case Read() | ReadAt():
            return NOT_CONFIRMED
        case AskStatus():
            return NOT_REPORTED
    return NOT_PROPOSED if is_over and pending.certainly_not_done else _NOT_KNOWN
