"""Vouching: asking members who belongs to the cluster, when a node that is not known speaks."""

import time
from collections.abc import Iterator

from actors.peer_links import JoinLinks
from protocol.membership import Membership
from protocol.messages.peer import MembershipTold, PeerFrame

ASK_SECONDS = 0.2
IDLE_SECONDS = 2.0  # after the last question: by then all have answered that will
ASKED_MAX = 8  # addresses in one round; voters first


class Vouching:
    """Asks the members that a node knows, and the addresses that its operator has named."""

    def __init__(self, links: JoinLinks, named: tuple[str, ...], own_address: str) -> None:
        self._links = links
        self._named = named
        self._own_address = own_address
        self.ask_at = 0.0  # when it is time to ask again

    def ask(self, frame: bytes, membership: Membership) -> None:
        """Ask all, at most once in a while."""
        now = time.monotonic()
        if now < self.ask_at:
            return
        self.ask_at = now + ASK_SECONDS
        members = sorted(membership.members, key=lambda member: not member.voter)
        addresses = dict.fromkeys((*self._named, *[member.address for member in members]))
        addresses.pop(self._own_address, None)
        for address in list(addresses)[:ASKED_MAX]:
            self._links.send(address, frame)

    def answers(self) -> Iterator[tuple[PeerFrame, MembershipTold]]:
        """Yield what those who were asked have answered."""
        for frame in self._links.receive():
            for message in frame.messages:
                if isinstance(message, MembershipTold):
                    yield frame, message

    @property
    def is_open(self) -> bool:
        """Whether answers may still come."""
        return bool(self._links.links)

    def close_if_answered(self) -> None:
        """Close the links when nothing has been asked for a while."""
        if self._links.links and time.monotonic() > self.ask_at + IDLE_SECONDS:
            self._links.close()
