"""Messages: every field has a comment with its meaning."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

CARRIED = ("state/commands", "entry", "hard_state", "membership", "snapshot", "space", "status")
PROTOCOL = Path(__file__).parents[2] / "protocol"
FILES = (
    *sorted((PROTOCOL / "messages").glob("*.py")),
    *[PROTOCOL / f"{name}.py" for name in CARRIED],
)


def comments(source: str) -> set[int]:
    """Return the lines with a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}


def undescribed(source: str) -> list[str]:
    """Return the fields without a comment on their line or on the line above them."""
    described = comments(source)
    return [
        f"{struct.name}.{ast.unparse(field.target)}"
        for struct in ast.walk(ast.parse(source))
        if isinstance(struct, ast.ClassDef)
        for field in struct.body
        if isinstance(field, ast.AnnAssign)
        and not is_described(field, described, {each.end_lineno or 0 for each in struct.body})
    ]


def is_described(field: ast.AnnAssign, described: set[int], ends: set[int]) -> bool:
    above = field.lineno - 1
    return field.end_lineno in described or (above in described and above not in ends)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_field_of_a_message_has_a_comment(path: Path) -> None:
    assert undescribed(path.read_text(encoding="utf-8")) == []


def test_a_trailing_comment_describes_only_its_own_field() -> None:
    source = "class Message:\n    a: int  # a number\n    b: int\n    # A word.\n    c: str\n"
    assert undescribed(source) == ["Message.b"]
