"""The settings of a node: from the command line and its environment, else from a file."""

from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from skiff.errors import InvalidConfig


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may stand in the file, under the names of the options; what is not set is UNSET."""

    dir: str | UnsetType = UNSET
    bind: str | UnsetType = UNSET
    port: int | UnsetType = UNSET
    advertise: str | UnsetType = UNSET
    join: list[str] | str | UnsetType = UNSET
    expect: int | UnsetType = UNSET
    rejoin: bool | UnsetType = UNSET
    standby: bool | UnsetType = UNSET
    founding_ms: int | UnsetType = UNSET
    heartbeat_ms: int | UnsetType = UNSET
    election_timeout_min_ms: int | UnsetType = UNSET
    election_timeout_max_ms: int | UnsetType = UNSET
    value_bytes_max: int | UnsetType = UNSET
    log_entries_kept: int | UnsetType = UNSET
    log_bytes_kept: int | UnsetType = UNSET
    disk_reserve_bytes: int | UnsetType = UNSET
    state_bytes_max: int | UnsetType = UNSET
    learners_max: int | UnsetType = UNSET
    log_level: str | UnsetType = UNSET
    log_format: str | UnsetType = UNSET
    trace: bool | UnsetType = UNSET


Values = dict[str, str | int | bool | list[str]]


def read_file(path: Path) -> Values:
    """Return the settings that stand in a TOML file.

    Raises:
        InvalidConfig: it cannot be read, or holds what is no setting.
    """
    try:
        return _values(msgspec.toml.decode(path.read_bytes(), type=Settings))
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path}: {error}") from None


def combine(given: Values, filed: Values) -> Values:
    """Return one set of settings, by the names that ``Skiff`` has for them."""
    settings = {**filed, **given}
    join = settings.pop("join", [])
    texts = join if isinstance(join, list) else [str(join)]
    settings["join_cluster"] = [each.strip() for text in texts for each in text.split(",") if each]
    return settings


def _values(settings: Settings) -> Values:
    values: Values = msgspec.to_builtins(settings)
    return values
