"""Inbox of the client gateway: messages from the other actors of its node."""

import msgspec

from protocol.membership import Membership, NodeId
from protocol.refusal import Refusal
from protocol.space import Room
from protocol.state.commands import Event, Result
from protocol.state.user_commands import Role, User
from protocol.status import ReplicationStatus, RoleName


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """The data directory is open: the identity of this node."""

    node: NodeId  # its id
    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    incarnation: int  # number of this start


class Leadership(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """Cluster, term, leader and members, as far as this node knows them."""

    cluster: bytes  # id of 16 bytes; empty before the node has joined one
    term: int  # its current one
    role: RoleName  # in this term
    leader: NodeId | None  # id; None where none is known
    leader_address: str  # host:port of its gateway; empty where none is known
    membership: Membership  # last committed one that it knows
    removed: bool  # whether it knows that it was removed
    stalled: bool  # whether its storage does not answer, so that it cannot serve clients
    membership_index: int = 0  # of the entry of this membership


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """A proposal or membership change was not begun by this attempt."""

    number: int  # of the proposal or request
    refusal: Refusal  # reason
    detail: str = ""  # further explanation for people


class ReadFailed(msgspec.Struct, frozen=True, array_like=True, tag=43):
    """A read could not be confirmed by a leader."""

    number: int  # of the read


class BatchApplied(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """The results of a batch, or of a change of members, that this node's gateway proposed."""

    number: int  # of the proposal or request
    index: int  # of the entry that carried it
    results: tuple[Result, ...]  # one for each write; none for a change of members


class ReadsDone(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """The encoded outcomes of a ``ReadBatch``, for clients once it is confirmed."""

    number: int  # of the read
    outcomes: tuple[msgspec.Raw, ...]  # of its first operations; of all, if they are small
    confirmed: bool  # else ``ReadsConfirmed`` or ``ReadFailed`` follows
    # Places of those that need a revision that the state has not reached, or a right.
    behind: tuple[int, ...] = ()


class ReadsConfirmed(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """This node led after these reads arrived: clients may receive their outcomes."""

    numbers: tuple[int, ...]  # of the reads


class StatusReport(msgspec.Struct, frozen=True, array_like=True, tag=46):
    """The status of this node."""

    number: int  # of the request at the gateway
    status: ReplicationStatus  # the replicator's part
    applied_index: int  # of the last entry applied to the tables
    revision: int  # of the tables
    room: Room = Room()  # of disk and quota


class Changes(msgspec.Struct, frozen=True, array_like=True, tag=47):
    """Changes that this node has applied."""

    events: tuple[Event, ...]  # in order of revision


class Following(msgspec.Struct, frozen=True, array_like=True, tag=48):
    """Every change after this revision is sent."""

    nonce: bytes  # that of ``FollowChanges``
    revision: int  # after which every change is sent


class ChangesLost(msgspec.Struct, frozen=True, array_like=True, tag=49):
    """A snapshot replaced entries: their changes are not published."""

    revision: int  # of the tables in the snapshot


class HandshakesRefused(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """The peer port has refused connections."""

    count: int  # since the start
    hosts: dict[str, int]  # that were refused since the last message, with their numbers


class RightsUpdate(msgspec.Struct, frozen=True, array_like=True, tag=52):
    """All users and roles, at the start and whenever they have changed."""

    users: tuple[User, ...]  # in any order
    roles: tuple[Role, ...]  # in any order, without the built-in one


GatewayMessage = (
    Opened
    | Leadership
    | Refused
    | ReadFailed
    | BatchApplied
    | ReadsDone
    | ReadsConfirmed
    | StatusReport
    | Changes
    | Following
    | ChangesLost
    | HandshakesRefused
    | RightsUpdate
)
