from pathlib import Path

import pytest

from tv_etl.market_server.market import Market
from tv_etl.market_server.replay import ReplayError, ReplayMarket
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import Talk, bars, methods, only

# Rows of real bars: XRPETH minutes with fractional volume, SPX minutes without any, AAPL days.
XRPETH = """timestamp,open,high,low,close,volume
1570752000,0.00141342,0.00141557,0.00141266,0.00141418,1482.0
1570752060,0.00141597,0.00141658,0.00141597,0.00141658,522.25
1570752120,0.00141438,0.0014158,0.00141438,0.0014158,163.0
"""
SPX = """timestamp,open,high,low,close
1572964200,3080.8,3081.47,3080.3,3080.49
1572964260,3080.33,3080.33,3079.15,3079.36
"""
AAPL = """timestamp,open,high,low,close,volume
1516285800,179.369995,180.100006,178.25,179.259995,31193400
1516372200,178.610001,179.580002,177.410004,178.460007,31269600
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("BINANCE_XRPETH_1", XRPETH), ("SP_SPX_1", SPX), ("NASDAQ_AAPL_1D", AAPL)):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def rows_of(text: str) -> list[list[float]]:
    return [[float(value) for value in line.split(",")] for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("symbol", "interval", "text", "plots"),
    [("BINANCE:XRPETH", "1", XRPETH, "ohlcv"), ("SP:SPX", "1", SPX, "ohlc"), ("NASDAQ:AAPL", "1D", AAPL, "ohlcv")],
)
def test_replayed_bars_arrive_bit_for_bit(folder: Path, symbol: str, interval: str, text: str, plots: str) -> None:
    messages = Talk(ReplayMarket(folder, Market())).open_chart(symbol, interval, 100)
    assert bars(only(messages, "timescale_update")) == rows_of(text)
    assert only(messages, "symbol_resolved")["p"][2]["visible_plots_set"] == plots
    assert only(messages, "series_completed")["p"][4]["data_completed"] == "end"


def test_the_symbols_metadata_is_the_listing_or_a_plain_one(folder: Path) -> None:
    market = ReplayMarket(folder, Market())
    assert market.symbols == ["BINANCE:XRPETH", "NASDAQ:AAPL", "SP:SPX"]
    aapl, xrpeth = market.find("NASDAQ:AAPL"), market.find("BINANCE:XRPETH")
    assert aapl is not None and aapl.listing.schedule.session == "0930-1600"
    assert xrpeth is not None and xrpeth.listing.schedule.session == "24x7"
    assert xrpeth.listing.pricescale == 10**8


def test_the_markets_clock_hides_later_bars_and_brings_them_live(folder: Path) -> None:
    talk = Talk(ReplayMarket(folder, Market()), now=1_570_752_059)
    assert len(bars(only(talk.open_chart("BINANCE:XRPETH", "1", 100), "timescale_update"))) == 1
    (update,) = talk.wait(1.0, market_seconds=1)
    assert bars(update) == rows_of(XRPETH)[1:2]


def test_the_close_time_follows_the_listing(folder: Path) -> None:
    talk = Talk(ReplayMarket(folder, Market()))
    update = only(talk.open_chart("NASDAQ:AAPL", "1D", 5), "timescale_update")
    assert update["p"][1]["sds_1"]["lbs"]["bar_close_time"] == 1_516_372_200 + 6.5 * 3_600 - 1
    update = only(talk.open_chart("BINANCE:XRPETH", "1", 5, session="cs_2"), "timescale_update")
    assert update["p"][1]["sds_1"]["lbs"]["bar_close_time"] == 1_570_752_180


def test_an_interval_without_a_file_is_unsupported(folder: Path) -> None:
    messages = Talk(ReplayMarket(folder, Market())).open_chart("NASDAQ:AAPL", "60")
    assert only(messages, "series_error")["p"][3] == "unsupported resolution: NASDAQ:AAPL, 60"


def test_pages_and_ranges_are_cut_from_the_file(folder: Path) -> None:
    talk = Talk(ReplayMarket(folder, Market()))
    talk.open_chart("BINANCE:XRPETH", "1", 1)
    page = talk.say(("request_more_data", "cs_1", "sds_1", 1))
    assert bars(only(page, "timescale_update")) == rows_of(XRPETH)[1:2]
    messages = talk.open_chart("BINANCE:XRPETH", "1", ["from_to", 1_570_752_000, 1_570_752_060], session="cs_2")
    assert bars(only(messages, "timescale_update")) == rows_of(XRPETH)[:2]


def test_quotes_follow_the_replayed_bars(folder: Path) -> None:
    talk = Talk(ReplayMarket(folder, Market()))
    talk.say(("quote_create_session", "qs_1"), ("quote_set_fields", "qs_1", "lp", "prev_close_price"))
    messages = talk.say(("quote_add_symbols", "qs_1", "BINANCE:XRPETH"))
    assert messages[0]["p"][1]["v"] == {"prev_close_price": 0.00141658, "lp": 0.0014158}


def test_other_symbols_stay_synthetic(folder: Path) -> None:
    market = ReplayMarket(folder, Market(7))
    synthetic, plain = market.find("NASDAQ:MSFT"), Market(7).find("NASDAQ:MSFT")
    assert synthetic is not None and plain is not None
    day = Interval.parse("1D")
    assert (synthetic.bars(day, 1.7e9, count=5).rows == plain.bars(day, 1.7e9, count=5).rows).all()
    assert methods(Talk(market).open_chart("FAULT:EMPTY"))[-1] == "series_completed"
    assert market.find("NASDAQ:NOPE") is None


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("NASDAQ_1D.csv", AAPL, "expected a name"),
        ("NASDAQ_AAPL_15x.csv", AAPL, "expected a name"),
        ("NASDAQ_AAPL_1.csv", "time,open\n1,2\n", "first line"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n1,2,3\n", "5 numbers"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n1,2,3,4,x\n", "x"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n1,2,3,4,nan\n", "5 numbers"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n", "no bars"),
        ("NASDAQ_AAPL_1.csv", "", "first line"),
        ("NASDAQ_AAPL_1.csv", "timestamp,open,high,low,close\n2,1,1,1,1\n1,1,1,1,1\n", "ascend"),
        ("notes.txt", "", "no CSV"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ReplayError, match=says) as raised:
        ReplayMarket(tmp_path, Market())
    assert (name if name.endswith(".csv") else str(tmp_path)) in str(raised.value)
