"""Acceptance: who is served where the room of a gateway is used up."""

from protocol.gateway.acceptance import OVERLOADED, TOO_LONG, Acceptance
from protocol.gateway.pending import CALL_OPERATIONS_MAX, Call
from protocol.gateway.reply_budget import ReplyBudget
from protocol.gateway.shares import SHARE
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Failed, Get, Request

REQUEST = Request(CLIENT_PROTOCOL_VERSION, 1, 1000, (Get("k"),))
HALF = CALL_OPERATIONS_MAX // SHARE


class Door:
    """An acceptance that is asked by users with a load each."""

    def __init__(self) -> None:
        self.acceptance = Acceptance(ReplyBudget(), 0)

    def ask(self, user: bytes, load: int) -> Failed | None:
        call = Call((user,), 1, 100.0, 10, [None], 1, load, user, user)
        refusal = self.acceptance.begin(call, REQUEST, 0.0)
        if refusal is not None:
            self.acceptance.end(call)
        return refusal


def test_one_with_little_is_served_though_two_others_have_used_up_the_room() -> None:
    door = Door()
    assert door.ask(b"ann", HALF) is None
    assert door.ask(b"ben", HALF) is None
    assert door.ask(b"cid", 1) is None
    assert door.ask(b"cid", HALF // 2) is OVERLOADED
    assert door.ask(b"ann", 1) is OVERLOADED
    assert door.ask(b"cid", 1) is None


def test_there_is_room_for_only_so_many_with_little() -> None:
    door = Door()
    outcomes = [door.ask(b"%d" % number, 1000) for number in range(200)]
    assert outcomes[:125] == [None] * 125
    assert set(outcomes[125:]) == {OVERLOADED}


def test_a_request_of_more_than_one_user_may_have_is_refused_for_good() -> None:
    assert Door().ask(b"ann", HALF + 1) is TOO_LONG
