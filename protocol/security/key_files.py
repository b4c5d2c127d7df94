"""Key files: their text, TOML with one name a line.

cluster.key_secret   kind, public, secret, accepted    for each node
cluster.key          kind, public                      for those who make users' keys
NAME.key_secret      kind, name, public, secret, servers    for one user's clients
NAME.key             kind, name, public                for those who grant rights
"""

import re
from typing import Literal

import msgspec

from protocol.security import z85
from protocol.security.keys import ClientKeys, ClusterKeys, InvalidKey, KeyPair, parse_key

PUBLIC_SUFFIX, SECRET_SUFFIX = ".key", ".key_secret"
CLUSTER = "cluster"  # the name of the cluster's files
ADMIN = "admin"  # the name of the first administrator
SECRET_NOTE = "# Secret: the holder of this file can act as this {kind}.\n"
PUBLIC_NOTE = "# Public: this file may be copied freely.\n"
MAKE_ONE = "make one by 'skiff keygen'"

# What the decoder says, as far as it quotes nothing of a file but the names of fields.
_PLACE = re.compile(r"\((at line \d+, column \d+|at end of document)\)$")
_UNKNOWN = re.compile(r"^Object contains unknown field `([a-z_]{1,20})`$")
_MISSING = re.compile(r"^Object missing required field `(\w+)`$")
_MISTYPED = re.compile(r"- at `\$\.(\w+)(?:\[\d+\])?`$")
_FAULTS = (
    (_UNKNOWN, "it has the unknown field {}"),
    (_MISSING, "it has no field {}"),
    (_MISTYPED, "its field {} has a wrong type or value"),
    (_PLACE, "it is not valid TOML, {}"),
)


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The contents of a key file of any kind."""

    kind: Literal["cluster", "user"]
    name: str = ""
    public: str
    secret: str = ""
    accepted: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()


def cluster_files(pair: KeyPair) -> tuple[str, str]:
    """Return the texts of the cluster's secret and public file."""
    lines = _line("kind", CLUSTER) + _line("public", z85.encode(pair.public))
    secret = _line("secret", z85.encode(pair.secret)) + _list("accepted", ())
    return SECRET_NOTE.format(kind=CLUSTER) + lines + secret, PUBLIC_NOTE + lines


def user_files(name: str, pair: KeyPair, servers: tuple[bytes, ...]) -> tuple[str, str]:
    """Return the texts of a user's secret and public file."""
    lines = _line("kind", "user") + _line("name", name)
    lines += _line("public", z85.encode(pair.public))
    secret = _line("secret", z85.encode(pair.secret)) + _list("servers", servers)
    return SECRET_NOTE.format(kind="user") + lines + secret, PUBLIC_NOTE + lines


def parse_cluster_keys(text: bytes) -> ClusterKeys:
    """Return the keys of a node from the cluster's secret file.

    Raises:
        InvalidKey: the text is no such file.
    """
    file = _parse(text)
    if file.kind != CLUSTER:
        raise InvalidKey(f"this is the key file of user {file.name!r}; a node needs the cluster's")
    return ClusterKeys(_pair(file), _keys("accepted", file.accepted))


def parse_client_keys(text: bytes) -> ClientKeys:
    """Return the keys of a client from a secret file, of a user or of the cluster.

    Raises:
        InvalidKey: the text is no such file.
    """
    file = _parse(text)
    own = _own(file) if file.kind == CLUSTER else _keys("servers", file.servers)
    return ClientKeys(_pair(file), own)


def parse_public_key(text: bytes) -> bytes:
    """Return the key of a user's public file.

    Raises:
        InvalidKey: the text is no such file.
    """
    file = _parse(text)
    if file.secret:
        raise InvalidKey(
            f"this is a secret key file; give the public one, which ends in {PUBLIC_SUFFIX}"
        )
    if file.kind == CLUSTER:
        raise InvalidKey("this is a cluster's public key file; give a user's")
    return _key("public", file.public)


def parse_server_keys(text: bytes) -> tuple[bytes, ...]:
    """Return the public keys of a cluster from its public or secret file, the current one first.

    Raises:
        InvalidKey: the text is no such file.
    """
    file = _parse(text)
    if file.kind != CLUSTER:
        raise InvalidKey(f"this is the key file of user {file.name!r}; give a cluster's")
    return _own(file)


def _parse(text: bytes) -> _File:
    try:
        return msgspec.toml.decode(text, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Not the error itself, which may show what the decoder has read.
        raise InvalidKey(f"not a key file: {_fault_in(str(error))}") from None


def _fault_in(text: str) -> str:
    """Return what is wrong with a file, without any of its contents, by the decoder's error."""
    for pattern, sentence in _FAULTS:
        if found := pattern.search(text):
            return f"{sentence.format(found[1])}; {MAKE_ONE}"
    return MAKE_ONE


def _own(file: _File) -> tuple[bytes, ...]:
    """Return the public keys of a cluster, from its own file."""
    return (_key("public", file.public), *_keys("accepted", file.accepted))


def _keys(field: str, texts: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(_key(field, each) for each in texts)


def _key(field: str, text: str) -> bytes:
    try:
        return parse_key(text)
    except InvalidKey as error:
        raise InvalidKey(f"field {field} is not a key: {error}") from None


def _pair(file: _File) -> KeyPair:
    if not file.secret:
        raise InvalidKey(
            f"this is a public key file; give the secret one, which ends in {SECRET_SUFFIX}"
        )
    return KeyPair(_key("public", file.public), _key("secret", file.secret))


def _line(name: str, value: str) -> str:
    return f'{name} = "{value}"\n'  # neither a key nor a valid name has quotes or backslashes


def _list(name: str, keys: tuple[bytes, ...]) -> str:
    quoted = (f'"{z85.encode(each)}"' for each in keys)
    return f"{name} = [{', '.join(quoted)}]\n"
