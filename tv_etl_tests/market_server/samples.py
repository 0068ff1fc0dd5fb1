"""Messages of the live server, from recordings/server_messages.json."""

import json
from pathlib import Path
from typing import Any

_PATH = Path(__file__).parents[1] / "recordings" / "server_messages.json"


def sample(name: str, index: int = 0) -> Any:
    """One message of a recording."""
    return _entry(name)["messages"][index]


def recorded_marks() -> dict[str, list[list[int]]]:
    """The tick marks of several timescale_updates, by recording."""
    entries = json.loads(_PATH.read_text(encoding="utf-8"))
    return {entry["name"]: entry["marks"] for entry in entries if "marks" in entry}


def _entry(name: str) -> Any:
    return next(entry for entry in json.loads(_PATH.read_text(encoding="utf-8")) if entry["name"] == name)
