"""Ranges: the valid numbers and ids in messages, checked when they are decoded.

Arithmetic on valid numbers does not overflow the eight bytes that they have on disk.
"""

from typing import Annotated

from msgspec import Meta

NUMBER_MAX = (1 << 63) - 1
COUNTER_MAX = 1 << 62  # leaves room for additions
INCARNATION_MAX = (1 << 31) - 1  # the upper half of a request's number
CHECKSUM_MAX = (1 << 32) - 1
ID_BYTES = 16  # of a UUID
LEVEL_MIN = 1  # of a node that does not announce its level
LEVEL_MAX = (1 << 16) - 1
ADDRESS_LENGTH_MAX = 300  # characters; a host name has 253 at most

Term = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Index = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]  # of a request, session, sequence or revision
Integer = Annotated[int, Meta(ge=-(1 << 63), le=NUMBER_MAX)]  # a signed one of 64 bits
Level = Annotated[int, Meta(ge=LEVEL_MIN, le=LEVEL_MAX)]  # ``state.levels``
Incarnation = Annotated[int, Meta(ge=0, le=INCARNATION_MAX)]
Microseconds = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Checksum = Annotated[int, Meta(ge=0, le=CHECKSUM_MAX)]
Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
AddressText = Annotated[str, Meta(max_length=ADDRESS_LENGTH_MAX)]  # which may name no host
IdOrNone = Annotated[bytes, Meta(max_length=ID_BYTES)]  # empty for none
