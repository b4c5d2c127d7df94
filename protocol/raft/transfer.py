"""Leadership transfer (dissertation §3.10): on request, before a stop, and away from a bad disk.

The leader stops taking proposals, brings its successor up to date and sends it TimeoutNow. If no
other leader has emerged by the next quorum check, the transfer is over and the leader goes on; or
else after ``TRANSFER_TIMEOUTS``, because the election timer that says when to check may be stopped.
"""

from protocol.membership import Member, NodeId
from protocol.messages.peer import ForwardTransfer, TimeoutNow
from protocol.messages.replicator import StepAside, StorageCheckDue, TransferTo
from protocol.raft.progress import SUCCESSOR_LAG_MAX
from protocol.raft.roles import Follower, Leader, Role
from protocol.raft.space import roomier_voters
from protocol.raft.state import RaftState

TRANSFER_TIMEOUTS = 10  # minimum election timeouts that a transfer may take by the leader's clock

# --- on request


def on_transfer_to(state: RaftState, leader: Leader, message: TransferTo) -> None:
    """Transfer leadership for this node's own gateway."""
    _transfer(state, leader, message.node)


def on_transfer_to_elsewhere(state: RaftState, follower: Follower, message: TransferTo) -> None:
    """Forward the request to the leader, if there is one."""
    if follower.leader is not None:
        state.send(follower.leader, ForwardTransfer(message.node))


def on_forward_transfer(
    state: RaftState, leader: Leader, _: NodeId, message: ForwardTransfer
) -> None:
    """Transfer leadership for another node's gateway."""
    _transfer(state, leader, message.node)


def _transfer(state: RaftState, leader: Leader, node: NodeId) -> None:
    """Hand over to the named voter, or to any, if it answers and lags only a little."""
    fit = [
        each
        for each in _other_voters(state, leader)
        if leader.progress[each.id].answers
        and leader.is_caught_up(each.id, state.commit_index - SUCCESSOR_LAG_MAX)
    ]
    _begin(state, leader, [each for each in fit if node in (b"", each.id)])


# --- because of this node


def on_step_aside(state: RaftState, leader: Leader, _: StepAside) -> None:
    """Hand over to the most up-to-date voter, because this node is about to stop."""
    _begin(state, leader, _other_voters(state, leader))


def relocate(state: RaftState, leader: Leader) -> None:
    """Hand over to a voter with room where this disk is short of space, or this is a learner."""
    if state.shortage.is_of_disk:
        _begin(state, leader, roomier_voters(state, leader))
    elif state.commit_index >= leader.first_index and not leader.timeout_now_sent:
        member = state.membership.get(state.id)
        if member is not None and not member.voter:
            _transfer(state, leader, b"")


def on_storage_check_due(state: RaftState, _: Role, __: StorageCheckDue) -> None:
    """Check whether this node's storage makes progress."""
    state.durability.check()


def on_leader_storage_check_due(state: RaftState, leader: Leader, _: StorageCheckDue) -> None:
    """Check this node's storage, and step down if it is stalled.

    Heartbeats need no disk: the followers would follow a leader that commits nothing for ever.
    """
    state.durability.check()
    if state.durability.stalled:
        _step_down_stalled(state, leader)


def _step_down_stalled(state: RaftState, leader: Leader) -> None:
    """Send TimeoutNow to the most up-to-date voter and step down, as this node cannot write."""
    successors = _other_voters(state, leader)
    if successors and not leader.timeout_now_sent:
        state.send(_best(leader, successors), TimeoutNow(state.term))
    state.become_follower()


# --- the successor


def _begin(state: RaftState, leader: Leader, successors: list[Member]) -> None:
    """Choose a successor, unless a transfer is under way: two candidates could split the vote."""
    if successors and leader.transfer_to is None:
        leader.transfer_to = _best(leader, successors)
        leader.transfer_due = True
        leader.transfer_since = state.now


def proceed(state: RaftState, leader: Leader) -> None:
    """Take the next step of a transfer; end one that no quorum check has ended in time."""
    if leader.transfer_due:
        hand_over(state, leader)
    elif state.now - leader.transfer_since > TRANSFER_TIMEOUTS * state.election_timeout_min_us:
        leader.end_transfer()


def hand_over(state: RaftState, leader: Leader) -> None:
    """Send TimeoutNow once the successor holds the whole log."""
    progress = leader.progress.get(leader.transfer_to or b"")
    if leader.transfer_to is None or progress is None:
        return
    if progress.match_index == state.log.last_index:
        leader.transfer_due, leader.timeout_now_sent = False, True
        state.send(leader.transfer_to, TimeoutNow(state.term))


def _other_voters(state: RaftState, leader: Leader) -> list[Member]:
    members = state.membership.members
    return [each for each in members if each.voter and each.id in leader.progress]


def _best(leader: Leader, successors: list[Member]) -> NodeId:
    """Return the voter that answers, or else used to, and among these the most up to date."""

    def fitness(each: Member) -> tuple[bool, int]:
        progress = leader.progress[each.id]
        return progress.answers, progress.match_index

    return max(successors, key=fitness).id
