"""Membership history: the committed membership and those after it (dissertation §4.1)."""

from protocol.membership import Membership, MembershipAt, NodeId
from protocol.ranges import LEVEL_MIN

FOUNDING_INDEX = 1  # of the entry that founds a cluster

_NO_MEMBERS = MembershipAt(0, Membership())


class MembershipHistory:
    """The last committed membership and those after it, oldest first.

    The latest is in force, committed or not: a membership takes effect when its entry is appended,
    and is rolled back when that entry is truncated.
    """

    def __init__(self, recovered: tuple[MembershipAt, ...]) -> None:
        self._history = list(recovered) or [_NO_MEMBERS]

    @property
    def latest(self) -> MembershipAt:
        """The membership in force."""
        return self._history[-1]

    @property
    def committed(self) -> MembershipAt:
        """The last membership that cannot be rolled back."""
        return self._history[0]

    @property
    def pending(self) -> bool:
        """Whether a change is not committed yet."""
        return len(self._history) > 1

    @property
    def only_voter(self) -> NodeId | None:
        """The only voter of all these memberships, if they have just one."""
        voters = self.voters
        return next(iter(voters)) if len(voters) == 1 else None

    @property
    def voters(self) -> frozenset[NodeId]:
        """The voters of any of these memberships."""
        return frozenset().union(*(each.membership.voters for each in self._history))

    @property
    def level(self) -> int:
        """The level of commands that every member of any of these memberships can apply."""
        known = [each.membership for each in self._history]
        return min((each.level for each in known if each.members), default=LEVEL_MIN)

    def ever_had(self, node: NodeId) -> bool:
        """Whether any of these memberships has a node."""
        return any(each.membership.get(node) is not None for each in self._history)

    def append(self, index: int, membership: Membership) -> None:
        """Put a membership in force from this entry on."""
        self._history.append(MembershipAt(index, membership))

    def truncate_from(self, index: int) -> bool:
        """Roll back the memberships of entries from this index on; return whether any existed."""
        kept = [each for each in self._history if each.index < index]
        changed = len(kept) < len(self._history)
        assert kept, "a committed membership is never rolled back"
        self._history = kept
        return changed

    def commit(self, index: int) -> bool:
        """Drop all before the last membership up to this index; return whether that one is new."""
        committed = [each for each in self._history if each.index <= index]
        if len(committed) <= 1:
            return False
        self._history = self._history[len(committed) - 1 :]
        return True

    def to_store(self) -> tuple[MembershipAt, ...]:
        """Return the memberships that a restart must know."""
        return tuple(self._history)
