"""Pipelines: operations that leave together, in as few requests as possible.

The operations of a pipeline take effect in the order in which they were added, each write exactly
once. They are not atomic: others may come between, and one that fails does not undo the rest.
"""

from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from protocol.client.pipeline import Pipelined
from protocol.messages.client import Outcome
from skiff import methods
from skiff.arguments import Reading
from skiff.errors import InvalidRequest, PipelineFailed, SkiffError
from skiff.methods import Method

Outcomes: TypeAlias = list[Outcome | SkiffError]


class _Operations:
    """Operations that were added, and their results once they have been done."""

    def __init__(self) -> None:
        self._methods: list[Method[Any]] = []
        self._asked: list[Pipelined] = []
        self._results: list[Any] | None = None

    def __len__(self) -> int:
        return len(self._asked)

    def __repr__(self) -> str:
        state = "to do" if self._results is None else "done"
        return f"<{type(self).__name__} of {len(self)} operations {state}>"

    @property
    def results(self) -> list[Any]:
        """The result of each operation by its position; a ``SkiffError`` where it failed.

        Raises:
            InvalidRequest: the pipeline has not run yet.
        """
        if self._results is None:
            raise InvalidRequest("the pipeline has not run yet")
        return self._results

    def insert(self, key: str, value: object, *, if_revision: int | None = None) -> Self:
        """Add a write; its result is the revision. See ``Client.insert``."""
        return self._add(methods.insert(key, value, if_revision))

    def get(
        self, key: str, type: Any = Any, *, default: Any = None, read: Reading = "linearizable"
    ) -> Self:
        """Add a read; its result is the value, or the default. See ``Client.get``."""
        return self._add(methods.get(key, type, default, read))

    def get_entry(self, key: str, type: Any = Any, *, read: Reading = "linearizable") -> Self:
        """Add a read; its result is the ``Entry``, or None. See ``Client.get_entry``."""
        return self._add(methods.get_entry(key, type, read))

    def remove(self, key: str, *, if_revision: int | None = None) -> Self:
        """Add a removal; its result is whether the key existed. See ``Client.remove``."""
        return self._add(methods.remove(key, if_revision))

    def _add(self, method: Method[Any]) -> Self:
        """Take what a method asks first; it raises here where no node would take that."""
        if self._results is not None:
            raise InvalidRequest("the pipeline has run; begin another one")
        self._asked.append(methods.only_operation(method))
        self._methods.append(method)
        return self

    def _begin(self) -> Sequence[Pipelined]:
        """Return what is to be asked, once."""
        if self._results is not None:
            raise InvalidRequest("the pipeline has run; begin another one")
        self._results = []
        return self._asked

    def _end(self, outcomes: Outcomes) -> list[Any]:
        pairs = zip(self._methods, outcomes, strict=True)
        self._results = [_result(method, outcome) for method, outcome in pairs]
        return self._results

    def _raise_failures(self) -> None:
        failures = [each for each in self.results if isinstance(each, SkiffError)]
        if failures:
            raise PipelineFailed(
                f"{len(failures)} of {len(self)} operations failed; the first: {failures[0]}",
                self.results,
            )


class Pipeline(_Operations):
    """Operations of a blocking client.

    Leaving a ``with`` block runs the pipeline, and raises ``PipelineFailed`` unless every operation
    has succeeded; ``run`` returns errors in their places instead. A block that raises runs nothing.
    """

    def __init__(self, perform: Callable[[Sequence[Pipelined]], Outcomes]) -> None:
        super().__init__()
        self._perform = perform

    def run(self) -> list[Any]:
        """Do all operations; return the result of each, a ``SkiffError`` where it failed.

        Raises:
            InvalidRequest: the pipeline has run already.
            ClientClosed: the client was closed before.
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
        if error is None and self._results is None:
            self.run()
            self._raise_failures()


class AsyncPipeline(_Operations):
    """Operations of an asyncio client; see ``Pipeline``.

    If ``run`` is cancelled, what it has begun may have been done or may be yet.
    """

    def __init__(
        self, perform: Callable[[Sequence[Pipelined]], Coroutine[Any, Any, Outcomes]]
    ) -> None:
        super().__init__()
        self._perform = perform

    async def run(self) -> list[Any]:
        """Do all operations; return the result of each, a ``SkiffError`` where it failed.

        Raises:
            InvalidRequest: the pipeline has run already.
            ClientClosed: the client was closed before.
            RequestTimeout: too many calls were in flight until the deadline; nothing was done.
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
        if error is None and self._results is None:
            await self.run()
            self._raise_failures()


def _result(method: Method[Any], outcome: Outcome | SkiffError) -> Any:
    """Return what a method makes of an outcome, or the error that it raises."""
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
