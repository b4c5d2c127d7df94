"""The loop that all actors run, and how it begins and ends."""

import gc
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import msgspec

from actors import signals
from actors.descriptors import raise_limit
from actors.failure import ActorFailure
from actors.lifeline import ActorEnd, Failing, LifelineCut, Order, Ready, Start, Stop
from actors.logs import LogFields, configure
from actors.memory import MemoryWatch
from actors.sockets import Port, Readable, Sockets
from actors.trace import Trace
from protocol.config import NodeConfig
from protocol.connection_limits import Limits, limits_of

NEVER = float("inf")

MessageT = TypeVar("MessageT")
HeardT = TypeVar("HeardT")


class Stopped(Exception):
    """The node is to stop, though this actor has not begun to serve."""


class ActorContext(msgspec.Struct):
    """Configuration, sockets, lifeline and limits of one actor."""

    config: NodeConfig
    sockets: Sockets
    lifeline: ActorEnd
    log_fields: LogFields
    limits: Limits  # of connections
    memory: MemoryWatch

    def ready(self, node: bytes) -> None:
        """Tell the supervisor that this actor serves."""
        self.lifeline.report(Ready(node.hex()))

    def trace(self, node: bytes) -> Trace:
        """Return the trace of this actor, which notes nothing unless the settings ask for it."""
        actor = self.log_fields.actor
        file = Path(self.config.dir) / "trace" / f"{actor}.ndjson"
        return Trace(actor, node.hex(), file if self.config.trace else None)


class Actor(Protocol):
    """One process's part: called when something has arrived or is due."""

    def timeout(self) -> float:
        """Return how many seconds from now something will be due."""

    def turn(self, readable: Readable) -> None:
        """Handle what has arrived on these sockets, and what is due."""

    def stop(self) -> float:
        """Prepare to end; return how many seconds more the loop may run for that."""

    def close(self) -> None:
        """Let go of everything."""


def run(name: str, build: Callable[[ActorContext], Actor]) -> None:
    """Run an actor as this process until the supervisor stops it or is gone."""
    signals.ignore()
    lifeline = ActorEnd()
    try:
        start = _wait_for_start(lifeline)
    except (LifelineCut, Stopped):
        sys.exit(1)
    limits = limits_of(raise_limit())
    context = ActorContext(
        start.config,
        Sockets(),
        lifeline,
        configure(name, start.config.log_level, start.config.log_format),
        limits,
        MemoryWatch(name),
    )
    try:
        os.chdir(start.names)  # so that the sockets' names are short, as ipc demands
        _run(build, context)
    except Stopped:
        sys.exit(0)
    except LifelineCut:
        _end_alone(start)
    except ActorFailure as failure:
        lifeline.report(Failing(failure.error, str(failure), failure.lasting))
        sys.exit(1)
    except Exception:
        if lifeline.is_cut():  # then the others have removed the sockets that this one needed
            _end_alone(start)
        raise


def _end_alone(start: Start) -> NoReturn:
    """End because the program has ended: only its actors are left to remove the sockets."""
    shutil.rmtree(start.names, ignore_errors=True)
    os._exit(1)


def _wait_for_start(lifeline: ActorEnd) -> Start:
    orders: list[Order] = []
    while not orders:
        orders = lifeline.orders()
    start = orders[0]
    if Stop() in orders or not isinstance(start, Start):
        raise Stopped
    return start


def wait_for(
    context: ActorContext,
    inbox: Port,
    decode: Callable[[bytes], Sequence[HeardT]],
    kind: type[MessageT],
) -> tuple[MessageT, list[HeardT]]:
    """Wait for the first message of a kind, before the actor's loop begins.

    Other actors may be faster: what else has arrived is returned, too, in its order.

    Raises:
        Stopped: the node is to stop before that.
        LifelineCut: the supervisor is gone.
    """
    heard: list[HeardT] = []
    while True:
        readable = context.sockets.wait(NEVER)
        if context.lifeline in readable and Stop() in context.lifeline.orders():
            raise Stopped
        for frame in inbox.drain_single():
            heard.extend(decode(frame))
        for place, message in enumerate(heard):
            if isinstance(message, kind):
                return message, heard[:place] + heard[place + 1 :]


def _run(build: Callable[[ActorContext], Actor], context: ActorContext) -> None:
    sockets, lifeline = context.sockets, context.lifeline
    sockets.watch_descriptor(lifeline)
    actor = build(context)
    gc.collect()
    gc.freeze()  # what was imported need not be looked through again and again
    memory = context.memory
    while True:
        readable = sockets.wait(min(actor.timeout(), memory.look_at - time.monotonic()))
        if memory.look_at <= (now := time.monotonic()):
            memory.look(now)
        if lifeline in readable and Stop() in lifeline.orders():
            break
        actor.turn(readable)
    _linger(actor, sockets)
    actor.close()
    sockets.close()


def _linger(actor: Actor, sockets: Sockets) -> None:
    """Let an actor that is to stop finish what it has begun."""
    remaining = actor.stop()
    while remaining > 0:
        actor.turn(sockets.wait(min(remaining, actor.timeout())))
        remaining = actor.stop()
