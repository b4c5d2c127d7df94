"""Bugs in lines, fences and queues: two holders at once, writes of stale ones, items lost."""

from protocol.client.held_lease import HeldLease
from protocol.coordination import line as lines
from protocol.coordination import queue
from protocol.coordination.line import Line
from protocol.state import transactions
from tests.simulation.bug import Bug, Edit

PROMISE = "the promise of turns"

BUGS = (
    Bug(
        "a contender has its turn one place too early",
        PROMISE,
        Edit(Line.wait_for, "surplus <= 0", "surplus <= 1"),
    ),
    Bug(
        "contenders are in the order of their keys",
        PROMISE,
        Edit(
            Line.wait_for,
            "each.create_revision < arrival",
            "each.key < key",
        ),
    ),
    Bug(
        "a contender has its turn when the one ahead of it is gone",
        PROMISE,
        Edit(lines.contend, "yield wait", "yield wait\n        return joined.revision"),
    ),
    Bug(
        "readers do not wait for writers",
        PROMISE,
        Edit(Line.wait_for, "if not self.shares(each.key)", "if False"),
    ),
    Bug(
        "a contender's key goes with no lease",
        PROMISE,
        Edit(lines.contend, "Insert(key, value, None, lease)", "Insert(key, value)"),
    ),
    Bug(
        "a token is that of the look, not of the arrival",
        PROMISE,
        Edit(
            lines.contend,
            "return joined.revision",
            "return present.revision",
        ),
    ),
    Bug(
        "a fence is not checked",
        PROMISE,
        Edit(transactions.transact, "holder is None or holder.create_revision", "fence.token"),
    ),
    Bug(
        "a fence holds although its key is gone",
        PROMISE,
        Edit(transactions.transact, "holder is None or", "holder is not None and"),
    ),
    Bug(
        "a fence stops only the operations of then",
        PROMISE,
        Edit(
            transactions.transact,
            "return Inapplicable(Obstacle.FENCED, fence.key[:DETAIL_LENGTH_MAX])",
            "command = msgspec.structs.replace(command, then=command.otherwise)",
        ),
    ),
    Bug(
        "a lease is counted on for longer than its TTL",
        PROMISE,
        Edit(HeldLease.extend, "since + ttl", "since + 2 * ttl"),
    ),
    Bug(
        "a claimed item is claimed again",
        PROMISE,
        Edit(queue.take, "Check(claim, exists=False)", "Check(claim)"),
    ),
    Bug(
        "an item that is gone is claimed",
        PROMISE,
        Edit(queue.take, "Check(item.key, exists=True)", "Check(item.key)"),
    ),
    Bug(
        "a claim goes with no lease",
        PROMISE,
        Edit(queue.take, "Insert(claim, holder, None, lease)", "Insert(claim, holder)"),
    ),
)
