"""Election: the leader is the first of a line of candidates, and its value what it proclaims."""

from collections.abc import Callable

from protocol.coordination.line import Line
from protocol.coordination.procedure import AwaitChange, Entries, Procedure, ReadEntries
from protocol.messages.client import ScannedEntry


def leader_of(line: Line, present: Entries) -> ScannedEntry | None:
    """Return the candidate that leads."""
    return next(iter(line.in_order(present)), None)


def find_leader(line: Line) -> Procedure[ScannedEntry | None]:
    """Return the candidate that leads, None if there is no candidate."""
    return leader_of(line, (yield ReadEntries(line.prefix)))


def next_leader(line: Line, last: ScannedEntry | None) -> Procedure[ScannedEntry | None]:
    """Wait until another candidate than the last one leads, or proclaims another value."""
    while True:
        present: Entries = yield ReadEntries(line.prefix)
        leader = leader_of(line, present)
        if leader != last:
            return leader
        yield AwaitChange(line.prefix, present.revision, _concerns(leader))


def _concerns(leader: ScannedEntry | None) -> Callable[[str, bool], bool]:
    """Return whether a change may be one of the leader: others come and go behind it."""
    return lambda key, _: leader is None or key == leader.key
