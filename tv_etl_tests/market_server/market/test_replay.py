from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayMarket
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.intervals import Interval
from tv_etl_tests.market_server.talk import FRIDAY_NOON, Talk, bars, methods, only

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
    assert messages[0]["p"][1]["v"] == {"prev_close_price": 0.00141342, "lp": 0.0014158}


def test_other_symbols_stay_synthetic(folder: Path) -> None:
    market = ReplayMarket(folder, Market(7))
    synthetic, plain = market.find("NASDAQ:MSFT"), Market(7).find("NASDAQ:MSFT")
    assert synthetic is not None and plain is not None
    day = Interval.parse("1D")
    assert (synthetic.bars(day, 1.7e9, count=5).rows == plain.bars(day, 1.7e9, count=5).rows).all()
    assert methods(Talk(market).open_chart("FAULT:EMPTY"))[-1] == "series_completed"
    assert market.find("NASDAQ:NOPE") is None


def minutes_of(market: Market, symbol: str, count: int) -> list[list[float]]:
    source = market.find(symbol)
    assert source is not None
    rows: list[list[float]] = source.bars(Interval.parse("1"), FRIDAY_NOON, count=count).rows.tolist()
    return rows


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "TSE:7203", "NSE:M&M", "COMEX:GC1!"])
@pytest.mark.parametrize("interval", ["5", "45", "60", "240", "1D", "1W"])
def test_other_intervals_are_made_of_the_finest_file(tmp_path: Path, symbol: str, interval: str) -> None:
    lines = [",".join(map(repr, row)) for row in minutes_of(Market(7), symbol, 3_000)]
    text = "\n".join(["timestamp,open,high,low,close,volume", *lines])
    (tmp_path / f"{symbol.replace(':', '_')}_1.csv").write_text(text + "\n", encoding="utf-8")
    replayed, synthetic = ReplayMarket(tmp_path, Market(8)).find(symbol), Market(7).find(symbol)
    assert replayed is not None and synthetic is not None
    width = Interval.parse(interval)
    for now in (FRIDAY_NOON, FRIDAY_NOON - 5_041):
        mine = replayed.bars(width, now, count=100_000).rows[1:]  # the first may have begun before the file
        theirs = synthetic.bars(width, now, start=int(mine[0, 0])).rows if len(mine) else mine
        assert np.allclose(mine, theirs, rtol=1e-12)
        assert (replayed.bars(width, now, count=1).rows == replayed.bars(width, now, count=100_000).rows[-1:]).all()


def test_finer_intervals_than_the_files_are_not_made_up(folder: Path) -> None:
    aapl = ReplayMarket(folder, Market()).find("NASDAQ:AAPL")
    assert aapl is not None
    assert [aapl.supports(Interval.parse(text)) for text in ("1D", "1W", "1M", "60", "100T")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_lake_of_ours_is_replayed(tmp_path: Path) -> None:
    rows = np.array(minutes_of(Market(7), "NASDAQ:AAPL", 20_000))  # two files, one a month
    store = BarStore(tmp_path)
    table = pa.table(
        {
            "timestamp": pa.array(rows[:, 0] * 1_000_000).cast(pa.int64()).cast(pa.timestamp("us", "UTC")),
            **{name: rows[:, place] for place, name in enumerate(("open", "high", "low", "close", "volume"), start=1)},
        },
        schema=BAR_SCHEMA,
    )
    store.upsert("NASDAQ:AAPL", "1m", table)
    assert len(list(tmp_path.rglob("*.parquet"))) > 1
    talk = Talk(ReplayMarket(tmp_path, Market(8)), now=FRIDAY_NOON)
    update = only(talk.open_chart("NASDAQ:AAPL", "1", 2_000), "timescale_update")
    assert bars(update) == rows[-2_000:].tolist()
    talk = Talk(ReplayMarket(tmp_path, Market(8)), now=FRIDAY_NOON - 86_400)
    (*_, last) = bars(only(talk.open_chart("NASDAQ:AAPL", "1", 2), "timescale_update"))
    assert last[0] <= FRIDAY_NOON - 86_400


def test_a_replayed_symbol_has_one_currency(folder: Path) -> None:
    market = ReplayMarket(folder, Market())
    assert market.find("NASDAQ:AAPL", currency="EUR") is None
    assert market.find("NASDAQ:AAPL", currency="USD") is not None
    listing = market.listing("NASDAQ:AAPL")
    assert listing is not None and listing.extended is None
    assert market.newest_days([listing], FRIDAY_NOON)[0, 1, 4] == 178.460007
