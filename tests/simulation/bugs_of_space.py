"""Bugs in the handling of full disks."""

from protocol.gateway.gateway import Gateway
from protocol.raft import space
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "inserts are taken while a majority has no room",
        "rule 14",
        Edit(
            space.refusal_of_growth,
            " or not _majority_is_below(state, leader, Shortage.LOW)",
            "",
        ),
    ),
    Bug(
        "a leader without room takes inserts",
        "rule 14",
        Edit(space.refusal_of_growth, "state.shortage is not Shortage.NONE or ", ""),
    ),
    Bug(
        "an insert is refused for lack of room though an earlier attempt may be done",
        "the promise of StorageFull",
        Edit(
            Gateway._on_refused,
            "case Refusal.STORAGE_FULL if pending.certainly_not_done:",
            "case Refusal.STORAGE_FULL:",
        ),
    ),
)
