"""Addresses of a cluster: a list, a ``skiff://`` URL, or the environment variable SKIFF_URL."""

import os
from collections.abc import Iterable

from protocol.address import InvalidAddressText, parse_address
from skiff.errors import InvalidAddress, MissingClusterConfig

URL_SCHEME = "skiff://"
IPC_SCHEME = "ipc://"
TCP_SCHEME = "tcp://"


def endpoints_of(target: str | Iterable[str] | None) -> list[str]:
    """Return the ZeroMQ endpoints of a target; without a target, those of SKIFF_URL.

    Raises:
        MissingClusterConfig: the target, or SKIFF_URL, has no address.
        InvalidAddress: an address does not parse as ``host`` or ``host:port``.
    """
    return [_endpoint(address) for address in _addresses(target)]


def addresses_of(target: str | Iterable[str] | None) -> list[str]:
    """Return the addresses of a target as ``host:port``, without its ipc endpoints.

    Raises:
        MissingClusterConfig: the target, or SKIFF_URL, has no address.
        InvalidAddress: an address does not parse as ``host`` or ``host:port``.
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


def _addresses(target: str | Iterable[str] | None) -> list[str]:
    if target is None:
        target = os.environ.get("SKIFF_URL", "")
    if isinstance(target, str):
        target = target.removeprefix(URL_SCHEME).rstrip("/").split(",")
    addresses = [str(address) for address in target if address]
    if not addresses:
        raise MissingClusterConfig(
            "no node address: pass addresses like 127.0.0.1:9400, or set SKIFF_URL"
        )
    return addresses


def _endpoint(address: str) -> str:
    if address.startswith(IPC_SCHEME):
        return address
    return f"{TCP_SCHEME}{normal(address)}"
