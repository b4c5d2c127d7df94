"""Quotas: how many requests of one user a gateway may hold, and accept.

Every user has its share of what the gateway holds at once, and, if the settings say so, a number of
operations a second by a token bucket. On a node without keys, each connection counts as a user.
"""

from math import ceil

import msgspec

from protocol.gateway.pending import CALL_BYTES_MAX, CALL_OPERATIONS_MAX, CALLS_MAX
from protocol.gateway.shares import exceeds_share, refusal
from protocol.messages.client import Failed

BURST_SECONDS = 1.0  # of operations at the permitted rate that may come at once
MODEST = 100  # one with up to 1/100 of each limit is served although others have used it up
USERS_NOTED_MAX = 20_000  # beyond it, those without pending requests are forgotten


class Usage(msgspec.Struct):
    """What one user has pending, and may ask now."""

    tokens: float  # operations
    at: float  # when the tokens were counted
    calls: int = 0
    operations: int = 0
    bytes: int = 0


class Quotas:
    """The usage of all users of one gateway. Times are seconds of a steady clock."""

    def __init__(self, operations_per_second: int = 0) -> None:
        """Permit each user so many operations a second; 0 for any number."""
        self._rate = operations_per_second
        self._burst = operations_per_second * BURST_SECONDS
        self._usages: dict[bytes, Usage] = {}

    def begin(self, user: bytes, operations: int, size: int, now: float) -> Failed | None:
        """Count a request; return its outcome if it is refused, which ``end`` must follow, too."""
        usage = self._usages.get(user) or self._meet(user, now)
        usage.calls += 1
        usage.operations += operations
        usage.bytes += size
        if (
            exceeds_share(usage.calls, CALLS_MAX)
            or exceeds_share(usage.operations, CALL_OPERATIONS_MAX)
            or exceeds_share(usage.bytes, CALL_BYTES_MAX)
        ):
            return refusal("this user has too many requests pending")
        return self._take_tokens(usage, operations, now) if self._rate else None

    def is_modest(self, user: bytes) -> bool:
        """Whether a user with a pending request has few in all."""
        usage = self._usages[user]
        return (
            usage.calls * MODEST <= CALLS_MAX
            and usage.operations * MODEST <= CALL_OPERATIONS_MAX
            and usage.bytes * MODEST <= CALL_BYTES_MAX
        )

    def end(self, user: bytes, operations: int, size: int) -> None:
        """Count the end of a request."""
        usage = self._usages[user]
        usage.calls -= 1
        usage.operations -= operations
        usage.bytes -= size
        if not usage.calls and not self._rate:
            del self._usages[user]

    def _meet(self, user: bytes, now: float) -> Usage:
        if len(self._usages) >= USERS_NOTED_MAX:
            self._usages = {each: usage for each, usage in self._usages.items() if usage.calls}
        usage = self._usages[user] = Usage(self._burst, now)
        return usage

    def _take_tokens(self, usage: Usage, operations: int, now: float) -> Failed | None:
        """Take tokens; a request of more than a burst waits for a full bucket, and empties it."""
        usage.tokens = min(self._burst, usage.tokens + (now - usage.at) * self._rate)
        usage.at = now
        missing = min(operations, self._burst) - usage.tokens
        if missing <= 0:
            usage.tokens -= operations
            return None
        return refusal(
            f"this user may send {self._rate} operations a second",
            ceil(missing / self._rate * 1000),
        )
