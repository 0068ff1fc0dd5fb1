"""What will run by itself is said before it runs: how many series, how many requests, how far back."""

import logging

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.expectations import requests_text, ticks_text, what_starts
from tv_etl.watchlist.model import Group, Watchlist

SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:MSFT"]
GROUP = Group(symbols=SYMBOLS, intervals=["1m", "1h", "1d"])
RULE = {"name": "high", "symbol": "BINANCE:BTCUSDT", "kind": "cross_up", "level": 100_000, "run": "bars_job"}
SCANNED = {"name": "found", "symbols": {"scanner": {"market": "crypto", "limit": 5}}, "intervals": ["1d"]}


def watchlist(*, running: bool) -> Watchlist:
    return Watchlist.model_validate(
        {
            "groups": [
                {
                    "symbols": SYMBOLS,
                    "intervals": GROUP.intervals,
                    "daily_from": "1m",
                    "panel": True,
                    "running": running,
                },
                {**SCANNED, "running": running},
            ],
            "alerts": {"rules": [RULE], "running": running},
        }
    )


def test_a_schedule_says_when_it_ticks_and_why_then() -> None:
    assert ticks_text(GROUP, "1d").startswith("Ticks are in UTC: 20 and 50 minutes past each hour, since somewhere")
    assert ticks_text(GROUP, "1h").startswith("Ticks are in UTC: three minutes past each quarter of an hour")
    assert ticks_text(GROUP, "1m").startswith("Ticks are in UTC: a minute past each fifth minute")
    own = GROUP.model_copy(update={"schedules": {"1d": "0 22 * * *"}})
    assert ticks_text(own, "1d") == (
        "Ticks are in UTC. A tick looks into the lake; where nothing has closed, it starts no run and asks the server "
        "for nothing."
    )


def test_a_schedule_says_how_much_it_asks_for_and_how_far_back() -> None:
    assert requests_text(GROUP, "1m") == (
        "2 series: first a request for each, for all that the server still has, about 5,000 bars, which are 3.5 days "
        "of an open market; then one for each in which a bar has closed, at most 288 times a day."
    )
    assert requests_text(GROUP, "1d").endswith(
        "for all bars there are; then one for each in which a bar has closed, at most once a day."
    )
    few = GROUP.model_copy(update={"initial_bars": 300, "schedules": {"1m": "0 * * * *"}})
    assert requests_text(few, "1m") == (
        "2 series: first a request for each, for the newest 300 bars; then one for each in which a bar has closed, at "
        "each tick."
    )
    assert requests_text(Group.model_validate(SCANNED), "1d").startswith("Up to 5 series a scan: ")


def test_what_is_running_starts_with_the_code_location_and_nothing_else_does() -> None:
    for running in (True, False):
        repository = build_definitions(watchlist(running=running), "nowhere").get_repository_def()
        schedules = {
            each.name: each.default_status is dg.DefaultScheduleStatus.RUNNING for each in repository.schedule_defs
        }
        sensors = {each.name: each.default_status is dg.DefaultSensorStatus.RUNNING for each in repository.sensor_defs}
        # Dagster's own is there where an asset has a condition that no other sensor evaluates.
        assert sensors.pop("default_automation_condition_sensor", running) is running
        assert schedules.pop("prune_history"), "in a code location of its own"
        assert sensors.pop("lost_runs"), "nobody who needs it would look for it"
        assert set(schedules.values()) | set(sensors.values()) == {running}
        assert {"bars_1m", "bars_1h", "bars_1d", "bars_checks", "found_1d", "alerts_checks"} <= schedules.keys()
        names = {"lake_changes", "found_symbols", "quote_alerts", "alert_runs"}
        assert sensors.keys() == (names | {"derived"} if running else names)


def test_there_is_a_line_for_each_group_and_the_alerts() -> None:
    bars, found, alerts = what_starts(watchlist(running=True))
    assert bars.startswith("bars: running. 1m (1-59/5 * * * * UTC): 2 series: first a request for each, for all that")
    assert found.startswith(
        "found: running. It asks the screener every 3,600 s. 1d (20,50 * * * * UTC): Up to 5 series"
    )
    assert alerts == "alerts: running. 1 rule and 0 targets, judged every 30 s"
    bars, found, alerts = what_starts(watchlist(running=False))
    assert bars == (
        "bars: its schedules (1m, 1h, 1d) wait for somebody to switch them on; with `running: true` they start with "
        "the code location"
    )
    assert alerts.endswith("wait for somebody to switch on the sensor quote_alerts; `running: true` starts it")


def test_a_code_server_says_it_and_a_run_does_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dagster.tv_etl")
    logging.getLogger("dagster").propagate = True
    for load_type in DefinitionsLoadType:
        with DefinitionsLoadContext.scoped(DefinitionsLoadContext(load_type)):
            build_definitions(watchlist(running=True), "nowhere")
    lines = [each.getMessage() for each in caplog.records if each.name == "dagster.tv_etl"]
    assert lines == list(what_starts(watchlist(running=True)))
