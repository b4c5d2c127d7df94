"""Operations: the checks and operations of a transaction, and its result."""

from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from protocol.state import commands
from skiff.arguments import LeaseLike, check_increment, check_number, lease_fields, plain_text
from skiff.errors import InvalidRequest, RPCCallFailed
from skiff.values import check_type, encode_value, entry_of


class Insert(msgspec.Struct, frozen=True):
    """Write a value; its result is the revision of the transaction.

    ``lease``, a lease or its id, and ``ttl``, in seconds, are as in ``Client.insert``.
    """

    key: str
    value: Any
    lease: LeaseLike | int | None = None
    ttl: float | None = None


class Remove(msgspec.Struct, frozen=True):
    """Remove a key; its result is whether the key existed."""

    key: str


class RemovePrefix(msgspec.Struct, frozen=True):
    """Remove all keys that begin with a prefix; its result is their number."""

    prefix: str


class Increment(msgspec.Struct, frozen=True):
    """Add to an integer, or to 0 if the key is absent; its result is the sum."""

    key: str
    by: int = 1


class Get(msgspec.Struct, frozen=True):
    """Read a key after the writes before it; its result is an ``Entry``, or None."""

    key: str
    type: Any = Any


Operation: TypeAlias = Insert | Remove | RemovePrefix | Increment | Get


class _Checked(msgspec.Struct, frozen=True):
    key: str


class Check(_Checked, frozen=True, kw_only=True):
    """Conditions on a key before the transaction, at least one; all that are given must hold.

    ``exists``: whether the key does. ``revision``, ``create_revision``, ``version``: as in its
    ``Entry``, 0 if it is absent. ``value``: compared in its stored form, as MessagePack.
    """

    exists: bool | None = None
    revision: int | None = None
    create_revision: int | None = None
    version: int | None = None
    value: Any = UNSET


class TransactionResult(msgspec.Struct, frozen=True):
    """The result of a transaction.

    ``succeeded``: whether all checks held, so that ``then`` was performed, not ``otherwise``.
    ``revision``: of the store afterwards, and of all keys written. ``results``: one for each
    operation performed, in order.
    """

    succeeded: bool
    revision: int
    results: tuple[Any, ...]


def command_of(operation: Operation) -> commands.TransactionOperation:
    """Return the command of an operation.

    Raises:
        InvalidRequest: it is no operation, its type cannot be decoded, it increments by no whole
            number of 64 bits, or its lease or TTL is none.
        SerializeFailed: MessagePack cannot encode the value.
    """
    match operation:
        case Insert(key, value, lease, ttl):
            fields = lease_fields(lease, ttl)
            return commands.Insert(plain_text(key), encode_value(key, value), None, *fields)
        case Remove(key):
            return commands.Remove(plain_text(key))
        case RemovePrefix(prefix):
            return commands.RemovePrefix(plain_text(prefix))
        case Increment(key, by):
            check_increment(by)
            return commands.Increment(plain_text(key), by)
        case Get(key, type_):
            check_type(type_)
            return commands.Lookup(plain_text(key))
        case _:
            raise InvalidRequest(f"{operation!r} is not an operation of a transaction")


def result_of(operation: Operation, result: commands.OperationResult) -> Any:
    """Return the public form of an operation's result.

    Raises:
        DeserializeFailed: the value that was read is not of the type.
        RPCCallFailed: the result is that of another operation.
    """
    match operation, result:
        case Insert(), commands.Inserted(revision):
            return revision
        case Remove(), commands.Removed(existed):
            return existed
        case RemovePrefix(), commands.PrefixRemoved(count):
            return count
        case Increment(), commands.Incremented(value):
            return value
        case Get(), commands.Missing():
            return None
        case Get(key, type_), commands.Found():
            return entry_of(plain_text(key), result, type_)
        case _:
            raise RPCCallFailed(f"{result!r} is not a result of {operation!r}")


def check_of(check: Check) -> commands.Check:
    """Return the wire form of a check.

    Raises:
        InvalidRequest: it is no check, has no condition, or one of them has another type.
        SerializeFailed: MessagePack cannot encode the value.
    """
    if not isinstance(check, Check):
        raise InvalidRequest(f"{check!r} is not a check of a transaction")
    if not isinstance(check.exists, bool | None):
        raise InvalidRequest(f"exists must be True, False or None, not {check.exists!r}")
    for name in ("revision", "create_revision", "version"):
        check_number(name, getattr(check, name))
    value = None if check.value is UNSET else encode_value(check.key, check.value)
    conditions = (check.exists, check.revision, check.create_revision, check.version, value)
    if all(each is None for each in conditions):
        raise InvalidRequest(
            f"the check of {check.key!r} needs a condition: exists, revision, create_revision, "
            "version or value"
        )
    return commands.Check(plain_text(check.key), *conditions)
