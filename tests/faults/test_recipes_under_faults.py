"""Recipes under faults: their promises while leaders are killed, and holders killed or stopped."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skiff import AsyncClient, Client, LockTimeout
from skiff.testing import Cluster, wait_until
from tests.cluster.in_a_loop import InALoop, Loop

pytestmark = pytest.mark.cluster

SECONDS = 30.0
KILLS = 3
TURNS, SLOTS, PARTIES = 6, 2, 3

HOLDER = """
import sys, threading
from skiff import Client, Fenced
client, ttl = Client(sys.argv[1], timeout=30), 1.0
turns = [
    client.lock("l", ttl=ttl),
    client.read_write_lock("r", ttl=ttl).read_lock(),
    client.read_write_lock("w", ttl=ttl).write_lock(),
    client.semaphore("s", 1, ttl=ttl),
]
for turn in turns:
    turn.acquire()
turns.append(client.election("e", ttl=ttl).campaign("holder"))
turns.append(client.party("p", ttl=ttl).join("holder"))
turns.append(client.queue("q", ttl=ttl).take())
enter = client.double_barrier("d", 2, ttl=ttl).enter
threading.Thread(target=enter, daemon=True).start()
print("holds", flush=True)
sys.stdin.readline()
refused = 0
for turn in turns:
    try:
        client.insert("stale", 1, fence=turn)
    except Fenced:
        refused += 1
print(sum(turn.lost.is_set() for turn in turns), refused, len(turns), flush=True)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(params=["Client", "AsyncClient"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Any]:
    """A client of either kind that stays with followers; its keys go after the test."""
    options: dict[str, Any] = {"timeout": SECONDS, "follow_leader": False}
    if request.param == "Client":
        with Client(cluster.addresses, **options) as blocking:
            yield blocking
            blocking.remove_prefix("")
        return
    loop = Loop()
    with InALoop(AsyncClient(cluster.addresses, **options), loop) as asynchronous:
        yield asynchronous
        asynchronous.remove_prefix("")
    loop.close()


# --- while leaders are killed


def kill_leaders(cluster: Cluster) -> None:
    """Kill the leader, and restart it, a few times."""
    for _ in range(KILLS):
        leader = cluster.leader()
        cluster.kill(leader)
        cluster.restart(leader)


def share_slots(client: Any, _: int) -> None:
    """Take turns at a semaphore, and note how many have one."""
    for _ in range(TURNS):
        with client.semaphore("s", SLOTS) as turn:
            present = client.increment("present")
            client.insert(f"seen/{turn.token}", present, fence=turn)
            client.increment("present", -1)


def write_alone(client: Any, _: int) -> None:
    """Count under a write lock, which a lost turn would make inexact."""
    for _ in range(TURNS):
        with client.read_write_lock("rw").write_lock() as turn:
            count = client.get("writes", int, default=0)
            client.insert("writes", count + 1, fence=turn)


def read_twice(client: Any, _: int) -> None:
    """Read under a read lock, in which nothing may be written."""
    for _ in range(TURNS):
        with client.read_write_lock("rw").read_lock():
            assert client.get("writes", int) == client.get("writes", int)


def lead(client: Any, number: int) -> None:
    """Lead for a while, and note it under the token."""
    for turn in range(TURNS):
        with client.election("e").campaign(f"{number}.{turn}") as election:
            assert client.election("e").leader(str).value == f"{number}.{turn}"
            client.insert(f"led/{election.token:020}", number, fence=election)


def meet(client: Any, _: int) -> None:
    """Begin and end together with the others."""
    for turn in range(TURNS):
        client.increment(f"come/{turn}")
        with client.double_barrier("d", PARTIES):
            assert client.get(f"come/{turn}") == PARTIES
            client.increment(f"gone/{turn}")
        assert client.get(f"gone/{turn}") == PARTIES


def wait_for_barrier(client: Any, _: int) -> None:
    client.barrier("b").wait(timeout=SECONDS)
    assert client.get("is down")


ROLES = (share_slots, write_alone, read_twice, lead, meet, wait_for_barrier)


def test_recipes_keep_their_promises_while_leaders_are_killed(
    client: Any, cluster: Cluster
) -> None:
    client.barrier("b").create()
    workers = [(role, number) for role in ROLES for number in range(PARTIES)]
    with (
        ThreadPoolExecutor(len(workers)) as threads,
        client.party("p").join("one"),
        client.party("p").join("two"),
    ):
        working = [threads.submit(role, client, number) for role, number in workers]
        kill_leaders(cluster)
        client.insert("is down", True)
        client.barrier("b").remove()
        for each in working:
            each.result()
        assert {entry.value for entry in client.party("p").members(str)} == {"one", "two"}
    seen = [entry.value for entry in client.scan("seen/", int)]
    assert len(seen) == PARTIES * TURNS
    assert max(seen) <= SLOTS
    assert client.get("writes") == PARTIES * TURNS
    assert client.count("led/") == PARTIES * TURNS
    assert [client.count(each) for each in ("s/", "rw/", "e/", "d/", "p/")] == [0] * 5


# --- while holders die or stop


def take(use: Callable[..., Any]) -> float:
    """Take a turn that another process has; return when."""
    with use():
        return time.monotonic()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_turns_of_a_holder_that_is_gone_pass_on(
    client: Any, cluster: Cluster, number: signal.Signals, tmp_path: Path
) -> None:
    uses: list[Callable[..., Any]] = [
        lambda **options: client.lock("l", **options),
        lambda **options: client.read_write_lock("r", **options).write_lock(),
        lambda **options: client.read_write_lock("w", **options).read_lock(),
        lambda **options: client.semaphore("s", 1, **options),
        lambda timeout=None: client.election("e").campaign("next", timeout=timeout),
        lambda timeout=None: client.queue("q").take(timeout=timeout),
    ]
    client.queue("q").put("item")
    arguments = [sys.executable, "-c", HOLDER, ",".join(cluster.addresses)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path) as holder,
        ThreadPoolExecutor(len(uses)) as threads,
    ):
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        wait_until(lambda: client.count("d/") == 1, "the holder waits at the double barrier")
        for use in uses:
            with pytest.raises(LockTimeout), use(timeout=0):
                pass
        assert [entry.value for entry in client.party("p").members(str)] == ["holder"]
        gone_at = time.monotonic()
        holder.send_signal(number)
        taken = [threads.submit(take, use) for use in uses]
        assert all(each.result() > gone_at for each in taken)
        wait_until(lambda: not client.party("p").members(), "the party is empty", SECONDS)
        wait_until(lambda: client.count("d/") == 0, "the barrier is empty", SECONDS)
        with pytest.raises(LockTimeout):
            client.double_barrier("d", 2, timeout=0.2).enter()
        if number == signal.SIGSTOP:
            holder.send_signal(signal.SIGCONT)
            assert holder.communicate("\n")[0] == "7 7 7\n"
    assert client.get("stale") is None


def test_a_double_barrier_forgets_a_party_that_gave_up(client: Any) -> None:
    started = threading.Event()

    def come() -> None:
        started.set()
        client.double_barrier("d", 2, timeout=SECONDS).enter()

    with pytest.raises(LockTimeout):
        client.double_barrier("d", 2, timeout=0.2).enter()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(come)
        started.wait()
        client.double_barrier("d", 2, timeout=SECONDS).enter()
        other.result()
