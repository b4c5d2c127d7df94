"""Shares: how much of a gateway's limits one user may take, so that others find room.

A user has half of each limit. On a node without keys, each connection, or each host where many
connections serve one purpose, counts as a user.
"""

from protocol.messages.client import Failed, FailureCode
from protocol.state.rights import Rights

SHARE = 2  # one user may take 1/2 of each limit
RETRY_MS = 100  # after which some of what a user holds has probably been released


def payer_of(user: bytes, rights: Rights, otherwise: bytes) -> bytes:
    """Return whose share something counts for: the user's name, or else its key, or else this."""
    return (rights.name_of(user) or "").encode() or user or otherwise


def exceeds_share(taken: int, limit: int) -> bool:
    """Whether one user has more of a limit than its share."""
    return taken * SHARE > limit


def refusal(reason: str, retry_after_ms: int = RETRY_MS) -> Failed:
    """Return the outcome of what a user may not do for now."""
    text = f"{reason}: try again in {retry_after_ms / 1000:.2g} s"
    return Failed(FailureCode.OVERLOADED, text, retry_after_ms)
