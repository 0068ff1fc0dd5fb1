"""The sensor `notifications` on real runs, verdicts, ticks and records, delivering to a real webhook."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.alerts.store import AlertStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listings import listings
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.watchlist.model import Watchlist
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake_runs import FIRST, QUIET, minute_rows, replay
from tv_etl_tests.market_server.talk import MarketWith
from tv_etl_tests.orchestration.test_quote_alerts import Receiver, materialized

HOOK = {"type": "webhook", "name": "desk", "url_env": "TV_ETL_TEST_WEBHOOK", "allow_private": True}
NEW, BROKEN = "NASDAQ:NEWCO", "FAULT:SERIES_ERROR"


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


@pytest.fixture(scope="module")
def wider_market_url() -> Iterator[str]:
    """A market that has the new symbol as well."""
    market = MarketWith(replace(listings()["NASDAQ:AAPL"], symbol=NEW))
    clock = MarketClock(NOW.timestamp(), speed=0)
    with serve_in_thread(market, ServerOptions(clock=clock)) as server:
        yield server.url


class Location:
    """The code location of a watchlist, its runs and the ticks of its sensor."""

    def __init__(self, instance: dg.DagsterInstance, lake: Path, symbols: list[str], notify: Any = True, **more: Any):
        self.instance, self.lake = instance, lake
        content = {"groups": [{"symbols": symbols, "intervals": ["1d"], **more}], "notify": notify}
        self.watchlist = Watchlist.model_validate({**content, "alerts": {"targets": [HOOK]}})

    def run(self, url: str, only: list[str], **config: Any) -> dg.ExecuteInProcessResult:
        job = build_definitions(self.watchlist, self.lake, ws_url=url).resolve_job_def("bars_job")
        ops = {"bars": {"config": {"only": only, **config}}}
        return job.execute_in_process(instance=self.instance, run_config={**QUIET, "ops": ops}, raise_on_error=False)

    def tick(self) -> str:
        """What the sensor says."""
        definitions = build_definitions(self.watchlist, self.lake)
        with dg.build_sensor_context(instance=self.instance, resources=definitions.resources) as context:
            result = definitions.resolve_sensor_def("notifications").evaluate_tick(context)
        return str(result.skip_message)

    @property
    def store(self) -> AlertStore:
        return AlertStore(self.lake / ".tv_etl" / "alerts.sqlite")


def keys(*symbols: str) -> list[str]:
    return [f"1d|{symbol}" for symbol in symbols]


def told(webhook: Receiver) -> list[tuple[str, str]]:
    """Kind and text of each that was posted since the last look."""
    found = [(each["kind"], each["text"]) for each in webhook.posted]
    webhook.posted.clear()
    return found


def test_series_that_fail_are_named_with_their_reasons_once_and_told_when_they_are_collected_again(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, wider_market_url: str, webhook: Receiver
) -> None:
    symbols = ["NASDAQ:AAPL", NEW, BROKEN]
    here = Location(instance, tmp_path, symbols, {"on": ["runs"], "ui": "http://dagster.example:3000/"})
    assert here.tick() == "0 notifications, 0 alerts delivered; all is well"
    failed = here.run(market_url, keys(*symbols))
    assert not failed.success
    here.tick()
    [post] = webhook.posted
    assert post["link"] == f"http://dagster.example:3000/runs/{failed.run_id}"
    assert (post["severity"], post["status"], post["groups"]) == ("warning", "firing", ["bars"])
    assert told(webhook) == [
        (
            "run_failed",
            f"bars: 2 series failed: 1d|{BROKEN} (SeriesError: {BROKEN} 1d: the server refused: internal error), "
            f"1d|{NEW} (SymbolError: symbol '{NEW}': invalid symbol)",
        )
    ]
    here.run(market_url, keys(*symbols))
    here.tick()
    assert told(webhook) == []
    here.run(wider_market_url, keys(*symbols))
    here.tick()
    [again] = webhook.posted
    assert (again["status"], again["incident"], again["symbol"]) == ("firing", post["incident"], NEW)
    assert told(webhook) == [("run_ok", f"bars: 1d|{NEW} succeeded again; 1 is not")]
    here.run(market_url, keys(NEW))
    here.tick()
    [anew] = webhook.posted
    assert (anew["kind"], anew["incident"]) == ("run_failed", post["incident"])
    assert len({post["event_id"], again["event_id"], anew["event_id"]}) == 3


def test_a_verdict_that_turns_bad_and_good_is_told_and_one_that_is_bad_at_the_start_as_well(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: Receiver
) -> None:
    rows = minute_rows(400)
    inverted = [*rows[:250], (rows[250][0], 100.0, 90.0, 110.0, 100.0, 5.0), *rows[251:]]
    key = "1m|NASDAQ:SPLT"
    here = Location(instance, tmp_path / "lake", ["NASDAQ:SPLT"], {"on": {"checks": "error"}}, intervals=["1m"])

    def fetch(name: str, bars: list[tuple[float, ...]], count: int, **config: Any) -> None:
        clock = MarketClock(FIRST + count * 60, speed=0)
        with serve_in_thread(replay(tmp_path / name, bars, "1"), ServerOptions(clock=clock)) as server:
            assert here.run(server.url, [key], **config).success

    fetch("broken", inverted, 300)
    here.tick()
    reason = "1 bars are kept out of the dataset: low and high do not enclose open and close"
    [first] = webhook.posted
    assert (first["severity"], first["symbol"]) == ("error", "NASDAQ:SPLT")
    assert told(webhook) == [("check_failed", f"bars: ohlc_consistent: {key} failed: {reason}")]
    fetch("broken", inverted, 310)
    here.tick()
    assert told(webhook) == [], "said again of newer bars, and told once"
    fetch("sound", rows, 311, refetch=True)
    here.tick()
    [last] = webhook.posted
    assert (last["status"], last["incident"]) == ("resolved", first["incident"])
    assert told(webhook) == [("check_ok", f"bars: ohlc_consistent: {key} passed again")]
    here.tick()
    assert told(webhook) == []


def test_without_a_target_it_is_told_in_the_sensors_own_words_and_kept(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    here = Location(instance, tmp_path, [BROKEN], {"on": ["runs"]})
    here.watchlist = here.watchlist.model_copy(update={"alerts": type(here.watchlist.alerts)()})
    here.tick()
    here.run(market_url, keys(BROKEN))
    said = here.tick()
    assert said.startswith("1 notification, 0 alerts delivered; 1 for which there is no target are kept in the store")
    assert f"bars: 1d|{BROKEN} failed: SeriesError" in said
    [event] = here.store.newest(10)
    assert event.body["kind"] == "run_failed" and not event.deliveries
    assert [each.metadata["event_id"].value for each in materialized(instance)] == [event.event_id]
    assert (tmp_path / "alerts").is_dir(), "and in the dataset"


def test_what_leaves_the_watchlist_is_no_trouble_any_more(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    before = Location(instance, tmp_path, ["NASDAQ:AAPL", BROKEN], {"on": ["runs"]})
    before.tick()
    before.run(market_url, keys(BROKEN))
    before.tick()
    told(webhook)
    after = Location(instance, tmp_path, ["NASDAQ:AAPL"], {"on": ["runs"]})
    after.tick()
    assert [each["status"] for each in webhook.posted] == ["resolved"]
    assert told(webhook) == [("run_ok", f"bars: 1d|{BROKEN} is not collected here any more")]


def test_only_named_targets_are_told_and_those_whatever_they_want(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, webhook: Receiver
) -> None:
    here = Location(instance, tmp_path, [BROKEN], {"on": ["runs"]})
    content = {"groups": [{"symbols": [BROKEN], "intervals": ["1d"]}], "notify": {"on": ["runs"], "targets": ["night"]}}
    night = {**HOOK, "name": "night", "severity": ["critical"]}
    here.watchlist = Watchlist.model_validate({**content, "alerts": {"targets": [night, HOOK]}})
    here.tick()
    here.run(market_url, keys(BROKEN))
    here.tick()
    assert len(told(webhook)) == 1
    [event] = here.store.newest(10)
    assert [each.target for each in event.deliveries] == ["json night"]
