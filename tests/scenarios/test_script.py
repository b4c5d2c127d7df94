"""The language of scenarios: failures, rewriting, and errors in scripts."""

import re
from pathlib import Path

import pytest

from tests.scenarios.script import BadScript, Script
from tests.scenarios.test_scenarios import FILES
from tests.scenarios.verbs import VERBS

SCRIPT = """\
# A single node leads at once (§5.2).

> (cluster A)
> sync A
  A: write 1 acknowledged
    A: leader term=1 vote=A
    A: write 2 begins: entries=1@1

# No messages are sent.
> network
  nothing
"""


def script(folder: Path, text: str) -> Script:
    path = folder / "example.txt"
    path.write_text(text, encoding="utf-8")
    return Script(path)


def test_a_script_with_matching_output_has_no_differences(tmp_path: Path) -> None:
    assert script(tmp_path, SCRIPT).differences() == ""


@pytest.mark.parametrize(
    ("right", "wrong", "difference"),
    [
        ("leader term=1", "leader term=2", "-    A: leader term=2 vote=A\n+    A: leader term=1"),
        ("    A: leader term=1 vote=A\n", "", "+    A: leader term=1 vote=A\n"),
        ("  nothing\n", "  nothing\n  A->B Heartbeat\n", "-  A->B Heartbeat\n"),
        ("  nothing\n", "", "+  nothing\n"),
    ],
)
def test_a_wrong_expectation_is_shown_as_a_difference(
    tmp_path: Path, right: str, wrong: str, difference: str
) -> None:
    assert difference in script(tmp_path, SCRIPT.replace(right, wrong)).differences()


def test_rewriting_records_the_actual_output_and_keeps_the_rest(tmp_path: Path) -> None:
    commands = "".join(
        line for line in SCRIPT.splitlines(keepends=True) if not line.startswith("  ")
    )
    assert script(tmp_path, commands).rewrite()
    assert (tmp_path / "example.txt").read_text(encoding="utf-8") == SCRIPT


def test_rewriting_twice_changes_nothing(tmp_path: Path) -> None:
    once = script(tmp_path, SCRIPT.replace("leader", "follower"))
    assert once.rewrite()
    assert not once.rewrite()
    assert not Script(once.path).rewrite()


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("delver", "no verb 'delver'; there are cluster, crash"),
        ("", "a command needs a verb"),
        ("crash B", "no node 'B'; there are A"),
        ("deliver Heartbat", "'Heartbat' is neither"),
        ("deliver 3", "0 messages are on their way there, not 3"),
        ("time_out", "0 words after the verb, not 1"),
        ("write A many", "'many' is no number"),
        ("inject A->A Heartbeat term=1 round=0", "commit=... is missing"),
        ("inject A->A Heartbeat term=1 round=0 commit=0 x=1", "'x' means nothing here"),
        ("inject A->A RequestVoteReply term=1", "say granted or refused"),
        ("inject A->A ReadIndex index=1", "'ReadIndex' cannot be made by hand"),
        ("limit NO_SUCH 3", "no limit 'NO_SUCH'"),
        ("settle until Heartbeat", "no Heartbeat is sent"),
    ],
)
def test_an_error_is_reported_with_its_file_and_line(
    tmp_path: Path, command: str, complaint: str
) -> None:
    with pytest.raises(BadScript, match=re.escape(f"example.txt:12: {complaint}")):
        script(tmp_path, f"{SCRIPT}> {command}\n").play()


def test_a_command_to_a_node_that_is_down_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadScript, match=r"example\.txt:13: A is down"):
        script(tmp_path, f"{SCRIPT}> crash A\n> time_out A\n").play()


def test_a_script_must_begin_with_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(BadScript, match=r"example\.txt:1: there is no cluster yet"):
        script(tmp_path, "> status\n").play()


@pytest.mark.parametrize("text", ["status\n", "# why\n  output without a command\n"])
def test_a_line_that_is_neither_comment_nor_command_nor_output_is_refused(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(BadScript, match=r"example\.txt:\d: this is no command and no output"):
        script(tmp_path, text)


def test_a_breach_found_by_the_judge_is_reported_with_its_command(tmp_path: Path) -> None:
    text = "> cluster A B C\n> elect A\n"
    text += "> inject A->B AppendEntries term=5 prev=1@1 entries=2@5 commit=2\n"
    forged = "> inject A->C AppendEntries term=6 prev=1@1 entries=2@6 commit=2\n"
    with pytest.raises(AssertionError) as failure:
        script(tmp_path, text + forged).play()
    assert any("example.txt:4" in note for note in failure.value.__notes__)


# --- the files


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_scenario_begins_with_its_claim_and_its_source(path: Path) -> None:
    head, _, _ = path.read_text(encoding="utf-8").partition("\n>")
    assert head.startswith("# ")
    assert re.search(r"§|figure|dissertation|asynchronous", head), "name the section of the paper"


def test_the_manual_describes_every_verb() -> None:
    manual = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    missing = [verb for verb in VERBS if f"`{verb}" not in manual]
    assert not missing
