"""Client processes: one process per client, started once and used for every workload."""

import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

from scripts.benchmark.drive import Drive
from scripts.benchmark.job import Job, Window

START_DELAY_NS = 50_000_000  # for the job to reach every process before the window begins
ANSWER_MAX_S = 60.0  # after the window; a client that takes longer is stuck


class ClientFailed(Exception):
    """A client process could not do its job."""


class ClientProcesses:
    """A pool as large as the most demanding workload; processes without a job sleep."""

    def __init__(self) -> None:
        self._processes: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process, pipe in self._processes:
            pipe.close()
            process.kill()
            process.join()

    def run(self, tasks: Sequence[tuple[Drive, Job]], duration_s: float) -> list[list[int]]:
        """Run all jobs concurrently, each by its driver; return the latencies of each."""
        while len(self._processes) < len(tasks):
            self._processes.append(_start_process())
        pipes = [pipe for _, pipe in self._processes[: len(tasks)]]
        for pipe, task in zip(pipes, tasks, strict=True):
            pipe.send(task)
        for pipe in pipes:
            _receive(pipe, ANSWER_MAX_S)
        start_ns = time.monotonic_ns() + START_DELAY_NS
        for pipe in pipes:
            pipe.send(Window(start_ns, start_ns + round(duration_s * 1e9)))
        return [_receive(pipe, duration_s + ANSWER_MAX_S) for pipe in pipes]


def _start_process() -> tuple[BaseProcess, Connection]:
    # Spawned, because gRPC's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _receive(pipe: Connection, within_s: float) -> Any:
    if not pipe.poll(within_s):
        raise ClientFailed(f"a client process has been silent for {within_s:.0f} s")
    answer = pipe.recv()
    if isinstance(answer, ClientFailed):
        raise answer
    return answer


def _serve(pipe: Connection) -> None:
    # Ctrl-C reaches the whole terminal; the parent ends its clients in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            drive, job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_answer(drive, job, pipe))


def _answer(drive: Drive, job: Job, pipe: Connection) -> list[int] | ClientFailed:
    def gate() -> Window:
        pipe.send("ready")
        window = pipe.recv()
        assert isinstance(window, Window)
        return window

    try:
        return drive(job, gate)
    except Exception as error:  # noqa: BLE001 - any failure must reach the parent
        return ClientFailed(f"{job.name}: {type(error).__name__}: {error}")
