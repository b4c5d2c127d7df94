"""Settings: every place that names settings agrees with their table."""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from typer.testing import CliRunner

from protocol.config import SETTINGS, InvalidSetting, NodeConfig
from protocol.settings import Setting
from skiff import Builder, InvalidConfig, Skiff
from skiff.cli.application import app

README = Path(__file__).parents[2] / "README.md"
HEAD = "| setting | default | meaning |\n| --- | --- | --- |\n"
DOCUMENTED = [setting for setting in SETTINGS if not setting.hidden]


def of_each(settings: Iterable[Setting] = SETTINGS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("setting", settings, ids=lambda setting: setting.name)


def other_value(setting: Setting) -> Any:
    """Return a value within the range that is not the default."""
    if setting.choices:
        return setting.choices[0]
    if setting.is_list:
        return ("a.example",)
    if setting.type is bool:
        return True
    return setting.default + 1 if setting.type is int else "elsewhere"


# --- Python


def test_a_node_has_a_typed_parameter_for_each_setting() -> None:
    parameters = inspect.signature(Skiff).parameters
    assert {name: each.default for name, each in parameters.items()} == {
        setting.name: setting.default for setting in SETTINGS
    }
    hints = get_type_hints(Skiff.__init__)
    for setting in SETTINGS:
        kind = str if setting.is_list else setting.type
        assert kind in (hints[setting.name], *get_args(hints[setting.name])), setting.name


def test_a_builder_has_a_method_for_each_setting() -> None:
    described = [
        name
        for method in vars(Builder).values()
        for name in re.findall(r"^``(\w+)``: ", method.__doc__ or "", re.MULTILINE)
    ]
    assert described == [setting.name for setting in DOCUMENTED]


# --- the command line, the environment and the file


@of_each(DOCUMENTED)
def test_the_command_line_help_describes_each_setting(setting: Setting) -> None:
    helped = CliRunner().invoke(app, ["node", "start", "--help"], terminal_width=1000).output
    (line,) = re.findall(rf"^ +{setting.option} .*$", helped, re.MULTILINE)
    assert setting.help.split("`")[0].split("'")[0] in line


@pytest.mark.parametrize("by", ["option", "environment", "file"])
@of_each()
def test_each_setting_is_read_from_each_source(
    by: str, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: dict[str, Any] = {}
    monkeypatch.setattr("skiff.cli.node._run", lambda settings, **_: taken.update(settings))
    value = other_value(setting)
    text = ",".join(value) if setting.is_list else str(value)
    arguments, environment = ["node", "start"], {}
    if by == "option":
        arguments += [setting.option] if value is True else [setting.option, text]
    elif by == "environment":
        environment = {setting.environment: text}
    else:
        (tmp_path / "node.toml").write_text(
            f"{setting.key} = {str(value).lower() if setting.type in (int, bool) else repr(text)}"
        )
        arguments += ["--config", str(tmp_path / "node.toml")]
    CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    assert taken.pop("join_cluster") == (list(value) if setting.is_list else [])
    assert taken == ({} if setting.is_list else {setting.name: value})


# --- the ranges


@of_each([setting for setting in SETTINGS if setting.range])
def test_a_value_beyond_the_range_is_refused_by_name(setting: Setting) -> None:
    for beyond in beyond_of(setting):
        settings: dict[str, Any] = {"dir": "data", setting.name: beyond}
        with pytest.raises(InvalidSetting, match=f"^{setting.name} must be {setting.range}, not "):
            NodeConfig(**settings).validate()
        with pytest.raises(InvalidConfig, match=f"^{setting.name} must be {setting.range}, not "):
            Skiff(**settings)


def beyond_of(setting: Setting) -> list[Any]:
    """Return values on both sides of a range."""
    if setting.choices:
        return ["none of them"]
    assert setting.least is not None
    assert setting.most is not None
    return [setting.least - 1, setting.most + 1, 10**20]


@of_each([setting for setting in SETTINGS if setting.type is int])
def test_each_number_has_a_range_that_cannot_overflow(setting: Setting) -> None:
    assert setting.least is not None
    assert setting.most is not None
    assert setting.most <= 10**15


# --- the README


def row(setting: Setting) -> str:
    unit = f" {setting.unit.lower()}" if setting.unit in ("MS", "BYTES") else ""
    known = {"": "none", (): "none", False: "off"} if setting.type is not int else {}
    default = known.get(setting.default, f"`{setting.default}`{unit}")
    is_bounded = setting.range not in ("", "at least 0")
    values = f" {setting.range.capitalize()}." if is_bounded else ""
    return f"| `{setting.name}` | {default} | {setting.help}{values} |\n"


def test_the_readme_has_the_table_of_settings(pytestconfig: pytest.Config) -> None:
    text = README.read_text(encoding="utf-8")
    before, _, after = text.partition(HEAD)
    wanted = "".join(map(row, DOCUMENTED))
    documented, _, rest = after.partition("\n\n")
    if pytestconfig.getoption("--rewrite") and documented + "\n" != wanted:
        README.write_text(f"{before}{HEAD}{wanted}\n{rest}", encoding="utf-8")
        documented = wanted.rstrip("\n")
    assert documented + "\n" == wanted, f"--rewrite makes the table of settings\n\n{HEAD}{wanted}"


def test_a_setting_of_another_type_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidConfig, match=r"^port: expected int, got str$"):
        Skiff("node", port="9400")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [5, None, b"x", "a\0b", "\ud800"])
def test_a_directory_and_key_files_are_paths(given: Any) -> None:
    for name in ("dir", "key", "admin_key"):
        with pytest.raises(InvalidConfig, match=rf"^{name} must be a path, "):
            Skiff(**{"dir": "node", name: given})
    with pytest.raises(InvalidConfig, match=r"^dir must be a path, "):
        Builder().set_dir(given).build()


@pytest.mark.parametrize("given", [5, None, b"host", {"host": 1}, ["host", 5]])
def test_addresses_to_join_are_text(given: Any) -> None:
    reason = r"^join_cluster: (addresses are|an address is) a"
    with pytest.raises(InvalidConfig, match=reason):
        Skiff("node", join_cluster=given)
    with pytest.raises(InvalidConfig, match=reason):
        Builder().set_dir("node").join_cluster(given).build()


@pytest.mark.parametrize("given", ["a:1", ["a:1"], iter(["a:1"])])
def test_one_address_to_join_needs_no_list(given: Any) -> None:
    builder = Builder().set_dir("node").join_cluster(given)
    assert [builder.build().join_cluster for _ in range(2)] == [("a:1",)] * 2
