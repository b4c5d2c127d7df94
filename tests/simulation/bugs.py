"""Bugs: all deliberate bugs, which the simulator must find once they are planted."""

from tests.simulation import (
    bugs_of_admission,
    bugs_of_belief,
    bugs_of_clients,
    bugs_of_elections,
    bugs_of_leases,
    bugs_of_levels,
    bugs_of_loose_reads,
    bugs_of_members,
    bugs_of_reads,
    bugs_of_replication,
    bugs_of_rights,
    bugs_of_space,
    bugs_of_storage,
    bugs_of_transactions,
    bugs_of_turns,
    bugs_of_watches,
)

_MODULES = (
    bugs_of_admission,
    bugs_of_elections,
    bugs_of_levels,
    bugs_of_replication,
    bugs_of_members,
    bugs_of_reads,
    bugs_of_loose_reads,
    bugs_of_storage,
    bugs_of_space,
    bugs_of_clients,
    bugs_of_belief,
    bugs_of_transactions,
    bugs_of_turns,
    bugs_of_watches,
    bugs_of_leases,
    bugs_of_rights,
)

PLANTED = tuple(bug for module in _MODULES for bug in module.BUGS)
BUGS = {bug.name: bug for bug in PLANTED}
