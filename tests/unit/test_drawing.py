"""The drawing in actors/README.md has every message that the actors of a node exchange."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from protocol import node_messages

README = (Path(__file__).parents[2] / "actors" / "README.md").read_text(encoding="utf-8")
ARROWS = {
    number: set(re.findall(r"`(\w+)`", cell))
    for number, cell in re.findall(r"^\| (\d) \| (.*) \|$", README, re.MULTILINE)
}
OF_ITS_OWN = {"CommitNoticeDue", "StepAside"}  # what the log replicator tells itself


@pytest.mark.parametrize(
    ("heard", "arrows", "besides"),
    [
        (node_messages.StorageMessage, "35", set()),
        (node_messages.ReplicatorMessage, "168", OF_ITS_OWN),
        (node_messages.GatewayMessage, "24", set()),
        (node_messages.TimerMessage, "7", set()),
    ],
)
def test_each_inbox_hears_what_its_arrows_carry(heard: Any, arrows: str, besides: set[str]) -> None:
    names = {kind.__name__ for kind in get_args(heard) or (heard,)}
    assert names - besides == set().union(*(ARROWS[arrow] for arrow in arrows))
