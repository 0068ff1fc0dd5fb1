import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import msgspec
import numpy as np
import pytest

from tv_etl.market_server.market.listings import listings
from tv_etl.market_server.market.market import BarSource, Market
from tv_etl.market_server.sessions.quote_fields import (
    feed_values,
    history_values,
    moving_values,
    newest_rows,
    static_values,
)
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON, MarketWith, Talk

DAY = Interval(1, "d")


def source_of(symbol: str) -> BarSource:
    source = Talk().world.find(symbol)
    assert source is not None
    return source


def moving(source: BarSource, now: float) -> dict[str, Any]:
    (rows,) = newest_rows(Market(7), [source], now)
    return moving_values(source, rows, now)


@pytest.mark.parametrize(
    ("hours", "session"),
    [(0, "market"), (-5, "pre_market"), (4, "post_market"), (9, "out_of_session"), (24, "out_of_session")],
)
def test_the_current_session_follows_the_clock(hours: int, session: str) -> None:
    assert moving(source_of("NASDAQ:AAPL"), FRIDAY_NOON + hours * 3_600)["current_session"] == session


def test_a_symbol_before_its_first_day_has_no_price() -> None:
    assert moving(source_of("NASDAQ:AAPL"), 1_000.0) == {"current_session": "out_of_session"}


def test_the_regular_close_is_that_of_the_last_session_that_is_over() -> None:
    source = source_of("NASDAQ:AAPL")
    before, today = source.bars(DAY, FRIDAY_NOON + 86_400, count=2).rows
    running, over = (moving(source, FRIDAY_NOON + 3_600 * hours) for hours in (0, 4))
    assert (running["regular_close"], running["prev_close_price"]) == (before[4], before[4])
    assert (over["regular_close"], over["prev_close_price"]) == (today[4], before[4])
    assert over["regular_close_time"] - running["regular_close_time"] == 86_400


def test_days_are_stamped_with_their_date() -> None:
    values = moving(source_of("NASDAQ:AAPL"), FRIDAY_NOON)
    assert datetime.fromtimestamp(values["open_time"], timezone.utc) == datetime(2026, 11, 20, tzinfo=timezone.utc)


def test_a_delayed_quote_lags() -> None:
    late = replace(listings()["BINANCE:BTCUSDT"], delay_s=900)
    (source, punctual) = (MarketWith(late).find("BINANCE:BTCUSDT"), source_of("BINANCE:BTCUSDT"))
    assert source is not None
    assert moving(source, FRIDAY_NOON) == moving(punctual, FRIDAY_NOON - 900)
    assert static_values(source)["update_mode"] == "delayed_streaming_900"


def test_the_extremes_of_history_are_those_of_its_days() -> None:
    source = source_of("SP:SPX")
    rows = source.bars(DAY, FRIDAY_NOON, start=0).rows
    values = history_values(source, rows[-2:], FRIDAY_NOON)
    assert (values["all_time_high"], values["all_time_low"]) == (rows[:, 2].max(), rows[:, 3].min())
    highest = datetime.fromtimestamp(rows[np.argmax(rows[:, 2]), 0], timezone.utc).date()
    assert datetime.fromtimestamp(values["all_time_high_day"], timezone.utc).date() == highest
    assert values["average_volume"] == rows[-10:, 5].mean()
    assert values["first_bar_time_1d"] < values["first_bar_time_1m"] == rows[0, 0]


def test_an_index_has_no_book() -> None:
    assert "bid" not in moving(source_of("SP:SPX"), FRIDAY_NOON)


@pytest.mark.parametrize(
    ("symbol", "currency", "base"),
    [("BITSTAMP:BTCUSD", "country/US", "crypto/XTVCBTC"), ("FX:EURUSD", "country/US", "country/EU"),
     ("NSE:M&M", "country/IN", None)],
)  # fmt: skip
def test_logos_are_named_by_rule(symbol: str, currency: str, base: str | None) -> None:
    values = static_values(source_of(symbol))
    assert (values["currency-logoid"], values.get("base-currency-logoid")) == (currency, base)


def test_the_words_of_the_feed_say_the_same() -> None:
    still, feed = static_values(source_of("NASDAQ:AAPL")), feed_values(source_of("NASDAQ:AAPL"))
    assert (feed["minmovement"], feed["symbol-proname"]) == (still["minmov"], still["pro_name"])
    assert json.loads(msgspec.json.encode(feed))["fundamental_data"] is False


@pytest.mark.parametrize("hours", [0, 4, 12, 36])
def test_quotes_drawn_all_at_once_are_those_of_each(hours: int) -> None:
    market, now = Market(7), FRIDAY_NOON + hours * 3_600
    symbols = [symbol for symbol in listings() if symbol not in ("ECONOMICS:USM2", "ICEEUR:BRN1!")]
    computed = ["NASDAQ:AAPL/NASDAQ:MSFT", "1/BINANCE:BTCUSDT", "CME_MINI:ESZ2026", "OPRA:AAPL261218C310.0"]
    sources = [source for symbol in (*symbols, *computed) if (source := market.find(symbol, now=now)) is not None]
    assert len(sources) == len(symbols) + len(computed)
    for source, rows in zip(sources, newest_rows(market, sources, now), strict=True):
        alone = source.bars(DAY, now - source.listing.delay_s, count=2).rows
        assert np.array_equal(rows, alone), source.listing.symbol


@pytest.mark.parametrize(
    ("symbol", "decimals"),
    [("CBOT:ZN1!", 6), ("CBOT:ZC1!", 3), ("OKX:PEPEUSDT", 9), ("FX:EURUSD", 5), ("KRX:005930", 0)],
)
def test_a_change_has_as_many_decimals_as_the_tick_takes(symbol: str, decimals: int) -> None:
    source = source_of(symbol)
    values, tick = moving(source, FRIDAY_NOON), source.listing.minmov / source.listing.pricescale
    assert source.listing.decimals == decimals
    assert values["ch"] == pytest.approx(round(values["ch"] / tick) * tick, abs=tick / 1_000)
    assert values["ch"] == pytest.approx(values["lp"] - values["prev_close_price"], abs=tick / 1_000)
    assert values["ask"] - values["bid"] == pytest.approx(2 * tick)
