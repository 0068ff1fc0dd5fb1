"""Runs of the bars asset as Dagster makes them, and markets that replay bars of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listings import listings
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayMarket
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.orchestration.bar_metadata import facts_in
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.conftest import NOW
from tv_etl_tests.market_server.talk import MarketWith

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
FIRST = int(NOW.timestamp()) // 60 * 60 - 9_000 * 60

# A session with a letter that nobody has seen, and the symbol that has it.
UNSEEN_SESSION = "0930-1200Q1300-1600"
UNSEEN_PROBLEM = f"trading hours {UNSEEN_SESSION!r}: it is not known what the letter 'Q' in it means"
UNSEEN = "HKEX:9"


@contextmanager
def market_of_unseen_hours() -> Iterator[MarketServer]:
    """A market at NOW that also has a symbol whose trading hours nobody can read."""
    described = {"session": UNSEEN_SESSION, "subsessions": [{"id": "regular", "session": UNSEEN_SESSION}]}
    listing = replace(listings()["HKEX:700"], symbol=UNSEEN, delay_s=0, extras=described)
    clock = MarketClock(NOW.timestamp(), speed=0)
    with serve_in_thread(MarketWith(listing), ServerOptions(clock=clock, update_ms=50)) as server:
        yield server


def run(
    instance: dg.DagsterInstance,
    lake: Path | str,
    url: str,
    group: Group,
    *,
    keys: list[str] | None = None,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    """One run over the partitions from the first key to the last; all of them by default."""
    definitions = build_definitions(Watchlist(groups=[group]), lake, ws_url=url)
    selected = series_partitions(group).get_partition_keys() if keys is None else keys
    return definitions.resolve_job_def("bars_job").execute_in_process(
        instance=instance,
        tags=range_tags(selected) if selected else None,
        run_config={**QUIET, "ops": {"bars": {"config": config}}},
        raise_on_error=False,
    )


def materializations(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    found = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        assert materialization.partition not in found
        found[str(materialization.partition)] = facts_in(materialization)
    return found


def replay(folder: Path, rows: list[tuple[float, ...]], interval: str) -> ReplayMarket:
    """A market that has these bars of one symbol."""
    folder.mkdir(exist_ok=True)
    lines = [",".join(map(repr, row)) for row in rows]
    text = "\n".join(["timestamp,open,high,low,close,volume", *lines])
    (folder / f"NASDAQ_SPLT_{interval}.csv").write_text(text + "\n", encoding="utf-8")
    return ReplayMarket(folder, Market(7))


def minute_rows(count: int, *, ratio: float = 1.0, shift: float = 0.0, until: int = 0) -> list[tuple[float, ...]]:
    """Bars up to NOW; prices before the bar number `until` are re-adjusted by the ratio, or moved."""
    rows = []
    close = 100.0
    for number in range(count):
        opened, close = close, 100.0 + number * 7 % 41
        factor, moved = (ratio, shift) if number < until else (1.0, 0.0)
        values = (opened, max(opened, close) + 0.5, min(opened, close) - 0.5, close)
        moment = FIRST + 60 * number
        rows.append((moment, *(value * factor + moved for value in values), (1000.0 + number) / factor))
    return rows
