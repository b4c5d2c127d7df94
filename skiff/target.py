"""Where a client finds its cluster: addresses, a URL, or the environment."""

import os
from collections.abc import Iterable

from protocol.address import InvalidAddressText, parse_address
from skiff.errors import InvalidAddress, MissingClusterConfig

URL_SCHEME = "skiff://"
IPC_SCHEME = "ipc://"


def endpoints_of(target: str | Iterable[str] | None) -> list[str]:
    """Return the endpoints that a target names; without one, those in SKIFF_URL.

    Raises:
        MissingClusterConfig: nothing names an address.
        InvalidAddress: what should be an address is none.
    """
    if target is None:
        target = os.environ.get("SKIFF_URL", "")
    if isinstance(target, str):
        target = target.removeprefix(URL_SCHEME).rstrip("/").split(",")
    addresses = [str(address) for address in target if address]
    if not addresses:
        raise MissingClusterConfig(
            "no node to ask: give addresses like 127.0.0.1:9400, or set SKIFF_URL"
        )
    return [_endpoint(address) for address in addresses]


def _endpoint(address: str) -> str:
    if address.startswith(IPC_SCHEME):
        return address
    try:
        return parse_address(address).client_endpoint
    except InvalidAddressText as error:
        raise InvalidAddress(str(error)) from None
