"""Setting: the shared state of a run, with time, randomness, network, judge and counters."""

from random import Random

import msgspec

from protocol.membership import NodeId
from tests.simulation.events import Events
from tests.simulation.judge import Judge
from tests.simulation.network import Network
from tests.simulation.options import Options
from tests.simulation.totals import Totals


class Setting(msgspec.Struct):
    """The shared state of one run."""

    events: Events
    chance: Random
    options: Options
    network: Network
    judge: Judge
    totals: Totals
    lost_at: float = float("-inf")  # time of the last loss of a directory
    addresses: tuple[str, ...] = ()  # of all nodes
    # Public keys of the users whose requests the threads of these names send.
    user_keys: dict[str, bytes] = msgspec.field(default_factory=dict)
    lasting: frozenset[NodeId] | None = None  # the healed members, during the calm

    def new_cluster(self) -> bytes:
        """Return a random id for a new cluster."""
        return self.chance.randbytes(16)

    def may_change_members(self, joiner: NodeId | None) -> bool:
        """Return whether a node may join, or any be removed.

        In the calm, a change requested earlier could take the majority from the healed nodes. Right
        after the loss of a directory, a leader cannot know of it and could remove another node: the
        last replies of the lost node may straggle.
        """
        unknown = 2 * self.options.longest_timeout + self.options.network.straggle_delay
        if joiner is None and self.events.now < self.lost_at + unknown:
            return False
        return self.lasting is None or joiner in self.lasting


def set_up(options: Options) -> Setting:
    """Return the shared state of a new run."""
    totals = Totals(seeds=1, encoded_runs=options.encoded, mixed_runs=options.mixed)
    events, chance = Events(), Random(options.seed)
    network = Network(events, chance, options.network, totals)
    return Setting(events, chance, options, network, Judge(events, totals), totals)
