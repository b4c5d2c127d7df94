"""Turn and contest: a turn granted in a line, and the description of what is contended for."""

import os
import socket
import uuid
from typing import Generic, Protocol, TypeVar

import msgspec

from protocol.coordination.line import Line, contend
from protocol.coordination.procedure import Procedure
from protocol.state.commands import GrantLease
from skiff.arguments import check_change, check_key, check_wait, milliseconds_of
from skiff.errors import NoNodeReached, OutcomeUnknown, RequestTimeout
from skiff.records import Fence
from skiff.values import encode_value

LATE = (RequestTimeout, OutcomeUnknown, NoNodeReached)  # a turn that has not come in time


class AnyLease(Protocol):
    """A lease of a client of either kind."""

    @property
    def id(self) -> int:
        """Its number in the cluster."""

    @property
    def ttl(self) -> float:
        """Its seconds without a keep-alive."""

    @property
    def remaining(self) -> float:
        """The seconds for which it certainly lasts."""


LeaseT = TypeVar("LeaseT", bound=AnyLease)


class Turn(msgspec.Struct, Generic[LeaseT], frozen=True):
    """A turn that has come."""

    key: str  # of the contender
    token: int  # the key's create revision
    lease: LeaseT

    @property
    def fence(self) -> Fence:
        """The fence of this turn."""
        return Fence(self.key, self.token)


class Contest(msgspec.Struct, frozen=True):
    """One kind of contenders for a name, and how they wait."""

    kind: str  # for messages
    name: str
    line: Line
    key_prefix: str  # of the keys of this kind
    ttl: float  # seconds
    timeout: float | None  # seconds to wait for a turn; None has no limit

    def check(self) -> "Contest":
        """Check the arguments that the contest was made of; return it.

        Raises:
            InvalidRequest: the name is no key, or too long, or a number is out of its bounds.
        """
        check_key(self.new_key())
        check_change(GrantLease(milliseconds_of(self.ttl)))
        check_wait(self.timeout)
        return self

    @property
    def not_yet(self) -> str:
        """The state while the turn has not come, for messages."""
        return f"{self.described} was not free"

    @property
    def described(self) -> str:
        """Kind and name, for messages, as in "lock 'jobs'"."""
        return f"{self.kind} {self.name!r}"

    def new_key(self) -> str:
        """Return a key for one more contender."""
        return self.key_prefix + uuid.uuid4().hex

    def join(self, key: str, value: bytes, lease: int) -> Procedure[int | None]:
        """Wait for the turn of a contender; the result is its token."""
        return contend(self.line, key, value, lease)


def late(state: str, seconds: float | None) -> str:
    """Return the message of a wait that has ended in a state, as in "lock 'jobs' was not free"."""
    return f"{state} within {seconds:g} s" if seconds else state


def this_process() -> bytes:
    """Return the value of a contender's key: the host and the process, for people."""
    return encode_value("holder", f"{socket.gethostname()} {os.getpid()}")
