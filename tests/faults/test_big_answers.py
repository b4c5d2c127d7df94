"""Big replies: they are split, and harm neither writers nor the node's memory."""

import contextlib
from collections.abc import Iterator

import pytest
import zmq

from protocol.address import parse_address
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    OPERATIONS_MAX,
    Failed,
    FailureCode,
    Get,
    Operation,
    Outcome,
    Request,
)
from protocol.state.commands import Found
from protocol.wire import encode
from skiff import Client, Overloaded
from skiff.testing import Cluster, wait_until
from tests.cluster.raw_client import RawClient
from tests.faults.load import Load
from tests.faults.memory import resident_bytes

pytestmark = pytest.mark.cluster

GETS = 500
VALUE_BYTES = 1_000_000
STALL_SECONDS = 1.0  # on a shared machine; 0.02 to 0.07 on a dedicated one
CALM_FACTOR = 4  # times the writers' longest silence before, on a machine with other work
# 128 MiB of replies, 32 of outcomes that are not confirmed, 64 on their way from storage, twice an
# encoded reply, and 40 of the process itself; a fifth of that for what the allocator cannot reuse.
GATEWAY_BYTES_MAX = 352 << 20
# Longer than a busy machine delays heartbeats; the stalls of writers are judged on their own.
PATIENT = ("--election-timeout-min-ms", "750", "--election-timeout-max-ms", "1500")
CONNECTIONS = 10
REQUESTS = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("big-answers")
    with Cluster(3, directory=directory, options=PATIENT) as running:
        with running.client(timeout=20) as client:
            client.insert("big", b"x" * VALUE_BYTES)
        yield running


def ask_when_there_is_room(client: RawClient, *operations: Operation) -> tuple[Outcome, ...]:
    """Repeat a request until the node has noticed that its last reply was read."""
    outcomes: tuple[Outcome, ...] = ()

    def is_admitted() -> bool:
        nonlocal outcomes
        outcomes = client.ask(*operations)
        first = outcomes[0]
        return not (isinstance(first, Failed) and first.code is FailureCode.OVERLOADED)

    wait_until(is_admitted, "a request is admitted")
    return outcomes


def leadership(cluster: Cluster) -> list[object]:
    statuses = [node.status() for node in cluster.nodes]
    return [(status.term, status.leader) for status in statuses if status is not None]


@pytest.mark.parametrize("at_leader", [True, False], ids=["leader", "follower"])
def test_many_large_reads_in_one_request_delay_no_writer(cluster: Cluster, at_leader: bool) -> None:
    before = leadership(cluster)
    node = cluster.leader() if at_leader else cluster.followers()[0]
    with Load(cluster, writers=2) as load, RawClient(node) as client:
        load.wait_for(50)
        calm = load.longest_silence()
        for _ in range(3):
            outcomes = ask_when_there_is_room(client, *[Get("big")] * GETS)
            found = [each for each in outcomes if isinstance(each, Found)]
            refused = [each for each in outcomes if isinstance(each, Failed)]
            assert [len(each.value) > VALUE_BYTES for each in found] == [True] * 16
            assert len(found) + len(refused) == GETS
            assert {each.code for each in refused} == {FailureCode.TOO_LARGE}
            assert "fewer keys" in refused[0].message
        load.wait_for(50)
    assert load.failures == []
    assert load.longest_silence() < max(STALL_SECONDS, CALM_FACTOR * calm)
    assert leadership(cluster) == before


def test_a_request_with_too_many_operations_is_refused(cluster: Cluster) -> None:
    with RawClient(cluster.leader()) as client:
        client.send(*[Get("k")] * (OPERATIONS_MAX + 1))
        (failed,) = client.outcomes(0)
        assert isinstance(failed, Failed)
        assert (failed.code, str(OPERATIONS_MAX) in failed.message) == (FailureCode.INVALID, True)


@pytest.mark.alone
def test_clients_that_read_no_reply_use_bounded_memory_and_delay_no_other(cluster: Cluster) -> None:
    before = leadership(cluster)
    leader = cluster.leader()
    request = encode(Request(CLIENT_PROTOCOL_VERSION, 1, 30_000, (Get("big"),) * GETS))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    connections = [_silent_connection(context, leader.address) for _ in range(CONNECTIONS)]
    try:
        with Load(cluster, writers=2) as load:
            load.wait_for(50)
            calm = load.longest_silence()
            for silent in connections:
                for _ in range(REQUESTS):
                    silent.send(request)
            peak = 0
            with leader.client(timeout=10) as client:
                for number in range(40):
                    load.wait_for(5)
                    assert client.insert("small", number)
                    assert client.get("small", int) == number
                    peak = max(peak, resident_bytes(leader, "client_gateway"))
        assert peak < GATEWAY_BYTES_MAX, f"{peak >> 20} MiB"
        assert load.failures == []
        assert load.longest_silence() < max(STALL_SECONDS, CALM_FACTOR * calm)
        assert leadership(cluster) == before
    finally:
        for silent in connections:
            silent.close(0)
        context.term()
    with leader.client(timeout=10) as client:
        # Closing the connections frees the replies that waited for them.
        wait_until(lambda: _reads_big(client), "a big value is read")


def _silent_connection(
    context: "zmq.Context[zmq.Socket[bytes]]", address: str
) -> "zmq.Socket[bytes]":
    """Connect a client that reads hardly any replies."""
    silent = context.socket(zmq.DEALER)
    silent.setsockopt(zmq.RCVHWM, 1)
    silent.setsockopt(zmq.RCVBUF, 4096)
    silent.connect(parse_address(address).client_endpoint)
    return silent


def _reads_big(client: Client) -> bool:
    with contextlib.suppress(Overloaded):
        return client.get("big", bytes) == b"x" * VALUE_BYTES
    return False
