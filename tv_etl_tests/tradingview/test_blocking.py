"""The client without await, on the market server."""

import asyncio
import inspect

import pyarrow as pa
import pytest

from tv_etl.tradingview.blocking import BlockingOHLCV, fetch_history
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV


def test_every_call_returns_its_result(market_url: str) -> None:
    with BlockingOHLCV(market_url) as client:
        assert len(client.get_historical_ohlcv("NASDAQ:AAPL", "1D", bars_count=30)) == 30
        requests = [
            HistoryRequest(symbol, "1m", bars_count=5) for symbol in ("NASDAQ:AAPL", "NASDAQ:NOPE", "FX:EURUSD")
        ]
        answers = client.fetch_each(requests)
        assert list(answers) == requests
        assert [len(each.rows) for each in answers.values() if isinstance(each, SeriesHistory)] == [5, 5]
        assert isinstance(answers[requests[1]], SymbolError)
        assert isinstance(client.get_quotes(["NASDAQ:NOPE"])["NASDAQ:NOPE"], SymbolError)
        assert client.symbol_info("NASDAQ:AAPL").time_zone == "America/New_York"
        assert client.validate_symbols(["NASDAQ:AAPL", "FX:EURUSD"])
        with pytest.raises(SymbolError):
            client.validate_symbols("NASDAQ:NOPE")


def test_streams_are_generators(market_url: str) -> None:
    with BlockingOHLCV(market_url) as client:
        bars = client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=3)
        assert len([next(bars) for _ in range(3)]) == 3
        bars.close()
        quotes = client.get_quote_data("BINANCE:BTCUSDT")
        assert next(quotes).symbol == "BINANCE:BTCUSDT"
        quotes.close()
        trades = client.get_latest_trade_info(["BINANCE:BTCUSDT"])
        assert next(trades)["m"] == "qsd"
        trades.close()


def test_it_has_every_method_of_the_client_with_its_arguments() -> None:
    methods = [name for name, each in vars(OHLCV).items() if inspect.isfunction(each) and not name.startswith("_")]
    assert len(methods) > 7
    for name in methods:
        ours, theirs = getattr(BlockingOHLCV, name), getattr(OHLCV, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters, name


def test_arguments_by_position_and_raw_messages(market_url: str) -> None:
    with BlockingOHLCV(market_url) as client:
        assert len(client.get_historical_ohlcv("NASDAQ:AAPL", "1", 7)) == 7
        assert next(client.get_ohlcv("NASDAQ:AAPL", "1", 5)).close > 0
        assert next(client.get_quote_data("NASDAQ:AAPL", interval="1")).symbol == "NASDAQ:AAPL"
        assert client.server_now() > 0
        methods = {message.get("m") for _, message in zip(range(4), client.get_ohlcv_raw("NASDAQ:AAPL"), strict=False)}
        assert "timescale_update" in methods


def test_a_stream_left_open_ends_with_the_context(market_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with BlockingOHLCV(market_url) as client:
        streams = [client.get_ohlcv("BINANCE:BTCUSDT", "1", 5), client.get_quote_data("BINANCE:BTCUSDT")]
        for stream in streams:
            next(stream)
    for stream in streams:
        stream.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_it_works_where_a_loop_is_running(market_url: str) -> None:
    async def notebook() -> int:
        with BlockingOHLCV(market_url) as client:
            return len(client.get_historical_ohlcv("NASDAQ:AAPL", "1D", bars_count=5))

    assert asyncio.run(notebook()) == 5


def test_many_series_come_as_tables(market_url: str) -> None:
    requests = [HistoryRequest(symbol, "1d", bars_count=5) for symbol in ("NASDAQ:AAPL", "FX:EURUSD")]
    tables = [table for _, table in fetch_history(requests, ws_url=market_url)]
    assert all(isinstance(table, pa.Table) and table.num_rows == 5 for table in tables)
