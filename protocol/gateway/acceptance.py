"""Acceptance: whether a gateway has room for one more request."""

from protocol.gateway.pending import Calls
from protocol.gateway.replies import unsupported
from protocol.gateway.reply_budget import NOT_READ, ReplyBudget
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Failed, FailureCode, Request

OVERLOADED = Failed(FailureCode.OVERLOADED, "too many requests are pending at this node")


def why_refused(
    request: Request, connection: bytes, calls: Calls, budget: ReplyBudget
) -> Failed | None:
    """Return the outcome of all operations of a request that is refused; None if it is not."""
    if request.version != CLIENT_PROTOCOL_VERSION:
        return unsupported(request.version)
    if calls.are_too_many:
        return OVERLOADED
    return None if budget.is_untouched or budget.has_room(connection) else NOT_READ
