"""High-water mark: the newest revision that a client has seen, and reads no older state than.

Nodes that serve stale reads, or lead by their leases only, may be behind each other. Session
guarantees: monotonic reads, and reads of the client's own writes (Terry et al., 1994).
"""

from msgspec.structs import replace

from protocol.messages.client import Get, ModalRead, Operation, Outcome
from protocol.state.commands import Event


class HighWaterMark:
    """The newest revision in the outcomes of one client."""

    def __init__(self) -> None:
        self.revision = 0

    def note(self, outcome: Outcome | Event | None) -> None:
        """Take the revision of an outcome or of a change, if it has one."""
        revision: int = getattr(outcome, "revision", 0)
        self.revision = max(self.revision, revision)

    def require(self, operation: Operation) -> Operation:
        """Return an operation that reads no older state, unless it is linearizable as it is."""
        if type(operation) is Get and not (operation.leader_lease or operation.max_staleness_ms):
            return operation  # the most frequent case
        if isinstance(operation, ModalRead) and (
            operation.leader_lease or operation.max_staleness_ms
        ):
            least = max(operation.min_revision, self.revision)
            return replace(operation, min_revision=least)
        return operation
