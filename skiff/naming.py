"""Naming of a member: by its id, by a prefix of its id, or by its address."""

import uuid
from collections.abc import Iterable

from protocol.address import InvalidAddressText, parse_address
from skiff.errors import InvalidRequest, PeerNotFound
from skiff.records import Member

DIGITS_MIN = 4  # fewer are too often ambiguous
HEX_DIGITS = frozenset("0123456789abcdef")


def whole_id(node: uuid.UUID | str) -> uuid.UUID | None:
    """Return a full id, or None if the text is shorter than that."""
    try:
        return uuid.UUID(str(node))
    except ValueError:
        return None


def find_member(text: str, members: Iterable[Member]) -> Member:
    """Return the member with this id prefix or this address.

    Raises:
        PeerNotFound: no member has it.
        InvalidRequest: several ids have this prefix, it is too short, or the text is neither an id
            nor an address.
    """
    known, address = tuple(members), _address(text)
    digits = text.lower().replace("-", "")
    is_prefix = bool(digits) and HEX_DIGITS.issuperset(digits)
    if not is_prefix and not address:
        raise InvalidRequest(
            f"{text!r} is neither a node id nor an address; 'skiff member list' shows both"
        )
    found = [each for each in known if is_prefix and each.id.hex.startswith(digits)]
    found = found or [each for each in known if each.address == address]
    if not found:
        raise PeerNotFound(f"no member has the id or the address {text!r}")
    if len(found) > 1:
        ids = ", ".join(str(each.id) for each in found)
        raise InvalidRequest(f"{text!r} may mean any of {ids}; give more digits")
    if found[0].address != address and len(digits) < DIGITS_MIN:
        raise InvalidRequest(f"{text!r} is too short for an id; give {DIGITS_MIN} digits or more")
    return found[0]


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except InvalidAddressText:
        return ""
