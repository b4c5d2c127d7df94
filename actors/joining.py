"""Becoming a member, or telling the cluster a new address: ask until it has happened."""

import itertools
import logging
import time
from collections.abc import Iterator

from actors.peer_links import Doors
from protocol.membership import Membership
from protocol.peer_messages import JoinReply, JoinRequest, PeerFrame

ASK_SECONDS = 0.2

log = logging.getLogger("skiff.joining")


class Joining:
    """Asks one address after another, and goes on with the leader when it is named."""

    def __init__(self, doors: Doors, addresses: tuple[str, ...], own_address: str) -> None:
        self._doors = doors
        self._own_address = own_address
        self._addresses = list(addresses)
        self._round: Iterator[str] = iter(())
        self._leader = ""
        self.ask_at = 0.0  # when it is time to ask again
        self._refusals: set[str] = set()
        self.request = JoinRequest(own_address)

    def invite(self, address: str) -> None:
        """Ask this address too."""
        if address not in self._addresses:
            self._addresses.append(address)

    def ask(self, frame: bytes, membership: Membership) -> None:
        """Ask the leader, where it is known, or the next address."""
        now = time.monotonic()
        if now < self.ask_at:
            return
        self.ask_at = now + ASK_SECONDS
        address = self._leader or self._next(membership)
        self._leader = ""
        if address:
            self._doors.send(address, frame)

    def answers(self) -> Iterator[tuple[PeerFrame, JoinReply]]:
        """Yield what those who were asked have answered."""
        for frame in self._doors.receive():
            for message in frame.messages:
                if isinstance(message, JoinReply):
                    yield frame, message
                    self._note(message)

    @property
    def is_open(self) -> bool:
        """Whether answers may still come."""
        return bool(self._doors.links)

    def close(self) -> None:
        """Ask nobody any more."""
        self._doors.close()

    def _note(self, reply: JoinReply) -> None:
        if reply.leader_address and reply.leader_address != self._own_address:
            self._leader = reply.leader_address
            self.ask_at = 0.0
        if reply.refusal and reply.refusal not in self._refusals:
            self._refusals.add(reply.refusal)
            log.error("cannot join: %s", reply.refusal)

    def _next(self, membership: Membership) -> str:
        """Return the next of all addresses that may know the leader."""
        address = next(self._round, None)
        if address is None:
            members = [member.address for member in membership.members]
            known = dict.fromkeys(itertools.chain(self._addresses, members))
            self._round = iter([each for each in known if each != self._own_address])
            address = next(self._round, "")
        return address
