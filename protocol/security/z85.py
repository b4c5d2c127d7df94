"""Z85: the text of keys, five characters for each four bytes (ZeroMQ RFC 32)."""

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
BASE = len(ALPHABET)
GROUP_CHARACTERS, GROUP_BYTES = 5, 4
GROUP_END = 1 << 8 * GROUP_BYTES
_DIGITS = {character: digit for digit, character in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Return the text of bytes, whose number is a multiple of four."""
    groups = (data[at : at + GROUP_BYTES] for at in range(0, len(data), GROUP_BYTES))
    return "".join(_text(int.from_bytes(group, "big")) for group in groups)


def decode(text: str) -> bytes:
    """Return the bytes of a text.

    Raises:
        ValueError: it is not Z85.
    """
    if len(text) % GROUP_CHARACTERS or not set(text) <= _DIGITS.keys():
        raise ValueError("not Z85")
    groups = (text[at : at + GROUP_CHARACTERS] for at in range(0, len(text), GROUP_CHARACTERS))
    return b"".join(map(_bytes, groups))


def _text(number: int) -> str:
    digits = [number // BASE**power % BASE for power in reversed(range(GROUP_CHARACTERS))]
    return "".join(ALPHABET[digit] for digit in digits)


def _bytes(group: str) -> bytes:
    number = 0
    for character in group:
        number = number * BASE + _DIGITS[character]
    if number >= GROUP_END:
        raise ValueError("not Z85")
    return number.to_bytes(GROUP_BYTES, "big")
