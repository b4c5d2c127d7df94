"""Connection limits: an actor has a maximum, and closes the right connections beyond it."""

import pytest

from protocol.connection_limits import (
    HANDSHAKE_BYTES,
    HANDSHAKES_MAX,
    HANDSHAKES_OF_HOST_MAX,
    RESERVED,
    ConnectionActivity,
    Handshake,
    limits_of,
    to_break_off,
    to_close,
)


@pytest.mark.parametrize("descriptors", [256, 1024, 4096, 65_536])
def test_clients_and_subscribers_leave_descriptors_free(descriptors: int) -> None:
    limits = limits_of(descriptors)
    assert limits.clients + limits.subscribers + RESERVED // 2 < descriptors
    assert limits.peers + RESERVED <= descriptors
    assert min(limits.clients, limits.subscribers, limits.peers) >= 32


def test_the_longest_idle_connection_is_closed_first() -> None:
    activities = [ConnectionActivity(number, 20.0, float(number), 1000) for number in range(11)]
    assert to_close(activities, 10) == [10]
    assert to_close(activities, 8) == [10, 9, 8]


def test_the_number_closed_at_once_grows_with_the_limit() -> None:
    activities = [ConnectionActivity(number, 5.0, 1.0, 1000) for number in range(1001)]
    assert len(to_close(activities, 1000)) == 1 + 1000 // 32


def test_a_connection_without_a_greeting_is_closed_before_an_idle_one() -> None:
    idle, silent = ConnectionActivity(1, 100.0, 100.0, 5000), ConnectionActivity(2, 2.0, 2.0, 10)
    assert to_close([idle, silent], 1) == [2]


def test_a_new_connection_without_a_greeting_is_kept() -> None:
    idle, new = ConnectionActivity(1, 100.0, 100.0, 5000), ConnectionActivity(2, 0.1, 0.1, 0)
    assert to_close([idle, new], 1) == [1]


def test_connections_of_members_are_closed_last() -> None:
    activities = [
        ConnectionActivity(1, 100.0, 100.0, 5000, protected=True),
        ConnectionActivity(2, 1.0, 0.0, 5000),
    ]
    assert to_close(activities, 1) == [2]


def test_a_host_with_most_connections_makes_room_before_any_other() -> None:
    crowd = [ConnectionActivity(number, 5.0, 1.0, 1000, origin="crowd") for number in range(6)]
    idle = [ConnectionActivity(9, 100.0, 100.0, 1000, origin="other")]
    assert to_close([*crowd, *idle], 6) == [0]
    assert to_close([*crowd[:1], *idle], 1) == [9], "none has more than half"


def test_without_system_statistics_the_oldest_connection_is_closed() -> None:
    assert to_close(
        [ConnectionActivity(1, 5.0, 5.0, None), ConnectionActivity(2, 9.0, 9.0, None)], 1
    ) == [2]


def test_strangers_close_no_connection_that_is_authenticated() -> None:
    idle = [ConnectionActivity(number, 100.0, 100.0, 1000) for number in range(100)]
    strangers = [
        ConnectionActivity(100 + number, 0.1, 0.0, 500, in_handshake=True) for number in range(20)
    ]
    assert all(each >= 100 for each in to_close([*idle, *strangers], 100))
    assert all(each >= 100 for each in to_close([*idle[:90], *strangers], 100))


def test_a_full_port_leaves_room_for_the_handshakes_of_those_who_come() -> None:
    idle = [ConnectionActivity(number, 100.0, 100.0 + number, 1000) for number in range(33)]
    coming = ConnectionActivity(100, 0.1, 0.0, 500, in_handshake=True)
    assert to_close([*idle[:32], coming], 32) == []
    assert to_close([*idle, coming], 32) == [32, 31]


# --- handshakes


def broken_off(*handshakes: Handshake) -> list[int]:
    return [each.connection for each in to_break_off(handshakes)]


def test_a_handshake_that_sends_more_than_any_is_broken_off() -> None:
    usual, excessive = (Handshake(n, 0.0, HANDSHAKE_BYTES + n, "host") for n in (0, 1))
    assert broken_off(usual, excessive) == [1]


def test_the_oldest_late_handshakes_of_a_crowded_host_are_broken_off_and_no_others() -> None:
    crowd = [Handshake(n, 3.0 + n, 64, "crowd") for n in range(HANDSHAKES_OF_HOST_MAX + 3)]
    other = Handshake(1000, 1000.0, 64, "other")
    assert broken_off(*crowd, other) == [each.connection for each in crowd[-3:]]


def test_many_hosts_have_a_limit_together() -> None:
    many = [Handshake(n, 3.0 + n, 64, f"host {n % 20}") for n in range(HANDSHAKES_MAX + 2)]
    assert broken_off(*many) == [HANDSHAKES_MAX, HANDSHAKES_MAX + 1]


def test_young_handshakes_stay_however_many_they_are() -> None:
    assert broken_off(*[Handshake(n, 0.5, 64, "host") for n in range(2000)]) == []
