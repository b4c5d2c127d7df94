"""Validation: the operations that a gateway accepts from clients."""

from typing import assert_never

from protocol.address import InvalidAddressText, parse_address
from protocol.keys import InvalidKey, encode_key, encode_prefix
from protocol.messages.client import (
    AddNode,
    Get,
    Hello,
    ListKeys,
    ListPrefixes,
    Operation,
    ReadSnapshot,
    RemoveNode,
    Status,
    TransferLeadership,
)
from protocol.ranges import ID_BYTES, NUMBER_MAX
from protocol.state.batches import InvalidOperation, check_write, require
from protocol.state.commands import Write


def validate(operation: Operation, value_bytes_max: int) -> None:
    """Check an operation; ``value_bytes_max`` limits the values of inserts.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    try:
        _validate(operation, value_bytes_max)
    except (InvalidKey, InvalidAddressText) as error:
        raise InvalidOperation(str(error)) from None


def _validate(operation: Operation, value_bytes_max: int) -> None:
    match operation:
        case Write():
            check_write(operation, value_bytes_max)
        case Get(key=key):
            encode_key(key)
        case ListKeys() | ListPrefixes():
            _validate_list(operation)
        case AddNode(address=address):
            parse_address(address)
        case RemoveNode() | TransferLeadership() | ReadSnapshot():
            _validate_id(operation)
        case Hello() | Status():
            pass
        case unknown:
            assert_never(unknown)


def _validate_list(operation: ListKeys | ListPrefixes) -> None:
    encode_prefix(operation.prefix)
    require(1 <= operation.limit <= NUMBER_MAX, "limit must be positive")
    if operation.start_after is not None:
        encode_key(operation.start_after)


def _validate_id(operation: RemoveNode | TransferLeadership | ReadSnapshot) -> None:
    match operation:
        case RemoveNode(node=node):
            require(len(node) == ID_BYTES, "a node id has 16 bytes")
        case TransferLeadership(node=node):
            require(len(node) in (0, ID_BYTES), "a node id has 16 bytes")
        case ReadSnapshot(backup=backup):
            require(len(backup) == ID_BYTES, "a backup's id has 16 bytes")
        case unknown:
            assert_never(unknown)
