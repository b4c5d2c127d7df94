"""Handshakes: what failures say of a node, and which server key is tried next."""

import pytest
import zmq

from protocol.security import handshakes
from protocol.security.handshakes import (
    KEY_REQUIRED,
    KEYLESS,
    OTHER_KEY,
    PERHAPS_KEY_REQUIRED,
    PERHAPS_OTHER_KEY,
    REFUSED,
    ROUNDS,
    Failure,
    ServerKeys,
    failure_of,
)

HERE, THERE = "tcp://here:1", "tcp://there:1"


def test_the_numbers_are_those_of_zeromq() -> None:
    assert handshakes.SUCCEEDED == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert handshakes.NO_DETAIL == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert handshakes.PROTOCOL == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    assert handshakes.REFUSED_AUTH == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert handshakes.MECHANISM_MISMATCH == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH


@pytest.mark.parametrize(
    ("event", "value", "failure"),
    [
        (handshakes.REFUSED_AUTH, 400, Failure.REFUSED),
        (handshakes.PROTOCOL, handshakes.MECHANISM_MISMATCH, Failure.MISMATCH),
        (handshakes.PROTOCOL, 0x11000001, Failure.BROKEN_OFF),
        (handshakes.NO_DETAIL, 32, Failure.BROKEN_OFF),
        (handshakes.SUCCEEDED, 0, None),
        (int(zmq.EVENT_DISCONNECTED), 9, None),
    ],
)
def test_events_are_understood(event: int, value: int, failure: Failure | None) -> None:
    assert failure_of(event, value) is failure


def test_a_refusal_is_certain_and_changes_no_key() -> None:
    keys = ServerKeys([b"new", b"old"])
    assert keys.note_failure(HERE, b"new", Failure.REFUSED) is REFUSED
    assert keys.choose(HERE) == b"new"


def test_a_node_with_or_without_keys_is_told_from_the_other_kind() -> None:
    assert ServerKeys().note_failure(HERE, b"", Failure.MISMATCH) is KEY_REQUIRED
    assert ServerKeys([b"key"]).note_failure(HERE, b"key", Failure.MISMATCH) is KEYLESS


def test_known_keys_take_turns_and_what_failed_elsewhere_is_not_tried_first() -> None:
    keys = ServerKeys([b"new", b"old"])
    assert not keys.has_more(HERE)
    assert keys.note_failure(HERE, b"new", Failure.BROKEN_OFF) is None
    assert keys.has_more(HERE)
    assert (keys.choose(HERE), keys.choose(THERE)) == (b"old", b"old")
    assert keys.note_failure(HERE, b"new", Failure.BROKEN_OFF) is None, "of another connection"
    assert keys.choose(HERE) == b"old"
    keys.note_success(HERE)
    assert (keys.choose(HERE), keys.has_more(HERE)) == (b"old", False)


@pytest.mark.parametrize(
    ("known", "trouble"), [((), PERHAPS_KEY_REQUIRED), ((b"new", b"old"), PERHAPS_OTHER_KEY)]
)
def test_only_repeated_failures_say_something(known: tuple[bytes, ...], trouble: object) -> None:
    keys = ServerKeys(known)
    said = []
    for _ in range(ROUNDS * max(1, len(known))):
        key = keys.choose(HERE) if known else b""
        said.append(keys.note_failure(HERE, key, Failure.BROKEN_OFF))
    assert said == [None] * (len(said) - 1) + [trouble]
    keys.note_success(HERE)
    assert keys.note_failure(HERE, b"", Failure.BROKEN_OFF) is None


def test_what_a_node_offers_makes_it_certain() -> None:
    assert ServerKeys().note_failure(HERE, b"", Failure.BROKEN_OFF, "CURVE") is KEY_REQUIRED
    keys = ServerKeys([b"key"])
    assert keys.note_failure(HERE, b"key", Failure.BROKEN_OFF, "NULL") is KEYLESS
    said = [keys.note_failure(HERE, b"key", Failure.BROKEN_OFF, "CURVE") for _ in range(ROUNDS)]
    assert said == [None] * (ROUNDS - 1) + [OTHER_KEY]
