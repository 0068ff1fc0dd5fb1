"""Reads the recordings; TV_ETL_CAPTURES may name a directory with more of them."""

import json
import os
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def recording(name: str) -> dict[str, Any]:
    """One recording, by file name without ending."""
    return dict(json.loads((_HERE / f"{name}.json").read_text(encoding="utf-8")))


def exact_recordings() -> dict[str, list[str]]:
    """The WebSocket messages of every recording whose framing is the live server's, by file name."""
    found = {}
    more = os.environ.get("TV_ETL_CAPTURES")
    for directory in [_HERE, *([Path(more)] if more else [])]:
        for path in sorted(directory.glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict) and content.get("framing_exact") is True:
                found[path.stem] = content["frames"]
    return found
