"""Builder: the settings of a node as chained method calls."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

from protocol.config import SETTINGS
from skiff.node import Skiff, addresses_to_join

HELP = {setting.name: setting.help for setting in SETTINGS}
Method = TypeVar("Method", bound=Callable[..., "Builder"])


def _sets(*settings: str) -> Callable[[Method], Method]:
    """Give a method the help texts of its settings as its docstring."""

    def describe(method: Method) -> Method:
        method.__doc__ = "\n".join(f"``{name}``: {HELP[name]}" for name in settings)
        return method

    return describe


class Builder:
    """Collects the settings of a node in chained calls; ``build`` checks them."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings.items())
        return f"Builder({settings})"

    @_sets("dir")
    def set_dir(self, path: str | Path) -> Self:
        return self._set(dir=path)

    @_sets("bind")
    def bind(self, host: str) -> Self:
        return self._set(bind=host)

    @_sets("port")
    def port(self, port: int) -> Self:
        return self._set(port=port)

    @_sets("advertise")
    def advertise(self, address: str) -> Self:
        return self._set(advertise=address)

    @_sets("key")
    def key(self, path: str | Path) -> Self:
        return self._set(key=path)

    @_sets("insecure")
    def insecure(self) -> Self:
        return self._set(insecure=True)

    @_sets("admin_key")
    def admin_key(self, path: str | Path) -> Self:
        return self._set(admin_key=path)

    @_sets("join_cluster")
    def join_cluster(self, addresses: str | Iterable[str]) -> Self:
        return self._set(join_cluster=addresses_to_join(addresses))

    @_sets("expect")
    def expect(self, count: int) -> Self:
        return self._set(expect=count)

    @_sets("rejoin")
    def rejoin(self) -> Self:
        return self._set(rejoin=True)

    @_sets("standby")
    def standby(self) -> Self:
        return self._set(standby=True)

    @_sets("founding_ms")
    def founding_ms(self, milliseconds: int) -> Self:
        return self._set(founding_ms=milliseconds)

    @_sets("heartbeat_ms")
    def heartbeat_ms(self, milliseconds: int) -> Self:
        return self._set(heartbeat_ms=milliseconds)

    @_sets("election_timeout_min_ms", "election_timeout_max_ms")
    def election_timeout_ms(self, shortest_ms: int, longest_ms: int) -> Self:
        return self._set(election_timeout_min_ms=shortest_ms, election_timeout_max_ms=longest_ms)

    @_sets("value_bytes_max")
    def value_bytes_max(self, size_bytes: int) -> Self:
        return self._set(value_bytes_max=size_bytes)

    @_sets("log_entries_kept", "log_bytes_kept")
    def log_kept(self, entries: int, size_bytes: int) -> Self:
        return self._set(log_entries_kept=entries, log_bytes_kept=size_bytes)

    @_sets("history_changes_kept", "history_bytes_kept", "history_seconds_kept")
    def history_kept(self, changes: int, size_bytes: int, seconds: int) -> Self:
        return self._set(
            history_changes_kept=changes,
            history_bytes_kept=size_bytes,
            history_seconds_kept=seconds,
        )

    @_sets("disk_reserve_bytes")
    def disk_reserve_bytes(self, size_bytes: int) -> Self:
        return self._set(disk_reserve_bytes=size_bytes)

    @_sets("state_bytes_max")
    def state_bytes_max(self, size_bytes: int) -> Self:
        return self._set(state_bytes_max=size_bytes)

    @_sets("learners_max")
    def learners_max(self, count: int) -> Self:
        return self._set(learners_max=count)

    @_sets("user_operations_max")
    def user_operations_max(self, count: int) -> Self:
        return self._set(user_operations_max=count)

    @_sets("log_level")
    def log_level(self, level: str) -> Self:
        return self._set(log_level=level)

    @_sets("log_format")
    def log_format(self, log_format: str) -> Self:
        return self._set(log_format=log_format)

    def build(self) -> Skiff:
        """Check the settings and return the node; ``Skiff.start`` starts it.

        Raises:
            InvalidConfig: a setting is invalid; the message names it and the valid values.
        """
        return Skiff(**self._settings)

    def _set(self, **settings: object) -> Self:
        self._settings |= settings
        return self
