"""Report: the failure of a run with the command that repeats it, and the totals of many runs."""

from collections.abc import Iterable
from typing import Any

import msgspec

from tests.simulation.events import Happened
from tests.simulation.options import Options
from tests.simulation.totals import Totals

TIME_WIDTH, PLACE_WIDTH, WHAT_WIDTH, DETAIL_WIDTH = 10, 16, 24, 150
SHOWN_EVENTS = 40


def failure_report(
    options: Options, command: str, failure: str, tail: Iterable[Happened], shown: int
) -> str:
    """Return the events of a failed run as a table, under the command that repeats it."""
    rows = list(tail)[-shown:]
    lines = [
        f"seed {options.seed}: {failure}",
        f"again: {command}",
        "",
        "in trouble by:",
        *[f"  {name} = {value}" for name, value in _flat(options)],
        "",
        f"the last {len(rows)} events:",
        _row("seconds", "where", "what", "of what"),
        *[_row(f"{each.time:.6f}", each.place, each.what, shorten(each.detail)) for each in rows],
    ]
    return "\n".join(lines)


def totals_report(totals: Totals, seconds: float) -> str:
    """Return the totals of many runs."""
    width = max(map(len, Totals.__struct_fields__))
    lines = [
        f"{name.replace('_', ' '):{width}} {getattr(totals, name):>12,}"
        for name in Totals.__struct_fields__
    ]
    rate = totals.seeds / seconds if seconds else 0.0
    lines.append(f"{'seconds':{width}} {seconds:>12,.1f}")
    lines.append(f"{'seeds a second':{width}} {rate:>12,.2f}")
    return "\n".join(lines)


def shorten(detail: Any) -> str:
    """Return an event's detail shortened to one line."""
    text = _describe(detail)
    return text if len(text) <= DETAIL_WIDTH else text[: DETAIL_WIDTH - 1] + "…"


def _row(time: str, place: str, what: str, detail: str) -> str:
    columns = f"{time:>{TIME_WIDTH}}  {place:{PLACE_WIDTH}}  {what:{WHAT_WIDTH}}  {detail}"
    return columns.rstrip()


def _describe(detail: Any) -> str:
    if detail is None:
        return ""
    if isinstance(detail, tuple | list):
        return "; ".join(map(_describe, detail))
    if isinstance(detail, bytes):
        return _name(detail)
    if isinstance(detail, msgspec.Struct):
        return _describe_struct(detail)
    return str(detail)


def _describe_struct(struct: msgspec.Struct) -> str:
    fields = [
        (name, _describe(getattr(struct, name)))
        for name in struct.__struct_fields__
        if getattr(struct, name) not in (None, b"", (), False)
    ]
    inside = " ".join(f"{name}={value}" for name, value in fields)
    return f"{type(struct).__name__}({inside})"


def _name(raw: bytes) -> str:
    """Return the name of a node, or the size of encoded bytes."""
    text = raw.rstrip(b"\0")
    if len(text) <= WHAT_WIDTH and text.isascii() and text.decode().isprintable():
        return text.decode()
    return f"<{len(raw)} bytes>"


def _flat(options: Options) -> Iterable[tuple[str, Any]]:
    for name in options.__struct_fields__:
        value = getattr(options, name)
        if isinstance(value, msgspec.Struct):
            yield from ((f"{name}.{key}", getattr(value, key)) for key in value.__struct_fields__)
        else:
            yield name, value
