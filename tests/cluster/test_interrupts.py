"""Interrupts: an exception of a signal handler, wherever it comes, leaves nothing held for ever."""

import itertools
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from protocol.state.sessions import UNACKNOWLEDGED_MAX
from skiff import Client, ClientClosed, LockTimeout, RequestTimeout, SkiffError
from skiff.testing import Cluster, wait_until
from skiff.transport import CLOSE_SECONDS
from tests.harness.interrupts import interrupted, sources

pytestmark = pytest.mark.cluster

TTL = 1.0
SECONDS = 10.0
EXPIRED = TTL * 4 / 3 + 10.0
RECIPES = sources("skiff/recipes", "skiff/lease")
SUBSCRIBERS = sources("skiff/subscriber")
CALLS = sources(
    "skiff/caller", "skiff/transport", "protocol/client/calls", "protocol/client/session"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("interrupts")
    with Cluster(1, directory=directory) as cluster, cluster.client(timeout=20.0) as connected:
        yield connected


def in_block(holder: Any) -> None:
    with holder:
        pass


def by_calls(holder: Any) -> None:
    holder.acquire()
    holder.release()


def campaign(election: Any) -> None:
    with election.campaign():
        pass


def wait_until_free(client: Client, prefix: str) -> None:
    wait_until(lambda: not client.list_keys(prefix), f"nothing is held under {prefix}", EXPIRED)


def reused(holder: Any) -> None:
    """Acquire a holder once more, or find that the key of its last turn is not gone yet."""
    if holder.is_held:
        holder.release()  # the interrupt came when it was held already
    with suppress(LockTimeout):
        holder.acquire(timeout=0)
        holder.release()


@pytest.mark.parametrize("use", [in_block, by_calls])
@pytest.mark.parametrize("kind", ["lock", "double_barrier"])
def test_an_interrupted_holder_holds_nothing_for_ever(client: Client, kind: str, use: Any) -> None:
    holders = []
    more = {"parties": 1} if kind == "double_barrier" else {}
    for place in itertools.count():
        holder = getattr(client, kind)(f"{kind}/{place}", ttl=TTL, **more)
        holders.append(holder)
        if not interrupted(place, RECIPES, partial(use, holder)):
            break
        reused(holder)
    assert len(holders) > 50
    wait_until_free(client, f"{kind}/")


def test_an_interrupted_candidate_leads_only_if_it_says_so(client: Client) -> None:
    candidates = []
    for place in itertools.count():
        candidate = client.election(f"election/{place}", ttl=TTL)
        candidates.append(candidate)
        if not interrupted(place, RECIPES, partial(campaign, candidate)):
            break
        reused(candidate)
    assert len(candidates) > 50
    wait_until_free(client, "election/")


def test_an_interrupted_consumer_keeps_no_item(client: Client) -> None:
    queues = []

    def consume(queue: Any) -> None:
        with queue.take():
            pass

    for place in itertools.count():
        queue = client.queue(f"queue/{place}", ttl=TTL)
        queues.append(queue)
        queue.put(place)
        if not interrupted(place, RECIPES, partial(consume, queue)):
            break
    assert len(queues) > 50
    for queue in queues:
        if queue.size():
            queue.take(timeout=EXPIRED).acknowledge()
    assert client.count("queue/") == len(queues), "their counters"


def test_an_item_that_is_dropped_is_free_again(client: Client) -> None:
    queue = client.queue("dropped/queue", ttl=TTL)
    queue.put(1)
    queue.take()
    assert queue.take(timeout=EXPIRED).value == 1


def test_what_a_call_has_acquired_is_held_though_its_object_is_dropped(client: Client) -> None:
    client.lock("kept/lock", ttl=TTL).acquire()
    client.election("kept/election", ttl=TTL).campaign("leader")
    client.party("kept/party", ttl=TTL).join("here")
    held = client.list_keys("kept/")
    client.queue("dropped/items", ttl=TTL).put(1)
    client.queue("dropped/items", ttl=TTL).take()
    client.queue("dropped/items", ttl=TTL).take(timeout=EXPIRED).acknowledge()  # a TTL later
    assert client.list_keys("kept/") == held
    assert len(held) == 3


def test_an_interrupted_write_takes_no_room_of_the_session(client: Client) -> None:
    client.insert("written", 0)
    session = client._caller._calls.session
    assert session is not None
    for place in itertools.count():
        if not interrupted(place, CALLS, lambda: client.insert("written", 1)):
            break
        assert session.has_room(UNACKNOWLEDGED_MAX)
    assert place > 50
    assert client._caller._calls.session is session


def test_an_interrupted_subscriber_goes_on(client: Client) -> None:
    with client.watch("watched/", type=int) as changes:
        received: list[int] = []

        def receive() -> None:
            received.append(changes.recv(timeout=SECONDS)[1])

        for place in itertools.count():
            client.insert("watched/key", place)
            is_over = not interrupted(place, SUBSCRIBERS, receive)
            with (
                suppress(RequestTimeout),
                ThreadPoolExecutor(1) as other,
            ):  # it has its turn at once
                received.append(other.submit(changes.recv, timeout=0.05).result()[1])
            if is_over:
                break
    assert place > 20
    assert set(received) <= set(range(place + 1))
    assert place in received


def test_a_signal_handler_closes_the_subscriber_that_it_interrupts(client: Client) -> None:
    changes, took = client.watch("closed/"), []

    def handle(*_: object) -> None:
        with pytest.raises(SkiffError, match="a subscription of its own"):
            changes.next_event(timeout=SECONDS)
        began = time.monotonic()
        changes.close()
        took.append(time.monotonic() - began)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(ClientClosed):
            changes.next_event(timeout=SECONDS)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert took[0] < CLOSE_SECONDS / 2
    assert changes._subscription is not None
    assert changes._subscription.channel.socket.closed


def test_a_client_is_closed_at_once_after_an_interrupt(client: Client) -> None:
    address = client.status().address
    for place in itertools.count():
        own = Client(address)
        is_over = not interrupted(place, CALLS, lambda: own.get("written"))  # noqa: B023
        began = time.monotonic()
        own.close()
        assert time.monotonic() - began < CLOSE_SECONDS / 2
        assert not own._caller.transport.sockets._open
        if is_over:
            break
    assert place > 50


def test_a_signal_handler_needs_a_client_of_its_own(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def handle(*_: object) -> None:
        try:
            client.insert("handled", 1)
        except SkiffError as error:
            refused.append(str(error))
        with Client(addresses) as own:
            own.insert("handled", 2)

    def ask(*arguments: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        return real(*arguments)

    addresses, caller = [member.address for member in client.members()], client._caller
    before = signal.signal(signal.SIGUSR1, handle)
    real = caller._ask
    monkeypatch.setattr(caller, "_ask", ask)
    try:
        client.insert("interrupted", 3)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(refused) == 1
    assert "a signal handler that interrupts one needs a client of its own" in refused[0]
    assert client.get_many(["handled", "interrupted"]) == {"handled": 2, "interrupted": 3}
