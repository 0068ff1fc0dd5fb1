"""A defs.yaml reads like a watchlist and gives the same definitions; several lakes live in one project."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox
from jsonschema import Draft202012Validator

import tv_etl
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.component import TradingViewComponent
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.orchestration.resources import BarStoreResource, NotifierResource
from tv_etl.watchlist.model import Watchlist, WatchlistError, load_watchlist
from tv_etl_tests.lake_runs import QUIET

# Dagster's own, where it loads a defs folder.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Function `load_definitions_from_modules?`:dagster.PreviewWarning"),
    pytest.mark.filterwarnings(r"ignore:Class `\w*CodeReference\w*`:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `owners` of initializer:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `execution_type` of function:dagster.BetaWarning"),
]

DEFAULT = Path(__file__).parents[2] / "watchlist.yaml"
GROUP = """\
- name: {name}
  symbols: [NASDAQ:AAPL]
  intervals: [1d]
"""


@pytest.fixture
def project() -> Iterator[DefsFolderSandbox]:
    with create_defs_folder_sandbox() as sandbox:
        yield sandbox


def write(project: DefsFolderSandbox, folder: str, *attributes: str) -> Path:
    path = project.defs_folder_path / folder
    path.mkdir(parents=True)
    documents = [
        "type: tv_etl.TradingViewComponent\nattributes:\n" + textwrap.indent(each, "  ") for each in attributes
    ]
    (path / "defs.yaml").write_text("---\n".join(documents), encoding="utf-8")
    return path


def mistakes(project: DefsFolderSandbox) -> list[str]:
    with pytest.raises(ComponentTreeException) as caught, project.build_all_defs():
        pass
    error = caught.value.__cause__
    assert isinstance(error, WatchlistError)
    return str(error).replace(str(project.defs_folder_path), "defs").splitlines()[1:]


def names(definitions: dg.Definitions) -> dict[str, set[str]]:
    repository = definitions.get_repository_def()
    return {
        "assets": {key.to_user_string() for key in repository.assets_defs_by_key},
        "checks": {str(key) for key in repository.asset_checks_defs_by_key},
        "jobs": {job.name for job in repository.get_all_jobs()},
        "schedules": {each.name for each in repository.schedule_defs},
        "sensors": {each.name for each in repository.sensor_defs},
    }


def test_the_attributes_of_a_watchlist_give_its_definitions(project: DefsFolderSandbox) -> None:
    write(project, "my_lake", DEFAULT.read_text(encoding="utf-8"))
    plain = names(build_definitions(load_watchlist(DEFAULT)))
    with project.build_all_defs() as definitions:
        found = names(definitions)
        assert found["sensors"] == {"my_lake_quote_alerts"}
        # The alerts of several lakes are told apart by the name of the component.
        assert {kind: {each.replace("my_lake_", "") for each in each_of} for kind, each_of in found.items()} == plain
        asset = definitions.get_assets_def("bars")
    expected = series_partitions(load_watchlist(DEFAULT).groups[0]).get_partition_keys()
    assert asset.partitions_def is not None
    assert asset.partitions_def.get_partition_keys() == expected


def test_a_watchlist_file_beside_it_gives_the_same(project: DefsFolderSandbox) -> None:
    path = write(project, "my_lake", "watchlist: list.yaml\n")
    (path / "list.yaml").write_text(DEFAULT.read_text(encoding="utf-8"), encoding="utf-8")
    with project.build_all_defs() as definitions:
        schedules = {"bars_1d", "bars_1h", "bars_1m", "bars_checks", "my_lake_alerts_checks"}
        assert names(definitions)["schedules"] == schedules


def test_a_bare_number_is_an_interval_and_symbols_may_be_in_a_file(project: DefsFolderSandbox) -> None:
    path = write(project, "us", "groups:\n- symbols: {file: us.txt}\n  intervals: [60]\n  schedules: {60: 7 * * * *}\n")
    (path / "us.txt").write_text("NASDAQ:AAPL\nNYSE:JNJ\n", encoding="utf-8")
    with project.load_component_and_build_defs(path) as (component, definitions):
        assert isinstance(component, TradingViewComponent)
        [schedule] = [each for each in definitions.get_repository_def().schedule_defs if each.name != "bars_checks"]
    assert (component.groups[0].symbols, component.groups[0].intervals) == (["NASDAQ:AAPL", "NYSE:JNJ"], ["1h"])
    assert (schedule.name, schedule.cron_schedule) == ("bars_1h", "7 * * * *")


def test_templates_may_stand_for_any_value(project: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_LAKE", "s3://bucket/prefix")
    path = write(
        project,
        "us",
        "lake: '{{ env.MY_LAKE }}'\nstate: '1'\ngroups:\n- {symbols: [A:B], intervals: '{{ [\"1d\"] }}'}\n",
    )
    with project.load_component_and_build_defs(path) as (component, definitions):
        assert isinstance(component, TradingViewComponent)
        store = (definitions.resources or {})["us_bar_store"]
    assert (component.groups[0].intervals, component.state) == (["1d"], "1")
    assert isinstance(store, BarStoreResource) and store.base == "s3://bucket/prefix"


def test_lakes_stand_beside_each_other_each_with_its_own_resources(
    project: DefsFolderSandbox, instance: dg.DagsterInstance, market_url: str
) -> None:
    write(project, "us", f"ws_url: {market_url}\nlake: lake_us\ngroups:\n{GROUP.format(name='us')}")
    more = f"ws_url: {market_url}\nlake: {{}}\ngroups:\n{{}}"
    write(
        project,
        "more/lakes",
        more.format("lake_a", GROUP.format(name="a")),
        more.format("lake_b", GROUP.format(name="b")),
    )
    with project.build_all_defs() as definitions:
        dg.Definitions.validate_loadable(definitions)
        assert {key for key in definitions.resources or {} if key.endswith("_bar_store")} == {
            "us_bar_store",
            "more_lakes_bar_store",
            "more_lakes_1_bar_store",
        }
        # One job over the assets of every component, as the web interface would launch it.
        job = definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, partition_key="1d|NASDAQ:AAPL", run_config=QUIET)
    assert result.success
    for lake in ("lake_us", "lake_a", "lake_b"):
        assert BarStoreResource(base=str(project.project_root / lake)).store().watermark("NASDAQ:AAPL", "1d")


def test_alerts_of_two_lakes_have_stores_and_sensors_of_their_own(project: DefsFolderSandbox) -> None:
    alerts = "alerts:\n  rules: [{name: a, symbol: A:B, kind: above, level: 1}]\n  webhooks: [{url_env: HOOK}]\n"
    for name in ("one", "two"):
        write(project, name, f"groups:\n- {{name: {name}, symbols: [A:{name.upper()}], intervals: [1d]}}\n{alerts}")
    with project.build_all_defs() as definitions:
        assert names(definitions)["sensors"] == {"one_quote_alerts", "two_quote_alerts"}
        notifiers = [each for each in (definitions.resources or {}).values() if isinstance(each, NotifierResource)]
    assert len({each.store_path for each in notifiers}) == 2


def test_a_group_of_another_component_is_named_with_both_places(project: DefsFolderSandbox) -> None:
    write(project, "a", f"groups:\n{GROUP.format(name='x')}{GROUP.format(name='bars').replace('AAPL', 'MSFT')}")
    path = write(project, "b", "watchlist: list.yaml\n")
    (path / "list.yaml").write_text(f"groups:\n{GROUP.format(name='bars')}", encoding="utf-8")
    assert mistakes(project) == [
        "defs/a/defs.yaml:7:11: groups.1.name: bars is also a group of defs/b/defs.yaml; "
        "an asset has one owner: give this group another name, or the component a key_prefix"
    ]


def test_every_mistake_is_named_with_its_line_in_defs_yaml(project: DefsFolderSandbox) -> None:
    good = f"groups:\n{GROUP.format(name='good')}"
    write(project, "us", good, "lake: 5\nlakes: x\ngroups:\n- {symbols: [aapl], intervals: [1d, 1d]}\n  \n")
    assert mistakes(project) == [
        "defs/us/defs.yaml:10:9: lake: Input should be a valid string, not 5",
        "defs/us/defs.yaml:11:3: lakes: is not a known key; did you mean lake? known keys: "
        "groups, alerts, lake, state, ws_url, scanner_url, proxy, account, pool, watchlist, key_prefix, group_name, "
        "owners, tags, kinds, translation",
        "defs/us/defs.yaml:13:16: groups.0.symbols.0: symbol 'aapl': expected EXCHANGE:TICKER, the exchange in "
        "capitals, e.g. NASDAQ:AAPL",
    ]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("lake: x\n", "defs/us/defs.yaml:3:3: file: groups: list at least one, or name a watchlist file"),
        ("watchlist: a.yaml\ngroups: []\n", "defs/us/defs.yaml:3:3: file: watchlist replaces groups and alerts"),
    ],
)
def test_groups_come_from_one_source(project: DefsFolderSandbox, attributes: str, words: str) -> None:
    write(project, "us", attributes)
    (mistake,) = mistakes(project)
    assert mistake.startswith(words)


def test_the_scaffolder_writes_what_loads(project: DefsFolderSandbox) -> None:
    path = project.scaffold_component(tv_etl.TradingViewComponent, "my_lake")
    text = (path / "defs.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 12 and "{file: symbols.txt}" in text
    with project.load_component_and_build_defs(path) as (component, definitions):
        assert isinstance(component, TradingViewComponent) and component.lake == "lake"
        assert names(definitions)["assets"] == {"bars"}


def test_the_scaffolder_writes_python_that_loads(project: DefsFolderSandbox) -> None:
    project.scaffold_component(TradingViewComponent, "my_lake", scaffold_format="python")
    with project.build_all_defs() as definitions:
        assert names(definitions)["jobs"] >= {"bars_job"}
        assert "my_lake_load_bar_store" in (definitions.resources or {})


def test_the_json_schema_is_that_of_the_attributes() -> None:
    schema = TradingViewComponent.model().model_json_schema()
    validator = Draft202012Validator(schema)
    assert list(validator.iter_errors(yaml.safe_load(DEFAULT.read_text(encoding="utf-8")))) == []
    assert set(schema["properties"]) >= {"groups", "alerts", "lake", "ws_url", "watchlist"}
    assert all("description" in each for each in schema["properties"].values())
    messages = [each.message for each in validator.iter_errors({"groups": [{"intervalls": [60]}]})]
    assert any("'intervalls' was unexpected" in message for message in messages)


def test_python_code_may_make_one_without_a_file() -> None:
    component = TradingViewComponent.from_attributes_dict(
        attributes={"groups": [{"symbols": ["A:B"], "intervals": [60]}]}
    )
    assert isinstance(component, Watchlist) and component.groups[0].intervals == ["1h"]
    with pytest.raises(WatchlistError, match=r"groups\.0\.symbols\.0: symbol 'b'"):
        TradingViewComponent.from_attributes_dict(attributes={"groups": [{"symbols": ["b"], "intervals": [60]}]})
