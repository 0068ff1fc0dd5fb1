"""A defs.yaml with a mistake: a server goes on with its last good component, and tells of it; all else fails."""

from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import DefsFolderSandbox

from tv_etl.orchestration.resources import BarStoreResource
from tv_etl.watchlist.model import WatchlistError
from tv_etl_tests.defs_folder import DAGSTER_WARNINGS, GROUP, mistakes, names, write

pytestmark = DAGSTER_WARNINGS

AS_SERVER = ["dagster", "api", "grpc"]
AS_RUN = ["dagster", "api", "execute_run"]
US = "lake: '{{ env.MY_LAKE }}'\ngroups:\n- {name: us, symbols: [NASDAQ:AAPL], intervals: [1d]}\n"


@pytest.fixture
def served(project: DefsFolderSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DefsFolderSandbox:
    """A project that a code server loads, and has loaded once."""
    monkeypatch.setattr("sys.argv", AS_SERVER)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TV_ETL_STATE", raising=False)
    monkeypatch.setenv("MY_LAKE", "a_secret_place")
    write(project, "us", US)
    write(project, "eu", "groups:\n" + GROUP.format(name="eu"))
    with project.build_all_defs():
        pass
    return project


def edit(project: DefsFolderSandbox, folder: str, old: str, new: str) -> None:
    file = project.defs_folder_path / folder / "defs.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def told(sensor: dg.SensorDefinition, root: Path) -> str:
    """What a tick of the sensor says."""
    with dg.build_sensor_context() as context:
        try:
            return sensor.evaluate_tick(context).skip_message or ""
        except WatchlistError as error:
            return str(error).replace(str(root), "defs")


@pytest.mark.parametrize(
    ("old", "new", "words", "shows_at_once"),
    [
        ("NASDAQ:AAPL", "aapl", "us/defs.yaml:5:26: groups.0.symbols.0: symbol 'aapl'", True),
        ("env.MY_LAKE", "env.NOBODYS.x", "NOBODYS", True),
        ("name: us", "name: eu", "us/defs.yaml:5:12: groups.0.name: eu is also a group of defs/eu/defs.yaml", False),
        (
            US[US.index("groups") :].replace("- ", "  - "),
            "watchlist: nowhere.yaml\n",
            "nowhere.yaml: No such file",
            False,
        ),
    ],
)
def test_a_server_that_has_loaded_before_goes_on_with_the_last_good_component(
    served: DefsFolderSandbox, old: str, new: str, words: str, shows_at_once: bool
) -> None:
    root = served.defs_folder_path
    edit(served, "us", old, new)
    with served.build_all_defs() as definitions:
        dg.Definitions.validate_loadable(definitions)
        assert {"us", "eu"} <= names(definitions)["assets"]
        store = (definitions.resources or {})["us_bar_store"]
        assert isinstance(store, BarStoreResource) and store.base.endswith("a_secret_place")
        sensor = definitions.resolve_sensor_def("us_watchlist_mistakes")
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert words in told(sensor, root)
    edit(served, "us", new, old)
    if shows_at_once:  # what is amiss beside other files, only the next load can see
        assert told(sensor, root) == f"{root}/us/defs.yaml is right again: reload the code location, and it is in force"
    with served.build_all_defs() as definitions:
        assert not {name for name in names(definitions)["sensors"] if name.endswith("watchlist_mistakes")}


def test_a_mistake_in_a_component_fails_everything_else_as_ever(
    served: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(served, "us", "NASDAQ:AAPL", "aapl")
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["dg", "check", "defs"])
        assert "symbol 'aapl'" in mistakes(served)[0]
    with monkeypatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "/nowhere")
        assert "symbol 'aapl'" in mistakes(served)[0], "nothing was kept there"
    second = "---\ntype: tv_etl.TradingViewComponent\nattributes:\n  groups: []\n"
    edit(served, "us", "intervals: [1d]}\n", f"intervals: [1d]}}\n{second}")
    assert "symbol 'aapl'" in mistakes(served)[0], "which of the documents it was, nobody knows"


def test_runs_go_by_the_component_that_the_server_has_loaded(
    served: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(served, "us", "NASDAQ:AAPL", "NYSE:JNJ")
    for arguments, symbol in ((AS_RUN, "NASDAQ:AAPL"), (AS_SERVER, "NYSE:JNJ"), (AS_RUN, "NYSE:JNJ")):
        monkeypatch.setattr("sys.argv", arguments)
        with served.build_all_defs() as definitions:
            partitions = definitions.get_assets_def("us").partitions_def
            assert partitions is not None and partitions.get_partition_keys() == [f"1d|{symbol}"]


def test_what_is_kept_of_a_component_names_variables_and_not_what_is_in_them(
    served: DefsFolderSandbox, tmp_path: Path
) -> None:
    kept = [path.read_text(encoding="utf-8") for path in (tmp_path / "home").rglob("*.yaml")]
    assert len(kept) == 2
    assert any("env.MY_LAKE" in text for text in kept)
    assert not any("a_secret_place" in text for text in kept)


def test_a_component_with_mistakes_in_two_files_names_both(served: DefsFolderSandbox) -> None:
    path = write(served, "asia", "watchlist: list.yaml\n")
    (path / "list.yaml").write_text("groups:\n" + GROUP.format(name="asia"), encoding="utf-8")
    with served.build_all_defs():
        pass
    (path / "list.yaml").write_text("groups: 1", encoding="utf-8")
    edit(served, "asia", "watchlist", "watchlists")
    with served.build_all_defs() as definitions:
        assert "asia" in names(definitions)["assets"]
        words = told(definitions.resolve_sensor_def("asia_watchlist_mistakes"), served.defs_folder_path)
    assert "defs/asia/defs.yaml:3:3: watchlists" in words and "defs/asia/list.yaml:1:9: groups" in words
