"""Child: a command that skiff runs gets its signals, and does not outlast its protection."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skiff.cli import child
from skiff.cli.child import PASSED_SIGNALS, USER_SIGNALS, Ending, Protection, run_child
from skiff.cli.failures import CommandFailed, exit_code_of
from skiff.cli.signals import SignalInbox
from skiff.testing import wait_until

STUBBORN = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
PRINT = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"


def python(source: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", source, *map(str, arguments)]


def once(file: Path, act: Callable[[], object]) -> None:
    """Act, in a thread, once a file is there."""

    def wait_and_act() -> None:
        wait_until(file.exists, "the command runs")
        act()

    threading.Thread(target=wait_and_act).start()


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; raise SystemExit(os.environ['SKIFF_X'] != 'grüße')", 0),
    ],
)
def test_the_exit_code_is_that_of_a_shell(source: str, code: int) -> None:
    assert run_child(python(source), {"SKIFF_X": "grüße"}) == Ending(code, None)


@pytest.mark.parametrize("given", [b"", b"text", b"\xff" * (1 << 20)])
def test_the_standard_input_is_what_is_given(tmp_path: Path, given: bytes) -> None:
    read = tmp_path / "read"
    assert run_child(python(PRINT, read), {}, given=given).code == 0
    assert read.read_bytes() == given
    assert run_child(python("pass"), {}, given=given).code == 0  # unread


def test_a_command_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    for command, code in ((plain, 126), (tmp_path, 126), (tmp_path / "absent", 127)):
        with pytest.raises(CommandFailed, match="cannot run") as failed:
            run_child([str(command)], {})
        assert exit_code_of(failed.value) == code


@pytest.fixture
def heeded() -> Iterator[None]:
    """Let no signal be ignored, as SIGHUP is by nohup."""
    ignored = [number for number in PASSED_SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", PASSED_SIGNALS)
def test_a_signal_is_passed_on(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_is_from_terminal", lambda _: False)
    ready = tmp_path / "ready"
    source = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "while True: time.sleep(1)"
    )
    once(ready, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    asks_for_end = number not in USER_SIGNALS
    assert run_child(python(source, ready), {}) == Ending(7, number if asks_for_end else None)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("source", "kill_after", "code"),
    [("import time; ", 60, 128 + signal.SIGTERM), (STUBBORN, 0.2, 128 + signal.SIGKILL)],
)
def test_a_command_ends_with_its_protection(
    tmp_path: Path,
    source: str,
    kill_after: float,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ready = tmp_path / "ready"
    protection = Protection("lock 'l'", threading.Event(), kill_after)
    once(ready, protection.lost.set)
    running = source + "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    assert run_child(python(running, ready), {}, protection=protection) == Ending(code, None)
    notes = capsys.readouterr().err
    assert "lock 'l' is lost: the command gets SIGTERM" in notes
    assert ("SIGKILL" in notes) == (code == 128 + signal.SIGKILL)


def test_a_signal_that_arrives_as_the_command_ends_asks_for_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poll = subprocess.Popen.poll

    def signal_at_the_end(process: "subprocess.Popen[bytes]") -> int | None:
        code = poll(process)
        if code is not None:
            signal.raise_signal(signal.SIGTERM)
        return code

    monkeypatch.setattr(subprocess.Popen, "poll", signal_at_the_end)
    assert run_child(python("pass"), {}) == Ending(0, signal.SIGTERM)


def test_signals_that_were_not_read_go_to_the_former_handlers() -> None:
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    try:
        with SignalInbox(signal.SIGTERM, signal.SIGCHLD):
            signal.raise_signal(signal.SIGCHLD)
            signal.raise_signal(signal.SIGTERM)
            assert arrived == []
        assert arrived == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_that_are_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalInbox(signal.SIGHUP, signal.SIGTERM) as inbox:
            signal.raise_signal(signal.SIGHUP)
            assert inbox.next(0.0) is None
            signal.raise_signal(signal.SIGTERM)
            assert inbox.next(60.0) == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)
