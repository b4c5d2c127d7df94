"""Administration: the methods on members and leadership, as generators; see ``method``."""

import uuid

from protocol.messages.client import AddNode, RemoveNode, Status, TransferLeadership, Transferred
from protocol.messages.client import NodeStatus as WireStatus
from skiff.addresses import normal
from skiff.arguments import check_bool
from skiff.method import Idempotent, Method
from skiff.naming import find_member, whole_id
from skiff.outcomes import expect, status_of
from skiff.records import NodeStatus


def status() -> Method[NodeStatus]:
    """Return the status of the node that answers."""
    return status_of(expect((yield Idempotent(Status())), WireStatus))


def add_member(address: str) -> Method[None]:
    """Add a standby node to the cluster."""
    normal(address)
    yield Idempotent(AddNode(address), writes=True)


def remove_node(node: uuid.UUID | str, *, force: bool) -> Method[uuid.UUID]:
    """Remove a node from the cluster; return its id."""
    check_bool("force", force)
    id_ = yield from _node_id(node)
    yield Idempotent(RemoveNode(id_.bytes, force), writes=True)
    return id_


def transfer_leadership(to: uuid.UUID | str | None) -> Method[uuid.UUID]:
    """Make a voter the leader, or any other than the current one; return the leader's id."""
    chosen = b"" if to is None else (yield from _node_id(to)).bytes
    outcome = yield Idempotent(TransferLeadership(chosen), writes=True)
    return uuid.UUID(bytes=expect(outcome, Transferred).leader)


def _node_id(node: uuid.UUID | str) -> Method[uuid.UUID]:
    """Return a member's id; reads the members only if ``node`` is not a full id."""
    whole = whole_id(node)
    if whole is not None:
        return whole
    members = (yield from status()).members
    return find_member(str(node), members).id
