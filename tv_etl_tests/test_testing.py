"""Answers of tests say of themselves what a server says that has the same bars."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tv_etl.collect.answer import facts_of
from tv_etl.lake.errors import BadBarsError, SettingsError
from tv_etl.lake.store import BarStore
from tv_etl.market_server.server import MarketServer
from tv_etl.testing import whole_answer
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.errors import NoBarsError
from tv_etl.tradingview.models import HistoryRequest

SERIES = ("BINANCE:BTCUSDT", "1d")
START = datetime(2026, 11, 2, tzinfo=timezone.utc)


def served(server: MarketServer, request: HistoryRequest) -> pa.Table:
    [(_, answer)] = fetch_history([request], ws_url=server.url)
    assert isinstance(answer, pa.Table)
    return answer


@pytest.mark.parametrize(
    "asked",
    [{}, {"bars_count": 5}, {"bars_count": 1}, {"bars_count": 10**6}, {"start": START}, {"start": datetime.min},
     {"start": START, "end": START + timedelta(days=3)}, {"end": START}, {"end": START, "bars_count": 4},
     {"end": START, "bars_count": 4, "up_to_now": True}, {"start": START + timedelta(hours=1)},
     {"end": START + timedelta(days=99)}],
)  # fmt: skip
def test_an_answer_is_that_of_a_server_with_the_same_bars(market_server: MarketServer, asked: dict[str, Any]) -> None:
    asked = {name: each.replace(tzinfo=timezone.utc) if name == "start" else each for name, each in asked.items()}
    bars = served(market_server, HistoryRequest(*SERIES))
    now = datetime.fromtimestamp(float(facts_of(bars)["fetch.server_time"]), timezone.utc)
    request = HistoryRequest(*SERIES, **asked)
    given, answer = whole_answer(request, bars.replace_schema_metadata(None), now=now), served(market_server, request)
    assert isinstance(given, pa.Table)
    assert given.equals(answer)
    told = ["forming_from", "asked_from", "asked_until", "symbol", "interval", "adjustment", "session"]
    names = [*(f"tv_etl.{name}" for name in told), "fetch.reach", "fetch.rejected", "fetch.server_time"]
    assert {name: facts_of(given).get(name) for name in names} == {name: facts_of(answer).get(name) for name in names}


def bars_of_days(count: int) -> pa.Table:
    days = [START + timedelta(days=number) for number in range(count)]
    prices = {name: [1.0] * count for name in ("open", "high", "low", "close")}
    return pa.table({"timestamp": days, **prices, "volume": pa.nulls(count)})


def test_the_bar_that_forms_is_not_stored_and_that_of_the_future_is_none(tmp_path: Path) -> None:
    answer = whole_answer(HistoryRequest(*SERIES), bars_of_days(3), now=START + timedelta(hours=36))
    assert isinstance(answer, pa.Table)
    assert answer["timestamp"].to_pylist() == [START, START + timedelta(days=1)]
    assert BarStore(tmp_path).upsert(*SERIES, answer).rows == 1


def test_bars_of_a_test_are_not_mixed_with_those_of_a_market(market_server: MarketServer, tmp_path: Path) -> None:
    store, request = BarStore(tmp_path), HistoryRequest(*SERIES)
    store.upsert(*SERIES, served(market_server, request))
    answer = whole_answer(request, bars_of_days(3))
    with pytest.raises(SettingsError, match="with market 'test' cannot be mixed into it"):
        store.upsert(*SERIES, answer)


def test_without_a_bar_that_was_asked_for_it_is_an_error() -> None:
    request = HistoryRequest(*SERIES, start=START + timedelta(days=9))
    found = whole_answer(request, bars_of_days(3))
    assert isinstance(found, NoBarsError)
    assert found.is_empty_answer


def test_mistakes_are_named() -> None:
    with pytest.raises(BadBarsError, match="column 'volume': missing"):
        whole_answer(HistoryRequest(*SERIES), bars_of_days(3).drop_columns("volume"))
    with pytest.raises(ValueError, match=r"^now 2026-11-02T00:00:00 has no time zone: pass an aware datetime"):
        whole_answer(HistoryRequest(*SERIES), bars_of_days(3), now=START.replace(tzinfo=None))
