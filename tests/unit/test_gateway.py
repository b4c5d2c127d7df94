"""Gateway: requests from their arrival to their replies."""

from typing import TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from protocol.config import NodeConfig
from protocol.gateway import pending
from protocol.gateway.admin import ADMIN_REQUESTS_MAX, TOO_MANY
from protocol.gateway.gateway import Gateway
from protocol.gateway.pending import LOST_SECONDS, RETRY_SECONDS
from protocol.gateway.reply_budget import CONNECTION_BYTES_MAX
from protocol.membership import Member, Membership
from protocol.messages.client import (
    CLIENT_PROTOCOL_VERSION,
    AddNode,
    Done,
    Failed,
    FailureCode,
    Get,
    Hello,
    KeepAlive,
    ListKeys,
    ListLeases,
    ListPrefixes,
    Operation,
    ReadChanges,
    ReadSnapshot,
    RemoveNode,
    Request,
    Status,
    TransferLeadership,
    Transferred,
    Welcome,
)
from protocol.messages.gateway import (
    BatchApplied,
    Leadership,
    Opened,
    ReadFailed,
    ReadsConfirmed,
    ReadsDone,
    Refused,
)
from protocol.messages.replicator import (
    AskStatus,
    InviteMember,
    Propose,
    Read,
    RemoveMember,
    TransferTo,
)
from protocol.ranges import COUNTER_MAX
from protocol.refusal import Refusal
from protocol.state.commands import (
    Found,
    Insert,
    Inserted,
    Lookup,
    Missing,
    OpenSession,
    Remove,
    Removed,
    SessionExpired,
    SessionOpened,
    Transact,
    Write,
)
from protocol.state.machine import decode_batch
from protocol.status import RoleName
from protocol.wire import decode_read_batch, encode

NODE, OTHER = b"n" * 16, b"o" * 16
MEMBERS = Membership((Member(NODE, "127.0.0.1:9400", True), Member(OTHER, "127.0.0.1:9410", True)))
TIMEOUT = 5.0

MessageT = TypeVar("MessageT")


def leadership(
    term: int = 1,
    leader: bytes | None = NODE,
    members: Membership = MEMBERS,
    *,
    removed: bool = False,
    stalled: bool = False,
) -> Leadership:
    address = "127.0.0.1:9400" if leader else ""
    role = RoleName.LEADER
    return Leadership(b"c" * 16, term, role, leader, address, members, removed, stalled)


class Desk:
    """A gateway with time controlled by the test."""

    def __init__(self) -> None:
        self.core = Gateway(Opened(NODE, b"c" * 16, 7), NodeConfig(dir="x"))
        self.now = 100.0
        self.sent: list[object] = []
        self.answers: list[object] = []
        self.step(leadership())

    def ask(self, *operations: Operation, version: int = CLIENT_PROTOCOL_VERSION) -> None:
        request = Request(version, 1, int(TIMEOUT * 1000), operations)
        self.core.receive((b"client", b""), request, 100, self.now)
        self.flush()

    def step(self, message: object) -> None:
        self.core.step(message, self.now)  # type: ignore[arg-type]
        self.flush()

    def wait(self, seconds: float) -> None:
        """Advance time from deadline to deadline, as the actor does."""
        end = self.now + seconds
        while (due := self.core.next_deadline(self.now)) <= end:
            self.now = max(due, self.now + 0.001)
            self.flush()
        self.now = end

    def flush(self) -> None:
        outbox = self.core.flush(self.now)
        self.sent.extend([*outbox.replicator, *outbox.storage])
        for call in outbox.replies:
            self.answers.extend(call.outcomes)

    def last(self, kind: type[MessageT]) -> MessageT:
        """Return the last message of a kind that was sent to another actor."""
        found = [message for message in self.sent if isinstance(message, kind)]
        assert found, f"no {kind.__name__} among {self.sent}"
        return found[-1]

    def count(self, kind: type[object]) -> int:
        return sum(isinstance(message, kind) for message in self.sent)

    def failure(self) -> Failed:
        (answer,) = self.answers
        assert isinstance(answer, Failed)
        return answer


def insert(sequence: int = 1, key: str = "key") -> Write:
    return Write(1, sequence, 1, Insert(key, b"value"))


def missing(revision: int) -> msgspec.Raw:
    """Return storage's outcome for an absent key."""
    return msgspec.Raw(encode(Missing(revision)))


def read_ahead(number: int, *revisions: int) -> ReadsDone:
    """Return storage's reply to a batch of reads before their round is confirmed."""
    return ReadsDone(number, tuple([missing(each) for each in revisions]), confirmed=False)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_write_is_proposed_and_its_result_returned(desk: Desk) -> None:
    desk.ask(insert())
    proposal = desk.last(Propose)
    assert decode_batch(proposal.payload).writes == (insert(),)
    desk.step(BatchApplied(proposal.number, 5, (Inserted(9),)))
    assert desk.answers == [Inserted(9)]


def test_a_reply_is_sent_when_all_operations_of_the_request_are_done(desk: Desk) -> None:
    desk.ask(Hello(), insert(), Get("key"))
    assert desk.answers == []
    outcome = msgspec.Raw(encode(Missing(1)))
    desk.step(ReadsDone(desk.last(Read).number, (outcome,), confirmed=True))
    assert desk.answers == []
    desk.step(BatchApplied(desk.last(Propose).number, 5, (Inserted(9),)))
    welcome, inserted, missing = desk.answers
    assert isinstance(welcome, Welcome)
    assert (welcome.leader_address, inserted, missing) == ("127.0.0.1:9400", Inserted(9), outcome)


def test_an_empty_request_gets_an_immediate_reply(desk: Desk) -> None:
    request = Request(CLIENT_PROTOCOL_VERSION, 3, 1000, ())
    desk.core.receive((b"client",), request, 10, desk.now)
    (call,) = desk.core.flush(desk.now).replies
    assert (call.id, call.outcomes) == (3, [])


def test_reads_of_one_turn_are_confirmed_together(desk: Desk) -> None:
    desk.ask(Get("a"), Get("b"))
    assert decode_read_batch(desk.last(Read).payload).operations == (Get("a"), Get("b"))
    assert desk.count(Read) == 1


def test_reads_that_arrive_during_a_confirmation_form_the_next_batch(desk: Desk) -> None:
    desk.ask(Get("a"))
    desk.ask(Get("b"))
    desk.ask(Get("c"))
    assert desk.count(Read) == 1
    found = msgspec.Raw(encode(Missing(1)))
    desk.step(ReadsDone(desk.last(Read).number, (found,), confirmed=True))
    desk.wait(0.004)  # the client that has its reply might send another request
    assert decode_read_batch(desk.last(Read).payload).operations == (Get("b"), Get("c"))
    desk.step(ReadsDone(desk.last(Read).number, (found, found), confirmed=True))
    assert len(desk.answers) == 3


def test_lease_reads_linearizable_reads_and_pages_are_sent_in_separate_batches(desk: Desk) -> None:
    pages = (ListKeys("c", 1, None, True), ListPrefixes("", 1, None, True))
    by_lease = Get("b", leader_lease=True)
    desk.ask(Get("a"), pages[0], by_lease, pages[1])
    sent = [each for each in desk.sent if isinstance(each, Read)]
    batches = {decode_read_batch(each.payload).operations: each.leader_lease for each in sent}
    assert batches == {(Get("a"),): False, (by_lease,): True, pages: True}


def test_a_retried_lease_read_is_still_a_lease_read(desk: Desk) -> None:
    desk.ask(Get("a", leader_lease=True))
    first = desk.last(Read)
    desk.step(ReadFailed(first.number))
    desk.wait(RETRY_SECONDS + 0.1)
    again = desk.last(Read)
    assert (again.leader_lease, again.payload) == (True, first.payload)
    assert again.number != first.number
    outcome = msgspec.Raw(encode(Missing(1)))
    desk.step(ReadsDone(again.number, (outcome,), confirmed=True))
    assert desk.answers == [outcome]


def test_an_invalid_operation_fails_alone(desk: Desk) -> None:
    desk.ask(Get(""), Write(0, 0, 0, OpenSession()))
    desk.step(BatchApplied(desk.last(Propose).number, 5, (SessionOpened(1),)))
    failed, opened = desk.answers
    assert isinstance(failed, Failed)
    assert (failed.code, opened) == (FailureCode.INVALID, SessionOpened(1))


@pytest.mark.parametrize(
    "operation",
    [KeepAlive(()), KeepAlive((1,) * 1001), ListLeases(0), ListLeases(-1), ListLeases(1, 1 << 63)],
)
def test_an_invalid_read_of_leases_is_refused(desk: Desk, operation: KeepAlive) -> None:
    desk.ask(operation)
    assert desk.failure().code is FailureCode.INVALID


@pytest.mark.parametrize("number", [-1, COUNTER_MAX + 1])
@pytest.mark.parametrize("field", ["after", "position"])
def test_a_read_of_changes_from_no_revision_is_refused(desk: Desk, field: str, number: int) -> None:
    desk.ask(replace(ReadChanges("", 0, 0), **{field: number}))
    failure = desk.failure()
    assert failure.code is FailureCode.INVALID
    assert f"from 0 to {COUNTER_MAX}, not {number}" in failure.message


def test_another_protocol_version_is_refused(desk: Desk) -> None:
    desk.ask(insert(), version=CLIENT_PROTOCOL_VERSION + 1)
    assert desk.failure().code is FailureCode.UNSUPPORTED
    assert desk.count(Propose) == 0


def test_a_status_request_without_a_report_times_out_as_not_applied(desk: Desk) -> None:
    desk.ask(Status())
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.NOT_APPLIED


def test_a_batch_without_a_result_ends_in_an_unknown_outcome(desk: Desk) -> None:
    desk.ask(insert())
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.UNKNOWN


def test_a_batch_refused_at_every_attempt_ends_as_not_applied(desk: Desk) -> None:
    desk.ask(insert())
    proposed = 0
    while not desk.answers:
        if desk.count(Propose) > proposed:
            proposed = desk.count(Propose)
            desk.step(Refused(desk.last(Propose).number, Refusal.NOT_LEADER))
        desk.wait(0.01)
    assert desk.failure().code is FailureCode.NOT_APPLIED
    assert proposed > TIMEOUT / RETRY_SECONDS / 3


def test_one_attempt_without_a_reply_leaves_the_outcome_unknown(desk: Desk) -> None:
    desk.ask(insert())
    desk.wait(LOST_SECONDS + 0.1)
    desk.step(Refused(desk.last(Propose).number, Refusal.NOT_LEADER))
    desk.wait(TIMEOUT)
    assert desk.failure().code is FailureCode.UNKNOWN


def test_a_write_that_times_out_before_its_batch_has_an_unknown_outcome(desk: Desk) -> None:
    for timeout_ms, write in ((100, insert(1)), (5000, insert(2))):
        request = Request(CLIENT_PROTOCOL_VERSION, 1, timeout_ms, (write,))
        desk.core.receive((b"client", b""), request, 100, desk.now)
    desk.flush()
    refused = 0
    while not desk.answers:
        if desk.count(Propose) > refused:
            refused = desk.count(Propose)
            desk.step(Refused(desk.last(Propose).number, Refusal.NOT_LEADER))
        desk.wait(0.01)
    assert desk.failure().code is FailureCode.UNKNOWN


def test_a_pending_proposal_is_resent_to_a_new_leader_under_its_number(desk: Desk) -> None:
    desk.ask(insert())
    first = desk.last(Propose)
    desk.step(leadership(term=2, leader=OTHER))
    assert desk.count(Propose) == 2
    assert desk.last(Propose) == first


def test_a_duplicate_result_is_returned_once(desk: Desk) -> None:
    desk.ask(insert())
    number = desk.last(Propose).number
    desk.step(BatchApplied(number, 5, (Inserted(9),)))
    desk.step(BatchApplied(number, 6, (Inserted(9),)))
    assert desk.answers == [Inserted(9)]


def test_session_expired_is_returned_if_no_earlier_attempt_can_have_applied(desk: Desk) -> None:
    desk.ask(insert())
    desk.step(Refused(desk.last(Propose).number, Refusal.NOT_LEADER))
    desk.wait(RETRY_SECONDS + 0.1)
    desk.step(BatchApplied(desk.last(Propose).number, 5, (SessionExpired(),)))
    assert desk.answers == [SessionExpired()]


def test_session_expired_after_an_unanswered_attempt_leaves_the_outcome_unknown(desk: Desk) -> None:
    desk.ask(insert())
    desk.wait(LOST_SECONDS + 0.1)
    desk.step(BatchApplied(desk.last(Propose).number, 5, (SessionExpired(),)))
    assert desk.failure().code is FailureCode.UNKNOWN


def test_every_attempt_of_a_read_has_its_own_number(desk: Desk) -> None:
    desk.ask(Get("key"))
    first = desk.last(Read)
    desk.step(ReadFailed(first.number))
    desk.wait(RETRY_SECONDS + 0.02)
    second = desk.last(Read)
    assert second.number != first.number
    desk.step(ReadsDone(first.number, (msgspec.Raw(encode(Missing(1))),), confirmed=True))
    assert desk.answers == [], "the first attempt was not confirmed"
    desk.step(ReadsDone(second.number, (msgspec.Raw(encode(Missing(2))),), confirmed=True))
    assert len(desk.answers) == 1


@pytest.mark.parametrize("confirmed_first", [False, True])
def test_a_read_ahead_result_is_returned_once_it_is_confirmed(
    desk: Desk, confirmed_first: bool
) -> None:
    desk.ask(Get("a"), Get("b"))
    number = desk.last(Read).number
    both: list[object] = [read_ahead(number, 1, 2), ReadsConfirmed((number,))]
    for message in reversed(both) if confirmed_first else both:
        assert desk.answers == []
        desk.step(message)
    assert desk.answers == [missing(1), missing(2)]


def test_one_message_confirms_several_batches(desk: Desk) -> None:
    desk.ask(Get("a"))
    first = desk.last(Read).number
    desk.wait(0.01)  # for so long, a batch holds up the next one
    desk.ask(Get("b"))
    second = desk.last(Read).number
    desk.step(read_ahead(first, 1))
    desk.step(ReadsConfirmed((first, second)))
    assert desk.answers == [missing(1)]
    desk.step(read_ahead(second, 2))
    assert desk.answers == [missing(1), missing(2)]


def test_a_read_ahead_that_is_never_confirmed_is_retried(desk: Desk) -> None:
    desk.ask(Get("key"))
    first = desk.last(Read).number
    desk.step(read_ahead(first, 1))
    desk.step(ReadFailed(first))
    desk.step(leadership(term=2, leader=OTHER))
    second = desk.last(Read).number
    assert second != first
    desk.step(ReadsConfirmed((second,)))
    assert desk.answers == [], "the outcome is of the first attempt"
    desk.step(read_ahead(first, 1))
    desk.step(ReadsConfirmed((first,)))
    assert desk.answers == [], "no client waits for the first attempt"
    desk.step(read_ahead(second, 2))
    assert desk.answers == [missing(2)]


def test_a_confirmation_counts_only_for_its_own_attempt(desk: Desk) -> None:
    desk.ask(Get("key"))
    first = desk.last(Read).number
    desk.step(ReadsConfirmed((first,)))
    desk.step(leadership(term=2, leader=OTHER))
    second = desk.last(Read).number
    desk.step(read_ahead(second, 2))
    assert desk.answers == []
    desk.step(ReadsConfirmed((second,)))
    assert desk.answers == [missing(2)]


def test_an_outcome_of_a_failed_attempt_is_discarded(desk: Desk) -> None:
    desk.ask(Get("key"))
    first = desk.last(Read).number
    desk.step(ReadFailed(first))
    desk.step(read_ahead(first, 1))
    assert desk.answers == []
    desk.wait(RETRY_SECONDS + 0.02)
    desk.step(ReadsConfirmed((desk.last(Read).number,)))
    assert desk.answers == []


def test_a_read_ahead_that_is_never_confirmed_fails_at_its_deadline(desk: Desk) -> None:
    desk.ask(Get("key"))
    desk.step(read_ahead(desk.last(Read).number, 1))
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.NOT_APPLIED


def test_a_stalled_node_does_not_return_read_ahead_results(desk: Desk) -> None:
    desk.ask(Get("key"))
    number = desk.last(Read).number
    desk.step(read_ahead(number, 1))
    desk.step(leadership(stalled=True))
    assert desk.failure().code is FailureCode.STALLED
    desk.step(ReadsConfirmed((number,)))
    assert len(desk.answers) == 1


def test_reads_that_storage_left_out_are_retried_and_confirmed_again(desk: Desk) -> None:
    desk.ask(Get("a"), Get("b"), Get("c"))
    first = desk.last(Read)
    desk.step(read_ahead(first.number, 1))
    assert desk.count(Read) == 1, "nothing is asked again before the answers may be given"
    desk.step(ReadsConfirmed((first.number,)))
    desk.wait(0.01)
    rest = desk.last(Read)
    assert rest.number != first.number
    assert decode_read_batch(rest.payload).operations == (Get("b"), Get("c"))
    desk.step(read_ahead(first.number, 7, 7, 7))  # what comes late for the first counts no more
    desk.step(ReadsDone(rest.number, (missing(2), missing(3)), confirmed=True))
    assert desk.answers == [missing(1), missing(2), missing(3)]


def test_a_read_past_its_deadline_is_not_retried(desk: Desk) -> None:
    desk.ask(Get("a"), Get("b"))
    number = desk.last(Read).number
    desk.step(read_ahead(number, 1))
    desk.wait(TIMEOUT + 0.1)
    desk.step(ReadsDone(desk.last(Read).number, (missing(1),), confirmed=True))
    asked = desk.count(Read)
    desk.wait(1)
    assert desk.count(Read) == asked
    assert len(desk.answers) == 2


def test_operations_beyond_the_reply_size_limit_fail_as_too_large(desk: Desk) -> None:
    keys = [Get(f"{number}") for number in range(40)]
    desk.ask(*keys)
    large = msgspec.Raw(encode(Found(1, 1, 1, 1, b"x" * (1 << 20))))
    while not desk.answers:
        desk.step(ReadsDone(desk.last(Read).number, (large,), confirmed=True))
        desk.wait(0.01)
    found = [answer for answer in desk.answers if answer == large]
    rest = desk.answers[len(found) :]
    assert 10 < len(found) < 16
    assert {type(each) for each in rest} == {Failed}
    assert {each.code for each in rest if isinstance(each, Failed)} == {FailureCode.TOO_LARGE}
    assert desk.count(Read) == len(found) + 1, "nothing more is read for it"


def test_read_ahead_results_beyond_the_memory_limit_are_dropped_and_read_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "UNCONFIRMED_BYTES_MAX", 0)
    desk.ask(Get("a"))
    number = desk.last(Read).number
    desk.step(read_ahead(number, 1))
    desk.step(ReadsConfirmed((number,)))
    assert desk.answers == []
    desk.wait(RETRY_SECONDS * 2)
    desk.step(ReadsDone(desk.last(Read).number, (missing(1),), confirmed=True))
    assert desk.answers == [missing(1)]


def test_a_client_with_unread_replies_is_refused_while_others_are_served(desk: Desk) -> None:
    desk.core.reply_budget.begin_reply(b"client", CONNECTION_BYTES_MAX + 1, desk.now)
    desk.ask(Get("key"))
    assert desk.failure().code is FailureCode.OVERLOADED
    request = Request(CLIENT_PROTOCOL_VERSION, 1, 1000, (Get("key"),))
    desk.core.receive((b"other",), request, 100, desk.now)
    desk.flush()
    assert desk.count(Read) == 1


def test_request_numbers_differ_between_incarnations_of_a_node() -> None:
    lives = [Gateway(Opened(NODE, b"", life), NodeConfig(dir="x")) for life in (1, 2)]
    numbers = set()
    for life in lives:
        request = Request(CLIENT_PROTOCOL_VERSION, 1, 1000, (Get("key"),))
        life.receive((b"client",), request, 10, 0.0)
        (message,) = life.flush(0.0).replicator
        assert isinstance(message, Read)
        numbers.add(message.number)
    assert len(numbers) == 2


def test_an_overloaded_refusal_is_returned_immediately(desk: Desk) -> None:
    desk.ask(insert())
    desk.step(Refused(desk.last(Propose).number, Refusal.OVERLOADED))
    assert desk.failure().code is FailureCode.OVERLOADED


def test_calls_beyond_the_limit_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "CALLS_MAX", 2)
    for _ in range(3):
        desk.ask(Get("key"))
    assert desk.failure().code is FailureCode.OVERLOADED


def test_a_request_of_more_operations_than_a_user_may_have_pending_is_invalid(desk: Desk) -> None:
    lookups = Transact((), (Lookup("k"),) * 1000)
    desk.ask(*[Write(1, number, 1, lookups) for number in range(1, 52)])
    assert [each.code for each in desk.answers if isinstance(each, Failed)] == [
        FailureCode.INVALID
    ] * 51
    desk.ask(*[Write(1, number, 1, lookups) for number in range(1, 51)])
    desk.wait(LOST_SECONDS / 2)
    assert desk.count(Propose) == 50


def test_a_removed_node_refuses_writes_but_still_requests_its_status(desk: Desk) -> None:
    desk.step(leadership(removed=True))
    desk.ask(insert())
    assert desk.failure().code is FailureCode.NOT_MEMBER
    desk.ask(Status())
    assert desk.count(AskStatus) == 1


def test_the_greeting_of_a_removed_node_does_not_name_it_as_a_member(desk: Desk) -> None:
    for removed, expected in ((False, MEMBERS.members), (True, MEMBERS.members[1:])):
        desk.step(leadership(removed=removed))
        desk.ask(Hello())
        answer = desk.answers[-1]
        assert isinstance(answer, Welcome)
        assert answer.membership.members == expected


def test_a_node_with_hung_storage_refuses_operations_until_it_recovers(desk: Desk) -> None:
    desk.step(leadership(stalled=True))
    for operation in (insert(), Get("key"), ListKeys("", 10), Status(), RemoveNode(OTHER)):
        desk.answers.clear()
        desk.ask(operation)
        assert desk.failure().code is FailureCode.STALLED
    assert desk.sent == []
    desk.ask(Hello())
    assert isinstance(desk.answers[-1], Welcome)
    desk.step(leadership())
    desk.ask(insert())
    assert desk.count(Propose) == 1


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (Get("key"), FailureCode.STALLED),
        (Status(), FailureCode.STALLED),
        (insert(), FailureCode.UNKNOWN),
        (RemoveNode(OTHER), FailureCode.UNKNOWN),
        (AddNode("127.0.0.1:9420"), FailureCode.UNKNOWN),
        (TransferLeadership(OTHER), FailureCode.UNKNOWN),
    ],
)
def test_if_storage_hangs_pending_reads_are_stalled_and_pending_changes_unknown(
    desk: Desk, operation: Operation, code: FailureCode
) -> None:
    desk.ask(operation)
    desk.step(leadership(stalled=True))
    assert desk.failure().code is code


def test_a_write_refused_before_storage_hung_ends_as_stalled(desk: Desk) -> None:
    desk.ask(insert())
    desk.step(Refused(desk.last(Propose).number, Refusal.NOT_LEADER))
    desk.step(leadership(stalled=True))
    assert desk.failure().code is FailureCode.STALLED


def test_a_removal_is_done_when_it_is_committed(desk: Desk) -> None:
    desk.ask(RemoveNode(OTHER))
    desk.step(BatchApplied(desk.last(RemoveMember).number, 5, ()))
    assert desk.answers == [Done()]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal.UNKNOWN_MEMBER, FailureCode.UNKNOWN_NODE),
        (Refusal.LAST_VOTER, FailureCode.INVALID),
    ],
)
def test_an_impossible_removal_is_refused_immediately(
    desk: Desk, refusal: Refusal, code: FailureCode
) -> None:
    desk.ask(RemoveNode(OTHER))
    desk.step(Refused(desk.last(RemoveMember).number, refusal))
    assert desk.failure().code is code


def test_a_member_unknown_at_the_second_attempt_was_removed_by_the_first(desk: Desk) -> None:
    desk.ask(RemoveNode(OTHER))
    desk.step(leadership(term=2))
    desk.step(Refused(desk.last(RemoveMember).number, Refusal.UNKNOWN_MEMBER))
    assert desk.answers == [Done()]


def test_a_node_confirms_its_own_removal_when_it_learns_of_it(desk: Desk) -> None:
    desk.ask(RemoveNode(NODE))
    desk.step(leadership(removed=True))
    assert desk.answers == [Done()]


def test_membership_requests_beyond_the_limit_are_refused(desk: Desk) -> None:
    floods: list[Operation] = [AddNode(f"127.0.0.1:{10_000 + each}") for each in range(1100)]
    desk.ask(*floods, *[RemoveNode(OTHER)] * 100, *[TransferLeadership(OTHER)] * 100)
    desk.wait(0.1)
    invited = {each.address for each in desk.sent if isinstance(each, InviteMember)}
    assert len(invited) == ADMIN_REQUESTS_MAX
    assert desk.count(RemoveMember) == desk.count(TransferTo) == 0
    desk.wait(TIMEOUT + 0.1)
    assert sum(answer == TOO_MANY for answer in desk.answers) == 1300 - ADMIN_REQUESTS_MAX
    desk.answers.clear()
    desk.ask(RemoveNode(OTHER))
    assert desk.count(RemoveMember) == 1, "those that are over count no more"


def test_completed_removals_do_not_count_against_the_limit(desk: Desk) -> None:
    for _ in range(3 * ADMIN_REQUESTS_MAX):
        desk.answers.clear()
        desk.ask(RemoveNode(OTHER))
        desk.step(BatchApplied(desk.last(RemoveMember).number, 5, ()))
        assert desk.answers == [Done()]


def test_a_standby_node_is_invited_until_it_is_a_voter(desk: Desk) -> None:
    address = "127.0.0.1:9420"
    desk.ask(AddNode(address))
    desk.wait(1.0)
    assert desk.count(InviteMember) >= 3
    assert desk.last(InviteMember).address == address
    joined = MEMBERS.with_member(Member(b"x" * 16, address, True))
    desk.step(leadership(members=joined))
    desk.wait(0.1)
    assert desk.answers == [Done()]


def test_a_host_without_a_port_is_invited_at_the_default_port(desk: Desk) -> None:
    desk.ask(AddNode("node.example"))
    desk.wait(0.1)
    assert desk.last(InviteMember).address == "node.example:9400"
    joined = MEMBERS.with_member(Member(b"x" * 16, "node.example:9400", True))
    desk.step(leadership(members=joined))
    desk.wait(0.1)
    assert desk.answers == [Done()]


def test_an_invitation_that_no_node_accepts_fails_with_its_address(desk: Desk) -> None:
    desk.ask(AddNode("127.0.0.1:9420"))
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.NO_STANDBY
    assert "127.0.0.1:9420" in desk.failure().message


def test_an_invited_node_that_is_still_a_learner_leaves_the_outcome_unknown(desk: Desk) -> None:
    address = "127.0.0.1:9420"
    desk.ask(AddNode(address))
    learning = MEMBERS.with_member(Member(b"x" * 16, address, False))
    desk.step(leadership(members=learning))
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.UNKNOWN


def test_an_invitation_without_a_leader_has_an_unknown_outcome(desk: Desk) -> None:
    desk.ask(AddNode("127.0.0.1:9420"))
    desk.step(leadership(2, None))
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.UNKNOWN


# --- moving leadership


@pytest.mark.parametrize("named", [OTHER, b""], ids=["named", "anybody"])
def test_a_transfer_is_repeated_until_leadership_has_moved(desk: Desk, named: bytes) -> None:
    desk.ask(TransferLeadership(named))
    desk.wait(0.7)
    assert (desk.count(TransferTo), desk.last(TransferTo)) == (3, TransferTo(named))
    desk.step(leadership(2, None))
    desk.wait(0.1)
    assert desk.answers == []
    desk.step(leadership(2, OTHER))
    desk.wait(0.1)
    assert desk.answers == [Transferred(OTHER)]
    ordered = desk.count(TransferTo)
    desk.wait(1)
    assert desk.count(TransferTo) == ordered


def test_a_transfer_to_the_current_leader_succeeds_immediately(desk: Desk) -> None:
    desk.ask(TransferLeadership(NODE))
    desk.wait(0.1)
    assert desk.answers == [Transferred(NODE)]
    assert desk.count(TransferTo) == 0


@pytest.mark.parametrize(
    ("members", "named", "code"),
    [
        (MEMBERS, b"s" * 16, FailureCode.UNKNOWN_NODE),
        (MEMBERS, b"short", FailureCode.INVALID),
        (MEMBERS.with_member(Member(OTHER, "n:1", False)), OTHER, FailureCode.INVALID),
        (MEMBERS.with_member(Member(OTHER, "n:1", False)), b"", FailureCode.INVALID),
        (MEMBERS.without(OTHER), b"", FailureCode.INVALID),
    ],
    ids=["a stranger", "no id", "a learner", "beside a learner", "alone"],
)
def test_a_transfer_without_an_eligible_successor_is_refused(
    desk: Desk, members: Membership, named: bytes, code: FailureCode
) -> None:
    desk.step(replace(leadership(), membership=members))
    desk.ask(TransferLeadership(named))
    desk.wait(0.1)
    assert desk.failure().code is code
    assert desk.count(TransferTo) == 0


def test_a_transfer_without_a_leader_waits_for_a_leader_to_replace(desk: Desk) -> None:
    desk.step(leadership(2, None))
    desk.ask(TransferLeadership())
    desk.wait(0.1)
    desk.step(leadership(2, OTHER))
    desk.wait(0.1)
    assert desk.answers == []
    desk.step(leadership(3, NODE))
    desk.wait(0.1)
    assert desk.answers == [Transferred(NODE)]


@pytest.mark.parametrize("members", [MEMBERS, Membership()], ids=["a member", "not joined yet"])
def test_a_transfer_that_times_out_has_an_unknown_outcome(desk: Desk, members: Membership) -> None:
    desk.step(replace(leadership(), membership=members))
    desk.ask(TransferLeadership(OTHER))
    desk.wait(TIMEOUT + 0.1)
    assert desk.failure().code is FailureCode.UNKNOWN


def test_only_reads_without_side_effects_are_read_ahead(desk: Desk) -> None:
    desk.ask(Get("k"))
    assert desk.last(Read).ahead
    desk.step(ReadsDone(desk.last(Read).number, (missing(1),), confirmed=True))
    desk.ask(ReadSnapshot(b"b" * 16, None))
    desk.wait(0.01)  # after the reply to this client
    first = desk.last(Read)
    assert not first.ahead
    desk.step(ReadFailed(first.number))
    desk.wait(RETRY_SECONDS * 2)
    again = desk.last(Read)
    assert again.number != first.number
    assert not again.ahead


# --- no room


def test_without_space_inserts_are_refused_and_the_rest_of_the_batch_proceeds(desk: Desk) -> None:
    removal = Write(1, 2, 1, Remove("other"))
    for operation in (insert(), removal):
        request = Request(CLIENT_PROTOCOL_VERSION, 1, 1000, (operation,))
        desk.core.receive((b"client", b""), request, 100, desk.now)
    desk.flush()
    first = desk.last(Propose)
    assert first.grows
    desk.step(Refused(first.number, Refusal.STORAGE_FULL))
    second = desk.last(Propose)
    assert second.number != first.number
    assert not second.grows
    assert decode_batch(second.payload).writes == (removal,)
    desk.step(BatchApplied(second.number, 5, (Removed(True, 9),)))
    failed, removed = desk.answers
    assert isinstance(failed, Failed)
    assert failed.code == FailureCode.STORAGE_FULL
    assert removed == Removed(True, 9)


def test_writes_after_a_refused_insert_of_the_same_request_are_refused_too(desk: Desk) -> None:
    before, after = Write(1, 2, 1, Remove("before")), Write(1, 4, 1, Remove("after"))
    desk.ask(before, insert(3), after)
    desk.step(Refused(desk.last(Propose).number, Refusal.STORAGE_FULL))
    second = desk.last(Propose)
    assert decode_batch(second.payload).writes == (before,)
    desk.step(BatchApplied(second.number, 5, (Removed(True, 9),)))
    removed, *refused = desk.answers
    assert removed == Removed(True, 9)
    assert [each.code for each in refused if isinstance(each, Failed)] == [
        FailureCode.STORAGE_FULL
    ] * 2


def test_an_insert_that_may_have_been_applied_is_not_reported_as_refused(desk: Desk) -> None:
    desk.ask(insert())
    number = desk.last(Propose).number
    desk.wait(LOST_SECONDS + 0.1)  # no reply: it was lost, or it is under way
    desk.step(Refused(number, Refusal.STORAGE_FULL))
    assert desk.answers == []
    desk.wait(TIMEOUT)
    assert desk.failure().code == FailureCode.UNKNOWN


# --- older members


TRANSACTION = Write(1, 2, 1, Transact((), (Lookup("k"),)))
OLDER = "the member 127.0.0.1:9410 runs an older version"


def test_newer_commands_are_refused_and_the_rest_of_the_batch_proceeds(desk: Desk) -> None:
    before, after = insert(), Write(1, 3, 1, Remove("after"))
    desk.ask(before, TRANSACTION, after)
    desk.step(Refused(desk.last(Propose).number, Refusal.OLD_MEMBER, OLDER))
    second = desk.last(Propose)
    assert decode_batch(second.payload).writes == (before, after)
    desk.step(BatchApplied(second.number, 5, (Inserted(8), Removed(True, 9))))
    inserted, failed, removed = desk.answers
    assert (inserted, removed) == (Inserted(8), Removed(True, 9))
    assert isinstance(failed, Failed)
    assert failed.code is FailureCode.UNSUPPORTED
    assert failed.message.endswith(OLDER)


def test_an_older_leader_that_finds_newer_commands_invalid_is_named(desk: Desk) -> None:
    desk.ask(insert(), TRANSACTION)
    desk.step(Refused(desk.last(Propose).number, Refusal.INVALID))
    assert decode_batch(desk.last(Propose).payload).writes == (insert(),)
    desk.step(BatchApplied(desk.last(Propose).number, 5, (Inserted(8),)))
    failed = desk.answers[1]
    assert isinstance(failed, Failed)
    assert failed.code is FailureCode.UNSUPPORTED
    assert "the member 127.0.0.1:9400 runs an older version" in failed.message


def test_a_newer_command_that_may_have_been_applied_is_not_reported_as_refused(
    desk: Desk,
) -> None:
    desk.ask(TRANSACTION)
    number = desk.last(Propose).number
    desk.wait(LOST_SECONDS + 0.1)
    desk.step(Refused(number, Refusal.OLD_MEMBER, OLDER))
    assert desk.answers == []
    desk.wait(TIMEOUT)
    assert desk.failure().code == FailureCode.UNKNOWN


def test_a_newer_command_is_proposed_again_while_a_level_is_about_to_be_recorded(
    desk: Desk,
) -> None:
    desk.ask(TRANSACTION)
    desk.step(Refused(desk.last(Propose).number, Refusal.BUSY))
    desk.wait(0.1)
    assert desk.count(Propose) == 2
    assert desk.answers == []
