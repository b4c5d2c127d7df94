"""Run: one run of a seed, with the faults, the calm and the final checks."""

import msgspec

from tests.simulation.calm import Calm
from tests.simulation.cluster import Cluster
from tests.simulation.faults import Faults
from tests.simulation.options import Options
from tests.simulation.report import SHOWN_EVENTS, failure_report
from tests.simulation.setting import Setting, set_up
from tests.simulation.tight_limits import tight_limits
from tests.simulation.totals import Totals

EVENTS = 5000  # with faults; the calm is additional
LAST_CUTS = 0.5  # share of runs that end with a leader cut off
LAST_CUT_SECONDS = 1.0  # at most, before the calm


class Result(msgspec.Struct):
    """The result of one run."""

    seed: int
    totals: Totals
    hash: int
    failure: str = ""  # the report; empty without a failure


def run(options: Options, command: str, events: int = EVENTS, shown: int = SHOWN_EVENTS) -> Result:
    """Run one seed to its end, or to the first breach."""
    setting = set_up(options)
    failure = ""
    try:
        with tight_limits(options):
            _live(setting, events)
    except Exception as error:  # noqa: BLE001 - any error is reported with its seed
        text = f"{type(error).__name__}: {error}"
        failure = failure_report(options, command, text, setting.events.tail, shown)
    setting.totals.events = setting.events.count
    return Result(options.seed, setting.totals, setting.events.hash, failure)


def _live(setting: Setting, events: int) -> None:
    cluster = Cluster(setting)
    cluster.begin()
    faults = Faults(cluster)
    faults.begin()
    while setting.events.count < events:
        setting.events.step()
    if setting.chance.random() < LAST_CUTS:
        faults.strike_last()
        setting.events.pass_time(LAST_CUT_SECONDS * setting.chance.random())
    faults.end()
    calm = Calm(cluster)
    calm.begin()
    calm.last()
