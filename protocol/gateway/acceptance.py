"""Acceptance: whether a gateway has room for one more request, in total and for its user."""

from protocol.gateway.pending import CALL_OPERATIONS_MAX, Call, Calls
from protocol.gateway.quotas import Quotas
from protocol.gateway.replies import unsupported
from protocol.gateway.reply_budget import NOT_READ, ReplyBudget
from protocol.gateway.shares import SHARE, exceeds_share
from protocol.load import PAGE_LOAD
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Failed, FailureCode, Request

OVERLOADED = Failed(FailureCode.OVERLOADED, "too many requests are pending at this node")
TOO_LONG = Failed(
    FailureCode.INVALID,
    f"a request has at most {CALL_OPERATIONS_MAX // SHARE} operations; a transaction counts as its "
    f"own, a read of many keys as one for each, and a page as {PAGE_LOAD + 1}",
)
RESERVE = 1.25  # of the limits of a gateway: room for users with little, where others use it up


class Acceptance:
    """The requests of one gateway that have no reply yet. Times are seconds of a steady clock."""

    def __init__(self, budget: ReplyBudget, operations_per_second: int) -> None:
        """Permit each user so many operations a second; 0 for any number."""
        self.calls = Calls()
        self._budget = budget
        self._quotas = Quotas(operations_per_second)

    def begin(self, call: Call, request: Request, now: float) -> Failed | None:
        """Count a call; return the outcome of all its operations if it is refused."""
        self.calls.begin(call)
        over_quota = self._quotas.begin(call.payer, call.load, call.size, now)
        if request.version != CLIENT_PROTOCOL_VERSION:
            return unsupported(request.version)
        if exceeds_share(call.load, CALL_OPERATIONS_MAX):
            return TOO_LONG
        if self._is_full_for(call.payer):
            return OVERLOADED
        if over_quota is not None:
            return over_quota
        budget = self._budget
        has_room = budget.is_untouched or budget.has_room(call.client[0], payer=call.payer)
        return None if has_room else NOT_READ

    def _is_full_for(self, user: bytes) -> bool:
        if not self.calls.exceed(1.0):
            return False
        return self.calls.exceed(RESERVE) or not self._quotas.is_modest(user)

    def end(self, call: Call) -> None:
        """Count the end of a call, accepted or refused."""
        self.calls.end(call)
        self._quotas.end(call.payer, call.load, call.size)
