"""LoneRequests: the requests of a simulated blocking client, each with a connection of its own."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from protocol.client.routing import address_of
from protocol.client.steps import GRACE_SECONDS, Answered, Ask, Lost, timeout_ms
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Reply, Request

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

REFUSED_DELAY = 0.001

Done: TypeAlias = Callable[[Answered | Lost], None]
Cancel: TypeAlias = Callable[[], None]


class LoneRequests:
    """Sends each request of a client on its own."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._events = cluster.setting.events
        self._numbers = itertools.count(1)

    def ask(self, name: str, ask: Ask, done: Done) -> Cancel:
        """Send a request; ``done`` gets its result, unless the returned function is called."""
        is_over = False

        def end(result: Answered | Lost) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                done(result)

        def cancel() -> None:
            nonlocal is_over
            is_over = True

        def answered(reply: Reply) -> None:
            assert len(reply.outcomes) == len(ask.operations), "as many outcomes as operations"
            end(Answered(reply.outcomes))

        asker = (name, answered, lambda: end(Lost(sent=True)))
        timeout = timeout_ms(ask.deadline, self._events.now)
        request = Request(CLIENT_PROTOCOL_VERSION, next(self._numbers), timeout, ask.operations)
        if self._cluster.ask(address_of(ask.endpoint), asker, request):
            self._events.at(ask.deadline + GRACE_SECONDS, end, Lost(sent=True))
        else:
            self._events.after(REFUSED_DELAY, end, Lost(sent=False))
        return cancel
