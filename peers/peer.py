"""What the scripts of the Python peers share: the market they are given, scenarios, and a report of each."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0

MARKET: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
WS_URL, HTTP_URL, LIVE_WS_URL = str(MARKET["ws_url"]), str(MARKET["http_url"]), str(MARKET["live_ws_url"])
EXPECTED: dict[str, Any] = MARKET["expected"]

Row = Sequence[float | None]
Scenario = Callable[[], Awaitable[None]]

_scenarios: dict[str, Scenario] = {}


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Adds a scenario; it holds if nothing is raised."""

    def add(check: Scenario) -> Scenario:
        _scenarios[name] = check
        return check

    return add


def check_same(got: Sequence[Row], wanted: Sequence[Row], what: str = "") -> None:
    """Raises AssertionError that names the first bar that differs."""
    assert len(got) == len(wanted), f"{what}: {len(got)} bars instead of {len(wanted)}"
    for theirs, ours in zip(got, wanted, strict=True):
        assert list(theirs) == list(ours), f"{what}: {theirs} instead of {ours}"


def check_beyond_the_window(got: Sequence[Row]) -> None:
    """More minutes than an anonymous account sees, the newest of them as that one sees them."""
    minutes = EXPECTED["history"]["minutes"]["bars"]
    assert len(got) == 6_000, f"{len(got)} bars instead of 6000"
    check_same(got[-len(minutes) :], minutes, "minutes")


def zero_for_none(rows: Sequence[Row]) -> list[Row]:
    """Bars as peers have them that know no absent volume."""
    return [[*row[:5], row[5] or 0.0] for row in rows]


def check_minutes(closed: Sequence[Row], at_least: int) -> None:
    """Closed live minutes: none is missing, and each is what history has later."""
    wanted = {row[0]: row for row in EXPECTED["live"]["bars"]}
    times = [int(row[0] or 0) for row in closed]
    assert len(times) >= at_least, times
    assert times == list(range(times[0], times[-1] + 60, 60)), f"minutes are missing: {times}"
    check_same(closed, [wanted[moment] for moment in times], "live minutes")


def main() -> None:
    """Run every scenario in turn and print a line of JSON for each."""
    for name, check in _scenarios.items():
        started = time.monotonic()
        why = asyncio.run(_why(check))
        print(json.dumps({"scenario": name, "seconds": time.monotonic() - started, "why": why}), flush=True)


async def _why(check: Scenario) -> str:
    try:
        await asyncio.wait_for(check(), DEADLINE_S)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
