"""Closing: clients, subscribers and nodes close cleanly, even while other threads use them."""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from skiff import Client, ClientClosed, InvalidRequest, RequestTimeout, Skiff
from skiff.open_sockets import OpenSockets
from skiff.testing import Cluster, Node, free_port
from tests.cluster.command import environment
from tests.cluster.keyed import node_key, secure_server

pytestmark = pytest.mark.cluster

CLOSE_SECONDS = 1.5  # the second that close() promises, plus a margin
SECONDS_MAX = 60.0
INTERRUPTED_SECONDS_MAX = 40.0  # for a program to end by Ctrl-C; below the limit of a test


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all tests of this file."""
    with Cluster(1, directory=tmp_path_factory.mktemp("closing")) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address that accepts requests and never replies."""
    with zmq.Context[zmq.Socket[bytes]]() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        secure_server(socket)
        yield f"127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"


def run_script(source: str, *arguments: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; its exit code reveals an abort or a hang."""
    script = directory / "script.py"
    script.write_text(textwrap.dedent(source))
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=SECONDS_MAX,
        check=False,
    )


def check_quiet(done: "subprocess.CompletedProcess[str]", printed: str) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def closed_within(work: Callable[[], object], close: Callable[[], None]) -> float:
    """Close an object that a thread waits on; return the seconds until the thread had ended."""
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - any error is checked below
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive(), "it waits"
    began = time.monotonic()
    close()
    took = time.monotonic() - began
    thread.join(CLOSE_SECONDS)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [ClientClosed]
    return took


# --- closing


CLOSED_UNDER_THREADS = """
    import sys, threading, time
    from skiff import Client, ClientClosed

    def use(client, number, ended):
        try:
            for count in range(1_000_000):
                client.insert(f"closing/{number}", count)
                client.get(f"closing/{number}")
        except ClientClosed:
            ended.append(number)

    for round in range(20):
        client = Client([sys.argv[1]])
        ended = []
        threads = [threading.Thread(target=use, args=(client, n, ended)) for n in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.005 * round)  # while the first calls connect, and while others wait
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 1.5, "close() takes its time"
        for thread in threads:
            thread.join(10)
        assert sorted(ended) == [0, 1, 2, 3], ended
    print("closed")
"""


def test_closing_a_client_ends_the_calls_of_all_threads(node: Node, tmp_path: Path) -> None:
    check_quiet(run_script(CLOSED_UNDER_THREADS, node.address, directory=tmp_path), "closed\n")


@pytest.mark.parametrize("verb", ["insert", "get", "watch", "add_member"])
def test_closing_a_client_ends_a_pending_call(verb: str, silent_address: str) -> None:
    client = Client([silent_address], timeout=SECONDS_MAX)
    works: dict[str, Callable[[], object]] = {
        "insert": lambda: client.insert("key", 1),
        "get": lambda: client.get("key"),
        "watch": lambda: client.watch("key"),
        "add_member": lambda: client.add_member("127.0.0.1:1"),
    }
    assert closed_within(works[verb], client.close) < CLOSE_SECONDS


def test_closing_a_client_ends_a_call_that_reaches_no_node() -> None:
    client = Client([f"127.0.0.1:{free_port()}"], timeout=SECONDS_MAX)
    assert closed_within(lambda: client.get("key"), client.close) < CLOSE_SECONDS


def test_closing_a_subscriber_or_its_client_ends_a_pending_receive(node: Node) -> None:
    client = node.client()
    first, second = client.watch("closing/never"), client.watch("closing/never")
    assert closed_within(lambda: next(first), first.close) < CLOSE_SECONDS
    assert closed_within(lambda: list(second), client.close) < CLOSE_SECONDS
    for subscriber in (first, second):
        with pytest.raises(ClientClosed):
            subscriber.recv(timeout=0)
        subscriber.close()


def test_closing_a_client_ends_a_running_backup(node: Node, tmp_path: Path) -> None:
    client = node.client()
    for number in range(3):
        client.insert(f"large/{number}", bytes(300_000))
    with pytest.raises(ClientClosed):
        client.backup(tmp_path / "file", progress=lambda *_: client.close())
    assert list(tmp_path.iterdir()) == []


DROPPED = """
import asyncio, gc, sys
from skiff import AsyncClient, Client

address = sys.argv[1]

class Watcher:
    def __init__(self):
        self.client = Client(address)
        self.changes = self.client.watch("")
        self.react = self.take

    def take(self):
        pass

async def watch():
    client = AsyncClient(address)
    await client.insert("a", 1)
    await client.watch("")

for _ in range(10):
    Watcher()
    asyncio.run(watch())
    gc.collect()
print("collected", flush=True)
"""


def test_clients_that_are_dropped_without_close_are_collected(node: Node, tmp_path: Path) -> None:
    check_quiet(run_script(DROPPED, node.address, directory=tmp_path), "collected\n")


def test_a_dropped_client_closes_its_sockets(node: Node) -> None:
    def is_collected(reference: "weakref.ref[OpenSockets]") -> bool:
        gc.collect()
        return reference() is None

    client = Client(node.address)
    client.watch("")
    sockets = weakref.ref(client._caller.transport.sockets)
    assert not is_collected(sockets)
    del client
    assert is_collected(sockets)


def test_a_closed_client_refuses_every_call(node: Node) -> None:
    client = node.client()
    client.insert("closing/key", 1)
    client.close()
    client.close()
    for work in (
        lambda: client.insert("closing/key", 2),
        lambda: client.get("closing/key"),
        client.status,
        client.watch,
        lambda: client.backup("nowhere"),
    ):
        with pytest.raises(ClientClosed):
            work()
    assert "closed" in repr(client)


def test_a_signal_handler_can_close_the_subscriber_that_it_interrupts(node: Node) -> None:
    with node.client() as client, client.watch("closing/never") as subscriber:
        previous = signal.signal(signal.SIGALRM, lambda *_: subscriber.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(ClientClosed):
                next(subscriber)
        finally:
            signal.signal(signal.SIGALRM, previous)


MANY_THREADS = """
    import resource, sys, threading
    from skiff import Client

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(400, (hard - 100) // 12)
    together = threading.Barrier(count)
    with Client([sys.argv[1]], timeout=60) as client:
        client.insert("closing/many", 7)
        found = []

        def work():
            client.get("closing/many")
            together.wait()  # all connections are open at once
            found.append(client.get("closing/many"))

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [7] * count, len(found)
    print("done")
"""


def test_hundreds_of_threads_share_a_client(node: Node, tmp_path: Path) -> None:
    check_quiet(run_script(MANY_THREADS, node.address, directory=tmp_path), "done\n")


NO_DESCRIPTORS = """
    import os, resource, sys
    from skiff import Client, ClientConnectFailed

    with Client([sys.argv[1]], timeout=1) as warm, Client([sys.argv[1]], timeout=1) as client:
        warm.status()
        free = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, free + 1))
        try:
            client.get("closing/key")
        except ClientConnectFailed as failure:
            print(failure)
"""


def test_a_lack_of_descriptors_raises_client_connect_failed(node: Node, tmp_path: Path) -> None:
    printed = "no socket can be opened: Too many open files\n"
    check_quiet(run_script(NO_DESCRIPTORS, node.address, directory=tmp_path), printed)


def test_a_node_shuts_down_within_its_timeout(tmp_path: Path) -> None:
    node = Skiff(tmp_path / "node", port=free_port(), key=node_key())
    node.start()
    node.wait_for_leader(timeout=15)
    pids = node.pids
    os.kill(pids["storage_writer"], signal.SIGSTOP)
    with pytest.raises(InvalidRequest):
        node.shutdown(timeout=-1)
    began = time.monotonic()
    node.shutdown(timeout=0.2)
    assert time.monotonic() - began < 2, "it would have had three seconds"
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_insecure_node_warns_at_each_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for warnings, level in enumerate(("warning", "error", "warning"), start=1):
        node = Skiff(
            tmp_path / "node",
            bind="0.0.0.0",
            advertise="127.0.0.1",
            insecure=True,
            port=free_port(),
            log_level=level,
        )
        with node:
            node.wait_until_serving()
        told = [each for each in caplog.messages if "nothing is authenticated" in each]
        assert len(told) == warnings


# --- other processes


@pytest.mark.parametrize("make", ["client", "subscriber", "node", "pipeline"])
def test_objects_with_sockets_or_processes_cannot_be_pickled_or_copied(
    make: str, node: Node, tmp_path: Path
) -> None:
    with node.client() as client, client.watch() as subscriber:
        skiff = Skiff(tmp_path / "node", port=free_port(), key=node_key())
        pipeline = client.pipeline().insert("key", 1)
        things = {"client": client, "subscriber": subscriber, "node": skiff, "pipeline": pipeline}
        thing = things[make]
        for work in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=f"{type(thing).__name__} objects can be neither"):
                work(thing)
        assert any(word in repr(thing) for word in ("127.0.0.1", "revision", "operations"))


FORKED = """
    import gc, os, sys
    from skiff import Client, ClientClosed, ClusterInitFailed, Skiff, StreamClosed

    def in_child(work):
        child = os.fork()
        if not child:
            code = 1
            try:
                work()
                code = 0
            except SystemExit:
                raise
            finally:
                if code:
                    os._exit(code)
            sys.exit(0)  # as a program that was forked ends
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, work.__name__

    def leave():
        node.__exit__(None, None, None)

    def forget():
        global node, client, changes
        node = client = changes = None
        gc.collect()

    def use():
        assert client.get("key", str) == "parent"
        client.insert("child", "was here")
        try:
            changes.recv(timeout=1)
        except StreamClosed:
            changes.close()
            client.close()

    def close():
        changes.close()
        client.close()
        try:
            client.get("key")
        except ClientClosed:
            pass
        else:
            raise AssertionError("closed, and used")

    def ask():
        try:
            node.pids
        except ClusterInitFailed:
            node.shutdown()
        else:
            raise AssertionError("another process's node")

    with Skiff(sys.argv[1], port=int(sys.argv[2]), key=os.environ.get("SKIFF_KEY", "")) as node:
        node.wait_for_leader(timeout=15)
        with node.client() as client, client.watch() as changes:
            client.insert("key", "parent")
            pids = node.pids
            for work in (leave, lambda: node.shutdown(), forget, use, close, ask):
                in_child(work)
            assert node.pids == pids
            assert client.get("key", str) == "parent"
            client.insert("end", 1)
            print(*(changes.recv(timeout=10)[0] for _ in range(3)))
"""


def test_a_forked_process_neither_ends_nor_disturbs_its_parents_node(tmp_path: Path) -> None:
    arguments = (str(tmp_path / "node"), str(free_port()))
    check_quiet(run_script(FORKED, *arguments, directory=tmp_path), "key child end\n")


# --- Ctrl-C


INTERRUPTED = """
    import os, sys, time
    print("begins", flush=True)
    try:
        from skiff import Client, Skiff
        with Skiff(sys.argv[1], port=int(sys.argv[2]), key=os.environ.get("SKIFF_KEY", "")) as node:
            print("starts", flush=True)
            node.wait_for_leader(timeout=20)
            with node.client() as client, client.watch() as changes:
                print("works", flush=True)
                while True:
                    client.insert("key", 1)
                    changes.recv()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    ("line", "delay"), [("starts", 0.0), ("starts", 0.15), ("works", 0.0), ("works", 0.3)]
)
def test_an_interrupted_program_ends_quietly_with_its_node(
    line: str, delay: float, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "node"), str(free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        while program.stdout.readline() != f"{line}\n":
            pass
        time.sleep(delay)  # at a random moment of the code below
        try:
            os.killpg(program.pid, signal.SIGINT)  # like a terminal, to the program and its actors
            printed, complaints = program.communicate(timeout=INTERRUPTED_SECONDS_MAX)
        except BaseException:
            os.killpg(program.pid, signal.SIGKILL)  # or the end of this block would wait for it
            raise
    assert (program.returncode, complaints) == (0, "")
    assert printed.endswith("interrupted\n")


STARTING = """
    import os, signal, sys, time
    from skiff import Skiff

    signals = [signal.SIGINT] * 3 + [signal.SIGKILL] * 2
    for number, delay in zip(signals, (0.0, 0.05, 0.15, 0.0, 0.15), strict=True):
        key = os.environ.get("SKIFF_KEY", "")
        node = Skiff(sys.argv[1], port=int(sys.argv[2]), key=key, log_level="error")
        node.start()
        while len(node.pids) < 4:
            time.sleep(0.001)
        time.sleep(delay)  # into what they import, or further
        hit = list(node.pids.values())[: 4 if number == signal.SIGINT else 1]
        for pid in hit:
            os.kill(pid, number)
        node.wait_for_leader(timeout=20)
        node.shutdown()
    print("served")
"""


def test_actors_signalled_during_startup_print_nothing(tmp_path: Path) -> None:
    arguments = (str(tmp_path / "node"), str(free_port()))
    check_quiet(run_script(STARTING, *arguments, directory=tmp_path), "served\n")


def test_a_client_remains_usable_after_an_interrupt(silent_address: str) -> None:
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with Client([silent_address]) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                client.get("key", timeout=None)
            with pytest.raises(RequestTimeout):
                client.get("key", timeout=0.1)
    finally:
        signal.signal(signal.SIGALRM, previous)
