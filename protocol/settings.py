"""Settings: the table from which constructor, builder, options, environment and file are made."""

from typing import Any, get_args

import msgspec

# By unit, where a setting has no bound of its own: beyond all use, and far below an overflow.
MOST = {"MS": 600_000, "SECONDS": 1_000_000_000, "COUNT": 1_000_000_000, "BYTES": 10**15}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting, annotated to a field that provides its name, type and default value.

    A help sentence names other settings in backticks.
    """

    unit: str  # of the value, as a word for the command line: MS, BYTES; empty for a switch
    help: str
    least: int | None = None
    most: int | None = None  # by default, that of its unit
    choices: tuple[str, ...] = ()
    key: str = ""  # name in the file, the option and the environment; empty: as in Python
    hidden: bool = False  # for tests of skiff itself: not documented
    name: str = ""
    type: Any = str
    default: Any = ""

    @property
    def option(self) -> str:
        """The command-line option."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def environment(self) -> str:
        """The environment variable."""
        return f"SKIFF_{self.key.upper()}"

    @property
    def is_list(self) -> bool:
        """Whether the setting takes several values."""
        return isinstance(self.default, tuple)

    @property
    def range(self) -> str:
        """The accepted values in words; empty if only the type or another setting limits them."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.least is None:
            return ""
        if self.most is None:
            return f"at least {self.least}"
        return f"from {self.least} to {self.most}"

    def refuses(self, value: Any) -> str:
        """Return the error message for a value; empty if it is accepted."""
        if self.choices:
            fits = value in self.choices
        else:
            fits = (self.least is None or value >= self.least) and (
                self.most is None or value <= self.most
            )
        return "" if fits else f"{self.name} must be {self.range}, not {value!r}"


def read_table(config: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """Return the settings that are annotated to the fields of a struct, in order."""
    return tuple(map(_complete, msgspec.structs.fields(config)))


def _complete(field: msgspec.structs.FieldInfo) -> Setting:
    kind, setting = get_args(field.type)
    assert isinstance(setting, Setting)
    return msgspec.structs.replace(
        setting,
        most=MOST.get(setting.unit) if setting.most is None else setting.most,
        key=setting.key or field.name,
        name=field.name,
        type=kind,
        default=field.default,
    )
