"""Vouching: asks members for the memberships when an unknown node sends messages."""

import time
from collections.abc import Iterator

from actors.peer_links import JoinLinks
from protocol.membership import Membership
from protocol.messages.peer import MembershipTold, PeerFrame

ASK_SECONDS = 0.2
IDLE_SECONDS = 2.0  # after the last query, when no more answers are expected
ASKED_MAX = 8  # addresses in one round; voters first


class Vouching:
    """Queries the known members, and the addresses given by ``--join``."""

    def __init__(self, links: JoinLinks, named: tuple[str, ...], own_address: str) -> None:
        self._links = links
        self._named = named
        self._own_address = own_address
        self.ask_at = 0.0  # when the next query is due

    def ask(self, frame: bytes, membership: Membership) -> None:
        """Send a query to all, at most once in ``ASK_SECONDS``."""
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
        """Yield the answers that have arrived."""
        for frame in self._links.receive():
            for message in frame.messages:
                if isinstance(message, MembershipTold):
                    yield frame, message

    @property
    def is_open(self) -> bool:
        """Whether answers may still arrive."""
        return bool(self._links.links)

    def close_if_answered(self) -> None:
        """Close the links once no more answers are expected."""
        if self._links.links and time.monotonic() > self.ask_at + IDLE_SECONDS:
            self._links.close()
