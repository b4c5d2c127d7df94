"""The bug bench: every bug that the simulator has to find, once it is planted."""

from tests.simulation import (
    bugs_of_elections,
    bugs_of_members,
    bugs_of_reads,
    bugs_of_replication,
    bugs_of_storage,
)

_OF = (
    bugs_of_elections,
    bugs_of_replication,
    bugs_of_members,
    bugs_of_reads,
    bugs_of_storage,
)

BUGS = {bug.name: bug for module in _OF for bug in module.BUGS}
