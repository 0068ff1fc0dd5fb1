"""Alerts as materializations of the external asset."""

import json
import multiprocessing
import os
import queue
import random
import signal
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from tv_etl.alerts.database import StoreBusy
from tv_etl.alerts.dataset import AlertDataset
from tv_etl.alerts.deliveries import DeliveryStats
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.inputs import AlertInputs, Ask, Wants, Wider
from tv_etl.alerts.rules import read_rule
from tv_etl.alerts.state import AlertState
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.stored_events import REPORTING, StoredEvent, ids_of
from tv_etl.alerts.targets.target import ReadyTarget, Secrets
from tv_etl.alerts.targets.webhook import WebhookTarget
from tv_etl.alerts.tick import run_tick
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.alert_events import EVENT_ID, build_alerts_asset, report_alerts
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.bar_schema import table_of_bars
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory, SymbolInfo
from tv_etl_tests.patience import HANG_S

ASSET = dg.AssetKey("alerts")
TOUCHED_AT = int(datetime(2026, 11, 27, 15, tzinfo=timezone.utc).timestamp())


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as temporary:
        yield temporary


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


def find(store: AlertStore, count: int, first: int = 0) -> list[str]:
    """A tick that finds alerts; their ids."""
    memory = store.load()
    alerts = [
        Alert(f"{n:032x}", "breakout", "NASDAQ:AAPL", "above", 1.5, 2.0 + n, TOUCHED_AT + n, TOUCHED_AT + 40.0 + n)
        for n in range(first, first + count)
    ]
    store.commit(memory, [], memory.registry, AlertState(), alerts, [], TOUCHED_AT + 40.0, {}, {})
    return [each.event_id for each in alerts]


def told(instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    """The materializations of the asset, the oldest first."""
    found, cursor = list[dg.AssetMaterialization](), None
    while True:
        page = instance.fetch_materializations(ASSET, limit=1_000, cursor=cursor, ascending=True)
        found += [each.asset_materialization for each in page.records if each.asset_materialization is not None]
        if not page.has_more:
            return found
        cursor = page.cursor


def told_ids(instance: dg.DagsterInstance) -> list[str]:
    return [str(each.metadata[EVENT_ID].value) for each in told(instance)]


def test_every_event_is_a_materialization_with_its_fields_once(instance: dg.DagsterInstance, store: AlertStore) -> None:
    ids = find(store, 3)
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 3
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 0
    assert told_ids(instance) == ids
    first = told(instance)[0]
    assert first.description == "NASDAQ:AAPL is above 1.5 at 2, 2026-11-27 15:00:00 UTC (rule breakout)"
    values = {name: each.value for name, each in first.metadata.items()}
    assert values == {
        EVENT_ID: ids[0],
        "rule": "breakout",
        "symbol": "NASDAQ:AAPL",
        "kind": "above",
        "level": 1.5,
        "price": 2.0,
        "touched_at": TOUCHED_AT,
        "detected_at": TOUCHED_AT + 40.0,
        "severity": "warning",
        "status": "firing",
        "incident": ids[0],
    }


def test_the_price_around_the_touch_is_shown_where_the_lake_has_it(
    instance: dg.DagsterInstance, store: AlertStore, tmp_path: Path
) -> None:
    lake = BarStore(tmp_path / "lake")
    times = (TOUCHED_AT + 60 * np.arange(-60, 10)) * 1_000_000
    lake.upsert("NASDAQ:AAPL", "1m", table_of_bars(times, np.ones((5, 70)), np.ones(70, np.bool_)))
    find(store, 1)
    report_alerts(instance, store, ASSET, lake, budget_s=HANG_S)
    [materialization] = told(instance)
    assert "2026-11-27 14:22Z to 15:09Z" in str(materialization.metadata["price around it"].value)


def test_an_event_with_an_odd_time_and_text_holds_up_no_other(
    instance: dg.DagsterInstance, store: AlertStore, tmp_path: Path
) -> None:
    memory = store.load()
    odd = Alert("a" * 32, "rule \ud83d", "NASDAQ:AAPL", "above", 1.5, 2.0, 10**17, TOUCHED_AT)
    store.commit(memory, [], memory.registry, AlertState(), [odd], [], TOUCHED_AT, {}, {})
    ids = find(store, 1)
    assert report_alerts(instance, store, ASSET, BarStore(tmp_path / "lake"), budget_s=HANG_S) == 2
    assert told_ids(instance) == ["a" * 32, *ids]
    assert (told(instance)[0].metadata["touched_at"].value, told(instance)[0].metadata["rule"].value) == (
        10**17,
        "rule \ufffd",
    )


def test_what_the_budget_leaves_is_told_next_time(instance: dg.DagsterInstance, store: AlertStore) -> None:
    ids = find(store, 30)
    assert report_alerts(instance, store, ASSET, budget_s=0.0) == 0
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 30
    assert told_ids(instance) == ids


def test_while_a_tick_runs_nothing_is_told(instance: dg.DagsterInstance, store: AlertStore) -> None:
    find(store, 1)
    with store.exclusive(), pytest.raises(StoreBusy):
        report_alerts(instance, store, ASSET, budget_s=HANG_S)


def test_what_was_begun_is_looked_for_before_it_is_told_again(instance: dg.DagsterInstance, store: AlertStore) -> None:
    """As a process leaves it that was killed after the second of four reports."""
    ids = find(store, 4)
    report_alerts(instance, store, ASSET, budget_s=HANG_S)
    assert told_ids(instance) == ids
    later = find(store, 4, first=4)
    store.mark(REPORTING, later, TOUCHED_AT)
    for event_id in later[:2]:
        instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, metadata={EVENT_ID: event_id}))
    assert report_alerts(instance, store, ASSET, budget_s=HANG_S) == 4
    assert told_ids(instance) == [*ids, *later]


def test_an_external_asset_stands_for_them() -> None:
    spec = build_alerts_asset(LakeResources("coins"))
    definitions = dg.Definitions(assets=[spec])
    assert spec.key == dg.AssetKey("coins_alerts")
    assert not definitions.resolve_asset_graph().get(spec.key).is_executable


# --- death

CROSSINGS = 40
MINUTE_S, DAY_S = 60, 86_400
# What goes on when a process is killed, and how long after it has begun at most.
PHASES = {"tick": 0.3, "delivery": 0.02, "dataset": 0.4, "materializations": 1.0}


def _seesaw(now: float, asks: Mapping[str, Ask], wants: Wants) -> AlertInputs:
    """A market in which every symbol rises over its level in every other minute, so many times."""
    wanted = wants(dict.fromkeys(asks), now)

    def history(symbol: str) -> SeriesHistory:
        since = max(int(asks[symbol].since or 0), TOUCHED_AT - 10 * MINUTE_S)
        rows = []
        for time in range(since, int(now) // MINUTE_S * MINUTE_S, MINUTE_S):
            number = (time - TOUCHED_AT) // MINUTE_S
            price = 11.0 if number % 2 and 0 < number < 2 * CROSSINGS else 9.0
            rows.append([time, price, price, price, price, 1.0])
        info = SymbolInfo({"session": "24x7", "timezone": "Etc/UTC"})
        request = HistoryRequest(symbol, "1m", bars_count=12)
        return SeriesHistory(request, info, rows, "complete", None, "streaming", 1)

    return AlertInputs(now, {}, {symbol: history(symbol) for symbol in asks if symbol in wanted})


def _work(directory: str, url: str, count: int, begins: Connection) -> None:
    """Tick after tick, as the sensor makes them, until everybody has been told of everything."""
    home = Path(directory)
    store, dataset = AlertStore(home / "alerts.sqlite"), AlertDataset(home / "lake")
    symbols = [f"X:S{number}" for number in range(count)]
    rules = [
        read_rule({"name": symbol[2:].lower(), "symbol": symbol, "kind": "cross_up", "level": 10.0, "cooldown_s": 0})
        for symbol in symbols
    ]
    spec = WebhookTarget(type="webhook", url_env="HOOK", allow_private=True)
    hook = ReadyTarget(spec, Secrets({"HOOK": url}))

    def keep(events: Sequence[StoredEvent]) -> None:
        begins.send("dataset")
        dataset.put(events)

    with dg.DagsterInstance.local_temp(directory) as instance:
        while True:
            ticks = store.load().tick
            now = TOUCHED_AT + 2.0 * MINUTE_S * ticks

            def gather(
                asks: Mapping[str, Ask], wants: Wants, wider: Wider, now: float = now
            ) -> Generator[AlertInputs, None, None]:
                begins.send("tick")
                wider(dict.fromkeys(asks), now)
                yield _seesaw(now, asks, wants)

            report = run_tick(rules, store, [hook], gather, partial(float, now), keep=keep)
            assert not report.problems or not report.blind
            begins.send("materializations")
            report_alerts(instance, store, ASSET, budget_s=HANG_S)
            is_over = ticks > CROSSINGS + 3 and not store.stats.pending
            if is_over and not store.to_report(1) and not store.to_keep(1):
                return


class _Receiver(ThreadingHTTPServer):
    """Takes alerts, one by one or many at once; puts a word on the queue before it answers."""

    def __init__(self, begun: "queue.Queue[str]") -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.begun, self.keys, self.ids = begun, list[str](), list[str]()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # who is killed hangs up


class _Taker(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers["Idempotency-Key"])
        self.server.ids += [each["event_id"] for each in body.get("alerts", [body])]
        self.server.begun.put("delivery")
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _start(directory: Path, url: str, symbols: int, begun: "queue.Queue[str]") -> BaseProcess:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_work, args=(str(directory), url, symbols, theirs))
    process.start()
    theirs.close()

    def pump() -> None:
        with ours, suppress(EOFError, OSError):
            while True:
                begun.put(ours.recv())

    threading.Thread(target=pump, daemon=True).start()
    return process


@pytest.mark.slow
def test_store_asset_dataset_and_receiver_agree_on_10_000_alerts_one_by_one_after_kills(tmp_path: Path) -> None:
    """Processes are killed in the middle of ticks, deliveries, materializations and the writing of the dataset."""
    assert prove(tmp_path, symbols=250, kills=16) == 10_000


def prove(tmp_path: Path, symbols: int, kills: int) -> int:
    """How many alerts there were, of which everybody knows each once."""
    begun: queue.Queue[str] = queue.Queue()
    rng = random.Random(7)
    with _Receiver(begun) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{receiver.server_port}/"
        for kill in range(kills):
            process = _start(tmp_path, url, symbols, begun)
            phase = list(PHASES)[kill % len(PHASES)]
            while begun.get(timeout=HANG_S) != phase:
                pass
            process.join(rng.uniform(0.0, PHASES[phase]))
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            while not begun.empty():
                begun.get()
        last = _start(tmp_path, url, symbols, begun)
        last.join()
        receiver.shutdown()
        thread.join()
    assert last.exitcode == 0
    store = AlertStore(tmp_path / "alerts.sqlite")
    events = store.newest(symbols * CROSSINGS + 1)
    ids = sorted(ids_of(events))
    assert len(ids) == len(set(ids)) == symbols * CROSSINGS
    assert {each.body["kind"] for each in events} == {"cross_up"}
    assert store.stats == DeliveryStats(pending=0, delivered=len(ids), dead=0)
    assert sorted(set(receiver.ids)) == ids
    assert len(receiver.keys) - len(set(receiver.keys)) <= kills  # what was on its way, once a kill
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert sorted(told_ids(instance)) == ids
    kept = AlertDataset(tmp_path / "lake").read()
    assert sorted(kept.column("event_id").to_pylist()) == ids
    assert {each["state"] for row in kept.column("deliveries").to_pylist() for each in row} == {"delivered"}
    return len(ids)
