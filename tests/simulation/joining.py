"""Becoming a member in the simulation: the way of ``actors.joining``, on virtual time."""

import itertools
from collections.abc import Iterator

from actors.joining import ASK_SECONDS
from protocol.membership import Membership
from protocol.peer_messages import JoinReply, JoinRequest
from tests.simulation.events import Events


class Joining:
    """Asks one address after another, and goes on with the leader when it is named."""

    def __init__(self, own_address: str, events: Events) -> None:
        self._own_address = own_address
        self._events = events
        self._addresses: list[str] = []
        self._round: Iterator[str] = iter(())
        self._leader = ""
        self.ask_at = 0.0
        self.request = JoinRequest(own_address)

    def invite(self, address: str) -> None:
        """Ask this address too."""
        if address not in self._addresses:
            self._addresses.append(address)

    def take_address(self, membership: Membership) -> str:
        """Return whom to ask now, or nothing before it is time."""
        if self.ask_at > self._events.now:
            return ""
        self.ask_at = self._events.now + ASK_SECONDS
        address = self._leader or self._next(membership)
        self._leader = ""
        return address

    def note(self, reply: JoinReply) -> None:
        """Take in who leads."""
        if reply.leader_address and reply.leader_address != self._own_address:
            self._leader = reply.leader_address
            self.ask_at = 0.0

    def _next(self, membership: Membership) -> str:
        address = next(self._round, None)
        if address is None:
            members = [member.address for member in membership.members]
            known = dict.fromkeys(itertools.chain(self._addresses, members))
            self._round = iter([each for each in known if each != self._own_address])
            address = next(self._round, "")
        return address
