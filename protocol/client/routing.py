"""Route: the choice of a node, which is the leader if known, else any that answers.

Only nodes of one cluster are used: a node that lost its directory may have founded another cluster
at the same address.
"""

import itertools
from collections.abc import Container

from protocol.address import parse_address
from protocol.messages.client import Welcome

TCP_SCHEME = "tcp://"
AVOID_SECONDS = 1.0  # for which an endpoint that did not answer is avoided


class Route:
    """The endpoints that a client knows. Times are seconds of a steady clock."""

    def __init__(self, endpoints: list[str], *, follow_leader: bool, cluster: bytes = b"") -> None:
        self.cluster = cluster  # empty until a greeting, or a census of several addresses, names it
        self.given = list(dict.fromkeys(endpoints))
        self._follow_leader = follow_leader
        self._members: list[str] = []
        self._members_at = 0  # index of that membership, as far as known
        self._outsiders: set[str] = set()  # whose nodes have said that they are no members
        self._aliases: dict[str, str] = {}  # endpoint to the one by which the members know its node
        self._leader = ""
        self._avoided: dict[str, float] = {}
        self._asked: dict[str, int] = {}  # turn in which each endpoint was last chosen
        self._turns = itertools.count(1)

    @property
    def has_choice(self) -> bool:
        """Whether the client was given several addresses, and so can compare their answers."""
        return len(self.given) > 1

    @property
    def needs_census(self) -> bool:
        """Whether the cluster must be determined by a census, not by the first greeting."""
        return self.has_choice and not self.cluster

    def settle(self, cluster: bytes) -> None:
        """Use only nodes of this cluster from now on."""
        self.cluster = self.cluster or cluster

    def choose(self, now: float, shunned: Container[str] = ()) -> str:
        """Return the leader's endpoint, or else one that is not avoided, none that is shunned.

        Of several, it is the least recently chosen one, so that each has its turn. A shunned one is
        returned only if all are shunned.
        """
        endpoint = self._leader
        if not endpoint or endpoint in shunned or self._is_avoided(endpoint, now):
            usable = [each for each in self.all if each not in shunned] or self.all
            hopeful = [each for each in usable if not self._is_avoided(each, now)]
            endpoint = min(hopeful or usable, key=lambda each: self._asked.get(each, 0))
        self._asked[endpoint] = next(self._turns)
        return endpoint

    def should_move(self, endpoint: str, now: float) -> bool:
        """Whether a reachable node other than the connected one leads."""
        leader = self._leader
        return bool(leader) and leader != endpoint and not self._is_avoided(leader, now)

    def note_failure(self, endpoint: str, now: float) -> None:
        """Avoid an endpoint for a while, and no longer take it for the leader's."""
        self._avoided[endpoint] = now + AVOID_SECONDS
        if self._leader == endpoint:
            self._leader = ""

    def note_outsider(self, endpoint: str) -> None:
        """No longer count an endpoint among the members: its node has another cluster, or none."""
        self._outsiders.add(endpoint)

    def note_member(self, endpoint: str, address: str) -> None:
        """Count an endpoint among the members: its node is the one that they know by an address."""
        self._outsiders.discard(endpoint)
        self._aliases[endpoint] = _endpoint(address)

    def member_of(self, endpoint: str) -> str:
        """Return the endpoint at which the members know the node of this one, as far as known."""
        return self._aliases.get(endpoint, endpoint)

    def has_failed_since(self, endpoint: str, since: float) -> bool:
        """Whether an endpoint has failed at a time or later."""
        return self._avoided.get(endpoint, 0.0) >= since + AVOID_SECONDS

    def learn(self, welcome: Welcome) -> bool:
        """Learn members and leader from a greeting; return False for a node of another cluster.

        Without a census, the first cluster that a node names becomes the client's.
        """
        if not self.needs_census:
            self.cluster = self.cluster or welcome.cluster
        if welcome.cluster not in (b"", self.cluster):
            return False
        members = welcome.membership.members
        if members:  # a standby node knows none
            if self._members and welcome.node not in {each.id for each in members}:
                return True  # removed: it has missed what came after
            if welcome.membership_index == 0 or welcome.membership_index >= self._members_at:
                self._members_at = welcome.membership_index
                self._members = [_endpoint(each.address) for each in members]
                self._outsiders.difference_update(self._members)
        if self._follow_leader:
            self._leader = _endpoint(welcome.leader_address) if welcome.leader_address else ""
        return True

    def _is_avoided(self, endpoint: str, now: float) -> bool:
        return self._avoided.get(endpoint, 0.0) > now

    @property
    def described(self) -> str:
        """All known endpoints as text: ``host:port, host:port``."""
        return ", ".join(map(address_of, self.all))

    @property
    def all(self) -> list[str]:
        """All endpoints to use, the given ones first."""
        followed = self._members if self._follow_leader else []
        return list(dict.fromkeys([*self.given, *followed]))

    @property
    def nodes(self) -> list[str]:
        """The endpoints of the members among those to use, as far as known; else all of these.

        Each node counts once: at the address that the members know, else at one that has led to it.
        Where all members say that they were removed, others have taken their place.
        """
        inside = [each for each in self.all if each not in self._outsiders]
        known = {each: each for each in inside if each in self._members}
        for each in inside:
            alias_of = self._aliases.get(each)
            if alias_of in self._members:
                known.setdefault(alias_of, each)
        return list(known.values()) or inside or self.all


def address_of(endpoint: str) -> str:
    """Return the ``host:port`` of a client endpoint."""
    return endpoint.removeprefix(TCP_SCHEME)


def _endpoint(address: str) -> str:
    return parse_address(address).client_endpoint
