"""Membership changes: one node at a time is added, promoted or removed (dissertation §4)."""

from msgspec.structs import replace

from protocol.address import InvalidAddressText, parse_address
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.membership import Member, Membership, NodeId
from protocol.messages.gateway import Refused
from protocol.messages.peer import (
    ForwardMembershipChange,
    JoinReply,
    JoinRequest,
    ProposalRefused,
)
from protocol.messages.replicator import RemoveMember
from protocol.messages.storage import AdoptCluster
from protocol.raft import levels, quorum_guard
from protocol.raft.membership_history import FOUNDING_INDEX
from protocol.raft.replication import append, track_followers
from protocol.raft.roles import Candidate, Follower, Leader
from protocol.raft.state import RaftState
from protocol.raft.status import leader_address
from protocol.refusal import Refusal
from protocol.wire import encode

LEARNER_CHECKS_MAX = 100  # quorum checks, each one maximum election timeout apart
PROMOTION_LAG_MAX = 100  # entries that a learner may lack when it becomes a voter

_OUTDATED = (
    "the cluster has been upgraded to a newer version than this node runs: start it with that one"
)
_QUORUM_AT_RISK = "without the former member here, no majority of the voters would answer"

Origin = tuple[NodeId, int, int]  # of a request: node, its incarnation, number there
NO_ORIGIN: Origin = (b"", 0, 0)


def found(state: RaftState, cluster: bytes, membership: Membership) -> None:
    """Begin a cluster by an entry of its first term, which no leader has replicated."""
    state.cluster, state.founding = cluster, True
    state.outbox.storage.append(AdoptCluster(cluster))
    state.set_term(1)
    payload = encode(MembershipChange(membership))
    state.append_entries([LogEntry(FOUNDING_INDEX, 1, EntryKind.MEMBERSHIP, payload)])


# --- one change at a time


def _why_not_now(state: RaftState, leader: Leader) -> Refusal | None:
    """Return why no change may begin now.

    Two leaders could each commit a change that the other does not know of, if the later one
    had not first committed an entry of its own term (the bug of §4.1, published in 2015).
    """
    if leader.transfer_to is not None:
        return Refusal.NOT_LEADER
    if state.commit_index < leader.first_index or state.memberships.pending:
        return Refusal.BUSY
    return None


def _change(
    state: RaftState, leader: Leader, membership: Membership, origin: Origin = NO_ORIGIN
) -> None:
    """Append a membership, in force at once (§4.1)."""
    payload = encode(MembershipChange(membership, *origin))
    append(state, leader, EntryKind.MEMBERSHIP, payload)
    track_followers(state, leader)


# --- removing


def on_remove_member(state: RaftState, leader: Leader, message: RemoveMember) -> None:
    """Remove a node for this node's own gateway."""
    origin = (state.id, state.incarnation, message.number)
    refusal = _remove(state, leader, message.node, origin, force=message.force)
    if refusal is not None:
        detail = _detail(state, leader, refusal, message.node)
        state.outbox.gateway.append(Refused(message.number, refusal, detail))


def on_remove_member_elsewhere(
    state: RaftState, _: Follower | Candidate, message: RemoveMember
) -> None:
    """Forward a removal to the leader, if there is one."""
    if state.leader is None:
        state.outbox.gateway.append(Refused(message.number, Refusal.NOT_LEADER))
    else:
        change = (message.number, state.incarnation, message.node, message.force)
        state.send(state.leader, ForwardMembershipChange(*change))


def on_forward_membership_change(
    state: RaftState, leader: Leader, asker: NodeId, message: ForwardMembershipChange
) -> None:
    """Remove a node for another node's gateway."""
    origin = (asker, message.incarnation, message.number)
    refusal = _remove(state, leader, message.remove, origin, force=message.force)
    if refusal is None:
        leader.proposers[asker] = state.log.last_index
    else:
        detail = _detail(state, leader, refusal, message.remove)
        state.send(asker, ProposalRefused(message.number, refusal, detail))


def on_forward_membership_change_elsewhere(
    state: RaftState, _: Follower | Candidate, asker: NodeId, message: ForwardMembershipChange
) -> None:
    """Refuse a removal that a leader should have received."""
    state.send(asker, ProposalRefused(message.number, Refusal.NOT_LEADER))


def _remove(
    state: RaftState, leader: Leader, node: NodeId, origin: Origin, *, force: bool
) -> Refusal | None:
    """Begin to remove a node; return why not, if not.

    Only ``force`` begins a removal after which the answering voters would be no majority: the
    cluster might never commit it, nor anything else.
    """
    refusal = _why_not_now(state, leader)
    if refusal is not None:
        return refusal
    if state.membership.get(node) is None:
        return Refusal.UNKNOWN_MEMBER
    after = state.membership.without(node)
    if not after.voters:
        return Refusal.LAST_VOTER
    refusal = None if force else quorum_guard.why_at_risk(state, leader, node)
    if refusal is None:
        _change(state, leader, after, origin)
    return refusal


def _detail(state: RaftState, leader: Leader, refusal: Refusal, node: NodeId) -> str:
    """Return what people should know about a refused removal besides its kind."""
    if refusal is not Refusal.QUORUM_AT_RISK:
        return ""
    return quorum_guard.describe(state, leader, state.membership.without(node))


def drop_silent_learner(state: RaftState, leader: Leader) -> None:
    """Remove a learner that never answered, because others may be waiting to join."""
    if _why_not_now(state, leader) is not None:
        return
    for member in state.membership.learners:
        progress = leader.progress.get(member.id)
        if progress is not None and progress.has_never_answered(LEARNER_CHECKS_MAX):
            state.complain(member.id, "learner", "never answered since it joined, and is dropped")
            _change(state, leader, state.membership.without(member.id))
            return


# --- adding and promoting


def join(state: RaftState, joiner: NodeId, request: JoinRequest) -> JoinReply:
    """Answer a node that asks to become a member, first as a learner, or that has moved."""
    refusal: str | None = ""
    if isinstance(state.role, Leader):
        refusal = _let_in(state, state.role, joiner, request)
    latest = (state.memberships.latest.index, state.term)
    is_let_in = refusal is None
    return JoinReply(is_let_in, state.membership, leader_address(state), refusal or "", *latest)


def _let_in(state: RaftState, leader: Leader, joiner: NodeId, request: JoinRequest) -> str | None:
    """Begin to add or move a node, unless it is listed already; return why not, if not."""
    try:
        parse_address(request.address)
    except InvalidAddressText as error:
        return str(error)
    here = state.membership.at(request.address)
    if here is not None and here.id != joiner and not request.rejoin:
        return _address_taken(request.address, here)
    known = state.membership.get(joiner)
    if known is not None and known.address == request.address:
        return None
    if known is None and request.is_member:
        return ""  # it was removed while it was away, which the members tell it when it asks them
    if request.level < state.memberships.level:
        return _OUTDATED
    refusal = _why_not_let_in(state, leader, joiner, here)
    if refusal is None and not _is_up_to_date(state, joiner, request):
        refusal = ""
    if refusal is None:
        _change(state, leader, _with_joiner(state.membership, joiner, request))
    return refusal


def _why_not_let_in(
    state: RaftState, leader: Leader, joiner: NodeId, here: Member | None
) -> str | None:
    """Return why a node is not added or moved now, '' to try again; None if it is."""
    known = state.membership.get(joiner)
    if known is None and len(state.membership.learners) >= state.learners_max:
        return _full(state.learners_max)
    if _why_not_now(state, leader) is not None:
        return ""
    return None if here is None or here.id == joiner else _why_not_in_place(state, leader, here)


def _is_up_to_date(state: RaftState, joiner: NodeId, request: JoinRequest) -> bool:
    """Whether a request was sent after this leader's last change of the membership.

    An earlier one may be of a node that has joined and been removed since.
    """
    latest = (state.memberships.latest.index, state.term)
    return joiner == state.id or (request.index, request.term) == latest


def _why_not_in_place(state: RaftState, leader: Leader, here: Member) -> str | None:
    """Return why a node may not take the place of the member at its address."""
    in_place = quorum_guard.why_in_place(state, leader, here.id)
    match in_place or quorum_guard.why_at_risk(state, leader, here.id):
        case None:
            return None
        case Refusal.BUSY:
            return ""
        case Refusal.INVALID:
            return f"{here.address} belongs to member {here.id.hex()}, which answers"
        case _:
            return _QUORUM_AT_RISK


def _with_joiner(membership: Membership, joiner: NodeId, request: JoinRequest) -> Membership:
    """Add a learner, or move a member; one that rejoins replaces its lost former self.

    That still changes one voter at most (dissertation §4.1), because learners do not count.
    """
    here = membership.at(request.address)
    if here is not None:
        membership = membership.without(here.id)
    known = membership.get(joiner)
    voter = known is not None and known.voter
    return membership.with_member(Member(joiner, request.address, voter, request.level))


def promote_learners(state: RaftState, leader: Leader) -> None:
    """Make a learner a voter that has replied in this turn and has caught up (§4.2.1).

    An earlier reply is not enough: a learner that has failed since would only enlarge the majority.
    """
    if _why_not_now(state, leader) is not None:
        return
    enough = state.commit_index - PROMOTION_LAG_MAX
    for member in state.membership.learners:
        if member.id in leader.answered and leader.is_caught_up(member.id, enough):
            voter = replace(member, voter=True)
            _change(state, leader, state.membership.with_member(voter))
            return


# --- recording levels


def record_levels(state: RaftState, leader: Leader) -> None:
    """Record the announced levels of all members in one entry, which changes no voters."""
    if not leader.levels_announced or _why_not_now(state, leader) is not None:
        return
    leader.levels_announced = False
    members = [
        replace(each, level=levels.to_record(state, leader, each))
        for each in state.membership.members
    ]
    recorded = Membership(tuple(members))
    if recorded != state.membership:
        _change(state, leader, recorded)


def _full(learners_max: int) -> str:
    return (
        f"no more than {learners_max} nodes may join at the same time (learners_max); it is tried "
        "again until one of those that do votes, or is removed because it is gone"
    )


def _address_taken(address: str, member: Member) -> str:
    return (
        f"{address} belongs to member {member.id.hex()}; if that node is gone for good, start "
        "this one with --rejoin to take its place, or remove it from the cluster first"
    )
