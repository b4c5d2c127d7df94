"""What everything in one run shares: time, chance, wires, the judge and the counters."""

from random import Random

import msgspec

from protocol.membership import NodeId
from tests.simulation.events import Events
from tests.simulation.judge import Judge
from tests.simulation.network import Network
from tests.simulation.options import Options
from tests.simulation.totals import Totals


class Setting(msgspec.Struct):
    """One run's surroundings."""

    events: Events
    chance: Random
    options: Options
    network: Network
    judge: Judge
    totals: Totals
    lost_at: float = float("-inf")  # when a directory was lost last
    addresses: tuple[str, ...] = ()  # of all nodes
    lasting: frozenset[NodeId] | None = None  # in the calm: who belongs to those that healed

    def new_cluster(self) -> bytes:
        """Draw the id of a cluster that a node founds."""
        return self.chance.randbytes(16)

    def may_change_members(self, joiner: NodeId | None) -> bool:
        """Whether a node may join, or any be removed.

        In the calm, a change asked for before could take the majority from those who healed. Right
        after a directory was lost, a leader has no means to know that, and could remove another.
        """
        if joiner is None and self.events.now < self.lost_at + 2 * self.options.longest_timeout:
            return False
        return self.lasting is None or joiner in self.lasting


def set_up(options: Options) -> Setting:
    """Return the surroundings of a run that is about to begin."""
    totals = Totals(seeds=1, encoded_runs=options.encoded)
    events, chance = Events(), Random(options.seed)
    network = Network(events, chance, options.network, totals)
    return Setting(events, chance, options, network, Judge(events, totals), totals)
