"""Leasing: what a client asks for to keep a lease alive."""

import pytest

from protocol.client.held_lease import HeldLease
from protocol.messages.client import KeepAlive, KeptAlive
from skiff import LeaseExpired
from skiff.leasing import keep_one_alive
from skiff.method import Idempotent
from skiff.steady import steady_seconds

TTL = 10.0


def test_a_lease_is_kept_alive_by_one_request() -> None:
    held = HeldLease(7, TTL, steady_seconds() - TTL / 2)
    method = keep_one_alive(held)
    assert next(method) == Idempotent(KeepAlive((7,)))
    with pytest.raises(StopIteration):
        method.send(KeptAlive((10_000,), 9))
    assert held.remaining(steady_seconds()) > TTL / 2


def test_a_lease_that_is_lost_is_refused_and_not_extended_at_the_nodes() -> None:
    held = HeldLease(7, TTL, steady_seconds())
    held.lose()
    with pytest.raises(LeaseExpired):
        next(keep_one_alive(held))


def test_a_lease_that_has_ended_at_the_nodes_is_lost() -> None:
    held = HeldLease(7, TTL, steady_seconds())
    method = keep_one_alive(held)
    next(method)
    with pytest.raises(LeaseExpired):
        method.send(KeptAlive((0,), 9))
    assert held.is_lost
