"""Descriptions: the docstrings that an asyncio class shares with its blocking counterpart."""

import inspect
from collections.abc import Callable
from typing import TypeVar

ClassT = TypeVar("ClassT", bound=type)


def described_by(blocking: type) -> Callable[[ClassT], ClassT]:
    """Return a decorator of a class whose methods refer to those of ``blocking``.

    A docstring that ends with ``see ``Client.insert``.`` is completed by the arguments and errors
    that the docstring of ``blocking.insert`` lists after its first paragraph.
    """

    def complete(asynchronous: ClassT) -> ClassT:
        for name, method in vars(asynchronous).items():
            described = getattr(blocking, name, None)
            if f".{name}``." in (getattr(method, "__doc__", None) or ""):
                summary = inspect.getdoc(method) or ""
                _, _, details = (inspect.getdoc(described) or "").partition("\n\n")
                method.__doc__ = f"{summary}\n\n{details}".rstrip()
        return asynchronous

    return complete
