"""Party: the processes that are here now, each with a value: a registry of services.

A member is listed until it leaves, or its lease ends because it died, was stopped or was cut off:
up to a third longer than its ``ttl``. A list shows one revision; a member may be gone already.
"""

from typing import Any, Self

from protocol.coordination.line import Line
from protocol.coordination.procedure import is_of
from protocol.keys import SEPARATOR
from skiff.arguments import CLIENT_DEFAULT, Timeout, check_key
from skiff.bound import BoundToProcess
from skiff.errors import InvalidRequest
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.holder import Holder
from skiff.recipes.turn import Contest
from skiff.records import Entry
from skiff.subscriber import Subscriber
from skiff.values import encode_value

UNLIMITED = 1 << 62  # places
MEMBER = "member-"  # what the names of members begin with, in the party's directory


class Member(Holder):
    """A place in a party, kept alive until it is left; ``with`` leaves it at the end of the block.

    ``lost`` is set once the place is lost, and the end of the block then raises ``LockLost``.
    """

    _is_of_thread = False

    def join(self, value: object = None, *, timeout: float | None = None) -> Self:
        """Join, perhaps once more after leaving; see ``Party.join``."""
        self._acquire_for_good(encode_value(self._contest.described, value), timeout)
        return self

    def update(self, value: object, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Write another value; ``timeout`` in seconds.

        Raises:
            Fenced: the place is lost; nothing was written.
            LockMisused: it was left.
            RequestTimeout: the deadline passed; the value was certainly not written.
            OutcomeUnknown: the deadline passed; the value may have been written.
        """
        self._rewrite(value, timeout)

    def leave(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Leave; see ``release``."""
        self.release(timeout=timeout)

    def __enter__(self) -> Self:
        return self._begin_block()


class Party(BoundToProcess):
    """A party, as a blocking client sees it."""

    def __init__(self, coordinator: Coordinator, name: str, ttl: float) -> None:
        """Name the party; see ``Client.party``."""
        self._coordinator = coordinator
        self._contest = party_contest(name, ttl)

    def __repr__(self) -> str:
        return f"<Party {self._contest.name!r} of {self._coordinator.client!r}>"

    def join(self, value: object = None, *, timeout: float | None = None) -> Member:
        """Join with a value; ``timeout`` in seconds.

        Raises:
            LockTimeout: the deadline passed; it has not joined, or its place ends with its lease.
            SerializeFailed: MessagePack cannot encode the value.
            InvalidRequest: the timeout is invalid, or the value too large.
            StorageFull: the disks of a majority are full, or the quota is reached.
        """
        return Member(self._coordinator, self._contest).join(value, timeout=timeout)

    def members(self, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Entry[Any]]:
        """Return the members' entries, with their values, in order of arrival.

        Raises:
            DeserializeFailed: a value is not of the type.
            RequestTimeout: the deadline passed.
        """
        prefix = self._contest.key_prefix
        return in_order(prefix, list(self._coordinator.client.scan(prefix, type, timeout=timeout)))

    def watch(self, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT) -> Subscriber:
        """Subscribe to those who come, change their value and go, present members first.

        See ``Client.watch`` with ``initial=True``.
        """
        prefix = self._contest.key_prefix
        return self._coordinator.client.watch(prefix, type=type, initial=True, timeout=timeout)


def party_contest(name: str, ttl: float) -> Contest:
    """Return the contest for a place in a party, which is never full.

    Raises:
        InvalidRequest: the name is no key, too long or like a member's, or the TTL is out of its
            bounds.
    """
    name = check_key(name)
    prefix = f"{name}{SEPARATOR}{MEMBER}"
    contest = Contest("party", name, Line(prefix, UNLIMITED), prefix, ttl, None).check()
    if any(part.startswith(MEMBER) for part in name.split(SEPARATOR)):
        raise InvalidRequest(f"no part of a party's name begins with {MEMBER!r}, unlike {name!r}")
    return contest


def in_order(prefix: str, entries: list[Entry[Any]]) -> list[Entry[Any]]:
    """Return the members among the entries under their prefix, in order of arrival."""
    members = [entry for entry in entries if is_of(prefix, entry.key)]
    return sorted(members, key=lambda entry: entry.create_revision)
