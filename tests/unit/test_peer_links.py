"""Peer links: messages to a peer are split into frames within its limits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.dialer import Dialer
from actors.peer_links import FRAME_BYTES, PeerLinks
from actors.sockets import Sockets
from protocol.config import NodeConfig
from protocol.hard_state import HardState
from protocol.messages.peer import ForwardProposal
from protocol.messages.replicator import Recovered
from protocol.wire import PEER_FRAME_BYTES_MAX, decode_peer_frame
from skiff.testing import free_port

CLUSTER, NODE = b"c" * 16, b"n" * 16


@pytest.fixture
def links(tmp_path: Path) -> Iterator[PeerLinks]:
    sockets = Sockets()
    config = NodeConfig(dir=str(tmp_path), port=free_port())
    recovered = Recovered(NODE, CLUSTER, 1, HardState(), 0, 0, 0, (), ())
    yield PeerLinks(Dialer(sockets), config, recovered, connections_max=100)
    sockets.close()


def test_small_messages_share_a_frame(links: PeerLinks) -> None:
    messages = [ForwardProposal(number, b"payload") for number in range(1000)]
    (frame,) = links._frames(CLUSTER, messages)
    assert decode_peer_frame(frame).messages == tuple(messages)


def test_messages_beyond_one_frame_are_split_in_order(links: PeerLinks) -> None:
    messages = [ForwardProposal(number, bytes(1 << 20)) for number in range(50)]
    frames = links._frames(CLUSTER, messages)
    assert len(frames) > 1
    assert max(map(len, frames)) <= FRAME_BYTES < PEER_FRAME_BYTES_MAX
    assert [each for frame in frames for each in decode_peer_frame(frame).messages] == messages


def test_a_large_message_has_its_own_frame(links: PeerLinks) -> None:
    messages = [ForwardProposal(1, b"small"), ForwardProposal(2, bytes(FRAME_BYTES))]
    assert len(links._frames(CLUSTER, messages)) == 2
