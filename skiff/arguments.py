"""Arguments: what may be passed to a client, checked before a node is asked."""

from enum import Enum
from typing import Final, Literal, get_args

from protocol.keys import InvalidKey, encode_key, encode_prefix
from skiff.errors import InvalidRequest

REVISION_MAX = (1 << 63) - 1

Reading = Literal["linearizable", "lease"]
READINGS = get_args(Reading)


class ClientDefault(Enum):
    """The timeout that the client was made with: not a number, so that every number is checked."""

    CLIENT_DEFAULT = "client's default"

    def __repr__(self) -> str:
        return "CLIENT_DEFAULT"


CLIENT_DEFAULT: Final = ClientDefault.CLIENT_DEFAULT
Timeout = float | None | Literal[ClientDefault.CLIENT_DEFAULT]


def is_by_lease(read: Reading) -> bool:
    """Whether a read may trust the nodes' clocks.

    Raises:
        InvalidRequest: there is no such way to read.
    """
    if read not in READINGS:
        known = " or ".join(map(repr, READINGS))
        raise InvalidRequest(f"read must be {known}, not {read!r}")
    return read == "lease"


def check_key(key: str) -> None:
    """Refuse what no node stores as a key.

    Raises:
        InvalidRequest: says why.
    """
    try:
        encode_key(key)
    except InvalidKey as error:
        raise InvalidRequest(str(error)) from None


def check_revision(revision: int | None) -> None:
    """Refuse what no key has as its revision.

    Raises:
        InvalidRequest: says why.
    """
    if revision is None:
        return
    if type(revision) is not int:
        raise InvalidRequest(f"if_revision must be an int, not {revision!r}")
    if not 0 <= revision <= REVISION_MAX:
        raise InvalidRequest(f"if_revision must be from 0 to {REVISION_MAX}, not {revision}")


def check_timeout(timeout: object) -> None:
    """Refuse what is no number of seconds within which something can be done.

    Raises:
        InvalidRequest: the timeout is neither positive nor None.
    """
    if timeout is None:
        return
    if not isinstance(timeout, int | float) or not timeout > 0:  # so that NaN is refused, too
        raise InvalidRequest(f"a timeout must be a positive number of seconds, not {timeout!r}")


def check_in_flight(limit: object) -> None:
    """Refuse what is no number of calls that may wait for an answer at a time.

    Raises:
        InvalidRequest: the limit is no whole number from 1 on.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidRequest(f"max_in_flight must be a whole number from 1 on, not {limit!r}")


def check_prefix(prefix: str) -> None:
    """Refuse what no key begins with.

    Raises:
        InvalidRequest: says why.
    """
    try:
        encode_prefix(prefix)
    except InvalidKey as error:
        raise InvalidRequest(f"prefix: {error}") from None


def check_limit(limit: int | None) -> None:
    """Refuse what is no number of names to return at most.

    Raises:
        InvalidRequest: the limit is neither None nor a whole number from 0 on.
    """
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidRequest(f"limit must be a whole number from 0 on, or None, not {limit!r}")
