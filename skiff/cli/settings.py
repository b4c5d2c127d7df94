"""Settings: the options of a node, and their values from command line, environment and file."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import UNSET, UnsetType

from protocol.config import SETTINGS
from protocol.settings import Setting
from skiff.errors import InvalidConfig

Values = dict[str, Any]

OPTIONS = {setting.name: setting.option for setting in SETTINGS}


def _filed(setting: Setting) -> tuple[str, Any, UnsetType]:
    kind = list[str] | str if setting.is_list else setting.type
    return (setting.key, kind | UnsetType, UNSET)


File = msgspec.defstruct(
    "File",
    map(_filed, SETTINGS),
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each setting to a command, before its own options.

    The command receives them as ``**given`` by their names in the file, None for a setting that
    neither the command line nor the environment has.
    """
    own = inspect.signature(command)
    named = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = [_parameter(setting) for setting in SETTINGS]
    command.__signature__ = own.replace(parameters=[*options, *named])  # type: ignore[attr-defined]
    return command


def read_file(path: Path) -> Values:
    """Return the settings of a TOML file.

    Raises:
        InvalidConfig: the file cannot be read, or has an unknown setting.
    """
    try:
        values: Values = msgspec.to_builtins(msgspec.toml.decode(path.read_bytes(), type=File))
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path}: {error}") from None
    return values


def combine(given: Values, filed: Values) -> Values:
    """Return the settings by the parameter names of ``Skiff``; ``given`` overrides ``filed``."""
    named = {key: value for key, value in given.items() if value not in (None, [])}
    settings = {**filed, **named}
    join = settings.pop("join", [])
    texts = join if isinstance(join, list) else [str(join)]
    settings["join_cluster"] = [each.strip() for text in texts for each in text.split(",") if each]
    return settings


def _parameter(setting: Setting) -> inspect.Parameter:
    kind = list[str] if setting.is_list else setting.type
    switch = f"/--no-{setting.option[2:]}" if kind is bool else ""
    option = typer.Option(
        setting.option + switch,
        envvar=setting.environment,
        metavar=setting.unit or None,
        help=_help(setting),
        hidden=setting.hidden,
        show_default=False,
        show_envvar=False,
    )
    return inspect.Parameter(
        setting.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _help(setting: Setting) -> str:
    text = re.sub(r"`(\w+)`", lambda match: OPTIONS[match[1]], setting.help)
    if setting.is_list:
        return f"{text} Separate several by commas, or repeat the option."
    if setting.choices:
        text = f"{text} {setting.range.capitalize()}."
    return f"{text} Default: {setting.default}" if setting.default else text
