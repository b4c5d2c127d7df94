"""The prober: tells why an address cannot be asked, which ZeroMQ keeps to itself.

A socket of ZeroMQ connects again and again in silence, be it that nothing listens, that the name
is unknown or that a firewall drops the packets. A plain connection, opened and closed by a thread,
tells these apart.
"""

import socket
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread

from protocol.address import PEER_PORT_OFFSET, InvalidAddressText, parse_address

PROBED_MAX = 32  # addresses that are probed or were a moment ago
PROBE_SECONDS = 2.0  # between two connections to the same address, and how long one may take


class Prober:
    """The connections of one node, none of which delays it."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # when an address may be probed again
        self._found: SimpleQueue[tuple[str, str]] = SimpleQueue()

    def probe(self, address: str) -> None:
        """Begin to find out whether an address takes connections, unless that was done lately."""
        now = time.monotonic()
        if now < self._due.get(address, 0.0):
            return
        if len(self._due) >= PROBED_MAX:
            self._due = {each: due for each, due in self._due.items() if due > now}
        if len(self._due) >= PROBED_MAX:
            return
        self._due[address] = float("inf")  # a name may take long to be resolved
        # A daemon: a node that is to end does not wait for a name server.
        Thread(target=self._try, args=(address,), name="prober", daemon=True).start()

    def results(self) -> Iterator[tuple[str, str]]:
        """Yield the addresses probed since the last call, each with its trouble or ''."""
        while True:
            try:
                address, trouble = self._found.get_nowait()
            except Empty:
                return
            self._due[address] = time.monotonic() + PROBE_SECONDS
            yield address, trouble

    def _try(self, address: str) -> None:
        trouble = "cannot be probed"
        try:
            trouble = trouble_of(address)
        finally:
            self._found.put((address, trouble))


def trouble_of(address: str) -> str:
    """Return in words why the peer port of a node's address takes no connection.

    It is empty where one was taken, and where nothing has answered in time.
    """
    try:
        parsed = parse_address(address)
        place = (parsed.host, parsed.port + PEER_PORT_OFFSET)
        socket.create_connection(place, timeout=PROBE_SECONDS).close()
    except TimeoutError:
        return ""
    except InvalidAddressText as error:
        return f"is no address: {error}"
    except (socket.gaierror, UnicodeError) as error:
        return f"cannot be resolved: {getattr(error, 'strerror', None) or error}"
    except ConnectionRefusedError:
        return "refuses connections"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"
    return ""
