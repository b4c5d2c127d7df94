"""Census: which cluster the addresses that a client was given belong to.

A node whose directory was lost may have founded an empty cluster at a member's address. The
members of the real cluster tell: they list that address under another node id.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from protocol.membership import Membership, NodeId
from protocol.messages.client import Outcome, Welcome

# A client waits so long for addresses that neither answer nor belong to the cluster that counts:
MAJORITY_SECONDS = 0.3  # where most of the addresses name that cluster
MINORITY_SECONDS = 2.0  # where they do not: the silent ones may be the real cluster


class DividedCensus(Exception):
    """The addresses name several clusters, and none of these counts more than the others."""


class Answer(msgspec.Struct, frozen=True):
    """What the node at one address says of itself."""

    address: str  # host:port, as the client was given it
    node: NodeId
    cluster: bytes  # the cluster's id; a node of no cluster is noted as an absence instead
    membership: Membership  # the members that this node knows

    @property
    def addresses(self) -> set[str]:
        """Where the node is reached, by its client's word and by its own."""
        members = self.membership.members
        return {self.address, *(each.address for each in members if each.id == self.node)}

    def disowns(self, other: "Answer") -> bool:
        """Whether an address of a node of another cluster belongs to a member of this one."""
        return other.cluster != self.cluster and any(
            each.address in other.addresses and each.id != other.node
            for each in self.membership.members
        )


class Census:
    """Takes in answers and decides which cluster counts. Addresses are ``host:port``."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._given = frozenset(addresses)
        self._answers: dict[str, Answer] = {}
        self._absent: set[str] = set()

    def note_answer(self, answer: Answer) -> None:
        """Take in what the node at an address says; its latest answer counts."""
        self._absent.discard(answer.address)
        self._answers[answer.address] = answer

    def note_outcome(self, address: str, outcome: Outcome | None) -> None:
        """Take in the outcome of a greeting; None if there was none."""
        if isinstance(outcome, Welcome) and outcome.cluster:
            answer = Answer(address, outcome.node, outcome.cluster, outcome.membership)
            self.note_answer(answer)
        else:
            self.note_absence(address)

    def note_absence(self, address: str) -> None:
        """Take in that no node of any cluster answers at an address."""
        self._answers.pop(address, None)
        self._absent.add(address)

    def decide(self, waited: float) -> bytes:
        """Return the cluster that counts, or none while answers may be missing that change it.

        ``waited`` is the time since the addresses were asked first, in seconds.

        Raises:
            DividedCensus: all answers are there, or were waited for, and contradict each other.
        """
        votes = Counter(answer.cluster for answer in self._believed())
        if not votes:
            return b""
        cluster, count = votes.most_common(1)[0]
        has_majority = 2 * count > len(self._given)
        if not self._silent_beside(cluster):
            waited = float("inf")
        if waited < (MAJORITY_SECONDS if has_majority else MINORITY_SECONDS):
            return b""
        if list(votes.values()).count(count) > 1:
            raise DividedCensus(self._contradiction())
        return cluster

    def _believed(self) -> list[Answer]:
        """Return the answers of nodes whose address belongs to no member of another cluster.

        Where all disown each other, all count.
        """
        answers = list(self._answers.values())
        owned = [each for each in answers if not any(other.disowns(each) for other in answers)]
        return owned or answers

    def _silent_beside(self, cluster: bytes) -> set[str]:
        """Return the addresses that are silent and, as far as known, of no member of a cluster."""
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
