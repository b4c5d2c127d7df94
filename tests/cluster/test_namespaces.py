"""Namespaces: the keys under a prefix as a mapping, and for an event loop."""

import asyncio
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skiff import AsyncClient, Client, DeserializeFailed, InvalidRequest, Namespace
from skiff.testing import Cluster

pytestmark = pytest.mark.cluster

SECONDS = 20.0


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Namespace[int]]:
    """A namespace of a client of all nodes; its neighbours keep their keys."""
    with cluster.client(timeout=SECONDS) as client:
        client.insert("apps/1", "neighbour")
        client.insert("app", "parent")
        yield client.namespace("app/", int)
        client.remove_prefix("app/")
        assert client.get_many(["apps/1", "app"]) == {"apps/1": "neighbour", "app": "parent"}


def test_it_behaves_as_a_mapping(space: Namespace[int]) -> None:
    assert isinstance(space, MutableMapping)
    assert (len(space), bool(space), dict(space), list(space)) == (0, False, {}, [])
    space["b"] = 2
    space["a/x"] = 1
    assert (space["b"], "b" in space, "c" in space) == (2, True, False)
    assert 5 not in space  # type: ignore[comparison-overlap]
    assert (list(space), list(space.values())) == (["a/x", "b"], [1, 2])
    assert (2 in space.values(), 3 in space.values()) == (True, False)
    assert dict(space.items()) == dict(space) == {"a/x": 1, "b": 2}
    assert (space.get("b"), space.get("c"), space.get("c", 7)) == (2, None, 7)
    del space["b"]
    assert (len(space), bool(space), space == {"a/x": 1}) == (1, True, True)


def test_a_missing_name_is_a_key_error(space: Namespace[int]) -> None:
    with pytest.raises(KeyError, match="'none'"):
        space["none"]
    with pytest.raises(KeyError, match="'none'"):
        del space["none"]
    with pytest.raises(KeyError, match="'none'"):
        space.pop("none")
    with pytest.raises(KeyError, match="no key begins with 'app/'"):
        space.popitem()


def test_what_cannot_be_a_name_is_not_in_it(cluster: Cluster) -> None:
    with cluster.client(timeout=SECONDS) as client:
        assert "" not in client.namespace("")
        assert "x" * 5000 not in client.namespace("app/")


def test_values_larger_than_a_transaction_reads_are_popped(cluster: Cluster) -> None:
    large = bytes(100_000)
    with cluster.client(timeout=SECONDS) as client:
        space = client.namespace("large/", bytes)
        space.update({"a": large, "b": large})
        assert (space.pop("b"), space.popitem(), len(space)) == (large, ("a", large), 0)


def test_names_are_popped_defaulted_updated_and_cleared(space: Namespace[int]) -> None:
    space.update({"b": 2, "a": 1}, c=3)
    assert (space.pop("c"), space.pop("c", None)) == (3, None)
    assert (space.setdefault("b", 9), space.setdefault("d", 4)) == (2, 4)
    assert (space.popitem(), dict(space)) == (("a", 1), {"b": 2, "d": 4})
    space.update([("e", 5)])
    space.update()
    assert len(space) == 3
    space.clear()
    assert len(space) == 0


def test_a_namespace_within_a_namespace_has_the_rest_of_the_prefix(
    space: Namespace[int], cluster: Cluster
) -> None:
    space.namespace("x/")["y"] = 1
    assert dict(space) == {"x/y": 1}
    with Client(cluster.addresses, timeout=SECONDS) as client:
        assert client.namespace("").get("app/x/y") == 1
        assert client.namespace("/").get("app/x/y") == 1


@pytest.mark.parametrize("name", ["", "a\0", "x" * 5000, 5, None, b"b"])
def test_an_invalid_name_is_refused(cluster: Cluster, name: object) -> None:
    with cluster.client(timeout=SECONDS) as client, pytest.raises(InvalidRequest):
        client.namespace("")[name] = 1  # type: ignore[index]


def test_an_invalid_prefix_or_type_is_refused(cluster: Cluster) -> None:
    with cluster.client(timeout=SECONDS) as client:
        invalid: list[tuple[Any, Any]] = [("a\0", int), (5, int), ("a", "no type")]
        for prefix, type_ in invalid:
            with pytest.raises(InvalidRequest):
                client.namespace(prefix, type_)


def test_a_value_of_another_type_is_named(space: Namespace[int]) -> None:
    space["a"] = "text"  # type: ignore[assignment]
    with pytest.raises(DeserializeFailed, match="'app/a' is not of type int"):
        space["a"]


def test_of_many_defaults_one_counts(space: Namespace[int]) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: space.setdefault("leader", number), range(8)))
    assert len(set(found)) == 1


def test_items_are_popped_by_one_thread_each(space: Namespace[int]) -> None:
    space.update({f"{number:02}": number for number in range(24)})

    def pop_all(_: int) -> list[int]:
        popped = []
        while True:
            try:
                popped.append(space.popitem()[1])
            except KeyError:
                return popped

    with ThreadPoolExecutor(4) as threads:
        popped = [each for part in threads.map(pop_all, range(4)) for each in part]
    assert sorted(popped) == list(range(24))


def test_an_event_loop_has_the_same_by_methods(cluster: Cluster) -> None:
    async def use() -> None:
        async with AsyncClient(cluster.addresses, timeout=SECONDS) as client:
            space = client.namespace("loop/", int)
            await space.update({"b": 2}, a=1)
            assert [name async for name in space] == ["a", "b"]
            assert [item async for item in space.items()] == [("a", 1), ("b", 2)]
            assert await space.insert("c", 3) > 0
            assert (await space.get("c"), await space.get("d", 0), await space.count()) == (3, 0, 3)
            assert (await space.contains("c"), await space.contains("d")) == (True, False)
            assert (await space.remove("c"), await space.remove("c")) == (True, False)
            assert (await space.pop("b"), await space.pop("b", 7)) == (2, 7)
            assert (await space.setdefault("a", 9), await space.setdefault("e", 5)) == (1, 5)
            await client.insert("loop/text", "text")
            with pytest.raises(DeserializeFailed):
                await space.pop("text")
            assert await client.get("loop/text") == "text"
            large = client.namespace("loop/", bytes)
            await large.insert("text", bytes(100_000))
            assert await large.pop("text") == bytes(100_000)
            await space.namespace("x/").insert("y", 6)
            assert await space.get("x/y") == 6
            assert (await space.clear(), await space.count()) == (3, 0)

    asyncio.run(use())
