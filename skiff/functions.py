"""Functions that a client calls: checks of what was passed, and of what it returned."""

from collections.abc import Awaitable
from inspect import (
    isasyncgen,
    isasyncgenfunction,
    isawaitable,
    iscoroutine,
    iscoroutinefunction,
    isgenerator,
    isgeneratorfunction,
)
from typing import TypeVar

from skiff.errors import InvalidRequest

ReturnT = TypeVar("ReturnT")

# Functions whose calls run none of their code.
SUSPENDED = (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)


def check_function(given: object) -> None:
    """Check whether an argument is a function, other than one of a coroutine or a generator.

    Raises:
        InvalidRequest: it is not.
    """
    if not callable(given) or any(is_of_kind(given) for is_of_kind in SUSPENDED):
        raise InvalidRequest(f"the function to call must be an ordinary function, not {given!r}")


def check_result(returned: ReturnT) -> ReturnT:
    """Return what a function returned, after a check whether it is the result itself.

    Raises:
        InvalidRequest: it must be awaited or iterated first.
    """
    if isawaitable(returned) or isgenerator(returned) or isasyncgen(returned):
        if iscoroutine(returned):
            returned.close()  # it was never begun
        raise InvalidRequest(
            "the function to call must be an ordinary function, not one that returns "
            f"{type(returned).__name__}"
        )
    return returned


def check_async_function(given: object) -> None:
    """Check whether an argument can be called, as a coroutine function is.

    Raises:
        InvalidRequest: it cannot.
    """
    if not callable(given):
        raise InvalidRequest(f"the function to call must be a coroutine function, not {given!r}")


def check_awaitable(returned: Awaitable[ReturnT]) -> Awaitable[ReturnT]:
    """Return what a function returned, after a check whether it can be awaited.

    Raises:
        InvalidRequest: it cannot.
    """
    if not isawaitable(returned):
        raise InvalidRequest(
            "the function to call must be a coroutine function, not one that returns "
            f"{type(returned).__name__}"
        )
    return returned
