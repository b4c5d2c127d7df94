"""Handing leadership over without an election timeout (Raft dissertation §3.10).

The leader takes no more proposals, lets its successor catch up and tells it to campaign
(``hand_over``). If nothing comes of that until the next quorum check, it leads on.
"""

from protocol.membership import Member, NodeId
from protocol.node_messages import StepAside, TransferTo
from protocol.peer_messages import ForwardTransfer, TimeoutNow
from protocol.raft.election import campaign
from protocol.raft.replication import hand_over, is_caught_up
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState

TRANSFER_LAG_MAX = 100  # entries that a successor may lack: writes wait until it has them


def on_transfer_to(state: RaftState, _: NodeId, message: TransferTo) -> None:
    """Transfer leadership for this node's own gateway, or ask the leader to."""
    if isinstance(state.role, Leader):
        _transfer(state, state.role, message.node)
    elif state.other_leader is not None:
        state.send(state.other_leader, ForwardTransfer(message.node))


def on_forward_transfer(state: RaftState, _: NodeId, message: ForwardTransfer) -> None:
    """Transfer leadership for another node's gateway."""
    if isinstance(state.role, Leader):
        _transfer(state, state.role, message.node)


def on_step_aside(state: RaftState, _: NodeId, __: StepAside) -> None:
    """Hand over to whoever is closest, because this node is about to stop."""
    if isinstance(state.role, Leader):
        begin_transfer(state, state.role, _other_voters(state, state.role))


def step_down_stalled(state: RaftState, leader: Leader) -> None:
    """Call the best successor at once and lead no more, because this node cannot write."""
    successors = _other_voters(state, leader)
    if successors and not leader.timeout_now_sent:
        state.send(_best(leader, successors), TimeoutNow(state.term))
    state.become_follower()


def on_timeout_now(state: RaftState, _: NodeId, __: TimeoutNow) -> None:
    """Campaign at once, because the leader wants it."""
    if state.may_campaign:
        campaign(state, pre=False, transfer=True)


def _transfer(state: RaftState, leader: Leader, node: NodeId) -> None:
    """Hand over to this voter, or to any if none is named, unless that would only stop writes."""
    fit = [
        each
        for each in _other_voters(state, leader)
        if leader.progress[each.id].answers and is_caught_up(state, each, TRANSFER_LAG_MAX)
    ]
    begin_transfer(state, leader, [each for each in fit if node in (b"", each.id)])


def _other_voters(state: RaftState, leader: Leader) -> list[Member]:
    members = state.membership.members
    return [each for each in members if each.voter and each.id in leader.progress]


def begin_transfer(state: RaftState, leader: Leader, successors: list[Member]) -> None:
    """Choose a successor, unless a transfer is under way: two of them could split the votes."""
    if successors and leader.transfer_to is None:
        leader.transfer_to = _best(leader, successors)
        hand_over(state, leader)


def _best(leader: Leader, successors: list[Member]) -> NodeId:
    """Return who answers, or else did, and among these who holds most."""

    def fitness(each: Member) -> tuple[bool, int]:
        progress = leader.progress[each.id]
        return progress.answers, progress.match_index

    return max(successors, key=fitness).id
