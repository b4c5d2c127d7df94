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


def test_one_probe_is_on_its_way_at_a_time() -> None:
    progress = Progress(next_index=5)
    assert progress.may_send()
    progress.sent(7)
    assert not progress.may_send()
    assert progress.next_index == 5


def test_messages_follow_each_other_once_the_logs_agree() -> None:
    progress = streaming(4)
    progress.sent(7)
    assert progress.may_send()
    assert progress.next_index == 8


def test_so_many_bytes_are_on_their_way_and_no_more() -> None:
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


def test_so_many_messages_are_on_their_way_and_no_more() -> None:
    progress = streaming(0)
    for index in range(1, IN_FLIGHT_MESSAGES_MAX + 1):
        assert progress.may_send()
        progress.sent(index)
    assert not progress.may_send()
    progress.accepted(1)
    assert progress.may_send()


def test_one_answer_stands_for_all_messages_before_it() -> None:
    progress = streaming(0)
    for index in range(1, 10):
        progress.sent(index)
    assert progress.accepted(8)
    assert len(progress.in_flight) == 1
    assert progress.match_index == 8


def test_an_old_acceptance_is_no_news() -> None:
    progress = streaming(8)
    assert not progress.accepted(8)
    assert not progress.accepted(3)
    assert progress.match_index == 8
    assert progress.next_index == 9


def test_a_refusal_leads_back_to_where_the_logs_could_agree() -> None:
    progress = Progress(next_index=100)
    progress.sent(100)
    progress.refused(99, agreement=40)
    assert progress.next_index == 41
    assert progress.may_send()


def test_a_refusal_always_leads_back_by_one_entry_at_least() -> None:
    progress = Progress(next_index=100)
    progress.refused(99, agreement=99)
    assert progress.next_index == 99


def test_a_refusal_never_leads_back_behind_what_is_known_to_agree() -> None:
    progress = streaming(50)
    progress.sent(99)
    progress.refused(99, agreement=10)
    assert progress.next_index == 51
    assert not progress.in_flight


def test_a_refusal_of_what_is_known_to_agree_is_out_of_date() -> None:
    progress = streaming(50)
    progress.refused(50, agreement=10)
    assert progress.state is ProgressState.REPLICATE


def test_a_refusal_of_another_probe_is_out_of_date() -> None:
    progress = Progress(next_index=50)
    progress.sent(49)
    progress.refused(99, agreement=60)
    assert progress.next_index == 50
    assert not progress.may_send()


def test_what_turns_out_to_be_held_need_not_be_read_from_disk() -> None:
    # A late reply arrives while earlier entries are being read for the follower.
    progress = streaming(10)
    progress.paused = True
    assert progress.accepted(30)
    assert progress.next_index == 31
    assert progress.may_send()


def test_what_is_still_needed_is_still_being_read_from_disk() -> None:
    progress = streaming(10)
    progress.sent(20)
    progress.paused = True
    assert progress.accepted(15)
    assert not progress.may_send()


def test_a_follower_whose_snapshot_ended_is_probed_only_when_it_answers_again() -> None:
    progress = Progress(next_index=5)
    progress.begin_snapshot()
    progress.end_snapshot()
    assert not progress.holding
    assert not progress.may_send()
    progress.paused = False  # by its reply to a heartbeat
    assert progress.may_send()
