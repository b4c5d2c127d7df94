"""Elections: campaigns, votes, and the end of a leadership.

Raft §5.2 and §5.4.1, with pre-vote and leader stickiness (dissertation §9.6) and check-quorum
(§6.2).
"""

from protocol.membership import NodeId, is_majority
from protocol.node_messages import ElectionDue, EndSnapshot, LeaderQuiet, QuorumCheckDue
from protocol.peer_messages import Removed, RequestVote, RequestVoteReply
from protocol.raft.replication import append_no_op, follow_members
from protocol.raft.roles import Candidate, Follower, Leader
from protocol.raft.state import RaftState

REMOVAL_CLAIMS_MIN = 2  # members that must say so, where this node knows as many
REMOVAL_CLAIM_MICROSECONDS = 30_000_000  # without a leader, after which one is enough


def on_election_due(state: RaftState, _: NodeId, message: ElectionDue) -> None:
    """Campaign, unless a leader was heard or a vote given since the deadline was set.

    A leader that was heard in a life before counts for as long as was promised then.
    """
    if message.contact_count != state.contact_count or not state.may_campaign or state.is_bound:
        return
    if _awaits_own_vote(state):
        return  # on a slow disk, beginning anew each time would never end
    campaign(state, pre=True)


def _awaits_own_vote(state: RaftState) -> bool:
    candidate = isinstance(state.role, Candidate) and not state.role.pre
    return candidate and not state.durability.hard_state_durable


def on_leader_quiet(state: RaftState, _: NodeId, message: LeaderQuiet) -> None:
    """Stop protecting a leader that has not been heard for the shortest election timeout."""
    if isinstance(state.role, Follower) and message.contact_count == state.contact_count:
        state.role.leader_lease_active = False


def campaign(state: RaftState, *, pre: bool, transfer: bool = False) -> None:
    """Ask all voters for their votes; with ``pre``, whether they would give them."""
    state.role = Candidate(pre)
    state.fail_reads()
    term = state.term + 1
    if not pre:
        state.set_term(term, state.id)
    request = RequestVote(term, state.log.last_index, state.log.last_term, pre, transfer)
    for voter in sorted(state.membership.voters - {state.id}):
        # A candidate is bound by its own vote before it asks for others' (§5.2).
        state.send(voter, request) if pre else state.durability.promise(voter, request)
    own_vote = RequestVoteReply(term, granted=True, pre=pre)
    if pre:
        on_request_vote_reply(state, state.id, own_vote)
    else:
        state.durability.promise(state.id, own_vote)


def on_request_vote(state: RaftState, candidate: NodeId, message: RequestVote) -> None:
    """Give the vote to a candidate whose log is up to date, one in each term (§5.2, §5.4.1).

    Also to one that this node does not know as a member: only that vote may complete a majority
    of a newer membership (dissertation §4.1).
    """
    if not _would_vote(state, candidate, message):
        state.say(candidate, RequestVoteReply(state.term, granted=False, pre=message.pre))
        tell_removed(state, candidate)
    elif message.pre:
        state.say(candidate, RequestVoteReply(message.term, granted=True, pre=True))
    else:
        if isinstance(state.role, Candidate):
            state.role = Follower()  # it only asked whether it would win the term after this one
        state.set_term(state.term, candidate)
        state.contact_count += 1
        state.durability.promise(candidate, RequestVoteReply(state.term, granted=True))


def _would_vote(state: RaftState, candidate: NodeId, message: RequestVote) -> bool:
    if not state.log.accepts_candidate_log(message.last_index, message.last_term):
        return False
    if message.pre:
        return message.term > state.term and not state.leader_lease_active
    if state.leader is None and state.leader_lease_active and not message.transfer:
        return False  # the leader that was heard is of an older term, and may hold a lease
    # Who leads or campaigns in this term has voted for itself; who only asks about it has not.
    return state.voted_for in (b"", candidate)


def tell_removed(state: RaftState, candidate: NodeId) -> bool:
    """Tell a candidate if a membership without it is committed here; return whether it is.

    The candidate compares the index with its own log: it may also be newer than this node knows.
    """
    committed = state.memberships.committed
    was_removed = bool(committed.membership.members) and not committed.membership.get(candidate)
    if was_removed:
        state.send(candidate, Removed(committed.index, candidate))
    return was_removed


def on_removed(state: RaftState, sender: NodeId, message: Removed) -> None:
    """Stop campaigning, unless this node knows a newer membership that it belongs to.

    Where its own log does not say so, it takes the word of two members, or of one if it hears no
    leader for a while: else a broken one could end what the cluster needs.
    """
    known = state.memberships.latest.index
    if state.removed or isinstance(state.role, Leader) or message.node not in (b"", state.id):
        return
    if message.index <= state.listed_at or not _may_claim(state, sender):
        return  # it knows an older membership than this node was let into
    if message.index > known:
        state.removal_claims.setdefault(sender, state.now)
        is_removed = _is_borne_out(state)
    else:
        is_removed = message.index == known and state.member is None
    if is_removed:
        state.removal_claims.clear()
        state.set_removed()
        state.become_follower()


def _may_claim(state: RaftState, sender: NodeId) -> bool:
    """Whether a sender's word of a removal counts: not that of a learner, whom others outvote.

    A node that knows of no membership yet has none to lose.
    """
    claimant = state.membership.get(sender)
    return bool(state.membership.members) and (claimant is None or claimant.voter)


def _is_borne_out(state: RaftState) -> bool:
    claims = state.removal_claims
    others = state.memberships.voters - {state.id}
    waited = state.now - min(claims.values()) >= REMOVAL_CLAIM_MICROSECONDS
    return waited or len(claims) >= min(len(others), REMOVAL_CLAIMS_MIN)


def on_request_vote_reply(state: RaftState, voter: NodeId, message: RequestVoteReply) -> None:
    """Count a vote; campaign in earnest after enough pre-votes, lead after enough votes."""
    role = state.role
    if not isinstance(role, Candidate) or role.pre != message.pre:
        return
    if message.pre and message.granted and message.term != state.term + 1:
        return  # the answer to an earlier question
    voters = state.membership.voters
    role.votes[voter] = message.granted
    granted = sum(role.votes.get(each, False) for each in voters)
    refused = sum(not role.votes.get(each, True) for each in voters)
    if is_majority(granted, len(voters)):
        if role.pre:
            campaign(state, pre=False)
        else:
            _become_leader(state)
    elif is_majority(refused, len(voters)):
        state.role = Follower()


def _become_leader(state: RaftState) -> None:
    left_over = state.log.payload_bytes(state.commit_index + 1, state.log.last_index)
    state.role = Leader(first_index=state.log.last_index + 1, uncommitted_bytes=left_over)
    state.contact_count += 1
    follow_members(state)
    append_no_op(state)


def on_quorum_check_due(state: RaftState, _: NodeId, __: QuorumCheckDue) -> None:
    """Give up leading where no majority answers."""
    leader = state.role
    if not isinstance(leader, Leader):
        return
    voters = state.membership.voters
    active = sum(
        each == state.id or (each in leader.progress and leader.progress[each].active)
        for each in voters
    )
    for peer, progress in leader.progress.items():
        if progress.is_silent_too_long():
            progress.end_install()
            state.outbox.storage.append(EndSnapshot(peer))
        progress.was_active, progress.active = progress.active, False
    leader.transfer_to = None  # whom it was handed to has had its time
    if not is_majority(active, len(voters)):
        state.become_follower()
