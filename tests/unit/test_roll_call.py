"""Roll calls of blocking clients: one at a time, each until its own deadline."""

import itertools
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from protocol.client.census import UNDECIDED
from protocol.client.routing import TCP_SCHEME
from protocol.client.steps import Counted, TakeCensus
from protocol.messages.client import Welcome
from skiff.roll_call import RollCall
from skiff.testing import wait_until
from skiff.transport import Transport
from tests.harness.interrupts import interrupted, sources

GREETED = "tcp://a:1"
WELCOME = Welcome(b"c" * 16, b"n" * 16, "tcp://a:2")


def step(seconds: float) -> TakeCensus:
    return TakeCensus(GREETED, WELCOME, time.monotonic() + seconds)


def test_a_roll_call_ends_at_its_deadline_though_another_thread_is_in_one() -> None:
    transport = Transport()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        roll_call = RollCall(
            transport, [GREETED, f"{TCP_SCHEME}127.0.0.1:{silent.getsockname()[1]}"]
        )
        with transport.use():
            other = pool.submit(roll_call.take, step(1.5))
            wait_until(lambda: roll_call._census._answers, "the other thread asks")
            began = time.monotonic()
            assert roll_call.take(step(0.1)) == Counted(b"", UNDECIDED)
            assert time.monotonic() - began < 1.0
            assert not other.done()
            other.result()
    transport.close()


def test_an_interrupted_roll_call_leaves_others_their_turn() -> None:
    transport, traced = Transport(), sources("skiff/roll_call")
    roll_call = RollCall(transport, [GREETED])
    with ThreadPoolExecutor(1) as pool:
        for place in itertools.count():
            if not interrupted(place, traced, partial(roll_call.take, step(0.1))):
                break
            taken = pool.submit(roll_call.take, step(5.0))
            assert taken.result().cluster == WELCOME.cluster
    assert place > 5
    transport.close()
