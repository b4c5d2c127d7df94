"""RawClient: sends given operations and returns every reply, for retries by hand."""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from protocol.address import parse_address
from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Operation, Outcome, Request
from protocol.state.commands import Insert, OpenSession, SessionOpened, Write
from protocol.wire import decode_reply, encode
from skiff.testing import Node
from tests.cluster.keyed import secure_client

SECONDS = 15.0  # enough for an election or the restart of a node
GRACE_SECONDS = 5.0  # for the node's reply at the deadline
FRAMES_AHEAD = 4  # in flight at a time


class RawClient:
    """A DEALER socket to one node, as a context manager, without retries or failover."""

    def __init__(self, node: Node, user: Path | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        secure_client(self._socket, user)
        self._socket.connect(parse_address(node.address).client_endpoint)
        self._numbers = itertools.count(1)
        self._answers: dict[int, tuple[Outcome, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._context.destroy(linger=0)

    def send(self, *operations: Operation, seconds: float = SECONDS) -> int:
        """Send operations in one frame; return the number of the request."""
        number = next(self._numbers)
        request = Request(CLIENT_PROTOCOL_VERSION, number, int(seconds * 1000), operations)
        self._socket.send(encode(request))
        return number

    def outcomes(self, number: int, seconds: float = SECONDS) -> tuple[Outcome, ...]:
        """Wait for the outcomes of one frame."""
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        while number not in self._answers:
            left = deadline - time.monotonic()
            assert left > 0, f"request {number} was not answered"
            if self._socket.poll(int(left * 1000) + 1):
                reply = decode_reply(self._socket.recv())
                self._answers[reply.id] = reply.outcomes
        return self._answers.pop(number)

    def ask(self, *operations: Operation, seconds: float = SECONDS) -> tuple[Outcome, ...]:
        """Send operations in one frame and return their outcomes."""
        return self.outcomes(self.send(*operations, seconds=seconds), seconds)

    def open_session(self) -> int:
        """Return the number of a new session."""
        (opened,) = self.ask(Write(0, 0, 0, OpenSession()))
        assert isinstance(opened, SessionOpened), opened
        return opened.session

    def insert_many(self, values: Iterable[tuple[str, object]], frame: int) -> list[Outcome]:
        """Insert values fast, ``frame`` of them in each frame, in a new session."""
        session = self.open_session()
        sequence = 0
        waiting: list[int] = []
        outcomes: list[Outcome] = []
        remaining = iter(values)
        while part := list(itertools.islice(remaining, frame)):
            acknowledged = max(1, sequence - frame * FRAMES_AHEAD)
            writes: list[Write] = []
            for key, value in part:
                sequence += 1
                command = Insert(key, encode(value))
                writes.append(Write(session, sequence, acknowledged, command))
            waiting.append(self.send(*writes))
            if len(waiting) == FRAMES_AHEAD:
                outcomes.extend(self.outcomes(waiting.pop(0)))
        for number in waiting:
            outcomes.extend(self.outcomes(number))
        return outcomes
