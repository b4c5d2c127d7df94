"""What a node's answer means for the caller: a result, or the error that tells the truth."""

from typing import NoReturn

from protocol.client_messages import Failed, FailureCode
from skiff.errors import (
    ClientConnectFailed,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    PeerNotFound,
    RequestTimeout,
    RPCCallFailed,
    SkiffError,
)

ERRORS: dict[FailureCode, type[SkiffError]] = {
    FailureCode.INVALID: InvalidRequest,
    FailureCode.NOT_APPLIED: RequestTimeout,
    FailureCode.UNKNOWN: OutcomeUnknown,
    FailureCode.OVERLOADED: Overloaded,
    FailureCode.NOT_MEMBER: ClientConnectFailed,
    FailureCode.UNKNOWN_NODE: PeerNotFound,
    FailureCode.UNSUPPORTED: RPCCallFailed,
}
RETRIED = (FailureCode.OVERLOADED, FailureCode.NOT_MEMBER)


def raise_failure(failed: Failed, *, maybe_done: bool) -> NoReturn:
    """Raise what a node's refusal means, given that an earlier attempt may have been done."""
    if maybe_done:
        raise OutcomeUnknown(f"{failed.message}; an earlier attempt got no answer")
    raise ERRORS[failed.code](failed.message)
