"""What a partition costs in one run of many, against the floor: `python benchmarks/dagster_runs.py [--postgres]`.

The floor is an asset that does nothing but emit the very same events. Beside it stand fetching alone, and fetching and
storing, without Dagster. The market server is a process of its own, so that its work is not counted. Each figure is the
median of several rounds, in milliseconds per partition, of CPU (of this process, all threads) and of wall clock.

On two busy shared cores, CPU: 100 series in SQLite 82 for a first run and 81 for an increment, the floor 76; in
PostgreSQL 48 and 47, the floor 33. 1,000 series in SQLite 93, 99 and 84; in PostgreSQL 52, 48 and 35. Six check
evaluations are most of any floor.

`--postgres` keeps runs and events in a PostgreSQL that is started for it; that needs the extra `deploy` and `initdb`.
"""

import argparse
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import dagster as dg
import yaml

from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.orchestration.bars import POOL, build_bars_asset
from tv_etl.orchestration.check_specs import check_specs
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.resources import BarStoreResource, TradingViewResource
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist.model import Group

NOW = "2026-11-18T15:00:30+00:00"
INTERVAL = "1d"
BARS = 100
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Costs = dict[str, list[tuple[float, float]]]


@contextmanager
def market_server() -> Iterator[str]:
    command = [sys.executable, "-m", "tv_etl.market_server", "--port", "0", "--seed", "7", "--now", NOW, "--speed", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def postgres(directory: Path) -> Iterator[dict[str, object]]:
    """The storage of a Dagster instance in a PostgreSQL that lives as long as the context."""
    socket_directory, data = directory / "socket", directory / "data"
    programs = [Path(name) for name in map(shutil.which, ("initdb", "pg_ctl")) if name]
    programs = programs or sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1:]
    if not programs:
        raise SystemExit("--postgres: there is no initdb on this machine")
    binaries = programs[0].resolve().parent
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    become = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    socket_directory.mkdir()
    for path in (directory, socket_directory):
        path.chmod(0o777)

    def run(*command: str) -> None:
        # Its own output goes to the log, else it would hold the pipe of whoever waits for this script.
        subprocess.run([*become, *command], check=True, stdout=subprocess.DEVNULL, cwd=directory)

    run(str(binaries / "initdb"), "-D", str(data), "-U", "dagster", "-A", "trust")
    options = f"-k {socket_directory} -c listen_addresses=''"
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(socket_directory / "log")]
    run(*control, "-o", options, "start")
    try:
        yield {
            "postgres": {
                "postgres_url": f"postgresql+psycopg2://dagster@/postgres?host={socket_directory}",
            }
        }
    finally:
        run(*control, "stop", "-m", "immediate")


def floor_asset(group: Group, events: list[dg.AssetMaterialization | dg.AssetCheckEvaluation]) -> dg.AssetsDefinition:
    """An asset like that of the group which emits events of an earlier run, and does nothing else."""

    @dg.multi_asset(
        name=group.name,
        specs=[dg.AssetSpec(group.name, partitions_def=series_partitions(group), skippable=True)],
        check_specs=check_specs(group),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def floor() -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
        yield from events

    return floor


def events_of(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """The materializations and check evaluations of a run, to be emitted once more."""
    found: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
    for event in result.all_events:
        if event.is_step_materialization:
            found.append(event.step_materialization_data.materialization)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            found.append(
                dg.AssetCheckEvaluation(
                    asset_key=check.asset_key,
                    check_name=check.check_name,
                    partition=check.partition,
                    passed=check.passed,
                    metadata=check.metadata,
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    group = Group(symbols=list(islice(rule_symbols(), options.series)), intervals=[INTERVAL], initial_bars=BARS)
    plain = group.model_copy(update={"pictures": False})
    costs: Costs = {}
    with tempfile.TemporaryDirectory() as directory, market_server() as url:
        base = Path(directory)
        base.chmod(0o755)
        storage = postgres(make(base / "postgres")) if options.postgres else None
        home = make(base / "home")
        settings = storage.__enter__() if storage is not None else None
        try:
            content = {"telemetry": {"enabled": False}, **({"storage": settings} if settings else {})}
            (home / "dagster.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
            with dg.DagsterInstance.from_config(str(home)) as instance:
                for number in range(options.rounds + 1):
                    found = one_round(instance, make(base / f"round{number}"), url, group, plain)
                    for name, cost in found.items() if number else ():  # the first one warms the market up
                        costs.setdefault(name, []).append(cost)
        finally:
            if storage is not None:
                storage.__exit__(None, None, None)
    print(f"{options.series} series of {BARS} bars, {'PostgreSQL' if options.postgres else 'SQLite'}, ms per partition")
    print(f"{'':32}{'CPU':>8}{'wall':>8}")
    for name, pairs in costs.items():
        cpu, wall = (1_000 * statistics.median(each) / options.series for each in zip(*pairs, strict=True))
        print(f"{name:32}{cpu:8.2f}{wall:8.2f}")


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


def one_round(
    instance: dg.DagsterInstance, base: Path, url: str, group: Group, plain: Group
) -> dict[str, tuple[float, float]]:
    tradingview = TradingViewResource(ws_url=url)
    requests = [HistoryRequest(symbol, INTERVAL, bars_count=BARS) for symbol in group.symbols]
    keys = series_partitions(group).get_partition_keys()
    costs: dict[str, tuple[float, float]] = {}

    def measure(name: str, work: Callable[[], object]) -> object:
        cpu, wall = time.process_time(), time.perf_counter()
        result = work()
        costs[name] = time.process_time() - cpu, time.perf_counter() - wall
        return result

    def run(asset: dg.AssetsDefinition, lake: Path) -> dg.ExecuteInProcessResult:
        resources = {"tradingview": tradingview, "bar_store": BarStoreResource(base=str(lake))}
        needed = resources if asset.required_resource_keys else {}
        tags = range_tags(keys)
        result = dg.materialize([asset], instance=instance, tags=tags, resources=needed, run_config=QUIET)
        assert len([event for event in result.all_events if event.is_step_materialization]) == len(keys)
        return result

    def store() -> None:
        into = BarStore(base / "stored")
        for request, table in tradingview.fetch(requests):
            into.upsert(request.symbol, request.interval, table)

    measure("fetch alone", lambda: list(tradingview.fetch(requests)))
    measure("fetch and store", store)
    first = measure("a first run", lambda: run(build_bars_asset(group), base / "lake"))
    measure("an increment that finds nothing", lambda: run(build_bars_asset(group), base / "lake"))
    measure("the same without pictures", lambda: run(build_bars_asset(plain), base / "lake"))
    assert isinstance(first, dg.ExecuteInProcessResult)
    floor = floor_asset(group, events_of(first))
    measure("the floor: the same events", lambda: run(floor, base / "lake"))
    return costs


if __name__ == "__main__":
    main()
