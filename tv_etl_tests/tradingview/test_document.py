"""The user's document, example by example, against a market that runs."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.tradingview.models import OHLCVBar, convert_timestamp_to_iso
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.services import ConnectionService, MessageService
from tv_etl_tests.conftest import NOW
from tv_etl_tests.patience import HANG_S

PORTFOLIO = [
    "NASDAQ:AAPL",  # technology
    "NYSE:JNJ",  # healthcare
    "BINANCE:BTCUSDT",  # crypto
    "FOREX:EURUSD",  # currency
    "COMEX:GC1!",  # commodity
    "NASDAQ:NDX",  # index
]


@pytest.fixture(scope="module")
def running_market() -> Iterator[str]:
    with serve_in_thread(
        Market(7), ServerOptions(clock=MarketClock(NOW.timestamp(), speed=600), update_ms=20)
    ) as server:
        yield server.url


@pytest.fixture(autouse=True)
def address(running_market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OHLCV()` without arguments, as the document has it, talks to the running market."""
    monkeypatch.setenv("TV_ETL_WS_URL", running_market)


def test_basic_real_time_streaming() -> None:
    async def basic_streaming() -> list[OHLCVBar]:
        got = []
        async with OHLCV() as client:
            async for bar in client.get_ohlcv("BINANCE:BTCUSDT", interval="1"):
                assert convert_timestamp_to_iso(bar.timestamp).endswith("+00:00")
                got.append(bar)
                if len(got) >= 15:
                    break
        return got

    got = asyncio.run(basic_streaming())
    times = [bar.timestamp for bar in got]
    assert times == sorted(times)
    assert len(set(times)) > 10  # ten of history, and live ones
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in got)


def test_historical_data_analysis() -> None:
    async def analyze() -> list[OHLCVBar]:
        async with OHLCV() as client:
            return await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 30)

    bars = asyncio.run(analyze())
    assert len(bars) == 30
    assert [bar.timestamp for bar in bars] == sorted(bar.timestamp for bar in bars)
    volumes = [bar.volume for bar in bars if bar.volume is not None]
    assert sum(volumes) / len(volumes) > 0


def test_quotes_of_one_symbol() -> None:
    async def watch() -> list[float]:
        prices: list[float] = []
        async with OHLCV() as client:
            async for quote in client.get_quote_data("NASDAQ:AAPL", interval="1"):
                if quote.current_price:
                    assert f"{quote.current_price:.2f} ({quote.change_percent or 0:+.2f}%)"
                    prices.append(quote.current_price)
                if len(prices) >= 5:
                    break
        return prices

    assert len(asyncio.run(watch())) == 5


def test_a_diversified_portfolio_is_monitored_over_one_session() -> None:
    async def monitor() -> dict[str, float]:
        prices: dict[str, float] = {}
        async with OHLCV() as client:
            async for trade_info in client.get_latest_trade_info(PORTFOLIO):
                if trade_info.get("m") == "qsd":
                    data = trade_info.get("p", [{}])[1]
                    change, change_pct, volume = data.get("ch", 0), data.get("chp", 0), data.get("v", 0)
                    if data.get("lp"):
                        line = f"({change:+7.2f} | {change_pct:+6.2f}%) Vol: {volume:>10,.0f}"
                        assert line.startswith(("(  ", "( ", "(+", "(-"))
                        prices[data.get("n", "Unknown")] = data["lp"]
                if len(prices) == len(PORTFOLIO):
                    break
        return prices

    assert sorted(asyncio.run(monitor())) == sorted(PORTFOLIO)


def test_price_alerts_with_thresholds() -> None:
    async def alerts() -> list[str]:
        async with OHLCV() as client:
            (now,) = await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", 1)
            upper, lower = now.close * 1.0001, now.close * 0.9999
            raised: list[str] = []
            async for trade_info in client.get_latest_trade_info(["BINANCE:BTCUSDT"]):
                price = trade_info["p"][1].get("lp")
                if price and price >= upper:
                    raised.append("high")
                elif price and price <= lower:
                    raised.append("low")
                if raised:
                    return raised
        return []

    assert asyncio.run(asyncio.wait_for(alerts(), HANG_S)) in (["high"], ["low"])


def test_history_in_chunks() -> None:
    async def chunks() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        async with OHLCV() as client:
            for _ in range(0, 300, 100):
                bars = await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 100)
                rows += [{"date": convert_timestamp_to_iso(bar.timestamp)[:10], "close": bar.close} for bar in bars]
        return rows

    assert len(asyncio.run(chunks())) == 300


def test_one_client_collects_many_symbols_over_one_connection() -> None:
    class EfficientDataCollector:
        async def __aenter__(self) -> "EfficientDataCollector":
            self.client = OHLCV()
            await self.client.__aenter__()
            return self

        async def __aexit__(self, *exc_info: Any) -> None:
            await self.client.__aexit__(None, None, None)

        async def collect(self, symbols: list[str]) -> dict[str, list[OHLCVBar] | None]:
            results: dict[str, list[OHLCVBar] | None] = {}
            for symbol in symbols:
                try:
                    results[symbol] = await self.client.get_historical_ohlcv(symbol, "1D", 10)
                except ValueError:
                    results[symbol] = None
            return results

    async def run() -> dict[str, list[OHLCVBar] | None]:
        async with EfficientDataCollector() as collector:
            results = await collector.collect(["NASDAQ:AAPL", "NASDAQ:NOPE", "BINANCE:BTCUSDT"])
            assert isinstance(collector.client.connection_service, ConnectionService)
            assert isinstance(collector.client.message_service, MessageService)
            assert collector.client.connection_service.is_open
            return results

    results = asyncio.run(run())
    assert results["NASDAQ:NOPE"] is None
    assert [len(results[symbol] or []) for symbol in ("NASDAQ:AAPL", "BINANCE:BTCUSDT")] == [10, 10]


def test_retry_with_backoff(running_market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented loop: WebSocketException is tried again, ValueError is not."""

    async def first_close(symbol: str) -> tuple[int, float | None]:
        delay = 0.01
        for attempt in range(3):
            try:
                async with OHLCV() as client:
                    async for bar in client.get_ohlcv(symbol):
                        return attempt, bar.close
            except WebSocketException:
                monkeypatch.setenv("TV_ETL_WS_URL", running_market)
                await asyncio.sleep(delay)
                delay *= 2
            except ValueError:
                return attempt, None
        return 3, None

    monkeypatch.setenv("TV_ETL_WS_URL", "ws://127.0.0.1:1/")
    attempt, close = asyncio.run(first_close("NASDAQ:AAPL"))
    assert attempt == 1
    assert close is not None
    assert asyncio.run(first_close("AAPL")) == (0, None)


def test_a_call_can_be_given_a_time_limit() -> None:
    async def fetch() -> int:
        async with OHLCV() as client:
            bars = await asyncio.wait_for(client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 30), timeout=HANG_S)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.get_historical_ohlcv("FAULT:SILENT", "1D", 30), timeout=0.2)
            # The client is as good as before.
            return len(bars) + len(await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 30))

    assert asyncio.run(fetch()) == 60


def test_portfolio_value() -> None:
    holdings = {"NASDAQ:AAPL": 10, "NASDAQ:GOOGL": 5, "BINANCE:BTCUSDT": 0.5}

    async def value() -> float:
        values: dict[str, float] = {}
        async with OHLCV() as client:
            async for trade_info in client.get_latest_trade_info(list(holdings)):
                data = trade_info.get("p", [{}])[1]
                if data.get("n") in holdings and data.get("lp"):
                    values[data["n"]] = holdings[data["n"]] * data["lp"]
                if len(values) == len(holdings):
                    break
        return sum(values.values())

    assert asyncio.run(value()) > 0
