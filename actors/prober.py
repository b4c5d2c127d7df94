"""Prober: finds out why an address cannot be reached, which ZeroMQ does not report.

A ZeroMQ socket reconnects silently, whether nothing listens, the name is unknown or a firewall
drops the packets. A plain TCP connection, opened and closed by a thread, distinguishes these.
"""

import socket
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread

from protocol.address import PEER_PORT_OFFSET, InvalidAddressText, parse_address
from protocol.deadlines import NEVER

PROBED_MAX = 32  # addresses probed now or recently
PROBE_SECONDS = 2.0  # between connections to one address, and the timeout of each


class Prober:
    """Probes addresses in threads, without delaying the node."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # when each address may be probed again
        self._found: SimpleQueue[tuple[str, str]] = SimpleQueue()

    def probe(self, address: str) -> None:
        """Start to probe an address, unless that was done recently."""
        now = time.monotonic()
        if now < self._due.get(address, 0.0):
            return
        if len(self._due) >= PROBED_MAX:
            self._due = {each: due for each, due in self._due.items() if due > now}
        if len(self._due) >= PROBED_MAX:
            return
        self._due[address] = NEVER  # pending: resolving a name may take long
        # A daemon thread, so that a stopping node does not wait for a name server.
        Thread(target=self._try, args=(address,), name="prober", daemon=True).start()

    def results(self) -> Iterator[tuple[str, str]]:
        """Yield the addresses probed since the last call, each with its fault or ''."""
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
    """Return why the peer port of an address cannot be connected to, in words.

    It is empty if a connection was accepted, and if the attempt timed out.
    """
    try:
        parsed = parse_address(address)
        place = (parsed.host, parsed.port + PEER_PORT_OFFSET)
        socket.create_connection(place, timeout=PROBE_SECONDS).close()
    except TimeoutError:
        return ""
    except InvalidAddressText as error:
        return f"is not an address: {error}"
    except (socket.gaierror, UnicodeError) as error:
        return f"cannot be resolved: {getattr(error, 'strerror', None) or error}"
    except ConnectionRefusedError:
        return "refuses connections"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"
    return ""
