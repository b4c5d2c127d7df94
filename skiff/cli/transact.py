"""Transact: the command that performs a transaction given as JSON."""

from typing import Any

import msgspec

from skiff import operations
from skiff.cli import output, shown
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.cli.values import read_input
from skiff.client import DEFAULT_TIMEOUT
from skiff.operations import Check, Operation, TransactionResult
from skiff.records import Entry

JSON_BYTES_MAX = 24 << 20  # of the transaction, whose values may take six bytes for one


class _Operation(msgspec.Struct, forbid_unknown_fields=True, tag_field="op"):
    """An operation as JSON, named by ``op``."""


class _Insert(_Operation, tag="insert"):
    key: str
    value: Any
    lease: int | None = None
    ttl: float | None = None


class _Remove(_Operation, tag="remove"):
    key: str


class _RemovePrefix(_Operation, tag="remove_prefix"):
    prefix: str


class _Increment(_Operation, tag="increment"):
    key: str
    by: int = 1


class _Get(_Operation, tag="get"):
    key: str


class _Check(msgspec.Struct, forbid_unknown_fields=True):
    """A check as JSON."""

    key: str
    exists: bool | None = None
    revision: int | None = None
    create_revision: int | None = None
    version: int | None = None
    value: Any = msgspec.UNSET


_Operations = list[_Insert | _Remove | _RemovePrefix | _Increment | _Get]


class _Transaction(msgspec.Struct, forbid_unknown_fields=True):
    """A transaction as JSON."""

    then: _Operations
    checks: list[_Check] = []
    otherwise: _Operations = []


def transact(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Perform a transaction, given as JSON on standard input.

    For example: {"checks": [{"key": "a", "revision": 3}], "then": [{"op": "insert", "key": "a",
    "value": 1}, {"op": "get", "key": "b"}], "otherwise": []}. Operations are insert, remove,
    remove_prefix, increment and get. If a check fails, the operations of "otherwise" are performed,
    and the exit code is 4.
    """
    given = _parsed(read_input(JSON_BYTES_MAX))
    checks = [Check(**msgspec.structs.asdict(each)) for each in given.checks]
    then, otherwise = map(_public, given.then), map(_public, given.otherwise)
    with connect(url, timeout) as client:
        result = client.transact(checks, then, otherwise)
    _print(result, as_json=as_json)
    if not result.succeeded:
        raise CommandFailed("a check failed", ExitCode.CONFLICT)


def _parsed(text: bytes) -> _Transaction:
    try:
        return msgspec.json.decode(text, type=_Transaction)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CommandFailed(f"not a transaction: {error}", ExitCode.USAGE) from None


def _public(operation: _Operation) -> Operation:
    if isinstance(operation, _Get):
        return operations.Get(operation.key, msgspec.Raw)  # no value hides what was done
    kind = getattr(operations, type(operation).__name__.removeprefix("_"))
    made: Operation = kind(**msgspec.structs.asdict(operation))
    return made


def _print(result: TransactionResult, *, as_json: bool) -> None:
    results = [_fact(each) for each in result.results]
    if as_json:
        output.json(
            {"succeeded": result.succeeded, "revision": result.revision, "results": results}
        )
        return
    for each in results:
        output.json(each)


def _fact(result: object) -> object:
    return shown.facts(shown.decoded_entry(result)) if isinstance(result, Entry) else result
