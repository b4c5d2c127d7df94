"""Progress: a leader's view of one follower's log."""

from protocol.raft.progress import (
    IN_FLIGHT_BYTES_MAX,
    IN_FLIGHT_MESSAGES_MAX,
    Progress,
    ProgressState,
)


def streaming(match_index: int) -> Progress:
    """Return the progress of a follower whose log is known to agree up to an index."""
    progress = Progress(next_index=match_index + 1)
    progress.sent(match_index)
    progress.accepted(match_index)
    return progress


def test_only_one_probe_is_in_flight_at_a_time() -> None:
    progress = Progress(next_index=5)
    assert progress.may_send()
    progress.sent(7)
    assert not progress.may_send()
    assert progress.next_index == 5


def test_messages_are_pipelined_once_the_logs_agree() -> None:
    progress = streaming(4)
    progress.sent(7)
    assert progress.may_send()
    assert progress.next_index == 8


def test_the_bytes_in_flight_are_limited() -> None:
    progress = streaming(0)
    progress.sent(1, IN_FLIGHT_BYTES_MAX - 1)
    assert progress.may_send()
    progress.sent(2, 1)
    assert not progress.may_send()
    progress.accepted(1)
    assert progress.may_send()
    progress.sent(3, IN_FLIGHT_BYTES_MAX)
    assert not progress.may_send()
    progress.refused(3, 2)
    progress.accepted(3)
    assert progress.may_send()


def test_the_messages_in_flight_are_limited() -> None:
    progress = streaming(0)
    for index in range(1, IN_FLIGHT_MESSAGES_MAX + 1):
        assert progress.may_send()
        progress.sent(index)
    assert not progress.may_send()
    progress.accepted(1)
    assert progress.may_send()


def test_one_acceptance_covers_all_earlier_messages() -> None:
    progress = streaming(0)
    for index in range(1, 10):
        progress.sent(index)
    assert progress.accepted(8)
    assert len(progress.in_flight) == 1
    assert progress.match_index == 8


def test_an_old_acceptance_changes_nothing() -> None:
    progress = streaming(8)
    assert not progress.accepted(8)
    assert not progress.accepted(3)
    assert progress.match_index == 8
    assert progress.next_index == 9


def test_a_refusal_moves_the_probe_back_to_the_possible_agreement() -> None:
    progress = Progress(next_index=100)
    progress.sent(100)
    progress.refused(99, agreement=40)
    assert progress.next_index == 41
    assert progress.may_send()


def test_a_refusal_moves_the_probe_back_by_at_least_one_entry() -> None:
    progress = Progress(next_index=100)
    progress.refused(99, agreement=99)
    assert progress.next_index == 99


def test_a_refusal_never_moves_the_probe_below_the_match_index() -> None:
    progress = streaming(50)
    progress.sent(99)
    progress.refused(99, agreement=10)
    assert progress.next_index == 51
    assert not progress.in_flight


def test_a_refusal_at_the_match_index_is_ignored() -> None:
    progress = streaming(50)
    progress.refused(50, agreement=10)
    assert progress.state is ProgressState.REPLICATE


def test_a_refusal_of_another_probe_is_ignored() -> None:
    progress = Progress(next_index=50)
    progress.sent(49)
    progress.refused(99, agreement=60)
    assert progress.next_index == 50
    assert not progress.may_send()


def test_an_acceptance_beyond_the_entries_being_read_resumes_sending() -> None:
    # A late reply arrives while earlier entries are being read for the follower.
    progress = streaming(10)
    progress.paused = True
    assert progress.accepted(30)
    assert progress.next_index == 31
    assert progress.may_send()


def test_an_acceptance_below_the_entries_being_read_keeps_sending_paused() -> None:
    progress = streaming(10)
    progress.sent(20)
    progress.paused = True
    assert progress.accepted(15)
    assert not progress.may_send()


def test_a_follower_whose_snapshot_ended_is_probed_only_when_it_replies_again() -> None:
    progress = Progress(next_index=5)
    progress.begin_snapshot()
    progress.end_snapshot()
    assert not progress.holding
    assert not progress.may_send()
    progress.paused = False  # by its reply to a heartbeat
    assert progress.may_send()
