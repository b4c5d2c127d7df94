"""Bug: a deliberate bug, planted by replacing a few words of the real code for a while."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, NamedTuple

Place = Callable[..., Any] | property | cached_property[Any]


class Edit(NamedTuple):
    """A replacement of words within one function."""

    place: Place
    words: str
    instead: str


class Bug:
    """A deliberate bug: its name as a sentence, and its edits."""

    def __init__(self, name: str, breaks: str, *edits: Edit) -> None:
        self.name = name
        self.breaks = breaks  # the section that it violates, or a project that had it
        self.edits = edits

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Plant the bug within the context."""
        with ExitStack() as stack:
            for edit in self.edits:
                stack.enter_context(_edited(edit))
            yield


@contextmanager
def _edited(edit: Edit) -> Iterator[None]:
    """Replace a function's code object, which affects every reference to the function."""
    function = function_at(edit.place)
    before = function.__code__
    function.__code__ = _rewritten(function, edit)
    try:
        yield
    finally:
        function.__code__ = before


def function_at(place: Place) -> FunctionType:
    """Return the function of a place: the function itself, or a property's getter."""
    match place:
        case property(fget=function):
            pass
        case cached_property(func=function):
            pass
        case function:
            pass
    assert isinstance(function, FunctionType)
    return function


def _rewritten(function: FunctionType, edit: Edit) -> CodeType:
    code, source = function.__code__, inspect.getsource(function)
    found = source.count(edit.words)
    assert found == 1, f"{function.__qualname__} has {edit.words!r} {found} times, not once"
    # Lines keep their numbers and indents, so that tracebacks are right.
    block = "if True:\n" if source[0].isspace() else "\n"
    before = "\n" * (code.co_firstlineno - 2) + block
    whole = compile(before + source.replace(edit.words, edit.instead), code.co_filename, "exec")
    codes = [each for each in whole.co_consts if isinstance(each, CodeType)]
    return next(each for each in codes if each.co_name == function.__name__)
