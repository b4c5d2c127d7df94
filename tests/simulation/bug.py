"""Bug: a deliberate bug, planted by replacing a few words of the real code for a while."""

import inspect
import itertools
import tokenize
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, NamedTuple

LAYOUT = {
    tokenize.COMMENT,
    tokenize.NEWLINE,
    tokenize.NL,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

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
    found = _places(source, edit.words)
    name = function.__qualname__
    assert len(found) == 1, f"{name} has {edit.words!r} {len(found)} times, not once"
    ((begin, end),) = found
    # Every line keeps its number and its indent, so that what fails is shown where it stands.
    block = "if True:\n" if source[0].isspace() else "\n"
    before = "\n" * (code.co_firstlineno - 2) + block
    edited = source[:begin] + edit.instead + source[end:]
    whole = compile(before + edited, code.co_filename, "exec")
    codes = [each for each in whole.co_consts if isinstance(each, CodeType)]
    return next(each for each in codes if each.co_name == function.__name__)


def _places(source: str, words: str) -> list[tuple[int, int]]:
    """Return the places of words in source code: as tokens, across comments and line breaks.

    Docstrings and comments do not count, so that rewording them breaks no bug.
    """
    tokens, wanted = _tokens(source), [token for token, _, _ in _tokens(words)]
    count = len(wanted)
    starts = range(len(tokens) - count + 1)
    found = [each for each in starts if [it[0] for it in tokens[each : each + count]] == wanted]
    places = [(tokens[each][1], tokens[each + count - 1][2]) for each in found]
    # Spaces around the words go with them: they separate what is left.
    spaces_before = len(words) - len(words.lstrip(" "))
    spaces_after = len(words) - len(words.rstrip(" \n"))
    return [(begin - spaces_before, end + spaces_after) for begin, end in places]


def _tokens(source: str) -> list[tuple[str, int, int]]:
    """Return the tokens of code that is perhaps a part only, each with where it begins and ends."""
    lines = source.splitlines(keepends=True)
    offsets = [0, *itertools.accumulate(map(len, lines))]
    tokens: list[tuple[str, int, int]] = []
    try:
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type not in LAYOUT:
                (line, column), (last_line, last_column) = token.start, token.end
                begin, end = offsets[line - 1] + column, offsets[last_line - 1] + last_column
                tokens.append((token.string, begin, end))
    except (tokenize.TokenError, IndentationError):
        pass  # it ends within brackets, as a part may
    return tokens
