"""Pipelines: operations sent together, in as few requests as possible.

The writes of a pipeline take effect in the order in which they were added, each exactly once, and a
read sees the writes before it; reads with no write between them are served concurrently. A pipeline
is not atomic: other clients' writes may come between, and a failure undoes nothing.
"""

from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from protocol.client.pipeline import Pipelined
from protocol.messages.client import Outcome
from skiff import reads, writes
from skiff.arguments import Consistency, LeaseLike, read_mode
from skiff.bound import BoundToProcess
from skiff.errors import InvalidRequest, PipelineFailed, SkiffError
from skiff.method import Method, only_operation

Outcomes: TypeAlias = list[Outcome | SkiffError]


class _Operations(BoundToProcess):
    """The operations of a pipeline and, after it has run, their results."""

    def __init__(self) -> None:
        self._methods: list[Method[Any]] = []
        self._asked: list[Pipelined] = []
        self._has_begun = False
        self._results: list[Any] | None = None

    def __len__(self) -> int:
        return len(self._asked)

    def __repr__(self) -> str:
        state = "to do" if not self._has_begun else "begun" if self._results is None else "done"
        return f"<{type(self).__name__} of {len(self)} operations {state}>"

    @property
    def results(self) -> list[Any]:
        """The result of each operation in order; a ``SkiffError`` for one that failed.

        Raises:
            InvalidRequest: the pipeline has not run to its end.
        """
        if self._results is None:
            raise InvalidRequest("the pipeline has not run to its end")
        return self._results

    def insert(
        self,
        key: str,
        value: object,
        *,
        if_revision: int | None = None,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
    ) -> Self:
        """Add an insert; its result is the revision. See ``Client.insert``.

        Raises:
            InvalidRequest: an argument is invalid, or the pipeline has run.
            SerializeFailed: MessagePack cannot encode the value.
        """
        return self._add(writes.insert(key, value, if_revision, lease, ttl))

    def get(
        self, key: str, type: Any = Any, *, default: Any = None, read: Consistency = "linearizable"
    ) -> Self:
        """Add a read; its result is the value, or ``default``. See ``Client.get``.

        Raises:
            InvalidRequest: an argument is invalid, or the pipeline has run.
        """
        return self._add(reads.get(key, type, default, read_mode(read)))

    def get_entry(self, key: str, type: Any = Any, *, read: Consistency = "linearizable") -> Self:
        """Add a read; its result is an ``Entry``, or None. See ``Client.get_entry``.

        Raises:
            InvalidRequest: an argument is invalid, or the pipeline has run.
        """
        return self._add(reads.get_entry(key, type, read_mode(read)))

    def remove(self, key: str, *, if_revision: int | None = None) -> Self:
        """Add a removal; its result is whether the key existed. See ``Client.remove``.

        Raises:
            InvalidRequest: an argument is invalid, or the pipeline has run.
        """
        return self._add(writes.remove(key, if_revision))

    def _add(self, method: Method[Any]) -> Self:
        """Add the operation of a method; invalid arguments raise here."""
        self._check_not_begun()
        self._asked.append(only_operation(method))
        self._methods.append(method)
        return self

    def _begin(self) -> Sequence[Pipelined]:
        """Return the operations to send; a pipeline runs only once."""
        self._check_not_begun()
        self._has_begun = True
        return self._asked

    def _check_not_begun(self) -> None:
        if self._has_begun:
            raise InvalidRequest("the pipeline has run already; begin another one")

    def _end(self, outcomes: Outcomes) -> list[Any]:
        pairs = zip(self._methods, outcomes, strict=True)
        self._results = [_result(method, outcome) for method, outcome in pairs]
        return self._results

    def _raise_failures(self) -> None:
        numbered = enumerate(self.results, start=1)
        failures = [(number, each) for number, each in numbered if isinstance(each, SkiffError)]
        if failures:
            number, first = failures[0]
            raise PipelineFailed(
                f"{len(failures)} of {len(self)} operations failed; operation {number}: {first}",
                self.results,
            ) from first


class Pipeline(_Operations):
    """Pipeline of a ``Client``.

    Leaving a ``with`` block runs the pipeline, unless the block has done so, and raises
    ``PipelineFailed`` if any operation failed; ``run`` returns errors among the results instead. A
    block that raises runs nothing.
    """

    def __init__(self, perform: Callable[[Sequence[Pipelined]], Outcomes]) -> None:
        super().__init__()
        self._perform = perform

    def run(self) -> list[Any]:
        """Run all operations; return their results in order, a ``SkiffError`` for one that failed.

        Raises:
            InvalidRequest: the pipeline has run already.
            ClientClosed: the client was closed before; nothing was sent.
        """
        return self._end(self._perform(self._begin()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and not self._has_begun:
            self.run()
            self._raise_failures()


class AsyncPipeline(_Operations):
    """Pipeline of an ``AsyncClient``; see ``Pipeline``.

    If ``run`` is cancelled, its operations may have been done, or may yet be.
    """

    def __init__(
        self, perform: Callable[[Sequence[Pipelined]], Coroutine[Any, Any, Outcomes]]
    ) -> None:
        super().__init__()
        self._perform = perform

    async def run(self) -> list[Any]:
        """Run all operations; return their results in order, a ``SkiffError`` for one that failed.

        Raises:
            InvalidRequest: the pipeline has run already.
            ClientClosed: the client was closed before; nothing was sent.
            RequestTimeout: too many calls were in flight until the deadline; nothing was sent.
        """
        return self._end(await self._perform(self._begin()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and not self._has_begun:
            await self.run()
            self._raise_failures()


def _result(method: Method[Any], outcome: Outcome | SkiffError) -> Any:
    """Return the result of a method for an outcome, or the error that it raises."""
    try:
        if isinstance(outcome, SkiffError):
            method.close()
            return outcome
        method.send(outcome)
    except StopIteration as stop:
        return stop.value
    except SkiffError as error:
        return error
    raise AssertionError("a method of a pipeline asks once")
