"""Ended watches and mirrors: each call raises an error of its own, which keeps nothing alive."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from skiff import Client, Compacted, SkiffError
from skiff.mirroring import MirrorState
from skiff.testing import Cluster
from tests.cluster.asyncio_client import client_of, run

pytestmark = pytest.mark.cluster

GONE = Compacted("the changes after revision 5 are no longer kept", 7)


class Payload:
    """Something that a caller has."""


def kept_after(call: Callable[[], object]) -> Payload | None:
    """Return what a caller has whose call fails, if something else keeps it."""
    kept = _failed(call)
    gc.collect()
    return kept()


def _failed(call: Callable[[], object]) -> "weakref.ref[Payload]":
    payload = Payload()
    with pytest.raises(SkiffError, match="no longer kept") as raised:
        call()
    assert isinstance(raised.value, Compacted)
    assert raised.value is not GONE
    assert raised.value.oldest == GONE.oldest
    return weakref.ref(payload)


def test_an_ended_subscriber_keeps_no_frame_of_its_callers(client: Client) -> None:
    with client.watch("ended/") as changes:
        changes._missing.gone = GONE
        assert kept_after(changes.next_event) is None
        assert kept_after(changes.recv) is None
    assert GONE.__traceback__ is None


def test_an_ended_asyncio_subscriber_keeps_no_frame_of_its_callers(cluster: Cluster) -> None:
    async def use() -> None:
        async with client_of(cluster) as client, await client.watch("ended/") as changes:
            changes._missing.gone = GONE
            with pytest.raises(Compacted) as raised:
                await asyncio.wait_for(changes.next_event(), 10)
            assert raised.value is not GONE

    run(use())
    assert GONE.__traceback__ is None


def test_an_ended_mirror_keeps_no_frame_of_its_callers() -> None:
    state = MirrorState("ended/", None, threading.Event())
    state.end(GONE)
    assert kept_after(lambda: state.wait(9, threading.Event())) is None
    assert kept_after(lambda: state.check_reached(9)) is None
    assert state.failure is GONE
    assert GONE.__traceback__ is None
