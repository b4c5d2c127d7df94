"""Logs: a line names its node and actor in either format."""

import logging

import msgspec
import pytest

from actors.logs import configure


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger()
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logger.level)


def test_an_unknown_term_is_logged_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    log_fields = configure("election_timer", "info", "text")
    logging.getLogger("skiff").info("unknown")
    log_fields.learn_term(0)
    logging.getLogger("skiff").info("none yet")
    log_fields.learn_term(7)
    logging.getLogger("skiff").info("known")
    unknown, none_yet, known = capsys.readouterr().err.splitlines()
    assert "node=- actor=election_timer term=- unknown" in unknown
    assert "term=- none yet" in none_yet
    assert "term=7 known" in known


def test_json_has_an_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_fields = configure("storage_writer", "info", "json")
    logging.getLogger("skiff").warning("two\nlines of %r", '"text"')
    log_fields.node, log_fields.term = "12345678", 7
    try:
        raise ValueError("reason")
    except ValueError:
        logging.getLogger("skiff").exception("failed")
    first, second = map(msgspec.json.decode, capsys.readouterr().err.splitlines())
    assert list(first) == ["time", "level", "node", "actor", "term", "message"]
    assert (first["level"], first["node"], first["term"]) == ("WARNING", None, None)
    assert first["message"] == "two\nlines of '\"text\"'"
    assert (second["node"], second["actor"], second["term"]) == ("12345678", "storage_writer", 7)
    assert "ValueError: reason" in second["message"]
