"""Procedure: the requests and waits of a recipe, as a generator of steps.

Its driver performs each step, and sends the result back.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import msgspec

from protocol.keys import SEPARATOR
from protocol.messages.client import ScannedEntry
from protocol.state.commands import StateCommand


class Commit(msgspec.Struct, frozen=True):
    """Apply a command exactly once; the result is its ``Result`` in the log."""

    command: StateCommand


class ReadEntries(msgspec.Struct, frozen=True):
    """Read the entries under a prefix at one revision; the result is ``Entries``."""

    prefix: str
    enough: int | None = None  # the first ones, after which more may be left out; None for all


class AwaitChange(msgspec.Struct, frozen=True):
    """Wait for changes of the keys under a prefix after a revision; there is no result.

    The driver calls ``ends_with`` for each of them, with the key and whether it was removed, until
    it returns True. The wait also ends where the history of these changes is gone.
    """

    prefix: str
    since: int
    ends_with: Callable[[str, bool], bool]


class Entries(msgspec.Struct, frozen=True):
    """Entries under a prefix."""

    revision: int  # that they show
    entries: tuple[ScannedEntry, ...]  # in order of their keys

    def of(self, prefix: str) -> list[ScannedEntry]:
        """Return those of a recipe; keys further down are of another one with a longer name."""
        return [each for each in self.entries if is_of(prefix, each.key)]


def is_of(prefix: str, key: str) -> bool:
    """Whether a key under a prefix is directly there."""
    return SEPARATOR not in key[len(prefix) :]


Step: TypeAlias = Commit | ReadEntries | AwaitChange
ReturnT = TypeVar("ReturnT")
Procedure: TypeAlias = Generator[Step, Any, ReturnT]
