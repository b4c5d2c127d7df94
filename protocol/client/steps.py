"""Steps: the I/O that a call asks its driver for, and the results that it is sent back.

A call is a generator of steps. The blocking client, the asyncio client and the simulator drive the
same generators. All times are seconds.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

import msgspec

from protocol.messages.client import Operation, Outcome, Welcome

GRACE_SECONDS = 0.2  # for the node's own reply at the deadline, which knows more than silence


class Ask(msgspec.Struct, frozen=True):
    """Send operations to a node in one request; the result is ``Answered`` or ``Lost``."""

    endpoint: str  # as ZeroMQ writes it: tcp://host:port
    operations: tuple[Operation, ...]
    deadline: float  # for the node; its reply may take GRACE_SECONDS longer


class TakeCensus(msgspec.Struct, frozen=True):
    """Ask all given addresses which cluster they belong to; the result is ``Counted``."""

    greeted: str  # endpoint of the node that has answered already
    welcome: Welcome  # its answer
    deadline: float


class Pause(msgspec.Struct, frozen=True):
    """Wait before the next attempt."""

    seconds: float


class AwaitOthers(msgspec.Struct, frozen=True):
    """Wait until another call of this client gets a result, so many seconds at most."""

    seconds: float


class Answered(msgspec.Struct, frozen=True):
    """A reply."""

    outcomes: tuple[Outcome, ...]  # as many as there were operations, in their order


class Lost(msgspec.Struct, frozen=True):
    """No reply: the connection was lost, or none came in time."""

    sent: bool  # whether the node may have acted
    obstacle: str = ""  # why no connection could be opened at all, where it is known


class Counted(msgspec.Struct, frozen=True):
    """The end of a census."""

    cluster: bytes  # empty where the addresses do not tell
    obstacle: str = ""  # why they do not


Step: TypeAlias = Ask | TakeCensus | Pause | AwaitOthers
Result: TypeAlias = Answered | Lost | Counted | None
ReturnT = TypeVar("ReturnT")
Steps: TypeAlias = Generator[Step, Result, ReturnT]
