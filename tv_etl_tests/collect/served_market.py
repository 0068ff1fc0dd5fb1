"""A server of one series' bars that tests can change between two requests; it answers as `fetch_history` does."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone

import pyarrow as pa

from tv_etl.lake.store import BarStore
from tv_etl.lake.update import Update
from tv_etl.lake.upsert import Commit
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import SeriesSettings
from tv_etl_tests.lake_runs import FIRST, minute_rows

SERIES = Series.of("NASDAQ:SPLT", "1m")
SETTINGS = SeriesSettings()
COUNT = 1_000
PLAIN = minute_rows(COUNT)
SPLIT = minute_rows(COUNT, ratio=0.25, until=COUNT)

Rows = list[tuple[float, ...]]


def second(number: int) -> int:
    """The open of a bar of the market, in UTC seconds."""
    return FIRST + 60 * number


def at(number: int) -> datetime:
    """The open of a bar of the market."""
    return datetime.fromtimestamp(second(number), timezone.utc)


def table(rows: Rows, **facts: object) -> pa.Table:
    """Bars, all of them closed, with facts of their series."""
    metadata = {"tv_etl.forming_from": "", **{f"tv_etl.{key}": str(value) for key, value in facts.items()}}
    columns = [pa.array([int(row[0]) * 1_000_000 for row in rows], pa.int64()).cast(BAR_SCHEMA.field(0).type)]
    columns += [pa.array([row[column] for row in rows], pa.float64()) for column in range(1, 6)]
    answered = {"fetch.rejected": "0", "fetch.reach": "complete"}
    return pa.Table.from_arrays(columns, schema=BAR_SCHEMA.with_metadata({**metadata, **answered}))


def enter(store: BarStore, update: Update) -> Commit:
    """Store an update whatever is stored."""
    return store.commit(SERIES, update, judge=lambda stored: update)


def stored(store: BarStore, series: Series = SERIES) -> Rows:
    """All bars that a store has of a series."""
    rows = store.read(*series).to_pylist()
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in rows]


@dataclass
class ServedMarket:
    """Serves the last `window` of its rows, the newest of which has just closed; `requests` are those it answered."""

    rows: Rows
    window: int = COUNT
    requests: list[HistoryRequest] = field(default_factory=list)

    def fetch(self, requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request in requests:
            yield request, self.answer(request)

    def answer(self, request: HistoryRequest) -> pa.Table:
        self.requests.append(request)
        kept = self.rows[-self.window :]
        start, end = (None if each is None else each.timestamp() for each in (request.start, request.end))
        rows = kept if start is None else [row for row in kept if row[0] >= start]
        if request.bars_count is not None:
            older = [row for row in rows if end is None or row[0] < end]
            rows = rows[max(0, len(older) - request.bars_count) :]
        if end is not None and not request.up_to_now:
            rows = [row for row in rows if row[0] < end]
        is_limited = len(kept) < len(self.rows) and (start is None or start < kept[0][0])
        begins = rows[0][0] if rows and (start is None or is_limited) else start
        until = kept[-1][0] + 1 if end is None or request.up_to_now else min(end, kept[-1][0] + 1)
        return table(rows, asked_from=int(begins or 0), asked_until=int(until))
