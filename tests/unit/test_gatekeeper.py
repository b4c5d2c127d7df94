"""Gatekeeper: the decision on each connection, and the user of each message."""

import pytest

from protocol.security import z85
from protocol.security.gatekeeper import USERS_KEPT, Gatekeeper, reply

CLUSTER, ACCEPTED, USER, STRANGER = (bytes([each]) * 32 for each in b"cauS")
CLIENT, PEER = b"skiff-client", b"skiff-peer"


@pytest.fixture
def gatekeeper() -> Gatekeeper:
    gatekeeper = Gatekeeper([CLUSTER, ACCEPTED])
    gatekeeper.admit_users([USER])
    return gatekeeper


def request(
    key: bytes = CLUSTER,
    domain: bytes = CLIENT,
    mechanism: bytes = b"CURVE",
    version: bytes = b"1.0",
) -> list[bytes]:
    return [version, b"7", domain, b"10.0.0.1", b"", mechanism, key]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(CLUSTER), b"200"),
        (request(ACCEPTED), b"200"),
        (request(USER), b"200"),
        (request(STRANGER), b"400"),
        (request(CLUSTER, PEER), b"200"),
        (request(ACCEPTED, PEER), b"200"),
        (request(USER, PEER), b"400"),
        (request(STRANGER, PEER), b"400"),
        (request(CLUSTER, b""), b"400"),
        (request(CLUSTER, b"skiff"), b"400"),
        (request(USER, b"skiff-client\0"), b"400"),
        (request(b""), b"400"),
        (request(CLUSTER[:31]), b"400"),
        (request(CLUSTER + b"c"), b"400"),
        (request(z85.encode(CLUSTER).encode()), b"400"),
        (request(mechanism=b"NULL"), b"400"),
        (request(mechanism=b"PLAIN"), b"400"),
        (request(mechanism=b"curve"), b"400"),
        (request(version=b"2.0"), b"500"),
        (request()[:6], b"500"),
        ([*request(), b"more"], b"500"),
        ([], b"500"),
        ([b"1.0"], b"500"),
    ],
    ids=repr,
)
def test_the_decision_on_each_request(
    gatekeeper: Gatekeeper, asked: list[bytes], status: bytes
) -> None:
    decision = gatekeeper.decide(asked)
    assert (decision.status, decision.admits) == (status, status == b"200")
    assert decision.user_id == (z85.encode(asked[6]) if decision.admits else "")
    frames = reply(asked, decision)
    assert frames[:3] == [b"1.0", asked[1] if len(asked) > 1 else b"", status]
    assert frames[4:] == [decision.user_id.encode(), b""]


def test_users_are_replaced_as_a_whole(gatekeeper: Gatekeeper) -> None:
    gatekeeper.admit_users([STRANGER])
    assert not gatekeeper.decide(request(USER)).admits
    assert gatekeeper.decide(request(STRANGER)).admits


def test_the_user_of_a_message_is_its_key_and_none_for_the_cluster(
    gatekeeper: Gatekeeper,
) -> None:
    for _ in range(2):  # at first, and as it is remembered
        assert gatekeeper.user_of(z85.encode(USER)) == USER
        assert gatekeeper.user_of(z85.encode(CLUSTER)) == b""
        assert gatekeeper.user_of(z85.encode(ACCEPTED)) == b""


@pytest.mark.parametrize(
    "user_id", ["", "x", z85.encode(USER)[:-1], z85.encode(USER) + "0", "é" * 40]
)
def test_a_message_without_a_valid_user_id_has_no_user(
    gatekeeper: Gatekeeper, user_id: str
) -> None:
    assert gatekeeper.user_of(user_id) is None


def test_the_remembered_users_are_bounded(gatekeeper: Gatekeeper) -> None:
    for number in range(USERS_KEPT + 5):
        key = number.to_bytes(32, "big")
        assert gatekeeper.user_of(z85.encode(key)) == key
    assert len(gatekeeper._by_id) <= USERS_KEPT
