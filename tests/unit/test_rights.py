"""Rights: users and roles in the state, and what each write of a user may do."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.state import user_table
from protocol.state.batches import InvalidOperation, check_command, check_write
from protocol.state.commands import (
    Check,
    Command,
    Fence,
    Found,
    GrantLease,
    Inapplicable,
    Increment,
    Insert,
    Inserted,
    LeaseEnded,
    LeaseGranted,
    Lookup,
    NoLease,
    OpenSession,
    Remove,
    RemovePrefix,
    Result,
    RevokeLease,
    SessionExpired,
    Transact,
    TransactionOperation,
    Write,
)
from protocol.state.user_commands import (
    AddUser,
    AddUserKey,
    AssignRole,
    Denied,
    Grant,
    Objection,
    RemoveRole,
    RemoveUser,
    RemoveUserKey,
    Revoke,
    Right,
    RightsChanged,
    RightsRefused,
    Role,
    UnassignRole,
    User,
)
from tests.harness.rights import Grants, covers, missing
from tests.unit.test_state_machine import Replica

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (1, 2, 3))
DONE = RightsChanged()
READ, WRITE, WATCH = Right.READ, Right.WRITE, Right.WATCH


class Users:
    """A replica, and the sessions of its users; without a user, nothing is restricted."""

    def __init__(self) -> None:
        self.replica = Replica()
        self._sessions: dict[bytes, int] = {}
        self._sequence = 0

    def do(self, command: Command, user: bytes = b"") -> Result:
        """Apply a command of a user in its session."""
        self._sequence += 1
        write = Write(self.session(user), self._sequence, 0, command, user)
        return self.replica.result(write)

    def session(self, user: bytes) -> int:
        """Return the user's session, opened if need be; 0 where that is denied."""
        if user not in self._sessions:
            opened = self.replica.result(Write(0, 0, 0, OpenSession(), user))
            self._sessions[user] = getattr(opened, "session", 0)
        return self._sessions[user]

    def all_do(self, *commands: Command) -> None:
        """Apply commands that nothing restricts."""
        for command in commands:
            result = self.do(command)
            assert not isinstance(result, RightsRefused | Inapplicable), (command, result)


@pytest.fixture
def users() -> Users:
    """Return a state with an administrator, and with a user of some rights."""
    users = Users()
    users.all_do(
        AddUser("alice", ALICE, only_first=True),
        AddUser("bob", BOB),
        Grant("clerk", WRITE, "jobs/"),
        Grant("clerk", READ, "jobs/"),
        Grant("clerk", READ, "config"),
        AssignRole("bob", "clerk"),
    )
    return users


# --- users and roles


def test_the_first_user_is_added_once_and_administers(users: Users) -> None:
    assert users.replica.machine.rights.users["alice"] == User("alice", (ALICE,), ("admin",))
    again = users.do(AddUser("carol", CAROL, only_first=True))
    assert again == RightsRefused(Objection.NOT_FIRST, "carol")
    assert users.do(AddUser("carol", CAROL), ALICE) == DONE
    assert users.replica.machine.rights.users["carol"] == User("carol", (CAROL,), ())


@pytest.mark.parametrize(
    ("command", "objection", "detail"),
    [
        (AddUser("bob", CAROL), Objection.USER_EXISTS, "bob"),
        (AddUser("carol", BOB), Objection.KEY_TAKEN, "bob"),
        (AddUserKey("alice", BOB), Objection.KEY_TAKEN, "bob"),
        (AddUserKey("carol", CAROL), Objection.UNKNOWN_USER, "carol"),
        (RemoveUser("carol"), Objection.UNKNOWN_USER, "carol"),
        (RemoveUser("alice"), Objection.LAST_ADMINISTRATOR, "alice"),
        (UnassignRole("alice", "admin"), Objection.LAST_ADMINISTRATOR, "alice"),
        (RemoveUserKey("bob", CAROL), Objection.UNKNOWN_KEY, "bob"),
        (RemoveUserKey("bob", BOB), Objection.KEY_COUNT, "bob"),
        (AssignRole("bob", "reader"), Objection.UNKNOWN_ROLE, "reader"),
        (UnassignRole("bob", "admin"), Objection.NOT_GRANTED, "admin"),
        (UnassignRole("bob", "reader"), Objection.UNKNOWN_ROLE, "reader"),
        (Revoke("clerk", WRITE, "jobs"), Objection.NOT_GRANTED, "write"),
        (Revoke("reader", READ), Objection.UNKNOWN_ROLE, "reader"),
        (RemoveRole("reader"), Objection.UNKNOWN_ROLE, "reader"),
        (RemoveRole("admin"), Objection.BUILT_IN, "admin"),
        (Grant("admin", READ), Objection.BUILT_IN, "admin"),
    ],
)
def test_misuse_is_refused_and_changes_nothing(
    users: Users, command: Command, objection: Objection, detail: str
) -> None:
    before = dict(users.replica.rights)
    assert users.do(command) == RightsRefused(objection, detail)
    assert dict(users.replica.rights) == before


def test_a_second_administrator_lets_the_first_one_go(users: Users) -> None:
    assert users.do(AssignRole("bob", "admin")) == DONE
    assert users.do(RemoveUser("alice")) == DONE
    assert users.do(RemoveUser("bob")) == RightsRefused(Objection.LAST_ADMINISTRATOR, "bob")


def test_a_key_is_rotated_and_the_old_one_is_unknown_then(users: Users) -> None:
    assert users.do(AddUserKey("bob", CAROL), ALICE) == DONE
    assert users.do(AddUserKey("bob", b"4" * 32)) == RightsRefused(Objection.KEY_COUNT, "bob")
    assert isinstance(users.do(Insert("jobs/1", b""), CAROL), Inserted)
    assert users.do(RemoveUserKey("bob", BOB), ALICE) == DONE
    assert users.do(Insert("jobs/1", b""), BOB) == SessionExpired()
    assert users.replica.result(Write(0, 0, 0, OpenSession(), BOB)) == Denied(None)


def test_a_role_ends_with_its_last_right_and_is_taken_from_its_users(users: Users) -> None:
    assert users.do(Grant("reader", READ, "/")) == DONE
    assert users.replica.machine.rights.roles["reader"] == Role("reader", ((READ, ""),))
    assert users.do(AssignRole("bob", "reader")) == DONE
    assert users.do(Revoke("reader", READ, "")) == DONE
    assert "reader" not in users.replica.machine.rights.roles
    assert users.replica.machine.rights.users["bob"].roles == ("clerk",)
    assert users.do(Grant("reader", READ)) == DONE
    assert users.replica.machine.rights.users["bob"].roles == ("clerk",), "a new role has no users"


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("USERS_MAX", [AddUser("carol", CAROL)]),
        ("ROLES_MAX", [Grant("reader", READ)]),
        ("USER_ROLES_MAX", [AssignRole("bob", "admin")]),
        ("ROLE_GRANTS_MAX", [Grant("clerk", WATCH)]),
        ("RIGHTS_BYTES_MAX", [Grant("clerk", WATCH, "long")]),
    ],
)
def test_limits(
    users: Users, monkeypatch: pytest.MonkeyPatch, name: str, commands: list[Command]
) -> None:
    reached = {"USERS_MAX": 2, "ROLES_MAX": 1, "USER_ROLES_MAX": 1, "ROLE_GRANTS_MAX": 3}
    monkeypatch.setattr(user_table, name, reached.get(name, 1))
    for command in commands:
        result = users.do(command)
        assert isinstance(result, RightsRefused)
        assert result.objection is Objection.TOO_MANY
    assert users.do(Revoke("clerk", READ, "config")) == DONE, "less is possible"


@pytest.mark.parametrize(
    "command",
    [
        AddUser("", ALICE),
        AddUser("Alice", ALICE),
        AddUser("a" * 65, ALICE),
        AddUser("a/b", ALICE),
        AddUser("alice", b"short"),
        AddUserKey("alice", b""),
        AssignRole("alice", ""),
        Grant("clerk", Right.USERS, "jobs/"),
        Grant("clerk", READ, "\0"),
    ],
)
def test_invalid_commands_are_refused_before_they_are_proposed(command: Command) -> None:
    with pytest.raises(ValueError, match=r"name|key|right|NUL"):
        check_command(command, 1000)


def test_a_write_with_no_key_for_its_user_is_refused() -> None:
    with pytest.raises(InvalidOperation):
        check_write(Write(1, 1, 1, Remove("a"), b"short"), 1000)


def test_users_and_roles_outlive_a_restart(users: Users) -> None:
    before = users.replica.machine.rights
    users.replica.reload()
    after = users.replica.machine.rights
    assert (after.users, after.roles, after.keys) == (before.users, before.roles, before.keys)


# --- rights of writes


@pytest.mark.parametrize(
    ("command", "denied"),
    [
        (Insert("jobs/1", b""), None),
        (Insert("jobs2/1", b""), Denied(WRITE, "jobs2/1")),
        (Insert("jobs", b""), Denied(WRITE, "jobs")),
        (Insert("config", b""), Denied(WRITE, "config")),
        (Remove("jobs/1"), None),
        (Remove("other"), Denied(WRITE, "other")),
        (Increment("other"), Denied(WRITE, "other")),
        (RemovePrefix("jobs/"), None),
        (RemovePrefix("jobs/1"), None),
        (RemovePrefix("jobs"), Denied(WRITE, "jobs")),
        (RemovePrefix("/"), Denied(WRITE, "")),
        (RemovePrefix(""), Denied(WRITE, "")),
        (Transact((Check("other"),), ()), Denied(READ, "other")),
        (Transact((Check("configuration"),), ()), None),
        (Transact((), (Lookup("other"),)), Denied(READ, "other")),
        (Transact((), (), (Insert("other", b""),)), Denied(WRITE, "other")),
        (Transact((), (Insert("jobs/1", b""),), (Lookup("other"),)), Denied(READ, "other")),
        (Transact((), (), (), (Fence("other", 1),)), Denied(READ, "other")),
        (GrantLease(5000), None),
        (AddUser("carol", CAROL), Denied(Right.USERS)),
        (Grant("clerk", READ), Denied(Right.USERS)),
    ],
)
def test_what_a_user_may_write(users: Users, command: Command, denied: Denied | None) -> None:
    before, revision = users.replica.tables[0], users.replica.machine.revision
    result = users.do(command, BOB)
    if denied is None:
        assert not isinstance(result, Denied)
    else:
        assert result == denied
        after = users.replica.tables[0]
        assert users.replica.machine.revision == revision
        assert after.keys() == before.keys()


def test_a_condition_needs_the_right_to_read(users: Users) -> None:
    users.all_do(Grant("writer", WRITE, "drop/"), AssignRole("bob", "writer"))
    assert isinstance(users.do(Insert("drop/1", b""), BOB), Inserted)
    assert users.do(Insert("drop/1", b"", 0), BOB) == Denied(READ, "drop/1")
    assert users.do(Remove("drop/1", 5), BOB) == Denied(READ, "drop/1")


def test_a_revocation_before_a_write_refuses_it_and_a_retry_of_either_stays(users: Users) -> None:
    session = users.session(BOB)
    first = Write(session, 901, 0, Insert("jobs/1", b""), BOB)
    second = Write(session, 902, 0, Insert("jobs/2", b""), BOB)
    inserted = users.replica.result(first)
    assert isinstance(inserted, Inserted)
    users.all_do(Revoke("clerk", WRITE, "jobs/"))
    assert users.replica.result(first) == inserted
    assert users.replica.result(second) == Denied(WRITE, "jobs/2")
    users.all_do(Grant("clerk", WRITE, "jobs/"))
    assert users.replica.result(second) == Denied(WRITE, "jobs/2"), "its result is remembered"
    users.replica.reload()
    assert users.replica.result(second) == Denied(WRITE, "jobs/2")


def test_a_removed_user_is_unknown(users: Users) -> None:
    session = users.session(BOB)
    insert = Write(session, 901, 0, Insert("jobs/1", b""), BOB)
    assert isinstance(users.replica.result(insert), Inserted)
    users.all_do(RemoveUser("bob"))
    for _ in range(2):
        assert users.replica.result(insert) == SessionExpired(), "its sessions end"
        assert users.replica.result(Write(0, 0, 0, OpenSession(), BOB)) == Denied(None)
        users.replica.reload()


def test_a_removed_key_is_unknown_and_the_other_one_is_not(users: Users) -> None:
    users.all_do(AddUserKey("bob", CAROL))
    session, other = users.session(BOB), users.session(CAROL)
    users.all_do(RemoveUserKey("bob", BOB))
    insert = Write(session, 901, 0, Insert("jobs/1", b""), BOB)
    assert users.replica.result(insert) == SessionExpired()
    assert isinstance(users.do(Insert("jobs/1", b""), CAROL), Inserted)
    assert users.session(CAROL) == other


def test_an_administrator_that_removes_itself_is_answered(users: Users) -> None:
    users.all_do(AddUser("carol", CAROL), AssignRole("carol", "admin"))
    assert users.do(RemoveUser("alice"), ALICE) == DONE
    users.replica.reload()
    assert users.do(Insert("jobs/1", b""), ALICE) == SessionExpired()


def test_a_session_belongs_to_the_user_that_opened_it(users: Users) -> None:
    session = users.session(BOB)
    read = Write(session, 901, 0, Transact((), (Lookup("jobs/1"),)), BOB)
    assert not isinstance(users.replica.result(read), Denied | SessionExpired)
    users.all_do(AddUser("carol", CAROL))
    for other in (CAROL, ALICE, b""):
        stolen = Write(session, 901, 0, Remove("x"), other)
        assert users.replica.result(stolen) == SessionExpired()


# --- leases


def test_a_lease_belongs_to_the_user_that_it_was_granted_to(users: Users) -> None:
    users.all_do(AddUser("carol", CAROL), AssignRole("carol", "clerk"))
    assert users.do(GrantLease(5000), BOB) == LeaseGranted(1)
    denied = Denied(WRITE, "")
    assert users.do(Insert("jobs/1", b"", None, 1), CAROL) == denied
    assert users.do(Transact((), (), (Insert("jobs/1", b"", None, 1),)), CAROL) == denied
    assert users.do(RevokeLease(1), CAROL) == denied
    assert isinstance(users.do(Insert("jobs/1", b"", None, 1), BOB), Inserted)
    assert isinstance(users.do(RevokeLease(1), BOB), LeaseEnded)
    assert users.do(RevokeLease(1), CAROL) == NoLease(1, has_ended=True)


def test_who_may_write_everything_may_end_all_leases(users: Users) -> None:
    users.all_do(GrantLease(5000))
    assert users.do(RevokeLease(1), BOB) == Denied(WRITE, "")
    assert isinstance(users.do(RevokeLease(1), ALICE), LeaseEnded)


def test_a_user_does_not_own_the_leases_of_a_former_one_of_its_name(users: Users) -> None:
    assert users.do(GrantLease(5000), BOB) == LeaseGranted(1)
    users.all_do(RemoveUser("bob"), AddUser("bob", CAROL), AssignRole("bob", "clerk"))
    users.replica.reload()
    for use in (Insert("jobs/1", b"", None, 1), RevokeLease(1)):
        assert users.do(use, CAROL) == Denied(WRITE, "")
    assert users.do(GrantLease(5000), CAROL) == LeaseGranted(2)
    assert isinstance(users.do(RevokeLease(2), CAROL), LeaseEnded)
    assert isinstance(users.do(RevokeLease(1), ALICE), LeaseEnded)


@pytest.mark.parametrize(
    "loss",
    [Revoke("clerk", WRITE, "jobs/"), UnassignRole("bob", "clerk"), RemoveRole("clerk")],
    ids=["revoked", "unassigned", "removed"],
)
def test_a_user_that_may_write_less_owns_its_leases_no_more(users: Users, loss: Command) -> None:
    users.all_do(Grant("keeper", WRITE, "other/"), AssignRole("bob", "keeper"))
    assert users.do(GrantLease(5000), BOB) == LeaseGranted(1)
    assert isinstance(users.do(Insert("jobs/1", b"", None, 1), BOB), Inserted)
    users.all_do(loss)
    users.replica.reload()
    assert users.do(RevokeLease(1), BOB) == Denied(WRITE, "")
    assert users.do(GrantLease(5000), BOB) == LeaseGranted(2)
    assert isinstance(users.do(RevokeLease(2), BOB), LeaseEnded)


def test_a_user_that_may_write_as_much_as_before_owns_its_leases(users: Users) -> None:
    users.all_do(Grant("keeper", WRITE, "jobs"), AssignRole("bob", "keeper"))
    assert users.do(GrantLease(5000), BOB) == LeaseGranted(1)
    users.all_do(Revoke("clerk", WRITE, "jobs/"), Revoke("clerk", READ, "jobs/"))
    assert isinstance(users.do(RevokeLease(1), BOB), LeaseEnded)


def test_leases_are_disowned_even_where_there_is_no_room_for_more_rights(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    users.all_do(Grant("keeper", WRITE, "jobs"), AssignRole("bob", "keeper"))
    users.all_do(*[GrantLease(5000)] * 200)
    assert users.do(GrantLease(5000), BOB) == LeaseGranted(201)
    monkeypatch.setattr(user_table, "RIGHTS_BYTES_MAX", 0)
    users.all_do(Revoke("keeper", WRITE, "jobs"), Revoke("clerk", WRITE, "jobs/"))
    assert users.do(RevokeLease(201), BOB) == Denied(WRITE, "")


def test_a_user_without_any_right_to_write_is_granted_no_lease(users: Users) -> None:
    users.all_do(Revoke("clerk", WRITE, "jobs/"))
    assert users.do(GrantLease(5000), BOB) == Denied(WRITE, "")


# --- against a plain model

PLACES = ("", "/", "a", "a/", "a/b", "a/b/", "ab", "b/")
KEYS = tuple(each for each in PLACES if each.strip("/") and not each.endswith("/"))
keys, prefixes = st.sampled_from(KEYS), st.sampled_from(PLACES)
leases = st.sampled_from((0, 0, 1, 2))
conditions = st.sampled_from((None, None, 0))
simple = st.one_of(
    st.builds(Insert, keys, st.just(b""), st.none(), leases),
    st.builds(Remove, keys),
    st.builds(RemovePrefix, prefixes),
    st.builds(Increment, keys),
    st.builds(Lookup, keys),
)
few: st.SearchStrategy[Sequence[TransactionOperation]] = st.lists(simple, max_size=2)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Insert, keys, st.just(b""), conditions, leases),
    st.builds(Remove, keys, conditions),
    st.builds(RemovePrefix, prefixes),
    st.builds(Increment, keys),
    st.builds(GrantLease, st.just(5000)),
    st.builds(RevokeLease, st.sampled_from((1, 2))),
    st.builds(
        Transact,
        st.lists(st.builds(Check, keys), max_size=2).map(tuple),
        few.map(tuple),
        few.map(tuple),
        st.lists(st.builds(Fence, keys, st.just(1)), max_size=1).map(tuple),
    ),
    st.builds(AddUser, st.just("carol"), st.just(CAROL)),
)
rights = st.sets(
    st.one_of(
        st.tuples(st.sampled_from((READ, WRITE, WATCH)), prefixes),
        st.tuples(st.just(Right.USERS), st.just("")),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(granted=rights, revoked=rights, done=st.lists(commands, min_size=1, max_size=6))
def test_a_command_is_denied_just_as_a_plain_model_says(
    granted: Grants, revoked: Grants, done: list[Command]
) -> None:
    users = Users()
    users.all_do(AddUser("alice", ALICE, only_first=True), AddUser("bob", BOB))
    users.all_do(GrantLease(5000))  # lease 1, of none in particular
    for number, (right, prefix) in enumerate(sorted(granted | revoked)):
        role = f"role-{number % 2}"
        users.all_do(Grant(role, right, prefix), AssignRole("bob", role))
    users.do(GrantLease(5000), BOB)  # lease 2, if it may
    held = {(right, "" if prefix == "/" else prefix) for right, prefix in granted | revoked}
    written = [prefix for right, prefix in held if right is WRITE]
    own = {2} if written else set()
    for right, prefix in sorted(revoked - granted):
        for role in ("role-0", "role-1"):
            users.do(Revoke(role, right, prefix))
        held -= {(right, "" if prefix == "/" else prefix)}
    if not all(covers(held, WRITE, prefix) for prefix in written):
        own = set()  # who may write less owns its leases no more
    for command in done:
        result = users.do(command, BOB)
        own &= {lease for lease in own if users.replica.machine._leases.find(lease)}
        known = own | ({1, 2} - {lease for lease in (1, 2) if _exists(users, lease)})
        if not isinstance(result, LeaseEnded):
            assert isinstance(result, Denied) == bool(missing(held, command, known)), command


def _exists(users: Users, lease: int) -> bool:
    return users.replica.machine._leases.find_shared(lease) is not None


def test_a_lookup_of_an_allowed_key_returns_its_value(users: Users) -> None:
    users.all_do(Insert("jobs/1", b"v"))
    result = users.do(Transact((), (Lookup("jobs/1"),)), BOB)
    assert isinstance(getattr(result, "results", (None,))[0], Found)
