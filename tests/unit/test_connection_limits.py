"""Connection limits: an actor has a maximum, and closes the right connections beyond it."""

import pytest

from protocol.connection_limits import RESERVED, ConnectionActivity, limits_of, to_close


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
