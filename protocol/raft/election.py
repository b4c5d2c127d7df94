"""Leader election: campaigns and votes (Raft §5.2, §5.4.1).

With pre-vote and leader stickiness (dissertation §9.6).
"""

from protocol.membership import NodeId, is_majority
from protocol.messages.peer import PeerMessage, RequestVote, RequestVoteReply, TimeoutNow
from protocol.messages.replicator import ElectionDue, LeaderQuiet
from protocol.raft.key_lease_clock import KeyLeaseClock
from protocol.raft.removal import notify_if_removed
from protocol.raft.replication import begin_term
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.raft.state import RaftState

# --- deadlines


def on_election_due(state: RaftState, role: Role, message: ElectionDue) -> None:
    """Campaign, unless a leader made contact or a vote was given since the deadline was set.

    A leader that an earlier incarnation promised a lease is protected until that expires.
    """
    if message.contact_count != state.contact_count or not state.may_campaign:
        return
    if state.leader_lease_recovered or _awaits_own_vote(state, role):
        return
    campaign(state, pre=True)


def _awaits_own_vote(state: RaftState, role: Role) -> bool:
    """Whether a slow disk holds the election up: a new one each time would never end."""
    candidate = isinstance(role, Candidate) and not role.pre
    return candidate and not state.durability.hard_state_durable


def on_leader_quiet(state: RaftState, follower: Follower, message: LeaderQuiet) -> None:
    """Protect the leader no longer: its lease ends with the minimum election timeout."""
    if message.contact_count == state.contact_count:
        follower.leader_lease_granted = False


def on_timeout_now(state: RaftState, _: Role, __: NodeId, ___: TimeoutNow) -> None:
    """Campaign at once, without a pre-vote, because the leader hands over (§3.10)."""
    if state.may_campaign:
        campaign(state, pre=False, transfer=True)


# --- the candidate


def campaign(state: RaftState, *, pre: bool, transfer: bool = False) -> None:
    """Request votes from all voters; with ``pre``, ask whether they would grant them."""
    state.role = candidate = Candidate(pre)
    state.fail_reads()
    term = state.term + 1
    if not pre:
        state.set_term(term, state.id)
    request = RequestVote(term, state.log.last_index, state.log.last_term, pre, transfer)
    for voter in sorted(state.membership.voters - {state.id}):
        # A candidate's own vote is durable before it requests others' (§5.2).
        state.send(voter, request) if pre else state.durability.promise(voter, request)
    own_vote = RequestVoteReply(term, granted=True, pre=pre)
    if pre:
        on_request_vote_reply(state, candidate, state.id, own_vote)
    else:
        state.durability.promise(state.id, own_vote)


def on_request_vote_reply(
    state: RaftState, candidate: Candidate, voter: NodeId, message: RequestVoteReply
) -> None:
    """Count a vote: start the election after a pre-vote majority, lead after a vote majority."""
    if candidate.pre != message.pre:
        return
    if message.pre and message.granted and message.term != state.term + 1:
        return  # the reply to an earlier pre-vote
    voters = state.membership.voters
    candidate.votes[voter] = message.granted
    granted = sum(candidate.votes.get(each, False) for each in voters)
    refused = sum(not candidate.votes.get(each, True) for each in voters)
    if is_majority(granted, len(voters)):
        if candidate.pre:
            campaign(state, pre=False)
        else:
            _become_leader(state)
    elif is_majority(refused, len(voters)):
        state.role = Follower()


def _become_leader(state: RaftState) -> None:
    uncommitted = state.log.payload_bytes(state.commit_index + 1, state.log.last_index)
    leader = Leader(
        first_index=state.log.last_index + 1,
        uncommitted_bytes=uncommitted,
        key_leases=KeyLeaseClock(state.key_leases),
    )
    state.role = leader
    state.contact_count += 1
    begin_term(state, leader)


# --- the voter


def is_pre_vote(message: PeerMessage) -> bool:
    """Whether the message only asks about its term; a refusal carries the voter's real term."""
    match message:
        case RequestVote(pre=pre):
            return pre
        case RequestVoteReply(pre=pre, granted=granted):
            return pre and granted
        case _:
            return False


def on_request_vote(state: RaftState, role: Role, candidate: NodeId, message: RequestVote) -> None:
    """Grant the vote to an up-to-date candidate, to one in each term (§5.2, §5.4.1).

    The candidate need not be a member here: this vote may complete a majority of a newer
    membership that this log does not have yet (dissertation §4.1).
    """
    if not _would_vote(state, candidate, message):
        refusal = RequestVoteReply(state.term, granted=False, pre=message.pre)
        state.send_in_term(candidate, refusal)
        notify_if_removed(state, candidate)
        if _blocks_as_learner(state, message):
            campaign(state, pre=True)
    elif message.pre:
        state.send_in_term(candidate, RequestVoteReply(message.term, granted=True, pre=True))
    else:
        if isinstance(role, Candidate):
            state.role = Follower()  # a pre-vote for the next term, which this vote overtakes
        state.set_term(state.term, candidate)
        state.contact_count += 1
        state.durability.promise(candidate, RequestVoteReply(state.term, granted=True))


def _blocks_as_learner(state: RaftState, message: RequestVote) -> bool:
    """Whether a candidate needs this learner's vote, and cannot have it for lack of entries.

    An uncommitted membership has made a voter of this node, whose log ends later and without it.
    No other node may be able to win: not the candidate, and no voter that lacks its entries. A
    candidate need not be a voter itself (dissertation §4.2.2).
    """
    member = state.membership.get(state.id)
    is_learner = member is not None and not member.voter
    is_behind = not state.log.accepts_candidate_log(message.last_index, message.last_term)
    is_next = message.pre and message.term > state.term
    leader = state.leader_lease_active or state.leader_lease_recovered
    return is_learner and is_behind and is_next and not (leader or state.durability.stalled)


def _would_vote(state: RaftState, candidate: NodeId, message: RequestVote) -> bool:
    if not state.log.accepts_candidate_log(message.last_index, message.last_term):
        return False
    if message.pre:
        return message.term > state.term and not state.leader_lease_active
    if state.leader is None and state.leader_lease_active and not message.transfer:
        return False  # the leader with the lease is of an older term, and may serve reads by it
    # A leader or candidate of this term has voted for itself; a pre-candidate has not.
    return state.voted_for in (b"", candidate)
