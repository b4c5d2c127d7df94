"""Door: the client gateway of a simulated node, with the real core and the real publisher."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from protocol.config import NodeConfig
from protocol.deadlines import NEVER
from protocol.gateway.change_feed import ChangeFeed
from protocol.gateway.gateway import Gateway
from protocol.gateway.pending import Call
from protocol.gateway.publisher import Message
from protocol.messages.client import Operation, Reply, Request, Welcome
from protocol.messages.gateway import (
    Changes,
    Following,
    GatewayMessage,
    Opened,
    ReadsDone,
)
from protocol.messages.replicator import Propose, Read
from protocol.state.commands import Write
from protocol.state.levels import STATE_LEVEL, level_of_writes
from protocol.state.limits import BATCH_OPERATIONS_MAX
from protocol.state.machine import decode_batch
from protocol.wire import decode_outcome, decode_read_batch, encode
from tests.harness.breach import expect
from tests.simulation.actor import Actor
from tests.simulation.levels import UNREADABLE
from tests.simulation.pipes import Pipes
from tests.simulation.rights_judge import Span

if TYPE_CHECKING:
    from tests.simulation.life import Life

RESET_DELAY = 0.001

Asker = tuple[
    str, Callable[[Reply], None], Callable[[], None]
]  # address, reply callback, close callback
REQUEST_BYTES = 100


class Door(Actor):
    """Serves clients and subscribers of one node."""

    name = "gateway"

    def __init__(self, life: "Life") -> None:
        super().__init__(life)
        address = life.node.name
        self._config = NodeConfig(dir=address, bind=address, insecure=True)
        self._core: Gateway | None = None
        self._requests: list[tuple[int, Request]] = []
        self._askers: dict[int, Asker] = {}
        self._judge = life.setting.judge
        self._revisions: dict[int, int] = {}  # committed at each request
        self._arrived: dict[int, tuple[float, tuple[Operation, ...]]] = {}  # requests
        self._writes: dict[bytes, list[int]] = {}  # positions in each request
        self._indexes: dict[int, tuple[int, int]] = {}  # applied and committed at each request
        self._of_former_users: set[int] = set()  # requests
        self._numbers = 0
        self.pipes = Pipes(life.setting, self.rouse)
        self._feed = ChangeFeed()

    @property
    def is_open(self) -> bool:
        """Whether the gateway accepts requests."""
        return self._core is not None

    def ask(self, asker: Asker, request: Request) -> None:
        """Receive a client's request."""
        self._numbers += 1
        self._askers[self._numbers] = asker
        self._revisions[self._numbers] = self._judge.log.model.revision
        self._arrived[self._numbers] = (self._events.now, request.operations)
        self._indexes[self._numbers] = (self.life.node.applied_index, self._judge.log.last_index)
        self._requests.append((self._numbers, request))
        self.rouse()

    def turn(self) -> None:
        """Handle the messages that have arrived, and send the results."""
        now = self._events.now
        if self._core is None and not self._open():
            return
        for message in self._take_inbox():
            self._hear(message, now)
        requests, self._requests = self._requests, []
        for number, request in requests:
            if self._is_unknown(request):
                self._refuse(number, request)
                continue
            client = number.to_bytes(8, "big")
            self._writes[client] = _write_positions(request)
            user = self._user(number)
            if user in self._the_core.former_keys and user not in self._the_core.user_keys:
                self._of_former_users.add(number)
            self._the_core.receive((client,), request, REQUEST_BYTES, now, user)
        self._subscribe()
        self._publish(now)
        self._send(now)

    def deadline(self) -> float:
        """Return the time of the next deadline or publication."""
        if self._core is None:
            return NEVER
        now = self._events.now
        return min(self._core.next_deadline(now), self._feed.publisher.next_deadline(now))

    def cut_off(self) -> None:
        """Close all connections, as the end of the process does."""
        for address, _, lost in self._askers.values():
            self._reset(address, lost)
        self.pipes.close()

    @property
    def _the_core(self) -> Gateway:
        assert self._core is not None
        return self._core

    def _has_arrivals(self) -> bool:
        return bool(self._inbox or self._requests or self.pipes.orders)

    def _open(self) -> bool:
        """Wait for storage to open; like the real one, ignore everything before that."""
        while self._inbox:
            opened = self._inbox.pop(0)
            if isinstance(opened, Opened):
                self._core = Gateway(opened, self._config)
                return True
        return False

    def _hear(self, message: GatewayMessage, now: float) -> None:
        self._feed.step(message, now)
        match message:
            case Changes() | Following():
                pass
            case ReadsDone(number=number):
                pending = self._the_core._pending.get(number)
                self._the_core.step(message, now)
                is_confirmed = pending is not None and isinstance(pending.message, Read)
                if is_confirmed and number not in self._the_core._pending:
                    self._judge.gateway_answers_read(self.life.node.id, number)
            case _:
                self._the_core.step(message, now)

    def _user(self, number: int) -> bytes:
        """Return the user that the connection of a request was authenticated as."""
        return self.life.setting.user_keys.get(self._askers[number][0], b"")

    def _publish(self, now: float) -> None:
        """Send the core's publications; wait for a full pipe within a limit."""
        publisher = self._feed.publisher
        publisher.mark(now, has_subscribers=bool(self._feed.subscriptions))
        publisher.flush(self._send_to_pipes)
        if publisher.must_release(now):
            self.pipes.set_lossy(lossy=True)
            for message in publisher.release():
                self._send_to_pipes(message)
            self.pipes.set_lossy(lossy=False)

    def _send_to_pipes(self, message: Message) -> bool:
        return self.pipes.send(message.topic, message.body)

    def _is_unknown(self, request: Request) -> bool:
        """Whether the build of this node cannot decode a request."""
        level = self.life.level
        if level == STATE_LEVEL:
            return False
        writes = tuple(each for each in request.operations if isinstance(each, Write))
        return level_of_writes(writes) > level

    def _refuse(self, number: int, request: Request) -> None:
        """Answer a request that is malformed to this build."""
        address, answer, _ = self._askers.pop(number)
        del self._revisions[number], self._indexes[number]
        outcomes = (UNREADABLE,) * len(request.operations)
        network = self.life.setting.network
        network.send_once(self.life.node.address, address, answer, Reply(request.id, outcomes))

    def _subscribe(self) -> None:
        for connection in self._feed.take_denied():
            self.pipes.cut(connection)
        taken = [self._take(*order) for order in self.pipes.drain()]
        orders = self._feed.follow([nonce for nonce in taken if nonce is not None])
        if orders:
            self.life.post("gateway storage", self.life.storage, orders)

    def _take(self, frame: bytes, connection: int) -> bytes | None:
        """Judge and take a subscription; return the nonce if it asks for a confirmation."""
        user, subscriptions = self.pipes.users[connection], self._feed.subscriptions
        nonce = subscriptions.take(frame, connection, user=user)
        if subscriptions.denies(frame, connection, user):
            self.pipes.cut(connection)
            return None
        self.pipes.admit(connection)
        return nonce

    def _send(self, now: float) -> None:
        outbox = self._the_core.flush(now)
        for message in outbox.replicator:
            if isinstance(message, Propose):
                self._check_whole(message)
        for message in outbox.replicator:
            if isinstance(message, Read) and message.leases:
                self._judge.rights.counts(decode_read_batch(message.payload))
        if outbox.replicator:
            self._events.note(self._place, "says", outbox.replicator)
            self.life.post("gateway replicator", self.life.replicator, outbox.replicator)
        if outbox.storage:
            self._events.note(self._place, "says", outbox.storage)
            self.life.post("gateway storage", self.life.storage, outbox.storage)
        for call in outbox.replies:
            self._reply(call)

    def _check_whole(self, proposal: Propose) -> None:
        """Check that a request's writes are in one proposal, if one can hold them."""
        pending = self._the_core._pending.get(proposal.number)
        if pending is None:
            return
        batch = decode_batch(proposal.payload)
        for slot, write in zip(pending.slots, batch.writes, strict=True):
            expect(write.user == slot.call.user, "a write is proposed for another user")
        proposed = {(slot.call.client[0], slot.position) for slot in pending.slots}
        for call in {id(slot.call): slot.call for slot in pending.slots}.values():
            client = call.client[0]
            writes = self._writes.get(client, [])  # none if all have their replies
            left = [each for each in writes if call.outcomes[each] is None]
            whole = all((client, each) in proposed for each in left)
            tight = self.life.setting.options.tight.batch_operations_max
            large = call.load > (tight or BATCH_OPERATIONS_MAX)
            expect(whole or large, "the writes of a request are divided over two proposals")

    def _reply(self, call: Call) -> None:
        number = int.from_bytes(call.client[0], "big")
        address, answer, _ = self._askers.pop(number)
        del self._writes[call.client[0]]
        outcomes = tuple([self._as_built(_decoded(outcome)) for outcome in call.outcomes])
        arrived, operations = self._arrived.pop(number)
        asked = list(zip(operations, outcomes, strict=True))
        self._judge.gateway_answers(arrived, self._revisions.pop(number), asked)
        indexes = self._indexes.pop(number)
        if number in self._of_former_users:
            self._of_former_users.remove(number)
            self._judge.rights.refuses(call.user, outcomes, self.life.node.applied_index)
        elif call.user:
            self._judge.rights.answers(call.user, asked, Span(*indexes, self._judge.log.last_index))
        reply = Reply(call.id, outcomes)
        self._count(call, reply)
        self._events.note(self._place, f"answers {address}", reply)
        network = self.life.setting.network
        network.send_once(self.life.node.address, address, answer, reply)

    def _as_built(self, outcome: Any) -> Any:
        """Return an outcome as the node's build states it: in a greeting, with its own level."""
        if isinstance(outcome, Welcome):
            return msgspec.structs.replace(outcome, level=self.life.level)
        return outcome

    def _count(self, call: Call, reply: Reply) -> None:
        """Let the core count unread replies; here, they are read at once."""
        budget = self._the_core.reply_budget
        counted = budget.begin_reply(
            call.client[0], len(encode(reply)), self._events.now, call.payer
        )
        assert counted is not None, "a reply is dropped though its client reads"
        if counted:
            budget.end_reply(call.client[0], counted, self._events.now)

    def _reset(self, address: str, lost: Callable[[], None]) -> None:
        network = self.life.setting.network
        if not network.is_cut(self.life.node.address, address):
            self._events.after(RESET_DELAY, lost)


def _decoded(outcome: Any) -> Any:
    """Return an outcome decoded; storage sends the outcomes of reads encoded."""
    return decode_outcome(bytes(outcome)) if isinstance(outcome, msgspec.Raw) else outcome


def _write_positions(request: Request) -> list[int]:
    places = enumerate(request.operations)
    return [place for place, operation in places if isinstance(operation, Write)]
