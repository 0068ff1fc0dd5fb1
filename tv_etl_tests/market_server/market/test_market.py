import subprocess
import sys

import numpy as np
import pytest

from tv_etl.market_server.market.listings import find_listing, listings, plain_listing
from tv_etl.market_server.market.market import BarSource, Market
from tv_etl.market_server.market.timescale import BarsText, BarsTexts
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.seeded_market import MARKET, bars, source_of, utc
from tv_etl_tests.market_server.talk import FRIDAY_NOON
from tv_etl_tests.yardstick import cpu_ratio


def test_prices_are_converted_at_one_rate() -> None:
    euros, day = MARKET.find("NASDAQ:AAPL", currency="EUR"), Interval.parse("1D")
    assert euros is not None and euros.listing.currency == "EUR"
    rates = bars("NASDAQ:AAPL", "1D", 50)[:, 1:5] / euros.bars(day, FRIDAY_NOON, count=50).rows[:, 1:5]
    assert rates.max() - rates.min() < 1e-4 and 1.0 < rates.mean() < 1.3
    assert MARKET.find("NASDAQ:AAPL", currency="USD") is source_of("NASDAQ:AAPL")
    assert MARKET.find("NASDAQ:AAPL", currency="MOON") is None
    dollars, cents = MARKET.find("CBOT:ZC1!", currency="USD"), bars("CBOT:ZC1!", "1D", 5)[:, 4]
    assert dollars is not None and not dollars.listing.is_fractional
    assert np.allclose(dollars.bars(day, FRIDAY_NOON, count=5).rows[:, 4] * 100, cents)
    assert MARKET.find("BINANCE:BTCUSDT", currency="XTVCUSDT") is source_of("BINANCE:BTCUSDT")


@pytest.mark.parametrize("now", [FRIDAY_NOON, FRIDAY_NOON + 86_400, utc(2026, 10, 27).timestamp() + 54_321, 0.0])
def test_the_newest_days_of_many_are_those_of_each(now: float) -> None:
    wanted = [each for symbol in [*sorted(listings()), "NYSE:JAAA", "TSE:3000"] if (each := find_listing(symbol))]
    found = MARKET.newest_days(wanted, now, (5, 1, 0))
    for listing, days in zip(wanted, found, strict=True):
        rows = MARKET.source_of(listing).bars(Interval.parse("1D"), now - listing.delay_s, count=6).rows
        for back, day in zip((5, 1, 0), days, strict=True):
            mine = rows[-1 - back] if back < len(rows) else np.full(rows.shape[1], np.nan)
            assert np.array_equal(day[: rows.shape[1]], mine, equal_nan=True), listing.symbol


def test_an_unknown_symbol_is_none_but_a_plain_one_can_be_made() -> None:
    assert MARKET.find("NASDAQ:NOPE") is None
    plain = MARKET.source_of(plain_listing("X:Y"))
    assert len(plain.bars(Interval.parse("1"), FRIDAY_NOON, count=3)) == 3
    assert plain.supports(Interval.parse("10S")) and not plain.supports(Interval.parse("7S"))
    assert not plain.supports(Interval.parse("100T"))


def test_another_seed_is_another_market() -> None:
    other = Market(8).find("NASDAQ:AAPL")
    assert other is not None
    assert (other.bars(Interval.parse("1D"), FRIDAY_NOON, count=50).rows != bars("NASDAQ:AAPL", "1D", 50))[:, 1:5].any()


def test_another_process_sees_the_same_bars() -> None:
    code = (
        "from tv_etl.market_server.market.market import Market; from tv_etl.tradingview.intervals import Interval\n"
        "for symbol in ('NASDAQ:AAPL', 'BINANCE:BTCUSDT'):\n"
        f"    print(Market(7).find(symbol).bars(Interval.parse('5'), {FRIDAY_NOON + 77}, count=40).rows.tolist())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = [bars(symbol, "5", 40, FRIDAY_NOON + 77).tolist() for symbol in ("NASDAQ:AAPL", "BINANCE:BTCUSDT")]
    assert printed.splitlines() == [str(rows) for rows in ours]


@pytest.mark.parametrize(("interval", "count"), [("1D", 5_000), ("1", 20_000)])
@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "COMEX:GC1!"])
def test_the_first_request_is_quick(symbol: str, interval: str, count: int) -> None:
    def ask() -> None:
        found = Market(99).find(symbol)
        assert found is not None
        found.bars(Interval.parse(interval), FRIDAY_NOON, count=count)

    assert cpu_ratio(ask) < 250


def test_a_source_that_is_asked_for_again_is_kept_while_there_is_room() -> None:
    market = Market(7, kept=250)
    first = market.find("NASDAQ:AAPL")
    assert market.find("NASDAQ:AAPL") is first and market.find("NASDAQ:AAPL", "extended") is not first
    assert market.find("NASDAQ:AAPL", adjustment="dividends") is first  # which pays none
    others = [symbol for symbol in market.listed_symbols() if symbol != "NASDAQ:AAPL"]
    for symbol in others[:200]:
        market.find(symbol)
    assert market.find("NASDAQ:AAPL") is first
    for symbol in others[200:400]:
        market.find(symbol)
    assert market.find("NASDAQ:AAPL") is first  # what is asked for again stays longer
    for symbol in others[:300]:
        market.find(symbol)
    assert market.find("NASDAQ:AAPL") is not first


def test_five_hundred_symbols_in_turn_are_worked_out_once() -> None:
    market, texts, day = Market(7), BarsTexts(), Interval.parse("1D")

    def asked(symbol: str) -> tuple[BarSource, BarsText]:
        source = market.find(symbol)
        assert source is not None
        before = int(FRIDAY_NOON) - 86_400
        return source, texts.closed_bars(source, day, "Etc/UTC", before=before, count=20, now=FRIDAY_NOON)

    symbols = market.listed_symbols()[-500:]
    first = [asked(symbol) for symbol in symbols]
    again = [asked(symbol) for symbol in symbols]
    assert all(one is other for pair in zip(first, again, strict=True) for one, other in zip(*pair, strict=True))
