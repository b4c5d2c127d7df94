"""Addresses of a cluster, named for a client one by one, by a URL, or by the environment."""

import os
from collections.abc import Iterable

from protocol.address import InvalidAddressText, parse_address
from skiff.errors import InvalidAddress, MissingClusterConfig

URL_SCHEME = "skiff://"
IPC_SCHEME = "ipc://"
TCP_SCHEME = "tcp://"


def endpoints_of(target: str | Iterable[str] | None) -> list[str]:
    """Return the endpoints that a target names; without one, those in SKIFF_URL.

    Raises:
        MissingClusterConfig: nothing names an address.
        InvalidAddress: what should be an address is none.
    """
    return [_endpoint(address) for address in _addresses(target)]


def addresses_of(target: str | Iterable[str] | None) -> list[str]:
    """Return the addresses that a target names, as ``host:port``; ipc sockets have none.

    Raises:
        MissingClusterConfig: nothing names an address.
        InvalidAddress: what should be an address is none.
    """
    return [normal(each) for each in _addresses(target) if not each.startswith(IPC_SCHEME)]


def normal(address: str) -> str:
    """Return an address as nodes write it, with its port.

    Raises:
        InvalidAddress: it is none.
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
            "no node to ask: give addresses like 127.0.0.1:9400, or set SKIFF_URL"
        )
    return addresses


def _endpoint(address: str) -> str:
    if address.startswith(IPC_SCHEME):
        return address
    return f"{TCP_SCHEME}{normal(address)}"
