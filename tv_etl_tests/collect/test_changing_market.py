"""What becomes of a lake when the market server serves other bars than it did, and not for a split or a dividend."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tv_etl.collect.ask import Ask, Want, increment, newest, refetch_stored
from tv_etl.collect.collection import Stored, carry_out, plan
from tv_etl.lake.store import BarStore
from tv_etl.market_server.testing import MarketOptions, RunningMarket, running_market
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import SETTINGS

FRIDAY, TUESDAY = (datetime(2026, 11, day, 22, tzinfo=timezone.utc) for day in (13, 17))
MONDAY_OPEN = datetime(2026, 11, 16, 14, 30, tzinfo=timezone.utc)
NEWS = increment(SETTINGS, 300)
AUDIT = increment(SETTINGS, 300, audit_s=86_400.0)


class Collector:
    """A lake of one series, and a market that it is collected from; both have one clock."""

    def __init__(self, directory: Path, symbol: str, interval: str, market: RunningMarket) -> None:
        self.series, self.market = Series.of(symbol, interval), market
        self.store = BarStore(directory, clock=lambda: self.market.now.timestamp())
        self.requests: list[HistoryRequest] = []

    def collect(self, want: Want) -> Stored:
        planned = list(plan(self.store, [(self.series, want)], self.market.now.timestamp()))
        asks = [each for each in planned if isinstance(each, Ask)]

        def fetch(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
            asked = list(requests)
            self.requests += asked
            return fetch_history(asked, ws_url=self.market.url)

        *_, done = carry_out(self.store, asks, fetch)
        assert isinstance(done, Stored), done
        return done

    def stored(self) -> pa.Table:
        return self.store.read(*self.series).replace_schema_metadata()

    def served(self) -> pa.Table:
        """What the market has of the stored time; it is closed, so no bar is forming."""
        request = HistoryRequest(*self.series, start=self.store.summary(*self.series).first, settings=SETTINGS)
        [(_, answer)] = fetch_history([request], ws_url=self.market.url)
        assert isinstance(answer, pa.Table)
        return answer.replace_schema_metadata()


def since(bars: pa.Table, moment: datetime) -> pa.Table:
    return bars.filter(pc.greater_equal(bars["timestamp"], pa.scalar(moment)))


def until(bars: pa.Table, moment: datetime) -> pa.Table:
    return bars.filter(pc.less(bars["timestamp"], pa.scalar(moment)))


def total(bars: pa.Table) -> float:
    return float(pc.sum(bars["volume"]).as_py())


@pytest.fixture
def market() -> Iterator[RunningMarket]:
    """A market on the Friday before, whose window spans all that is stored."""
    with running_market(MarketOptions(seed=7, now=FRIDAY, plan="ultimate")) as market:
        yield market


@pytest.fixture
def market_later() -> Iterator[RunningMarket]:
    """The same on the Tuesday after, with a window of 5,000 bars."""
    with running_market(MarketOptions(seed=7, now=TUESDAY)) as market:
        yield market


# --- a reused ticker -----------------------------------------------------------------------------------------------


def test_a_newly_listed_instrument_is_stored_beyond_a_seam(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "NASDAQ:HEIR", "1h", market)
    lake.collect(newest(SETTINGS, 300))
    old = lake.stored()
    market.move_to(TUESDAY)
    done = lake.collect(NEWS)
    assert done.commit.seam is not None and done.commit.record.open_seam == done.commit.seam
    assert done.commit.seam.at == MONDAY_OPEN.timestamp()
    assert (done.commit.added, done.commit.changed, done.commit.readjustment) == (14, 0, None)
    assert until(lake.stored(), MONDAY_OPEN).equals(old), "nothing was scaled"
    assert since(lake.stored(), MONDAY_OPEN).equals(lake.served())


def test_an_instrument_with_a_history_of_its_own_is_stored_beyond_a_seam(
    tmp_path: Path, market: RunningMarket, market_later: RunningMarket
) -> None:
    lake = Collector(tmp_path, "NYSE:TAKE", "1h", market)
    lake.collect(newest(SETTINGS, 6_000))
    old = lake.stored()
    lake.market = market_later
    done = lake.collect(NEWS)
    seam = done.commit.record.open_seam
    assert seam is not None and (done.commit.changed, done.commit.readjustment) == (0, None)
    served = lake.served()
    assert served.num_rows == 5_000
    begins = served["timestamp"][0].as_py()
    assert (seam.at, seam.replaced) == (begins.timestamp(), 5_000 - 14)
    assert until(lake.stored(), begins).equals(until(old, begins))
    assert since(lake.stored(), begins).equals(served)


# --- bars taken back -----------------------------------------------------------------------------------------------


def test_bars_taken_back_are_counted_and_logged(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "NASDAQ:BUST", "5m", market)
    lake.collect(newest(SETTINGS, 300))
    old = lake.stored()
    market.move_to(TUESDAY)
    done = lake.collect(NEWS)
    assert (done.commit.added, done.commit.changed, done.commit.record.withdrawn) == (156, 1, 17)
    assert done.commit.record.open_seam is None
    log, served = lake.store.withdrawn(*lake.series), lake.served()
    first, last = (datetime(2026, 11, 13, *clock, tzinfo=timezone.utc) for clock in ((15, 20), (16, 45)))
    taken_back = until(since(old, first), last)
    assert log.select(taken_back.column_names).equals(taken_back)
    assert not pc.any(log["has_left"]).as_py(), "nothing served overlaps them"
    is_served = pc.is_in(lake.stored()["timestamp"], served["timestamp"].combine_chunks())
    assert lake.stored().filter(is_served).equals(served)
    assert lake.collect(AUDIT).commit.record.withdrawn == 17, "told once"


def test_a_short_overlap_with_few_revised_bars_makes_no_seam(tmp_path: Path, market: RunningMarket) -> None:
    """Of the eight hours asked for again one was taken back whole and two in part; the others are what they were."""
    lake = Collector(tmp_path, "NASDAQ:BUST", "1h", market)
    lake.collect(newest(SETTINGS, 300))
    market.move_to(TUESDAY)
    done = lake.collect(NEWS)
    assert done.commit.record.open_seam is None
    assert (done.commit.changed, done.commit.record.withdrawn) == (2, 1)


# --- corrections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "bars", "deep"), [("1h", 3_000, 1), ("1d", 3_000, 2)])
def test_a_corrected_bar_is_revised_and_a_deep_one_by_an_audit(
    tmp_path: Path, market: RunningMarket, interval: str, bars: int, deep: int
) -> None:
    lake = Collector(tmp_path, "NASDAQ:FIXD", interval, market)
    lake.collect(newest(SETTINGS, bars))
    market.move_to(TUESDAY)
    assert lake.collect(NEWS).commit.changed == 1
    assert not lake.stored().equals(lake.served()), "what is older was not looked at"
    market.advance(86_400)
    audited = lake.collect(AUDIT).commit
    assert (audited.changed, audited.record.open_seam) == (deep, None)
    assert lake.stored().equals(lake.served())
    assert lake.store.revisions(*lake.series).num_rows == 1 + deep


# --- another anchor ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("want", [NEWS, refetch_stored(SETTINGS, 9)], ids=["increment", "refetch"])
def test_bars_of_another_anchor_replace_those_they_overlap(tmp_path: Path, market: RunningMarket, want: Want) -> None:
    lake = Collector(tmp_path, "NYSE:HOUR", "4h", market)
    lake.collect(newest(SETTINGS, 100))
    old = lake.stored()
    market.move_to(TUESDAY)
    lake.requests.clear()
    done = lake.collect(want)
    assert len(lake.requests) <= 2
    assert (done.commit.record.open_seam, done.commit.record.withdrawn) == (None, 100)
    assert until(old, MONDAY_OPEN)["timestamp"][-1].as_py().hour == 18
    assert pc.all(pc.is_in(pc.hour(lake.stored()["timestamp"]), pa.array([12, 13, 16, 17]))).as_py(), "08:30 and 12:30"
    log = lake.store.withdrawn(*lake.series)
    assert log.select(old.column_names).equals(old) and pc.all(log["has_left"]).as_py()
    stored = lake.stored()
    assert stored.equals(since(lake.served(), stored["timestamp"][0].as_py()))
    assert total(old) < total(stored) < 1.2 * total(old), "none is counted twice"


# --- coarse ticks --------------------------------------------------------------------------------------------------


def test_volumes_tell_a_split_of_prices_too_coarse_to_tell_it(
    tmp_path: Path, market: RunningMarket, market_later: RunningMarket
) -> None:
    lake = Collector(tmp_path, "NYSE:NICK", "1h", market)
    lake.collect(newest(SETTINGS, 6_000))
    old = lake.stored()
    lake.market = market_later
    done = lake.collect(NEWS)
    [found] = [each.readjustment for each in done.commit.record.readjustments]
    assert (done.commit.record.open_seam, found.ratio, found.volume_ratio) == (None, 0.5, 2.0)
    served = lake.served()
    begins = served["timestamp"][0].as_py()
    older, was = until(lake.stored(), begins), until(old, begins)
    assert older["volume"].to_pylist() == [2 * volume for volume in was["volume"].to_pylist()]
    off = pc.subtract(older["close"], pc.multiply(was["close"], 0.5))
    assert pc.max(pc.abs(off)).as_py() <= 0.05, "to a tick"
    assert since(lake.stored(), begins).equals(served)


def test_coarse_prices_that_are_all_served_anew_are_those_of_the_market(tmp_path: Path, market: RunningMarket) -> None:
    lake = Collector(tmp_path, "NYSE:NICK", "1h", market)
    lake.collect(newest(SETTINGS, 3_000))
    market.move_to(TUESDAY)
    lake.collect(NEWS)
    assert lake.stored().equals(lake.served())
