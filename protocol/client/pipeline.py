"""Pipeline: an ordered list of operations, divided into runs that fit one request.

A run has only writes or only reads, because a node processes the operations of one request
concurrently. Its writes fit into one log entry, so that they are applied in order even if the
request is repeated.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from protocol.messages.client import Get
from protocol.state.commands import Insert, Remove, command_size
from protocol.state.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX

WriteCommand: TypeAlias = Insert | Remove
Pipelined: TypeAlias = WriteCommand | Get


def runs(operations: Sequence[Pipelined]) -> Iterator[list[Pipelined]]:
    """Yield the operations in runs of one kind, each small enough for one entry or reply."""
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
