"""Method: the requests of a client's method and its result, as a generator.

It yields requests, is sent their outcomes and returns the result; ``Client`` and ``AsyncClient``
drive the same ones. Each raises ``InvalidRequest`` for invalid arguments before its first request.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

import msgspec

from protocol.client.link import Link
from protocol.client.pipeline import Pipelined
from protocol.client.routing import Route
from protocol.messages.client import Get, Operation, Outcome
from protocol.state.commands import Command, Insert, Remove
from skiff.arguments import Timeout


class Anchor(msgspec.Struct):
    """The node that a series of requests stays with."""

    link: Link | None = None  # None before the first request


def anchored(anchor: Anchor, route: Route) -> Link:
    """Return the link of an anchor, a new one at first."""
    if anchor.link is None:
        anchor.link = Link(route, stays=True)
    return anchor.link


class Idempotent(msgspec.Struct, frozen=True):
    """A request to perform an operation that is safe to repeat."""

    operation: Operation
    writes: bool = False  # whether it changes anything
    anchor: Anchor | None = None  # None: any node will do


class ExactlyOnce(msgspec.Struct, frozen=True):
    """A request to apply a command exactly once."""

    command: Command


ReturnT = TypeVar("ReturnT")
Method: TypeAlias = Generator[Idempotent | ExactlyOnce, Outcome, ReturnT]


class Runner(ABC):
    """A blocking client, as its methods on one subject see it."""

    @abstractmethod
    def _run(self, method: Method[ReturnT], timeout: Timeout) -> ReturnT:
        """Return the result of a method; the timeout holds for each of its requests."""


def only_operation(method: Method[Any]) -> Pipelined:
    """Return the only operation of a method, for a pipeline.

    Raises:
        SkiffError: an argument of the method is invalid.
    """
    asked = next(method)
    operation = asked.command if isinstance(asked, ExactlyOnce) else asked.operation
    assert isinstance(operation, Insert | Remove | Get)
    return operation
