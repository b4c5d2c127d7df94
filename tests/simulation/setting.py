"""What everything in one run shares: time, chance, wires, the judge and the counters."""

from random import Random

import msgspec

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


def set_up(options: Options) -> Setting:
    """Return the surroundings of a run that is about to begin."""
    events, totals, chance = Events(), Totals(seeds=1), Random(options.seed)
    network = Network(events, chance, options.network, totals)
    return Setting(events, chance, options, network, Judge(totals), totals)
