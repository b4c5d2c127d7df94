"""Fuzzer: coverage-guided inputs for every decoder and for the cores behind the three ports."""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzzing.corpus import keep, kept, samples
from tests.fuzzing.targets import TARGETS

INPUT_BYTES_MAX = 4096
EXECUTED = re.compile(r"number_of_executed_units:\s*(\d+)")
MEMORY_MB_MAX = 1024
KEPT_MAX = 200  # inputs of a target, the shortest ones
TOLD_CHARACTERS = 4000  # of what libFuzzer prints, where an input has failed


def main() -> None:
    """Fuzz the targets one after another, several processes each; end with 1 if one fails."""
    arguments = _parse()
    failed = [each for each in arguments.targets if not _fuzz(each, arguments)]
    sys.exit(1 if failed else 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", choices=[*TARGETS, []], default=list(TARGETS), help="all if none"
    )
    parser.add_argument("--runs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true", help="keep the inputs that reach further")
    return parser.parse_args()


def _fuzz(target: str, arguments: argparse.Namespace) -> bool:
    """Fuzz a target; return whether no input has failed."""
    with tempfile.TemporaryDirectory(prefix="skiff-fuzz-") as place:
        found, seeds = Path(place) / "found", Path(place) / "seeds"
        found.mkdir()
        _write(seeds, [*kept(target), *samples(target)])
        each = arguments.runs // arguments.processes
        running = [
            _start(target, found, seeds, f"-runs={each}") for _ in range(arguments.processes)
        ]
        told = [process.communicate()[0] for process in running]
        executed = sum(int(number) for text in told for number in EXECUTED.findall(text))
        for process, text in zip(running, told, strict=True):
            if process.returncode:
                _say(text[-TOLD_CHARACTERS:])
        succeeded = not any(process.returncode for process in running)
        _say(f"{target}: {executed} inputs, {'no failure' if succeeded else 'FAILED'}\n")
        if succeeded and arguments.keep:
            inputs = {*kept(target), *(each.read_bytes() for each in found.iterdir())}
            keep(target, sorted(inputs, key=len)[:KEPT_MAX])
        return succeeded


def _start(target: str, *options: Path | str) -> "subprocess.Popen[str]":
    """Start libFuzzer; failing inputs are left in the working directory."""
    command = [sys.executable, "-P", "-m", "tests.fuzzing.run", target, *map(str, options)]
    limits = [f"-max_len={INPUT_BYTES_MAX}", f"-rss_limit_mb={MEMORY_MB_MAX}", "-timeout=10"]
    return subprocess.Popen(
        [*command, *limits, "-print_final_stats=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write(place: Path, inputs: list[bytes]) -> None:
    place.mkdir()
    for each in inputs:
        (place / hashlib.sha256(each).hexdigest()).write_bytes(each)


if __name__ == "__main__":
    main()
