"""Keys: validity, paths, and prefixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.keys import (
    KEY_BYTES_MAX,
    InvalidKey,
    encode_key,
    encode_prefix,
    parent_of,
)

valid_keys = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40
)


@pytest.mark.parametrize(
    "key", ["a", "/", "a/b", "a//b", "/a/", " ", "ключ", "🜁", "\x01", "a" * 4096]
)
def test_any_text_without_nul_is_a_valid_key(key: str) -> None:
    assert encode_key(key) == key.encode()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "\0",
        "a\0b",
        "\ud800",
        "a" * (KEY_BYTES_MAX + 1),
        "é" * KEY_BYTES_MAX,
        None,
        7,
        b"a",
        ["a"],
    ],
    ids=ascii,
)
def test_any_other_value_is_refused_as_a_key(key: object) -> None:
    with pytest.raises(InvalidKey):
        encode_key(key)


def test_the_length_of_a_key_is_counted_in_bytes() -> None:
    assert len(encode_key("é" * (KEY_BYTES_MAX // 2))) == KEY_BYTES_MAX


@given(st.lists(valid_keys))
def test_keys_sort_alike_as_text_and_as_bytes(keys: list[str]) -> None:
    assert sorted(keys) == [each.decode() for each in sorted(map(encode_key, keys))]


@pytest.mark.parametrize("prefix", ["", "/"])
def test_the_root_covers_all_keys(prefix: str) -> None:
    assert encode_prefix(prefix) == b""


@pytest.mark.parametrize("prefix", [None, 7, b"a", "\0", "\udfff"], ids=ascii)
def test_a_prefix_that_no_key_can_have_is_refused(prefix: object) -> None:
    with pytest.raises(InvalidKey):
        encode_prefix(prefix)


@pytest.mark.parametrize(
    ("key", "parent"),
    [
        ("a", ""),
        ("a/b", "a"),
        ("a/b/c", "a/b"),
        ("/a", ""),
        ("a/", "a"),
        ("a//b", "a/"),
        ("a_b", ""),
    ],
)
def test_the_parent_of_a_key_ends_before_its_last_separator(key: str, parent: str) -> None:
    assert parent_of(key) == parent
