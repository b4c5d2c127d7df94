"""FirstAdministrator: adds the administrator that a node's settings name, while there are no users.

Every node of a new cluster may try: the state takes the first user only.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from skiff import rights
from skiff.client import Client
from skiff.errors import ClientConnectFailed, ClusterInitFailed, RequestTimeout, SkiffError

NAME = "admin"
AGAIN_SECONDS = 1.0

log = logging.getLogger("skiff.first_administrator")


class FirstAdministrator:
    """The attempts of one node, in a thread of their own, as a leader may be long in coming."""

    def __init__(self, connect: Callable[[], Client], key: str) -> None:
        """Add the user with this public key by a client that nothing restricts."""
        self._connect = connect
        self._key = key
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="skiff administrator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the attempts."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.is_set():
            with suppress(ClientConnectFailed, ClusterInitFailed, RequestTimeout):
                return self._add()
            self._ended.wait(AGAIN_SECONDS)

    def _add(self) -> None:
        try:
            with self._connect() as client:
                if client._run(rights.add_first_user(NAME, self._key), AGAIN_SECONDS):
                    log.info("the user %r was added, with the role admin", NAME)
        except (ClientConnectFailed, ClusterInitFailed, RequestTimeout):
            raise
        except SkiffError as error:
            log.error("the first administrator was not added: %s", error)
