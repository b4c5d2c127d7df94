"""Which node a client speaks to: the leader where it is known, else any that answers."""

import itertools
import threading

from protocol.address import parse_address
from protocol.client_messages import Welcome

AVOID_SECONDS = 1.0  # how long an endpoint that did not answer is left alone


class Route:
    """The endpoints that a client knows. Safe to share by threads.

    Times are seconds of any steady clock.
    """

    def __init__(self, endpoints: list[str], *, follow_leader: bool) -> None:
        self._given = endpoints
        self._follow_leader = follow_leader
        self._members: list[str] = []
        self._leader = ""
        self._avoided: dict[str, float] = {}
        self._turn = itertools.count()
        self._lock = threading.Lock()

    def choose(self, now: float) -> str:
        """Return the endpoint to speak to: the leader's, or the next that is not avoided."""
        with self._lock:
            if self._leader and not self._is_avoided(self._leader, now):
                return self._leader
            known = list(dict.fromkeys([*self._given, *self._members]))
            hopeful = [each for each in known if not self._is_avoided(each, now)]
            candidates = hopeful or known
            return candidates[next(self._turn) % len(candidates)]

    def should_move(self, endpoint: str, now: float) -> bool:
        """Whether another node than the one connected to leads."""
        leader = self._leader
        return bool(leader) and leader != endpoint and not self._is_avoided(leader, now)

    def note_failure(self, endpoint: str, now: float) -> None:
        """Leave an endpoint alone for a while; it is not believed to lead any more."""
        with self._lock:
            self._avoided[endpoint] = now + AVOID_SECONDS
            if self._leader == endpoint:
                self._leader = ""

    def learn(self, welcome: Welcome) -> None:
        """Take in who the members are and who leads."""
        if not self._follow_leader:
            return
        members = [_endpoint(member.address) for member in welcome.membership.members]
        with self._lock:
            self._members = members
            self._leader = _endpoint(welcome.leader_address) if welcome.leader_address else ""

    def _is_avoided(self, endpoint: str, now: float) -> bool:
        return self._avoided.get(endpoint, 0.0) > now

    @property
    def all(self) -> list[str]:
        """Every endpoint that is known."""
        return list(dict.fromkeys([*self._given, *self._members]))


def _endpoint(address: str) -> str:
    return parse_address(address).client_endpoint
