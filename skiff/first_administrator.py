"""FirstAdministrator: adds the administrator that a node's settings name, while there are no users.

Every node of a new cluster may try: the state takes the first user only.
"""

import logging
import threading
from collections.abc import Callable

from skiff.client import Client
from skiff.errors import ClientConnectFailed, OutcomeUnknown, RequestTimeout, SkiffError, UserExists

NAME = "admin"
ATTEMPT_SECONDS, PAUSE_SECONDS = 1.0, 0.2

log = logging.getLogger("skiff.first_administrator")


class FirstAdministrator:
    """The attempts of one node, in a thread of their own, as a leader may be long in coming."""

    def __init__(self, connect: Callable[[], Client], key: str) -> None:
        """Add the user with this public key, by a client that nothing restricts."""
        self._connect = connect
        self._key = key
        self._closed = threading.Event()
        self._over = threading.Event()  # with success or not
        self._thread = threading.Thread(target=self._work, name="skiff administrator", daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> None:
        """Wait until this node knows the cluster's users, at most ``timeout`` seconds."""
        self._over.wait(min(timeout, threading.TIMEOUT_MAX))

    def close(self) -> None:
        """End the attempts."""
        self._closed.set()
        self._thread.join(ATTEMPT_SECONDS)

    def _work(self) -> None:
        try:
            with self._connect() as client:
                while not self._closed.is_set() and not self._add(client):
                    self._closed.wait(PAUSE_SECONDS)
        except SkiffError as error:
            log.error("the first administrator was not added: %s", error)
        finally:
            self._over.set()

    def _add(self, client: Client) -> bool:
        """Return whether the cluster has users now, which this node has applied."""
        try:
            try:
                client.add_user(NAME, self._key, only_first=True, timeout=ATTEMPT_SECONDS)
                log.info("the user %r was added, with the role admin", NAME)
            except UserExists:
                pass
            keys = [key for user in client.users() if user.name == NAME for key in user.keys]
        except (ClientConnectFailed, RequestTimeout, OutcomeUnknown):  # perhaps no leader yet
            return False
        if self._key not in keys:
            log.warning("the cluster has users, so that admin_key was not used")
        return True
