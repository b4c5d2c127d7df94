"""README: its examples run and print the documented output."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from skiff.testing import Cluster, free_port
from tests.cluster import command
from tests.cluster.keyed import node_key
from tests.cluster.project import Project

pytestmark = pytest.mark.cluster

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PORTS = ("9400", "9410", "9420")
NODES = len(PORTS)


def blocks(language: str, text: str = README) -> list[str]:
    """Return the code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(heading: str) -> str:
    """Return the text under a heading."""
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def with_ports(text: str, ports: list[int]) -> str:
    """Return a block with these ports, as its own may be taken here."""
    instead = dict(zip(PORTS, map(str, ports), strict=False))
    return re.sub("|".join(PORTS), lambda match: instead[match[0]], text)


def run(arguments: list[str], place: Path) -> str:
    """Run a program in a directory; return what it prints."""
    ended = subprocess.run(
        arguments,
        cwd=place,
        env=command.environment(),
        capture_output=True,
        text=True,
        timeout=command.SECONDS_MAX,
        check=True,
    )
    return ended.stdout


def run_script(source: str, place: Path) -> str:
    script = place / "script.py"
    script.write_text(source, encoding="utf-8")
    return run([sys.executable, script.name], place)


@contextmanager
def started(block: str, place: Path) -> Iterator[None]:
    """Run a block that starts a node, and end the node afterwards."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {block}"],
        cwd=place,
        stdout=subprocess.PIPE,
        text=True,
        env=command.environment(),
    )
    assert process.stdout is not None
    try:
        assert "serves" in process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.wait(command.SECONDS_MAX)
        process.stdout.close()


@pytest.fixture
def shell() -> Callable[[str], str]:
    """Return a function that adapts a block of commands to free ports and the skiff under test."""
    ports = [free_port() for _ in PORTS]
    skiff = shlex.join(command.command())
    scheme = "skiffs://" if node_key() else "skiff://"

    def adapt(block: str) -> str:
        block = block.replace(".venv/bin/skiff", skiff).replace("skiff://", scheme)
        return with_ports(block, ports)

    return adapt


def test_the_readme_has_only_the_scripts_tested_here() -> None:
    assert len(blocks("python")) == 14, "a new script in the README needs a test"


def test_the_embedded_script_counts_its_runs(tmp_path: Path) -> None:
    (source,) = blocks("python", section("Embedded in a program"))
    port = free_port()
    for count in (1, 2):
        printed = run_script(with_ports(source, [port]), tmp_path)
        assert printed == f"started {count} times; members: 127.0.0.1:{port}\n"


def test_a_program_embeds_a_node_with_keys(tmp_path: Path) -> None:
    (source,) = blocks("python", section("Security"))
    keygen = blocks("sh", section("Security"))[0].splitlines()[0]
    run(command.command(*shlex.split(keygen)[1:]), tmp_path)
    assert run_script(with_ports(source, [free_port()]), tmp_path) == "keys: True\n"


def test_the_client_script_prints_the_documented_output(cluster: Cluster, tmp_path: Path) -> None:
    source, *_ = blocks("python", section("The client"))
    (expected,) = blocks("text", section("The client"))
    ports = [node.port for node in cluster.nodes]
    assert run_script(with_ports(source, ports), tmp_path) == expected


def test_the_transaction_script_moves_money(cluster: Cluster, tmp_path: Path) -> None:
    _, source, *_ = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    printed = run_script(with_ports(source, ports), tmp_path).splitlines()
    assert printed[0] == "left: 45"
    assert re.fullmatch(r"True \(\d+, 1, True\)", printed[1])


def test_the_reading_script_shows_the_users(cluster: Cluster, tmp_path: Path) -> None:
    _, _, source, *_ = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    assert run_script(with_ports(source, ports), tmp_path).splitlines() == [
        "{'users/ann': {'age': 31}}",
        "users/bob 42 of version 1",
        "users/ann 31 of version 1",
        "3 ['ann', 'bob', 'eve'] {'age': 42}",
        "{'age': 31}",
    ]


def test_the_watching_script_shows_the_changes(cluster: Cluster, tmp_path: Path) -> None:
    _, _, _, source, *_ = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    assert run_script(with_ports(source, ports), tmp_path).splitlines() == [
        "insert config/color red",
        "synced  None",
        "insert config/color blue",
        "remove",
    ]


def test_the_mirror_script_follows_a_flag(cluster: Cluster, tmp_path: Path) -> None:
    _, _, _, _, source, *_ = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    printed = run_script(with_ports(source, ports), tmp_path).splitlines()
    assert printed == ["True 1 False", "insert flags/dark True"]


def test_the_lease_script_registers_a_service(cluster: Cluster, tmp_path: Path) -> None:
    *_, source, _, _ = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    printed = run_script(with_ports(source, ports), tmp_path)
    assert printed == "['services/web/1'] True\n[]\n"


def test_the_pipeline_script_prints_its_last_result(cluster: Cluster, tmp_path: Path) -> None:
    *_, source, _ = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    printed = run_script(with_ports(source, ports), tmp_path)
    assert printed == "1001 results, the last: {'hits': 0}\n"


def test_the_asyncio_script_counts_its_tasks(cluster: Cluster, tmp_path: Path) -> None:
    *_, source = blocks("python", section("The client"))
    ports = [node.port for node in cluster.nodes]
    printed = run_script(with_ports(source, ports), tmp_path)
    assert re.fullmatch(r"1000 tasks\nfirst insert tasks/\d+\n", printed)


@pytest.mark.parametrize(
    ("place", "printed"),
    [
        (0, "refused; the last run is still 2026-11-29\n"),
        (1, "leads: 10.0.0.5:80\nleads: None\n"),
        (2, "['10.0.0.5:80', '10.0.0.6:80']\n[]\n"),
    ],
)
def test_the_coordination_scripts_print_what_they_show(
    cluster: Cluster, tmp_path: Path, place: int, printed: str
) -> None:
    source = blocks("python", section("Coordination"))[place]
    ports = [node.port for node in cluster.nodes]
    assert run_script(with_ports(source, ports), tmp_path) == printed


def test_the_tests_pass_in_a_project_of_their_own(tmp_path: Path) -> None:
    (source,) = blocks("python", section("Testing"))
    project = Project(tmp_path)
    project.write(source)
    assert "4 passed" in project.run("--strict-markers")


def test_the_commands_for_three_terminals_run_a_cluster(
    shell: Callable[[str], str], tmp_path: Path
) -> None:
    *starts, session, afterwards = map(shell, blocks("sh", section("In three terminals")))
    assert len(starts) == NODES
    with ExitStack() as stack:
        for start in starts:
            stack.enter_context(started(start, tmp_path))
        printed = run(["bash", "-c", f"{session}\nwait\n{afterwards}"], tmp_path)
    assert "3 of 3 reachable" in printed
    assert re.search(r"^\d+ insert users/alice \{\"age\":31\}$", printed, re.MULTILINE)
    assert re.search(r"^\d+ insert users/bob \"hello\"$", printed, re.MULTILINE)
    assert "users/alice\nusers/bob\n" in printed
