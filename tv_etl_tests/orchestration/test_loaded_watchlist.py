"""A slip of the pen stops nobody's collecting, and everybody hears of it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl import definitions
from tv_etl.orchestration.loaded_watchlist import LoadedWatchlist, load_for_process, mistake_in
from tv_etl.watchlist.model import WatchlistError
from tv_etl_tests.dagster_dev import DagsterDev, dagster_dev
from tv_etl_tests.patience import wait_until

GOOD = "groups:\n- symbols: {file: symbols.txt}\n  intervals: [1d]\n"
SERVER = ["dagster", "api", "grpc"]
RUN = ["dagster", "api", "execute_run"]
OTHER = ["dagster", "asset", "materialize"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TV_ETL_WATCHLIST", "watchlist.yaml")
    for name in ("TV_ETL_STATE", "TV_ETL_LAKE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "symbols.txt").write_text("NASDAQ:AAPL\n", encoding="utf-8")
    path = tmp_path / "watchlist.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.fixture
def load_as(file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def load(arguments: list[str]) -> LoadedWatchlist:
        monkeypatch.setattr("sys.argv", arguments)
        return load_for_process(file)

    return load


def mistakes(loaded: LoadedWatchlist) -> list[str]:
    return [each.text for each in loaded.mistakes]


def symbols(loaded: LoadedWatchlist) -> list[str]:
    return loaded.watchlist.groups[0].symbols


def test_a_server_that_has_loaded_before_goes_on(file: Path, load_as: Any) -> None:
    assert mistakes(load_as(SERVER)) == []
    (file.parent / "symbols.txt").write_text("NASDAQ:AAPL\naapl\n", encoding="utf-8")
    loaded = load_as(SERVER)
    assert symbols(loaded) == ["NASDAQ:AAPL"]
    [mistake] = mistakes(loaded)
    assert "symbols.txt:2:1: symbol 'aapl': expected EXCHANGE:TICKER" in mistake
    file.unlink()
    assert mistakes(load_as(SERVER)) == [f"{file}: No such file or directory"]


@pytest.mark.parametrize("arguments", [OTHER, SERVER])
def test_a_first_load_fails(file: Path, load_as: Any, arguments: list[str]) -> None:
    file.write_text(GOOD + "group: 1\n", encoding="utf-8")
    with pytest.raises(WatchlistError, match=r"watchlist\.yaml:4:1: group: is not a known key"):
        load_as(arguments)


def test_whoever_asks_whether_it_is_right_hears_that_it_is_not(
    file: Path, load_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_as(SERVER)
    file.write_text(GOOD + "group: 1\n", encoding="utf-8")
    with pytest.raises(WatchlistError):
        load_as(OTHER)
    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")  # as validation by way of a server has it
    with pytest.raises(WatchlistError):
        load_as(SERVER)


def test_runs_go_by_what_the_server_has_loaded(file: Path, load_as: Any) -> None:
    assert symbols(load_as(RUN)) == ["NASDAQ:AAPL"], "a host that no server has loaded on reads the file"
    load_as(SERVER)
    (file.parent / "symbols.txt").write_text("NYSE:JNJ\n", encoding="utf-8")
    assert symbols(load_as(RUN)) == ["NASDAQ:AAPL"]
    assert symbols(load_as(SERVER)) == symbols(load_as(RUN)) == ["NYSE:JNJ"]


def test_without_a_place_to_keep_it_a_mistake_is_an_error(
    file: Path, load_as: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    load_as(SERVER)
    (file.parent / "taken").touch()
    monkeypatch.setenv("TV_ETL_STATE", str(file.parent / "taken"))
    assert mistakes(load_as(SERVER)) == [], "what cannot be kept is told, and loads"
    assert "a mistake in the watchlist will be an error" in caplog.text
    file.write_text("groups: 1", encoding="utf-8")
    with pytest.raises(WatchlistError):
        load_as(SERVER)


def served(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.setattr("sys.argv", SERVER)
    return definitions.defs()


def test_a_sensor_names_the_mistakes_until_they_are_mended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "watchlist_mistakes" not in {each.name for each in served(monkeypatch).sensors or []}
    file.write_text(GOOD.replace("symbols:", "symbol:"), encoding="utf-8")
    found = served(monkeypatch)
    dg.Definitions.validate_loadable(found)
    sensor = found.resolve_sensor_def("watchlist_mistakes")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    with dg.build_sensor_context() as context:
        with pytest.raises(WatchlistError, match=r"watchlist\.yaml:2:3: groups\.0\.symbol: is not a known key"):
            sensor.evaluate_tick(context)
        assert mistake_in(file)
        file.write_text(GOOD, encoding="utf-8")
        assert sensor.evaluate_tick(context).skip_message == (
            "watchlist.yaml is right again: reload the code location, and it is in force"
        )
        assert not mistake_in(file)


def test_a_job_that_nobody_defines_is_a_mistake_as_well(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch)
    rule = "{name: a, symbol: A:B, kind: above, level: 1, run: {job: nope}}"
    file.write_text(f"{GOOD}alerts: {{rules: [{rule}]}}\n", encoding="utf-8")
    sensor = served(monkeypatch).resolve_sensor_def("watchlist_mistakes")
    with dg.build_sensor_context() as context, pytest.raises(WatchlistError, match="nope"):
        sensor.evaluate_tick(context)


SENSORS = """{ sensorsOrError(repositorySelector: {repositoryLocationName: "tv_etl.definitions",
    repositoryName: "__repository__"}) { ... on Sensors { results { name sensorState { ticks(limit: 1) { status
    error { causes { message } } } } } } } }"""
RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "tv_etl.definitions") { __typename
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename } } } }"""


@pytest.mark.slow
def test_a_dagster_that_runs_goes_on_and_fails_a_tick(tmp_path: Path, market_url: str) -> None:
    with dagster_dev(tmp_path, market_url, {"groups": [{"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}]}) as dev:
        assert "watchlist_mistakes" not in sensors(dev)
        (tmp_path / "watchlist.yaml").write_text("groups: [{symbols: [aapl], intervals: [1d]}]", encoding="utf-8")
        reloaded = dev.query(RELOAD)["reloadRepositoryLocation"]
        assert reloaded["locationOrLoadError"]["__typename"] == "RepositoryLocation"

        def ended() -> list[dict[str, Any]]:
            return [tick for tick in sensors(dev)["watchlist_mistakes"] if tick["status"] != "STARTED"]

        [tick] = wait_until(ended, "the sensor is evaluated")
        assert tick["status"] == "FAILURE"
        assert "watchlist.yaml:1:21: groups.0.symbols.0: symbol 'aapl'" in tick["error"]["causes"][0]["message"]


def sensors(dev: DagsterDev) -> dict[str, Any]:
    found = dev.query(SENSORS)["sensorsOrError"]["results"]
    return {each["name"]: each["sensorState"]["ticks"] for each in found}
