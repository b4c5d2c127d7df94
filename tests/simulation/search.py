"""Linearizability by search for an order of a key's operations that explains all outcomes.

The algorithm of Wing and Gong with Lowe's cache of tried states, for each key on its own. It
compares values only: revisions serve as hints for the order of trials, and prove nothing.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.state.commands import Found, Inserted, Missing, Removed, RevisionMismatch
from tests.harness.breach import Breach
from tests.simulation.history import Kind, Operation
from tests.simulation.parts import counters_of, parts_of, prefixes_of

STEPS_MAX = 300_000  # for one key; beyond it is undecided, and counted in the totals
ENDLESS = 1 << 62

State = bytes | None  # the value of the key


class Undecided(Breach):
    """The search took too many steps."""


class Unexplained(Breach):
    """No order of the operations explains all outcomes."""


class Attempt(msgspec.Struct):
    """An operation in the search, with its revisions translated to values."""

    operation: Operation
    ended: int
    bit: int = 0
    required: State = None  # the value that its condition requires
    is_required_known: bool = True
    current: State = None  # the value of the revision in a mismatch
    is_current_known: bool = False
    hint: int = 0  # a place by the outcome's revision, to try first


class Frame(msgspec.Struct):
    """One step of the search: the candidates for the next operation, and those tried."""

    state: State
    done: int
    candidates: list[tuple[Attempt, State]]
    tried: int = 0


def check_by_search(operations: list[Operation], steps_max: int = STEPS_MAX) -> None:
    """Raise a breach if the outcomes on a key cannot be explained.

    Keys that are incremented, or removed by a prefix, are left to the check by revision.
    """
    by_key: dict[str, list[Operation]] = {}
    prefixes = [prefix for each in operations for prefix in prefixes_of(each)]
    counters = {key for each in operations for key in counters_of(each)}
    for operation in (part for each in operations for part in parts_of(each)):
        known = operation.is_write or operation.outcome is not None
        if known and operation.key not in counters and not _is_under(operation.key, prefixes):
            by_key.setdefault(operation.key, []).append(operation)
    for key, its in by_key.items():
        its.sort(key=_begun)
        if not _is_explained(key, its, steps_max):
            raise Unexplained(f"no order of the operations on {key} explains their outcomes")


def _is_explained(key: str, operations: list[Operation], steps_max: int) -> bool:
    """Search sparingly first; that a sparing search finds nothing proves nothing."""
    try:
        if _Search(key, operations, steps_max, sparing=True).succeeds():
            return True
    except Undecided:
        pass
    return _Search(key, operations, steps_max, sparing=False).succeeds()


def _is_under(key: str, prefixes: Iterable[str]) -> bool:
    """Whether a removal by prefix may have concerned a key, at a moment that is unknown."""
    return any(key.startswith("" if prefix == "/" else prefix) for prefix in prefixes)


class _Search:
    """The search for one key.

    With ``sparing``, a write without an outcome is tried only if an outcome would be wrong
    without it. That explains nearly every history at once, and refutes none.
    """

    def __init__(
        self, key: str, operations: list[Operation], steps_max: int, *, sparing: bool
    ) -> None:
        values = _values_by_revision(operations)
        attempts = [_attempt(each, values) for each in operations]
        self._key = key
        self._steps_left = steps_max
        self._sparing = sparing
        self._certain = [each for each in attempts if each.ended < ENDLESS]
        self._lost = [each for each in attempts if each.ended == ENDLESS]
        for position, attempt in enumerate(self._certain + self._lost):
            attempt.bit = 1 << position
        self._must = (1 << len(self._certain)) - 1
        self._seen: set[tuple[int, State]] = set()

    def succeeds(self) -> bool:
        """Try the possible orders, depth first, until one explains everything."""
        stack = [self._frame(0, None)]
        while stack:
            frame = stack[-1]
            if frame.done & self._must == self._must:
                return True
            if frame.tried == len(frame.candidates):
                stack.pop()
                continue
            attempt, state = frame.candidates[frame.tried]
            frame.tried += 1
            self._count()
            done = frame.done | attempt.bit
            if (done, state) not in self._seen:
                self._seen.add((done, state))
                stack.append(self._frame(done, state))
        return False

    def _count(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise Undecided(f"the operations on {self._key} need too long a search")

    def _frame(self, done: int, state: State) -> Frame:
        """Collect the candidates: all operations that began before any other has ended."""
        possible: list[Attempt] = []
        first_end = ENDLESS
        for attempt in self._certain[_first_undone(done) :]:
            if attempt.operation.begun > first_end:
                break
            if not done & attempt.bit:
                first_end = min(first_end, attempt.ended)
                possible.append(attempt)
        fitting: list[tuple[Attempt, State]] = []
        failing: list[Attempt] = []
        for attempt in possible:
            after = _after(attempt, state)
            if after is False:
                failing.append(attempt)
            elif after == state:
                # An operation that fits and changes nothing may always come first.
                return Frame(state, done, [(attempt, after)])
            else:
                fitting.append((attempt, after))
        if failing or not self._sparing:
            fitting += self._lost_writes(done, state, first_end, failing)
        fitting.sort(key=_hint)
        return Frame(state, done, fitting)

    def _lost_writes(
        self, done: int, state: State, first_end: int, failing: list[Attempt]
    ) -> list[tuple[Attempt, State]]:
        """Return the writes without an outcome that may come next and are worth trying."""
        possible: list[tuple[Attempt, State]] = []
        for attempt in self._lost:
            if attempt.operation.begun > first_end:
                break
            after = _after(attempt, state)
            if not done & attempt.bit and after != state:
                possible.append((attempt, after))
        if not self._sparing:
            return possible
        # A write that makes an outcome right belongs right before it.
        for attempt, after in possible:
            mended = [each.hint for each in failing if _after(each, after) is not False]
            attempt.hint = min(mended, default=0)
        helping = [each for each in possible if each[0].hint]
        return helping or [each for each in possible if self._prepares(each, done, failing)]

    def _prepares(self, write: tuple[Attempt, State], done: int, failing: list[Attempt]) -> bool:
        """Return whether a further conditional write without an outcome helps after this one."""
        attempt, state = write
        return any(
            _mends(_after(other, state), failing)
            for other in self._lost
            if other.operation.if_revision is not None
            and other is not attempt
            and not done & other.bit
        )


def _mends(state: State, failing: list[Attempt]) -> bool:
    return any(_after(each, state) is not False for each in failing)


def _first_undone(done: int) -> int:
    """Return the position of the lowest bit that is not set."""
    return (~done & (done + 1)).bit_length() - 1


def _values_by_revision(operations: list[Operation]) -> dict[int, bytes]:
    """Return the value of each revision that the outcomes reveal."""
    values: dict[int, bytes] = {}
    for operation in operations:
        match operation.outcome:
            case Inserted(revision=revision):
                values[revision] = operation.value
            case Found(mod_revision=revision, value=value):
                values[revision] = value
    return values


def _hint(candidate: tuple[Attempt, State]) -> int:
    return candidate[0].hint


def _begun(operation: Operation) -> int:
    return operation.begun


def _attempt(operation: Operation, values: dict[int, bytes]) -> Attempt:
    ended = ENDLESS if operation.ended is None else operation.ended
    attempt = Attempt(operation, ended)
    if operation.if_revision:
        attempt.required = values.get(operation.if_revision)
        attempt.is_required_known = operation.if_revision in values
    match operation.outcome:
        case Inserted(revision=revision) | Removed(revision=revision):
            attempt.hint = 2 * revision
        case Found(mod_revision=revision) | Missing(revision=revision):
            attempt.hint = 2 * revision + 1
        case RevisionMismatch(current=current):
            attempt.hint = 2 * current + 1 if current else ENDLESS  # absent: at any revision
            attempt.current = values.get(current)
            attempt.is_current_known = current == 0 or current in values
    return attempt


def _after(attempt: Attempt, state: State) -> Any:
    """Return the value after an operation, or False if its outcome would be wrong."""
    operation = attempt.operation
    fits = _condition(attempt, state)
    match operation.outcome:
        case Found(value=value):
            return state if state == value else False
        case Missing():
            return state if state is None else False
        case RevisionMismatch():
            refused = fits is not True and (
                not attempt.is_current_known or state == attempt.current
            )
            return state if refused else False
        case Removed(existed=existed):
            return None if existed == (state is not None) and fits is not False else False
        case Inserted():
            return operation.value if fits is not False else False
        case _:
            return _after_lost(operation, state, fits=fits)


def _after_lost(operation: Operation, state: State, *, fits: bool | None) -> State:
    """Return the value after a write without an outcome; unchanged if its condition is not met."""
    if fits is False:
        return state
    return operation.value if operation.kind is Kind.INSERT else None


def _condition(attempt: Attempt, state: State) -> bool | None:
    """Return whether the condition is met; None if the value of its revision is unknown."""
    if attempt.operation.if_revision is None:
        return True
    if not attempt.is_required_known:
        return None if state is not None else False
    return state == attempt.required
