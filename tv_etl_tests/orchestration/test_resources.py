"""The synchronous faces of the client that assets and sensors use."""

import asyncio
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from tv_etl.alerts.inputs import AlertInputs, Ask
from tv_etl.orchestration.resources import AccountVariables, BarStoreResource, TradingViewResource, _account
from tv_etl.tradingview.errors import AuthError, SymbolError
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory
from tv_etl_tests.conftest import NOW

REQUESTS = [HistoryRequest("NASDAQ:AAPL", "1d", bars_count=10), HistoryRequest("NASDAQ:NOPE", "1d", bars_count=10)]


def test_fetch_yields_tables_and_errors(market_url: str) -> None:
    got = {request.symbol: result for request, result in TradingViewResource(ws_url=market_url).fetch(REQUESTS)}
    assert isinstance(got["NASDAQ:NOPE"], SymbolError)
    assert isinstance(got["NASDAQ:AAPL"], pa.Table)
    assert got["NASDAQ:AAPL"].num_rows == 10


def test_fetch_works_where_a_loop_is_running(market_url: str) -> None:
    async def outer() -> int:
        return len(list(TradingViewResource(ws_url=market_url).fetch(REQUESTS)))

    assert asyncio.run(outer()) == 2


def test_alert_inputs_hold_quotes_minutes_and_the_servers_clock(market_url: str) -> None:
    since = int((NOW - timedelta(minutes=3)).timestamp()) // 60 * 60
    rounds = TradingViewResource(ws_url=market_url).alert_inputs(
        {"BINANCE:BTCUSDT": Ask(since), "FX:EURUSD": Ask(), "NASDAQ:NOPE": Ask()}
    )
    inputs = AlertInputs.joined(rounds)
    assert abs(inputs.now - NOW.timestamp()) < 30
    assert isinstance(inputs.quotes["BINANCE:BTCUSDT"], QuoteSymbolData)
    assert isinstance(inputs.quotes["NASDAQ:NOPE"], SymbolError)
    minutes = inputs.minutes["BINANCE:BTCUSDT"]
    assert isinstance(minutes, SeriesHistory)
    assert [row[0] for row in minutes.rows] == [since, since + 60, since + 120, since + 180]
    assert isinstance(inputs.minutes["FX:EURUSD"], SeriesHistory)
    assert isinstance(inputs.minutes["NASDAQ:NOPE"], SymbolError)


def test_a_process_keeps_one_account_until_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TV_ETL_SESSION_ID", "one")
    first = _account()
    assert _account() is first and not first.is_anonymous
    monkeypatch.setenv("TV_ETL_SESSION_ID", "two")
    assert _account() is not first
    monkeypatch.delenv("TV_ETL_SESSION_ID")
    assert _account().is_anonymous


def test_an_asset_of_ones_own_takes_a_resource_as_an_argument(tmp_path: Path) -> None:
    @dg.asset
    def mine(bar_store: dg.ResourceParam[BarStoreResource]) -> None:
        assert bar_store.store().series() == []

    assert dg.materialize([mine], resources={"bar_store": BarStoreResource(base=str(tmp_path))}).success


def test_an_account_of_ones_own_is_that_account_or_an_error(monkeypatch: pytest.MonkeyPatch, market_url: str) -> None:
    monkeypatch.setenv("TV_ETL_AUTH_TOKEN", "everybodys")
    monkeypatch.setenv("US_SESSION", "ours")
    monkeypatch.delenv("US_SIGN", raising=False)
    assert _account(AccountVariables(session_id="US_SESSION")) is not _account()
    assert _account(AccountVariables(session_id="US_SESSION")) is _account(AccountVariables(session_id="US_SESSION"))
    resource = TradingViewResource(ws_url=market_url, account=AccountVariables("", "US_SESSION", "US_SIGN"))
    with pytest.raises(AuthError, match="read from US_SIGN, which the environment does not have"):
        list(resource.fetch(REQUESTS))
