"""Users and roles: administered by both clients and the command line, and kept by snapshots."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from protocol.security import z85
from skiff import (
    AsyncClient,
    Client,
    GrantInfo,
    Identity,
    InvalidRequest,
    LastAdministrator,
    RequestTimeout,
    RoleInfo,
    RoleNotFound,
    UserExists,
    UserInfo,
    UserNotFound,
)
from skiff.cli.application import run
from skiff.key_files import make_user_keys, read_public_key
from skiff.testing import Cluster
from tests.cluster.keyed import keyed_or_insecure

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("users")
    with Cluster(1, directory=directory, options=keyed_or_insecure()) as running:
        yield running


def new_key() -> str:
    return zmq.curve_keypair()[0].decode()


def test_users_and_roles_by_the_client(client: Client) -> None:
    first, second, third = new_key(), new_key(), new_key()
    client.add_user("root", first, only_first=True)
    with pytest.raises(UserExists):
        client.add_user("other", second, only_first=True)
    client.add_user("alice", second)
    client.add_user_key("alice", third)
    client.remove_user_key("alice", second)
    client.grant("clerk", "read", "jobs/")
    client.grant("clerk", "backup")
    client.assign_role("alice", "clerk")
    users = [UserInfo("alice", (third,), ("clerk",)), UserInfo("root", (first,), ("admin",))]
    assert client.users() == users
    assert client.roles() == [
        RoleInfo("clerk", (GrantInfo("read", "jobs/"), GrantInfo("backup", "")))
    ]
    assert client.whoami() == Identity(None, ())
    with pytest.raises(LastAdministrator):
        client.unassign_role("root", "admin")
    with pytest.raises(UserNotFound):
        client.remove_user("bob")
    with pytest.raises(RoleNotFound):
        client.revoke("clerk", "read", "jobs")
    with pytest.raises(UserExists):
        client.add_user("bob", third)
    client.revoke("clerk", "read", "jobs/")
    client.unassign_role("alice", "clerk")
    client.remove_role("clerk")
    client.remove_user("alice")
    assert (client.roles(), [user.name for user in client.users()]) == ([], ["root"])


@pytest.mark.parametrize(
    "arguments",
    [("Alice", "x" * 40), ("alice", "too short"), ("alice", b"x" * 40), ("alice", "#" * 40)],
)
def test_invalid_users_are_refused(client: Client, arguments: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        client.add_user(*arguments)
    with pytest.raises(InvalidRequest):
        client.grant("clerk", "everything")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        client.grant("clerk", "members", "jobs/")


def test_users_by_the_asyncio_client(cluster: Cluster) -> None:
    async def administer() -> None:
        async with AsyncClient(cluster.addresses) as client:
            await client.add_user("carol", new_key())
            await client.grant("guard", "watch")
            await client.assign_role("carol", "guard")
            assert [role.name for role in await client.roles()] == ["guard"]
            await client.remove_user("carol")
            await client.remove_role("guard")

    asyncio.run(administer())


def test_users_on_the_command_line(
    cluster: Cluster, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    url = ["--url", cluster.addresses[0]]
    make_user_keys("dave", tmp_path, ())
    file = tmp_path / "dave.key"
    key = z85.encode(read_public_key(file))
    assert run(["role", "grant", "reader", "read", "jobs/", *url]) == 0
    assert run(["user", "add", "dave", str(file), "--role", "reader", *url]) == 0
    assert run(["user", "add", "dave", str(file), *url]) == 4
    assert run(["user", "assign", "dave", "nothing", *url]) == 3
    capfdbinary.readouterr()
    assert run(["user", "list", *url]) == 0
    assert f"dave {key} reader".encode() in capfdbinary.readouterr().out
    assert run(["role", "list", "--json", *url]) == 0
    shown = capfdbinary.readouterr().out
    assert b'{"name":"reader","grants":[{"right":"read","prefix":"jobs/"}]}' in shown
    assert run(["whoami", *url]) == 0
    assert capfdbinary.readouterr().out == b"-\n"
    assert run(["role", "revoke", "reader", "read", "jobs/", *url]) == 0
    assert run(["user", "unassign", "dave", "reader", *url]) == 3, "it has ended"
    assert run(["user", "add-key", "dave", str(tmp_path / "dave.key_secret"), *url]) == 2
    assert run(["user", "remove", "dave", *url]) == 0


def test_a_right_without_a_prefix_is_shown_as_one_on_all_keys(
    cluster: Cluster, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    url = ["--url", cluster.addresses[0]]
    for right, told in (
        (["watch"], b"watch on all keys"),
        (["read", "/"], b"read on all keys"),
        (["write", "jobs/"], b"write on jobs/"),
        (["backup"], b"backup"),
    ):
        assert run(["role", "grant", "wide", *right, *url]) == 0
        assert b"the role wide has the right %b\n" % told in capfdbinary.readouterr().err
    assert run(["role", "list", *url]) == 0
    rows = [line.split(maxsplit=2) for line in capfdbinary.readouterr().out.splitlines()]
    assert [row[1:] for row in rows if row[0] == b"wide"] == [
        [b"read", b"all keys"],
        [b"write", b"jobs/"],
        [b"watch", b"all keys"],
        [b"backup"],
    ]
    assert run(["role", "list", "--json", *url]) == 0
    assert b'{"right":"watch","prefix":""}' in capfdbinary.readouterr().out
    assert run(["role", "revoke", "wide", "watch", *url]) == 0
    told = capfdbinary.readouterr().err
    assert b"the role wide no longer has the right watch on all keys" in told
    assert run(["role", "remove", "wide", *url]) == 0


def test_adding_a_user_with_roles_changes_nothing_or_can_be_repeated(
    cluster: Cluster,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_user_keys("fred", tmp_path, ())
    url = ["--url", cluster.addresses[0]]
    add = ["user", "add", "fred", str(tmp_path / "fred.key"), *url]
    with cluster.client() as client:
        client.grant("first", "read")
        client.grant("second", "read")
        assert run([*add, "--role", "first", "--role", "nosuch"]) == 3
        assert b"'nosuch' is not a role; nothing was changed" in capfdbinary.readouterr().err
        assert "fred" not in {each.name for each in client.users()}
        with monkeypatch.context() as patch:
            patch.setattr(Client, "assign_role", interrupted(Client.assign_role))
            assert run([*add, "--role", "first", "--role", "second"]) == 6
        told = capfdbinary.readouterr().err.decode()
        assert "the user fred was added, but its roles second are not confirmed" in told
        assert "nothing was changed" not in told
        assert run([*add, "--role", "first", "--role", "second"]) == 0
        (roles,) = [each.roles for each in client.users() if each.name == "fred"]
        assert sorted(roles) == ["first", "second"]
        assert run([*add, "--role", "first", "--role", "second"]) == 4
        client.remove_user("fred")


def interrupted(assign_role: Callable[..., None]) -> Callable[..., None]:
    """Return a method that times out for the second role."""

    def assign(client: Client, name: str, role: str) -> None:
        if role == "second":
            raise RequestTimeout("no answer; nothing was changed")
        assign_role(client, name, role)

    return assign


@pytest.mark.plain
def test_a_node_without_keys_refuses_users_and_starts_again(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with Cluster(1, directory=tmp_path) as cluster, cluster.client() as client:
        make_user_keys("dave", tmp_path, ())
        add = ["user", "add", "dave", str(tmp_path / "dave.key"), "--url", cluster.addresses[0]]
        assert run(add) == 2
        assert b"skiff keygen cluster" in capfdbinary.readouterr().err
        with pytest.raises(InvalidRequest, match=r"'skiff keygen cluster DIR'.*--insecure"):
            client.add_user("eve", new_key())
        with pytest.raises(InvalidRequest, match="has no key"):
            client.grant("clerk", "read")
        assert (client.users(), client.roles()) == ([], [])
        (node,) = cluster.nodes
        cluster.kill(node)
        cluster.restart(node)
        assert client.insert("a", 1)
