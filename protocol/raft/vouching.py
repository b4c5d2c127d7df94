"""Vouching: asks members for the memberships when an unknown node sends messages."""

from protocol.membership import Membership
from protocol.raft.asking import ASK_SECONDS

ASKED_MAX = 8  # addresses in one round: those given first, then voters


class Vouching:
    """The rounds of queries of one node; ``RaftNode.on_membership_reply`` takes the answers."""

    def __init__(self, named: tuple[str, ...], own_address: str) -> None:
        """Start with the addresses that the operator gave by ``--join``."""
        self._named = named
        self._own_address = own_address
        self.ask_at = 0.0  # when the next round is due, in seconds of any steady clock

    def take_addresses(self, membership: Membership, now: float) -> list[str]:
        """Return the addresses to ask now: none before a round is due."""
        if now < self.ask_at:
            return []
        self.ask_at = now + ASK_SECONDS
        members = sorted(membership.members, key=lambda member: not member.voter)
        addresses = dict.fromkeys((*self._named, *[member.address for member in members]))
        addresses.pop(self._own_address, None)
        return list(addresses)[:ASKED_MAX]
