"""Drafts: random transactions of a simulated client."""

from collections.abc import Callable
from random import Random

from protocol.state.commands import (
    Check,
    Increment,
    Insert,
    Lookup,
    Remove,
    RemovePrefix,
    Transact,
    TransactionOperation,
)

COUNTERS = ("n/0", "n/1")
KEYS_MAX = 3  # in one transaction
PREFIXES = ("p/", "p/1")  # of keys that only transactions write
REMOVALS_BY_PREFIX, INSERTS = 0.1, 0.2
INCREMENTS = 0.4
TEXT_INCREMENTS = 0.05  # which cannot be applied


def draft(
    chance: Random, keys: int, revisions: dict[str, int], value: Callable[[], bytes]
) -> Transact:
    """Return a transaction; ``revisions`` are those last seen, ``value`` returns a new value."""
    count = min(keys, chance.randint(1, KEYS_MAX))
    named = [f"k/{number}" for number in chance.sample(range(keys), count)]
    checks = tuple(_check(chance, key, revisions) for key in named if chance.random() < 0.5)
    then = [_operation(chance, key, value) for key in named]
    if chance.random() < INCREMENTS:
        then.append(Increment(chance.choice(COUNTERS), chance.randint(-2, 5)))
    then += _under_prefixes(chance, value)
    otherwise = tuple(_operation(chance, key, value) for key in named[:1])
    return Transact(checks, tuple(then), otherwise)


def _under_prefixes(chance: Random, value: Callable[[], bytes]) -> list[TransactionOperation]:
    """Return at most one operation on the keys under the prefixes: a removed key is not written."""
    key, drawn = f"p/{chance.randint(0, 12)}", chance.random()
    if drawn < REMOVALS_BY_PREFIX:
        return [RemovePrefix(chance.choice(PREFIXES))]
    if drawn < REMOVALS_BY_PREFIX + INSERTS:
        return [Insert(key, value())]
    return [Increment(key)] if drawn > 1 - TEXT_INCREMENTS else []


def _check(chance: Random, key: str, revisions: dict[str, int]) -> Check:
    if chance.random() < 0.7:
        return Check(key, revision=revisions.get(key, 0))
    return Check(key, exists=chance.random() < 0.5)


def _operation(chance: Random, key: str, value: Callable[[], bytes]) -> TransactionOperation:
    drawn = chance.random()
    if drawn < 0.5:
        return Insert(key, value())
    return Remove(key) if drawn < 0.65 else Lookup(key)
