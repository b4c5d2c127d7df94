"""High-water mark: the newest revision that a client has seen; no later read may fall behind it.

Nodes that serve stale reads, or lead by their leases only, may be behind each other. Session
guarantees: monotonic reads, and reads of the client's own writes (Terry et al., 1994).
"""

from msgspec.structs import replace

from protocol.messages.client import Get, ModalRead, Operation, Outcome, Scan
from protocol.state.commands import RevisionMismatch


class HighWaterMark:
    """The newest revision in the outcomes of one client."""

    def __init__(self) -> None:
        self.revision = 0

    def note(self, outcome: Outcome | None) -> None:
        """Take the newest revision that an outcome shows, if it shows one."""
        if type(outcome) is RevisionMismatch:
            self.rise_to(outcome.current)
        else:
            self.rise_to(getattr(outcome, "revision", 0))

    def rise_to(self, revision: int) -> None:
        """Take a revision that the client has seen."""
        self.revision = max(self.revision, revision)

    def require(self, operation: Operation) -> Operation:
        """Return an operation that reads no older state, unless it is linearizable as it is.

        A scan goes on at the revision of its first page.
        """
        if type(operation) is Get and not (operation.leader_lease or operation.max_staleness_ms):
            return operation  # the most frequent case
        if type(operation) is Scan and operation.revision:
            return operation
        if isinstance(operation, ModalRead) and (
            operation.leader_lease or operation.max_staleness_ms
        ):
            least = max(operation.min_revision, self.revision)
            return replace(operation, min_revision=least)
        return operation
