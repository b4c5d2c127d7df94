"""Errors: they pass from process to process, as pools of processes need it."""

import copy
import pickle
from collections.abc import Callable

import msgspec
import pytest

from skiff import (
    Compacted,
    DeserializeFailed,
    Event,
    EventKind,
    NotInteger,
    Overloaded,
    PermissionDenied,
    PipelineFailed,
    RevisionMismatch,
    SkiffError,
    errors,
)

CLASSES = sorted(
    (
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, SkiffError)
    ),
    key=lambda each: each.__name__,
)
NOT_STORED = DeserializeFailed("the value is no int", b"\xa1a")
NOT_STORED.event = Event(EventKind.INSERT, "key", msgspec.Raw(b"\xa1a"), 5, 0)
WITH_MORE = [
    RevisionMismatch("has revision 5", 5),
    Compacted("kept after 7", 7),
    PermissionDenied("the right is missing", "read", "a/"),
    Overloaded("too many", 1.5),
    PipelineFailed("2 of 3 failed", [1, {"a": 2}, "text"]),
    NOT_STORED,
]


def by_pickle(error: SkiffError) -> SkiffError:
    copied: SkiffError = pickle.loads(pickle.dumps(error))
    return copied


@pytest.mark.parametrize("copied", [by_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    "error", [*(each("why") for each in CLASSES), *WITH_MORE], ids=lambda each: type(each).__name__
)
def test_a_copy_of_an_error_tells_the_same(
    error: SkiffError, copied: Callable[[SkiffError], SkiffError]
) -> None:
    again = copied(error)
    assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("copied", [by_pickle, copy.copy])
def test_a_copy_of_a_failed_pipeline_has_the_errors_of_its_operations(
    copied: Callable[[SkiffError], SkiffError],
) -> None:
    error = PipelineFailed("1 of 2 failed", [1, NotInteger("'a' holds no integer")])
    again = copied(error)
    assert isinstance(again, PipelineFailed)
    assert [(type(each), str(each)) for each in again.results] == [
        (int, "1"),
        (NotInteger, "'a' holds no integer"),
    ]
