"""Economic figures in the lake: fetched from a market, asked for again as their points come, revised, never split."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.collect.ask import Ask, increment, reaching_start
from tv_etl.collect.collection import Stored, carry_out, plan
from tv_etl.lake.cadence import Rhythm
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl.market_server.testing import MarketOptions, RunningMarket, running_market
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import SETTINGS, Rows, ServedMarket, table
from tv_etl_tests.collect.test_changing_market import Collector

OCTOBER = datetime(2026, 10, 1, 0, 20, tzinfo=timezone.utc)
DAY = 86_400
ALL, NEWS = increment(SETTINGS, None), increment(SETTINGS, 300)
FIGURES = {"kind": "economic", "data_frequency": "1M"}
CPI = Series.of("ECONOMICS:USCPI", "1d")


@pytest.fixture
def market() -> Iterator[RunningMarket]:
    with running_market(MarketOptions(seed=7, now=OCTOBER)) as market:
        yield market


def coverage(lake: Collector) -> Coverage:
    return Coverage(lake.store.record(*lake.series), lake.market.now.timestamp())


@pytest.mark.parametrize("interval", ["1d", "1w", "1mo"])
@pytest.mark.parametrize(("symbol", "points"), [("ECONOMICS:USCPI", 797), ("ECONOMICS:USIJC", 3_116)])
def test_all_points_are_stored_and_no_completeness_is_claimed(
    tmp_path: Path, market: RunningMarket, symbol: str, points: int, interval: str
) -> None:
    lake = Collector(tmp_path, symbol, interval, market)
    record = lake.collect(ALL).commit.record
    assert record.rows == (717 if (symbol, interval) == ("ECONOMICS:USIJC", "1mo") else points)
    assert (record.has_cadence, record.ratio, record.hours, record.hours_problem) == (False, None, None, "")
    assert record.regular_hours is not None
    seen = coverage(lake)
    assert (seen.unasked(), seen.lost().spans, seen.loss_deadline()) == ([], [], None)
    assert not seen.is_due and not seen.is_late


def test_points_have_trading_days_though_they_follow_no_hours(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "ECONOMICS:USCPI", "1d", market)
    lake.collect(ALL)
    rows = lake.store.scan(*lake.series).read_all().to_pylist()
    assert len(rows) == 797
    assert all(row["trading_day"] == row["timestamp"].date() for row in rows)


@pytest.mark.parametrize(("symbol", "interval"), [("ECONOMICS:USCPI", "1d"), ("ECONOMICS:USCPI", "1mo")])
def test_points_are_asked_for_once_a_day_and_come_when_they_are_published(
    tmp_path: Path, market: RunningMarket, symbol: str, interval: str
) -> None:
    lake = Collector(tmp_path, symbol, interval, market)
    lake.collect(ALL)
    came, dues = [], []
    for hours in range(0, 15 * 24, 6):
        market.move_to(OCTOBER + timedelta(hours=hours))
        if coverage(lake).is_due:
            dues.append(hours)
            came += [market.now.date()] * lake.collect(NEWS).commit.added
    assert dues == list(range(24, 15 * 24, 24))
    assert [str(day) for day in came] == ["2026-10-14"]  # September's, published on the 13th
    assert lake.stored().equals(lake.served())


def test_an_increment_compares_some_points_before_the_newest(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "ECONOMICS:USIJC", "1d", market)
    lake.collect(ALL)
    for days in (7, 14, 21):
        market.move_to(OCTOBER + timedelta(days=days))
        done = lake.collect(NEWS).commit
        # Of a week before only the last value was preliminary.
        assert (done.added, done.changed + done.unchanged) == (1, 6)
        assert (done.seam, done.readjustment) == (None, None)
    assert lake.store.record(*lake.series).revisions > 0
    assert len(lake.requests) == 4 and lake.stored().equals(lake.served())


def test_points_of_a_forming_month_wait_until_it_is_over(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "ECONOMICS:USIJC", "1mo", market)
    lake.collect(ALL)
    market.move_to(OCTOBER + timedelta(days=20))
    assert coverage(lake).is_due and lake.collect(NEWS).commit.added == 0
    # In November the last claims of October have still to come, and change its bar once more.
    for day in range(1, 15):
        market.move_to(datetime(2026, 11, day, 0, 20, tzinfo=timezone.utc))
        lake.collect(NEWS)
    assert lake.stored().equals(lake.served().slice(0, lake.stored().num_rows))
    assert lake.store.record(*lake.series).last == datetime(2026, 10, 1, tzinfo=timezone.utc)


def points(count: int, *, ratio: float = 1.0) -> Rows:
    """Monthly values with one decimal, the newest of which is of November 2026."""
    months = [divmod(2026 * 12 + 11 - count + number, 12) for number in range(count)]
    opens = [datetime(year, month + 1, 1, tzinfo=timezone.utc).timestamp() for year, month in months]
    values = [round((4.0 + number * 7 % 13 / 10) * ratio, 3) for number in range(count)]
    return [(opened, value, value, value, value, 0.0) for opened, value in zip(opens, values, strict=True)]


def revised(rows: Rows, places: range, by: float) -> Rows:
    changed = {rows[place][0] for place in places}
    return [(row[0], *(round(each + by * (row[0] in changed), 3) for each in row[1:5]), row[5]) for row in rows]


def collect(store: BarStore, served: ServedMarket, now: float = 1_796_000_000.0) -> Stored:
    """One increment; the answers say that the symbol is a figure."""

    def fetch(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request, answer in served.fetch(requests):
            assert isinstance(answer, pa.Table)
            facts = {key.decode(): value.decode() for key, value in answer.schema.metadata.items()}
            told = {f"tv_etl.{key}": value for key, value in FIGURES.items()}
            yield request, answer.replace_schema_metadata({**facts, **told})

    asks = [each for each in plan(store, [(CPI, ALL)], now) if isinstance(each, Ask)]
    *_, done = carry_out(store, asks, fetch)
    assert isinstance(done, Stored), done
    return done


def values(store: BarStore) -> list[float]:
    return [row["close"] for row in store.read(*CPI).to_pylist()]


@pytest.mark.parametrize(
    ("places", "requests", "revisions"),
    [
        (range(198, 200), 1, 2),  # the newest two, as every month
        (range(140, 200), 2, 60),  # five years, as once a year: the overlap differs from its oldest point on
        (range(200), 2, 200),
    ],
)
def test_revised_points_are_revisions_and_nothing_is_scaled(
    tmp_path: Path, places: range, requests: int, revisions: int
) -> None:
    store, rows = BarStore(tmp_path), points(200)
    collect(store, ServedMarket(rows))
    later = ServedMarket(revised(rows, places, 0.1))
    done = collect(store, later).commit
    assert (done.changed, done.readjustment, done.seam) == (revisions, None, None)
    assert len(later.requests) == requests
    assert values(store) == [row[4] for row in later.rows]


def test_a_new_base_year_is_a_revision_of_every_point(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    collect(store, ServedMarket(points(200)))
    done = collect(store, ServedMarket(points(200, ratio=0.5))).commit
    assert (done.changed, done.readjustment, done.seam) == (200, None, None)
    assert values(store) == [row[4] for row in points(200, ratio=0.5)]


def test_three_points_are_enough_to_be_revised(tmp_path: Path) -> None:
    store, rows = BarStore(tmp_path), points(3)
    collect(store, ServedMarket(rows))
    done = collect(store, ServedMarket(revised(rows, range(3), 0.4))).commit
    assert (done.changed, done.readjustment, done.seam, done.record.rhythm) == (3, None, None, None)


def test_a_new_base_year_of_which_the_past_is_gone_is_a_seam(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    collect(store, ServedMarket(points(200)))
    done = collect(store, ServedMarket(points(200, ratio=0.5), window=50)).commit
    assert done.seam is not None and done.seam.at == points(200)[150][0]
    assert values(store)[:150] == [row[4] for row in points(200)[:150]], "nothing was scaled"


def test_how_far_an_increment_reaches_follows_the_rhythm() -> None:
    newest = datetime(2026, 10, 1, tzinfo=timezone.utc)
    record = SeriesRecord(CPI, facts=FIGURES, rhythm=Rhythm(31 * DAY, 61 * DAY))
    assert reaching_start(record, newest) == newest - timedelta(days=155)


def test_a_lake_from_before_learns_it_with_the_next_answer(tmp_path: Path) -> None:
    """What it took for gaps is none any more; the hours of an ordinary series still count."""
    store, rows = BarStore(tmp_path), points(200)
    store.upsert(*CPI, table(rows, trading_hours='{"session":"24x7","timezone":"Etc/UTC"}'))
    before = store.record(*CPI)
    assert before.has_cadence and before.ratio is not None and before.ratio < 0.04
    done = collect(store, ServedMarket(rows)).commit
    assert (done.record.ratio, done.record.gaps, done.record.rhythm) == (None, 0, Rhythm(31 * DAY, 31 * DAY))
    assert store.record(*CPI) == done.record


def test_a_server_that_says_nothing_of_it_is_believed_about_shares(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "NASDAQ:AAPL", "1d", market)
    record = lake.collect(NEWS).commit.record
    assert (record.facts["kind"], record.facts.get("data_frequency"), record.ratio) == ("stock", None, 1.0)
    assert record.rhythm is None and record.asked_at == 0.0


def test_an_answer_tells_what_kind_of_symbol_it_is_of(market: RunningMarket) -> None:
    [(_, answer)] = fetch_history([HistoryRequest("ECONOMICS:USIJC", "1d", bars_count=3)], ws_url=market.url)
    assert not isinstance(answer, Exception)
    facts = answer.schema.metadata
    assert (facts[b"tv_etl.kind"], facts[b"tv_etl.data_frequency"]) == (b"economic", b"1W")
