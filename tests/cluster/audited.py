"""Audited: what the audit trail of a data directory has recorded."""

import json
from pathlib import Path
from typing import Any


def audited(directory: Path) -> list[dict[str, Any]]:
    """Return the records of the newest file, the newest last; none before the first record."""
    file = directory / "audit.ndjson"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]
