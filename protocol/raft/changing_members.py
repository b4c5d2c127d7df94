"""Changing who belongs to the cluster, one node at a time (Raft dissertation §4.1, §4.2)."""

from protocol.address import InvalidAddressText, parse_address
from protocol.entry import Entry, EntryKind, MembershipChange
from protocol.membership import Member, Membership, NodeId
from protocol.messages.gateway import Refused
from protocol.messages.peer import (
    AppendEntriesReply,
    ForwardMembershipChange,
    HeartbeatReply,
    JoinReply,
    JoinRequest,
    ProposalRefused,
)
from protocol.messages.replicator import QuorumCheckDue, RemoveMember
from protocol.messages.storage import AdoptCluster
from protocol.raft import quorum
from protocol.raft.election import on_quorum_check_due
from protocol.raft.reading import confirm_round
from protocol.raft.replication import (
    append,
    follow_members,
    is_caught_up,
    on_append_entries_reply,
    on_heartbeat_reply,
)
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.refusal import Refusal
from protocol.wire import encode

LEARNER_CHECKS_MAX = 100  # quorum checks, of which each takes a longest election timeout
PROMOTION_LAG_MAX = 100  # entries that a learner may lack when it becomes a voter

_QUORUM_AT_RISK = "without the former member here, no majority of the voters would answer"

Origin = tuple[NodeId, int, int]  # node, incarnation, number: whose request this answers
NOBODY: Origin = (b"", 0, 0)


def on_remove_member(state: RaftState, _: NodeId, message: RemoveMember) -> None:
    """Remove a node for this node's own gateway, or let the leader do it."""
    origin = (state.id, state.incarnation, message.number)
    refusal = remove(state, message.node, origin, force=message.force)
    if refusal is Refusal.NOT_LEADER and state.other_leader is not None:
        change = (message.number, state.incarnation, message.node, message.force)
        state.send(state.other_leader, ForwardMembershipChange(*change))
    elif refusal is not None:
        detail = _detail(state, refusal, message.node)
        state.outbox.gateway.append(Refused(message.number, refusal, detail))


def on_forward_membership_change(
    state: RaftState, asker: NodeId, message: ForwardMembershipChange
) -> None:
    """Remove a node for another node's gateway."""
    origin = (asker, message.incarnation, message.number)
    refusal = remove(state, message.remove, origin, force=message.force)
    if refusal is not None:
        detail = _detail(state, refusal, message.remove)
        state.send(asker, ProposalRefused(message.number, refusal, detail))
    elif isinstance(state.role, Leader):
        state.role.proposers[asker] = state.log.last_index


def remove(
    state: RaftState, node: NodeId, origin: Origin, *, force: bool = False
) -> Refusal | None:
    """Begin to remove a node; return why not, if not.

    Without ``force``, not where those who answer would be no majority any more: the cluster would
    never commit that, nor anything else.
    """
    refusal = _why_not_now(state)
    if refusal is not None:
        return refusal
    if state.membership.get(node) is None:
        return Refusal.UNKNOWN_MEMBER
    after = state.membership.without(node)
    if not after.voters:
        return Refusal.LAST_VOTER
    assert isinstance(state.role, Leader)
    refusal = None if force else quorum.why_at_risk(state, state.role, node)
    if refusal is None:
        _change(state, after, origin)
    return refusal


def _detail(state: RaftState, refusal: Refusal, node: NodeId) -> str:
    """Return what people should know of a refused removal besides its kind."""
    if refusal is not Refusal.QUORUM_AT_RISK or not isinstance(state.role, Leader):
        return ""
    return quorum.describe(state, state.role, state.membership.without(node))


def join(state: RaftState, joiner: NodeId, request: JoinRequest) -> JoinReply:
    """Answer a node that wants to be a member, as a learner at first, or has a new address."""
    if not isinstance(state.role, Leader):
        index = state.memberships.latest.index
        leader_address = state.leadership().leader_address
        return JoinReply(False, state.membership, leader_address, index=index, term=state.term)
    try:
        parse_address(request.address)
    except InvalidAddressText as error:
        return JoinReply(False, state.membership, refusal=str(error))
    here = state.membership.at(request.address)
    if here is not None and here.id != joiner and not request.rejoin:
        return JoinReply(False, state.membership, refusal=_address_taken(request.address, here))
    known = state.membership.get(joiner)
    if known is None or known.address != request.address:
        refusal = _why_not_let_in(state, joiner, here)
        if refusal is not None:
            return JoinReply(False, state.membership, refusal=refusal)
        _change(state, _with_joiner(state.membership, joiner, request), NOBODY)
    index = state.memberships.latest.index
    return JoinReply(True, state.membership, index=index, term=state.term)


def _why_not_let_in(state: RaftState, joiner: NodeId, here: Member | None) -> str | None:
    """Return why a node is not let in or moved now, empty to try again; None if it is."""
    known = state.membership.get(joiner)
    if known is None and len(state.membership.learners) >= state.learners_max:
        return _full(state.learners_max)
    if _why_not_now(state) is not None:
        return ""
    return None if here is None or here.id == joiner else _why_not_in_place(state, here)


def _why_not_in_place(state: RaftState, here: Member) -> str | None:
    """Return why a node is not to take the place of the member at its address."""
    assert isinstance(state.role, Leader)
    in_place = quorum.why_in_place(state, state.role, here.id)
    match in_place or quorum.why_at_risk(state, state.role, here.id):
        case None:
            return None
        case Refusal.BUSY:
            return ""
        case Refusal.INVALID:
            return f"{here.address} belongs to member {here.id.hex()}, which answers"
        case _:
            return _QUORUM_AT_RISK


def _full(learners_max: int) -> str:
    return (
        f"no more than {learners_max} nodes may join at the same time (learners_max); it is tried "
        "again until one of those that do votes, or is removed because it is gone"
    )


def _with_joiner(membership: Membership, joiner: NodeId, request: JoinRequest) -> Membership:
    """Add a learner, or move a member; one that rejoins takes the place of its lost former self.

    That is still a change of one voter at most (dissertation §4.1): learners do not count.
    """
    here = membership.at(request.address)
    if here is not None:
        membership = membership.without(here.id)
    known = membership.get(joiner)
    voter = known is not None and known.voter
    return membership.with_member(Member(joiner, request.address, voter))


def _address_taken(address: str, member: Member) -> str:
    return (
        f"{address} belongs to member {member.id.hex()}; if that node is gone for good, start "
        "this one with --rejoin to take its place, or remove it from the cluster first"
    )


def found(state: RaftState, cluster: bytes, membership: Membership) -> None:
    """Begin a cluster by an entry of its first term, which no leader has replicated."""
    state.cluster, state.founding = cluster, True
    state.outbox.storage.append(AdoptCluster(cluster))
    state.set_term(1)
    payload = encode(MembershipChange(membership))
    state.take_entries([Entry(1, 1, EntryKind.MEMBERSHIP, payload)])


def on_reply_promote(state: RaftState, peer: NodeId, message: AppendEntriesReply) -> None:
    """Take a follower's answer; a learner that has caught up becomes a voter."""
    on_append_entries_reply(state, peer, message)
    _promote(state, peer)


def on_beat_promote(state: RaftState, peer: NodeId, message: HeartbeatReply) -> None:
    """Promote a learner that caught up while another change was under way."""
    on_heartbeat_reply(state, peer, message)
    _promote(state, peer)


def on_check_drop(state: RaftState, sender: NodeId, message: QuorumCheckDue) -> None:
    """Check who answers the leader, and drop a learner that never did: another one may want in."""
    on_quorum_check_due(state, sender, message)
    leader = state.role
    if not isinstance(leader, Leader) or _why_not_now(state) is not None:
        return
    for member in state.membership.learners:
        progress = leader.progress.get(member.id)
        if progress is not None and progress.never_answered(LEARNER_CHECKS_MAX):
            state.complain(member.id, "learner", "never answered since it joined, and is dropped")
            _change(state, state.membership.without(member.id), NOBODY)
            return


def _promote(state: RaftState, peer: NodeId) -> None:
    member = state.membership.get(peer)
    if member is None or member.voter or not is_caught_up(state, member, PROMOTION_LAG_MAX):
        return
    if _why_not_now(state) is None:
        voter = Member(member.id, member.address, voter=True)
        _change(state, state.membership.with_member(voter), NOBODY)


def _why_not_now(state: RaftState) -> Refusal | None:
    """Return why no change of members may begin now.

    Two leaders could each commit a change that the other does not know of, if the later one
    had not first committed an entry of its own term (the published bug of §4.1).
    """
    leader = state.role
    if not isinstance(leader, Leader) or leader.transfer_to is not None:
        return Refusal.NOT_LEADER
    if state.commit_index < leader.first_index or state.memberships.pending:
        return Refusal.BUSY
    return None


def _change(state: RaftState, membership: Membership, origin: Origin) -> None:
    """Append a membership, in force at once (§4.1)."""
    assert isinstance(state.role, Leader)
    payload = encode(MembershipChange(membership, *origin))
    append(state, EntryKind.MEMBERSHIP, payload)
    follow_members(state)
    # Whoever was asked to confirm reads may be gone, and those who are left may be enough (§6.4).
    confirm_round(state, state.role)
