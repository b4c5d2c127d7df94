"""Values: errors of types are typed, and bytes that are no MessagePack stay readable."""

import msgspec
import pytest

from protocol.encoding import encode
from skiff import DeserializeFailed, InvalidRequest, SerializeFailed
from skiff.values import check_type, decode_value, encode_value

RAISED = (AttributeError, KeyError, ZeroDivisionError, TypeError, ValueError)


@pytest.mark.parametrize("raised", RAISED)
def test_any_error_of_a_type_tells_the_key_and_keeps_the_stored_bytes(
    raised: type[Exception],
) -> None:
    class Picky(msgspec.Struct):
        number: int

        def __post_init__(self) -> None:
            raise raised("odd")

    stored = encode({"number": 5})
    with pytest.raises(
        DeserializeFailed, match=r"the value of 'k' is not of type Picky: .*odd"
    ) as e:
        decode_value("k", stored, Picky)
    assert e.value.stored == stored


def test_a_value_that_raises_as_it_is_encoded_cannot_be_stored() -> None:
    class Halved(msgspec.Struct):
        first: int
        second: int

    value = Halved(1, 2)
    del value.second
    with pytest.raises(SerializeFailed, match=r"cannot store the value of 'k': .*second"):
        encode_value("k", value)


def test_a_type_with_a_broken_annotation_is_refused() -> None:
    broken = msgspec.defstruct("Broken", [("number", "int |")])
    with pytest.raises(InvalidRequest, match="no value can be decoded as"):
        check_type(broken)


@pytest.mark.parametrize("stored", [b"", b"\xc1", b"\x91" * 100_000 + b"\1"])
def test_any_stored_bytes_can_be_read_raw(stored: bytes) -> None:
    assert bytes(decode_value("k", stored, msgspec.Raw)) == stored
    with pytest.raises(DeserializeFailed):
        decode_value("k", stored, object)
