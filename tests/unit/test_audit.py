"""Audit: administration and denials are recorded without values, and floods are not."""

import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import audit as files
from actors.audit import FILE, AuditTrail
from protocol.audit import (
    DONE_MAX,
    FAILURES_MAX,
    HOSTS_MAX,
    OTHER_HOSTS,
    TARGET_LENGTH_MAX,
    USERS_MAX,
    WINDOW_SECONDS,
    AuditRecord,
    RecordLimit,
    RefusedConnections,
    denial_in,
    fingerprint,
    is_audited,
    name_of,
    record_of,
    record_of_denial,
)
from protocol.deadlines import NEVER
from protocol.messages.client import (
    AddNode,
    Done,
    Failed,
    FailureCode,
    Get,
    Operation,
    ReadSnapshot,
    RemoveNode,
    TransferLeadership,
)
from protocol.snapshot import SnapshotId, SnapshotPosition
from protocol.state.commands import Insert, SessionExpired, Write
from protocol.state.user_commands import (
    AddUser,
    AssignRole,
    Denied,
    Grant,
    Objection,
    Revoke,
    Right,
    RightsChanged,
    RightsRefused,
)
from protocol.wire import encode

KEY, ID = b"k" * 32, bytes(range(16))


def write(command: Any) -> Write:
    return Write(1, 1, 1, command, KEY)


@pytest.mark.parametrize(
    ("operation", "outcome", "operation_name", "target", "shown"),
    [
        (AddNode("host:9400"), Done(), "AddNode", "host:9400", "done"),
        (RemoveNode(ID), Failed(FailureCode.UNKNOWN, ""), "RemoveNode", ID.hex(), "unknown"),
        (TransferLeadership(), Denied(Right.MEMBERS), "TransferLeadership", "", "denied"),
        (ReadSnapshot(ID, None), msgspec.Raw(encode(Done())), "ReadSnapshot", ID.hex(), "done"),
        (write(AddUser("bob", KEY)), RightsChanged(), "AddUser", "bob", "done"),
        (write(AssignRole("bob", "clerk")), RightsChanged(), "AssignRole", "bob clerk", "done"),
        (
            write(Grant("clerk", Right.READ, "jobs/")),
            RightsRefused(Objection.TOO_MANY, "clerk"),
            "Grant",
            "clerk read jobs/",
            "too_many",
        ),
    ],
)
def test_administration_is_recorded_with_its_outcome(
    operation: Operation, outcome: object, operation_name: str, target: str, shown: str
) -> None:
    assert is_audited(operation)
    record = record_of("alice", KEY, operation, outcome)
    assert record == AuditRecord("alice", fingerprint(KEY), operation_name, target, shown)
    assert KEY not in encode(record)


def test_other_operations_are_not_recorded() -> None:
    later = SnapshotPosition(SnapshotId(5, 2))
    for operation in (Get("a"), write(Insert("a", b"v")), ReadSnapshot(ID, later)):
        assert not is_audited(operation)


def test_denials_are_found_decoded_and_as_storage_sends_them() -> None:
    denied = Denied(Right.READ, "secret")
    raws = [msgspec.Raw(encode(each)) for each in (Done(), denied)]
    assert list(map(denial_in, [Done(), denied, *raws])) == [None, denied, None, denied]
    assert denial_in(None) is None
    record = record_of_denial("bob", KEY, name_of(Get("secret")), denied)
    assert record == AuditRecord("bob", fingerprint(KEY), "Get", "read secret", "denied")
    assert record_of_denial("", KEY, "Get", Denied(None)).target == "known user"
    assert name_of(write(Insert("key", b"value"))) == "Insert"


def denial(user: str, place: str) -> AuditRecord:
    return record_of_denial(user, KEY, "Get", Denied(Right.READ, place))


def done(user: str, operation: Operation) -> AuditRecord:
    return record_of(user, KEY, operation, RightsChanged())


def grant(prefix: str) -> Write:
    return write(Grant("clerk", Right.READ, prefix))


def counted(record: AuditRecord, suppressed: int) -> AuditRecord:
    return msgspec.structs.replace(record, suppressed=suppressed)


def test_what_is_repeated_is_recorded_once_and_with_its_number_at_the_end() -> None:
    limit = RecordLimit()
    granted, revoked = done("bob", grant("a")), done("bob", write(Revoke("clerk", Right.READ, "a")))
    admitted = [limit.admit(each, 1.0) for each in [granted, revoked] * 1000]
    assert [each for each in admitted if each is not None] == [granted, revoked]
    assert limit.take(1.0) == []
    assert limit.deadline == 1.0 + WINDOW_SECONDS
    assert limit.take(limit.deadline) == [counted(granted, 998), counted(revoked, 998)]
    assert limit.deadline == NEVER
    assert limit.admit(granted, 100.0) == granted
    assert limit.take(200.0) == []


@pytest.mark.parametrize(
    ("records", "limit"),
    [
        ([denial("bob", f"a{each}") for each in range(500)], FAILURES_MAX),
        ([done("bob", grant(f"a{each}")) for each in range(500)], DONE_MAX),
    ],
)
def test_a_flood_of_one_user_is_counted(records: list[AuditRecord], limit: int) -> None:
    limits = RecordLimit()
    admitted = [limits.admit(each, 1.0) for each in records]
    assert admitted == [*records[:limit], *[None] * (500 - limit)]
    others = [denial("ann", "a"), done("ann", grant("a"))]
    assert [limits.admit(each, 2.0) for each in others] == others
    assert limits.take(1.0 + WINDOW_SECONDS) == [counted(records[-1], 499 - limit)]


def test_what_a_flood_would_hide_is_recorded_at_the_end() -> None:
    limit = RecordLimit()
    for number in range(DONE_MAX + 5):
        limit.admit(done("bob", grant(f"a{number}")), 1.0)
    hidden = done("bob", write(AddUser("eve", KEY)))
    assert limit.admit(hidden, 2.0) is None
    limit.admit(done("bob", grant("b")), 3.0)
    assert limit.take(100.0) == [hidden, counted(done("bob", grant("b")), 5)]


def test_a_crowd_of_users_makes_few_records() -> None:
    limit = RecordLimit()
    recorded: list[AuditRecord | None] = []
    for number in range(50 * DONE_MAX):
        recorded.append(limit.admit(done(f"user-{number % 500}", grant(f"a{number}")), 1.0))
        recorded.append(limit.admit(denial(f"user-{number % 500}", f"a{number}"), 1.0))
    count = sum(each is not None for each in recorded)
    assert count <= (USERS_MAX + 1) * (DONE_MAX + FAILURES_MAX)
    shown = count + sum(each.suppressed + 1 for each in limit.take(100.0))
    assert shown == len(recorded), "nothing is dropped without being counted"


def test_no_record_is_long() -> None:
    for prefix in ("a" * 4096, "\1" * 4096):
        record = done("bob", grant(prefix))
        assert len(record.target) == TARGET_LENGTH_MAX
        assert record.target.startswith("clerk read " + prefix[:1])


def test_the_files_are_private_and_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 300)
    trail = AuditTrail(str(tmp_path))
    for number in range(12):
        trail.write([record_of("alice", KEY, AddNode(f"host-{number}:9400"), Done())], 0.0)
    found = sorted(tmp_path.iterdir())
    assert [each.name for each in found] == [FILE, *(f"{FILE}.{n}" for n in (1, 2, 3))]
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in found)
    assert all(each.stat().st_size <= 300 for each in found)
    last = [msgspec.json.decode(line) for line in found[0].read_bytes().splitlines()][-1]
    assert (last["target"], last["outcome"], last["user"]) == ("host-11:9400", "done", "alice")
    assert last["time"].endswith("Z")


def test_a_directory_that_cannot_be_written_does_not_stop_the_gateway(tmp_path: Path) -> None:
    trail = AuditTrail(str(tmp_path / "absent"))
    trail.write([record_of("alice", KEY, AddNode("host:9400"), Done())], 0.0)


def test_a_full_disk_leaves_no_half_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = AuditTrail(str(tmp_path))
    trail.write([denial("bob", "a")], 0.0)
    real, room = os.write, [60, 10]

    def write(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: room.pop()])

    monkeypatch.setattr("actors.audit.os.write", write)
    trail.write([denial("bob", "b")], 0.0)
    assert [each["target"] for each in lines_of(tmp_path)] == ["read a"]
    room += [1000, 20]
    trail.write([denial("bob", "c")], 0.0)
    assert [each["target"] for each in lines_of(tmp_path)] == ["read a", "read c"]


def test_the_file_is_no_link_and_gets_private_if_it_was_not(tmp_path: Path) -> None:
    trail, other = AuditTrail(str(tmp_path)), tmp_path / "other"
    other.write_bytes(b"")
    (tmp_path / FILE).symlink_to(other)
    trail.write([denial("bob", "a")], 0.0)
    assert other.read_bytes() == b""
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).touch(0o644)
    trail.write([denial("bob", "b")], 0.0)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [each["target"] for each in lines_of(tmp_path)] == ["read b"]


def test_only_what_was_done_is_recorded_as_done() -> None:
    command = Write(9, 1, 1, AddUser("eve", KEY))
    outcomes = (SessionExpired(), Failed(FailureCode.OVERLOADED, "full"), RightsChanged())
    recorded = [record_of("bob", KEY, command, each).outcome for each in outcomes]
    assert recorded == ["SessionExpired", "overloaded", "done"]


def test_denials_of_a_user_hide_no_other_failures_of_it() -> None:
    limit = RecordLimit()
    for number in range(10 * FAILURES_MAX):
        limit.admit(denial("bob", f"a{number}"), 1.0)
    failed = AuditRecord("bob", "", "AddUser", "eve", "not_applied")
    assert limit.admit(failed, 1.0) == failed


def test_what_was_counted_is_written_when_it_is_due_and_at_the_end(tmp_path: Path) -> None:
    trail = AuditTrail(str(tmp_path))
    for _ in range(3):
        trail.write([denial("bob", "a")] * 2, 1.0)
    assert [each["suppressed"] for each in lines_of(tmp_path)] == [0]
    trail.write([], trail.deadline)
    assert [each["suppressed"] for each in lines_of(tmp_path)] == [0, 4]
    trail.write([denial("bob", "a")] * 2, 100.0)
    trail.close()
    assert [each["suppressed"] for each in lines_of(tmp_path)] == [0, 4, 0, 0]
    trail.close()
    assert len(lines_of(tmp_path)) == 4


def lines_of(directory: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (directory / FILE).read_bytes().splitlines()]


def refusal(host: str, suppressed: int = 0) -> AuditRecord:
    return AuditRecord("", "", "Connect", host, "refused", suppressed)


def test_refused_connections_of_a_host_are_recorded_once_a_while_with_their_number() -> None:
    refused = RefusedConnections()
    assert refused.deadline == NEVER
    refused.note({"10.0.0.1": 1, "10.0.0.2": 3}, 5.0)
    assert refused.deadline <= 5.0, "at once"
    assert refused.take(5.0) == [refusal("10.0.0.1"), refusal("10.0.0.2", 2)]
    assert refused.deadline == NEVER
    for _ in range(3):
        refused.note({"10.0.0.1": 2}, 5.0)
    assert refused.take(5.1) == []
    assert refused.deadline == 5.0 + WINDOW_SECONDS
    assert refused.take(refused.deadline) == [refusal("10.0.0.1", 5)]
    later = 5.0 + 2 * WINDOW_SECONDS
    assert refused.take(later) == []
    refused.note({"10.0.0.1": 1}, later)
    assert refused.take(later) == [refusal("10.0.0.1")]


def test_refused_connections_of_many_hosts_are_counted_together() -> None:
    refused = RefusedConnections()
    for second in range(3):
        refused.note({f"10.0.{second}.{number}": 1 for number in range(100)}, second)
        records = refused.take(float(second))
        assert len(records) == (HOSTS_MAX + 1 if second == 0 else 0)
    assert records == []
    assert refused.take(WINDOW_SECONDS) == [refusal(OTHER_HOSTS, 199)]
    refused.note({"10.0.0.1": 1}, WINDOW_SECONDS)
    assert refused.take(WINDOW_SECONDS + 1) == [refusal("10.0.0.1")]


def test_a_host_is_named_again_once_others_were_recorded_a_while_ago() -> None:
    refused = RefusedConnections()
    refused.note({f"10.0.0.{number}": 1 for number in range(HOSTS_MAX)}, 0.0)
    assert len(refused.take(0.0)) == HOSTS_MAX
    refused.note({"10.9.9.9": 1}, WINDOW_SECONDS)
    assert refused.take(WINDOW_SECONDS) == [refusal("10.9.9.9")]


def test_work_on_a_directory_is_recorded_with_the_systems_user(tmp_path: Path) -> None:
    AuditTrail(str(tmp_path)).write_offline("Restore", "/backups/monday as cluster 0a")
    record = msgspec.json.decode((tmp_path / FILE).read_bytes())
    assert record["user"].startswith("os:")
    assert (record["operation"], record["outcome"]) == ("Restore", "done")
    assert record["target"] == "/backups/monday as cluster 0a"
