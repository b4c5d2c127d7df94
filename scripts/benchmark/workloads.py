"""Workloads of the benchmark, and one round of them on one system."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from scripts.benchmark.client_processes import ClientProcesses
from scripts.benchmark.figures import Figures, summarize
from scripts.benchmark.job import SCANNED_KEYS, VALUE_BYTES, Job, Verb, seed, seed_scanned
from scripts.benchmark.system import Cluster, System


@dataclass(frozen=True)
class Workload:
    """Operations of one kind, by a number of clients or a number in flight."""

    name: str
    title: str
    verb: Verb
    clients: int = 0  # blocking clients, each a process
    in_flight: int = 0  # in total, over the system's number of processes
    value_bytes: int = VALUE_BYTES
    puts: int = 1  # in one operation, or entries that it reads


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
    Workload("put-64B", "put 64 B, 64 in flight", "put", in_flight=64, value_bytes=64),
    Workload("put-4K", "put 4 KiB, 64 in flight", "put", in_flight=64, value_bytes=4 << 10),
    Workload("put-64K", "put 64 KiB, 64 in flight", "put", in_flight=64, value_bytes=64 << 10),
    Workload("scan", "entry, scans of 100,000", "scan", clients=1, puts=SCANNED_KEYS),
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
        drive = system.drive_blocking if workload.clients else system.drive_in_flight
        jobs = _jobs(workload, system, cluster.addresses())
        latencies_ns = processes.run(drive, jobs, duration_s)
        yield workload.name, summarize(latencies_ns, duration_s, workload.puts)


def _jobs(workload: Workload, system: System, addresses: Sequence[str]) -> list[Job]:
    clients = workload.clients or system.in_flight_processes
    in_flight = workload.in_flight // clients or 1
    return [
        Job(
            workload.name,
            workload.verb,
            client,
            in_flight,
            addresses,
            workload.value_bytes,
            workload.puts,
        )
        for client in range(clients)
    ]
