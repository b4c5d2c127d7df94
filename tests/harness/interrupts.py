"""Interrupts: an exception of a signal handler, at each place where the interpreter runs one."""

import dis
import itertools
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import protocol
import skiff

Places = tuple[str, ...]


def sources(*names: str) -> Places:
    """Return what the paths of source files begin with, from their names below the packages."""
    packages = {"skiff": skiff, "protocol": protocol}
    roots = {name: Path(str(package.__file__)).parent for name, package in packages.items()}
    split = [name.partition("/") for name in names]
    return tuple(str(roots[package] / rest) for package, _, rest in split)


@cache
def _places(code: CodeType) -> frozenset[int]:
    """Return the offsets of instructions before which the interpreter runs signal handlers.

    What a handler raises comes from the instruction before. One that ends the block of a ``try`` or
    a ``with`` is left out: the exception would seem to come from behind the block.
    """
    byte_code = dis.Bytecode(code)

    def handler(offset: int) -> list[int]:
        entries = byte_code.exception_entries  # type: ignore[attr-defined]  # since 3.11
        return [each.target for each in entries if each.start <= offset < each.end]

    return frozenset(
        after.offset
        for before, after in itertools.pairwise(byte_code)
        if (before.opname.startswith("CALL") or before.opname in ("RESUME", "JUMP_BACKWARD"))
        and handler(before.offset) == handler(after.offset)
    )


class _Interrupt:
    """Raises ``KeyboardInterrupt`` once, at one of the places that a call passes in sources."""

    def __init__(self, place: int, traced: Places) -> None:
        self._left = place
        self._traced = traced
        self.is_over = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> "_Interrupt | None":
        if not frame.f_code.co_filename.startswith(self._traced):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_lasti in _places(frame.f_code):
            self._left -= 1
            if self._left < 0 and not self.is_over:
                self.is_over = True
                raise KeyboardInterrupt
        return self


def interrupted(place: int, traced: Places, use: Callable[[], object]) -> bool:
    """Do something with an interrupt at a place; return whether it came that far."""
    interrupt = _Interrupt(place, traced)
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        with suppress(KeyboardInterrupt):
            use()
    finally:
        sys.settrace(before)
    return interrupt.is_over
