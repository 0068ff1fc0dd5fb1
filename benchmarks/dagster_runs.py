"""What a series costs in one run of many, against a bare asset: `python benchmarks/dagster_runs.py [--postgres]`.

The bare asset does nothing but emit one materialization without metadata for each of its partitions, in the same kinds
of run: those that Dagster has planned partition by partition, as for a backfill or a first fetch, and those whose
config names the series, as the schedules' does. Beside them stands collecting the same without Dagster: what is left of
an increment is what telling Dagster costs. Each figure is the median of several rounds, in which all kinds take turns:
milliseconds of CPU per series (of this process, all threads; the market server is another), and bytes by which the
history of runs and events grows.

Two shared cores, medians of 5, 300 series. PostgreSQL was measured when they were busy; its own CPU is not counted:

                                        SQLite           PostgreSQL
                                    CPU ms   bytes     CPU ms   bytes
    a first fetch, without Dagster     7.7       0        5.5       0
    an increment, without Dagster      7.6       0        7.3       0
    bare, partitions planned          13.2   6,267        4.9   4,041
    a first fetch, partitions planned 24.7  11,715       14.3   8,137
    bare, by config                    6.8   3,618        2.8   1,830
    an increment, by config           16.1   5,065       11.9   2,540
    one that finds nothing, by config  6.1     519        5.3     164

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
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path

import dagster as dg
import yaml

from tv_etl.collect.ask import Ask, increment
from tv_etl.collect.collection import Stored, carry_out, plan
from tv_etl.lake.store import BarStore
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.orchestration.bars import POOL
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group, Watchlist

NOW, A_DAY_LATER = "2026-11-18T15:00:30+00:00", "2026-11-19T15:00:30+00:00"
INTERVAL = "1d"
BARS = 100
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# A place for the history of one instance: its settings, and how many bytes it takes by now.
Storage = tuple[dict[str, object], Callable[[], int]]
Costs = dict[str, tuple[float, float]]


@contextmanager
def market_server(now: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tv_etl.market_server", "--port", "0", "--seed", "7", "--now", now, "--speed", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def postgres(directory: Path) -> Iterator[Callable[[str], Storage]]:
    """Databases in a PostgreSQL that lives as long as the context, one for each of an instance."""
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

    def new(instance: str) -> Storage:
        name = f"{instance}{next(numbers)}"
        sql("postgres", f"CREATE DATABASE {name}")
        url = f"postgresql+psycopg2://dagster@/{name}?host={socket_directory}"
        return {"postgres": {"postgres_url": url}}, lambda: int(sql(name, f"SELECT pg_database_size('{name}')"))

    def sql(database: str, statement: str) -> str:
        command = [str(binaries / "psql"), "-h", str(socket_directory), "-U", "dagster", "-Atc", statement, database]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    numbers = count()
    try:
        yield new
    finally:
        run(*control, "stop", "-m", "immediate")


def sqlite(base: Path, instance: str) -> Storage:
    """The history of an instance in files, as Dagster keeps it unless told otherwise."""
    directory = make(base / f"{instance}_history")
    return {"sqlite": {"base_dir": str(directory)}}, lambda: sum(
        path.stat().st_size for path in directory.rglob("*") if path.is_file()
    )


def bare_definitions(group: Group) -> dg.Definitions:
    """A bare asset with the partitions of the group, and a job like the group's."""
    keys = series_partitions(group).get_partition_keys()

    @dg.multi_asset(
        name=group.name,
        specs=[dg.AssetSpec(group.name, partitions_def=series_partitions(group), skippable=True)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        config_schema={"only": dg.Field([str], default_value=[])},
    )
    def bare() -> Iterator[dg.AssetMaterialization]:
        yield from (dg.AssetMaterialization(group.name, partition=key) for key in keys)

    job = dg.define_asset_job(f"{group.name}_job", selection=[group.name], executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[bare], jobs=[job])


class Instance:
    """A Dagster instance of its own, and what runs in it cost."""

    def __init__(self, home: Path, storage: Storage, group: Group) -> None:
        settings, self._size = storage
        content = {"telemetry": {"enabled": False}, "storage": settings}
        (make(home) / "dagster.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        self.dagster = dg.DagsterInstance.from_config(str(home))
        self._group = group

    def cost(self, definitions: dg.Definitions, *, planned: bool, expected: int) -> tuple[float, float]:
        """CPU seconds and bytes of a run that must materialize so many series."""
        job = definitions.resolve_job_def(f"{self._group.name}_job")
        keys = series_partitions(self._group).get_partition_keys()
        only = {"ops": {self._group.name: {"config": {"only": [] if planned else list(keys)}}}}
        size, cpu = self._size(), time.process_time()
        tags = range_tags(keys) if planned else None
        result = job.execute_in_process(instance=self.dagster, tags=tags, run_config={**QUIET, **only})
        cost = time.process_time() - cpu, float(self._size() - size)
        assert len(result.get_asset_materialization_events()) == expected
        return cost


def one_round(base: Path, new: Callable[[str], Storage], urls: list[str], group: Group) -> Costs:
    bare, ours = (Instance(base / name, new(name), group) for name in ("bare", "ours"))
    nothing, (first, later) = (
        bare_definitions(group),
        (build_definitions(Watchlist(groups=[group]), base / "lake", ws_url=url) for url in urls),
    )
    series = len(group.symbols)

    def collected(url: str) -> tuple[float, float]:
        store, started = BarStore(base / "collected"), time.process_time()
        wants = [(Series.of(symbol, INTERVAL), increment(group.settings, BARS)) for symbol in group.symbols]
        asks = [each for each in plan(store, wants, time.time()) if isinstance(each, Ask)]
        done = list(carry_out(store, asks, TradingViewResource(ws_url=url).fetch))
        assert [type(each) for each in done] == [Stored] * series
        return time.process_time() - started, 0.0

    with bare.dagster, ours.dagster:
        return {
            "a first fetch, without Dagster": collected(urls[0]),
            "an increment, without Dagster": collected(urls[1]),
            "bare, partitions planned": bare.cost(nothing, planned=True, expected=series),
            "a first fetch, partitions planned": ours.cost(first, planned=True, expected=series),
            "bare, by config": bare.cost(nothing, planned=False, expected=series),
            "an increment, by config": ours.cost(later, planned=False, expected=series),
            "one that finds nothing, by config": ours.cost(later, planned=False, expected=0),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    group = Group(symbols=list(islice(rule_symbols(), options.series)), intervals=[INTERVAL], initial_bars=BARS)
    costs: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        base = Path(directory)
        base.chmod(0o755)
        urls = [stack.enter_context(market_server(now)) for now in (NOW, A_DAY_LATER)]
        database = stack.enter_context(postgres(make(base / "postgres"))) if options.postgres else None
        for number in range(options.rounds + 1):
            folder = make(base / f"round{number}")
            new = database or partial(sqlite, folder)
            for name, cost in one_round(folder, new, urls, group).items() if number else ():  # the first one warms up
                costs.setdefault(name, []).append(cost)
            shutil.rmtree(folder)
    print(f"{options.series} series of {BARS} bars, {'PostgreSQL' if options.postgres else 'SQLite'}, per series")
    print(f"{'':36}{'CPU ms':>8}{'':>16}{'bytes':>8}")
    for name, pairs in costs.items():
        cpu, size = ([each / options.series for each in column] for column in zip(*pairs, strict=True))
        spread = f"({1_000 * min(cpu):.1f} to {1_000 * max(cpu):.1f})"
        print(f"{name:36}{1_000 * statistics.median(cpu):8.1f}{spread:>16}{statistics.median(size):8,.0f}")


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    main()
