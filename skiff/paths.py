"""Paths: arguments that name a file or a directory, or a stream in place of a file."""

import os
from io import TextIOBase
from typing import Literal, TypeGuard

from skiff.errors import InvalidRequest, SkiffError


def is_path(given: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether an argument is a path as text, whatever is there."""
    return isinstance(given, str) or (
        isinstance(given, os.PathLike) and isinstance(os.fspath(given), str)
    )


def check_path(name: str, given: object, error: type[SkiffError]) -> None:
    """Check an argument, named as in the message, which may be a secret and is not shown.

    Raises:
        SkiffError: of the class ``error``: it is neither a str nor a Path, or no file can have it.
    """
    if not is_path(given):
        raise error(f"{name} must be a path, as a str or a Path, not {type(given).__name__}")
    try:
        has_null = b"\0" in os.fsencode(given)
    except UnicodeEncodeError:
        raise error(f"{name} must be a path, and has a character that none can have") from None
    if has_null:
        raise error(f"{name} must be a path, and has a null character")


def check_file(name: str, given: object, method: Literal["read", "write"]) -> None:
    """Check a path or a binary stream with a method, named as in the message.

    Raises:
        InvalidRequest: it is neither.
    """
    if isinstance(given, str | os.PathLike):
        check_path(name, given, InvalidRequest)
    elif not callable(getattr(given, method, None)):
        kind = type(given).__name__
        raise InvalidRequest(f"{name} must be a path or a binary stream, not {kind}")
    elif isinstance(given, TextIOBase) or isinstance(getattr(given, "encoding", None), str):
        raise InvalidRequest(f"{name} must be a binary stream, not the text stream {given!r}")
