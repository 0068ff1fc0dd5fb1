"""The demo: the main job end to end on the embedded market server, in half a minute and without the internet.

Everything in it is the real thing: a market server in a process of its own, a Dagster instance on disk, the `bars`
asset, the quote sensor, and a webhook receiver that alerts are posted to.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
import yaml
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from tv_etl.alerts.inputs import AlertInputs, Ask
from tv_etl.cli.status_table import status_table
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.bar_metadata import facts_in
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Watchlist, load_watchlist

SYMBOLS = ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "FX:EURUSD", "COMEX:GC1!", "NASDAQ:NDX"]
INTERVALS = ["1d", "1h", "1m"]
ALERT_SYMBOL = "BINANCE:BTCUSDT"
INITIAL_BARS = 1_000

# The market begins so long ago, and a minute of it lasts a second: the demo is over before it arrives at the present.
# So what is stored is as fresh as Dagster takes it to be, and the same market goes on beside its web interface.
MARKET_LEAD = timedelta(hours=1)
MARKET_SPEED = 60
MARKET_SEED = 197
# What an earlier demo made is shown so long; later its minutes would be lost.
KEPT_FOR = timedelta(days=1)
# Between the first run and the second; a market minute per second.
PAUSE_S = 4.0
ALERT_LIMIT_S = 60.0
START_LIMIT_S = 30.0

_MARKER, _DONE = ".tv_etl_demo", "done"


class DemoError(Exception):
    """A step of the demo failed."""


@dataclass(frozen=True)
class _Run:
    added: int
    series: int
    seconds: float


def run_demo(directory: Path, console: Console) -> None:
    """Run every step and print what exists afterwards. Raises DemoError if one fails."""
    directory = directory.absolute()
    _prepare(directory)
    begins = datetime.now(timezone.utc).replace(second=0, microsecond=0) - MARKET_LEAD
    received: list[dict[str, Any]] = []
    with (
        _market_server("--now", begins.isoformat(), "--speed", str(MARKET_SPEED)) as ws_url,
        _webhook_receiver(received.append) as webhook_url,
    ):
        console.print(
            f"Market server at [bold]{escape(ws_url)}[/bold], "
            f"one market minute per second from {begins:%Y-%m-%d %H:%M}Z"
        )
        os.environ.update(_environment(directory, ws_url, webhook_url))
        watchlist = _write_watchlist(directory / "watchlist.yaml", ws_url)
        definitions = build_definitions(watchlist, directory / "lake", ws_url=ws_url)
        with dg.DagsterInstance.get() as instance:
            first = _materialize(
                definitions, watchlist, instance, console, f"First run: {INITIAL_BARS:,} bars of each series"
            )
            time.sleep(PAUSE_S)
            second = _materialize(definitions, watchlist, instance, console, "Second run: only what is new")
            if not 0 < second.added < first.added:
                raise DemoError(
                    f"the second run added {second.added} bars, the first {first.added}; expected some, but fewer"
                )
            _watch_alerts(definitions, watchlist, instance, received, console)
    (directory / _MARKER).write_text(_DONE)
    _report(directory, console, first, second, received)


def serve_demo(directory: Path, console: Console, port: int) -> None:
    """Serve Dagster's web interface on what the demo has made, with a market server of its own, until SIGINT.

    What there is no recent demo of is made first. Raises DemoError if that fails, or nothing can be served.
    """
    directory = directory.absolute()
    if find_spec("dagster_webserver") is None:
        raise DemoError("Dagster's web interface is not installed: pip install 'tv-etl[ui]'")
    with socket.socket() as probe:
        if not probe.connect_ex(("127.0.0.1", port)):
            raise DemoError(f"something else listens at port {port}; choose another with --port")
    # What has been started here is ended, whichever signal comes; also where a shell has it ignored in its background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if not _is_recent(directory):
        run_demo(directory, console)

    def show(alert: dict[str, Any]) -> None:
        console.print(Text(f"alert: {printable(str(alert['text']))}", style="bold"))

    # Without Dagster's advice to call it by another name.
    command = [sys.executable, "-W", "ignore::FutureWarning", "-m", "dagster", "dev"]
    command += ["-m", "tv_etl.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with _market_server("--speed", "1") as ws_url, _webhook_receiver(show) as webhook_url:
        console.print(
            f"\nDagster's web interface is at http://127.0.0.1:{port} in a moment, with the demo's runs and alerts. "
            f"Schedules and sensors are on, and what you launch asks the market server at {ws_url}. "
            "Ctrl-C ends it all.\n",
            highlight=False,
        )
        environment = {**os.environ, **_environment(directory, ws_url, webhook_url)}
        with subprocess.Popen(command, env=environment) as served:  # our own definitions  # nosec B603
            try:
                code = served.wait()
            except KeyboardInterrupt:
                # A signal from the terminal has reached it as well, one to this process has not.
                served.send_signal(signal.SIGINT)
                return
    if code:
        raise DemoError(f"dagster dev ended with exit code {code}")


def _is_recent(directory: Path) -> bool:
    marker = directory / _MARKER
    if not marker.exists() or marker.read_text() != _DONE:
        return False
    return time.time() - marker.stat().st_mtime < KEPT_FOR.total_seconds()


def _prepare(directory: Path) -> None:
    """Start from an empty directory; only what an earlier demo made is deleted."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / _MARKER).exists():
            raise DemoError(f"{directory} is not empty and not from an earlier demo; choose another with --dir")
        shutil.rmtree(directory)
    home = directory / "dagster_home"
    home.mkdir(parents=True)
    (directory / _MARKER).touch()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")


def _environment(directory: Path, ws_url: str, webhook_url: str) -> dict[str, str]:
    return {
        "DAGSTER_HOME": str(directory / "dagster_home"),
        "TV_ETL_LAKE": str(directory / "lake"),
        "TV_ETL_WATCHLIST": str(directory / "watchlist.yaml"),
        "TV_ETL_WS_URL": ws_url,
        "TV_ETL_PROXY": "",  # the market server is on this machine
        "TV_ETL_WEBHOOK_URL": webhook_url,
    }


@contextmanager
def _market_server(*options: str) -> Iterator[str]:
    """A market server in a process of its own, on a free port."""
    command = [sys.executable, "-m", "tv_etl.market_server", "--port", "0", "--seed", str(MARKET_SEED)]
    command += ["--update-ms", "250", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # our own module  # nosec B603
        # A server that never says its address must not hold the demo up.
        watchdog = threading.Timer(START_LIMIT_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            ws_url = process.stdout.readline().strip()
            watchdog.cancel()
            if not ws_url.startswith("ws://"):
                raise DemoError(f"the market server did not start: {ws_url or 'it printed nothing'}")
            yield ws_url
        finally:
            watchdog.cancel()
            process.terminate()


@contextmanager
def _webhook_receiver(receive: Callable[[dict[str, Any]], None]) -> Iterator[str]:
    """An HTTP server on loopback that passes on what is posted to it."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receive(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass  # its lines would tear the progress bar

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/alerts"
        finally:
            server.shutdown()
            thread.join()


def _write_watchlist(path: Path, ws_url: str) -> Watchlist:
    """Write and load the demo's watchlist; its rules are about its price and volume now, so that something happens."""
    inputs = AlertInputs.joined(TradingViewResource(ws_url=ws_url).alert_inputs({ALERT_SYMBOL: Ask()}))
    quote, minutes = inputs.quotes[ALERT_SYMBOL], inputs.minutes.get(ALERT_SYMBOL)
    if isinstance(quote, TradingViewError) or quote.current_price is None:
        raise DemoError(f"{ALERT_SYMBOL} has no quote: {quote}")
    if minutes is None or isinstance(minutes, TradingViewError):
        raise DemoError(f"{ALERT_SYMBOL} has no minutes: {minutes}")
    price, volume = quote.current_price, float(median(row[5] for row in minutes.rows))
    content = {
        "groups": [
            {
                "name": "bars",
                "symbols": SYMBOLS,
                "intervals": INTERVALS,
                "initial_bars": INITIAL_BARS,
                "running": True,
            },
        ],
        "alerts": {
            "rules": [
                {"name": "btc_above", "symbol": ALERT_SYMBOL, "kind": "above", "level": round(price * 0.98, 2)},
                # Every other minute has more.
                {"name": "btc_volume", "symbol": ALERT_SYMBOL, "kind": "bar_volume", "volume": round(volume, 6)},
            ],
            "running": True,
            "webhooks": [{"url_env": "TV_ETL_WEBHOOK_URL", "allow_private": True}],
        },
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_watchlist(path)


def _materialize(
    definitions: dg.Definitions, watchlist: Watchlist, instance: dg.DagsterInstance, console: Console, title: str
) -> _Run:
    """One real run over every series, with a progress bar that follows the materializations in the instance."""
    keys = series_partitions(watchlist.groups[0]).get_partition_keys()
    job = definitions.resolve_job_def("bars_job")
    run_id = dg.DagsterRun(job_name="bars_job").run_id
    started = time.monotonic()
    with Progress(console=console) as progress, ThreadPoolExecutor(1) as pool:
        task = progress.add_task(title, total=len(keys))
        execution = pool.submit(
            job.execute_in_process,
            instance=instance,
            run_id=run_id,
            tags=range_tags(keys),
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
        )
        while not execution.done():
            progress.update(task, completed=len(_materializations(instance, run_id)))
            time.sleep(0.2)
        result = execution.result()
        events = _materializations(instance, run_id)
        progress.update(task, completed=len(events))
    if not result.success or len(events) != len(keys):
        raise DemoError(f"{len(events)} of {len(keys)} series were materialized by run {run_id}")
    added = sum(facts_in(event)["rows added"] for event in events)
    return _Run(added, len(events), time.monotonic() - started)


def _materializations(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetMaterialization]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    events = [record.event_log_entry.asset_materialization for record in records]
    return [event for event in events if event is not None]


def _watch_alerts(
    definitions: dg.Definitions,
    watchlist: Watchlist,
    instance: dg.DagsterInstance,
    received: list[dict[str, Any]],
    console: Console,
) -> None:
    """Evaluate the sensor tick after tick until each rule's alert has arrived at the webhook."""
    sensor = definitions.resolve_sensor_def("quote_alerts")
    wanted = {rule.name for rule in watchlist.alerts.rules}
    deadline = time.monotonic() + ALERT_LIMIT_S
    cursor: str | None = None
    with console.status("Alert sensor: waiting for the price to cross") as status:
        while missing := wanted - {alert["rule"] for alert in received}:
            if time.monotonic() > deadline:
                raise DemoError(f"no alert from {', '.join(sorted(missing))} within {ALERT_LIMIT_S:.0f} s")
            with dg.build_sensor_context(instance=instance, cursor=cursor, resources=definitions.resources) as context:
                tick = sensor.evaluate_tick(context)
            cursor = tick.cursor
            status.update(Text(f"Alert sensor: {tick.skip_message}"))
            time.sleep(0.5)


def _report(directory: Path, console: Console, first: _Run, second: _Run, received: list[dict[str, Any]]) -> None:
    lake = directory / "lake"
    console.print()
    store = BarStore(lake)
    # The market's clock has reached its newest bar.
    now = max(last for series in store.series() if (last := store.watermark(*series)) is not None)
    console.print(status_table(lake_status(store, now), now, console.width))
    console.print(
        f"First run: {first.added:,} bars of {first.series} series in {first.seconds:.1f} s; "
        f"second run: {second.added:,} new bars in {second.seconds:.1f} s."
    )
    alerts = Table(title="Alerts delivered to the webhook", box=None, padding=(0, 1, 0, 0))
    for column in ("rule", "text", "event id"):
        alerts.add_column(column)
    for alert in received:
        alerts.add_row(*(Text(printable(str(alert[name]))) for name in ("rule", "text", "event_id")))
    console.print(alerts)
    files = f"read_parquet('{lake}/ohlcv/**/*.parquet', hive_partitioning=true)"
    columns = "symbol, interval, count(*), max(timestamp)"
    # Shown, and run by nobody here.
    query = f"SELECT {columns} FROM {files} GROUP BY ALL ORDER BY ALL"  # nosec
    console.print("\nThe lake is plain Parquet; read it with anything:", highlight=False)
    console.print(
        f'  {_program_path("python")} -c "import duckdb; duckdb.sql(\\"{query}\\").show()"',
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    console.print("\nSee it in Dagster's web interface, with its runs, its alerts and its market:", highlight=False)
    where = [] if directory == Path("demo").absolute() else ["--dir", shlex.quote(str(directory))]
    console.print(
        " ".join(["  " + _program_path("tv-etl"), "demo", "--ui", *where]),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _program_path(name: str) -> str:
    """How to call a program of this environment from the current directory."""
    path = Path(sys.executable).with_name(name)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
