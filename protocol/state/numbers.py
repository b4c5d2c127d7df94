"""Numbers: addition to a stored value, which must be a MessagePack integer, -2^63 to 2^64 - 1.

A sum is at most 2^63 - 1. The value is not held to that: older builds do not, and a state machine
that refused what they apply would differ from theirs.
"""

import msgspec

from protocol.encoding import encode
from protocol.ranges import NUMBER_MAX
from protocol.state.commands import Obstacle

INTEGER_MIN = -NUMBER_MAX - 1

_decode_integer = msgspec.msgpack.Decoder(int).decode


class CannotAdd(Exception):
    """The value is no integer, or the sum is outside of -2^63 to 2^63 - 1."""

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle.name)
        self.obstacle = obstacle


def add(value: bytes | None, by: int) -> tuple[int, bytes]:
    """Return the sum and its stored form; an absent value counts as 0.

    Raises:
        CannotAdd: the value is no integer, or the sum is outside of -2^63 to 2^63 - 1.
    """
    try:
        total = (0 if value is None else _decode_integer(value)) + by
    except (msgspec.MsgspecError, ValueError, OverflowError):
        raise CannotAdd(Obstacle.NOT_INTEGER) from None
    if not INTEGER_MIN <= total <= NUMBER_MAX:
        raise CannotAdd(Obstacle.OUT_OF_RANGE)
    return total, encode(total)
