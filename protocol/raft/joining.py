"""Joining: a node asks one address after another for membership, until a leader grants it."""

import itertools
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from protocol.membership import Membership
from protocol.messages.peer import JoinReply, JoinRequest, PeerFrame
from protocol.raft.asking import ASK_SECONDS

REPLY_SECONDS = 2.0  # age up to which a reply is reported
INVITATIONS_MAX = 8  # inviting addresses that are asked
ASKED_MAX = 64  # addresses whose replies are reported to the operator


class Joining:
    """The join requests of one node. Times are seconds of any steady clock."""

    def __init__(
        self, addresses: tuple[str, ...], own_address: str, *, rejoin: bool, level: int
    ) -> None:
        self.request = JoinRequest(own_address, rejoin, level=level)
        self.ask_at = 0.0
        self._addresses = addresses
        self._invitations: list[str] = []
        self._own_address = own_address
        self._round: Iterator[str] = iter(())
        self._leader = ""
        self._asked: set[str] = set()
        self._replies: dict[str, tuple[float, str]] = {}  # address to time and content
        self.refusal = ""  # the last one, in words

    def request_of(self, *, is_member: bool) -> JoinRequest:
        """Return the request; a member only announces its address, unless it may rejoin."""
        return replace(self.request, is_member=is_member and not self.request.rejoin)

    def invite(self, address: str) -> None:
        """Ask this address too; of many invitations, only the newest are kept."""
        if address in self._addresses:
            return
        if address in self._invitations:
            self._invitations.remove(address)
        self._invitations = [*self._invitations, address][-INVITATIONS_MAX:]

    def take_address(self, membership: Membership, now: float) -> str:
        """Return the address to ask now, the leader's if it is known, or '' if none is due."""
        if now < self.ask_at:
            return ""
        self.ask_at = now + ASK_SECONDS
        address = self._leader or self._next(membership)
        self._leader = ""
        if len(self._asked) < ASKED_MAX:
            self._asked.add(address)
        return address

    def hear(self, frame: PeerFrame, reply: JoinReply, now: float) -> bool:
        """Take a reply; return whether it brings a new refusal."""
        if frame.address in self._asked:
            self._replies[frame.address] = (now, _describe(frame, reply))
        if reply.leader_address not in ("", self._own_address):
            self._hear_leader(frame.address == reply.leader_address, reply)
        is_new = reply.refusal not in ("", self.refusal)
        self.refusal = reply.refusal or self.refusal
        return is_new

    def waits_for(self, now: float, troubles: Mapping[str, str]) -> str:
        """Return in words the replies of the addresses asked so far, or their troubles."""
        asked = sorted(self._asked - {""})
        states = {each: troubles.get(each) or "does not answer" for each in asked}
        for address, (received_at, reply) in self._replies.items():
            if received_at > now - REPLY_SECONDS:
                states[address] = reply
        return "; ".join(f"{address} {state}" for address, state in states.items())

    def _hear_leader(self, leads: bool, reply: JoinReply) -> None:
        """Ask the leader at once: another than the sender, or on the basis of its membership."""
        before = self.request
        if leads:
            self.request = replace(before, index=reply.index, term=reply.term)
        if not leads or self.request != before:
            self._leader = reply.leader_address
            self.ask_at = 0.0

    def _next(self, membership: Membership) -> str:
        """Return the next address that may know the leader."""
        address = next(self._round, None)
        if address is None:
            members = [member.address for member in membership.members]
            known = dict.fromkeys(itertools.chain(self._addresses, self._invitations, members))
            self._round = iter([each for each in known if each != self._own_address])
            address = next(self._round, "")
        return address


def _describe(frame: PeerFrame, reply: JoinReply) -> str:
    if reply.accepted:
        return "lets this node in"
    if reply.refusal:
        return "refuses"
    if frame.address == reply.leader_address:
        return "leads, and cannot add it yet"
    if reply.leader_address:
        return f"names {reply.leader_address} as leader"
    return "knows no leader"
