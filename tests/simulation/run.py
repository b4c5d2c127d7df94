"""One run from its seed to its end."""

import msgspec

from tests.simulation.calm import Calm
from tests.simulation.cluster import Cluster
from tests.simulation.faults import Faults
from tests.simulation.options import Options
from tests.simulation.setting import set_up
from tests.simulation.totals import Totals

EVENTS = 5000  # of the troubled part


class Result(msgspec.Struct):
    """What one run came to."""

    totals: Totals
    hash: int


def run(options: Options, events: int = EVENTS) -> Result:
    """Let a cluster go through trouble.

    Raises:
        Breach: an invariant did not hold.
    """
    setting = set_up(options)
    cluster = Cluster(setting)
    cluster.begin()
    faults = Faults(cluster)
    faults.begin()
    while setting.events.count < events:
        setting.events.step()
    faults.end()
    calm = Calm(cluster)
    calm.begin()
    calm.last()
    setting.totals.events = setting.events.count
    return Result(setting.totals, setting.events.hash)
