"""Election: one of several candidates leads at a time; the next one follows in order of arrival.

Leadership is lost as a lock is: a leader that was stopped for longer than its lease may believe for
a while that it still leads, while another one does. So protect what leaders write by a fence.
Observers see the leaders in order, but may miss one that led briefly.
"""

from collections.abc import Iterator
from typing import Any, Self

from protocol.coordination.election import find_leader
from protocol.coordination.line import Line
from skiff.arguments import CLIENT_DEFAULT, Timeout, check_key
from skiff.errors import LockMisused
from skiff.recipes.holder import Holder
from skiff.recipes.leaders import Leaders
from skiff.recipes.turn import Contest
from skiff.records import Entry
from skiff.values import check_type, encode_value, entry_of


class Election(Holder):
    """A candidate of an election, and a view of it, of a blocking client.

    ``with election.campaign(value):`` leads until the end of the block. ``lost`` is set once the
    leadership is lost, and the end of the block raises ``LockLost``.
    """

    _is_of_thread = False

    def campaign(self, value: object = None, *, timeout: float | None = None) -> Self:
        """Wait until this candidate leads, and proclaim a value; return this object.

        ``timeout`` is in seconds, 0 to not wait, None for no limit.

        Raises:
            LockTimeout: others led until the deadline.
            LockMisused: this object leads already, or campaigns.
            SerializeFailed: MessagePack cannot encode the value.
            InvalidRequest: the timeout is invalid, or the value too large.
            StorageFull: the disks of a majority are full, or the quota is reached.
        """
        self._acquire_for_good(encode_value(self._contest.described, value), timeout)
        return self

    def proclaim(self, value: object, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Proclaim another value, as the leader; ``timeout`` in seconds.

        Raises:
            Fenced: the leadership is lost; nothing was written.
            LockMisused: this object does not lead.
            RequestTimeout: the deadline passed; the value was certainly not written.
            OutcomeUnknown: the deadline passed; the value may have been written.
        """
        self._rewrite(value, timeout)

    def resign(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Lead no longer; the next candidate does at once; see ``release``."""
        self.release(timeout=timeout)

    def leader(self, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT) -> Entry[Any] | None:
        """Return the leader's entry with its value, None if there is no candidate.

        Its ``create_revision`` is the leader's token; ``timeout`` in seconds.

        Raises:
            DeserializeFailed: the value is not of the type.
            RequestTimeout: the deadline passed.
        """
        check_type(type)
        limits = self._coordinator.request_limits(timeout)
        leader = self._coordinator.perform(find_leader(self._contest.line), limits)
        return None if leader is None else entry_of(leader.key, leader, type)

    def observe(self, type: Any = Any) -> Iterator[Entry[Any] | None]:
        """Yield the present leader's entry, then one for each change; None while there is none.

        A value of another type raises ``DeserializeFailed``; the next iteration goes on after it.
        """
        check_type(type)
        return Leaders(self._coordinator, self._contest.line, type)

    def __enter__(self) -> Self:
        if self._turn is None:
            raise LockMisused(f"{self._contest.described} is not held: campaign first")
        return self._begin_block()


def election_contest(name: str, ttl: float) -> Contest:
    """Return the contest for leadership.

    Raises:
        InvalidRequest: the name is no key.
    """
    name = check_key(name)
    prefix = f"{name}/candidate-"
    return Contest("election", name, Line(prefix), prefix, ttl, None)
