"""Daily bars span a pause that a finer series' own could not, and prove what came between."""

import json
from pathlib import Path

import pytest

from tv_etl.collect.ask import Ask, increment
from tv_etl.collect.collection import Resolved, Stored, carry_out, plan
from tv_etl.collect.day_proof import DAY, prove_by_days
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import SETTINGS, Rows, ServedMarket, table

HOURS = Series.of("BINANCE:BTCUSDT", "1h")
DAYS = Series(HOURS.symbol, DAY)
START = 1_790_035_200  # midnight
FACTS = {"trading_hours": json.dumps({"session": "24x7", "timezone": "Etc/UTC"}), "adjustment": "splits"}
COUNT = 30 * 24
NOW = START + COUNT * 3_600


def hourly(ratio: float = 1.0, until: int = 0) -> Rows:
    """Bars of thirty days; those before the bar number `until` are on another scale."""
    rows: Rows = []
    close = 100.0
    for number in range(COUNT):
        opened, close = close, 100.0 + number * 7 % 41
        factor = ratio if number < until else 1.0
        prices = (opened, max(opened, close) + 0.5, min(opened, close) - 0.5, close)
        rows.append((START + 3_600 * number, *(price * factor for price in prices), (1_000.0 + number) / factor))
    return rows


def daily(rows: Rows) -> Rows:
    days = [rows[first : first + 24] for first in range(0, COUNT, 24)]
    return [
        (day[0][0], day[0][1], max(r[2] for r in day), min(r[3] for r in day), day[-1][4], sum(r[5] for r in day))
        for day in days
    ]


def stored(store: BarStore, series: Series = HOURS) -> Rows:
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in store.read(*series).to_pylist()]


def store_days(store: BarStore, rows: Rows, **facts: str) -> None:
    store.upsert(*DAYS, table(daily(rows), **{**FACTS, **facts}, asked_from=START, asked_until=NOW))


def before_the_pause(directory: Path, plain: Rows) -> BarStore:
    store = BarStore(directory, clock=lambda: float(NOW))
    store.upsert(*HOURS, table(plain[:240], **FACTS, asked_from=START, asked_until=START + 240 * 3_600))
    return store


def increment_of(store: BarStore, market: Rows) -> list[Stored | Resolved]:
    asks = [each for each in plan(store, [(HOURS, increment(SETTINGS, 9))], NOW) if isinstance(each, Ask)]

    def with_hours(requests: object) -> object:
        for request, answer in ServedMarket(market, window=200).fetch(requests):  # type: ignore[arg-type]
            metadata = {f"tv_etl.{name}": text for name, text in FACTS.items()}
            yield request, answer.replace_schema_metadata({**answer.schema.metadata, **metadata})  # type: ignore[union-attr]

    outcomes = list(carry_out(store, asks, with_hours))  # type: ignore[arg-type]
    return [each for each in outcomes if isinstance(each, Stored | Resolved)]


def test_the_older_side_is_scaled_by_what_the_days_prove(tmp_path: Path) -> None:
    store, split = before_the_pause(tmp_path, hourly()), hourly(0.25, 360)
    store_days(store, split)
    resolved, done = increment_of(store, split)
    assert isinstance(resolved, Resolved) and isinstance(done, Stored)
    assert resolved.seam.resolved == "scale 0.25 (volume × 4), proven by daily bars"
    assert done.commit.seam is not None and done.commit.record.open_seam is None
    assert stored(store) == [*split[:240], *split[-200:]]
    assert done.commit.record.gaps == 1, "the pause itself"


def test_where_nothing_happened_the_sides_join(tmp_path: Path) -> None:
    store, plain = before_the_pause(tmp_path, hourly()), hourly()
    store_days(store, plain)
    resolved, _ = increment_of(store, plain)
    assert isinstance(resolved, Resolved)
    assert resolved.seam.resolved == "accept, proven by daily bars"
    assert stored(store) == [*plain[:240], *plain[-200:]]


def test_daily_bars_of_the_old_scale_prove_nothing(tmp_path: Path) -> None:
    """Those from before the split agree with the older side, and not with the newer one."""
    store, split = before_the_pause(tmp_path, hourly()), hourly(0.25, COUNT)
    store_days(store, hourly())
    assert [type(each) for each in increment_of(store, split)] == [Stored]
    assert store.record(*HOURS).open_seam is not None
    store_days(store, split)
    record = prove_by_days(store, HOURS)
    assert record is not None
    assert stored(store) == [*split[:240], *split[-200:]]


@pytest.mark.parametrize("other", [{"adjustment": "dividends"}, {"currency": "EUR"}])
def test_days_with_other_settings_prove_nothing(tmp_path: Path, other: dict[str, str]) -> None:
    store, plain = before_the_pause(tmp_path, hourly()), hourly()
    store_days(store, plain, **other)
    assert [type(each) for each in increment_of(store, plain)] == [Stored]


def test_without_daily_bars_the_seam_stays(tmp_path: Path) -> None:
    store = before_the_pause(tmp_path, hourly())
    [done] = increment_of(store, hourly())
    assert isinstance(done, Stored)
    assert done.commit.record.open_seam == done.commit.seam
    assert prove_by_days(store, HOURS) is None
    assert prove_by_days(store, Series.of("X:Y", "1h")) is None
