"""Census: determines the cluster that the addresses given to a client belong to.

A node that lost its directory may have founded an empty cluster at a member's address. The members
of the real cluster reveal it: they list that address under another node id.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from protocol.client.steps import Counted
from protocol.deadlines import NEVER
from protocol.membership import Membership, NodeId
from protocol.messages.client import Outcome, Welcome

# Waits for addresses that do not answer and are not listed by the leading candidate cluster:
MAJORITY_SECONDS = 0.3  # if a majority of the addresses name that cluster
MINORITY_SECONDS = 2.0  # otherwise: the silent addresses may be the real cluster

UNDECIDED = "too few addresses answered to tell which cluster is meant"


class DividedCensus(Exception):
    """The addresses name several clusters, equally often."""


class Greeting(msgspec.Struct, frozen=True):
    """The greeting of the node at one address."""

    address: str  # host:port, as the client was given it
    node: NodeId
    cluster: bytes  # id; a node without a cluster counts as absent instead
    membership: Membership  # as that node knows it

    @property
    def addresses(self) -> set[str]:
        """The node's addresses, as given to the client and as listed by the node."""
        members = self.membership.members
        return {self.address, *(each.address for each in members if each.id == self.node)}

    def disowns(self, other: "Greeting") -> bool:
        """Whether this node's cluster lists the other node's address under another node id."""
        return other.cluster != self.cluster and any(
            each.address in other.addresses and each.id != other.node
            for each in self.membership.members
        )


class Census:
    """Collects answers and decides on the cluster. Addresses are ``host:port``."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._given = frozenset(addresses)
        self._answers: dict[str, Greeting] = {}
        self._absent: set[str] = set()
        self._began = NEVER  # when the first node was greeted, in seconds of a steady clock

    def begin(self, greeted: str, welcome: Welcome, now: float) -> None:
        """Record the greeting by which the client learned that it needs a census."""
        self._began = min(self._began, now)
        self.note_outcome(greeted, welcome)

    def count(self, now: float, deadline: float) -> Counted | None:
        """Return the result; None to go on waiting for the addresses asked."""
        try:
            cluster = self.decide(now - self._began)
        except DividedCensus as divided:
            return Counted(b"", str(divided))
        if cluster:
            return Counted(cluster)
        return Counted(b"", UNDECIDED) if now >= deadline else None

    def note_answer(self, answer: Greeting) -> None:
        """Record the answer from an address; the latest one counts."""
        self._absent.discard(answer.address)
        self._answers[answer.address] = answer

    def note_outcome(self, address: str, outcome: Outcome | None) -> None:
        """Record the outcome of a greeting; None if there was no reply."""
        if isinstance(outcome, Welcome) and outcome.cluster:
            answer = Greeting(address, outcome.node, outcome.cluster, outcome.membership)
            self.note_answer(answer)
        else:
            self.note_absence(address)

    def note_absence(self, address: str) -> None:
        """Record that no member of any cluster answers at an address."""
        self._answers.pop(address, None)
        self._absent.add(address)

    def decide(self, waited: float) -> bytes:
        """Return the cluster's id, empty while missing answers may change the result.

        ``waited``: seconds since the addresses were first asked.

        Raises:
            DividedCensus: all answers have arrived or timed out, and they are a tie.
        """
        votes = Counter(answer.cluster for answer in self._believed())
        if not votes:
            return b""
        cluster, count = votes.most_common(1)[0]
        has_majority = 2 * count > len(self._given)
        if not self._silent_beside(cluster):
            waited = NEVER
        if waited < (MAJORITY_SECONDS if has_majority else MINORITY_SECONDS):
            return b""
        if list(votes.values()).count(count) > 1:
            raise DividedCensus(self._contradiction())
        return cluster

    def _believed(self) -> list[Greeting]:
        """Return the answers of nodes that no other cluster disowns; all answers if none remains.

        A disowned node stands at an address that belongs to a member of another cluster.
        """
        answers = list(self._answers.values())
        owned = [each for each in answers if not any(other.disowns(each) for other in answers)]
        return owned or answers

    def _silent_beside(self, cluster: bytes) -> set[str]:
        """Return the addresses that are silent and that the cluster's members do not list."""
        answers = self._answers.values()
        listed = {
            member.address
            for answer in answers
            if answer.cluster == cluster
            for member in answer.membership.members
        }
        return set(self._given) - set(self._answers) - self._absent - listed

    def _contradiction(self) -> str:
        named = (f"{each.address} to {each.cluster.hex()}" for each in self._answers.values())
        return f"the addresses belong to different clusters: {', '.join(named)}"
