"""Command line: the parts that need no node."""

import re
import socket
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer
from msgspec.structs import replace

from skiff import errors
from skiff.cli import output, table
from skiff.cli.application import app
from skiff.cli.demo_writer import longest_silence
from skiff.cli.failures import CommandFailed, ExitCode, describe, exit_code_of
from skiff.cli.member_status import MemberStatus, ask_members, leader_of
from skiff.cli.settings import combine, read_file
from skiff.cli.shown import on_one_line
from skiff.cli.status import _row, report, summary
from skiff.cli.watch import change_line
from skiff.client import Client
from skiff.records import Event, EventKind, Member, NodeStatus, Role
from skiff.testing import free_port

ROOT = Path(__file__).parents[2]
FIRST, SECOND = (Member(uuid.UUID(int=n), f"host-{n}:9400", voter=True) for n in (1, 2))


def standing(
    member: Member, role: Role, term: int, *, removed: bool = False, waiting: bool = False
) -> MemberStatus:
    return MemberStatus(
        member,
        NodeStatus(
            id=member.id,
            cluster_id=None if waiting else uuid.UUID(int=9),
            address=member.address,
            role=role,
            term=term,
            leader=None,
            revision=7,
            last_index=9,
            commit_index=9,
            applied_index=9,
            removed=removed,
            members=() if waiting else (FIRST, SECOND),
        ),
    )


def reach(address: str, seconds: float) -> Client:
    return Client([address], timeout=seconds, follow_leader=False)


README = (ROOT / "README.md").read_text(encoding="utf-8")


def all_commands() -> Iterator[str]:
    for name, found in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        parts = getattr(found, "commands", None)
        yield from (f"{name} {each}" for each in parts) if parts else (name,)


def documented_commands() -> Iterator[str]:
    listed = README.partition("lists the commands:")[2].partition("Results go")[0]
    for first, *more in map(str.split, re.findall("`(.+?)`", listed)):
        yield from (f"{first} {each}" for each in more[0].split("|")) if more else (first,)


def test_the_readme_lists_all_commands() -> None:
    assert sorted(documented_commands()) == sorted(all_commands())


# --- failures


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RevisionMismatch("other", 3), 4),
        (errors.ClientConnectFailed("nobody"), 5),
        (errors.PermissionDenied("refused"), 8),
        (errors.InvalidKey("no key file"), 2),
        (errors.StreamClosed("gap"), 5),
        (errors.Compacted("gone", 7), 5),
        (errors.Overloaded("busy"), 5),
        (errors.LeaderElectionTimeout("nobody leads"), 5),
        (errors.LockLost("gone"), 4),
        (errors.Fenced("gone"), 4),
        (errors.LockTimeout("held"), 6),
        (errors.RequestTimeout("late"), 6),
        (errors.OutcomeUnknown("late"), 6),
        (errors.PeerNotFound("nobody"), 3),
        (errors.InvalidConfig("port"), 2),
        (errors.InvalidRequest("key"), 2),
        (errors.StorageError("damaged"), 1),
        (errors.RPCBindFailed("taken"), 1),
        (OSError(28, "No space left on device"), 1),
        (CommandFailed("no such key", ExitCode.NOT_FOUND), 3),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


# Arguments of errors besides their text.
MORE: dict[type, tuple[object, ...]] = {
    errors.PermissionDenied: ("read", "a"),
    errors.RevisionMismatch: (3,),
    errors.PipelineFailed: ([],),
    errors.Compacted: (7,),
}


def test_every_skiff_error_is_described_in_one_line() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    texts = [
        describe(kind("it\nfailed.", *MORE.get(kind, ())))
        for kind in kinds
        if issubclass(kind, errors.SkiffError)
    ]
    assert len(texts) > 20
    assert all(text.startswith("it failed") and "\n" not in text for text in texts)


def test_a_hint_follows_a_question_mark_without_a_semicolon() -> None:
    assert "up? nothing" in describe(errors.RequestTimeout("is a majority up?"))
    assert "late; nothing" in describe(errors.RequestTimeout("late"))


def test_only_an_unreachable_node_prompts_the_hint_that_it_may_not_be_running() -> None:
    assert "running there?" in describe(errors.NoNodeReached("no node could be reached at a:1"))
    answered = describe(errors.ClientConnectFailed("this node was removed from the cluster"))
    assert "running there?" not in answered
    assert "SKIFF_URL" in answered


def test_an_error_quotes_the_key_unchanged() -> None:
    error = errors.RevisionMismatch("'two  spaces ' has revision 3;\n\n  nothing was written", 3)
    assert describe(error).startswith("'two  spaces ' has revision 3; nothing was written; ")


def test_a_system_error_is_described_without_its_number() -> None:
    assert describe(OSError(28, "No space left", "/data")) == "/data: No space left"


# --- settings


def test_options_override_the_configuration_file() -> None:
    combined = combine({"port": 1, "standby": False}, {"port": 2, "standby": True, "dir": "d"})
    assert combined == {"port": 1, "standby": False, "dir": "d", "join_cluster": []}


def test_missing_options_leave_the_configuration_file_in_force() -> None:
    assert combine({"join": [], "port": None}, {"join": ["a:1"], "port": 2}) == {
        "port": 2,
        "join_cluster": ["a:1"],
    }


@pytest.mark.parametrize("join", ["a:1, b:2", ["a:1", "b:2"], ["a:1,b:2"], ["a:1,", " b:2"]])
def test_join_addresses_are_separated_by_commas(join: str | list[str]) -> None:
    assert combine({}, {"join": join})["join_cluster"] == ["a:1", "b:2"]


def test_the_configuration_file_uses_the_names_of_the_options(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('port = 9500\njoin = ["a:1"]\nlog_level = "info"\nstandby = false\n')
    assert read_file(file) == {
        "port": 9500,
        "join": ["a:1"],
        "log_level": "info",
        "standby": False,
    }


@pytest.mark.parametrize("text", ["prot = 1", "port = 'x'", "port =", "\udcff"])
def test_an_invalid_configuration_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(errors.InvalidConfig, match=r"node\.toml"):
        read_file(file)


# --- output


def test_json_of_a_value_is_one_line() -> None:
    assert output.as_json({"a": "x\ny", "b": b"\x00"}) == rb'{"a":"x\ny","b":"AA=="}'


def test_a_value_that_json_cannot_represent_is_an_error() -> None:
    with pytest.raises(CommandFailed, match="JSON"):
        output.as_json(msgspec.msgpack.Ext(1, b""))


def test_a_change_is_one_line() -> None:
    inserted = Event(EventKind.INSERT, "key", "two\nlines", 7, 0)
    removed: Event[str] = Event(EventKind.REMOVE, "key", None, 8, 7)
    assert change_line(inserted) == b'7 insert key "two\\nlines"\n'
    assert change_line(removed) == b"8 remove key\n"
    assert change_line(replace(inserted, prev_value=1)) == b'7 insert key "two\\nlines" was 1\n'
    assert change_line(replace(removed, prev_value="two")) == b'8 remove key was "two"\n'


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("a\nb\r\t\x1b[2J\x7f", r"a\nb\r\t\x1b[2J\x7f"),
        ("a\x85b\u2028c\u2029", r"a\x85b\u2028c\u2029"),
        ("grüße/日本 😀\\n", "grüße/日本 😀\\n"),
    ],
)
def test_a_key_stays_on_one_line(key: str, shown: str) -> None:
    assert on_one_line(key) == shown
    assert change_line(Event(EventKind.REMOVE, key, None, 8, 7)) == f"8 remove {shown}\n".encode()


def test_a_cell_of_a_table_stays_on_one_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    table.show(("role", "keys"), [("ops", "jobs/\nroot  *")])
    assert capfdbinary.readouterr().out.splitlines()[1:] == [rb"ops  jobs/\nroot  *"]


# --- interrupts

INTERRUPTED = """
import runpy, signal, sys
from importlib.metadata import EntryPoint

class Interrupt:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
if len(sys.argv) > 2:
    sys.exit(EntryPoint("skiff", sys.argv[2], "console_scripts").load()())
runpy.run_module("skiff", run_name="__main__")
"""
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize("entry", [[], [SCRIPTS["skiff"]]])
@pytest.mark.parametrize("module", ["skiff.cli.application", "typer", "skiff.cli.writing"])
def test_an_interrupt_of_the_imports_ends_the_command_quietly(
    module: str, entry: list[str]
) -> None:
    command = [sys.executable, "-P", "-c", INTERRUPTED, module, *entry]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert (ended.stdout, ended.stderr) == (b"", b"")
    assert ended.returncode == ExitCode.INTERRUPTED


# --- the cluster


def test_the_leader_of_the_newest_term_is_shown_as_leader() -> None:
    old, new = standing(FIRST, Role.LEADER, 3), standing(SECOND, Role.LEADER, 4)
    assert leader_of([old, new]) is new
    assert summary([old, new]) == "2 of 2 reachable, host-2:9400 leads"


def test_an_unreachable_member_is_shown_as_such() -> None:
    standings = [standing(FIRST, Role.FOLLOWER, 3), MemberStatus(SECOND, None)]
    assert standings[1].role == "unreachable"
    assert summary(standings) == "1 of 2 reachable, no leader is known"
    assert report(standings)["leader"] is None


def test_levels_of_nodes_and_of_the_cluster_are_shown_as_far_as_they_are_known() -> None:
    standings = [standing(each, Role.FOLLOWER, 3) for each in (FIRST, SECOND)]
    assert report(standings)["level"] is None
    newer, older = standings
    assert newer.status is not None
    told = replace(newer.status, level=3, cluster_level=2)
    standings = [replace(newer, status=told), older]
    assert summary(standings) == "2 of 2 reachable, no leader is known, level 2"
    assert [facts["level"] for facts in report(standings)["members"]] == [3, None]  # type: ignore[attr-defined]
    assert [_row(each)[-2] for each in (*standings, MemberStatus(SECOND, None))] == ["3", "-", "-"]
    foreign = replace(standings[0], is_foreign=True)
    assert report([foreign])["level"] is None


def test_a_non_voting_member_is_shown_as_a_learner() -> None:
    learner = Member(FIRST.id, FIRST.address, voter=False)
    assert standing(learner, Role.FOLLOWER, 3).role == "learner"


def test_a_node_without_a_cluster_is_shown_as_waiting() -> None:
    waiting = standing(FIRST, Role.FOLLOWER, 0, waiting=True)
    assert waiting.status is not None
    (shown,) = ask_members(waiting.status, reach, timeout=1)
    assert shown.role == "waiting"
    assert "no cluster" in summary([shown])
    assert report([shown])["members"][0]["standing"] == "waiting"  # type: ignore[index]


def test_a_removed_node_is_shown_as_removed_and_not_counted() -> None:
    removed, leader = (
        standing(FIRST, Role.LEADER, 5, removed=True),
        standing(SECOND, Role.LEADER, 4),
    )
    assert (removed.role, leader.role) == ("removed", "leader")
    assert summary([leader, removed]) == (
        "1 of 1 reachable, host-2:9400 leads, host-1:9400 was removed"
    )
    assert report([leader, removed])["leader"] == SECOND.id


def test_a_member_without_a_listener_is_unreachable_without_a_wait() -> None:
    nobody = Member(SECOND.id, f"127.0.0.1:{free_port()}", voter=True)
    own = standing(FIRST, Role.FOLLOWER, 3).status
    assert own is not None
    shown = ask_members(replace(own, removed=True, members=(FIRST, nobody)), reach, timeout=3600)
    assert [each.role for each in shown] == ["unreachable", "removed"]


def test_a_listening_member_is_queried_within_the_remaining_time() -> None:
    timeouts: list[float] = []

    def unanswered(address: str, seconds: float) -> Client:
        timeouts.append(seconds)
        return reach(address, 0.01)

    own = standing(FIRST, Role.FOLLOWER, 3).status
    assert own is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mute = Member(SECOND.id, f"127.0.0.1:{listener.getsockname()[1]}", voter=True)
        (shown,) = ask_members(replace(own, id=mute.id, members=(mute,)), unanswered, timeout=60)
    assert shown.role == "unreachable"
    (timeout,) = timeouts
    assert timeout < 60


def test_the_longest_silence_is_the_largest_gap_between_neighbours() -> None:
    assert longest_silence([1.0, 1.5, 4.0, 4.5]) == 2.5
    assert longest_silence([1.0]) == 0.0
