"""Options: the workload, limits and faults of one run, drawn from its seed."""

from random import Random

import msgspec
from msgspec.structs import replace

from protocol.compaction import HistoryLimits, LogLimits
from protocol.election_clock import ElectionTimeouts

UNLIMITED = LogLimits(entries=1 << 30, bytes=1 << 40)

TIMEOUTS = (
    ElectionTimeouts(heartbeat=0.075, shortest=0.150, longest=0.300),
    ElectionTimeouts(heartbeat=0.050, shortest=0.150, longest=0.300),
    ElectionTimeouts(heartbeat=0.040, shortest=0.100, longest=0.200),
)
PATIENT = ElectionTimeouts(heartbeat=0.050, shortest=0.400, longest=0.600)
HASTY = ElectionTimeouts(heartbeat=0.030, shortest=0.060, longest=0.120)
RETIMED = 0.25  # share of runs in which incarnations alternate between these
BOOTSTRAPS = 0.1  # share of runs in which the nodes form their cluster amid faults
LOSSES = 0.15  # share of runs in which directories are lost
COPIES = 0.15  # share of runs in which directories are copied, and the copies started
MOVES = 0.15  # share of runs in which members move to other addresses
MOVES_A_SECOND = 2.0  # of such a run
COPIED_DIRECTORIES = 2.0  # per second of such a run
FULL_DISKS = 0.3  # share of runs in which disks fill and clear
FULL_DISK_RATES = (0.5, 2.0, 8.0)  # per second of such a run
LOST_DIRECTORIES = 1.0  # per second of such a run
DESERTION = 1.0  # per second of such a run; tests persisted lease promises most
STARVATIONS = (0.0, 0.0, 2.0)  # per second of a run
HOSTILE = 0.3  # share of runs with a stranger and a broken member
MIXED = 0.15  # share of runs with nodes of two builds
LATE = 0.2  # share of runs with many snapshots, late and duplicated
PIPELINE_MAX = 6  # operations
LATE_AND_TWICE = {"duplicates": 0.5, "straggling": 0.3, "straggle_delay": 2.0}


class NetworkOptions(msgspec.Struct, frozen=True):
    """Delays and losses of messages between hosts."""

    delay: float = 0.001  # seconds, typically
    loss: float = 0.0
    duplicates: float = 0.0
    straggling: float = 0.0  # share of messages that others overtake
    straggle_delay: float = 0.0


class FaultRates(msgspec.Struct, frozen=True):
    """The rate of each kind of fault, per second of the whole cluster."""

    crash: float = 0.0
    crash_all: float = 0.0
    pause: float = 0.0
    slow_disk: float = 0.0
    hung_disk: float = 0.0
    failing_disk: float = 0.0
    split: float = 0.0
    clog: float = 0.0
    transfer: float = 0.0
    membership: float = 0.0
    full_pipe: float = 0.0
    burst: float = 0.0
    short_reign: float = 0.0
    desertion: float = 0.0
    lost_directory: float = 0.0
    copied_directory: float = 0.0
    move: float = 0.0
    hostile: float = 0.0
    full_disk: float = 0.0
    upgrade: float = 0.0
    downgrade: float = 0.0
    starvation: float = 0.0

    @property
    def changes_voters(self) -> bool:
        """Whether some fault adds or removes voters."""
        return bool(self.membership or self.lost_directory or self.move)


class TightLimits(msgspec.Struct, frozen=True):
    """Limits of the real code that a run may tighten; None keeps them."""

    chunk_bytes: int | None = None
    append_bytes_max: int | None = None
    promotion_lag_max: int | None = None
    recovered_entries: int | None = None
    apply_entries_max: int | None = None
    read_bytes_max: int | None = None
    batch_operations_max: int | None = None
    large_operations: int | None = None
    full_frame_requests: int | None = None
    block_results: int | None = None
    held_log_factor: int | None = None
    sessions_max: int | None = None
    page_events_max: int | None = None
    page_examined_max: int | None = None
    scans_max: int | None = None
    waiting_entries_max: int | None = None
    grace_seconds: float | None = None  # for nodes that do not answer a watch
    page_entries: int | None = None
    lease_ttl_ms_min: int | None = None
    lease_keys_max: int | None = None
    leases_named_max: int | None = None
    ended_keys_max: int | None = None
    ttl_ms_min: int | None = None
    checkpoint_ms: int | None = None
    unacknowledged_max: int | None = None  # at least as many writes as a pipeline has


class Options(msgspec.Struct, frozen=True):
    """Everything that distinguishes runs, except the random draws within them."""

    seed: int
    nodes: int
    spares: int
    timeouts: ElectionTimeouts
    bootstrap: bool  # whether the nodes start empty and form the cluster
    mixed: bool  # whether some nodes begin with an older build
    retimed: bool  # whether incarnations get other timeouts than these
    clock_spread: float  # maximum relative drift of a node's clock
    actor_delay: float  # of a message between two actors of a node
    sync_delay: float
    network: NetworkOptions
    rates: FaultRates
    limits: LogLimits
    tight: TightLimits
    encoded: bool  # whether frames between nodes travel as bytes
    clients: int
    threads: int  # of each client
    watchers: int
    stream_ends: float  # per second of a watcher's stream
    keys: int
    think_delay: float
    attempt_delay: float
    readers: float  # share of threads that only read
    reads: float  # share of operations of the others
    by_lease: float  # share of reads
    conditional: float  # share of writes
    pipelined: float  # share of a thread's turns that are a pipeline
    transactions: float  # share of a thread's other turns
    users: int  # clients that are users; 0 for none, and for no watchers that are
    history: HistoryLimits
    loose: float  # share of a thread's further turns: stale reads and scans
    many: float  # share of a thread's turns after those: reads of several keys
    holders: float  # share of threads that only hold leases
    leased: float  # share of the other threads' turns that concern leases
    contending: float  # share of a thread's turns that wait for one in a line
    queueing: float  # share of a thread's further turns that put or take an item
    shared: float  # share of clients whose threads share connections, as tasks of a loop do
    cancelled: float  # share of the writing calls of such clients
    late_requests: float  # share of requests to join that arrive a second time, seconds later
    step_crashes: float  # share of the steps of an installation at which the node dies

    @property
    def longest_timeout(self) -> float:
        """Return the longest election timeout of any node."""
        return PATIENT.longest if self.retimed else self.timeouts.longest


def draw_options(seed: int, nodes: int | None) -> Options:
    """Return the options of a seed, with a given number of nodes if not None."""
    options = _draw_usual(seed, nodes)
    if Random(f"retimed {seed}").random() < RETIMED:
        rates = replace(options.rates, desertion=DESERTION)
        options = replace(options, retimed=True, rates=rates)
    chance = Random(f"hostile {seed}")
    if chance.random() < HOSTILE:
        rates = replace(options.rates, hostile=chance.choice((3.0, 10.0, 30.0)))
        options = replace(options, rates=rates)
    if Random(f"late {seed}").random() < LATE:
        options = _with_late_snapshots(options)
    chance = Random(f"admission {seed}")
    if options.nodes > 1 and chance.random() < BOOTSTRAPS:
        options = replace(options, bootstrap=True)
    if chance.random() < LOSSES:
        rates = replace(options.rates, lost_directory=LOST_DIRECTORIES)
        options = replace(options, rates=rates)
    options = replace(options, rates=_with_changed_addresses(options.rates, seed))
    rates = replace(options.rates, starvation=Random(f"starvation {seed}").choice(STARVATIONS))
    options = replace(options, rates=rates)
    chance = Random(f"space {seed}")
    if chance.random() < FULL_DISKS:
        rates = replace(options.rates, full_disk=chance.choice(FULL_DISK_RATES))
        options = replace(options, rates=rates)
    chance = Random(f"mixed {seed}")
    return _with_older_nodes(options, chance) if chance.random() < MIXED else options


def _with_changed_addresses(rates: FaultRates, seed: int) -> FaultRates:
    """Return rates at which directories, or copies of them, are started at other addresses."""
    if Random(f"copies {seed}").random() < COPIES:
        rates = replace(rates, copied_directory=COPIED_DIRECTORIES)
    if Random(f"moves {seed}").random() < MOVES:
        rates = replace(rates, move=MOVES_A_SECOND)
    return rates


def _with_older_nodes(options: Options, chance: Random) -> Options:
    """Return options with nodes of an older build, which are upgraded and sometimes go back."""
    rates = replace(
        options.rates, upgrade=chance.choice((1.0, 3.0, 10.0)), downgrade=chance.choice((0.0, 1.0))
    )
    return replace(options, mixed=True, rates=rates, transactions=0.4, users=0)


def _with_late_snapshots(options: Options) -> Options:
    """Return options with many snapshots, each in one chunk that may arrive late and twice."""
    network = replace(options.network, loss=0.0, **LATE_AND_TWICE)
    return replace(
        options,
        network=network,
        rates=replace(options.rates, split=3.0),
        limits=LogLimits(1, 1 << 20),
        tight=replace(options.tight, chunk_bytes=None),
    )


def _draw_usual(seed: int, nodes: int | None) -> Options:
    chance = Random(f"options {seed}")
    choose = chance.choice
    return Options(
        seed=seed,
        nodes=nodes or choose((3, 3, 3, 5, 5, 1, 2, 4)),
        spares=choose((0, 1, 1, 2)),
        timeouts=choose(TIMEOUTS),
        bootstrap=False,
        mixed=False,
        retimed=False,
        clock_spread=choose((0.0, 0.02, 0.1)),
        actor_delay=choose((0.00005, 0.0002, 0.001)),
        sync_delay=choose((0.0001, 0.001, 0.005)),
        network=_draw_network(chance),
        rates=_draw_rates(chance),
        limits=_draw_limits(chance),
        tight=_draw_tight_limits(seed, chance),
        encoded=chance.random() < 0.1,
        clients=choose((1, 2, 3, 5)),
        threads=choose((1, 1, 2)),
        watchers=choose((0, 1, 2)),
        keys=choose((1, 3, 8)),
        think_delay=choose((0.001, 0.01, 0.03)),
        attempt_delay=choose((0.1, 0.3, 1.0)),
        readers=choose((0.0, 0.3, 0.6)),
        reads=choose((0.2, 0.5, 0.8)),
        by_lease=choose((0.0, 0.3, 1.0)),
        conditional=choose((0.0, 0.3, 0.7)),
        step_crashes=choose((0.0, 0.0, 0.2)),
        late_requests=Random(f"late requests {seed}").choice((0.0, 0.8, 0.8)),
        pipelined=Random(f"pipelines {seed}").choice((0.0, 0.2, 0.6)),
        transactions=Random(f"transactions {seed}").choice((0.0, 0.1, 0.4)),
        users=Random(f"permissions {seed}").choice((0, 0, 0, 1, 3)),
        stream_ends=Random(f"stream ends {seed}").choice((0.0, 1.0, 5.0)),
        history=_draw_history(Random(f"history {seed}")),
        loose=Random(f"loose {seed}").choice((0.0, 0.2, 0.8)),
        many=Random(f"many {seed}").choice((0.0, 0.1, 0.4)),
        holders=Random(f"holders {seed}").choice((0.0, 0.3, 0.6)),
        leased=Random(f"leased {seed}").choice((0.0, 0.1, 0.3)),
        contending=Random(f"contending {seed}").choice((0.0, 0.2, 0.7)),
        queueing=Random(f"queueing {seed}").choice((0.0, 0.1, 0.3)),
        shared=Random(f"shared {seed}").choice((0.0, 0.5, 1.0)),
        cancelled=Random(f"cancelled {seed}").choice((0.0, 0.05, 0.3)),
    )


def _draw_network(chance: Random) -> NetworkOptions:
    choose = chance.choice
    return NetworkOptions(
        delay=choose((0.0002, 0.001, 0.005, 0.02)),
        loss=choose((0.0, 0.0, 0.01, 0.05, 0.1, 0.3)),
        duplicates=choose((0.0, 0.0, 0.05, 0.2, 0.5)),
        straggling=choose((0.0, 0.0, 0.01, 0.1)),
        straggle_delay=choose((0.05, 0.3, 2.0)),
    )


def _draw_rates(chance: Random) -> FaultRates:
    choose = chance.choice
    return FaultRates(
        crash=choose((0.0, 0.3, 1.0, 3.0)),
        crash_all=choose((0.0, 0.0, 0.1, 0.5)),
        pause=choose((0.0, 0.0, 0.5, 2.0)),
        slow_disk=choose((0.0, 0.0, 0.5, 1.0)),
        hung_disk=choose((0.0, 0.0, 0.2, 0.5)),
        failing_disk=choose((0.0, 0.0, 0.2, 1.0)),
        split=choose((0.0, 0.5, 1.0, 3.0)),
        clog=choose((0.0, 0.0, 1.0)),
        transfer=choose((0.0, 0.3, 1.0, 2.0)),
        membership=choose((0.0, 0.5, 2.0, 4.0)),
        full_pipe=choose((0.0, 0.5, 0.5)),
        burst=choose((0.0, 0.0, 1.0)),
        short_reign=choose((0.0, 0.0, 0.5, 1.0)),
    )


def _draw_tight_limits(seed: int, chance: Random) -> TightLimits:
    choose = chance.choice
    return TightLimits(
        chunk_bytes=choose((None, 1, 100, 1000)),
        append_bytes_max=choose((None, 1, 1000)),
        promotion_lag_max=choose((None, 0, 3)),
        recovered_entries=choose((None, 0, 3)),
        apply_entries_max=choose((None, 1, 3)),
        read_bytes_max=Random(f"read bytes {seed}").choice((None, 1)),
        batch_operations_max=Random(f"batch {seed}").choice((None, 3, PIPELINE_MAX)),
        large_operations=Random(f"large {seed}").choice((None, None, 1, 3)),
        full_frame_requests=Random(f"frames {seed}").choice((None, None, 1, 2)),
        block_results=Random(f"blocks {seed}").choice((None, 1, 2)),
        held_log_factor=Random(f"held log {seed}").choice((None, 4)),
        sessions_max=Random(f"sessions {seed}").choice((None, None, 3, 8)),
        page_events_max=Random(f"pages {seed}").choice((None, 1, 2)),
        page_examined_max=Random(f"examined {seed}").choice((None, 1, 3)),
        scans_max=Random(f"scans {seed}").choice((None, None, 1, 3)),
        waiting_entries_max=1,
        grace_seconds=Random(f"grace {seed}").choice((None, 0.3)),
        page_entries=Random(f"entries {seed}").choice((None, 1, 2)),
        lease_ttl_ms_min=1,
        lease_keys_max=Random(f"lease keys {seed}").choice((None, 2)),
        leases_named_max=Random(f"leases named {seed}").choice((None, 1, 3)),
        ttl_ms_min=1,
        checkpoint_ms=Random(f"checkpoints {seed}").choice((None, 5, 20, 100)),
        ended_keys_max=Random(f"removed {seed}").choice((None, 1, 2)),
        unacknowledged_max=Random(f"window {seed}").choice((None, PIPELINE_MAX)),
    )


def _draw_history(chance: Random) -> HistoryLimits:
    return HistoryLimits(
        changes=chance.choice((1 << 20, 200, 40, 6)),
        bytes=chance.choice((1 << 30, 8000)),
        seconds=chance.choice((1 << 20, 2)),
    )


def _draw_limits(chance: Random) -> LogLimits:
    return chance.choice(
        (UNLIMITED, LogLimits(1, 1 << 20), LogLimits(4, 1 << 20), LogLimits(30, 4000))
    )
