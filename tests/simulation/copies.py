"""Copies: copied data directories, started at other addresses."""

from protocol.hard_state import HardState
from protocol.membership import MembershipAt
from protocol.messages.peer import PEER_PROTOCOL_VERSION, ClusterQuery, ClusterReply, PeerFrame
from protocol.messages.replicator import Recovered
from protocol.raft.moving import Moving
from tests.harness.breach import expect
from tests.simulation.cluster import Cluster
from tests.simulation.node import Node, host_of


class Copy:
    """A copy, which checks its former address.

    It ends in any case: two nodes of one id would break any cluster, and a copy that does not reach
    its original cannot know that there is one.
    """

    def __init__(self, cluster: Cluster, original: Node, held: tuple[MembershipAt, ...]) -> None:
        self._cluster = cluster
        self._setting = cluster.setting
        self._node = original.id  # the original loses its id with its directory
        self._setting.totals.copies += 1
        self._name = f"{original.name}-copy-{self._setting.totals.copies}"
        self._address = f"{self._name}:9400"
        nothing = HardState()
        recovered = Recovered(original.id, b"", 0, nothing, 0, 0, 0, (), held)
        self._moving = Moving(recovered, self._address, self._setting.events.now)
        self._has_heard = False
        cluster.copies[self._address] = self

    def turn(self) -> None:
        """Send requests and decide, as due."""
        events, moving = self._setting.events, self._moving
        if moving.is_over(events.now):
            self._end()
            return
        if moving.take_request(events.now):
            self._ask()
        events.at(moving.deadline, self.turn)

    def receive(self, sender: str, frame: PeerFrame) -> None:
        """Receive a frame of another node."""
        self._setting.events.note(self._name, f"hears {sender}", frame.messages)
        answers = any(type(message) is ClusterReply for message in frame.messages)
        self._has_heard |= answers and frame.sender == self._node
        self._moving.hear(frame)

    def _ask(self) -> None:
        messages = (ClusterQuery(),)
        frame = PeerFrame(PEER_PROTOCOL_VERSION, b"", self._node, 0, self._address, messages)
        former, deliver = self._moving.former_address, self._cluster.deliver
        what = (deliver, self._name, former, frame)
        self._setting.network.send(self._address, host_of(former), True, *what)

    def _end(self) -> None:
        self._setting.events.note(self._name, "ends", self._moving.is_copy)
        del self._cluster.copies[self._address]
        self._setting.totals.copies_found += self._moving.is_copy
        expect(self._moving.is_copy or not self._has_heard, "a copy takes part beside its original")
