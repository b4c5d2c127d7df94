"""Rights judge: what users are shown and denied, by the rights at each index of the log."""

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from protocol.messages.client import (
    Failed,
    Get,
    GetMany,
    KeepAlive,
    KeptAlive,
    ListKeys,
    ListPrefixes,
    ModalRead,
    Operation,
    ReadBatch,
    ReadChanges,
    Scan,
)
from protocol.messages.rights import CheckRight, ListUsers, WhoAmI
from protocol.state.user_commands import Denied, Right
from tests.harness.breach import expect
from tests.harness.rights import Need, covers
from tests.simulation.model import Model
from tests.simulation.rights_model import RightsModel
from tests.simulation.totals import Totals


class Span(NamedTuple):
    """The indexes between which a request was served."""

    applied: int  # by the node, when the request arrived
    committed: int  # when it arrived
    last: int  # when it was answered


class RightsJudge:
    """The rights after each entry that has changed them."""

    def __init__(self, model: Model, totals: Totals) -> None:
        self._model = model
        self._totals = totals
        self._indexes = [0]
        self._rights = [RightsModel()]
        self._revision_indexes: list[int] = []  # of the entries of each revision

    def committed(self, index: int) -> None:
        """Note the rights after an entry."""
        changed = self._model.take_changed_rights()
        if changed is not None:
            self._indexes.append(index)
            self._rights.append(changed)
        more = self._model.revision - len(self._revision_indexes)
        self._revision_indexes += [index] * more

    def answers(self, user: bytes, asked: list[tuple[Operation, object]], span: Span) -> None:
        """Check the outcomes of a user's reads."""
        for operation, outcome in asked:
            needs = _needs_of(operation)
            if needs is None or isinstance(outcome, Failed):
                continue
            if isinstance(outcome, Denied):
                self._totals.reads_denied += 1
                throughout = self._between(span.committed, span.last)
                allowed = all(_has(rights, user, needs) for rights in throughout)
                own = self._owns_all(user, operation, throughout)
                expect(not (allowed and own), "a user is denied what it may read throughout")
            else:
                since = span.applied if _is_local(operation) else span.committed
                states = self._between(since, span.last)
                allowed = any(_has(rights, user, needs) for rights in states)
                expect(allowed, "a user is shown what it may not read")
                self._check_leases(user, operation, outcome, states)

    def refuses(self, user: bytes, outcomes: tuple[object, ...], applied: int) -> None:
        """Check that a node denies everything only to a key of which it has applied the removal."""
        known = [rights.grants_of(user) is not None for rights in self._between(0, applied)]
        is_removed = any(before and not after for before, after in pairwise(known))
        expect(is_removed, "a user is denied everything that was not removed")
        are_denied = all(isinstance(each, Denied | Failed) for each in outcomes)
        expect(are_denied, "a user is served that was removed")
        self._totals.former_users_denied += 1

    def counts(self, batch: ReadBatch) -> None:
        """Check that the leader lets leases last anew only for users that may ever use them."""
        for operation, user in zip(batch.operations, batch.users, strict=False):
            if user and isinstance(operation, KeepAlive):
                may_use_all = any(_has(each, user, [(Right.WRITE, "")]) for each in self._rights)
                expect(
                    may_use_all or self._has_owned_all(user, operation),
                    "a user lets another's lease last anew",
                )

    def delivers(self, user: bytes, prefix: str, revision: int) -> None:
        """Check that a user may watch a change under a prefix that it is sent."""
        since = self._revision_indexes[revision - 1]
        states = self._between(since, 1 << 62)
        allowed = any(_has(rights, user, [(Right.WATCH, prefix)]) for rights in states)
        expect(allowed, "a user is sent a change that it may not watch")

    def _between(self, first: int, last: int) -> list[RightsModel]:
        """Return the rights that were in force from one index to another."""
        begin = bisect_right(self._indexes, first) - 1
        return self._rights[begin : max(begin + 1, bisect_right(self._indexes, last))]

    def _owns_all(self, user: bytes, operation: Operation, states: list[RightsModel]) -> bool:
        """Whether the leases that an operation names are the user's throughout."""
        if not isinstance(operation, KeepAlive):
            return True
        owners = {rights.owner(user) for rights in states}
        return all({self._model.lease_owners.get(each)} == owners for each in operation.leases)

    def _has_owned_all(self, user: bytes, operation: KeepAlive) -> bool:
        """Whether the leases that are left of those named were ever the user's."""
        owners = {rights.owner(user) for rights in self._rights}
        left = [each for each in operation.leases if each in self._model.leases.ttls]
        return all(self._model.lease_owners.get(each) in owners for each in left)

    def _check_leases(
        self, user: bytes, operation: Operation, outcome: object, states: list[RightsModel]
    ) -> None:
        if not isinstance(operation, KeepAlive) or not isinstance(outcome, KeptAlive):
            return
        may_use_all = any(_has(rights, user, [(Right.WRITE, "")]) for rights in states)
        owners = {rights.owner(user) for rights in states}
        for lease, ttl_ms in zip(operation.leases, outcome.ttls_ms, strict=True):
            is_own = self._model.lease_owners.get(lease) in owners
            expect(not ttl_ms or is_own or may_use_all, "a user keeps another's lease alive")


def _has(rights: RightsModel, user: bytes, needs: list[Need]) -> bool:
    grants = rights.grants_of(user)
    return grants is not None and all(covers(grants, *need) for need in needs)


def _is_local(operation: Operation) -> bool:
    """Whether a node may serve a read from its own state."""
    if isinstance(operation, Scan) and operation.revision:
        return True
    is_loose = isinstance(operation, ModalRead) and bool(operation.max_staleness_ms)
    return is_loose or isinstance(operation, ReadChanges)


def _needs_of(operation: Operation) -> list[Need] | None:
    """Return the rights that a read needs; None for other operations."""
    needs: list[Need] | None = None
    match operation:
        case Get(key=key):
            needs = [(Right.READ, key)]
        case GetMany(keys=keys):
            needs = [(Right.READ, key) for key in keys]
        case ListKeys(prefix=prefix) | ListPrefixes(prefix=prefix) | Scan(prefix=prefix):
            needs = [(Right.READ, prefix)]
        case ReadChanges(prefix=prefix):
            needs = [(Right.WATCH, prefix)]
        case ListUsers():
            needs = [(Right.USERS, "")]
        case CheckRight(right=right, prefix=prefix):
            needs = [] if right is None else [(right, prefix)]
        case KeepAlive() | WhoAmI():
            needs = []
    return needs
