"""Addresses: parsing, and the ports that follow from a node's port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.address import PORT_MAX, Address, InvalidAddressText, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("node", "node", 9400),
        ("node:1", "node", 1),
        (" node:9500 ", "node", 9500),
        ("10.0.0.1:9400", "10.0.0.1", 9400),
        ("::1", "::1", 9400),
        ("[::1]", "::1", 9400),
        ("[::1]:9500", "::1", 9500),
        ("fe80::1", "fe80::1", 9400),
        (f"node:{PORT_MAX}", "node", PORT_MAX),
    ],
)
def test_an_address_has_a_host_and_an_optional_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":9400",
        "[]:9400",
        "[::1",
        "[::1]9400",
        "node:",
        "node:0",
        "node:-1",
        "node:+1",
        "node:1_0",
        "node:٣",
        "node:port",
        f"node:{PORT_MAX + 1}",
        "node:" + "9" * 5000,
        "no de:1",
        "tcp://node",
        "user@node",
        "a;b",
        "a\0b",
        "nöde",
        "a]b",
        "[a[b]",
        None,
        9400,
        b"node",
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_an_invalid_address_is_refused_with_an_explanation(text: object) -> None:
    with pytest.raises(InvalidAddressText, match=r"\w+ \w+"):
        parse_address(text)


@given(st.text(max_size=20) | st.from_regex(r"\[?[a-f0-9:.\[\]]*\]?(:[0-9]*)?", fullmatch=True))
def test_a_parsed_address_round_trips_through_text(text: str) -> None:
    try:
        address = parse_address(text)
    except InvalidAddressText:
        return
    assert parse_address(str(address)) == address


def test_the_default_port_applies_if_none_is_given() -> None:
    assert parse_address("node", default_port=1234) == Address("node", 1234)
    assert parse_address("node:1", default_port=1234) == Address("node", 1)


def test_three_endpoints_follow_from_one_port() -> None:
    address = Address("node", 9400)
    assert address.client_endpoint == "tcp://node:9400"
    assert address.publish_endpoint == "tcp://node:9401"
    assert address.peer_endpoint == "tcp://node:9402"
    assert Address("::1", PORT_MAX).peer_endpoint == "tcp://[::1]:65535"
