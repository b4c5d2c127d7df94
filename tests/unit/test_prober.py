"""Prober: the reasons why an address accepts no connection."""

import socket
from collections.abc import Iterator

import pytest

from actors.prober import Prober, trouble_of
from protocol.address import PEER_PORT_OFFSET
from skiff.testing import free_port, wait_until


@pytest.fixture
def listening() -> Iterator[str]:
    """Return the address of a node whose peer port accepts connections."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port + PEER_PORT_OFFSET)):
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("address", "trouble"),
    [
        ("no-such-host.invalid:9400", "cannot be resolved: "),
        (f"{'a' * 64}.example:9400", "cannot be resolved: "),  # too long a label
        ("255.255.255.255:9400", "cannot be reached: "),
        ("[:", "is not an address: "),
    ],
)
def test_each_connection_failure_has_its_own_message(address: str, trouble: str) -> None:
    assert trouble_of(address).startswith(trouble)


def test_an_address_without_a_listener_refuses_connections() -> None:
    assert trouble_of(f"127.0.0.1:{free_port()}") == "refuses connections"


def test_an_accepted_connection_is_no_failure(listening: str) -> None:
    assert trouble_of(listening) == ""


def test_an_address_is_probed_at_a_limited_rate(listening: str) -> None:
    prober, results = Prober(), list[tuple[str, str]]()

    def has_result() -> bool:
        prober.probe(listening)
        results.extend(prober.results())
        return bool(results)

    wait_until(has_result, "the first result is there")
    prober.probe(listening)  # too early
    assert list(prober.results()) == []
    assert results == [(listening, "")]
