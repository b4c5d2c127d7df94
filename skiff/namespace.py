"""Namespace: the keys under a prefix as a mapping from the rest of each key to its value."""

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from protocol.keys import SEPARATOR
from skiff.arguments import LeaseLike, check_key, check_prefix, plain_text
from skiff.errors import InvalidRequest, RevisionMismatch
from skiff.records import Entry
from skiff.values import check_type

if TYPE_CHECKING:
    from skiff.client import Client

ValueT = TypeVar("ValueT")

_NO_DEFAULT: Any = object()


class KeyNames:
    """The names of keys without the prefix that they share."""

    def __init__(self, prefix: str, type_: Any) -> None:
        """Name the prefix and the type of the values.

        Raises:
            InvalidRequest: the prefix is invalid, or msgspec does not support the type.
        """
        prefix = check_prefix(prefix)
        check_type(type_)
        self.prefix = "" if prefix == SEPARATOR else prefix
        self._type = type_

    def key(self, name: object) -> str:
        """Return the key of a name.

        Raises:
            InvalidRequest: the name is no str, or the key would be invalid.
        """
        if not isinstance(name, str):
            raise InvalidRequest(f"a name is a str, not {type(name).__name__}")
        return check_key(self.prefix + plain_text(name))

    def within(self, prefix: object) -> str:
        """Return the prefix of a namespace within this one.

        Raises:
            InvalidRequest: the further prefix is no str.
        """
        if not isinstance(prefix, str):
            raise InvalidRequest(f"a prefix is a str, not {type(prefix).__name__}")
        return self.prefix + plain_text(prefix)  # type: ignore[no-any-return]

    def name(self, key: str) -> str:
        """Return the name of a key."""
        return key[len(self.prefix) :]

    def keys_of(self, other: object, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by key, from the arguments of ``update``."""
        values: dict[str, Any] = dict(other, **named)  # type: ignore[call-overload]
        return {self.key(name): value for name, value in values.items()}


class Namespace(KeyNames, MutableMapping[str, ValueT]):
    """A mapping over the keys under a prefix, in order; every use of it makes requests.

    Iteration, ``items`` and ``values`` show one revision; ``dict(it)`` reads each value on its own,
    so copy it by ``dict(it.items())``. ``pop``, ``popitem``, ``setdefault``, ``update``, of up to
    1,000 keys, and ``clear``, of up to 10,000, are atomic. The errors are those of ``Client``, and
    ``KeyError``.
    """

    def __init__(self, client: "Client", prefix: str, type_: Any) -> None:
        """Name the prefix and the type of the values.

        Raises:
            InvalidRequest: the prefix is invalid, or msgspec does not support the type.
        """
        super().__init__(prefix, type_)
        self._client = client

    def __repr__(self) -> str:
        return f"<Namespace {self.prefix!r} of {self._client!r}>"

    def __getitem__(self, name: str) -> ValueT:
        entry = self._client.get_entry(self.key(name), self._type)
        if entry is None:
            raise KeyError(name)
        value: ValueT = entry.value
        return value

    def insert(
        self,
        name: str,
        value: ValueT,
        *,
        lease: LeaseLike | int | None = None,
        ttl: float | None = None,
    ) -> int:
        """Write a value, as ``Client.insert`` does; return the revision of the write."""
        return self._client.insert(self.key(name), value, lease=lease, ttl=ttl)

    def __setitem__(self, name: str, value: ValueT) -> None:
        self._client.insert(self.key(name), value)

    def __delitem__(self, name: str) -> None:
        if not self._client.remove(self.key(name)):
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        try:
            key = self.key(name)
        except InvalidRequest:
            return False  # no key has this name
        return self._client.get_entry(key, msgspec.Raw) is not None

    def __iter__(self) -> Iterator[str]:
        for entry in self._client.scan(self.prefix, msgspec.Raw):
            yield self.name(entry.key)

    def __len__(self) -> int:
        return self._client.count(self.prefix)

    def __bool__(self) -> bool:
        return bool(self._client.list_keys(self.prefix, limit=1))

    def items(self) -> ItemsView[str, ValueT]:
        """Return a view of the names with their values; iterating it is one scan."""
        return _Items(self)

    def values(self) -> ValuesView[ValueT]:
        """Return a view of the values; iterating it is one scan."""
        return _Values(self)

    def pop(self, name: str, default: Any = _NO_DEFAULT) -> Any:
        """Remove a name and return its value, or the default.

        A value that is not of the namespace's type stays.

        Raises:
            KeyError: there is no such name, and no default.
        """
        key = self.key(name)
        while (entry := self._client.get_entry(key, self._type)) is not None:
            if self._remove(entry):
                return entry.value
        if default is _NO_DEFAULT:
            raise KeyError(name)
        return default

    def popitem(self) -> tuple[str, ValueT]:
        """Remove the first name in order; return it with its value.

        Raises:
            KeyError: there is none.
        """
        while True:
            found = next(self._client.scan(self.prefix, self._type, limit=1), None)
            if found is None:
                raise KeyError(f"no key begins with {self.prefix!r}")
            if self._remove(found):
                return self.name(found.key), found.value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, after the default was written if there was none."""
        while True:
            try:
                self._client.insert(self.key(name), default, if_revision=0)
            except RevisionMismatch:
                entry = self._client.get_entry(self.key(name), self._type)
                if entry is not None:  # not removed meanwhile
                    return entry.value
            else:
                return default

    def _remove(self, entry: Entry[ValueT]) -> bool:
        """Remove a key as it was read; return False if it has changed meanwhile."""
        try:
            return self._client.remove(entry.key, if_revision=entry.revision)
        except RevisionMismatch:
            return False

    def update(self, other: Any = (), /, **named: ValueT) -> None:
        """Write values as one change, from a mapping, pairs or named arguments."""
        values = self.keys_of(other, named)
        if values:
            self._client.insert_many(values)

    def clear(self) -> None:
        """Remove all names as one change."""
        self._client.remove_prefix(self.prefix)

    def namespace(self, prefix: str, type: Any = None) -> "Namespace[Any]":
        """Return the namespace under a further prefix."""
        return Namespace(self._client, self.within(prefix), type or self._type)

    def scan(self) -> Iterator[tuple[str, ValueT]]:
        """Yield the names with their values, at one revision."""
        for entry in self._client.scan(self.prefix, self._type):
            yield self.name(entry.key), entry.value


class _Items(ItemsView[str, ValueT]):
    _mapping: Namespace[ValueT]

    def __iter__(self) -> Iterator[tuple[str, ValueT]]:
        return self._mapping.scan()


class _Values(ValuesView[ValueT]):
    _mapping: Namespace[ValueT]

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)

    def __iter__(self) -> Iterator[ValueT]:
        return (value for _, value in self._mapping.scan())
