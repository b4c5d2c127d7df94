"""ZAP handler: answers ZeroMQ's authentication requests (RFC 27), in the loop of an actor.

There is no thread that could die unnoticed: an actor that hangs admits no connection.
"""

import logging

from actors.logs import OncePerSender
from actors.port import Port
from protocol.security.gatekeeper import MALFORMED, Decision, Gatekeeper, reply

ENVELOPE_FRAMES = 2  # the connection that asks, and an empty delimiter

log = logging.getLogger("skiff.zap_handler")


class ZapHandler:
    """The shell around the gatekeeper of one actor."""

    def __init__(self, port: Port, gatekeeper: Gatekeeper) -> None:
        self._port = port
        self._gatekeeper = gatekeeper
        self._refused = OncePerSender()

    def answer(self) -> None:
        """Answer all requests that have arrived."""
        for frames in self._port.drain():
            envelope, request = frames[:ENVELOPE_FRAMES], frames[ENVELOPE_FRAMES:]
            decision = self._decide(request)
            if not decision.admits and self._refused.is_new(decision.address.encode()):
                log.warning("refused %s: %s", decision.address or "a program", decision.text)
            self._port.send(*envelope, *reply(request, decision))

    def _decide(self, request: list[bytes]) -> Decision:
        try:
            return self._gatekeeper.decide(request)
        except Exception:  # else a defect would end the actor, at the will of a stranger
            log.exception("cannot decide on a connection, and refuse it")
            return Decision(MALFORMED, "defect")
