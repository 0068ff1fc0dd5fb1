"""The quote sensor on a real market, delivering to a real webhook."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.alerts.state import SymbolState
from tv_etl.alerts.store import AlertStore
from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.quote_alerts import BlindError, lake_bars
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest, OHLCVBar
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.symbols import SeriesSettings
from tv_etl.watchlist.model import Watchlist
from tv_etl_tests.conftest import NOW
from tv_etl_tests.dagster_dev import QUIET_HOME, prepare
from tv_etl_tests.lake_runs import FIRST, minute_rows, replay
from tv_etl_tests.patience import wait_until
from tv_etl_tests.processes import free_port, module_process
from tv_etl_tests.scripted_server import Answer, Line, bars, qsd, quote_completed, series_completed, symbol_resolved
from tv_etl_tests.test_canary import served

SYMBOL = "BINANCE:BTCUSDT"
WEBHOOK = {"url_env": "TV_ETL_TEST_WEBHOOK", "allow_private": True}


class Receiver:
    """A webhook that keeps what is posted, and answers with `status`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 204
        self.pings: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                receiver.pings.append(self.path)
                self.send_response(receiver.status)
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posted.append(json.loads(body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=SECRET"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("TV_ETL_TEST_WEBHOOK", receiver.url)
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as temporary:
        yield temporary


def tick(
    instance: dg.DagsterInstance,
    lake: Path,
    url: str,
    rules: list[dict[str, Any]],
    cursor: str | None = None,
    **more: Any,
) -> Any:
    """One evaluation of the sensor as the daemon would make it."""
    watchlist = Watchlist.model_validate(
        {
            "groups": [{"symbols": [SYMBOL], "intervals": ["1m"]}],
            "alerts": {"rules": rules, "webhooks": [WEBHOOK], **more},
        }
    )
    definitions = build_definitions(watchlist, lake, ws_url=url)
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=definitions.resources) as context:
        return definitions.resolve_sensor_def("quote_alerts").evaluate_tick(context)


def materialized(instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    """What Dagster was told of the alerts, the oldest first."""
    records = instance.fetch_materializations(dg.AssetKey("alerts"), limit=1_000, ascending=True).records
    return [each.asset_materialization for each in records if each.asset_materialization is not None]


def store(lake: Path) -> AlertStore:
    return AlertStore(lake / ".tv_etl" / "alerts.sqlite")


def symbol_state(lake: Path, symbol: str) -> SymbolState:
    """What the store knows of a symbol."""
    return store(lake).load().state.symbol(symbol)


def rule(kind: str, level: float, *, name: str = "rule", symbol: str = SYMBOL) -> dict[str, Any]:
    return {"name": name, "symbol": symbol, "kind": kind, "level": level}


def minutes(url: str, count: int) -> list[OHLCVBar]:
    async def fetch() -> list[OHLCVBar]:
        async with OHLCV(url) as client:
            return await client.get_historical_ohlcv(SYMBOL, "1", count)

    with LoopThread() as loop:
        return loop.run(fetch())


def test_the_dead_mans_switch_of_the_watchlist_is_called_after_a_good_tick(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    ping = {"url_env": "TV_ETL_TEST_WEBHOOK", "every": "0s", "allow_private": True}
    found = tick(instance, tmp_path, market_url, [rule("above", 1e9)], ping=ping)
    assert found.skip_message == "0 alerts found, 0 delivered"
    webhook.status = 500
    found = tick(instance, tmp_path, market_url, [rule("above", 1e9)], ping=ping)
    assert found.skip_message == "0 alerts found, 0 delivered; the ping failed once: HTTP 500"
    assert webhook.pings == ["/hook?token=SECRET"] * 2
    with pytest.raises(BlindError):
        tick(instance, tmp_path, f"ws://127.0.0.1:{free_port()}", [rule("above", 1e9)], ping=ping)
    assert len(webhook.pings) == 2


def test_a_threshold_that_is_already_passed_is_reported_once(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    rules = [rule("above", 1.0)]
    first = tick(instance, tmp_path, market_url, rules)
    assert [alert["rule"] for alert in webhook.posted] == ["rule"]
    assert webhook.posted[0]["symbol"] == SYMBOL
    assert [each.metadata["event_id"].value for each in materialized(instance)] == [webhook.posted[0]["event_id"]]
    tick(instance, tmp_path, market_url, rules, first.cursor)
    assert len(materialized(instance)) == 1
    # The cursor is lost: all that there is to know is in the store.
    tick(instance, tmp_path, market_url, rules)
    assert len(webhook.posted) == 1


def test_a_crossing_between_two_ticks_is_found_in_the_minutes(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, later_market_url: str, webhook: Receiver
) -> None:
    """The price touches a level and comes back before the next tick looks: no sample of quotes would see it."""
    later = minutes(later_market_url, 6)
    before = minutes(market_url, 2)[0]
    highest = max(later[:-1], key=lambda bar: bar.high)
    lowest = min(later[:-1], key=lambda bar: bar.low)
    assert lowest.low < before.close < highest.high
    rules = [rule("cross_up", highest.high, name="up"), rule("cross_down", lowest.low, name="down")]
    state = tick(instance, tmp_path, market_url, rules)
    assert webhook.posted == []
    tick(instance, tmp_path, later_market_url, rules, state.cursor)
    assert {alert["rule"]: alert["level"] for alert in webhook.posted} == {"up": highest.high, "down": lowest.low}


def test_an_alert_waits_for_a_webhook_that_is_down(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    webhook.status = 503
    rules = [rule("above", 1.0)]
    first = tick(instance, tmp_path, market_url, rules)
    assert "1 to be retried" in first.skip_message
    assert store(tmp_path).stats.pending == 1
    assert "SECRET" not in str(first.skip_message)


def test_a_tick_that_judged_nothing_fails_and_names_why(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    rules = [rule("above", 1.0)]
    webhook.status = 503
    tick(instance, tmp_path, market_url, rules)
    before = symbol_state(tmp_path, SYMBOL)
    webhook.status = 204
    store(tmp_path).resend()
    with pytest.raises(BlindError, match=r"127\.0\.0\.1:1"):
        tick(instance, tmp_path, "ws://127.0.0.1:1/", rules)
    assert symbol_state(tmp_path, SYMBOL) == before


def test_an_unknown_symbol_leaves_the_other_rules_alone(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    rules = [rule("above", 1.0, name="bad", symbol="NASDAQ:NOPE"), rule("above", 1.0, name="good")]
    result = tick(instance, tmp_path, market_url, rules)
    assert {alert["rule"]: alert["kind"] for alert in webhook.posted} == {"good": "above", "bad": "dead"}
    assert "NASDAQ:NOPE" in result.skip_message


def test_a_symbol_that_is_gone_is_told_once_and_again_for_each_new_rule(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    rules = [rule("above", 1.0, symbol="NASDAQ:NOPE")]
    for _ in range(3):
        tick(instance, tmp_path, market_url, rules)
    assert [alert["kind"] for alert in webhook.posted] == ["dead"]
    assert "NASDAQ:NOPE: no_such_symbol" in webhook.posted[0]["text"]
    edited = [rule("above", 2.0, symbol="NASDAQ:NOPE")]
    for _ in range(3):
        tick(instance, tmp_path, market_url, edited)
    assert len({alert["event_id"] for alert in webhook.posted}) == len(webhook.posted) == 2


def test_two_evaluations_never_overlap(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    with store(tmp_path).exclusive():
        result = tick(instance, tmp_path, market_url, [rule("above", 1.0)])
    assert "still running" in result.skip_message
    assert webhook.posted == []


def test_a_cursor_that_is_none_is_told_and_alerts_go_on(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    result = tick(instance, tmp_path, market_url, [rule("above", 1.0)], "not a cursor")
    assert "the cursor is corrupt: the rules begin anew" in result.skip_message
    assert result.cursor == "1" and len(webhook.posted) == 1
    assert tick(instance, tmp_path, market_url, [rule("above", 1.0)], "not a cursor").cursor == "2"


def test_without_a_webhooks_address_the_rules_are_judged_and_its_alerts_wait(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [rule("above", 1.0)]
    monkeypatch.delenv("TV_ETL_TEST_WEBHOOK")
    result = tick(instance, tmp_path, market_url, rules)
    assert "2 alerts found, 0 delivered" in result.skip_message
    assert "TV_ETL_TEST_WEBHOOK is not set" in str([event.description for event in materialized(instance)])
    monkeypatch.setenv("TV_ETL_TEST_WEBHOOK", webhook.url)
    tick(instance, tmp_path, market_url, rules)
    assert [alert["kind"] for alert in webhook.posted] == ["above"]


def test_quotes_that_move_are_seen_in_the_forming_minute(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver
) -> None:
    """On a market that runs, and comes back to where it was every few minutes."""
    with serve_in_thread(Market(197), ServerOptions(clock=MarketClock(NOW.timestamp(), speed=600))) as server:
        rules = [rule("cross", minutes(server.url, 1)[0].close)]
        cursor = None
        for _ in range(40):
            cursor = tick(instance, tmp_path, server.url, rules, cursor).cursor
            if webhook.posted:
                break
    assert webhook.posted[0]["kind"] in ("cross_up", "cross_down")


def test_a_split_fires_no_rule_and_asks_to_check_its_level(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver
) -> None:
    rules = [rule("cross_down", 60.0, symbol="NASDAQ:SPLT")]
    lake = tmp_path / "lake"
    for minute, rows in (
        (200, minute_rows(300)),
        (203, minute_rows(300)),
        (207, minute_rows(300, ratio=0.25, until=204)),
    ):
        market, clock = replay(tmp_path / str(minute), rows, "1"), MarketClock(FIRST + minute * 60 + 30, speed=0)
        with serve_in_thread(market, ServerOptions(clock=clock)) as server:
            tick(instance, lake, server.url, rules)
    assert [(alert["kind"], alert["rule"]) for alert in webhook.posted] == [("check", "rule")]
    assert "NASDAQ:SPLT: its history was re-adjusted by a factor of 0.25" in webhook.posted[0]["text"]


def test_a_delayed_feed_is_judged_by_its_own_clock(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver
) -> None:
    """Row D8: minutes that have not come yet are not taken for committed, or their touches would be lost."""
    at = datetime(2026, 11, 18, 12, 0, 30, tzinfo=timezone.utc)
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(at.timestamp(), speed=0))) as server:
        tick(instance, tmp_path, server.url, [rule("cross_up", 1.0, symbol="LSE:VOD")])
    watermark = symbol_state(tmp_path, "LSE:VOD").watermark
    assert watermark is not None
    # A minute and its grace before the feed's clock, which is a quarter of an hour late.
    assert watermark <= at.timestamp() - 900 - 60 - 60
    assert watermark > at.timestamp() - 900 - 300


@pytest.mark.slow
def test_a_daemon_that_is_blind_tells_the_targets_that_work_once_and_when_it_is_over(
    tmp_path: Path, webhook: Receiver
) -> None:
    port, lake = free_port(), tmp_path / "lake"
    watchlist = {
        "groups": [{"symbols": [SYMBOL], "intervals": ["1d"]}],
        "alerts": {
            "rules": [rule("above", 1.0)],
            "webhooks": [WEBHOOK, {"url_env": "TV_ETL_TEST_NOBODY", "allow_private": True}],
            "interval_s": 5,
            "silence_s": 30,
        },
    }
    environment = prepare(tmp_path, f"ws://127.0.0.1:{port}/socket.io/websocket", watchlist, QUIET_HOME)
    environment |= {"TV_ETL_TEST_WEBHOOK": webhook.url, "TV_ETL_TEST_NOBODY": f"http://127.0.0.1:{free_port()}/"}
    location, market = ["-m", "tv_etl.definitions"], ["tv_etl.market_server", "--port", str(port), "--http-port", "0"]
    start = [sys.executable, "-m", "dagster", "sensor", "start", "quote_alerts", *location]
    subprocess.run(start, cwd=tmp_path, env=environment, check=True, capture_output=True)

    def kinds() -> list[str]:
        return [alert["kind"] for alert in webhook.posted]

    def has_ticked(times: int) -> None:
        since = store(lake).load().tick
        wait_until(lambda: store(lake).load().tick >= since + times, f"{times} more ticks")

    with module_process(["dagster._daemon", "run", *location], tmp_path, environment):
        with module_process(market, tmp_path, environment):
            wait_until(lambda: "above" in kinds(), "the rule is told")
        wait_until(lambda: "blind" in kinds(), "being blind is told")
        has_ticked(3)
        with module_process(market, tmp_path, environment):
            wait_until(lambda: "seeing" in kinds(), "the end of it is told")
            has_ticked(3)
    # The other target has failed from the start, which is told as well.
    assert sorted(kinds()) == ["above", "blind", "seeing", "target"]
    assert all("no rule has been judged for" in each["text"] for each in webhook.posted if each["kind"] == "blind")


# --- servers that say odd things


def quoting(clock_s: float, **odd: Any) -> Answer:
    """A server with this clock, whose symbols all stand at 10; what it quotes of X:ODD has these fields as well."""
    minute = int(time.time()) // 60 * 60
    clock = {"t": int(clock_s), "t_ms": int(clock_s * 1000)}

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            for symbol in (each for each in params[1:] if isinstance(each, str)):
                fields = {"lp": 10.0, "lp_time": minute, "update_mode": "streaming", **(odd if "ODD" in symbol else {})}
                await line.say(qsd(params[0], symbol, **fields), {**quote_completed(params[0], symbol), **clock})
        if method == "create_series":
            rows = [[minute - 60.0 * ago, 10.0, 11.0, 9.0, 10.0, 1.0] for ago in range(15, -1, -1)]
            resolved = symbol_resolved(params[0], session="24x7", timezone="Etc/UTC")
            found = bars(params[0], *rows, close=minute + 60)
            await line.say({**resolved, **clock}, {**found, **clock}, {**series_completed(params[0]), **clock})

    return answer


@pytest.mark.parametrize(
    "odd",
    [
        {"lp_time": time.time() * 1000},
        {"lp_time": 10**400},
        {"lp_time": -(10**17)},
        {"update_mode": "delayed_streaming_" + "9" * 400},
        {"description": {"a": ["\x1b]0;owned\x07"] * 1000}},
        {"lp": 10**400},
    ],
    ids=["milliseconds", "beyond floats", "before time", "delay", "description", "price"],
)
def test_an_odd_quote_harms_no_other_rule(
    odd: dict[str, Any], instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver
) -> None:
    rules = [rule("above", 1.0, name=name, symbol=symbol) for name, symbol in (("odd", "X:ODD"), ("good", "X:GOOD"))]
    with served(quoting(time.time(), **odd)) as server:
        tick(instance, tmp_path, server.url, rules)
        assert "good" in {alert["rule"] for alert in webhook.posted}
        tick(instance, tmp_path, server.url, rules)
    assert symbol_state(tmp_path, "X:GOOD").watermark
    assert len([alert for alert in webhook.posted if alert["rule"] == "good"]) == 1


def test_a_clock_that_is_once_ten_years_ahead_leaves_no_rule_dead(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver
) -> None:
    rules = [rule("cross_up", 10.5, symbol="X:GOOD")]
    with served(quoting(time.time() + 3_652 * 86_400)) as server:
        first = tick(instance, tmp_path, server.url, rules)
    assert "the server's clock is 3,652 days ahead of this host's, which is used instead" in first.skip_message
    [kept] = store(tmp_path).load().state.armings.values()
    assert abs(kept.since - time.time()) < 120


def test_a_long_reason_is_cut_in_the_summary(instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver) -> None:
    async def refuse(line: Line, method: str, params: list[Any]) -> None:
        if method == "quote_add_symbols":
            await line.say(qsd(params[0], "X:A", "error", "\x1b]0;owned\x07" + "no " * 100_000))
        elif method == "create_series":
            await line.say({"m": "symbol_error", "p": [params[0], "sds_sym_1", "no " * 100_000]})

    with served(refuse) as server:
        found = tick(instance, tmp_path, server.url, [rule("above", 1.0, symbol="X:A")])
    assert len(found.skip_message) < 1_000 and "\x1b" not in found.skip_message
    assert "\x1b" not in json.dumps(webhook.posted, ensure_ascii=False)
    assert all(len(json.dumps(each)) < 3_000 for each in webhook.posted)


def test_a_rule_for_a_group_watches_what_the_group_collects(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    """On closes as well: the server is asked for the bars that the lake does not have."""
    closing = {"kind": "above", "level": 1.0, "on": "close", "interval": "1h"}
    grouped = [{"name": "grouped", "symbols": {"group": "bars"}} | closing]
    tick(instance, tmp_path, market_url, grouped)
    assert [(alert["rule"], alert["symbol"]) for alert in webhook.posted] == [("grouped", SYMBOL)]
    assert list(store(tmp_path).load().registry.rules["grouped"].members or {}) == [SYMBOL]


def test_what_a_scanner_found_is_watched(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    watchlist = Watchlist.model_validate(
        {
            "groups": [{"symbols": {"scanner": {}}, "intervals": ["1d"]}],
            "alerts": {
                "rules": [{"name": "found", "symbols": {"group": "bars"}, "kind": "above", "level": 1.0}],
                "webhooks": [WEBHOOK],
            },
        }
    )
    instance.add_dynamic_partitions("bars_symbols", [SYMBOL])
    definitions = build_definitions(watchlist, tmp_path, ws_url=market_url)
    with dg.build_sensor_context(instance=instance, resources=definitions.resources) as context:
        definitions.resolve_sensor_def("quote_alerts").evaluate_tick(context)
    assert [(alert["rule"], alert["symbol"]) for alert in webhook.posted] == [("found", SYMBOL)]


def test_the_bars_of_a_lake_are_those_that_are_as_quotes_are(tmp_path: Path, market_url: str) -> None:
    lake = BarStore(tmp_path)
    dividends = SeriesSettings(adjustment="dividends")
    requests = [HistoryRequest(SYMBOL, "1h", bars_count=50), HistoryRequest("NASDAQ:AAPL", "1h", settings=dividends)]
    for request, table in TradingViewResource(ws_url=market_url).fetch(requests):
        lake.upsert(request.symbol, request.interval, table)
    find = lake_bars(lake)
    rows = find(SYMBOL, "1h", 20)
    assert len(rows) == 20 and len(rows[0]) == 6
    times = [row[0] or 0 for row in rows]
    assert times == sorted(times) and all(time % 3_600 == 0 for time in times)
    assert len(find(SYMBOL, "1h", 10_000)) == len(lake.read(SYMBOL, "1h"))
    assert find("NASDAQ:AAPL", "1h", 20) == find("X:NONE", "1h", 20) == []
    assert lake_bars(lake, [SYMBOL])(SYMBOL, "1h", 20) == []
