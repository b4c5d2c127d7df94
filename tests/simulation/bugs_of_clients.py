"""Bugs in sessions, retries, gateways and change streams."""

from protocol.client import calls
from protocol.client.calls import Calls
from protocol.client.exchange import Exchange
from protocol.client.multiplexer import Multiplexer
from protocol.client.session import Session
from protocol.gateway import proposals
from protocol.gateway.batching import BatchQueue
from protocol.gateway.gateway import Gateway
from protocol.gateway.pending import PendingRequest
from protocol.gateway.publisher import Publisher
from protocol.state import sessions
from protocol.state.key_value import KeyValue
from protocol.state.sessions import Sessions
from protocol.storage.writer import StorageWriter
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a write that is repeated is done again",
        "dissertation §6.3; skiff-rs",
        Edit(
            sessions.is_duplicate,
            "write.sequence < session.acknowledged or session.keeps(write.sequence)",
            "False",
        ),
    ),
    Bug(
        "a result is forgotten while its client may still ask for it",
        "dissertation §6.3",
        Edit(
            sessions.recall,
            "write.sequence < session.acknowledged",
            "write.sequence <= session.acknowledged",
        ),
    ),
    Bug(
        "the results of a session are lost in a crash",
        "dissertation §6.3",
        Edit(Sessions.find, "self._changed[number] = session", "pass"),
    ),
    Bug(
        "the earlier results of a session are lost in a crash",
        "dissertation §6.3",
        Edit(sessions.remember, "session.unsaved.add(session.newest)", "pass"),
    ),
    Bug(
        "a repeated write that the client has forgotten is done again",
        "dissertation §6.3",
        Edit(sessions.is_duplicate, "write.sequence < session.acknowledged or ", ""),
    ),
    Bug(
        "a gateway gives the answers of a batch to the wrong clients",
        "old-raft-rs #115",
        Edit(
            Gateway._on_batch_applied,
            "zip(pending.slots, message.results, strict=True)",
            "zip(pending.slots, message.results[::-1], strict=True)",
        ),
    ),
    Bug(
        "a batch of an earlier incarnation completes a request of this one",
        "old-raft-rs #115",
        Edit(Gateway.__init__, "opened.incarnation << INCARNATION_SHIFT", "0"),
        Edit(StorageWriter._report, " and outcome.incarnation == self._incarnation", ""),
    ),
    Bug(
        "a write is called undone because its last attempt was refused",
        "Raft §8; skiff-rs",
        Edit(PendingRequest.certainly_not_done, "self.sent == self.refused", "self.refused > 0"),
    ),
    Bug(
        "a condition is looked at only where the key exists",
        "the promise of conditional writes",
        Edit(
            KeyValue.insert,
            "if command.if_revision not in (None, current):",
            "if before and command.if_revision not in (None, current):",
        ),
    ),
    Bug(
        "watchers are not told that a snapshot swallowed changes",
        "etcd #15271",
        Edit(
            StorageWriter._install,
            "self._outbox.gateway.append(ChangesLost(self._machine.revision))",
            "pass",
        ),
    ),
    Bug(
        "watchers are told of a change twice",
        "etcd #17529",
        Edit(
            Publisher.publish,
            "self._add(EVENT_TOPIC + event.key.encode(), encode(body), now)",
            "for _ in range(2):\n"
            "                self._add(EVENT_TOPIC + event.key.encode(), encode(body), now)",
        ),
    ),
    Bug(
        "what a full pipe loses is not counted",
        "etcd #17529",
        Edit(Publisher.release, "self._losses += 1", "pass"),
    ),
    Bug(
        "a mark is ahead of what was published",
        "etcd #15220",
        Edit(
            Publisher.publish,
            "self._revision = events[-1].revision",
            "self._revision = events[-1].revision + 1",
        ),
    ),
    Bug(
        "removals are not published",
        "skiff-rs",
        Edit(
            KeyValue.write,
            "events.append(Event(",
            "if value is not None:\n            events.append(Event(",
        ),
    ),
    Bug(
        "a retry of a write takes a new sequence",
        "Raft §8",
        Edit(
            Exchange._take_loss,
            "each.maybe_done |= result.sent",
            "each.maybe_done |= result.sent\n"
            "            if each.writes and result.sent:\n"
            "                number, structs = each.operation.sequence + 1, msgspec.structs\n"
            "                each.operation = structs.replace(each.operation, sequence=number)",
        ),
    ),
    Bug(
        "a client takes a lost write for one that was not done",
        "exactly-once of retries",
        Edit(Exchange._take_loss, "each.maybe_done |= result.sent", "pass"),
    ),
    Bug(
        "a client forgets an outcome that a node did not know",
        "exactly-once of retries",
        Edit(
            Exchange._judge_failures,
            "each.maybe_done |= each.refusal.code is FailureCode.UNKNOWN",
            "pass",
        ),
    ),
    Bug(
        "two writes of a session take one sequence",
        "dissertation §6.3",
        Edit(Session.begin_writes, "self.next = sequences.stop", "pass"),
    ),
    Bug(
        "a session is used again after it expired",
        "dissertation §6.3",
        Edit(
            Calls._write_once,
            "if has_expired and self.session is session:",
            "if False:",
        ),
    ),
    Bug(
        "a write that may be done is repeated in a new session",
        "dissertation §6.3",
        Edit(calls._certainly_not_done, " and not ending.maybe_done", ""),
    ),
    Bug(
        "a client numbers more writes than a session remembers",
        "dissertation §6.3",
        Edit(
            Session.has_room,
            "self.next + count - self._lowest <= UNACKNOWLEDGED_MAX",
            "True",
        ),
    ),
    Bug(
        "a session that one write blocks begins again with its first sequence",
        "dissertation §6.3",
        Edit(
            Calls._await_session,
            "self.session = None",
            "self.session = Session(self.session.number)",
        ),
    ),
    Bug(
        "a pipeline is sent in another order",
        "the promise of pipelines",
        Edit(
            Calls._write_in,
            "self._ask_at_once(link, writes, attempts)",
            "self._ask_at_once(link, writes[::-1], attempts)",
        ),
    ),
    Bug(
        "a gateway does a removal although it refuses an insert before it",
        "the promise of pipelines",
        Edit(proposals._by_growth, "slot.call is refused_call or ", ""),
    ),
    Bug(
        "a gateway divides a request over two entries of the log",
        "the promise of pipelines",
        Edit(
            BatchQueue._first_part,
            "part and _is_too_much(size + more, 0 if fits else load + operations)",
            "part",
        ),
    ),
    Bug(
        "a gateway divides a request for the keys that it removes unnamed",
        "the promise of pipelines",
        Edit(BatchQueue._first_part, "0 if fits else load + operations", "load + operations"),
    ),
    Bug(
        "a client takes the answers of a request one place further on",
        "the promise of pipelines",
        Edit(
            Calls._endings,
            "zip(outcomes, writes, strict=True)",
            "zip((*outcomes[1:], outcomes[0]), writes, strict=True)",
        ),
    ),
    Bug(
        "a client takes the answers of another attempt one place further on",
        "the promise of pipelines",
        Edit(
            Exchange._judge,
            "zip(pending, outcomes, strict=True)",
            "zip(pending, (*outcomes[1:], outcomes[0]), strict=True)",
        ),
    ),
    Bug(
        "the outcomes of a shared frame go to the wrong calls",
        "the promise of concurrent calls",
        Edit(
            Multiplexer._share_out,
            "own = outcomes[begin:end]",
            "own = (*outcomes[1:], outcomes[0])[begin:end]",
        ),
    ),
    Bug(
        "the outcomes of a cancelled call go to the next one of its frame",
        "the promise of concurrent calls",
        Edit(
            Multiplexer._share_out,
            "for waiting in group:",
            "for waiting in [each for each in group if not each.is_over]:",
        ),
    ),
    Bug(
        "the writes of a lost connection count as not sent",
        "exactly-once of retries",
        Edit(Multiplexer.expire, "Lost(sent=True)", "Lost(sent=False)"),
    ),
    Bug(
        "two frames of a connection have the same number",
        "the promise of concurrent calls",
        Edit(Multiplexer._divide, "next(self._numbers)", "1"),
    ),
)
