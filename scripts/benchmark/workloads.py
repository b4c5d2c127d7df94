"""Workloads of the benchmark, and one round of them on one system."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from scripts.benchmark.client_processes import ClientProcesses
from scripts.benchmark.drive import Drive
from scripts.benchmark.fan_out import latencies_of_events
from scripts.benchmark.figures import Figures, summarize
from scripts.benchmark.job import SCANNED_KEYS, VALUE_BYTES, Job, Verb, seed, seed_scanned
from scripts.benchmark.system import Cluster, System


@dataclass(frozen=True)
class Workload:
    """Operations of one kind, by a number of clients, in flight, or at a pace to subscribers."""

    name: str
    title: str
    verb: Verb
    clients: int = 0  # blocking clients, each a process
    in_flight: int = 0  # in total, over the system's number of processes
    value_bytes: int = VALUE_BYTES
    puts: int = 1  # in one operation, or entries that it reads
    subscribers: int = 0  # of a fan-out, over the system's number of processes
    puts_a_second: int = 0  # by the one writer of a fan-out


PUT_1 = Workload("put-1", "put, 1 client", "put", clients=1)
WORKLOADS = (
    PUT_1,
    Workload("put-8", "put, 8 clients", "put", clients=8),
    Workload("put-64", "put, 64 in flight", "put", in_flight=64),
    Workload("put-256", "put, 256 in flight", "put", in_flight=256),
    Workload("get-1", "get, 1 client", "get", clients=1),
    Workload("get-8", "get, 8 clients", "get", clients=8),
    Workload("get-64", "get, 64 in flight", "get", in_flight=64),
    Workload("get-256", "get, 256 in flight", "get", in_flight=256),
    Workload("pipeline", "put, pipelines of 100", "pipeline", clients=1, puts=100),
    Workload("transaction-10", "put, transactions of 10", "transaction", clients=1, puts=10),
    Workload("transaction", "put, transactions of 100", "transaction", clients=1, puts=100),
    Workload("transaction-8", "put, of 100, 8 in flight", "transaction", in_flight=8, puts=100),
    Workload("put-64B", "put 64 B, 64 in flight", "put", in_flight=64, value_bytes=64),
    Workload("put-4K", "put 4 KiB, 64 in flight", "put", in_flight=64, value_bytes=4 << 10),
    Workload("put-64K", "put 64 KiB, 64 in flight", "put", in_flight=64, value_bytes=64 << 10),
    Workload("scan", "entry, scans of 100,000", "scan", clients=1, puts=SCANNED_KEYS),
    Workload("lock-1", "lock, 1 client", "lock", clients=1),
    Workload("lock-10", "lock, 10 contenders", "lock", in_flight=10),
    Workload("keep-alive", "keep-alive, 64 in flight", "keep-alive", in_flight=64),
    Workload("watch-1", "watch by 1, 600 puts/s", "put", subscribers=1, puts_a_second=600),
    Workload("watch-100", "watch by 100, 600 puts/s", "put", subscribers=100, puts_a_second=600),
    Workload("watch-1000", "watch by 1000, 20 puts/s", "put", subscribers=1000, puts_a_second=20),
)


def run_workloads(
    system: System,
    cluster: Cluster,
    processes: ClientProcesses,
    workloads: Sequence[Workload],
    duration_s: float,
) -> Iterator[tuple[str, Figures]]:
    """Run each workload once; yield its name and figures."""
    if workloads:
        with closing(system.connect(cluster.addresses())) as client:
            seed(client)
    for workload in workloads:
        if workload.verb == "scan":
            with closing(system.connect(cluster.addresses())) as client:
                seed_scanned(client)
        tasks = _tasks(workload, system, cluster.addresses())
        answers = processes.run(tasks, duration_s)
        latencies_ns = _latencies_ns(workload, answers)
        yield workload.name, summarize(latencies_ns, duration_s, workload.puts)


def _latencies_ns(workload: Workload, answers: Sequence[list[int]]) -> list[int]:
    if workload.subscribers:
        return latencies_of_events(answers, workload.subscribers)
    return [latency_ns for latencies_ns in answers for latency_ns in latencies_ns]


def _tasks(workload: Workload, system: System, addresses: Sequence[str]) -> list[tuple[Drive, Job]]:
    if workload.clients:
        return [
            (system.drive_blocking, _job(workload, addresses, client, 1))
            for client in range(workload.clients)
        ]
    shares = split(workload.subscribers or workload.in_flight, system.in_flight_processes)
    jobs = [_job(workload, addresses, client, share) for client, share in enumerate(shares)]
    if not workload.subscribers:
        return [(system.drive_in_flight, job) for job in jobs]
    assert system.drive_paced is not None
    assert system.drive_watches is not None
    # The writer is the first, so that its failure is known before the subscribers time out.
    writer = _job(workload, addresses, len(jobs), 1)
    subscribers = [(system.drive_watches, job) for job in jobs]
    return [(system.drive_paced, writer), *subscribers]


def _job(workload: Workload, addresses: Sequence[str], client: int, in_flight: int) -> Job:
    return Job(
        name=workload.name,
        verb=workload.verb,
        client=client,
        in_flight=in_flight,
        addresses=addresses,
        value_bytes=workload.value_bytes,
        puts=workload.puts,
        puts_a_second=workload.puts_a_second,
    )


def split(total: int, processes: int) -> list[int]:
    """Divide a number over at most so many processes, as evenly as possible."""
    used = min(total, processes)
    return [total // used + (number < total % used) for number in range(used)]
