"""Lease holders: clients that attach keys to leases, keep them alive or fall silent."""

from functools import partial
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.client.held_lease import HeldLease
from protocol.client.link import Link
from protocol.encoding import encode
from protocol.raft.clock_rates import LEASE_SHARE
from protocol.state.commands import (
    Command,
    Increment,
    Insert,
    LeaseEnded,
    NoLease,
    Remove,
    RevokeLease,
    Transact,
)
from tests.simulation.lease_lists import LeaseList
from tests.simulation.lease_user import TTLS_MS, LeaseUser
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

KEYS = 4  # that all holders share, so that keys change their leases
HELD_MAX = 3  # leases of one client
VALUE = encode(1)
ATTACHES, REVOKES, FORGETS, GRANTS = 0.4, 0.03, 0.06, 0.1  # shares of turns,
LISTS = 0.06  # while others keep leases alive
LATE = 0.6  # share of keep-alives that come about when the lease expires
LATE_SECONDS = (-0.03, 0.01)  # after that
STARVED, STARVED_SECONDS = 0.5, 0.1  # share of those by a starved node, in runs with any,
STARVED_HOPS = 4  # which come within the time of so many hops after that
TENDED, TIRED = 0.5, 0.05  # share of leases that are kept alive regularly, and of its ends
PAUSE_SECONDS_MIN, IMPATIENCE_SECONDS = 0.015, 0.2
PATIENCE_SECONDS = 3.0  # with a late request


class Holder(LeaseUser):
    """The leases of one client, and the keys that go with them."""

    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__(setting, f"holder {name}")
        self._held: list[HeldLease] = []
        self._tended: HeldLease | None = None  # kept alive besides the turns

    def begin(self, thread: "Thread", deadline: float) -> None:
        """Begin one turn of a thread of this client."""
        drawn = self._chance.random()
        if not self._held or (drawn < GRANTS and len(self._held) < HELD_MAX):
            self._begin_lease(thread, deadline)
        elif drawn < GRANTS + ATTACHES:
            self._attach(thread, deadline)
        elif drawn < GRANTS + ATTACHES + REVOKES:
            self._revoke(thread, deadline)
        elif drawn < GRANTS + ATTACHES + REVOKES + FORGETS:
            self._held.remove(self._chance.choice(self._held))
            thread.go_on()
        elif drawn > 1 - LISTS:
            LeaseList(self._setting, self._chance).read(thread, deadline, thread.go_on)
        else:
            self._keep_alive(thread)

    # --- the turns

    def _begin_lease(self, thread: "Thread", deadline: float) -> None:
        def granted(held: HeldLease | None) -> None:
            if held is not None:
                self._held.append(held)
                if self._tended is None and self._chance.random() < TENDED:
                    self._tended = held
                    self._tend(thread, held)
            thread.go_on()

        self._grant(thread, deadline, granted)

    def _attach(self, thread: "Thread", deadline: float) -> None:
        held = self._chance.choice(self._held)

        def ended(ending: Ending) -> None:
            self._hear_of_end(held, ending)
            thread.go_on()

        thread.write_loosely(self._draft(held.id), deadline, ended)

    def _draft(self, lease: int) -> Command:
        """Return a command that attaches keys to a lease, or takes a key out."""
        key, other = (f"l/{each}" for each in self._chance.sample(range(KEYS), 2))
        drawn = self._chance.random()
        attach = Insert(key, VALUE, None, lease)
        if drawn < 0.5:
            return attach
        if drawn < 0.65:
            return self._chance.choice((Insert(key, VALUE), Remove(key), Increment(key)))
        own = Insert(other, VALUE, ttl_ms=self._chance.choice(TTLS_MS))
        if drawn < 0.75:
            return own
        return Transact((), (attach, own if drawn < 0.85 else Insert(other, VALUE, None, lease)))

    def _revoke(self, thread: "Thread", deadline: float) -> None:
        held = self._chance.choice(self._held)

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, LeaseEnded):
                self._setting.judge.lease_bounds.hears_of_end(held.id)
            self._hear_of_end(held, ending)
            thread.go_on()

        self._held.remove(held)
        thread.write_loosely(RevokeLease(held.id), deadline, ended)

    def _hear_of_end(self, held: HeldLease, ending: Ending) -> None:
        if isinstance(ending.outcome, NoLease) and not ending.maybe_done:
            self._setting.judge.lease_bounds.hears_of_end(held.id)
            self._drop(held)

    def _drop(self, held: HeldLease) -> None:
        held.lose()
        if held in self._held:
            self._held.remove(held)

    # --- keep-alives

    def _keep_alive(self, thread: "Thread") -> None:
        """Keep all leases alive, or one about when the leader lets it expire."""
        if self._chance.random() >= LATE:
            self._send(thread, list(self._held), PATIENCE_SECONDS, thread.go_on)
            return
        silent = [held for held in self._held if held is not self._tended]
        held = self._chance.choice(silent or self._held)
        expires = self._true_time(held.valid_until + held.ttl / LEASE_SHARE - held.ttl)
        options, link = self._setting.options, None
        if options.rates.starvation and self._chance.random() < STARVED:
            at = expires + self._chance.uniform(0, STARVED_HOPS * options.network.delay)
            link = self._link_to_starved(thread, at + STARVED_SECONDS)
        else:
            at = expires + self._chance.uniform(*LATE_SECONDS)
        send = partial(self._send, thread, [held], PATIENCE_SECONDS, thread.go_on, link)
        self._setting.events.at(max(self._setting.events.now, at), send)

    def _link_to_starved(self, thread: "Thread", until: float) -> Link | None:
        """Return a link to a follower that gets no entries until a time, if there is any."""
        cluster, network = thread.client.cluster, self._setting.network
        leader = cluster.leader
        others = [node for node in cluster.running if node is not leader]
        if leader is None or not others:
            return None
        node = self._chance.choice(others)
        network.starve((leader.address, node.address), until)
        return thread.client.link_to(node.address)

    def _tend(self, thread: "Thread", held: HeldLease) -> None:
        """Keep a lease alive regularly, as the background of a client does."""
        if held not in self._held or thread.stopped or self._chance.random() < TIRED:
            self._tended = None
            return
        pause = max(PAUSE_SECONDS_MIN, held.ttl * self._chance.uniform(0.1, 0.5))

        def again() -> None:
            self._setting.events.after(pause, self._tend, thread, held)

        self._send(thread, [held], IMPATIENCE_SECONDS, again)
