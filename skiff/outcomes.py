"""Outcomes of a request: the result, or the error that a node's refusal stands for."""

import uuid
from typing import NoReturn, TypeVar

from protocol.membership import Membership
from protocol.messages.client import Failed, FailureCode, Outcome
from protocol.messages.client import NodeStatus as WireStatus
from protocol.state.commands import Inapplicable, NoLease, Obstacle
from protocol.state.commands import RevisionMismatch as Mismatch
from protocol.state.key_leases import LEASE_KEYS_MAX, LEASES_MAX
from protocol.state.limits import READ_BYTES_MAX, REMOVED_MAX
from protocol.state.user_commands import PREFIX_RIGHTS, Denied
from skiff.errors import (
    ClientConnectFailed,
    CounterOverflow,
    Fenced,
    InvalidRequest,
    LeaseExpired,
    LeaseNotFound,
    NotInteger,
    OutcomeUnknown,
    Overloaded,
    PeerConnectFailed,
    PeerNotFound,
    PermissionDenied,
    RequestTimeout,
    RevisionMismatch,
    RPCCallFailed,
    SkiffError,
    StorageFull,
    StreamClosed,
    TooManyLeases,
    UnsafeMembershipChange,
    Unsupported,
)
from skiff.records import Member, NodeStatus, Role, Shortage

OutcomeT = TypeVar("OutcomeT")

OBSTACLES: dict[Obstacle, tuple[type[SkiffError], str]] = {
    Obstacle.NOT_INTEGER: (NotInteger, "does not hold a 64-bit integer"),
    Obstacle.OUT_OF_RANGE: (CounterOverflow, "would be outside of -2**63 to 2**63 - 1"),
    Obstacle.TOO_MANY_KEYS: (
        InvalidRequest,
        f"is the prefix of more keys than one change may remove, {REMOVED_MAX}",
    ),
    Obstacle.TOO_LARGE: (
        InvalidRequest,
        f"exceeds the {READ_BYTES_MAX} bytes of values that one transaction may read",
    ),
    Obstacle.TOO_MANY_LEASES: (TooManyLeases, f"the cluster has {LEASES_MAX} leases already"),
    Obstacle.LEASE_FULL: (
        InvalidRequest,
        f"is a lease with {LEASE_KEYS_MAX} keys, which is the limit",
    ),
    Obstacle.FENCED: (Fenced, "is no longer held with this token"),
}

ERRORS: dict[FailureCode, type[SkiffError]] = {
    FailureCode.INVALID: InvalidRequest,
    FailureCode.NOT_APPLIED: RequestTimeout,
    FailureCode.UNKNOWN: OutcomeUnknown,
    FailureCode.NOT_MEMBER: ClientConnectFailed,
    FailureCode.UNKNOWN_NODE: PeerNotFound,
    FailureCode.UNSUPPORTED: Unsupported,
    FailureCode.NO_STANDBY: PeerConnectFailed,
    FailureCode.STALLED: RequestTimeout,
    FailureCode.TOO_LARGE: InvalidRequest,
    FailureCode.STORAGE_FULL: StorageFull,
    FailureCode.QUORUM_AT_RISK: UnsafeMembershipChange,
    FailureCode.VIEW_GONE: StreamClosed,
}


def raise_failure(failed: Failed, *, maybe_done: bool) -> NoReturn:
    """Raise the error for a refusal; ``maybe_done`` if an earlier attempt may have been done."""
    if maybe_done and failed.code is not FailureCode.QUORUM_AT_RISK:
        raise OutcomeUnknown(f"{failed.message}; an earlier attempt got no reply")
    if failed.code is FailureCode.OVERLOADED:
        raise Overloaded(failed.message, failed.retry_after_ms / 1000)
    raise ERRORS[failed.code](failed.message)


def denial_of(denied: Denied, *, maybe_done: bool) -> SkiffError:
    """Return the error for a right that is missing.

    ``maybe_done`` if an earlier attempt may have been done, before the right was revoked.
    """
    if maybe_done:
        return OutcomeUnknown("the right is missing now; an earlier attempt got no reply")
    if denied.right is None:
        text = "the user of this key was removed, or is unknown"
        return PermissionDenied(text, None, denied.place)
    name = denied.right.name.lower()
    if denied.right not in PREFIX_RIGHTS:
        return PermissionDenied(f"the right {name!r} is missing", name, "")
    place = repr(denied.place) if denied.place else "all keys"
    return PermissionDenied(f"the right {name!r} on {place} is missing", name, denied.place)


def matching(key: str, required: int | None, result: OutcomeT) -> OutcomeT:
    """Return a result other than a revision mismatch.

    Raises:
        RevisionMismatch: the key has another revision than required.
    """
    if isinstance(result, Mismatch):
        state = f"has revision {result.current}" if result.current else "is absent"
        wanted = f"revision {required}" if required else "absence"
        raise RevisionMismatch(
            f"{key!r} {state}, and {wanted} was required; nothing was written", result.current
        )
    return result


def applied(result: OutcomeT) -> OutcomeT:
    """Return a result other than that the command cannot be applied.

    Raises:
        NotInteger: a value to increment is not a 64-bit integer.
        CounterOverflow: a sum would be outside of -2**63 to 2**63 - 1.
        InvalidRequest: too many keys are removed or attached to a lease, or too much is read.
        LeaseExpired: a lease has ended.
        LeaseNotFound: a lease was never granted.
        TooManyLeases: there are as many leases as there may be.
        Fenced: the holder that a fence names holds no longer.
    """
    if isinstance(result, NoLease):
        if result.has_ended:
            raise LeaseExpired(f"lease {result.lease} has ended; nothing was written")
        raise LeaseNotFound(f"lease {result.lease} was never granted; nothing was written")
    if isinstance(result, Inapplicable):
        error, reason = OBSTACLES[result.obstacle]
        subject = f"{result.detail!r} " if result.detail else ""
        raise error(f"{subject}{reason}; nothing was written")
    return result


def expect(outcome: Outcome, kind: type[OutcomeT]) -> OutcomeT:
    """Return an outcome of the expected type.

    Raises:
        RPCCallFailed: it has another type.
    """
    if not isinstance(outcome, kind):
        raise RPCCallFailed(f"expected a reply of type {kind.__name__}, not {outcome!r}")
    return outcome


def status_of(status: WireStatus) -> NodeStatus:
    """Return the public form of a node's status."""
    return NodeStatus(
        id=uuid.UUID(bytes=status.node),
        cluster_id=uuid.UUID(bytes=status.cluster) if status.cluster else None,
        address=status.address,
        role=Role(status.role.name.lower()),
        term=status.term,
        leader=uuid.UUID(bytes=status.leader) if status.leader else None,
        revision=status.revision,
        last_index=status.last_index,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        removed=status.removed,
        members=members_of(status.membership),
        free_bytes=status.room.free_bytes,
        state_bytes=status.room.state_bytes,
        shortage=Shortage(status.room.shortage.name.lower()),
        silence_ms=status.silence_ms,
        level=status.level or None,
        cluster_level=status.membership.level if status.membership.members else None,
        secure=status.secure,
        refused_handshakes=status.refused_handshakes,
    )


def members_of(membership: Membership) -> tuple[Member, ...]:
    """Return the public form of a membership."""
    return tuple(
        Member(uuid.UUID(bytes=member.id), member.address, member.voter, member.level)
        for member in membership.members
    )
