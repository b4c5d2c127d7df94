"""Batch validation: the writes that gateways and leaders accept into the log.

A correct gateway sends only valid batches. A broken one must not get garbage into the log, from
which every node would have to apply it.
"""

from typing import assert_never

from protocol.commands import BATCH_OPERATIONS_MAX, Insert, OpenSession, Remove, Write
from protocol.config import VALUE_BYTES_CEILING
from protocol.keys import InvalidKey, encode_key
from protocol.membership import NodeId
from protocol.sessions import UNACKNOWLEDGED_MAX
from protocol.state_machine import decode_batch
from protocol.wire import Malformed, encode

PROPOSAL_BYTES_MAX = 16 << 20  # above the size of any batch that a gateway makes


class InvalidOperation(ValueError):
    """An operation that can never succeed as it stands."""


def check_proposal(payload: bytes, proposer: NodeId) -> bytes:
    """Return another gateway's batch, checked and encoded as it is to be appended.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
    """
    require(
        len(payload) <= PROPOSAL_BYTES_MAX,
        f"the batch has {len(payload)} bytes; the limit is {PROPOSAL_BYTES_MAX}",
    )
    try:
        batch = decode_batch(payload)
        require(batch.origin == proposer, "the batch is of another node")
        require(
            len(batch.writes) <= BATCH_OPERATIONS_MAX,
            f"the batch has {len(batch.writes)} writes; the limit is {BATCH_OPERATIONS_MAX}",
        )
        for write in batch.writes:
            check_write(write, VALUE_BYTES_CEILING)
    except (Malformed, InvalidKey) as error:
        raise InvalidOperation(str(error)) from None
    return encode(batch)  # drops trailing elements, which were not checked


def check_write(write: Write, value_bytes_max: int) -> None:
    """Check a write; ``value_bytes_max`` limits the values of inserts.

    Raises:
        InvalidOperation: with a sentence that says what is wrong.
        InvalidKey: the key is invalid.
    """
    require(
        0 <= write.sequence - write.acknowledged < UNACKNOWLEDGED_MAX,
        f"at most {UNACKNOWLEDGED_MAX} writes of a session may be unacknowledged",
    )
    match write.command:
        case OpenSession():
            pass
        case Insert(key=key, value=value):
            encode_key(key)
            require(
                len(value) <= value_bytes_max,
                f"the value of {key!r} has {len(value)} bytes and at most {value_bytes_max} are "
                "allowed",
            )
        case Remove(key=key):
            encode_key(key)
        case unknown:
            assert_never(unknown)


def require(holds: bool, otherwise: str) -> None:
    """Check a condition.

    Raises:
        InvalidOperation: it does not hold.
    """
    if not holds:
        raise InvalidOperation(otherwise)
