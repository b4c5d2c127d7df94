"""Route: which node a client speaks to, the leader where it is known, else any that answers.

Only nodes of one cluster: a node whose directory was lost may have founded another one at the
same address.
"""

import itertools

from protocol.address import parse_address
from protocol.messages.client import Welcome

TCP_SCHEME = "tcp://"
AVOID_SECONDS = 1.0  # how long an endpoint that did not answer is left alone


class Route:
    """The endpoints that a client knows. Times are seconds of any steady clock."""

    def __init__(self, endpoints: list[str], *, follow_leader: bool, cluster: bytes = b"") -> None:
        self.cluster = cluster  # empty until a node has named one and, of several, a census too
        self.given = list(dict.fromkeys(endpoints))
        self._follow_leader = follow_leader
        self._members: list[str] = []
        self._leader = ""
        self._avoided: dict[str, float] = {}
        self._asked: dict[str, int] = {}  # in which turn each endpoint was chosen last
        self._turns = itertools.count(1)

    @property
    def has_choice(self) -> bool:
        """Whether the client was given several addresses, and so may know better than one node."""
        return len(self.given) > 1

    @property
    def needs_census(self) -> bool:
        """Whether the first node that names a cluster is not believed by its own word alone."""
        return self.has_choice and not self.cluster

    def settle(self, cluster: bytes) -> None:
        """Speak to nodes of this cluster only, from now on."""
        self.cluster = self.cluster or cluster

    def choose(self, now: float) -> str:
        """Return the endpoint to speak to: the leader's, or else one that is not avoided.

        Of these it is the one whose last turn is longest ago, so that none is passed over for
        ever, whichever are avoided when.
        """
        endpoint = self._leader
        if not endpoint or self._is_avoided(endpoint, now):
            hopeful = [each for each in self.all if not self._is_avoided(each, now)]
            endpoint = min(hopeful or self.all, key=lambda each: self._asked.get(each, 0))
        self._asked[endpoint] = next(self._turns)
        return endpoint

    def should_move(self, endpoint: str, now: float) -> bool:
        """Whether another node than the one connected to leads."""
        leader = self._leader
        return bool(leader) and leader != endpoint and not self._is_avoided(leader, now)

    def note_failure(self, endpoint: str, now: float) -> None:
        """Leave an endpoint alone for a while; it is not believed to lead any more."""
        self._avoided[endpoint] = now + AVOID_SECONDS
        if self._leader == endpoint:
            self._leader = ""

    def learn(self, welcome: Welcome) -> bool:
        """Take in who the members are and who leads; return False for a node of another cluster.

        Without a census, the first cluster that a node names is the one that counts.
        """
        if not self.needs_census:
            self.cluster = self.cluster or welcome.cluster
        if welcome.cluster not in (b"", self.cluster):
            return False
        if self._follow_leader:
            self._members = [_endpoint(each.address) for each in welcome.membership.members]
            self._leader = _endpoint(welcome.leader_address) if welcome.leader_address else ""
        return True

    def _is_avoided(self, endpoint: str, now: float) -> bool:
        return self._avoided.get(endpoint, 0.0) > now

    @property
    def described(self) -> str:
        """All known endpoints as people write them: ``host:port, host:port``."""
        return ", ".join(map(address_of, self.all))

    @property
    def all(self) -> list[str]:
        """Every endpoint that is known."""
        return list(dict.fromkeys([*self.given, *self._members]))


def address_of(endpoint: str) -> str:
    """Return the ``host:port`` of a client endpoint."""
    return endpoint.removeprefix(TCP_SCHEME)


def _endpoint(address: str) -> str:
    return parse_address(address).client_endpoint
