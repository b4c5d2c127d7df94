"""What a node must not forget before it answers anybody."""

import msgspec

from protocol.membership import NodeId


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """Its term, and whom it voted for in it.

    Also its ``patience``, in microseconds: for so long it may still be bound to a leader.
    """

    term: int = 0
    voted_for: NodeId = b""
    patience: int = 0
    removed: bool = False  # whether it learned that it is a member no more
