"""InALoop: an asyncio object as a blocking one, so that one test serves both clients."""

import asyncio
import inspect
import threading
from typing import Any, Self


class Loop:
    """An event loop that runs in a thread of its own until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class InALoop:
    """An object of skiff whose methods run in a loop; what they return is wrapped as well."""

    def __init__(self, wrapped: Any, loop: Loop) -> None:
        self._wrapped = wrapped
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._wrapped)

    @property
    def fence(self) -> Any:
        return self._wrapped.fence

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._called(found) if callable(found) else self._result(found)

    def __enter__(self) -> Self:
        self._loop.run(self._wrapped.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.run(self._wrapped.__aexit__(*error))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._result(self._loop.run(anext(self._wrapped)))
        except StopAsyncIteration:
            raise StopIteration from None

    def _called(self, method: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            plain = [each._wrapped if isinstance(each, InALoop) else each for each in given]
            result = method(*plain, **named)
            if inspect.iscoroutine(result):
                result = self._loop.run(result)
            return self._result(result)

        return call

    def _result(self, result: Any) -> Any:
        is_ours = type(result).__name__.startswith("Async") or inspect.isasyncgen(result)
        if result is self._wrapped:
            return self
        return InALoop(result, self._loop) if is_ours else result
