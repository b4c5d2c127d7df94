"""Report of a run: tables for people, JSON for programs."""

import statistics
from collections.abc import Sequence

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from scripts.benchmark.conditions import Conditions
from scripts.benchmark.figures import Figures
from scripts.benchmark.results import OURS, Results
from scripts.benchmark.trace import Stage
from scripts.benchmark.workloads import WORKLOADS

EXACT_MS = 10  # below, with hundredths


def print_json(conditions: Conditions, results: Results) -> None:
    """Print everything as one JSON document."""
    document = {"conditions": conditions, **results.for_json()}
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_tables(conditions: Conditions, results: Results) -> None:
    """Print a table for each kind of measurement."""
    console = Console()
    if results.rounds:
        console.print(_workload_table(results))
    if results.pauses_ms:
        console.print(_failover_table(results))
    if results.stages:
        console.print(_stage_table(results.stages))
    console.print(str(conditions), style="dim", highlight=False)


def _table(title: str, *columns: str, figures: Sequence[str]) -> Table:
    # As wide as the title, which would otherwise wrap, but within 80 columns.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, min_width=len(title))
    table.padding = (0, 1, 0, 0)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for column in figures:
        table.add_column(column, justify="right")
    return table


def _workload_table(results: Results) -> Table:
    columns = [
        f"{system}\n{what}"
        for system in (results.theirs, results.ours)
        for what in ("per s", "p50\nms", "p99\nms")
    ]
    title = "Operations a second and their latency; clients block, gets are linearizable"
    table = _table(title, "", figures=[*columns, f"{results.ours}/\n{results.theirs}"])
    for workload in WORKLOADS:
        if workload.name in results.rounds:
            medians = results.medians(workload.name)
            cells = [
                cell
                for each in (results.theirs, results.ours)
                for cell in _cells(medians.get(each))
            ]
            table.add_row(workload.title, *cells, _times(results.rate_ratio(workload.name)))
    return table


def _cells(figures: Figures | None) -> tuple[str, str, str]:
    if figures is None:
        return "-", "-", "-"
    return f"{figures.rate:.0f}", _milliseconds(figures.p50_ms), _milliseconds(figures.p99_ms)


def _milliseconds(value: float) -> str:
    return f"{value:.{2 if value < EXACT_MS else 0}f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"


def _failover_table(results: Results) -> Table:
    title = "Leader killed (SIGKILL): milliseconds to the next acknowledged write"
    table = _table(title, "", figures=["median", "max", "kills"])
    for system, pauses_ms in results.pauses_ms.items():
        median, longest = statistics.median(pauses_ms), max(pauses_ms)
        table.add_row(system, f"{median:.0f}", f"{longest:.0f}", str(len(pauses_ms)))
    if results.pause_ratio() is not None:
        table.add_row(f"{results.ours}/{results.theirs}", _times(results.pause_ratio()), "", "")
    return table


def _stage_table(stages: Sequence[Stage]) -> Table:
    title = f"Where a put's time goes in {OURS}: one blocking client, medians"
    table = _table(title, "where", "stage", figures=["µs since received", "batches"])
    for stage in stages:
        table.add_row(stage.place, stage.name, f"{stage.median_us:.0f}", str(stage.batches))
    return table
