"""Peer links: one ROUTER that receives from all nodes, one DEALER to each.

A link carries messages one way; replies come over the other node's link. A DEALER sets no identity,
because a ROUTER ignores a second connection under an identity that it still takes for connected.
"""

import logging
import time
from collections.abc import Iterator, Sequence

import msgspec

from actors.connections import Connections
from actors.dialer import Dialer, PeerLink
from actors.logs import OnceAWhile, OncePerSender
from actors.port import Frames, Readable
from protocol.config import NodeConfig
from protocol.membership import Membership, NodeId
from protocol.messages.peer import PEER_PROTOCOL_VERSION, PeerFrame, PeerMessage
from protocol.messages.replicator import Recovered
from protocol.wire import PEER_FRAME_BYTES_MAX, Malformed, decode_peer_frame, encode

JOIN_LINKS_MAX = 64  # to addresses whose node is unknown
FRAME_BYTES = PEER_FRAME_BYTES_MAX // 4  # a receiver disconnects beyond the limit
LINKS_MAX = 128  # each link takes a few descriptors
REPLY_LINKS_MAX = 16  # to non-members that are answered
REPLY_LINK_SECONDS = 5.0  # for which such a link is kept

log = logging.getLogger("skiff.peer_links")


class Links:
    """A bounded number of links to nodes, one address each."""

    def __init__(self, dialer: Dialer, links_max: int) -> None:
        self._dialer = dialer
        self._max = links_max
        self._links: dict[NodeId, tuple[str, PeerLink | None]] = {}

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._links)

    def __contains__(self, node: NodeId) -> bool:
        return node in self._links

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return len(self._links) >= self._max

    def get(self, node: NodeId) -> PeerLink | None:
        """Return the link to a node, None if there is none."""
        known = self._links.get(node)
        return None if known is None else known[1]

    def reaches(self, node: NodeId, address: str) -> bool:
        """Whether there is a link to a node, at this address."""
        known = self._links.get(node)
        return known is not None and known[0] == address

    def open(self, node: NodeId, address: str) -> None:
        """Link to a node at this address, instead of any other."""
        if not self.reaches(node, address):
            self.close(node)
            self._links[node] = (address, self._dialer.dial(address))

    def close(self, node: NodeId) -> None:
        """Close the link to a node."""
        _, link = self._links.pop(node, ("", None))
        if link is not None:
            link.close()

    def keep_only(self, nodes: Sequence[NodeId]) -> None:
        """Close the links to all other nodes."""
        for node in self._links.keys() - set(nodes):
            self.close(node)


class PeerLinks:
    """Links to members by id, and the ROUTER that receives from any node."""

    def __init__(
        self, dialer: Dialer, config: NodeConfig, recovered: Recovered, connections_max: int
    ) -> None:
        self._router = dialer.sockets.peer_router(config.bind_address.peer_endpoint)
        self._node = recovered.node
        self._incarnation = recovered.incarnation
        self._address = str(config.address)
        self._linked = Membership()
        self._links = Links(dialer, LINKS_MAX)
        self._contacted: set[NodeId] = set()  # members that have sent a frame
        self._reply_links = Links(dialer, REPLY_LINKS_MAX)
        self._reply_link_opened_at: dict[NodeId, float] = {}
        self._malformed = OncePerSender()
        self.connections = Connections(self._router)
        self._connections_max = connections_max
        self._members: dict[bytes, int] = {}  # descriptors by member connection
        self._crowded = OnceAWhile()

    def follow(self, membership: Membership) -> None:
        """Link to the members, and close all other links.

        If they exceed the limit, voters come first, then members that have sent a frame.
        """
        if membership is self._linked:
            return
        self._linked = membership
        members = {member.id: member.address for member in membership.members}
        members.pop(self._node, None)
        self._contacted &= members.keys()
        chosen = sorted(members, key=self._rank)[:LINKS_MAX]
        self._links.keep_only(chosen)
        for node in chosen:
            self._links.open(node, members[node])

    def note_contact(self, node: NodeId, address: str) -> None:
        """Record that a member, or a node that one has vouched for, sends from this address."""
        if self._links.reaches(node, address):
            self._contacted.add(node)
            return
        if self._links.is_full and node not in self._links:
            self._links.close(max(self._links, key=self._rank))
        self._links.open(node, address)
        self._contacted.add(node)

    def open_reply_link(self, node: NodeId, address: str) -> None:
        """Link to a non-member that is to be answered, unless there are too many recent ones."""
        now = time.monotonic()
        if self._reply_links.is_full and node not in self._reply_links:
            oldest = min(
                self._reply_link_opened_at, key=lambda each: self._reply_link_opened_at[each]
            )
            if now < self._reply_link_opened_at[oldest] + REPLY_LINK_SECONDS:
                return
            del self._reply_link_opened_at[oldest]
            self._reply_links.close(oldest)
        self._reply_link_opened_at[node] = now
        self._reply_links.open(node, address)

    def _rank(self, node: NodeId) -> tuple[bool, bool]:
        """Return a sort key: links with lower keys are more important."""
        return not self._linked.is_voter(node), node not in self._contacted

    def send(self, cluster: bytes, peers: dict[NodeId, list[PeerMessage]]) -> None:
        """Send each peer its messages, in one frame unless it becomes too large.

        Messages that cannot be sent now are dropped. The same messages for several peers are
        encoded once.
        """
        encoded: dict[tuple[int, ...], list[bytes]] = {}
        for peer, messages in peers.items():
            link = self._links.get(peer) or self._reply_links.get(peer)
            if link is None:
                continue
            same = tuple(map(id, messages))
            frames = encoded.get(same)
            if frames is None:
                frames = encoded[same] = self._frames(cluster, messages)
            for frame in frames:
                link.send(frame)

    def _frames(self, cluster: bytes, messages: Sequence[PeerMessage]) -> list[bytes]:
        """Return the messages in as few frames as the size limit allows."""
        frame = self.frame(cluster, *messages)
        if len(frame) <= FRAME_BYTES or len(messages) == 1:
            return [frame]
        half = len(messages) // 2
        return self._frames(cluster, messages[:half]) + self._frames(cluster, messages[half:])

    def frame(self, cluster: bytes, *messages: PeerMessage) -> bytes:
        """Return the encoded frame that carries these messages."""
        return encode(
            PeerFrame(
                PEER_PROTOCOL_VERSION,
                cluster,
                self._node,
                self._incarnation,
                self._address,
                messages,
            )
        )

    def receive(self) -> Iterator[tuple[bytes, PeerFrame]]:
        """Yield the frames that have arrived, with the connection of each, for replies."""
        for frames, descriptor in self._router.drain_with(self._members):
            frame = self._decode(frames)
            if frame is not None:
                if descriptor >= 0 and self._linked.get(frame.sender) is not None:
                    self._members[frames[0]] = descriptor
                yield frames[0], frame

    def answer(self, connection: bytes, cluster: bytes, message: PeerMessage) -> None:
        """Answer a non-member over the connection on which it asked."""
        self._router.send(connection, self.frame(cluster, message))

    def is_readable(self, readable: Readable) -> bool:
        """Whether frames have arrived; also processes new and lost connections."""
        if self.connections.is_readable(readable):
            self._follow_connections(time.monotonic())
        return self._router in readable

    def _follow_connections(self, now: float) -> None:
        """Process new and lost connections; close those beyond the limit, members' last."""
        lost = self.connections.take_in(now)
        for connection, descriptor in list(self._members.items()):
            if descriptor in lost:
                del self._members[connection]
        members = set(self._members.values())
        closed = self.connections.trim(self._connections_max, now, members)
        if closed and self._crowded.is_due(now):
            log.warning("closed %d connections to the peer port: the limit is reached", len(closed))

    def _decode(self, frames: Frames) -> PeerFrame | None:
        try:
            if len(frames) != 2:  # noqa: PLR2004 - connection and body
                raise Malformed(f"{len(frames) - 1} frames instead of one")
            return _decode(frames[1])
        except Malformed as error:
            if self._malformed.is_new(frames[0]):
                log.warning("dropped a malformed frame from a peer connection: %s", error)
            return None


class JoinLinks(msgspec.Struct):
    """Short-lived links to addresses whose node is not known yet."""

    dialer: Dialer
    links: dict[str, PeerLink] = msgspec.field(default_factory=dict)

    def send(self, address: str, frame: bytes) -> None:
        """Send a frame to the node at an address."""
        link = self.links.get(address) or self.dialer.dial(address, is_heard=True)
        if link is None:
            return
        if address not in self.links:
            if len(self.links) >= JOIN_LINKS_MAX:
                oldest = next(iter(self.links))
                self.links.pop(oldest).close()
            self.links[address] = link
        link.send(frame)

    def receive(self) -> Iterator[PeerFrame]:
        """Yield the replies that have arrived."""
        for link in list(self.links.values()):
            for frames in link.receive():
                try:
                    yield _decode(frames[-1])
                except Malformed as error:
                    log.warning("dropped a malformed answer: %s", error)

    def close(self) -> None:
        """Close all links."""
        for link in self.links.values():
            link.close()
        self.links.clear()


def _decode(body: bytes) -> PeerFrame:
    """Decode a frame of a peer or of a node that asks to join.

    Raises:
        Malformed: it is not a peer frame, or of another protocol version.
    """
    frame = decode_peer_frame(body)
    if frame.version != PEER_PROTOCOL_VERSION:
        raise Malformed(f"peer protocol version {frame.version}, not {PEER_PROTOCOL_VERSION}")
    return frame
