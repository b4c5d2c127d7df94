"""Wire examples: the bytes and tables in protocol/README.md match the code."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from protocol import refusal
from protocol.membership import Member, Membership
from protocol.messages import client, peer, rights
from protocol.messages.client import (
    ESTABLISHED_TOPIC,
    EVENT_TOPIC,
    MARK_TOPIC,
    PREV_TOPIC,
    Established,
    Failed,
    FailureCode,
    Get,
    Hello,
    Mark,
    Published,
    Reply,
    Request,
    Welcome,
)
from protocol.messages.peer import Heartbeat, PeerFrame
from protocol.state import commands, user_commands
from protocol.state.commands import (
    Check,
    Found,
    Increment,
    Incremented,
    Insert,
    Inserted,
    OpenSession,
    Remove,
    SessionOpened,
    Transact,
    Transacted,
    Write,
)
from protocol.wire import (
    Decoder,
    decode_established,
    decode_mark,
    decode_peer_frame,
    decode_published,
    decode_reply,
    decode_request,
    encode,
)

README = (Path(__file__).parents[2] / "protocol" / "README.md").read_text(encoding="utf-8")
CLUSTER, NODE = bytes(range(0xA0, 0xB0)), bytes(range(0x10, 0x20))
MEMBERSHIP = Membership((Member(NODE, "127.0.0.1:9400", True, 2),))
WELCOME = Welcome(CLUSTER, NODE, "tcp://127.0.0.1:9401", NODE, "127.0.0.1:9400", MEMBERSHIP, 2)
NEW = msgspec.msgpack.encode("new")
TRANSACTION = Transact((Check("jobs/1", revision=1),), (Insert("jobs/2", NEW), Increment("count")))

MESSAGES: dict[str, tuple[Decoder[Any], Any]] = {
    "request: greet, and open a session": (
        decode_request,
        Request(1, 1, 5000, (Hello(), Write(0, 0, 0, OpenSession()))),
    ),
    "reply: the greeting, and session 7": (decode_reply, Reply(1, (WELCOME, SessionOpened(7)))),
    "request: insert jobs/1 if it is absent": (
        decode_request,
        Request(1, 2, 5000, (Write(7, 1, 1, Insert("jobs/1", NEW, 0)),)),
    ),
    "reply: inserted at revision 1": (decode_reply, Reply(2, (Inserted(1),))),
    "request: get jobs/1, and remove it": (
        decode_request,
        Request(1, 3, 5000, (Get("jobs/1"), Write(7, 2, 2, Remove("jobs/1")))),
    ),
    "reply: the value; the removal has an unknown outcome": (
        decode_reply,
        Reply(3, (Found(1, 1, 1, 1, NEW), Failed(FailureCode.UNKNOWN, "no majority"))),
    ),
    "request: if jobs/1 has revision 1, insert jobs/2 and increment count": (
        decode_request,
        Request(1, 4, 5000, (Write(7, 3, 3, TRANSACTION),)),
    ),
    "reply: both were done at revision 3, and count is 1": (
        decode_reply,
        Reply(4, (Transacted(True, 3, (Inserted(3), Incremented(1, 3))),)),
    ),
    "body: established after revision 0": (decode_established, Established(0, 0, prev_values=True)),
    "body: jobs/1 was written at revision 1": (
        decode_published,
        Published(0, 1, "jobs/1", NEW, 0),
    ),
    "body: all up to revision 1 is published": (decode_mark, Mark(0, 1)),
    "peer frame: a heartbeat of term 3 in round 9": (
        decode_peer_frame,
        PeerFrame(1, CLUSTER, NODE, 1, "127.0.0.1:9400", (Heartbeat(3, 9, 41, 7_000_000),)),
    ),
}


def examples() -> dict[str, tuple[str, bytes]]:
    """Return notation and bytes of every example, by its heading."""
    found: dict[str, tuple[str, bytes]] = {}
    for block in re.findall(r"^```wire\n(.*?)^```$", README, re.DOTALL | re.MULTILINE):
        for example in block.strip().split("\n\n"):
            caption, notation, *octets = example.split("\n")
            found[caption] = (notation, bytes.fromhex("".join(octets)))
    return found


def notation(value: object) -> str:
    """Write a decoded value as the README does: as JSON, with <hexadecimal> for bytes."""
    match value:
        case bytes():
            return f"<{value.hex()}>"
        case list():
            return f"[{', '.join(map(notation, value))}]"
        case _:
            return msgspec.json.encode(value).decode()


def test_every_example_is_checked() -> None:
    assert list(examples()) == list(MESSAGES)


@pytest.mark.parametrize("caption", MESSAGES)
def test_documented_bytes_match_the_encoder_and_the_decoder(caption: str) -> None:
    decode, message = MESSAGES[caption]
    _, documented = examples()[caption]
    assert encode(message) == documented
    assert decode(documented) == message


@pytest.mark.parametrize("caption", MESSAGES)
def test_documented_notation_matches_the_bytes(caption: str) -> None:
    written, documented = examples()[caption]
    assert notation(msgspec.msgpack.decode(documented)) == written


def test_documented_topics_match_the_code() -> None:
    documented = re.findall(r"^\| `0x(\d\d)`", README, re.MULTILINE)
    topics = (EVENT_TOPIC, PREV_TOPIC, ESTABLISHED_TOPIC, MARK_TOPIC)
    assert documented == [topic.hex() for topic in topics]


# --- the tables


def tagged(*modules: ModuleType) -> set[tuple[str, ...]]:
    """Return tag, name and fields of all tagged messages."""
    structs = {each for module in modules for each in vars(module).values() if _is_tagged(each)}
    return {
        (str(each.__struct_config__.tag), each.__name__, *each.__struct_fields__)
        for each in structs
    }


def _is_tagged(thing: object) -> bool:
    return (
        isinstance(thing, type)
        and issubclass(thing, msgspec.Struct)
        and thing.__struct_config__.tag is not None
    )


def rows(heading: str) -> set[tuple[str, ...]]:
    """Return tag, name and fields from the tables under a heading."""
    text = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*?) \|", text, re.MULTILINE)
    return {(tag, name, *re.findall(r"`(\w+)`", fields)) for tag, name, fields in cells}


def test_the_tables_list_every_client_message() -> None:
    documented = rows("Operations and outcomes") | rows("Users and rights")
    assert documented == tagged(client, rights, commands, user_commands)


def test_the_table_lists_every_peer_message() -> None:
    assert rows("Between nodes") == tagged(peer)


def test_the_tables_list_every_code() -> None:
    failures = {(str(code.value), code.name) for code in FailureCode}
    refusals = {(str(code.value), code.name) for code in refusal.Refusal}
    assert rows("Failures") == failures
    assert rows("Refusals between nodes") == refusals
