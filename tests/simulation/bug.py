"""A bug that is planted on purpose: a few words of the real code put differently, for a while."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, NamedTuple

Place = Callable[..., Any] | property | cached_property[Any]


class Edit(NamedTuple):
    """The words of one function that are replaced, and by which."""

    place: Place
    words: str
    instead: str


class Bug:
    """A rule that is broken, said as a sentence, and how."""

    def __init__(self, name: str, breaks: str, *edits: Edit) -> None:
        self.name = name
        self.breaks = breaks  # the section that says otherwise, or who had this bug
        self.edits = edits

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Let the bug be there while this lasts."""
        with ExitStack() as stack:
            for edit in self.edits:
                stack.enter_context(_edited(edit))
            yield


@contextmanager
def _edited(edit: Edit) -> Iterator[None]:
    """Exchange a function's code: wherever it was imported or is held in a table, it changes."""
    function = function_at(edit.place)
    before = function.__code__
    function.__code__ = _rewritten(function, edit)
    try:
        yield
    finally:
        function.__code__ = before


def function_at(place: Place) -> FunctionType:
    """Return the function that stands at a place: itself, or what a property runs."""
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
    # Every line keeps its number and its indent, so that what fails is shown where it stands.
    block = "if True:\n" if source[0].isspace() else "\n"
    before = "\n" * (code.co_firstlineno - 2) + block
    whole = compile(before + source.replace(edit.words, edit.instead), code.co_filename, "exec")
    codes = [each for each in whole.co_consts if isinstance(each, CodeType)]
    return next(each for each in codes if each.co_name == function.__name__)
