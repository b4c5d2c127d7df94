"""Steps: the I/O that a call requests from its driver, and the results it is sent back.

A call is a generator of steps. The blocking client, the asyncio client and the simulator drive the
same generators. All times are seconds of a steady clock.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

import msgspec

from protocol.messages.client import Operation, Outcome, Welcome
from protocol.security.handshakes import Trouble

GRACE_SECONDS = 0.2  # past the deadline, for the node's own timeout reply
LONGEST_SECONDS = 3600.0  # nodes hold no request longer; the client sends it again


class Ask(msgspec.Struct, frozen=True):
    """Send operations to a node in one request; the result is ``Answered`` or ``Lost``."""

    endpoint: str  # as ZeroMQ writes it: tcp://host:port
    operations: tuple[Operation, ...]
    deadline: float  # of the node; its reply may take GRACE_SECONDS longer


class TakeCensus(msgspec.Struct, frozen=True):
    """Ask all given addresses for their cluster; the result is ``Counted``."""

    greeted: str  # endpoint of the node that was greeted
    welcome: Welcome  # that node's reply
    deadline: float


class Pause(msgspec.Struct, frozen=True):
    """Wait before the next attempt."""

    seconds: float


class AwaitOthers(msgspec.Struct, frozen=True):
    """Wait until another call of this client gets a result, or the time is over."""

    seconds: float


class Answered(msgspec.Struct, frozen=True):
    """A reply."""

    outcomes: tuple[Outcome, ...]  # as many as there were operations, in their order


class Lost(msgspec.Struct, frozen=True):
    """No reply: the connection was lost, or the request timed out."""

    sent: bool  # whether the node may have processed the request
    obstacle: str = ""  # why no connection could be opened, if known
    trouble: Trouble | None = None  # what a failed handshake says of the node


class Counted(msgspec.Struct, frozen=True):
    """The result of a census."""

    cluster: bytes  # id; empty if undecided
    obstacle: str = ""  # why it is undecided


Step: TypeAlias = Ask | TakeCensus | Pause | AwaitOthers
Result: TypeAlias = Answered | Lost | Counted | None
ReturnT = TypeVar("ReturnT")
Steps: TypeAlias = Generator[Step, Result, ReturnT]


def timeout_ms(deadline: float, now: float) -> int:
    """Return the timeout that a request states, in milliseconds."""
    return int(max(0.0, min(deadline - now, LONGEST_SECONDS)) * 1000)
