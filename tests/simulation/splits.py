"""Splits: kinds of network partitions, as the pairs of addresses that they cut."""

from collections.abc import Iterable
from itertools import pairwise, permutations
from random import Random

from tests.simulation.network import Pair

AIMED = 0.6  # share of splits
SPLITS = ("halves", "isolations", "one_way_cuts", "bridges", "chains")


def draw_split(kind: str, addresses: list[str], leader: str, chance: Random) -> set[Pair]:
    """Return the pairs that a split of this kind cuts, often around the leader."""
    order = addresses.copy()
    chance.shuffle(order)
    if leader and chance.random() < AIMED:
        order.remove(leader)
        order.insert(chance.choice((0, 0, len(order))), leader)
    match kind:
        case "isolations":
            return between(order[:1], order[1:])
        case "one_way_cuts":
            part = chance.randrange(1, len(order))
            return {(here, there) for here in order[:part] for there in order[part:]}
        case "bridges":  # two halves that share one node
            middle = max(1, len(order) // 2)
            return between(order[:middle], order[middle + 1 :])
        case "chains":
            near = {frozenset(pair) for pair in pairwise(order)}
            return {pair for pair in permutations(order, 2) if frozenset(pair) not in near}
        case _:
            part = chance.randrange(1, len(order))
            return between(order[:part], order[part:])


def between(these: Iterable[str], those: Iterable[str]) -> set[Pair]:
    """Return all pairs between two sides, in both directions."""
    pairs = {(here, there) for here in these for there in those}
    return pairs | {(there, here) for here, there in pairs}
