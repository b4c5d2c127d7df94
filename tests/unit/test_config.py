"""Config: valid settings, and the errors of invalid ones."""

from typing import Any

import pytest

from protocol.address import Address
from protocol.config import VALUE_BYTES_CEILING, InvalidSetting, NodeConfig


def config(**settings: Any) -> NodeConfig:
    return NodeConfig(**{"dir": "data", **settings})


def test_the_defaults_need_only_a_directory() -> None:
    config().validate()
    with pytest.raises(InvalidSetting, match="dir"):
        NodeConfig().validate()


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 1},
        {"port": 65533},
        {"bind": "0.0.0.0", "advertise": "node.example", "key": "/keys/cluster.key_secret"},
        {"bind": "::", "advertise": "[::1]:9500", "insecure": True},
        {"bind": "::1"},
        {"bind": "[::1]"},
        {"join_cluster": ("a.example", "b.example:9500")},
        {"standby": True},
        {"heartbeat_ms": 100, "election_timeout_min_ms": 200, "election_timeout_max_ms": 201},
        {"value_bytes_max": VALUE_BYTES_CEILING},
        {"log_level": "debug"},
        {"log_format": "json"},
    ],
    ids=str,
)
def test_valid_settings_are_accepted(settings: dict[str, Any]) -> None:
    config(**settings).validate()


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("port", {"port": 0}),
        ("port", {"port": 65534}),
        ("bind", {"bind": "0.0.0.0"}),
        ("bind", {"bind": "::"}),
        ("'skiff keygen cluster DIR'.*--insecure", {"bind": "node.example"}),
        ("key and insecure", {"key": "/keys/cluster.key_secret", "insecure": True}),
        ("admin_key", {"admin_key": "x" * 40}),
        ("bind", {"bind": "two words"}),
        ("bind", {"bind": ""}),
        ("advertise", {"advertise": "node:port"}),
        ("join_cluster", {"join_cluster": ("a.example", "b.example:0")}),
        ("standby", {"standby": True, "join_cluster": ("a.example",)}),
        ("at least 2", {"join_cluster": ("127.0.0.1",), "expect": 1}),
        ("join_cluster: 2, not 3", {"join_cluster": ("127.0.0.1", "a.example"), "expect": 3}),
        ("127.0.0.1:9400 is not among", {"join_cluster": ("a.example", "b"), "expect": 2}),
        ("founding_ms", {"founding_ms": -1}),
        ("heartbeat_ms", {"heartbeat_ms": 0}),
        ("election_timeout_min_ms", {"heartbeat_ms": 100}),
        ("election_timeout_max_ms", {"election_timeout_max_ms": 150}),
        ("value_bytes_max", {"value_bytes_max": 0}),
        ("value_bytes_max", {"value_bytes_max": VALUE_BYTES_CEILING + 1}),
        ("log_level", {"log_level": "loud"}),
        ("log_format", {"log_format": "xml"}),
    ],
    ids=str,
)
def test_invalid_settings_are_refused_by_name(setting: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=setting):
        config(**settings).validate()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError):
        config(colour="red")


def test_the_address_is_the_bind_address_unless_another_is_advertised() -> None:
    assert config(bind="[::1]", port=9500).address == Address("::1", 9500)
    assert config(port=9500, advertise="node.example").address == Address("node.example", 9500)
    assert config(port=9500, advertise="node.example:1").address == Address("node.example", 1)
    assert config(port=9500, advertise="node.example:1").bind_address.port == 9500


def test_election_timeouts_are_converted_to_seconds() -> None:
    timeouts = config().election_timeouts
    assert (timeouts.heartbeat, timeouts.shortest, timeouts.longest) == (0.075, 0.15, 0.3)


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"])
def test_a_loopback_address_is_not_exposed(bind: str) -> None:
    assert not NodeConfig(dir="data", bind=bind).is_exposed


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "*", "192.168.0.7", "node.example"])
def test_a_non_loopback_address_is_exposed(bind: str) -> None:
    assert NodeConfig(dir="data", bind=bind).is_exposed
