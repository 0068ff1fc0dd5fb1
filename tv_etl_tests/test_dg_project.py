"""A project of two components, by the commands of `dg`, and by a Dagster that runs while one of them is edited."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tv_etl.lake.store import BarStore
from tv_etl_tests.dagster_dev import CHECKOUT, DagsterDev, started_dev
from tv_etl_tests.patience import HANG_S, wait_until
from tv_etl_tests.test_new_user import PROJECT

pytestmark = pytest.mark.slow

DESK_LAKE = """\
from pathlib import Path

import dagster as dg

from tv_etl import TradingViewComponent


class Desk(dg.Model, dg.Resolvable):
    name: str
    floor: int = 1


class DeskLake(TradingViewComponent):
    \"\"\"The lake of a desk.\"\"\"

    desk: Desk
    limit: int

    def get_asset_spec(self, data):
        return super().get_asset_spec(data).merge_attributes(tags={"desk": self.desk.name})

    def execute(self, context, tradingview, bar_store, group):
        Path(bar_store.base).with_name(f"{self.desk.name}_{self.desk.floor}_{self.limit}_{group.name}").touch()
        yield from super().execute(context, tradingview, bar_store, group)
"""
US = """\
type: tv_etl.TradingViewComponent

requirements:
  env: [US_LAKE, TV_ETL_WS_URL, TEAM, WIDTH, BARS]

attributes:
  lake: "{{ env.US_LAKE }}"
  ws_url: "{{ env.TV_ETL_WS_URL }}"
  key_prefix: us
  owners: ["team:{{ env.TEAM }}"]
  translation:
    group_name: "{{ data.kind }}"
    tags: {session: "{{ group.session if group else '' }}"}
  groups:
    - name: bars
      symbols: "{{ ['NASDAQ:AAPL', 'NYSE:JNJ'] }}"
      intervals: ["{{ env.WIDTH }}", 60]
      initial_bars: "{{ env.BARS | int }}"
      panel: "{{ env.BARS == '50' }}"
  alerts:
    rules:
      - {name: high, symbol: NASDAQ:AAPL, kind: "{{ 'above' }}", level: "{{ env.BARS | float }}"}

post_processing:
  assets:
    - target: key:"us/bars_panel"
      attributes: {tags: {slow: "yes"}}
"""
DESK = """\
type: prices.components.desk_lake.DeskLake

requirements:
  env: [TEAM, BARS]

attributes:
  desk: {name: "{{ env.TEAM }}", floor: "{{ env.BARS | int }}"}
  limit: "{{ env.BARS | int }}"
  lake: desk_lake
  groups: "{{ [{'name': 'bars', 'symbols': ['NASDAQ:AAPL'], 'intervals': ['1d'], 'initial_bars': 50}] }}"
"""
FILES = {
    **PROJECT,
    "src/prices/components/__init__.py": "",
    "src/prices/components/desk_lake.py": DESK_LAKE,
    "src/prices/defs/us/defs.yaml": US,
    "src/prices/defs/desk/defs.yaml": DESK,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def environment(project: Path, market_url: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name not in ("TV_ETL_STATE", "TV_ETL_LAKE")},
        "DAGSTER_HOME": str(project / "dagster_home"),
        "PYTHONPATH": os.pathsep.join([str(project / "src"), str(CHECKOUT)]),
        "TV_ETL_WS_URL": market_url,
        "US_LAKE": str(project / "us_lake"),
        "TEAM": "rates",
        "BARS": "50",
        "WIDTH": "1d",
        "COLUMNS": "200",
    }


def dg(project: Path, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "dagster_dg_cli.cli", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_commands_of_dg_take_templates_a_translation_and_a_subclass(
    project: Path, environment: dict[str, str]
) -> None:
    assert "All component YAML validated successfully." in dg(
        project, environment, "check", "yaml", "--validate-requirements"
    )
    assert "All definitions loaded successfully." in dg(project, environment, "check", "defs")
    listed = json.loads(dg(project, environment, "list", "defs", "--json"))
    assets = {each["asset_key"]: each for each in listed["assets"]}
    assert assets.keys() == {"us/bars", "us/bars_panel", "us/alerts", "us/lake", "bars", "desk_lake"}
    assert {key: each["group_name"] for key, each in assets.items()} == {
        "us/bars": "bars",
        "us/bars_panel": "panel",
        "us/alerts": "alerts",
        "us/lake": "lake",
        "bars": "default",
        "desk_lake": "default",
    }
    tags = {key: {each["key"]: each["value"] for each in asset["tags"]} for key, asset in assets.items()}
    assert {key: each.get("session") for key, each in tags.items()} == {
        "us/bars": "regular",
        "us/bars_panel": "regular",
        "us/alerts": "",
        "us/lake": "",
        "bars": None,
        "desk_lake": None,
    }
    assert (tags["us/bars_panel"]["slow"], tags["bars"]["desk"]) == ("yes", "rates")
    owners = {key: json.dumps(each["owners"]) for key, each in assets.items()}
    assert {key for key, each in owners.items() if "rates" in each} == {
        "us/bars",
        "us/bars_panel",
        "us/alerts",
        "us/lake",
    }
    assert {"us_bars_1d", "us_bars_1h", "bars_1d"} <= {each["name"] for each in listed["schedules"]}

    dg(project, environment, "launch", "--assets", "bars", "--partition", "1d|NASDAQ:AAPL")
    assert (project / "rates_50_50_bars").exists(), "its own execute has run"
    assert BarStore(project / "desk_lake").read("NASDAQ:AAPL", "1d").num_rows > 0


SENSORS = """{ sensorsOrError(repositorySelector: {repositoryLocationName: "prices.definitions",
    repositoryName: "__repository__"}) { ... on Sensors { results { name sensorState { ticks(limit: 1) { status
    error { causes { message } } } } } } } }"""
RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "prices.definitions") { __typename
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename
    ... on PythonError { message causes { message } } } } } }"""


def sensors(dev: DagsterDev) -> dict[str, Any]:
    found = dev.query(SENSORS)["sensorsOrError"]["results"]
    return {each["name"]: each["sensorState"]["ticks"] for each in found}


def reload(dev: DagsterDev) -> None:
    loaded = dev.query(RELOAD)["reloadRepositoryLocation"]["locationOrLoadError"]
    assert loaded["__typename"] == "RepositoryLocation", loaded


def test_a_dagster_that_runs_goes_on_with_the_last_good_component(project: Path, environment: dict[str, str]) -> None:
    file = project / "src" / "prices" / "defs" / "us" / "defs.yaml"
    with started_dev(project, environment, "prices.definitions") as dev:
        assert "us_watchlist_mistakes" not in sensors(dev)
        file.write_text(US.replace("'NYSE:JNJ'", "'jnj'"), encoding="utf-8")
        reload(dev)

        def ended() -> list[dict[str, Any]]:
            return [tick for tick in sensors(dev)["us_watchlist_mistakes"] if tick["status"] != "STARTED"]

        [tick] = wait_until(ended, "the sensor is evaluated")
        assert tick["status"] == "FAILURE"
        assert "us/defs.yaml:16:16: groups.0.symbols.1: symbol 'jnj'" in tick["error"]["causes"][0]["message"]
        file.write_text(US, encoding="utf-8")
        reload(dev)
        assert "us_watchlist_mistakes" not in sensors(dev)
