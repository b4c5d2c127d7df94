"""Sockets: waiting on the edge-triggered descriptors of ZeroMQ sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.port import Frames, Port
from actors.sockets import Sockets

MESSAGES = 300
PATIENCE = 5.0  # seconds; a message takes much less


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    monkeypatch.chdir(tmp_path)
    sockets = Sockets()
    yield sockets
    sockets.close()


@pytest.fixture
def client() -> Iterator[Sockets]:
    client = Sockets()
    yield client
    client.close()


def wait_until_idle(sockets: Sockets, *ports: Port) -> None:
    """Wait until nothing is readable, as a loop does after its turns."""
    while sockets.wait(0.02):
        for port in ports:
            assert list(port.drain()) == []
            if port.monitor is not None:
                list(port.monitor.drain())


def wait_until_readable(sockets: Sockets, port: Port) -> None:
    """Wait for a listening port, which also wakes up for its connections."""
    assert port.monitor is not None
    while port not in (readable := sockets.wait(PATIENCE)):
        assert readable == [port.monitor]
        list(port.monitor.drain())


def receive(sockets: Sockets, port: Port) -> list[Frames]:
    """Wait for messages at a listening port, which may wake up without any, and return them."""
    messages: list[Frames] = []
    while not messages:
        wait_until_readable(sockets, port)
        messages = list(port.drain())
    return messages


def test_a_message_is_reported_after_the_port_was_found_empty(sockets: Sockets) -> None:
    inbox, outbox = sockets.inbox("inbox"), sockets.outbox("inbox")
    wait_until_idle(sockets, inbox)
    for number in range(MESSAGES):
        assert not inbox.may_hold_unread
        outbox.send(b"%d" % number)
        assert sockets.wait(PATIENCE) == [inbox]
        assert inbox.drain_single() == [b"%d" % number]
    outbox.close()


def test_a_message_that_arrives_during_a_send_is_reported(
    sockets: Sockets, client: Sockets
) -> None:
    router = sockets.client_router(["ipc://router"])
    dealer = client.peer_dealer("ipc://router")
    client.watch(dealer)
    wait_until_idle(client, dealer)
    dealer.send(b"hello")
    ((identity, _),) = receive(sockets, router)
    for number in range(MESSAGES):
        dealer.send(b"%d" % number)
        router.send(identity, b"answer")  # takes in the notices of ZeroMQ's own thread
        assert receive(sockets, router) == [[identity, b"%d" % number]]
        assert client.wait(PATIENCE) == [dealer]
        assert list(dealer.drain()) == [[b"answer"]]


def test_a_new_port_may_hold_unread_messages_until_the_first_wait(sockets: Sockets) -> None:
    inbox = sockets.inbox("inbox")
    assert inbox.may_hold_unread
    sockets.wait(0.0)
    assert not inbox.may_hold_unread
