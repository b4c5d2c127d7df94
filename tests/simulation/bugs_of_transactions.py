"""Bugs in transactions, increments and the changes that they publish."""

from protocol.client.watch import Watch
from protocol.state import transactions
from protocol.state.key_value import KeyValue
from protocol.state.transactions import _Draft
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a transaction is applied in part",
        "the promise of transactions",
        Edit(_Draft.commit, "enumerate(self._writes)", "enumerate(self._writes[:2])"),
    ),
    Bug(
        "the checks of a transaction do not count",
        "the promise of transactions",
        Edit(
            transactions.transact,
            "_holds(check, store.read(check.key.encode()))",
            "True",
        ),
    ),
    Bug(
        "a transaction checks its keys for existence only",
        "the promise of transactions",
        Edit(transactions._holds, "check.revision in (None, row.revision)", "True"),
    ),
    Bug(
        "each write of a transaction has a revision of its own",
        "etcd #1163",
        Edit(
            _Draft.commit,
            "in enumerate(self._writes):",
            "in enumerate(self._writes):\n            self._store.revision += position > 0",
        ),
    ),
    Bug(
        "the changes of a transaction have no positions",
        "the promise of watches",
        Edit(
            KeyValue.write,
            "Event(self.revision, name, value, previous, position, prev_value)",
            "Event(self.revision, name, value, previous, 0, prev_value)",
        ),
    ),
    Bug(
        "a watcher drops all but the first change of a revision",
        "the promise of watches",
        Edit(
            Watch.take, "(revision, position) <= self._place:", "revision <= self._place.revision:"
        ),
    ),
    Bug(
        "an operation that cannot be performed leaves the writes before it",
        "the promise of transactions",
        Edit(
            transactions._perform,
            "return stopped.result",
            "draft.commit(events)\n        return stopped.result",
        ),
    ),
    Bug(
        "an increment of text counts from 0",
        "the promise of increments",
        Edit(
            transactions._Draft._increment,
            "total, encoded = add(None if before is None else before.value, by)",
            "total, encoded = add(None, by)",
        ),
    ),
    Bug(
        "a removal by prefix leaves its last key",
        "the promise of transactions",
        Edit(
            _Draft._names_under,
            "keys = {*stored,",
            "keys = {*stored[:-1],",
        ),
    ),
)
