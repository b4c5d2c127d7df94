"""Address of a node: a host and a port, from which its three TCP ports are derived."""

import msgspec

from protocol.ranges import ADDRESS_LENGTH_MAX

DEFAULT_PORT = 9400
PUBLISH_PORT_OFFSET = 1
PEER_PORT_OFFSET = 2
PORT_MAX = 65535 - PEER_PORT_OFFSET
PORT_DIGITS_MAX = 5  # int() raises another error for thousands of digits


class InvalidAddressText(ValueError):
    """Text that is not an address."""


class Address(msgspec.Struct, frozen=True, order=True):
    """A node's host and its client port; publisher and peers listen on the next two ports."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        """Return the form that ``parse_address`` reads."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def endpoints(self) -> tuple[str, str, str]:
        """All three TCP endpoints of the node."""
        return self.client_endpoint, self.publish_endpoint, self.peer_endpoint

    @property
    def client_endpoint(self) -> str:
        """The client gateway's endpoint for requests."""
        return f"tcp://{self}"

    @property
    def publish_endpoint(self) -> str:
        """The client gateway's endpoint for subscriptions."""
        return f"tcp://{self._bracketed}:{self.port + PUBLISH_PORT_OFFSET}"

    @property
    def peer_endpoint(self) -> str:
        """The log replicator's endpoint for peers."""
        return f"tcp://{self._bracketed}:{self.port + PEER_PORT_OFFSET}"


def parse_address(text: object, default_port: int = DEFAULT_PORT) -> Address:
    """Parse ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    Raises:
        InvalidAddressText: with a sentence that says what is wrong.
    """
    if not isinstance(text, str):
        raise InvalidAddressText(f"an address is text like host:port, not {text!r}")
    if len(text) > ADDRESS_LENGTH_MAX:
        raise InvalidAddressText(f"{text[:40]!r}… has more than {ADDRESS_LENGTH_MAX} characters")
    host, port = _split(text.strip())
    if not host or not host.isascii() or any(c in " /@;[]" or not c.isprintable() for c in host):
        raise InvalidAddressText(f"{text!r} names no host; write host or host:port")
    return Address(host, default_port if port is None else _parse_port(text, port))


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidAddressText(f"{text!r} is not [v6 address] or [v6 address]:port")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _parse_port(text: str, port: str) -> int:
    digits = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX
    if not (digits and 1 <= int(port) <= PORT_MAX):
        raise InvalidAddressText(f"the port in {text!r} must be a number from 1 to {PORT_MAX}")
    return int(port)
