"""Security of real nodes: who gets in, what is told, what is kept secret, how keys are rotated."""

import asyncio
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocol.security import z85
from skiff import AsyncClient, Client, PermissionDenied, Skiff
from skiff.key_files import (
    make_cluster_keys,
    make_user_keys,
    read_cluster_keys,
    read_server_keys,
)
from skiff.testing import Cluster, Node, free_port, wait_until
from tests.cluster.audited import audited
from tests.cluster.command import run
from tests.faults.load import Load
from tests.harness.curve_client import CurveClient

pytestmark = pytest.mark.cluster

REFUSAL = ("Connect", "refused")
QUICKLY = 3.0  # seconds, of a client that may wait for ten


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with keys, and a user that they do not know; the last test replaces the keys."""
    directory = tmp_path_factory.mktemp("secure")
    options = ("--log-level", "debug")
    keys = directory / "keys"
    for made in (keys, keys / "new", keys / "other"):
        make_cluster_keys(made)
    make_user_keys("eve", keys, read_server_keys(keys / "cluster.key"))
    _accept(keys / "cluster.key_secret", keys / "new" / "cluster.key")
    _accept(keys / "new" / "cluster.key_secret", keys / "cluster.key")
    with Cluster(3, directory=directory, keys=True, trace=True, options=options) as running:
        yield running


def _accept(secret: Path, public: Path) -> None:
    """Edit a file of a cluster as an operator does, to accept another key, too."""
    (key,) = read_server_keys(public)
    text = secret.read_text()
    secret.write_text(text.replace("accepted = []", f'accepted = ["{z85.encode(key)}"]'))


def key_of(secure: Cluster) -> Path:
    assert secure.key is not None
    return secure.key


def test_both_clients_watches_backups_and_commands_work_with_keys(
    secure: Cluster, tmp_path: Path
) -> None:
    url = f"skiffs://{','.join(secure.addresses)}?key={key_of(secure)}"
    with secure.client() as client, client.watch("a/") as changes, client.mirror("a/") as mirror:
        mirror.wait_for(client.insert("a/1", 1))
        assert mirror["a/1"] == 1
        assert next(changes).value == 1
        client.backup(tmp_path / "backup")
        status = client.status()
        assert status.secure

    async def use() -> None:
        async with AsyncClient(url) as client:
            changes = await client.watch("a/")
            await client.insert("a/2", 2)
            assert (await changes.next_event(5)).value == 2
            await client.backup(tmp_path / "other")

    asyncio.run(use())
    told = run("status", "--url", ",".join(secure.addresses), "--key", str(key_of(secure)))
    assert told.returncode == 0, told.stderr
    assert told.stdout.decode().count("yes") == 3
    assert run("get", "a/2", "--url", url).stdout == b"2\n"
    kept = {"SKIFF_URL": ",".join(secure.addresses), "SKIFF_KEY": str(key_of(secure))}
    assert run("get", "a/2", settings=kept).stdout == b"2\n"


@pytest.mark.parametrize(
    ("key", "told"),
    [("", "requires a key, as do 2 others"), ("eve", "refuses this key, as do 2 others")],
)
def test_a_refused_client_is_told_so_at_once(secure: Cluster, key: str, told: str) -> None:
    file = key_of(secure).with_name(f"{key}.key_secret") if key else ""
    began = time.monotonic()
    with (
        Client(secure.addresses, timeout=10, key=file) as client,
        pytest.raises(PermissionDenied, match=told) as refused,
    ):
        client.get("a/1")
    assert isinstance(refused.value, PermissionError)

    async def ask() -> None:
        async with AsyncClient(secure.addresses, timeout=10, key=file) as client:
            await client.insert("a/1", 1)

    with pytest.raises(PermissionDenied, match=told):
        asyncio.run(ask())
    assert time.monotonic() - began < QUICKLY
    command = run("get", "a/1", "--url", ",".join(secure.addresses), "--key", str(file))
    assert command.returncode == 8, command.stderr


def test_nodes_that_cannot_prove_to_be_of_the_cluster_are_not_used(secure: Cluster) -> None:
    other = key_of(secure).parent / "other" / "cluster.key"
    began = time.monotonic()
    with (
        Client(secure.addresses, timeout=10, key=key_of(secure), server_key=other) as client,
        pytest.raises(PermissionDenied, match="presents none of the known keys of this cluster"),
    ):
        client.get("a/1")
    assert time.monotonic() - began < QUICKLY


def test_a_client_with_a_key_sends_nothing_to_a_node_without(
    secure: Cluster, tmp_path: Path
) -> None:
    with (
        Skiff(tmp_path / "plain", port=free_port()) as plain,
        Client([plain.address], timeout=10, key=key_of(secure)) as client,
    ):
        plain.wait_for_leader()
        began = time.monotonic()
        with pytest.raises(PermissionDenied, match="does not offer the encryption that this"):
            client.insert("secret", "text")
        assert time.monotonic() - began < QUICKLY
        with plain.client() as own:
            assert not own.status().secure


def test_refused_connections_show_in_the_status_and_once_in_the_log(secure: Cluster) -> None:
    node = secure.nodes[0]
    eve = key_of(secure).with_name("eve.key_secret")

    def intrude() -> bool:
        with Client([node.address], key=eve) as refused, pytest.raises(PermissionDenied):
            refused.get("a/1")
        return any(each["target"] == "127.0.0.1" for each in refusals_of(node))

    with node.client() as client:
        before = client.status().refused_handshakes
        for _ in range(3):
            intrude()
        assert client.status().refused_handshakes >= before + 3
    wait_until(intrude, "one was not gone before its address was asked for")
    assert node.log().count("refused 127.0.0.1: unknown key") == 1


def test_refusals_of_the_peer_port_show_as_well(secure: Cluster) -> None:
    node = secure.nodes[1]
    with node.client() as client:
        before = client.status().refused_handshakes
        endpoint = f"tcp://127.0.0.1:{node.port + 2}"
        with CurveClient(zmq.DEALER, endpoint) as stranger:
            wait_until(lambda: stranger.succeeded() is False, "it is refused")
        wait_until(lambda: client.status().refused_handshakes > before, "the refusal is counted")
    wait_until(lambda: refusals_of(node), "the refusal is audited")


def refusals_of(node: Node) -> list[dict[str, Any]]:
    """Return the records of refused connections in a node's audit trail."""
    records = audited(node.directory)
    return [each for each in records if (each["operation"], each["outcome"]) == REFUSAL]


def test_a_node_without_the_key_does_not_join_and_says_why(secure: Cluster, tmp_path: Path) -> None:
    plain = Node(tmp_path / "plain", ["--join", secure.nodes[0].address])
    plain.key = None
    plain.launch()
    try:
        wait_until(lambda: "requires a key" in plain.log(), "it says why")
        assert len(secure.nodes[0].status().members) == 3  # type: ignore[union-attr]
    finally:
        plain.kill()


def test_what_a_node_writes_is_for_its_user_alone(secure: Cluster) -> None:
    old = os.umask(0)
    try:
        node = Node(secure.directory / "open", [], key=secure.key)
        node.launch()
        node.wait_until_ready()
    finally:
        os.umask(old)
    sockets = list(node.directory.parent.glob("skiff.*"))
    everything = [node.directory, *node.directory.rglob("*"), *sockets]
    everything += [each for place in sockets for each in place.iterdir()]
    node.terminate()
    modes = {str(each): stat.S_IMODE(each.lstat().st_mode) for each in everything if each.exists()}
    assert len(modes) > 10
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


# --- embedding and commands


def test_a_program_embeds_a_secure_node_in_five_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cluster_keys(tmp_path / "keys")
    key = tmp_path / "keys" / "cluster.key_secret"
    monkeypatch.setenv("SKIFF_KEY", str(tmp_path / "nowhere"))
    with Skiff(tmp_path / "node", port=free_port(), key=key, founding_ms=0) as node:
        node.wait_for_leader()
        with node.client() as client:
            client.insert("key", "value")
            assert client.status().secure
        with Client([node.address], key=tmp_path / "keys" / "cluster.key_secret") as client:
            assert client.get("key") == "value"


def test_an_embedded_node_with_a_leader_accepts_its_first_administrator(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_cluster_keys(keys)
    with Skiff(
        tmp_path / "node",
        port=free_port(),
        key=keys / "cluster.key_secret",
        admin_key=keys / "admin.key",
        founding_ms=0,
    ) as node:
        node.wait_for_leader(None)
        with Client([node.address], key=keys / "admin.key_secret") as client:
            assert client.whoami().user == "admin"


def test_keys_are_made_once_by_commands_and_insecure_files_are_refused(tmp_path: Path) -> None:
    made = run("keygen", "cluster", str(tmp_path / "keys"))
    assert made.returncode == 0, made.stderr
    assert [line.split()[0].rpartition("/")[2] for line in made.stdout.decode().splitlines()] == [
        "cluster.key_secret",
        "cluster.key",
        "admin.key_secret",
        "admin.key",
    ]
    public = tmp_path / "keys" / "cluster.key"
    assert run("keygen", "user", "ann", str(tmp_path)).returncode == 2
    named = {"SKIFF_SERVER_KEY": str(public)}
    made = run("keygen", "user", "ann", str(tmp_path), settings=named)
    assert made.returncode == 0, made.stderr
    (tmp_path / "ann.key_secret").chmod(0o644)
    told = run("get", "key", "--key", str(tmp_path / "ann.key_secret"))
    assert (told.returncode, b"chmod 600" in told.stderr) == (2, True)
    told = run(
        "node",
        "start",
        "--dir",
        str(tmp_path / "node"),
        "--bind",
        "192.0.2.1",
        settings={"SKIFF_KEY": ""},
    )
    assert (told.returncode, told.stderr.count(b"\n")) == (2, 1)
    assert b"skiff keygen" in told.stderr
    assert b"--insecure" in told.stderr


# --- rotation


def test_the_key_is_rotated_node_by_node_under_load(secure: Cluster) -> None:
    """All nodes accept the new key already; clients know both."""
    key = key_of(secure)
    with Load(secure, writers=2) as load:
        load.wait_for(20)
        for number, node in enumerate(secure.nodes):
            node.key = key.with_name(f"node-{number}.key_secret")
            shutil.copy(key.parent / "new" / "cluster.key_secret", node.key)
            secure.restart(node)
            load.wait_for(5)
        load.wait_for(20)
    assert (load.failures, load.unknown) == ([], [])
    for node in secure.nodes:
        load.check(node)
    with secure.client() as client:  # with the former key, which is accepted
        assert client.status().secure


def test_the_steps_of_the_readme_rotate_the_key_of_nodes_and_users(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    old, new = keys / "cluster.key_secret", keys / "new" / "cluster.key_secret"
    user = keys / "admin.key_secret"
    late = keys / "late.key_secret"  # of a client that skips the second step
    for made in (keys, keys / "new"):
        make_cluster_keys(made)
    shutil.copy(user, late)
    first, second = (_public(each.with_name("cluster.key")) for each in (old, new))
    with Cluster(3, directory=tmp_path, keys=True) as cluster:
        with cluster.client() as client:
            client.add_user("admin", _public(keys / "admin.key"), only_first=True)
        _set_list(old, "accepted", second)
        _restart_all(cluster, old, user)
        _set_list(user, "servers", first, second)
        _set_list(new, "accepted", first)
        _restart_all(cluster, new, user)
        with Client(cluster.addresses, key=late) as lost, pytest.raises(PermissionDenied):
            lost.insert("key", "value", timeout=2)
        _set_list(user, "servers", second)
        _set_list(new, "accepted")
        _restart_all(cluster, new, user)


def _public(file: Path) -> str:
    (key,) = [line.split('"')[1] for line in file.read_text().splitlines() if "public =" in line]
    return key


def _set_list(file: Path, name: str, *keys: str) -> None:
    """Edit a list in a secret file."""
    lines = file.read_text().splitlines()
    lines = [line for line in lines if not line.startswith(f"{name} = ")]
    quoted = ", ".join(f'"{each}"' for each in keys)
    file.write_text("\n".join([*lines, f"{name} = [{quoted}]", ""]))


def _restart_all(cluster: Cluster, key: Path, user: Path) -> None:
    """Restart the nodes one after another with a key file; a user's client writes by each."""
    for node in cluster.nodes:
        node.key = key
        cluster.restart(node)
        for each in cluster.nodes:
            with Client(each.address, key=user, timeout=20) as client:
                client.insert("key", each.address)


def test_no_secret_key_shows_anywhere(secure: Cluster, tmp_path: Path) -> None:
    with Skiff(tmp_path / "own", port=free_port(), key=key_of(secure)) as own:
        own.wait_until_serving()
        listed = ["ps", "-axww", "-o", "args="]
        shown = subprocess.run(listed, capture_output=True, check=True).stdout
    assert str(tmp_path / "own").encode() in shown, "the actors are listed"
    for node in secure.nodes:
        node.terminate()
    files = [each for node in secure.nodes for each in node.directory.rglob("*") if each.is_file()]
    assert any(each.suffix == ".ndjson" for each in files), "there are traces"
    written = [each.read_bytes() for each in files]
    written += [node.log().encode() for node in secure.nodes]
    for file in (key_of(secure), key_of(secure).parent / "new" / "cluster.key_secret"):
        secret = read_cluster_keys(file).pair.secret
        text = z85.encode(secret).encode()
        assert text in file.read_bytes()
        for form in (text, secret, secret.hex().encode(), repr(secret).encode()):
            assert not any(form in each for each in (shown, *written))
