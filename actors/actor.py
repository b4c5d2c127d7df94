"""Actor: the event loop of every actor, its start and its stop."""

import gc
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import msgspec

from actors.descriptors import raise_limit
from actors.failure import ActorFailure
from actors.lifeline import ActorEnd, Failing, LifelineCut, Order, Ready, Start, Stop
from actors.logs import LogFields, configure
from actors.memory import MemoryWatch
from actors.port import Port, Readable
from actors.sockets import Sockets
from actors.trace import Trace
from protocol.config import NodeConfig
from protocol.connection_limits import Limits, limits_of
from protocol.deadlines import NEVER

OWN_FILES_ONLY = 0o077  # umask: nothing that an actor creates is for other users

MessageT = TypeVar("MessageT")
HeardT = TypeVar("HeardT")


class Stopped(Exception):
    """The node is to stop before this actor is ready."""


class ActorContext(msgspec.Struct):
    """Configuration, sockets, lifeline and limits of one actor."""

    config: NodeConfig
    sockets: Sockets
    lifeline: ActorEnd
    log_fields: LogFields
    limits: Limits  # of connections
    memory: MemoryWatch

    def ready(self, node: bytes) -> None:
        """Report to the supervisor that this actor is ready."""
        self.lifeline.report(Ready(node.hex()))

    def trace(self, node: bytes) -> Trace:
        """Return this actor's trace, which does nothing unless the settings enable it."""
        actor = self.log_fields.actor
        file = Path(self.config.dir) / "trace" / f"{actor}.ndjson"
        return Trace(actor, node.hex(), file if self.config.trace else None)


class Actor(Protocol):
    """The part of an actor that differs: called by the loop when input or a deadline is due."""

    def timeout(self) -> float:
        """Return the seconds until the next deadline."""

    def turn(self, readable: Readable) -> None:
        """Process input on these sockets, and passed deadlines."""

    def stop(self) -> float:
        """Prepare to stop; return how many more seconds the loop should run."""

    def close(self) -> None:
        """Release all resources."""


def run(name: str, build: Callable[[ActorContext], Actor]) -> None:
    """Run an actor as this process until the supervisor stops it or is gone."""
    lifeline = ActorEnd()
    try:
        start = _wait_for_start(lifeline)
    except (LifelineCut, Stopped):
        sys.exit(1)
    os.umask(OWN_FILES_ONLY)
    limits = limits_of(raise_limit())
    context = ActorContext(
        config=start.config,
        sockets=Sockets(start.keys),
        lifeline=lifeline,
        log_fields=configure(name, start.config.log_level, start.config.log_format),
        limits=limits,
        memory=MemoryWatch(name),
    )
    try:
        os.chdir(start.ipc_directory)  # keeps the sockets' names within the limit of ipc paths
        _run(build, context)
    except Stopped:
        sys.exit(0)
    except LifelineCut:
        _end_alone(start)
    except ActorFailure as failure:
        lifeline.report(Failing(failure.error, str(failure), failure.lasting))
        sys.exit(1)
    except Exception:
        # The actors that noticed the program's end first have removed this one's sockets.
        if lifeline.is_cut() or not Path(start.ipc_directory).is_dir():
            _end_alone(start)
        raise


def _end_alone(start: Start) -> NoReturn:
    """End after the program has ended: its actors must remove the sockets."""
    shutil.rmtree(start.ipc_directory, ignore_errors=True)
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

    Messages of other kinds that arrived before are returned, too, in order.

    Raises:
        Stopped: the node was stopped meanwhile.
        LifelineCut: the supervisor has ended.
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
    gc.freeze()  # exempts imported modules from later collections
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
    """Run a stopping actor for as long as it asks."""
    remaining = actor.stop()
    while remaining > 0:
        actor.turn(sockets.wait(min(remaining, actor.timeout())))
        remaining = actor.stop()
