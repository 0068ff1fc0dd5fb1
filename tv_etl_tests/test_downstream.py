"""What docs/downstream.md shows is one project, which is run; what it says fires, fires, and nothing else does."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from tv_etl.lake.store import BarStore
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.partitions import range_tags
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake_runs import QUIET
from tv_etl_tests.market_server.talk import StillClock
from tv_etl_tests.orchestration.test_bad_symbol import ListingMarket
from tv_etl_tests.patience import HANG_S

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "downstream.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
MODULES = [name.removesuffix(".py") for name in FILES]
LOCATIONS = [name for name in MODULES if re.search(r"^defs = ", FILES[f"{name}.py"], re.MULTILINE)]
[COMMAND] = re.findall(r"^\.venv/bin/(dagster .*)$", PAGE, re.MULTILINE)
BARS, JNJ = dg.AssetKey("bars"), "1h|NYSE:JNJ"

# Dagster's own, where it loads a defs folder, and where a sensor asks for a partition of two dimensions.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Non-compliant tag keys like .'dagster/partition:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Function `load_definitions_from_modules?`:dagster.PreviewWarning"),
    pytest.mark.filterwarnings(r"ignore:Class `\w*CodeReference\w*`:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `owners` of initializer:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `use_user_code_server` of initializer:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `include_sources` of function:dagster.BetaWarning"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, market_url: str) -> Iterator[Path]:
    """The project of the page, with a lake, as the working directory; its modules can be imported."""
    path = tmp_path_factory.mktemp("project")
    for name, code in FILES.items():
        (path / name).write_text(code, encoding="utf-8")
    requests = [HistoryRequest(symbol, width) for symbol in ("NASDAQ:AAPL", "NYSE:JNJ") for width in ("1h", "1d")]
    for request, table in TradingViewResource(ws_url=market_url).fetch(requests):
        BarStore(path / "lake").upsert(request.symbol, request.interval, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.syspath_prepend(path)
        patch.setenv("TV_ETL_WS_URL", market_url)
        yield path
    for name in MODULES:
        sys.modules.pop(name, None)


def run_here(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "DAGSTER_HOME": str(project)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def value(module: str, name: str, key: str | None = None) -> Any:
    """What an asset of a file returns in a run of it alone."""
    definitions: dg.Definitions = importlib.import_module(module).defs
    with dg.DagsterInstance.local_temp() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(name)], partition_key=key, run_config=QUIET
        )
    return result.output_for_node(name)


def test_every_block_of_python_is_a_file() -> None:
    assert len(FILES) == PAGE.count("```python") and "prices" not in LOCATIONS


@pytest.mark.parametrize("module", LOCATIONS)
def test_the_definitions_of_every_file_load(project: Path, module: str) -> None:
    dg.Definitions.validate_loadable(importlib.import_module(module).defs)


def test_the_command_line_runs_both(project: Path) -> None:
    told = run_here(project, "-m", *COMMAND.replace("'", "").split())
    assert re.search(r" - sma - ASSET_MATERIALIZATION - ", told)
    assert "RUN_SUCCESS" in told


@pytest.mark.parametrize("name", ["one_run", "notebook"])
def test_what_prints_runs(project: Path, name: str) -> None:
    assert "NASDAQ:AAPL" in run_here(project, "-W", "error", f"{name}.py")


def test_the_assets_are_made_of_the_bars_of_their_partitions(project: Path) -> None:
    store = BarStore(project / "lake")
    assert value("elsewhere", "rows", JNJ) == store.summary("NYSE:JNJ", "1h").rows
    assert dict(value("symbols", "extent", "NYSE:JNJ").select("interval", "bars").rows()) == {
        width: store.summary("NYSE:JNJ", width).rows for width in ("1h", "1d")
    }
    logs = store.to_polars("NYSE:JNJ", "1d")["close"].log()
    assert value("symbols", "volatility", "NYSE:JNJ") == (logs - logs.shift()).std()


def test_a_day_is_a_trading_day(project: Path) -> None:
    day, store = date(2026, 11, 17), BarStore(project / "lake")
    rows = value("days", "ranges", str(day)).rows(named=True)
    assert [row["symbol"] for row in rows] == ["NASDAQ:AAPL", "NYSE:JNJ"]
    for row in rows:
        of_day = store.to_polars(row["symbol"], "1h").filter(trading_day=day)
        assert (row["low"], row["high"]) == (of_day["low"].min(), of_day["high"].max())
    assert len(value("days", "ranges", "2026-11-15")) == 0, "a Sunday"


def test_all_of_it_is_in_one_frame_or_goes_by(project: Path) -> None:
    store = BarStore(project / "lake")
    closes = value("market", "closes")
    assert closes.columns == ["trading_day", "NASDAQ:AAPL", "NYSE:JNJ"]
    assert closes["NYSE:JNJ"].drop_nulls().to_list() == store.to_polars("NYSE:JNJ", "1d")["close"].to_list()
    hours = store.to_polars(intervals="1h").with_columns(turnover=pl.col("close") * pl.col("volume"))
    found = dict(value("market", "turnover").rows())
    for [symbol], part in hours.group_by("symbol"):
        assert found[str(symbol)] == pytest.approx(part["turnover"].sum())


def test_the_component_stands_beside_assets_of_ones_own(project: Path) -> None:
    with create_defs_folder_sandbox() as sandbox:
        lake = sandbox.defs_folder_path / "my_lake"
        lake.mkdir(parents=True)
        (lake / "defs.yaml").write_text(
            f"type: tv_etl.TradingViewComponent\nattributes:\n  lake: {project / 'lake'}\n"
            "  groups: [{name: bars, symbols: ['NASDAQ:AAPL', 'NYSE:JNJ'], intervals: [1h, 1d]}]\n",
            encoding="utf-8",
        )
        (sandbox.defs_folder_path / "assets.py").write_text(FILES["assets.py"], encoding="utf-8")
        with sandbox.build_all_defs() as definitions, dg.DagsterInstance.local_temp() as instance:
            job = definitions.resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey("sma")], partition_key=JNJ, run_config=QUIET
            )
            assert len(result.output_for_node("sma")) == BarStore(project / "lake").summary("NYSE:JNJ", "1h").rows


@dataclass
class Days:
    """A Dagster instance, a market and the project's lake, in which time goes by; and who follows `bars`."""

    instance: dg.DagsterInstance
    market: ListingMarket
    clock: StillClock
    followers: dg.Definitions
    sensors: dg.Definitions
    conditions_cursor: Any = None
    cursors: dict[str, str | None] | None = None

    def run(self, *, by_hand: bool = False, checks: bool = False, only: Sequence[str] = (JNJ,)) -> None:
        """Fetch the bars of an hour, as a schedule starts a run or as somebody does in the web interface."""
        job = self.followers.resolve_job_def("bars_checks_job" if checks else "bars_job")
        config: dict[str, Any] = {**QUIET, "ops": {"bars": {"config": {"only": [*only]}}}}
        tags = range_tags([JNJ]) if by_hand else None
        job.execute_in_process(
            instance=self.instance, tags=tags, run_config=QUIET if by_hand else config, raise_on_error=False
        )

    def fired(self) -> set[str]:
        """Who fires now."""
        conditions = dg.evaluate_automation_conditions(self.followers, self.instance, cursor=self.conditions_cursor)
        self.conditions_cursor, fired = conditions.cursor, set()
        for name, key in (("sma", JNJ), ("newest", None)):
            if key in conditions.get_requested_partitions(dg.AssetKey(name)):
                fired.add(name)
        self.cursors = self.cursors or {}
        for name in ("something_new", "each_partition"):
            context = dg.build_sensor_context(
                instance=self.instance, definitions=self.sensors, cursor=self.cursors.get(name)
            )
            tick = self.sensors.resolve_sensor_def(name).evaluate_tick(context)
            self.cursors[name] = tick.cursor
            if (None if name == "something_new" else JNJ) in [each.partition_key for each in tick.run_requests or ()]:
                fired.add(name)
        return fired


ALL = {"sma", "newest", "something_new", "each_partition"}


@pytest.fixture
def days(
    project: Path, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Days]:
    shutil.copytree(project / "lake", tmp_path / "lake")
    monkeypatch.chdir(tmp_path)  # what one test stores is not there for the next
    market, clock = ListingMarket(), StillClock(NOW.timestamp())
    with serve_in_thread(market, ServerOptions(clock=clock, update_ms=50)) as server:
        monkeypatch.setenv("TV_ETL_WS_URL", server.url)
        followers, sensors = (importlib.import_module(name).defs for name in ("followers", "sensors"))
        yield Days(instance, market, clock, followers, sensors)


def new_hour(days: Days) -> None:
    days.clock.moment += timedelta(hours=1).total_seconds()
    days.run()


def found_in_the_lake(days: Days) -> None:
    days.clock.moment += timedelta(hours=1).total_seconds()
    address = os.environ["TV_ETL_WS_URL"]
    request = HistoryRequest("NYSE:JNJ", "1h", bars_count=50)
    for _, table in TradingViewResource(ws_url=address).fetch([request]):
        BarStore("lake").upsert("NYSE:JNJ", "1h", table)
    sensor = days.followers.resolve_sensor_def("lake_changes")
    with dg.build_sensor_context(
        instance=days.instance,
        repository_def=days.followers.get_repository_def(),
        resources=days.followers.resources,
    ) as context:
        sensor.evaluate_tick(context)


def refused(days: Days) -> None:
    days.market.delisted.add("NYSE:JNJ")
    days.run()


@pytest.mark.parametrize(
    ("happens", "fires"),
    [
        (new_hour, True),
        (Days.run, False),
        (lambda days: days.run(by_hand=True), True),
        (refused, False),
        (found_in_the_lake, True),
        (lambda days: days.run(checks=True), False),
    ],
    ids=["new", "nothing new", "by hand", "refused", "found in the lake", "checked"],
)
def test_who_follows_fires_for_what_the_page_says(days: Days, happens: Callable[[Days], None], fires: bool) -> None:
    days.fired()
    days.run()  # what was stored before the instance was there
    assert days.fired() == ALL
    assert days.fired() == set()
    happens(days)
    assert days.fired() == (ALL if fires else set())


def test_what_was_there_before_fires_sensors_alone(days: Days) -> None:
    days.run()
    assert days.fired() == {"something_new", "each_partition"}


def test_eager_waits_for_every_partition_that_it_is_made_of(days: Days) -> None:
    prices, condition = importlib.import_module("prices"), dg.AutomationCondition.eager()

    @dg.asset(
        partitions_def=prices.partitions.get_partitions_def_for_dimension("symbol"), automation_condition=condition
    )
    def by_symbol(bars: pl.DataFrame) -> None: ...

    @dg.asset(deps=["bars"], automation_condition=condition)
    def of_all() -> None: ...

    definitions, cursor = dg.Definitions.merge(prices.prices, dg.Definitions(assets=[by_symbol, of_all])), None

    def requested() -> list[AbstractSet[str | None]]:
        nonlocal cursor
        found = dg.evaluate_automation_conditions(definitions, days.instance, cursor=cursor)
        cursor = found.cursor
        return [found.get_requested_partitions(dg.AssetKey(name)) for name in ("by_symbol", "of_all")]

    requested()
    for only, wanted in [
        ([JNJ], [set(), set()]),
        (["1d|NYSE:JNJ"], [{"NYSE:JNJ"}, set()]),
        (["1h|NASDAQ:AAPL"], [set(), set()]),
        (["1d|NASDAQ:AAPL"], [{"NASDAQ:AAPL"}, {None}]),
    ]:
        days.run(only=only)
        assert requested() == wanted, only


def test_a_day_is_made_once_after_the_hour_with_the_next_bars(days: Days) -> None:
    definitions, cursor = importlib.import_module("days").defs, None
    made = []
    for moment, fetches in [
        ("18 03:00", False),
        ("18 03:20", True),
        ("18 03:35", False),
        ("18 03:40", True),
        ("18 03:50", True),
        ("19 03:35", True),
    ]:
        if fetches:
            days.run(by_hand=True)
        now = datetime.strptime(f"2026-11-{moment}+0000", "%Y-%m-%d %H:%M%z")
        found = dg.evaluate_automation_conditions(definitions, days.instance, cursor=cursor, evaluation_time=now)
        cursor = found.cursor
        made += [(moment, key) for key in found.get_requested_partitions(dg.AssetKey("ranges"))]
    assert made == [("18 03:40", "2026-11-17"), ("19 03:35", "2026-11-18")]
