"""Target of a client: addresses as a list, a ``skiff://`` or ``skiffs://`` URL, or SKIFF_URL.

``skiffs://host:port,host2?key=FILE`` names a key file, too: all connections are encrypted.
"""

import os
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from urllib.parse import parse_qs, quote

import msgspec

from protocol.address import InvalidAddressText, parse_address
from protocol.security.keys import ClientKeys
from skiff.errors import InvalidAddress, InvalidKey, MissingClusterConfig
from skiff.key_files import read_client_keys
from skiff.paths import check_path

PLAIN_SCHEME, SECURE_SCHEME = "skiff://", "skiffs://"
IPC_SCHEME = "ipc://"
TCP_SCHEME = "tcp://"
KEY_VARIABLE, SERVER_KEY_VARIABLE = "SKIFF_KEY", "SKIFF_SERVER_KEY"
KEY_PLACES = "give ?key=FILE, key= or SKIFF_KEY"
PLAIN_WITH_KEY = "skiff:// is not encrypted, and a key is given: write skiffs://"

Target: TypeAlias = str | Iterable[str] | None
KeyPath: TypeAlias = str | os.PathLike[str] | None


class _Url(msgspec.Struct, frozen=True):
    """The parts of a target; texts are empty where they are missing."""

    scheme: str
    addresses: list[str]
    key: str = ""
    server_key: str = ""


def keys_of(target: Target, key: KeyPath, server_key: KeyPath) -> ClientKeys | None:
    """Return the keys of a client, None for one without.

    What is not given is taken from the URL, then from SKIFF_KEY and SKIFF_SERVER_KEY, except for a
    node's own ipc address. An empty ``key`` means none, whatever the environment has.

    Raises:
        InvalidKey: a key file cannot be used, the scheme and the keys contradict each other, or
            only the cluster's key is given.
        MissingClusterConfig: the target, or SKIFF_URL, has no address.
    """
    url = _parse(target)
    is_local = all(each.startswith(IPC_SCHEME) for each in url.addresses)
    environment = {} if is_local or key == "" else os.environ
    if key is None:
        key = url.key or environment.get(KEY_VARIABLE)
    if server_key is None:
        server_key = url.server_key or environment.get(SERVER_KEY_VARIABLE) or None
    for name, path in (("key", key), ("server_key", server_key)):
        if path is not None:
            check_path(name, path, InvalidKey)
    _check_together(url.scheme, key, server_key)
    return read_client_keys(key, server_key) if key else None


def _check_together(scheme: str, key: KeyPath, server_key: KeyPath) -> None:
    if scheme == PLAIN_SCHEME and (key or server_key):
        raise InvalidKey(PLAIN_WITH_KEY)
    if scheme == SECURE_SCHEME and not key:
        raise InvalidKey(f"skiffs:// needs a key: {KEY_PLACES}")
    if server_key and not key:
        raise InvalidKey(f"a server key needs a secret key, too: {KEY_PLACES}")


def with_keys(url: str | None, key: str | None, server_key: str | None) -> str:
    """Return a target as a URL that also names these keys, where they are given.

    Raises:
        InvalidKey: the URL is one without encryption.
        MissingClusterConfig: the target, or SKIFF_URL, has no address.
    """
    parsed = _parse(url)
    if parsed.scheme == PLAIN_SCHEME:
        raise InvalidKey(PLAIN_WITH_KEY)
    named = {"key": key or parsed.key, "server_key": server_key or parsed.server_key}
    return _text(msgspec.structs.replace(parsed, scheme=SECURE_SCHEME, **named))


def moved_to(url: str, address: str) -> str:
    """Return a target with the same scheme and keys, and another address.

    Raises:
        MissingClusterConfig: the target has no address.
    """
    return _text(msgspec.structs.replace(_parse(url), addresses=[address]))


def collected(target: Target) -> str | list[str] | None:
    """Return a target in a form that can be read more than once, unlike an iterator.

    Raises:
        InvalidAddress: it is neither a str nor an iterable of them.
    """
    return target if target is None or isinstance(target, str) else texts_of(target)


def texts_of(given: object) -> list[str]:
    """Return one address, or a collection of addresses, as a list.

    Raises:
        InvalidAddress: it is neither a str nor an iterable of them, or a mapping.
    """
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray | Mapping):
        raise InvalidAddress(f"addresses are a str or a collection of str, not {given!r}")
    texts = list(given)
    for each in texts:
        if not isinstance(each, str):
            raise InvalidAddress(f"an address is a str, not {each!r}")
    return texts


def endpoints_of(target: Target) -> list[str]:
    """Return the ZeroMQ endpoints of a target; without a target, those of SKIFF_URL.

    Raises:
        MissingClusterConfig: the target, or SKIFF_URL, has no address.
        InvalidAddress: an address does not parse as ``host`` or ``host:port``, or is no str.
    """
    return [_endpoint(address) for address in _addresses(target)]


def addresses_of(target: Target) -> list[str]:
    """Return the addresses of a target as ``host:port``, without its ipc endpoints.

    Raises:
        MissingClusterConfig: the target, or SKIFF_URL, has no address.
        InvalidAddress: an address does not parse as ``host`` or ``host:port``, or is no str.
    """
    return [normal(each) for each in _addresses(target) if not each.startswith(IPC_SCHEME)]


def normal(address: str) -> str:
    """Return an address in the form that nodes store: ``host:port``.

    Raises:
        InvalidAddress: the text does not parse as ``host`` or ``host:port``.
    """
    try:
        return str(parse_address(address))
    except InvalidAddressText as error:
        raise InvalidAddress(str(error)) from None


def _addresses(target: Target) -> list[str]:
    return _parse(target).addresses


def _parse(target: Target) -> _Url:
    if target is None:
        target = os.environ.get("SKIFF_URL", "")
    url = _parse_url(target) if isinstance(target, str) else _Url("", texts_of(target))
    url = msgspec.structs.replace(url, addresses=[each for each in url.addresses if each])
    if not url.addresses:
        raise MissingClusterConfig(
            "no node address: pass addresses like 127.0.0.1:9400, or set SKIFF_URL"
        )
    return url


def _text(url: _Url) -> str:
    named = {"key": url.key, "server_key": url.server_key}
    query = "&".join(f"{name}={quote(text)}" for name, text in named.items() if text)
    return f"{url.scheme}{','.join(url.addresses)}{'?' if query else ''}{query}"


def _parse_url(text: str) -> _Url:
    scheme = next((each for each in (PLAIN_SCHEME, SECURE_SCHEME) if text.startswith(each)), "")
    place, _, query = text.removeprefix(scheme).partition("?")
    values = {name: texts[-1] for name, texts in parse_qs(query).items()}
    if values.keys() - {"key", "server_key"} or (query and not values):
        raise InvalidAddress(f"after the addresses, {text!r} may have ?key=FILE alone")
    return _Url(
        scheme, place.rstrip("/").split(","), values.get("key", ""), values.get("server_key", "")
    )


def _endpoint(address: str) -> str:
    if address.startswith(IPC_SCHEME):
        return address
    return f"{TCP_SCHEME}{normal(address)}"
