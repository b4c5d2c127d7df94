"""Multiplexer: concurrent requests share frames, and each gets its own part of a reply."""

import pytest

from protocol.client.multiplexer import Frame, Multiplexer, Waiting
from protocol.client.steps import Answered, Ask, Lost
from protocol.messages.client import Failed, FailureCode, Get, Operation, Outcome, Reply
from protocol.state.commands import (
    Insert,
    Inserted,
    Lookup,
    Missing,
    Removed,
    RemovePrefix,
    Transact,
    Write,
)
from protocol.state.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX

NOW, DEADLINE = 10.0, 12.0
TOO_LARGE = Failed(FailureCode.TOO_LARGE, "the reply is full")
FULL = Failed(FailureCode.STORAGE_FULL, "no space")


class Call(Waiting):
    """A request that keeps its result."""

    def __init__(self, *operations: Operation, deadline: float = DEADLINE) -> None:
        super().__init__(Ask("tcp://a:1", operations, deadline))
        self.result: Answered | Lost | None = None
        self.reason = ""
        self.is_cancelled = False

    @property
    def is_over(self) -> bool:
        return self.is_cancelled or self.result is not None

    def resolve(self, result: Answered | Lost) -> None:
        if not self.is_over:
            self.result = result

    def fail(self, reason: str) -> None:
        self.reason = reason

    def reject(self, reason: str) -> None:
        self.reason = f"rejected: {reason}"


def insert(number: int, value: bytes = b"v") -> Write:
    return Write(1, number, 1, Insert(f"key/{number}", value))


@pytest.fixture
def requests() -> Multiplexer:
    return Multiplexer()


def send(requests: Multiplexer, *calls: Call) -> list[Frame]:
    for call in calls:
        requests.add(call)
    return requests.take_frames(NOW)


def send_one(requests: Multiplexer, *calls: Call) -> int:
    """Send calls that share a frame; return its number."""
    (frame,) = send(requests, *calls)
    return frame.request.id


def test_calls_share_a_frame_and_each_gets_its_outcomes(requests: Multiplexer) -> None:
    calls = [Call(Get("a")), Call(insert(1), insert(2)), Call(Get("b"))]
    (frame,) = send(requests, *calls)
    assert frame.request.operations == (Get("a"), insert(1), insert(2), Get("b"))
    assert frame.request.timeout_ms == 2000
    outcomes: tuple[Outcome, ...] = (Missing(1), Inserted(2), Inserted(3), Missing(3))
    requests.take_reply(Reply(frame.request.id, outcomes))
    assert [call.result for call in calls] == [
        Answered((Missing(1),)),
        Answered((Inserted(2), Inserted(3))),
        Answered((Missing(3),)),
    ]


def test_calls_with_distant_deadlines_do_not_share_a_frame(requests: Multiplexer) -> None:
    frames = send(requests, Call(Get("a")), Call(Get("b"), deadline=60.0), Call(Get("c")))
    assert [len(frame.request.operations) for frame in frames] == [2, 1]
    assert [frame.deadline for frame in frames] == [DEADLINE, 60.0]


def test_a_frame_fits_into_one_log_entry(requests: Multiplexer) -> None:
    many = send(requests, *[Call(insert(number)) for number in range(BATCH_OPERATIONS_MAX + 1)])
    assert max(len(frame.request.operations) for frame in many) <= BATCH_OPERATIONS_MAX
    sequences = [each.sequence for frame in many for each in frame.request.operations]  # type: ignore[union-attr]
    assert sequences == list(range(BATCH_OPERATIONS_MAX + 1))
    large = send(requests, *[Call(insert(n, b"v" * (BATCH_BYTES_MAX // 3))) for n in range(4)])
    assert [len(frame.request.operations) for frame in large] == [2, 2]
    whole = send(requests, Call(*[insert(n) for n in range(BATCH_OPERATIONS_MAX + 1)]))
    assert len(whole) == 1
    lookups = Transact((), (Lookup("a"),) * (BATCH_OPERATIONS_MAX // 2))
    transactions = send(requests, *[Call(Write(1, n, 1, lookups)) for n in range(4)])
    assert [len(frame.request.operations) for frame in transactions] == [2, 2]


def test_removals_by_prefix_share_no_log_entry(requests: Multiplexer) -> None:
    removals = [Call(Write(1, number, 1, RemovePrefix(f"{number}/"))) for number in range(3)]
    frames = send(requests, Call(Get("a")), *removals)
    removed = [[type(each) is Write for each in frame.request.operations] for frame in frames]
    assert [sum(each) for each in removed if any(each)] == [1, 1, 1]


def test_a_cancelled_call_is_not_sent(requests: Multiplexer) -> None:
    cancelled, kept = Call(insert(1)), Call(insert(2))
    cancelled.is_cancelled = True
    (frame,) = send(requests, cancelled, kept)
    assert frame.request.operations == (insert(2),)
    assert not cancelled.is_sent


def test_a_call_that_is_cancelled_after_it_was_sent_shifts_no_outcome(
    requests: Multiplexer,
) -> None:
    cancelled, kept = Call(insert(1)), Call(insert(2))
    number = send_one(requests, cancelled, kept)
    cancelled.is_cancelled = True
    requests.take_reply(Reply(number, (Inserted(1), Inserted(2))))
    assert cancelled.result is None
    assert kept.result == Answered((Inserted(2),))


def test_an_outcome_that_did_not_fit_is_asked_for_alone(requests: Multiplexer) -> None:
    first, second = Call(Get("a")), Call(Get("b"))
    number = send_one(requests, first, second)
    requests.take_reply(Reply(number, (Missing(1), TOO_LARGE)))
    assert first.result == Answered((Missing(1),))
    assert not second.is_over
    assert requests.has_unsent
    (alone,) = requests.take_frames(NOW)
    assert alone.request.operations == (Get("b"),)
    requests.take_reply(Reply(alone.request.id, (TOO_LARGE,)))
    assert second.result == Answered((TOO_LARGE,))
    assert requests.take_frames(NOW) == []


def test_inserts_leave_alone_from_a_lack_of_space_until_one_succeeds(requests: Multiplexer) -> None:
    number = send_one(requests, Call(insert(1)))
    requests.take_reply(Reply(number, (FULL,)))
    get, grows, again = Call(Get("a")), Call(insert(2)), Call(insert(3))
    frames = send(requests, grows, get, again)
    assert [frame.request.operations for frame in frames] == [
        (Get("a"),),
        (insert(2),),
        (insert(3),),
    ]
    requests.take_reply(Reply(frames[0].request.id, (Missing(1),)))
    assert len(send(requests, Call(insert(4)), Call(insert(5)))) == 2
    requests.take_reply(Reply(frames[1].request.id, (Inserted(1),)))
    assert len(send(requests, Call(insert(6)), Call(insert(7)))) == 1


def test_after_its_deadline_a_sent_call_is_lost_and_its_reply_is_dropped(
    requests: Multiplexer,
) -> None:
    call = Call(insert(1))
    number = send_one(requests, call)
    requests.expire(number)
    assert call.result == Lost(sent=True)
    requests.take_reply(Reply(number, (Inserted(1),)))
    assert call.result == Lost(sent=True)


def test_a_lost_connection_tells_what_was_sent(requests: Multiplexer) -> None:
    sent, refused, unsent = Call(insert(1)), Call(insert(2)), Call(insert(3))
    send_one(requests, sent)
    requests.refuse(send_one(requests, refused))
    requests.add(unsent)
    requests.lose()
    assert sent.result == Lost(sent=True)
    assert refused.result == unsent.result == Lost(sent=False)
    assert not requests.has_unsent


def test_frames_after_the_loss_of_a_connection_count_as_not_sent(requests: Multiplexer) -> None:
    calls = [Call(insert(number), deadline=DEADLINE + number) for number in range(3)]
    for call in calls:
        requests.add(call)
    sent: list[Frame] = []

    def send(frame: Frame) -> bool:
        sent.append(frame)
        return len(sent) < 2

    assert not requests.flush(NOW, send)
    requests.lose()
    assert len(sent) == 2
    assert [call.result for call in calls] == [Lost(sent=True), *[Lost(sent=False)] * 2]


def test_a_reply_with_a_wrong_number_of_outcomes_fails_its_calls_only(
    requests: Multiplexer,
) -> None:
    failing, other = Call(Get("a")), Call(Get("b"))
    number = send_one(requests, failing)
    send_one(requests, other)
    requests.take_reply(Reply(number, (Missing(1), Missing(1))))
    assert failing.reason == "answered 1 operations with 2"
    assert (other.reason, other.result) == ("", None)


def test_a_node_that_breaks_the_protocol_fails_all_sent_calls(requests: Multiplexer) -> None:
    sent, unsent = Call(Get("a")), Call(Get("b"))
    send_one(requests, sent)
    requests.add(unsent)
    requests.fail("gave no valid reply")
    requests.lose()
    assert sent.reason == "gave no valid reply"
    assert unsent.result == Lost(sent=False)


def test_the_end_of_a_request_is_reported_once(requests: Multiplexer) -> None:
    ends: list[int] = []
    call = Call(insert(1))
    number = send_one(requests, call)
    assert call.is_sent
    call.on_end = lambda: ends.append(number)
    requests.take_reply(Reply(number, (Removed(existed=True, revision=1),)))
    requests.expire(number)
    requests.lose()
    assert ends == [number]
    assert not call.is_sent


# --- requests that cannot be encoded


class Text(str):
    """Text that MessagePack does not encode."""

    __slots__ = ()


@pytest.mark.parametrize(
    "odd", [Get(Text("b")), Write(1, 1 << 64, 1, Insert("b", b"v"))], ids=["type", "range"]
)
def test_a_request_that_cannot_be_encoded_fails_alone(
    requests: Multiplexer, odd: Operation
) -> None:
    calls = [Call(Get("a")), Call(odd), Call(insert(1), insert(2)), Call(Get("c"))]
    frames = send(requests, *calls)
    assert calls[1].reason.startswith("rejected: ")
    assert not calls[1].is_sent
    for frame in frames:
        outcomes: tuple[Outcome, ...] = (Missing(1),) * len(frame.request.operations)
        requests.take_reply(Reply(frame.request.id, outcomes))
    others = (calls[0], calls[2], calls[3])
    assert [call.result for call in others] == [
        Answered((Missing(1),) * len(call.ask.operations)) for call in others
    ]
    assert not requests.has_unsent
