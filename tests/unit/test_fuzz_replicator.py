"""Fuzzed replicator: it survives any peer input, and strangers change nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.log_replicator import UNKNOWN_NAMED_MAX, LogReplicator
from actors.logs import OncePerSender
from actors.peer_links import JOIN_LINKS_MAX
from actors.prober import PROBED_MAX
from actors.sockets import Sockets
from protocol.config import NodeConfig
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.peer import PEER_PROTOCOL_VERSION, PeerFrame, PeerMessage
from protocol.messages.replicator import Recovered
from protocol.raft.joining import ASKED_MAX, INVITATIONS_MAX
from protocol.raft.node import RaftNode
from protocol.wire import Malformed, decode_peer_frame, encode
from skiff.testing import free_port
from tests.harness.fuzzing import FUZZ, INTEGERS, TEXTS, frames, messages
from tests.harness.lone_actor import surround, tell

CLUSTER, FOREIGN = b"c" * 16, b"f" * 16
IDS = NODE, PEER, OTHER = b"A" * 16, b"B" * 16, b"C" * 16
MEMBERS = Membership(
    (
        Member(NODE, "127.0.0.1:1", True),
        Member(PEER, "127.0.0.1:4", True),
        Member(OTHER, "127.0.0.1:7", True),
    )
)


def recovered(kind: str) -> Recovered:
    """Return the recovered state of a member, of a removed node or of a new one."""
    if kind == "new":
        return Recovered(NODE, b"", 1, HardState(term=3), 0, 0, 0, (), ())
    members = MEMBERS if kind == "member" else MEMBERS.without(NODE)
    hard_state = HardState(term=3, removed=kind == "removed")
    return Recovered(NODE, CLUSTER, 1, hard_state, 0, 0, 0, (), (MembershipAt(0, members),))


def frames_of(cluster: bytes, senders: st.SearchStrategy[bytes]) -> st.SearchStrategy[PeerFrame]:
    """Return a strategy of frames that name a cluster."""
    return st.builds(
        PeerFrame,
        st.just(PEER_PROTOCOL_VERSION),
        st.just(cluster),
        senders,
        st.sampled_from([each for each in INTEGERS if each >= 0]),
        st.sampled_from(TEXTS),
        st.lists(messages(PeerMessage), max_size=3).map(tuple),
    )


def state_of(core: RaftNode) -> tuple[object, ...]:
    """Return the state that no stranger may change."""
    state = core._state
    log = (state.log.prev_index, state.log.last_index, state.log.last_term, state.commit_index)
    membership = (state.membership, state.memberships.committed, state.removed, state.cluster)
    return (state.term, state.voted_for, type(state.role), state.leader, log, membership)


any_sender = st.sampled_from([PEER, OTHER, NODE]) | st.binary(min_size=16, max_size=16)


@pytest.fixture(params=["member", "new", "removed"])
def replicator(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LogReplicator]:
    monkeypatch.chdir(tmp_path)
    sockets = Sockets()
    others = tell(sockets, "replicator", recovered(request.param))
    config = NodeConfig(dir=str(tmp_path), port=free_port(), standby=request.param != "member")
    replicator = LogReplicator(surround("log_replicator", config, sockets))
    yield replicator
    others.close()
    for links in (replicator._links._links, replicator._links._reply_links):
        links.keep_only([])
    replicator._admission_links.close()
    sockets.close()


def handle(replicator: LogReplicator, parts: list[bytes]) -> None:
    """Let the replicator handle a message of these frames, and send the results."""
    frame = replicator._links._decode(parts)
    if frame is not None:
        replicator._receive(parts[0], frame)
    replicator._admit()
    replicator._finish_turn()


def assert_little_is_remembered(replicator: LogReplicator) -> None:
    assert len(replicator._strange._senders) <= OncePerSender.SENDERS_MAX
    assert len(replicator._links._malformed._senders) <= OncePerSender.SENDERS_MAX
    assert len(replicator._admission_links.links) <= JOIN_LINKS_MAX
    assert len(list(replicator._links._links)) < 10
    joining = replicator._admission._joining
    assert len(joining._invitations) <= INVITATIONS_MAX
    assert len(joining._replies) <= len(joining._asked) <= ASKED_MAX
    assert len(replicator._prober._due) <= PROBED_MAX
    assert len(replicator._admission._troubles) <= ASKED_MAX


foreign = frames_of(FOREIGN, any_sender) | frames_of(b"", any_sender)
strange = frames_of(
    CLUSTER, st.binary(min_size=16, max_size=16).filter(lambda node: node not in IDS)
)
bodies = frames(PeerFrame) | foreign.map(encode)


def test_frames_of_no_cluster_or_another_neither_raise_nor_change_the_core(
    replicator: LogReplicator,
) -> None:
    @FUZZ
    @given(st.binary(min_size=5, max_size=5), st.lists(bodies, min_size=1, max_size=3))
    def fuzz(connection: bytes, sent: list[bytes]) -> None:
        before = state_of(replicator._core)
        for body in sent:
            handle(replicator, [connection, body])
        assert state_of(replicator._core) == before

    fuzz()
    assert_little_is_remembered(replicator)


def test_frames_of_strangers_naming_this_cluster_neither_raise_nor_change_the_core(
    replicator: LogReplicator,
) -> None:
    """The membership does not depend on strangers, not even on a thousand of them."""

    @FUZZ
    @given(st.binary(min_size=5, max_size=5), st.lists(strange, min_size=1, max_size=3))
    def fuzz(connection: bytes, sent: list[PeerFrame]) -> None:
        before = state_of(replicator._core)
        for frame in sent:
            handle(replicator, [connection, encode(frame)])
        assert state_of(replicator._core) == before

    fuzz()
    assert_little_is_remembered(replicator)
    assert len(replicator._core._senders._known) <= len(MEMBERS.members)
    assert len(replicator._unknown) <= UNKNOWN_NAMED_MAX


def test_no_number_of_frames_raises_or_changes_the_core(replicator: LogReplicator) -> None:
    @FUZZ
    @given(st.binary(min_size=5, max_size=5), st.lists(bodies, max_size=4))
    def fuzz(connection: bytes, sent: list[bytes]) -> None:
        before = state_of(replicator._core)
        handle(replicator, [connection, *sent])
        assert state_of(replicator._core) == before

    fuzz()
    assert_little_is_remembered(replicator)


def test_no_admission_message_raises(replicator: LogReplicator) -> None:
    @FUZZ
    @given(foreign)
    def fuzz(frame: PeerFrame) -> None:
        core = replicator._core
        belonged = (core.cluster, core.removed)
        try:
            frame = decode_peer_frame(encode(frame))
        except Malformed:
            return
        for message in frame.messages:
            replicator._admission.receive(frame, message, 0.0)
            replicator._admission.flush(0.0)
        assert not belonged[0] or (core.cluster, core.removed) == belonged

    fuzz()
    assert_little_is_remembered(replicator)
