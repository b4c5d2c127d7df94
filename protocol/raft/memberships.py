"""The membership in force: always the latest in the log, committed or not (§4.1)."""

from protocol.membership import Membership, MembershipAt, NodeId

_NOBODY = MembershipAt(0, Membership())


class Memberships:
    """The last committed membership and those after it, oldest first.

    A membership takes effect when its entry is appended, and is rolled back when that entry is
    replaced.
    """

    def __init__(self, recovered: tuple[MembershipAt, ...]) -> None:
        self._history = list(recovered) or [_NOBODY]

    @property
    def latest(self) -> MembershipAt:
        """The membership in force."""
        return self._history[-1]

    @property
    def committed(self) -> MembershipAt:
        """The last membership that cannot be rolled back any more."""
        return self._history[0]

    @property
    def pending(self) -> bool:
        """Whether a change is not committed yet."""
        return len(self._history) > 1

    @property
    def only_voter(self) -> NodeId | None:
        """Who alone votes in all of these memberships, if there is such a node."""
        voters = self.voters
        return next(iter(voters)) if len(voters) == 1 else None

    @property
    def voters(self) -> frozenset[NodeId]:
        """All that vote in any of these memberships."""
        return frozenset().union(*(each.membership.voters for each in self._history))

    def ever_had(self, node: NodeId) -> bool:
        """Whether a node belongs to any of these memberships."""
        return any(each.membership.get(node) is not None for each in self._history)

    def append(self, index: int, membership: Membership) -> None:
        """Put a membership in force from this entry on."""
        self._history.append(MembershipAt(index, membership))

    def truncate_from(self, index: int) -> bool:
        """Roll back what entries from this index on had brought; return whether any had."""
        kept = [each for each in self._history if each.index < index]
        changed = len(kept) < len(self._history)
        assert kept, "a committed membership is never rolled back"
        self._history = kept
        return changed

    def commit(self, index: int) -> bool:
        """Forget what the last membership up to this index replaced; return whether it is new."""
        committed = [each for each in self._history if each.index <= index]
        if len(committed) <= 1:
            return False
        self._history = self._history[len(committed) - 1 :]
        return True

    def to_store(self) -> tuple[MembershipAt, ...]:
        """Return what a restart must know."""
        return tuple(self._history)
