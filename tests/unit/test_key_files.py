"""Key files: their modes, what they hold, and what is refused with a sentence."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from zmq.utils import z85 as reference

from protocol.security import z85
from protocol.security.key_files import cluster_files
from protocol.security.keys import ClusterKeys, KeyPair
from skiff import AsyncClient, Client, InvalidConfig, InvalidKey, Skiff
from skiff.addresses import addresses_of, keys_of, moved_to, with_keys
from skiff.key_files import (
    make_cluster_keys,
    make_user_keys,
    read_client_keys,
    read_cluster_keys,
    read_public_key,
    read_server_keys,
)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SKIFF_KEY", "SKIFF_SERVER_KEY"):
        monkeypatch.delenv(name, raising=False)
    make_cluster_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_z85_is_that_of_zeromq() -> None:
    for _ in range(100):
        data = os.urandom(32)
        assert z85.encode(data) == reference.encode(data).decode()
        assert z85.decode(z85.encode(data)) == data
    for wrong in ("0", "0000~", "#####", "%nSc1"):
        with pytest.raises(ValueError, match="not Z85"):
            z85.decode(wrong)


# --- files


def test_secret_files_belong_to_their_owner_from_the_first_moment_on(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int, int]] = []
    real = os.open

    def watch(path: Path, flags: int, mode: int = 0o777) -> int:
        opened.append((Path(path).suffix, flags & (os.O_CREAT | os.O_EXCL), mode))
        return real(path, flags, mode)

    monkeypatch.setattr("skiff.key_files.os.open", watch)
    old = os.umask(0)
    try:
        make_user_keys("ann", keys, read_server_keys(keys / "cluster.key"))
    finally:
        os.umask(old)
    new = os.O_CREAT | os.O_EXCL
    assert opened == [(".key_secret", new, 0o600), (".key", new, 0o644)]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()}
    assert {name for name, mode in modes.items() if mode & 0o077 == 0} == {
        "admin.key_secret",
        "ann.key_secret",
        "cluster.key_secret",
    }


def test_no_file_is_ever_overwritten(keys: Path) -> None:
    before = {path: path.read_bytes() for path in keys.iterdir()}
    with pytest.raises(InvalidKey, match=r"cluster.key_secret is there already"):
        make_cluster_keys(keys)
    (keys / "ann.key").symlink_to(keys / "nowhere")
    with pytest.raises(InvalidKey, match=r"ann.key is there already"):
        make_user_keys("ann", keys, (b"k" * 32,))
    assert {path: path.read_bytes() for path in keys.iterdir() if path.exists()} == before


@pytest.mark.parametrize("name", ["", "../ann", "a b", 'a"b', "cluster", "é", "a\nb"])
def test_a_name_that_is_none_is_refused(keys: Path, name: str) -> None:
    with pytest.raises(InvalidKey, match="name"):
        make_user_keys(name, keys, (b"k" * 32,))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_secret_file_that_others_may_touch_is_refused_by_node_and_clients(
    keys: Path, tmp_path: Path, mode: int
) -> None:
    path = keys / "cluster.key_secret"
    path.chmod(mode)
    told = rf"other users may read or change this secret file \(mode {mode:04o}\)"
    with pytest.raises(InvalidConfig, match=told):
        Skiff(tmp_path / "node", key=path)
    for make in (Client, AsyncClient):
        with pytest.raises(InvalidKey, match=told):
            make("127.0.0.1:9400", key=path)


def test_the_files_hold_what_a_client_and_a_node_need(keys: Path) -> None:
    cluster = read_cluster_keys(keys / "cluster.key_secret")
    make_user_keys("ann", keys, cluster.known)
    assert read_server_keys(keys / "cluster.key") == (cluster.pair.public,)
    assert read_client_keys(keys / "ann.key_secret").servers == (cluster.pair.public,)
    assert read_client_keys(keys / "cluster.key_secret").servers == (cluster.pair.public,)
    admin = read_client_keys(keys / "admin.key_secret")
    assert read_public_key(keys / "admin.key") == admin.pair.public
    named = z85.encode(b"1" * 32) + "," + z85.encode(b"2" * 32)
    assert read_client_keys(keys / "ann.key_secret", named).servers == (b"1" * 32, b"2" * 32)


def test_a_rotated_file_accepts_further_keys(keys: Path) -> None:
    path = keys / "cluster.key_secret"
    text = path.read_text()
    path.write_text(text.replace("accepted = []", f'accepted = ["{z85.encode(b"n" * 32)}"]'))
    cluster = read_cluster_keys(path)
    assert cluster.known == (cluster.pair.public, b"n" * 32)
    assert read_client_keys(path).servers == cluster.known


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("cluster.key", None, "give the secret one"),
        ("admin.key_secret", None, "a node needs the cluster's"),
        ("missing", None, "cannot read the key file"),
        ("other", "garbage = ", "not a key file: it is not valid TOML, at end of document; make"),
        ("other", 'kind = "cluster"\npublic = oops', "not valid TOML, at line 2, column 10; make"),
        ("other", 'kind = "cluster"', "not a key file: it has no field public; make one by"),
        ("other", 'kind = "cluster"\npublic = ""\nservrs = 1', "has the unknown field servrs;"),
        ("other", 'kind = "cluster"\npublic = 3', "its field public has a wrong type or value;"),
        ("other", 'kind = "cluster"\npublic = ""\naccepted = [3]', "its field accepted has a wr"),
        ("other", 'kind = "XSECRET"', "its field kind has a wrong type or value;"),
        ("other", 'kind = "cluster"\npublic = ""\nXSECRET = 1', "make one by 'skiff keygen'$"),
        ("other", 'kind = "cluster"\npublic = "short"\nsecret = "x"', "40 characters of Z85"),
        ("other", "\udcff", "not a key file"),
    ],
)
def test_what_is_no_key_of_a_cluster_is_refused(
    keys: Path, name: str, text: str | None, told: str
) -> None:
    if text is not None:
        (keys / name).write_bytes(text.encode(errors="surrogateescape"))
        (keys / name).chmod(0o600)
    with pytest.raises(InvalidKey, match=told) as refused:
        read_cluster_keys(keys / name)
    assert "XSECRET" not in str(refused.value)


def test_a_file_name_in_place_of_a_key_is_refused_with_where_the_key_is(keys: Path) -> None:
    path = keys / "cluster.key_secret"
    path.write_text(path.read_text().replace("accepted = []", 'accepted = ["new/cluster.key"]'))
    told = "field accepted is not a key: a key is 40 characters of Z85: the value of public in a"
    for read in (read_cluster_keys, read_client_keys):
        with pytest.raises(InvalidKey, match=told):
            read(path)


def test_the_home_directory_is_meant_wherever_a_key_file_is_named(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    servers = read_server_keys("~/keys/cluster.key")
    made = make_user_keys("ann", Path("~/keys"), servers)
    assert made == [keys / "ann.key_secret", keys / "ann.key"]
    assert read_client_keys("~/keys/ann.key_secret").servers == servers
    assert make_cluster_keys(Path("~/new"))[0] == tmp_path / "new" / "cluster.key_secret"
    node = Skiff(tmp_path / "node", key="~/keys/cluster.key_secret")
    assert node._config.key == str(keys / "cluster.key_secret")
    assert not (tmp_path / "~").exists()


def test_the_home_directory_of_an_unknown_user_is_refused(keys: Path, tmp_path: Path) -> None:
    for call in (
        lambda: read_client_keys("~nosuchuser/x"),
        lambda: read_server_keys("~nosuchuser/x"),
        lambda: make_user_keys("ann", Path("~nosuchuser/x"), ()),
        lambda: make_cluster_keys(Path("~nosuchuser/x")),
    ):
        with pytest.raises(InvalidKey, match="~nosuchuser/x: there is no home directory"):
            call()
    with pytest.raises(InvalidConfig, match="no home directory"):
        Skiff(tmp_path / "node", key="~nosuchuser/x")


def test_keys_that_do_not_belong_together_are_refused(keys: Path) -> None:
    ours = read_cluster_keys(keys / "cluster.key_secret").pair
    admin = read_client_keys(keys / "admin.key_secret").pair
    mixed = keys / "mixed"
    mixed.write_text(cluster_files(KeyPair(ours.public, admin.secret))[0])
    mixed.chmod(0o600)
    with pytest.raises(InvalidKey, match="do not belong together"):
        read_client_keys(mixed)


def test_a_secret_is_in_no_representation(keys: Path, tmp_path: Path) -> None:
    pair = KeyPair(b"p" * 32, b"s" * 32)
    shown = [repr(pair), repr(ClusterKeys(pair)), str(pair), f"{pair}", repr(pair.__rich_repr__())]
    assert not any("ssss" in each or z85.encode(pair.secret) in each for each in shown)
    text = (keys / "cluster.key_secret").read_text()
    (secret,) = [line.split('"')[1] for line in text.splitlines() if line.startswith("secret")]
    node = Skiff(tmp_path / "node", key=keys / "cluster.key_secret")
    assert secret not in repr(node) + repr(vars(node)) + repr(node._config)
    (keys / "cluster.key_secret").write_text(text + "oops")
    with pytest.raises(InvalidKey) as refused:
        read_client_keys(keys / "cluster.key_secret")
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


# --- nodes


def test_the_administrators_key_is_read_at_the_start(keys: Path, tmp_path: Path) -> None:
    key = keys / "cluster.key_secret"
    node = Skiff(tmp_path / "node", key=key, admin_key=keys / "admin.key")
    assert node._config.admin_key == z85.encode(read_public_key(keys / "admin.key"))
    with pytest.raises(InvalidConfig, match="give the public one"):
        Skiff(tmp_path / "node", key=key, admin_key=keys / "admin.key_secret")


def test_a_node_that_others_reach_needs_a_key_or_must_be_insecure(
    keys: Path, tmp_path: Path
) -> None:
    place = {"bind": "0.0.0.0", "advertise": "node.example"}
    with pytest.raises(InvalidConfig, match=r"'skiff keygen cluster DIR'.*--insecure"):
        Skiff(tmp_path / "node", **place)  # type: ignore[arg-type]
    Skiff(tmp_path / "node", **place, insecure=True)  # type: ignore[arg-type]
    Skiff(tmp_path / "node", **place, key=keys / "cluster.key_secret")  # type: ignore[arg-type]


# --- clients


def test_a_client_takes_its_keys_from_argument_url_or_environment(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, cluster = keys / "admin.key_secret", keys / "cluster.key_secret"
    public = read_public_key(keys / "admin.key")
    for found in (
        keys_of("host:9400", admin, None),
        keys_of(["host:9400"], admin, None),
        keys_of(f"skiffs://host:9400,other?key={admin}", None, None),
        keys_of(f"skiffs://host:9400?key={cluster}", admin, None),
        keys_of(with_keys("host:9400", str(admin), None), None, None),
        keys_of(moved_to(f"skiffs://host:9400?key={admin}", "other:1"), None, None),
    ):
        assert found is not None
        assert found.pair.public == public
    assert keys_of("host:9400", None, None) is None
    monkeypatch.setenv("SKIFF_KEY", str(admin))
    monkeypatch.setenv("SKIFF_SERVER_KEY", z85.encode(b"s" * 32))
    found = keys_of("skiffs://host:9400", None, None)
    assert found is not None
    assert (found.pair.public, found.servers) == (public, (b"s" * 32,))
    assert keys_of("host:9400", "", None) is None
    assert keys_of(["ipc:///a/node"], None, None) is None


def test_the_addresses_of_a_url_are_those_before_its_key() -> None:
    assert addresses_of("skiffs://a:1,b?key=/x/y.key_secret") == ["a:1", "b:9400"]
    assert addresses_of(with_keys("a:1,b", "k ey&?", "s#%")) == ["a:1", "b:9400"]


@pytest.mark.parametrize(
    ("target", "key", "told"),
    [
        ("skiff://host", True, "write skiffs://"),
        ("skiffs://host", False, "skiffs:// needs a key"),
    ],
)
def test_scheme_and_keys_must_not_contradict_each_other(
    keys: Path, target: str, key: bool, told: str
) -> None:
    with pytest.raises(InvalidKey, match=told):
        Client(target, key=keys / "admin.key_secret" if key else None)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_server_key_without_a_key_is_refused(
    client: type[Client | AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = z85.encode(b"s" * 32)
    for target, given in (("host", server), ("host", "/nope"), ("host?server_key=x", None)):
        with pytest.raises(InvalidKey, match="a server key needs a secret key, too: give"):
            client(target, server_key=given)
    with pytest.raises(InvalidKey, match="a server key needs a secret key"):
        client("host", key="", server_key=server)
    with pytest.raises(InvalidKey, match="write skiffs://"):
        client("skiff://host", server_key=server)
    monkeypatch.setenv("SKIFF_SERVER_KEY", server)
    with pytest.raises(InvalidKey, match="a server key needs a secret key"):
        client("host")
    assert keys_of("host", "", None) is None


class PathOfBytes:
    def __fspath__(self) -> bytes:
        return b"x"


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("given", [5, 0, b"x", b"", PathOfBytes(), "a\0b", "\ud800"])
def test_a_key_is_a_path(client: type[Client | AsyncClient], given: Any, keys: Path) -> None:
    with pytest.raises(InvalidKey, match=r"^key must be a path, "):
        client("host", key=given)
    with pytest.raises(InvalidKey, match=r"^server_key must be a path, "):
        client("host", key=keys / "admin.key_secret", server_key=given)
    with pytest.raises(InvalidKey, match=r"^key must be a path, and has a null character"):
        client("host?key=a%00b")


def test_many_server_keys_as_text_are_no_file_name(keys: Path) -> None:
    servers = tuple(bytes([number]) * 32 for number in range(1, 8))
    found = keys_of("host", keys / "admin.key_secret", ",".join(map(z85.encode, servers)))
    assert found is not None
    assert found.servers == servers
    with pytest.raises(InvalidKey, match="no such file, and no public key of a cluster"):
        Client("host", key=keys / "admin.key_secret", server_key="x" * 300)


@pytest.mark.parametrize("target", ["skiffs://host?keys=x", "skiffs://host?x", "host?token=x"])
def test_unknown_parts_of_a_url_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"may have \?key=FILE alone"):
        Client(target)


def test_a_user_without_a_key_of_the_cluster_is_told_where_to_name_it(keys: Path) -> None:
    make_user_keys("ann", keys, ())
    with pytest.raises(InvalidKey, match="SKIFF_SERVER_KEY"):
        Client("host", key=keys / "ann.key_secret")
    with pytest.raises(InvalidKey, match="no such file"):
        Client("host", key=keys / "ann.key_secret", server_key="nonsense")
