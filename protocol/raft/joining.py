"""Joining: asking for membership, one address after another, until the leader has granted it."""

import itertools
from collections.abc import Iterator, Mapping

from protocol.membership import Membership
from protocol.messages.peer import JoinReply, JoinRequest, PeerFrame

ASK_SECONDS = 0.2  # between two requests
ANSWER_SECONDS = 2.0  # how old an answer may be that counts
INVITATIONS_MAX = 8  # addresses that have invited the node and are asked
ASKED_MAX = 64  # addresses whose answers an operator hears of


class Joining:
    """The requests of one node. Times are seconds of any steady clock."""

    def __init__(self, addresses: tuple[str, ...], own_address: str, *, rejoin: bool) -> None:
        self.request = JoinRequest(own_address, rejoin)
        self.ask_at = 0.0
        self._addresses = addresses
        self._invitations: list[str] = []
        self._own_address = own_address
        self._round: Iterator[str] = iter(())
        self._leader = ""
        self._asked: set[str] = set()
        self._answered: dict[str, tuple[float, str]] = {}  # address to when, and what it said
        self.refusal = ""  # the last reason that a node gave

    def invite(self, address: str) -> None:
        """Ask this address too; of many invitations, the newest count."""
        if address in self._addresses:
            return
        if address in self._invitations:
            self._invitations.remove(address)
        self._invitations = [*self._invitations, address][-INVITATIONS_MAX:]

    def take_address(self, membership: Membership, now: float) -> str:
        """Return the address to send the request to: the leader's or the next; none before time."""
        if now < self.ask_at:
            return ""
        self.ask_at = now + ASK_SECONDS
        address = self._leader or self._next(membership)
        self._leader = ""
        if len(self._asked) < ASKED_MAX:
            self._asked.add(address)
        return address

    def hear(self, frame: PeerFrame, reply: JoinReply, now: float) -> bool:
        """Take an answer in; return whether it brings a reason for refusal that is new."""
        if frame.address in self._asked:
            self._answered[frame.address] = (now, _said(reply))
        if reply.leader_address and reply.leader_address != self._own_address:
            self._leader = reply.leader_address
            self.ask_at = 0.0
        is_new = reply.refusal not in ("", self.refusal)
        self.refusal = reply.refusal or self.refusal
        return is_new

    def waits_for(self, now: float, troubles: Mapping[str, str]) -> str:
        """Return in words what the addresses asked so far have answered, or their troubles."""
        asked = sorted(self._asked - {""})
        words = {each: troubles.get(each) or "does not answer" for each in asked}
        for address, (heard_at, said) in self._answered.items():
            if heard_at > now - ANSWER_SECONDS:
                words[address] = said
        return "; ".join(f"{address} {said}" for address, said in words.items())

    def _next(self, membership: Membership) -> str:
        """Return the next of all addresses that may know the leader."""
        address = next(self._round, None)
        if address is None:
            members = [member.address for member in membership.members]
            known = dict.fromkeys(itertools.chain(self._addresses, self._invitations, members))
            self._round = iter([each for each in known if each != self._own_address])
            address = next(self._round, "")
        return address


def _said(reply: JoinReply) -> str:
    if reply.accepted:
        return "lets this node in"
    if reply.refusal:
        return "refuses"
    if reply.leader_address:
        return f"names {reply.leader_address} as leader"
    return "knows no leader"
