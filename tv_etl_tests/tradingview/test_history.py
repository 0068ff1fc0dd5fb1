"""Many series over one connection: each ends on its own, as a table or as an error."""

import asyncio
import json
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest

from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.errors import (
    AuthError,
    ConnectionFailedError,
    FrameError,
    NoBarsError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.history import fetch_history
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.services import Limits
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import (
    NOW,
    Answer,
    Line,
    Script,
    bars,
    scripted_server,
    series_completed,
    series_loading,
    symbol_resolved,
)

QUICK = Limits(open_s=3.0, silence_s=3.0, progress_s=0.8, retry_s=2.0)
ROWS = ([float(NOW - 60), 1.0, 2.0, 0.5, 1.5, 0.1], [float(NOW), 1.5, 2.0, 1.0, 1.0])


def requests(*symbols: str) -> list[HistoryRequest]:
    return [HistoryRequest(f"X:{symbol}", "1m", bars_count=2) for symbol in symbols]


async def collect(url: str, wanted: Iterable[HistoryRequest]) -> dict[str, Any]:
    return {request.symbol[2:]: result async for request, result in fetch_history(wanted, ws_url=url, limits=QUICK)}


def fetch(answer: Answer, *symbols: str) -> tuple[dict[str, Any], Script]:
    async def run() -> tuple[dict[str, Any], Script]:
        async with scripted_server(answer) as server:
            return await collect(server.url, requests(*symbols)), server

    return own_clock.run(run())


def symbol_of(line: Line, session: str) -> str:
    spec = next(m["p"][2] for m in line.received if m["m"] == "resolve_symbol" and m["p"][0] == session)
    return str(json.loads(spec[1:])["symbol"])


async def answer_all(line: Line, method: str, params: list[Any]) -> None:
    if method != "create_series":
        return
    session = params[0]
    if "BAD" in symbol_of(line, session):
        await line.say(series_loading(session), {"m": "symbol_error", "p": [session, "sds_sym_1", "invalid symbol"]})
        await line.say({"m": "series_error", "p": [session, "sds_1", "s1", "resolve error", "n@n"]})
    elif "SILENT" not in symbol_of(line, session):
        info = {"timezone": "America/New_York", "currency_code": "USD", "session": "0930-1600"}
        await line.say(series_loading(session), symbol_resolved(session, **info))
        await line.say(bars(session, *ROWS, close=NOW + 60), series_completed(session))


def test_series_share_one_connection_and_one_bad_symbol_fails_alone() -> None:
    got, server = fetch(answer_all, *"ABCDEFGHIJKLM", "BAD", "SILENT")
    assert len(server.lines) == 1
    assert isinstance(got.pop("BAD"), SymbolError)
    assert isinstance(got.pop("SILENT"), NoBarsError)
    assert sorted(got) == list("ABCDEFGHIJKLM")
    assert all(isinstance(table, pa.Table) for table in got.values())


def test_a_table_holds_the_wires_values_and_where_they_come_from() -> None:
    table = fetch(answer_all, "A")[0]["A"]
    assert table.schema.equals(BAR_SCHEMA)
    assert table.to_pylist() == [
        {
            "timestamp": datetime.fromtimestamp(row[0], tz=timezone.utc),
            **dict(zip(("open", "high", "low", "close"), row[1:5], strict=True)),
            "volume": row[5] if len(row) > 5 else None,
        }
        for row in ROWS
    ]
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert facts["tv_etl.source"] == "tradingview"
    assert (facts["tv_etl.symbol"], facts["tv_etl.interval"]) == ("X:A", "1m")
    assert facts["tv_etl.resolved_as"] == "X:A", "a description without a name tells of no other"
    assert (facts["tv_etl.time_zone"], facts["tv_etl.currency"]) == ("America/New_York", "USD")
    assert (facts["fetch.reach"], facts["tv_etl.forming_from"]) == ("complete", str(NOW))
    assert json.loads(facts["tv_etl.trading_hours"]) == {"session": "0930-1600", "timezone": "America/New_York"}


def test_the_name_that_the_instrument_has_now_is_a_fact(market_url: str) -> None:
    wanted = [HistoryRequest(f"NASDAQ:{ticker}", "1d", bars_count=2) for ticker in ("OLDN", "NEWN", "AAPL")]

    async def run() -> dict[str, Any]:
        return {request.symbol: result async for request, result in fetch_history(wanted, ws_url=market_url)}

    names = {
        symbol: each.schema.metadata[b"tv_etl.resolved_as"].decode() for symbol, each in asyncio.run(run()).items()
    }
    assert names == {"NASDAQ:OLDN": "NASDAQ:NEWN", "NASDAQ:NEWN": "NASDAQ:NEWN", "NASDAQ:AAPL": "NASDAQ:AAPL"}


def test_a_lost_connection_is_opened_again_and_nothing_is_missing() -> None:
    async def drop_twice(line: Line, method: str, params: list[Any]) -> None:
        await answer_all(line, method, params)
        if len(line.server.lines) <= 2 and server_answers(line) == 3:
            await line.hang_up()

    def server_answers(line: Line) -> int:
        return sum(message["m"] == "create_series" for message in line.received)

    got, server = fetch(drop_twice, *"ABCDEFGHIJ")
    assert {name: table.num_rows for name, table in got.items()} == dict.fromkeys("ABCDEFGHIJ", 2)
    assert len(server.lines) == 3


@pytest.mark.parametrize("fault", ["HANGUP", "NOISE"])
def test_a_series_that_breaks_the_connection_gets_its_own_error_and_the_others_their_bars(fault: str) -> None:
    async def break_off(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series" and fault in symbol_of(line, params[0]):
            await (line.hang_up() if fault == "HANGUP" else line.say_text("no packet at all"))
        else:
            await answer_all(line, method, params)

    got, _ = fetch(break_off, *"ABC", fault, *"DEFGHIJ")
    error = got.pop(fault)
    assert isinstance(error, ConnectionFailedError if fault == "HANGUP" else FrameError)
    assert {name: table.num_rows for name, table in got.items()} == dict.fromkeys("ABCDEFGHIJ", 2)


def test_a_server_that_wants_patience_gets_it() -> None:
    async def impatient(line: Line, method: str, params: list[Any]) -> None:
        created = sum(message["m"] == "chart_create_session" for message in line.received)
        if created in (2, 3):
            if method == "chart_create_session":
                info = "method: chart_create_session"
                await line.say({"m": "critical_error", "p": [params[0], "max sessions rate reached", info]})
        else:
            await answer_all(line, method, params)

    got, server = fetch(impatient, *"ABCD")
    assert {name: table.num_rows for name, table in got.items()} == dict.fromkeys("ABCD", 2)
    assert len(server.lines) == 1


def test_an_unreachable_server_fails_every_series_in_one_budget() -> None:
    got = own_clock.run(collect("ws://127.0.0.1:1/", requests(*"ABCDEFGHIJKLMNOPQRST")))
    assert len(got) == 20
    assert {type(error) for error in got.values()} == {ConnectionFailedError}


def test_a_rejected_token_is_not_tried_again_for_each_series() -> None:
    async def reject(line: Line, method: str, params: list[Any]) -> None:
        if method == "set_auth_token":
            await line.say({"m": "protocol_error", "p": ["bad auth token"]})

    got, server = fetch(reject, *"ABCDEFGHIJKLMNOPQRST")
    assert {type(error) for error in got.values()} == {AuthError}
    assert len(server.lines) <= 2


def test_a_series_that_was_handed_over_is_forgotten() -> None:
    async def run() -> int:
        most, handed_over = 0, []
        async with scripted_server(answer_all) as server:
            wanted = requests(*(f"S{number}" for number in range(60)))
            async for _, table in fetch_history(wanted, ws_url=server.url, limits=QUICK):
                handed_over.append(weakref.ref(table))
                del table
                most = max(most, sum(each() is not None for each in handed_over))
        assert len(handed_over) == 60
        return most

    # The generator frame may hold the one it has just yielded.
    assert own_clock.run(run()) <= 2


def test_leaving_early_cancels_what_is_in_flight() -> None:
    async def run() -> None:
        async with scripted_server(answer_all) as server:
            results = fetch_history(requests(*"ABCDEFGHIJKLMNOP" * 4), ws_url=server.url, limits=QUICK)
            await results.__anext__()
            await results.aclose()
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) <= 4  # this one and the server's

    own_clock.run(run())


def test_requests_are_taken_as_they_are_needed_and_a_failing_source_is_heard() -> None:
    def source() -> Iterator[HistoryRequest]:
        yield from requests("A", "B")
        raise KeyError("the caller's own mistake")

    async def run() -> list[Any]:
        got: list[Any] = []
        async with scripted_server(answer_all) as server:
            with pytest.raises(KeyError, match="own mistake"):
                async for _, result in fetch_history(source(), ws_url=server.url, limits=QUICK):
                    got.append(result)
        return got

    assert all(not isinstance(result, TradingViewError) for result in own_clock.run(run()))


@pytest.mark.parametrize("described", ["late", "never", "without currency"])
def test_a_currency_that_was_not_told_is_left_out(described: str) -> None:
    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method != "create_series":
            return
        if described == "without currency":
            await line.say(symbol_resolved(params[0], timezone="Etc/UTC"))
        await line.say(bars(params[0], *ROWS), series_completed(params[0], data_completed="end"))
        if described == "late":
            await line.say(symbol_resolved(params[0], currency_code="USD"))

    results, _ = fetch(answer, "A")
    assert b"tv_etl.currency" not in results["A"].schema.metadata


def test_one_complaint_about_many_sessions_slows_the_pace_once() -> None:
    """Those in flight are refused together; twenty series are not to wait for minutes."""
    refused: list[str] = []

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method != "create_series":
            return
        if len(refused) < 8:
            refused.append(params[0])
            await line.say({"m": "critical_error", "p": [params[0], "max sessions rate reached", ""]})
        else:
            await line.say(bars(params[0], *ROWS), series_completed(params[0], data_completed="end"))

    names = [f"S{number}" for number in range(20)]

    async def run() -> float:
        async with scripted_server(answer) as server:
            began = own_clock.now()
            results = await collect(server.url, requests(*names))
            assert {name for name, each in results.items() if isinstance(each, pa.Table)} == set(names)
            return own_clock.now() - began

    assert own_clock.run(run()) < 6.0
