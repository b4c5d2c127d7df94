"""Arguments of client methods: their types, and checks that run before any request is sent."""

import math
import sys
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeGuard, TypeVar, get_args

from protocol.config import VALUE_BYTES_CEILING
from protocol.keys import InvalidKey, encode_key, encode_prefix
from protocol.messages.client import ANY_STALENESS
from protocol.state import commands
from protocol.state.batches import InvalidOperation, check_command
from protocol.state.commands import Command
from protocol.state.limits import BATCH_OPERATIONS_MAX
from skiff.errors import InvalidRequest
from skiff.records import Fence

ItemT = TypeVar("ItemT")

REVISION_MAX = (1 << 63) - 1
TTL_SECONDS_CEILING = 1e9

Consistency = Literal["linearizable", "leader-lease", "stale"]
CONSISTENCIES = get_args(Consistency)
RightName = Literal["read", "write", "watch", "members", "backup", "users"]


class ClientDefault(Enum):
    """Marker for "the client's own timeout"; an enum, so that every number is checked."""

    CLIENT_DEFAULT = "client's default"

    def __repr__(self) -> str:
        return "CLIENT_DEFAULT"


CLIENT_DEFAULT: Final = ClientDefault.CLIENT_DEFAULT
Timeout = float | None | Literal[ClientDefault.CLIENT_DEFAULT]


class LeaseLike(Protocol):
    """A lease of a client of either kind."""

    @property
    def id(self) -> int:
        """Its number in the cluster."""


class FenceLike(Protocol):
    """A holder of a turn, such as a lock of a client of either kind."""

    @property
    def fence(self) -> Fence:
        """Its key and its token."""


class ReadMode(NamedTuple):
    """The guarantees of a read, as in the fields of its operation."""

    leader_lease: bool = False
    max_staleness_ms: int = 0
    min_revision: int = 0


LINEARIZABLE = ReadMode()


def read_mode(
    read: Consistency, max_staleness: float | None = None, at_least: int | None = None
) -> ReadMode:
    """Return the mode of a read; ``max_staleness`` is in seconds, None for any age.

    Raises:
        InvalidRequest: ``read`` is unknown, ``max_staleness`` is no positive number or ``read`` is
            not "stale", or ``at_least`` is no revision.
    """
    if read == "linearizable" and max_staleness is None and at_least is None:
        return LINEARIZABLE  # the most frequent case
    if read not in CONSISTENCIES:
        known = " or ".join(map(repr, CONSISTENCIES))
        raise InvalidRequest(f"read must be {known}, not {read!r}")
    check_number("at_least", at_least)
    staleness = ANY_STALENESS if read == "stale" else 0
    if max_staleness is not None:
        staleness = _milliseconds(read, max_staleness)
    return ReadMode(read == "leader-lease", staleness, at_least or 0)


def _milliseconds(read: Consistency, max_staleness: float) -> int:
    if read != "stale":
        raise InvalidRequest(f'max_staleness is for read="stale", not for read={read!r}')
    if not _is_number(max_staleness) or not max_staleness > 0:  # written so that NaN fails, too
        raise InvalidRequest(
            f"max_staleness must be a positive number of seconds, not {max_staleness!r}"
        )
    return max(1, int(min(max_staleness * 1000, ANY_STALENESS)))


def milliseconds_of(ttl: object) -> int:
    """Return the milliseconds of a TTL in seconds; ``check_change`` checks their bounds.

    Raises:
        InvalidRequest: it is no number, or not positive.
    """
    if not _is_number(ttl) or not 0 < ttl < TTL_SECONDS_CEILING:  # written so that NaN fails, too
        raise InvalidRequest(f"a TTL is a number of seconds from 1 to 2,592,000, not {ttl!r}")
    return math.ceil(round(ttl * 1000, 6))  # never shorter, but for the error of a product


def lease_fields(lease: object, ttl: object) -> tuple[int, int]:
    """Return the lease and the milliseconds of an insert, 0 for none.

    Raises:
        InvalidRequest: the lease is neither None, nor the id of a lease, nor an object with one.
    """
    milliseconds = 0 if ttl is None else milliseconds_of(ttl)
    return 0 if lease is None else lease_id(lease), milliseconds


def lease_id(lease: object) -> int:
    """Return the id of a lease.

    Raises:
        InvalidRequest: it is neither an id, nor an object with one.
    """
    number = getattr(lease, "id", lease)
    if type(number) is not int or not 0 < number <= REVISION_MAX:
        raise InvalidRequest(f"lease must be a lease or its id, not {lease!r}")
    return number


def fence_of(fence: object) -> commands.Fence:
    """Return the wire form of a fence.

    Raises:
        InvalidRequest: it is neither a ``Fence`` nor an object with one, such as a lock, or its
            token is no revision.
        LockMisused: it is a lock that is not held.
    """
    named = getattr(fence, "fence", fence)
    if not isinstance(named, Fence) or type(named.token) is not int or named.token < 1:
        raise InvalidRequest(f"fence must be a lock that is held, or its fence, not {fence!r}")
    check_number("the token of a fence", named.token)
    return commands.Fence(check_key(named.key), named.token)


def check_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the keys to read together, each once.

    Raises:
        InvalidRequest: a key is invalid, or there are too many.
    """
    if isinstance(keys, str | bytes):
        raise InvalidRequest(f"keys must be a collection of keys, not {keys!r}")
    try:
        distinct = tuple(dict.fromkeys(keys))
    except TypeError as error:
        raise InvalidRequest(f"keys must be a collection of keys: {error}") from None
    checked = tuple([check_key(key) for key in distinct])
    if len(distinct) > BATCH_OPERATIONS_MAX:
        raise InvalidRequest(
            f"at most {BATCH_OPERATIONS_MAX} keys are read together, not {len(distinct)}"
        )
    return checked


def plain_text(given: Any) -> Any:
    """Return a str in place of an object of a subclass, which MessagePack does not encode."""
    if type(given) is not str and isinstance(given, str):
        return str.__str__(given)
    return given


def check_key(key: str) -> str:
    """Return a key, as plain text.

    Raises:
        InvalidRequest: the key is invalid; the message names the reason.
    """
    if type(key) is not str:
        key = plain_text(key)
    try:
        encode_key(key)
    except InvalidKey as error:
        raise InvalidRequest(str(error)) from None
    return key


def check_revision(revision: int | None) -> None:
    """Check a required revision; None requires none.

    Raises:
        InvalidRequest: the revision is no int, or out of range.
    """
    check_number("if_revision", revision)


def check_awaited(revision: object) -> None:
    """Check a revision to wait for.

    Raises:
        InvalidRequest: it is no int, or out of range.
    """
    if revision is None:
        raise InvalidRequest("revision must be an int, not None")
    check_number("revision", revision)


def check_number(name: str, number: object) -> None:
    """Check a revision or a version, named as in the message; None is none.

    Raises:
        InvalidRequest: it is no int, or out of range.
    """
    if number is None:
        return
    if type(number) is not int:
        raise InvalidRequest(f"{name} must be an int, not {number!r}")
    if not 0 <= number <= REVISION_MAX:
        raise InvalidRequest(f"{name} must be from 0 to {REVISION_MAX}, not {number}")


def check_timeout(timeout: object) -> None:
    """Check a timeout in seconds; None means no limit.

    Raises:
        InvalidRequest: the timeout is neither positive nor None.
    """
    if timeout is None:
        return
    if not _is_number(timeout) or not timeout > 0:  # written so that NaN fails, too
        raise InvalidRequest(f"a timeout must be a positive number of seconds, not {timeout!r}")


def seconds_of(timeout: Timeout, default: float | None) -> float | None:
    """Return a timeout in seconds, None for no limit.

    Raises:
        InvalidRequest: the timeout is neither positive nor None.
    """
    if timeout is CLIENT_DEFAULT:
        return default
    check_timeout(timeout)
    return timeout


def check_wait(seconds: object) -> None:
    """Check how long to wait at most, in seconds; 0 does not wait, None has no limit.

    Raises:
        InvalidRequest: it is neither a number from 0 on nor None.
    """
    if seconds is None:
        return
    if not _is_number(seconds) or not seconds >= 0:  # written so that NaN fails, too
        raise InvalidRequest(f"a timeout must be a number of seconds from 0 on, not {seconds!r}")


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max  # clocks are floats
    return isinstance(value, float)


def check_in_flight(limit: object) -> None:
    """Check a limit on the calls in flight.

    Raises:
        InvalidRequest: the limit is no whole number of at least 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidRequest(f"max_in_flight must be a whole number from 1 on, not {limit!r}")


def check_prefix(prefix: str) -> str:
    """Return a key prefix, as plain text.

    Raises:
        InvalidRequest: the prefix is invalid; the message names the reason.
    """
    prefix = plain_text(prefix)
    try:
        encode_prefix(prefix)
    except InvalidKey as error:
        raise InvalidRequest(f"prefix: {error}") from None
    return prefix


def check_watch(prefix: str, since: int | None, *, initial: bool, prev_value: bool) -> str:
    """Check the beginning of a watch, and what its events have; return its prefix.

    Raises:
        InvalidRequest: the message says what is wrong.
    """
    prefix = check_prefix(prefix)
    check_number("since", since)
    for name, given in (("initial", initial), ("prev_value", prev_value)):
        check_bool(name, given)
    if initial and since is not None:
        raise InvalidRequest("a watch begins with the entries that are there, or after a revision")
    return prefix


def check_start(start_after: str | None) -> str | None:
    """Return the name after which a list begins, as plain text; None begins at the first.

    Raises:
        InvalidRequest: it is neither None nor a valid key.
    """
    start_after = plain_text(start_after)
    try:
        if start_after is not None:
            encode_key(start_after)
    except InvalidKey as error:
        raise InvalidRequest(f"start_after: {error}") from None
    return start_after


def check_bool(name: str, given: object) -> None:
    """Check whether an argument, named as in the message, is a bool.

    Raises:
        InvalidRequest: it is not.
    """
    if not isinstance(given, bool):
        raise InvalidRequest(f"{name} must be True or False, not {given!r}")


def check_limit(limit: int | None) -> None:
    """Check the maximum number of names to return; None means no limit.

    Raises:
        InvalidRequest: the limit is neither None nor a whole number of at least 0.
    """
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidRequest(f"limit must be a whole number from 0 on, or None, not {limit!r}")


def check_increment(by: object) -> None:
    """Check the number to add to a counter.

    Raises:
        InvalidRequest: it is no whole number of 64 bits.
    """
    if type(by) is not int or not -REVISION_MAX - 1 <= by <= REVISION_MAX:
        raise InvalidRequest(f"by must be a whole number of 64 bits, not {by!r}")


def check_collection(name: str, given: Iterable[ItemT]) -> tuple[ItemT, ...]:
    """Return the items of a collection, named as in the message.

    Raises:
        InvalidRequest: it is none, or a single text or bytes, whose parts are hardly meant.
    """
    if isinstance(given, str | bytes | bytearray):
        raise InvalidRequest(f"{name} must be a collection, not one {type(given).__name__}")
    try:
        return tuple(given)
    except TypeError as error:
        raise InvalidRequest(f"{name} must be a collection: {error}") from None


def check_change(command: Command) -> None:
    """Check a command as every node does.

    Raises:
        InvalidRequest: the message says what is wrong.
    """
    try:
        check_command(command, VALUE_BYTES_CEILING)
    except (InvalidOperation, InvalidKey) as error:
        raise InvalidRequest(str(error)) from None
