"""Pipeline: operations in order, cut into runs that each travel in one frame.

A run holds writes only, or reads only, because a node does the operations of one frame side by
side; and no more writes than go into one entry of the log, so that they are applied in order even
where a frame is sent twice.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from protocol.commands import Insert, Remove
from protocol.gateway.batching import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, command_size
from protocol.messages.client import Get

WriteCommand: TypeAlias = Insert | Remove
Pipelined: TypeAlias = WriteCommand | Get


def runs(operations: Sequence[Pipelined]) -> Iterator[list[Pipelined]]:
    """Yield the operations in runs of one kind, none beyond what one entry or one reply holds."""
    run: list[Pipelined] = []
    size = 0
    for operation in operations:
        weight = 0 if isinstance(operation, Get) else command_size(operation)
        if run and (
            isinstance(operation, Get) != isinstance(run[0], Get)
            or len(run) == BATCH_OPERATIONS_MAX
            or size + weight > BATCH_BYTES_MAX
        ):
            yield run
            run, size = [], 0
        run.append(operation)
        size += weight
    if run:
        yield run
