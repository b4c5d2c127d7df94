"""Memory watch: strangers are closed before any connection that is authenticated."""

import pytest

from actors.memory import ALARM_SHARE, LAST_SHARE, RESIDENT_BYTES_MAX, MemoryWatch
from protocol.connection_limits import FLOOD_BYTES

ACTOR = "client_gateway"


class StandInPort:
    """Connections of which one is authenticated and brings much."""

    def __init__(self, strangers: int) -> None:
        self.handshakes = strangers
        self.closed: list[int] = []
        self._received = 0

    def break_off(self, now: float) -> list[str]:
        """Close all that are in their handshakes."""
        assert now >= 0.0
        closed, self.handshakes = self.handshakes, 0
        return ["a host"] * closed

    def received(self) -> dict[int, int]:
        """Return more at each call."""
        self._received += FLOOD_BYTES
        return {7: self._received}

    def close(self, descriptor: int) -> None:
        """Note what is closed."""
        self.closed.append(descriptor)


def grow(port: StandInPort, shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the memory when it has these shares of its limit."""
    watch = MemoryWatch(ACTOR)
    watch.watch(port)  # type: ignore[arg-type]
    now = 0.0
    for share in shares:
        resident = int(RESIDENT_BYTES_MAX[ACTOR] * share)
        monkeypatch.setattr("actors.memory.resident_bytes", lambda resident=resident: resident)
        watch.look(now)
        now = watch.look_at


GROWING = [ALARM_SHARE + 0.01 + 0.05 * step for step in range(4)]


def test_growth_closes_strangers_and_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    port = StandInPort(3)
    grow(port, GROWING, monkeypatch)
    assert (port.handshakes, port.closed) == (0, [])


def test_growth_without_strangers_closes_what_brings_much(monkeypatch: pytest.MonkeyPatch) -> None:
    port = StandInPort(0)
    grow(port, GROWING, monkeypatch)
    assert port.closed


def test_strangers_do_not_shield_a_flood_that_would_end_the_actor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = StandInPort(3)
    grow(port, [*GROWING, LAST_SHARE + 0.05], monkeypatch)
    assert port.closed == [7]


def test_handshakes_are_looked_at_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    port = StandInPort(0)
    watch = MemoryWatch(ACTOR)
    watch.watch(port)  # type: ignore[arg-type]
    monkeypatch.setattr("actors.memory.resident_bytes", lambda: 0)
    watch.look(1000.0)
    assert watch.look_at == pytest.approx(1000.25)
    port.handshakes = 1
    assert watch.look_at == pytest.approx(1000.005)
