"""Rights: what users may do, with real nodes and keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from skiff import Client, PermissionDenied
from skiff.testing import Cluster

# To be enabled with keys and authenticated connections; then, the arguments are plain ones.
pytestmark = [pytest.mark.cluster, pytest.mark.skip("connections are not authenticated yet")]
KEYS: dict[str, Any] = {"keys": True}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, directory=tmp_path_factory.mktemp("rights"), **KEYS) as running:
        yield running


def new_user(administrator: Client, name: str, directory: Path) -> Path:
    """Add a user with a new key; return the file of its secret key."""
    public, secret = zmq.curve_keypair()
    administrator.add_user(name, public.decode())
    file = directory / f"{name}.toml"
    file.write_text(f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n')
    return file


@pytest.fixture
def own(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    """The key of a user that may do everything with the keys under jobs/."""
    with cluster.client() as administrator:
        key = new_user(administrator, "bob", tmp_path)
        administrator.grant("clerk", "read", "jobs/")
        administrator.grant("clerk", "write", "jobs/")
        administrator.grant("clerk", "watch", "jobs/")
        administrator.assign_role("bob", "clerk")
    return {"key": key}


def test_a_user_may_do_what_its_roles_grant_and_no_more(
    cluster: Cluster, own: dict[str, Any]
) -> None:
    with cluster.client() as administrator, cluster.client(**own) as bob:
        assert bob.whoami().user == "bob"
        bob.insert("jobs/1", 1)
        assert bob.get("jobs/1") == 1
        with pytest.raises(PermissionDenied) as denied:
            bob.get("secrets/1")
        assert (denied.value.right, denied.value.prefix) == ("read", "secrets/1")
        for refused in (
            lambda: bob.insert("jobs2/1", 1),
            lambda: bob.watch(""),
            bob.transfer_leadership,
            bob.users,
        ):
            with pytest.raises(PermissionDenied):
                refused()
        with bob.watch("jobs/") as subscriber:
            administrator.insert("jobs/2", 2)
            assert subscriber.recv(timeout=10) == ("jobs/2", 2)
            administrator.revoke("clerk", "watch", "jobs/")
            administrator.insert("jobs/3", 3)
            with pytest.raises(PermissionDenied):
                subscriber.recv(timeout=10)
        administrator.remove_user("bob")
        with pytest.raises(PermissionDenied) as denied:
            bob.get("jobs/1")
        assert denied.value.right is None
