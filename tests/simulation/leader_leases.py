"""LeaderLeases: while a leader holds a lease, no other is elected (§6.4.1)."""

from protocol.membership import is_majority
from protocol.raft.node import RaftNode
from protocol.raft.roles import Leader
from tests.harness.breach import expect
from tests.simulation.events import Events


class LeaderLeases:
    """The leases of all leaders, each by its own clock."""

    def __init__(self, events: Events, leaders: dict[bytes, RaftNode]) -> None:
        self._events = events
        self._leaders = leaders
        self._clock_rates: dict[bytes, float] = {}

    def node_started(self, node: bytes, clock_rate: float) -> None:
        """Note the clock rate of a node."""
        self._clock_rates[node] = clock_rate

    def judge(self, elected: RaftNode) -> None:
        """Check that no leader of an older term still holds a lease."""
        for former in self._leaders.values():
            certain = former.term < elected.term and self._is_certain(former)
            expect(not certain, "a leader was elected while another one held a lease")

    def _is_certain(self, core: RaftNode) -> bool:
        state, leader = core._state, core._state.role
        if not isinstance(leader, Leader) or leader.timeout_now_sent:
            return False
        now = self._events.now * self._clock_rates[core.id] * 1_000_000
        voters = state.membership.voters
        bound = sum(
            voter == core.id or leader.progress[voter].leader_lease_until > now for voter in voters
        )
        return is_majority(bound, len(voters))
