"""What a series holds, lacks and is about to lose, by its trading hours and the server's window."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.lake.bars import Bars
from tv_etl.lake.cadence import Rhythm
from tv_etl.lake.coverage import Closing, Coverage, Gap
from tv_etl.lake.record import Period, SeriesRecord, Window
from tv_etl.lake.spans import merged
from tv_etl.lake.store import BarStore
from tv_etl.market_server.testing import MarketOptions, RunningMarket, running_market
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.models import ASSUMED_WINDOW_BARS, HistoryRequest
from tv_etl.tradingview.series import Series

OPEN = datetime(2026, 11, 18, 14, 30, tzinfo=timezone.utc)  # 09:30 in New York
HOURS = {"session": "0930-1600", "timezone": "America/New_York", "session_holidays": "20261126"}


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, tz=timezone.utc)


def minutes(
    *offsets: int,
    hours: dict[str, str] | None = None,
    asked: tuple[int, int] | None = None,
    window: tuple[int, int] | None = None,
) -> pa.Table:
    """Bars so many minutes after the open; `asked` in such minutes, `window` in bars and a minute."""
    times = [OPEN + timedelta(minutes=offset) for offset in offsets]
    facts = {"tv_etl.forming_from": "", "tv_etl.session": "regular"}
    start = int(OPEN.timestamp())
    if asked is not None:
        first, end = (start + 60 * minute for minute in asked)
        facts |= {"tv_etl.asked_from": str(first), "tv_etl.asked_until": str(end)}
    if window is not None:
        facts |= {"tv_etl.window_bars": str(window[0]), "tv_etl.window_from": str(start + 60 * window[1])}
    if hours is not None:
        facts["tv_etl.trading_hours"] = json.dumps(hours)
    columns = [pa.array(times, BAR_SCHEMA.field(0).type), *[pa.array([1.0] * len(times))] * 5]
    return pa.Table.from_arrays(columns, schema=BAR_SCHEMA.with_metadata(facts))


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path)


def measured(store: BarStore, interval: str = "1m", now: datetime = OPEN + timedelta(days=30)) -> Coverage:
    return Coverage(store.record("NASDAQ:AAPL", interval), now.timestamp())


def gaps(store: BarStore, interval: str = "1m") -> list[Gap]:
    stored = Bars.from_stored(store.read("NASDAQ:AAPL", interval)).times
    return measured(store, interval).gaps(stored)


def test_a_whole_day_is_complete(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(*range(390), hours=HOURS))
    assert (store.record("NASDAQ:AAPL", "1m").ratio, gaps(store)) == (1.0, [])


def test_the_night_is_no_gap_and_a_missing_run_is_one(store: BarStore) -> None:
    day = 24 * 60
    store.upsert("NASDAQ:AAPL", "1m", minutes(388, 389, day, day + 1, day + 5, hours=HOURS))
    assert store.record("NASDAQ:AAPL", "1m").ratio == 1 - 3 / 8
    [gap] = gaps(store)
    assert (gap.bars, gap.sessions, gap.confirmed) == (3, 0, False)
    assert (gap.first, gap.last) == (OPEN + timedelta(days=1, minutes=2), OPEN + timedelta(days=1, minutes=4))


def test_a_missing_minute_is_told_apart_from_a_missing_session(store: BarStore) -> None:
    day = 24 * 60
    store.upsert("NASDAQ:AAPL", "1m", minutes(*range(100), *range(101, 390), 2 * day, hours=HOURS))
    minute, session = gaps(store)
    assert (minute.bars, minute.sessions) == (1, 0)
    assert (session.bars, session.sessions) == (390, 1)


def test_what_the_server_had_not_is_told_apart_from_what_nobody_asked(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, 1, 4, 8, hours=HOURS, asked=(0, 5)))
    store.upsert("NASDAQ:AAPL", "1m", minutes(20, hours=HOURS, asked=(20, 21)))
    assert [(gap.bars, gap.confirmed) for gap in gaps(store)] == [(2, True), (3, False), (11, False)]
    found = measured(store, now=OPEN + timedelta(minutes=25))
    assert [(moment(start), moment(end)) for start, end in found.unasked()] == [
        (OPEN + timedelta(minutes=5), OPEN + timedelta(minutes=20)),
        (OPEN + timedelta(minutes=21), OPEN + timedelta(minutes=24, seconds=1)),  # what has closed by now
    ]


def test_the_night_need_not_be_asked_for(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(389, hours=HOURS, asked=(389, 390)))
    assert measured(store, now=OPEN + timedelta(hours=20)).unasked() == []
    assert measured(store, now=OPEN + timedelta(days=1, minutes=3)).unasked() != []


def test_without_trading_hours_nothing_is_claimed(store: BarStore) -> None:
    assert (store.record("NASDAQ:AAPL", "1m").ratio, gaps(store)) == (None, [])
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, 5))
    assert (store.record("NASDAQ:AAPL", "1m").ratio, gaps(store)) == (None, [])


def test_hours_that_nobody_can_read_are_unknown_and_break_nothing(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, 5, hours={"session": "whenever", "timezone": "America/New_York"}))
    assert (store.record("NASDAQ:AAPL", "1m").ratio, gaps(store)) == (None, [])


def test_a_width_without_a_fixed_place_in_time_is_unknown(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "2d", minutes(0, 2 * 24 * 60, hours=HOURS, asked=(0, 5 * 24 * 60)))
    found = measured(store, "2d")
    assert (found.record.ratio, gaps(store, "2d")) == (None, [])
    assert found.loss_deadline() is None
    assert found.unasked() != []


# --- the loss deadline ----------------------------------------------------------------------------------------

ROUND_THE_CLOCK = {"session": "24x7", "timezone": "Etc/UTC"}


def test_an_up_to_date_series_loses_its_next_bar_when_so_many_are_newer(store: BarStore) -> None:
    facts = minutes(0, 1, 2, hours=ROUND_THE_CLOCK, asked=(0, 3), window=(100, 0))
    store.upsert("NASDAQ:AAPL", "1m", facts)
    for later in (3, 50, 102):
        # The bar of minute 3 is served while 99 follow it: until the bar of minute 103 opens.
        deadline = measured(store, now=OPEN + timedelta(minutes=later)).loss_deadline()
        assert deadline == OPEN + timedelta(minutes=103)
    # That one is lost; of those that are left the oldest goes with the next bar.
    assert measured(store, now=OPEN + timedelta(minutes=120)).loss_deadline() == OPEN + timedelta(minutes=121)


def test_nights_and_holidays_put_the_loss_off(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(*range(390), hours=HOURS, asked=(0, 390), window=(780, 0)))
    # Thursday and Friday fill the window; Monday's first bar pushes Thursday's first out.
    assert measured(store, now=OPEN + timedelta(hours=8)).loss_deadline() == OPEN + timedelta(days=5)


def test_a_hole_is_lost_before_what_is_to_come(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, hours=ROUND_THE_CLOCK, asked=(0, 1), window=(100, 0)))
    store.upsert("NASDAQ:AAPL", "1m", minutes(*range(50, 60), hours=ROUND_THE_CLOCK, asked=(50, 60)))
    assert measured(store, now=OPEN + timedelta(minutes=60)).loss_deadline() == OPEN + timedelta(minutes=101)
    # Most of the hole is out of reach already.
    assert measured(store, now=OPEN + timedelta(minutes=140)).loss_deadline() == OPEN + timedelta(minutes=141)
    # All of it is: what counts is what closed since.
    assert measured(store, now=OPEN + timedelta(minutes=155)).loss_deadline() == OPEN + timedelta(minutes=160)


def test_a_window_that_was_never_seen_is_taken_for_an_anonymous_accounts(store: BarStore) -> None:
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, hours=ROUND_THE_CLOCK, asked=(0, 1)))
    assert measured(store, now=OPEN).loss_deadline() == OPEN + timedelta(minutes=1 + ASSUMED_WINDOW_BARS)
    store.upsert("NASDAQ:AAPL", "1d", minutes(0, hours=ROUND_THE_CLOCK, asked=(0, 1)))
    assert measured(store, "1d").loss_deadline() is None, "days are not taken away"


def test_a_market_that_never_opens_again_loses_nothing(store: BarStore) -> None:
    hours = {"session": "24x7", "timezone": "Etc/UTC"}
    store.upsert("NASDAQ:AAPL", "1m", minutes(0, hours=hours))
    assert measured(store).loss_deadline() is None, "nothing was ever asked for"


@settings(max_examples=60)
@given(
    asked=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 150)), min_size=1, max_size=4),
    window=st.integers(5, 200),
    later=st.integers(0, 500),
)
def test_the_deadline_is_when_a_server_with_such_a_window_forgets(
    asked: list[tuple[int, int]], window: int, later: int
) -> None:
    """Against a server that is asked every minute what it still has."""
    start = int(OPEN.timestamp())
    spans = tuple(merged((start + 60 * first, start + 60 * (first + length)) for first, length in asked))
    now = max(start + 60 * later, spans[-1][1])
    record = SeriesRecord(Series.of("NASDAQ:AAPL", "1m"), {}, spans, Window(window, start))
    found = Coverage(record, now).loss_deadline()

    def served(at: int) -> set[int]:
        newest = at // 60 * 60
        return {newest - 60 * back for back in range(window)}

    def is_wanted(bar: int) -> bool:
        return bar >= spans[0][0] and not any(first <= bar < end for first, end in spans)

    lacking = {bar for bar in served(now) if is_wanted(bar)} or {spans[-1][1]}
    oldest = min(lacking)
    at = now
    while oldest in served(at) or at < oldest:
        at += 60 - at % 60
    assert found is not None
    assert found.timestamp() == at


# --- hours as the server writes them --------------------------------------------------------------------------

# On the 16th, after London and New York have put their clocks back and Bombay has had its Diwali.
MARKET_NOW = datetime(2026, 11, 16, 23, tzinfo=timezone.utc)
# Symbol, interval, from when on, and a trading day in it with its first open, its last bar and its bars.
SERVED = [
    ("HKEX:700", "1m", datetime(2026, 11, 2, tzinfo=timezone.utc), "2026-11-05 01:30", "2026-11-05 07:59", 330),
    ("HKEX:700", "1h", datetime(2026, 1, 5, tzinfo=timezone.utc), "2026-02-16 01:30", "2026-02-16 03:30", 3),  # an eve
    ("SSE:600519", "5m", datetime(2026, 9, 21, tzinfo=timezone.utc), "2026-10-08 01:30", "2026-10-08 06:55", 48),
    ("NSE:RELIANCE", "15m", datetime(2026, 7, 20, tzinfo=timezone.utc), "2026-07-31 03:45", "2026-07-31 09:45", 25),
    ("NSE:RELIANCE", "15m", datetime(2026, 7, 20, tzinfo=timezone.utc), "2026-08-03 03:45", "2026-08-03 09:30", 24),
    ("NSE:RELIANCE", "15m", datetime(2026, 7, 20, tzinfo=timezone.utc), "2026-11-08 12:30", "2026-11-08 13:00", 3),
    ("ICEEUR:BRN1!", "30m", datetime(2026, 10, 12, tzinfo=timezone.utc), "2026-10-23 00:00", "2026-10-23 21:30", 44),
    ("ICEEUR:BRN1!", "30m", datetime(2026, 10, 12, tzinfo=timezone.utc), "2026-10-25 22:00", "2026-10-26 21:30", 48),
    ("ICEEUR:BRN1!", "30m", datetime(2026, 10, 12, tzinfo=timezone.utc), "2026-11-03 01:00", "2026-11-03 22:30", 44),
]  # fmt: skip


@pytest.fixture(scope="module")
def market() -> Iterator[RunningMarket]:
    with running_market(MarketOptions(seed=7, now=MARKET_NOW, plan="ultimate")) as running:
        yield running


def fetched(market: RunningMarket, symbol: str, interval: str, start: datetime) -> pa.Table:
    [(_, answer)] = fetch_history([HistoryRequest(symbol, interval, start=start)], ws_url=market.url)
    assert isinstance(answer, pa.Table), answer
    return answer


@pytest.mark.parametrize(("symbol", "interval", "start", "first", "last", "bars"), SERVED)
def test_a_series_as_served_is_complete_and_a_missing_session_of_it_is_found_exactly(
    store: BarStore,
    market: RunningMarket,
    symbol: str,
    interval: str,
    start: datetime,
    first: str,
    last: str,
    bars: int,
) -> None:
    answer = fetched(market, symbol, interval, start)
    record = store.upsert(symbol, interval, answer).record
    assert record.hours is not None and (record.ratio, record.gaps) == (1.0, 0)
    times = Bars.from_stored(store.read(symbol, interval)).times
    expected = record.hours.expected_between(record.series.interval, int(times[0]), int(times[-1]) + 1)
    assert np.setxor1d(times, expected).size == 0

    opens, closes = (datetime.fromisoformat(f"{text}+00:00") for text in (first, last))
    kept = pc.or_(pc.less(answer["timestamp"], pa.scalar(opens)), pc.greater(answer["timestamp"], pa.scalar(closes)))
    lacking = BarStore(f"{store.base}-lacking")
    found = lacking.upsert(symbol, interval, answer.filter(kept)).record
    assert (found.missing_sessions, found.gaps) == (1, 1) and found.ratio is not None and found.ratio < 1.0
    stored = Bars.from_stored(lacking.read(symbol, interval)).times
    assert Coverage(found, MARKET_NOW.timestamp()).gaps(stored) == [Gap(opens, closes, bars, 1, confirmed=True)]


@pytest.mark.parametrize("symbol", ["HKEX:700", "SSE:600519", "NSE:RELIANCE", "ICEEUR:BRN1!"])
def test_years_of_days_and_weeks_as_served_are_complete(store: BarStore, market: RunningMarket, symbol: str) -> None:
    for interval in ("1d", "1w", "1mo"):
        start = datetime(2020, 1, 6 if interval == "1w" else 1, tzinfo=timezone.utc)
        record = store.upsert(symbol, interval, fetched(market, symbol, interval, start)).record
        assert (record.ratio, record.gaps) == (1.0, 0), interval
        assert record.rows > {"1d": 1_600, "1w": 300, "1mo": 80}[interval]


@pytest.mark.parametrize(
    ("symbol", "is_due_at"),
    # When the first bar after the weekend has closed, and the feed's quarter of an hour is over; on Diwali, a Sunday.
    [("HKEX:700", datetime(2026, 11, 9, 1, 46, 10, tzinfo=timezone.utc)),
     ("NSE:RELIANCE", datetime(2026, 11, 8, 12, 31, 10, tzinfo=timezone.utc))],
)  # fmt: skip
def test_nothing_is_due_while_the_market_is_closed(
    store: BarStore, market: RunningMarket, symbol: str, is_due_at: datetime
) -> None:
    friday = datetime(2026, 11, 6, tzinfo=timezone.utc)
    answer = fetched(market, symbol, "1m", friday)
    evening = friday + timedelta(hours=20)
    facts = {**answer.schema.metadata, b"tv_etl.asked_until": str(int(evening.timestamp())).encode()}
    week = answer.filter(pc.less(answer["timestamp"], pa.scalar(evening)))
    record = store.upsert(symbol, "1m", week.replace_schema_metadata(facts)).record
    assert not Coverage(record, (friday + timedelta(days=1, hours=12)).timestamp()).is_due
    assert not Coverage(record, (is_due_at - timedelta(minutes=1)).timestamp()).is_due
    assert Coverage(record, is_due_at.timestamp()).is_due


# --- series without a cadence ------------------------------------------------------------------------------------

DAY = 86_400
MONTHLY, NOON = 31 * DAY, int(datetime(2026, 11, 20, 12, tzinfo=timezone.utc).timestamp())


def figures(interval: str = "1d", *, age_s: int = 50 * DAY, asked_s: int = 0, **fields: object) -> Coverage:
    """What is known at NOON of monthly points, the newest of which is so old, asked for so long ago."""
    last = NOON - age_s
    known = {"periods": {"all": Period(300, 0, last, 9_000, 0, last + 1)}, "rhythm": Rhythm(MONTHLY, MONTHLY)}
    asked = ((-(10**9), NOON - asked_s - DAY),)
    record = SeriesRecord(Series.of("X:Y", interval), {"kind": "economic"}, asked, asked_at=float(NOON - asked_s))
    return Coverage(replace(record, **(known | fields)), NOON)  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", ["1d", "1w", "1mo", "3mo"])
def test_figures_are_due_once_a_day_at_however_wide_an_interval(interval: str) -> None:
    morning = NOON - 12 * 3_600 + 900  # what closes with the day has a quarter of an hour
    assert not figures(interval, asked_s=NOON - morning).is_due
    assert not figures(interval, asked_s=3_600).is_due
    assert figures(interval, asked_s=13 * 3_600).is_due
    assert figures(interval, asked_s=40 * DAY).is_due
    assert figures(interval).closing() == Closing(None, None, morning + DAY)
    assert not replace(figures(interval, asked_s=13 * 3_600), now=morning - 1.0).is_due
    assert replace(figures(interval, asked_s=13 * 3_600), now=float(morning)).is_due


def test_figures_below_a_day_are_due_once_in_each_interval() -> None:
    assert not figures("1h", asked_s=0).is_due
    assert figures("1h", asked_s=3_610).is_due


def test_figures_that_nobody_ever_asked_for_are_due() -> None:
    assert figures(asked=(), asked_at=0.0).is_due
    assert figures(asked_at=0.0).is_due, "of a lake from before, or imported"


@pytest.mark.parametrize(("months", "is_late"), [(2, False), (4.9, False), (5.1, True), (24, True)])
def test_figures_are_late_by_their_own_rhythm(months: float, is_late: bool) -> None:
    assert figures(age_s=int(months * MONTHLY)).is_late is is_late
    assert not figures(age_s=int(months * MONTHLY), rhythm=None).is_late, "too few to tell"
    assert not figures(age_s=int(months * MONTHLY), facts={"kind": "stock"}).is_late


def test_no_figure_is_missing_but_a_span_that_nobody_asked_for_is_told() -> None:
    seen = figures(asked_s=90 * DAY)
    assert (seen.gaps(np.array([0, NOON])), seen.unasked(), seen.within_reach()) == ([], [], [])
    apart = figures(asked=((0, 100 * DAY), (300 * DAY, NOON)))
    assert apart.unasked() == apart.within_reach() == [(100 * DAY, 300 * DAY)]
    assert apart.is_due and apart.lost().spans == []
    assert apart.missing(moment(0), moment(400 * DAY)) == [(100 * DAY, 300 * DAY)]


def test_a_window_of_figures_holds_as_many_points_as_it_says() -> None:
    assert (figures().loss_deadline(), figures().urgency()) == (None, float("inf"))
    limited = figures(window=Window(500, NOON - 500 * MONTHLY))
    assert limited.loss_deadline() == moment(NOON - 50 * DAY + 500 * MONTHLY)
    assert figures("1h", rhythm=None).loss_deadline() is None
