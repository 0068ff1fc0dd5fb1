import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.market_server.market.expressions import legs_of, parse_expression
from tv_etl.market_server.market.listing import symbol_info
from tv_etl.market_server.market.market import Market
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.symbols import is_symbol
from tv_etl_tests.market_server.seeded_market import MARKET, bars, source_of
from tv_etl_tests.market_server.talk import FRIDAY_NOON

pytestmark = pytest.mark.pure

AAPL, MSFT, BTC = "NASDAQ:AAPL", "NASDAQ:MSFT", "BINANCE:BTCUSDT"
DAY, HOUR = Interval.parse("1D"), Interval.parse("60")


@pytest.mark.parametrize(
    ("text", "legs"),
    [
        ("1/BINANCE:BTCUSDT", ("BINANCE:BTCUSDT",)),
        ("(NASDAQ:AAPL+NASDAQ:MSFT)/2", ("NASDAQ:AAPL", "NASDAQ:MSFT")),
        ("A:B-C:D-A:B", ("A:B", "C:D")),
        ("A:B / C:D", ("A:B", "C:D")),
        ("NYSE:BRK.B*FX:EURUSD", ("NYSE:BRK.B", "FX:EURUSD")),
        ("DERIBIT:BTC-PERPETUAL/2", ("DERIBIT:BTC-PERPETUAL",)),
        ("2*NYSE:BAC/PL", ("NYSE:BAC/PL",)),
        ("2*BINANCE:BTCUSDT.P^0.5", ("BINANCE:BTCUSDT.P",)),
        ("NSE:M&M-COMEX:GC1!", ("NSE:M&M", "COMEX:GC1!")),
        *(
            (text, ())
            for text in ("NASDAQ:AAPL", "1/2", "", "(A:B", "A:B)", "()", "A:B+", "+A:B", "(A:B)(C:D)", "AAPL/2")
        ),
        ("(" * 60 + "A:B" + ")" * 60, ()),
    ],
)
def test_an_expression_names_its_legs(text: str, legs: tuple[str, ...]) -> None:
    assert legs_of(text) == legs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A:B+2*C:D", 14.0), ("(A:B+2)*C:D", 30.0), ("A:B-C:D-1", -2.0), ("C:D/A:B/2", 0.625), ("2^A:B^2", 2.0**16),
        ("(2^A:B)^2", 256.0), ("2*A:B^2", 32.0), ("1/A:B", 0.25), ("A:B*0.5-C:D", -3.0), ("10-A:B+1", 7.0),
    ],
)  # fmt: skip
def test_signs_bind_as_in_school(text: str, value: float) -> None:
    expression = parse_expression(text)
    assert expression is not None
    assert expression.value({"A:B": 4.0, "C:D": 5.0}) == pytest.approx(value)


@given(st.text("AB:+-*/^()12. ", max_size=14))
def test_what_the_market_computes_is_a_symbol_for_clients(text: str) -> None:
    if legs_of(text) and " " not in text:
        assert is_symbol(text)


@pytest.mark.parametrize("interval", ["1", "60", "1D", "1W"])
def test_bars_are_worked_out_of_those_of_the_legs(interval: str) -> None:
    mean, width = source_of(f"({AAPL}+{MSFT})/2"), Interval.parse(interval)
    rows = mean.bars(width, FRIDAY_NOON, count=30).rows
    first, second = bars(AAPL, interval, 30), bars(MSFT, interval, 30)
    assert rows.shape == (30, 5) and (rows[:, 0] == first[:, 0]).all()
    assert np.allclose(rows[:, [1, 4]], (first[:, [1, 4]] + second[:, [1, 4]]) / 2, atol=1e-4)
    assert (rows[:, 2] >= rows[:, 1:5].max(axis=1)).all() and (rows[:, 3] <= rows[:, 1:5].min(axis=1)).all()
    assert mean.open_back(width, FRIDAY_NOON, 30) == rows[0, 0]
    pages = [mean.bars(width, FRIDAY_NOON, count=20, before=int(rows[-10, 0])).rows, rows[-10:]]
    assert np.array_equal(np.concatenate(pages), rows)
    assert np.array_equal(mean.bars(width, FRIDAY_NOON, start=int(rows[0, 0])).rows, rows)


def test_an_inverse_has_its_lowest_where_the_other_is_highest() -> None:
    rows, bitcoin = source_of(f"1/{BTC}").bars(DAY, FRIDAY_NOON, count=20).rows, bars(BTC, "1D", 20)
    assert np.allclose(rows[:, 3], 1 / bitcoin[:, 2], rtol=1e-4) and np.allclose(
        rows[:, 2], 1 / bitcoin[:, 3], rtol=1e-4
    )
    assert source_of(f"1/{BTC}").listing.decimals == 10


def test_a_difference_may_be_below_zero() -> None:
    rows = source_of(f"{AAPL}-{MSFT}").bars(DAY, FRIDAY_NOON, count=20).rows
    assert (rows[:, 1:] < 0).all()
    assert np.allclose(rows[:, 4], bars(AAPL, "1D", 20)[:, 4] - bars(MSFT, "1D", 20)[:, 4])


def test_an_expression_is_described_by_all_of_it() -> None:
    info = symbol_info(source_of(f"1/{BTC}").listing, has_volume=False)
    assert {info[key] for key in ("name", "full_name", "pro_name", "description")} == {f"1/{BTC}"}
    assert (info["type"], info["legs"], info["visible_plots_set"]) == ("expression", [BTC], "ohlc")
    assert (info["listed_exchange"], info["is_tradable"]) == ("", False)


def test_what_is_not_finite_is_no_bar() -> None:
    assert len(source_of(f"1/({AAPL}-{AAPL})").bars(DAY, FRIDAY_NOON, count=20)) == 0
    assert len(source_of(f"(0-{AAPL})^0.5").bars(DAY, FRIDAY_NOON, count=20)) == 0


def test_days_belong_together_by_their_date_and_hours_by_the_clock() -> None:
    both = source_of(f"{BTC}/{AAPL}")
    days, shares = both.bars(DAY, FRIDAY_NOON, count=10).rows, bars(AAPL, "1D", 10)
    coins = bars(BTC, "1D", 20)
    dates = np.searchsorted(coins[:, 0], shares[:, 0], side="right") - 1
    assert (days[:, 0] == shares[:, 0]).all()  # while the share trades, whichever comes first
    assert np.allclose(days[:, 4], coins[dates, 4] / shares[:, 4], atol=1e-4)
    assert (both.listing.schedule.time_zone, both.listing.schedule.session) == ("America/New_York", "0930-1600")
    assert len(both.bars(HOUR, FRIDAY_NOON, start=int(FRIDAY_NOON) - 86_400)) == 0  # on the half hour and on the hour


def test_an_expression_of_what_is_unknown_or_denied_is_unknown() -> None:
    assert MARKET.find("NASDAQ:AAPL/NASDAQ:NOPE") is None
    assert MARKET.find("NASDAQ:AAPL/ECONOMICS:USM2") is None
    assert MARKET.find(f"{AAPL}*2", currency="EUR") is None


def test_an_expression_that_is_asked_for_again_is_kept() -> None:
    market = Market(7)
    assert market.find(f"{AAPL}*2") is market.find(f"{AAPL}*2") is not market.find(f"{AAPL}*2", "extended")


def test_a_split_of_one_leg_is_a_new_edition() -> None:
    mean, split = source_of("(NASDAQ:SPLT+NASDAQ:AAPL)/2"), 1_794_805_200  # 2026-11-16 in New York
    before, after = (mean.bars(DAY, now, count=6).rows for now in (split - 1, split + 86_400 * 2))
    assert mean.edition(split - 1) != mean.edition(split + 86_400)
    _, old, new = np.intersect1d(before[:, 0], after[:, 0], return_indices=True)
    ratios = before[old, 4] / after[new, 4]
    assert len(ratios) > 2 and ratios.max() - ratios.min() > 1e-3
