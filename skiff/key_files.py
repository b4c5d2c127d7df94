"""Key files: the only place where keys are made, written and read.

A secret file is refused if other users of the machine may read or change it. The text of the files
is in ``protocol.security.key_files``.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import zmq

from protocol.security import z85
from protocol.security.key_files import (
    ADMIN,
    CLUSTER,
    PUBLIC_SUFFIX,
    SECRET_SUFFIX,
    cluster_files,
    parse_client_keys,
    parse_cluster_keys,
    parse_public_key,
    parse_server_keys,
    user_files,
)
from protocol.security.keys import ClientKeys, ClusterKeys, KeyPair, parse_key
from protocol.security.keys import InvalidKey as InvalidKeyText
from protocol.state.batches import is_name
from skiff.errors import InvalidKey

OTHERS = stat.S_IRWXG | stat.S_IRWXO
SECRET_MODE, PUBLIC_MODE = 0o600, 0o644
FILE_BYTES_MAX = 1 << 20

ParsedT = TypeVar("ParsedT")


def make_cluster_keys(directory: Path) -> list[Path]:
    """Write the keys of a new cluster and of its first administrator; return the files.

    Raises:
        InvalidKey: one of the files is there already, or there is no such home directory; nothing
            was written.
        OSError: a file cannot be written.
    """
    directory = expanded(directory)
    pair = _new_pair()
    secret, public = cluster_files(pair)
    admin_secret, admin_public = user_files(ADMIN, _new_pair(), (pair.public,))
    return _write(
        {
            directory / f"{CLUSTER}{SECRET_SUFFIX}": secret,
            directory / f"{CLUSTER}{PUBLIC_SUFFIX}": public,
            directory / f"{ADMIN}{SECRET_SUFFIX}": admin_secret,
            directory / f"{ADMIN}{PUBLIC_SUFFIX}": admin_public,
        }
    )


def make_user_keys(name: str, directory: Path, servers: tuple[bytes, ...]) -> list[Path]:
    """Write the keys of a user of a cluster with these public keys; return the files.

    Raises:
        InvalidKey: the name is invalid, or one of the files is there already; nothing was written.
        OSError: a file cannot be written.
    """
    if not is_name(name):
        raise InvalidKey(
            f"{name!r} is not a valid user name: use 1 to 64 characters of a-z, 0-9, dot, _ and -"
        )
    if name == CLUSTER:
        raise InvalidKey(f"{name!r} is the name of the cluster's own files")
    directory = expanded(directory)
    secret, public = user_files(name, _new_pair(), servers)
    return _write(
        {
            directory / f"{name}{SECRET_SUFFIX}": secret,
            directory / f"{name}{PUBLIC_SUFFIX}": public,
        }
    )


def read_cluster_keys(path: str | os.PathLike[str]) -> ClusterKeys:
    """Return the keys of a node from the cluster's secret file.

    Raises:
        InvalidKey: the file cannot be used, or other users may read or change it.
    """
    keys = _parsed(path, parse_cluster_keys, is_secret=True)
    _check_pair(path, keys.pair)
    return keys


def read_client_keys(
    path: str | os.PathLike[str], server_key: str | os.PathLike[str] | None = None
) -> ClientKeys:
    """Return the keys of a client; ``server_key`` replaces the server keys in its file.

    Raises:
        InvalidKey: a file cannot be used, or other users may read or change the secret one.
    """
    keys = _parsed(path, parse_client_keys, is_secret=True)
    _check_pair(path, keys.pair)
    servers = keys.servers if server_key is None else read_server_keys(server_key)
    if not servers:
        raise InvalidKey(
            f"{path} has no key of the cluster: name its public file in server_key or "
            "SKIFF_SERVER_KEY"
        )
    return ClientKeys(keys.pair, servers)


def read_public_key(path: str | os.PathLike[str]) -> bytes:
    """Return the 32 bytes of the key in a public file.

    Raises:
        InvalidKey: the file cannot be used.
    """
    return _parsed(path, parse_public_key)


def read_server_keys(server_key: str | os.PathLike[str]) -> tuple[bytes, ...]:
    """Return the public keys of a cluster: of a file of it, or of keys as text, with commas.

    Raises:
        InvalidKey: it is neither.
    """
    if isinstance(server_key, str) and not _may_exist(expanded(server_key)):
        try:
            return tuple(map(parse_key, server_key.split(",")))
        except InvalidKeyText:
            raise InvalidKey(
                f"server key {server_key!r}: no such file, and no public key of a cluster"
            ) from None
    return _parsed(server_key, parse_server_keys)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home directory in place of a ``~`` or ``~user`` at its beginning.

    Raises:
        InvalidKey: the system knows no such user, or no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InvalidKey(f"{path}: there is no home directory of such a user") from None


def _may_exist(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # of several keys as text, or of a directory that one may not read
        return error.errno != errno.ENAMETOOLONG


def _parsed(
    path: str | os.PathLike[str],
    parse: Callable[[bytes], ParsedT],
    *,
    is_secret: bool = False,
) -> ParsedT:
    try:
        with expanded(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise InvalidKey(f"cannot read the key file {path}: {error.strerror}") from None
    try:
        parsed = parse(text)
    except InvalidKeyText as error:
        raise InvalidKey(f"{path}: {error}") from None
    if is_secret and stat.S_ISREG(mode) and mode & OTHERS:
        raise InvalidKey(
            f"{path}: other users may read or change this secret file "
            f"(mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
        )
    return parsed


def _check_pair(path: str | os.PathLike[str], pair: KeyPair) -> None:
    secret = z85.encode(pair.secret).encode("ascii")
    if zmq.curve_public(secret).decode("ascii") != z85.encode(pair.public):
        raise InvalidKey(f"{path}: public and secret key do not belong together")


def _new_pair() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(parse_key(public.decode("ascii")), parse_key(secret.decode("ascii")))


def _write(texts: dict[Path, str]) -> list[Path]:
    """Write new files, with their modes from the first moment on."""
    _refuse_existing(texts)
    for path, text in texts.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_secret = path.suffix == SECRET_SUFFIX
        mode = SECRET_MODE if is_secret else PUBLIC_MODE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            _refuse_existing([path])
            raise
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return list(texts)


def _refuse_existing(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            raise InvalidKey(f"{path} is there already; no key is ever overwritten")
