"""A defs.yaml reads like a watchlist and gives the same definitions; several lakes live in one project."""

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import DefsFolderSandbox
from jsonschema import Draft202012Validator

from tv_etl.orchestration.asset_data import AssetData
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.component import TradingViewComponent
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.orchestration.resources import AccountVariables, BarStoreResource, NotifierResource, TradingViewResource
from tv_etl.watchlist.model import Group, Watchlist, WatchlistError, load_watchlist
from tv_etl_tests.defs_folder import DAGSTER_WARNINGS, GROUP, mistakes, names, write
from tv_etl_tests.lake_runs import QUIET

pytestmark = DAGSTER_WARNINGS
DEFAULT = Path(__file__).parents[2] / "watchlist.yaml"


def test_the_attributes_of_a_watchlist_give_its_definitions(project: DefsFolderSandbox) -> None:
    write(project, "my_lake", DEFAULT.read_text(encoding="utf-8"))
    plain = names(build_definitions(load_watchlist(DEFAULT)))
    with project.build_all_defs() as definitions:
        found = names(definitions)
        assert found["sensors"] == {f"my_lake_{name}" for name in ("lost_runs", "quote_alerts", "lake_changes")}
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
        schedules = {"bars_1d", "bars_1h", "bars_1m", "bars_checks", "bars_refused", "my_lake_alerts_checks"}
        schedules.add("my_lake_prune_history")
        assert names(definitions)["schedules"] == schedules


@pytest.mark.parametrize(
    ("written", "days", "is_on"),
    [
        ("", 30, False),
        ("keep_history: 30\n", 30, True),
        ("keep_history: '{{ env.DAYS | int }}'\n", 7, True),
        ("watchlist: list.yaml\n", 30, False),
        ("watchlist: kept.yaml\n", 90, True),
    ],
)
def test_history_is_pruned_where_the_key_is_written(
    project: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch, written: str, days: int, is_on: bool
) -> None:
    monkeypatch.setenv("DAYS", "7")
    groups = f"groups:\n{GROUP.format(name='bars')}"
    path = write(project, "us", written if "watchlist" in written else f"{written}{groups}")
    (path / "list.yaml").write_text(groups, encoding="utf-8")
    (path / "kept.yaml").write_text(f"keep_history: 90\n{groups}", encoding="utf-8")
    with project.load_component_and_build_defs(path) as (_, definitions):
        schedule = definitions.get_repository_def().get_schedule_def("us_prune_history")
    assert f"older than {days} days" in str(schedule.description)
    assert schedule.default_status.value == ("RUNNING" if is_on else "STOPPED")


def test_a_bare_number_is_an_interval_and_symbols_may_be_in_a_file(project: DefsFolderSandbox) -> None:
    path = write(project, "us", "groups:\n- symbols: {file: us.txt}\n  intervals: [60]\n  schedules: {60: 7 * * * *}\n")
    (path / "us.txt").write_text("NASDAQ:AAPL\nNYSE:JNJ\n", encoding="utf-8")
    with project.load_component_and_build_defs(path) as (component, definitions):
        assert isinstance(component, TradingViewComponent)
        schedule = definitions.get_repository_def().get_schedule_def("bars_1h")
    assert (component.groups[0].symbols, component.groups[0].intervals) == (["NASDAQ:AAPL", "NYSE:JNJ"], ["1h"])
    assert schedule.cron_schedule == "7 * * * *"


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
        sensors = ("lost_runs", "quote_alerts", "lake_changes")
        assert names(definitions)["sensors"] == {f"{lake}_{name}" for lake in ("one", "two") for name in sensors}
        notifiers = [each for each in (definitions.resources or {}).values() if isinstance(each, NotifierResource)]
    assert len({each.store_path for each in notifiers}) == 2


def test_every_mistake_is_named_with_its_line_in_defs_yaml(project: DefsFolderSandbox) -> None:
    good = f"groups:\n{GROUP.format(name='good')}"
    write(project, "us", good, "lake: 5\nlakes: x\ngroups:\n- {symbols: [aapl], intervals: [1d, 1d]}\n  \n")
    assert mistakes(project) == [
        "defs/us/defs.yaml:10:9: lake: Input should be a valid string, not 5",
        "defs/us/defs.yaml:11:3: lakes: is not a known key; did you mean lake? known keys: "
        "groups, alerts, notify, keep_history, lake, state, ws_url, scanner_url, proxy, account, pool, watchlist, "
        "key_prefix, group_name, owners, tags, kinds, translation",
        "defs/us/defs.yaml:13:16: groups.0.symbols.0: symbol 'aapl': expected EXCHANGE:TICKER, the exchange in "
        "capitals, e.g. NASDAQ:AAPL",
    ]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("lake: x\n", "defs/us/defs.yaml:3:3: file: groups: list at least one, or name a watchlist file"),
        (
            "watchlist: a.yaml\ngroups: []\n",
            "defs/us/defs.yaml:3:3: file: watchlist replaces groups, alerts, notify and keep_history",
        ),
    ],
)
def test_groups_come_from_one_source(project: DefsFolderSandbox, attributes: str, words: str) -> None:
    write(project, "us", attributes)
    (mistake,) = mistakes(project)
    assert mistake.startswith(words)


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


class Desk(dg.Resolvable, dg.Model):
    name: str
    floor: int


class DeskLake(TradingViewComponent):
    """A component of somebody else's."""

    desk: Desk
    limit: int = 3

    def get_asset_spec(self, data: AssetData) -> dg.AssetSpec:
        return super().get_asset_spec(data).merge_attributes(metadata={"desk": self.desk.name, "kind": data.kind})

    def execute(
        self,
        context: dg.AssetExecutionContext,
        tradingview: TradingViewResource,
        bar_store: BarStoreResource,
        group: Group,
    ) -> Iterator[Any]:
        assert self.desk.floor == 7
        marker = Path(bar_store.base).parent / f"{self.desk.name} fetches {group.name}"
        marker.touch()
        yield from super().execute(context, tradingview, bar_store, group)


TEMPLATED = """\
desk: {name: rates, floor: "{{ env.FLOOR | int }}"}
limit: "{{ env.FLOOR | int }}"
groups:
- symbols: "{{ ['NASDAQ:AAPL'] }}"
  intervals: [1d]
  initial_bars: "{{ env.FLOOR | int }}"
  check_schedule: "{{ none }}"
  panel: "{{ env.FLOOR == '7' }}"
alerts:
  rules:
  - {name: a, symbol: A:B, kind: "{{ 'above' }}", level: "{{ env.FLOOR | float }}"}
"""


def write_desk(project: DefsFolderSandbox, attributes: str) -> Path:
    path = project.defs_folder_path / "desk"
    path.mkdir(parents=True)
    text = f"type: {DeskLake.__module__}.DeskLake\nattributes:\n{textwrap.indent(attributes, '  ')}"
    (path / "defs.yaml").write_text(text, encoding="utf-8")
    return path


def test_a_subclass_has_attributes_of_its_own_and_templates_anywhere(
    project: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance, market_url: str
) -> None:
    monkeypatch.setenv("FLOOR", "7")
    attributes = f"{TEMPLATED}ws_url: {market_url}\n"
    validator = Draft202012Validator(DeskLake.model().model_json_schema())
    assert list(validator.iter_errors(yaml.safe_load(attributes))) == []
    path = write_desk(project, attributes)
    with project.load_component_and_build_defs(path) as (component, definitions):
        assert isinstance(component, DeskLake)
        group = component.groups[0]
        assert (group.symbols, group.initial_bars, group.check_schedule, group.panel) == (
            ["NASDAQ:AAPL"],
            7,
            None,
            True,
        )
        assert (component.desk, component.limit) == (Desk(name="rates", floor=7), 7)
        result = definitions.resolve_job_def("bars_job").execute_in_process(
            instance=instance, partition_key="1d|NASDAQ:AAPL", run_config=QUIET
        )
        kinds = {spec.key.to_user_string(): spec.metadata["kind"] for spec in definitions.resolve_all_asset_specs()}
    assert result.success
    assert kinds == {"bars": "bars", "bars_panel": "panel", "desk_alerts": "alerts", "desk_lake": "lake"}
    assert (project.project_root / "rates fetches bars").exists()
    assert BarStoreResource(str(project.project_root / "lake")).store().read("NASDAQ:AAPL", "1d").num_rows <= 7


def test_mistakes_beside_templates_are_found_at_their_place_even_by_the_schema() -> None:
    content = yaml.safe_load(TEMPLATED)
    content["groups"][0] |= {"initial_bars": 0, "intervals": [{}], "adjustment": "none"}
    content["desks"] = 1
    validator = Draft202012Validator(DeskLake.model().model_json_schema())
    places = {tuple(each.absolute_path): each.message for each in validator.iter_errors(content)}
    assert places == {
        ("groups", 0, "initial_bars"): "0 is not valid under any of the given schemas",
        ("groups", 0, "intervals", 0): "{} is not valid under any of the given schemas",
        ("groups", 0, "adjustment"): "'none' is not one of ['splits', 'dividends']",
        (): "Additional properties are not allowed ('desks' was unexpected)",
    }


def test_what_a_template_gives_is_judged_like_what_is_written(
    project: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOOR", "0")
    write_desk(project, TEMPLATED)
    assert mistakes(project) == [
        "defs/desk/defs.yaml:8:19: groups.0.initial_bars: Input should be greater than or equal to 1, not 0"
    ]


TWO_LAKES = """\
key_prefix: {prefix}
lake: {lake}
ws_url: {url}
groups:
- name: bars
  symbols: [NASDAQ:AAPL]
  intervals: [1d]
  automation: true
  daily_from: null
  panel: true
- name: found
  symbols: {{scanner: {{market: crypto}}}}
  intervals: [1h]
  daily_from: 1h
alerts:
  rules:
  - {{name: a, symbol: A:B, kind: above, level: 1, run: {{assets: [{path}/bars_panel]}}}}
"""


def test_two_lakes_with_equal_groups_share_no_name(
    project: DefsFolderSandbox, instance: dg.DagsterInstance, market_url: str
) -> None:
    write(project, "one", TWO_LAKES.format(prefix="us", lake="lake_us", url=market_url, path="us"))
    write(project, "two", TWO_LAKES.format(prefix="[eu, raw]", lake="lake_eu", url=market_url, path="eu/raw"))
    assets = {"bars", "bars_panel", "found", "found_daily_from_1h", "alerts", "lake"}
    with project.build_all_defs() as definitions:
        dg.Definitions.validate_loadable(definitions)
        found = names(definitions)
        assert found["assets"] == {f"{path}/{name}" for path in ("us", "eu/raw") for name in assets}
        for kind, begin in (("jobs", 7), ("schedules", 8), ("sensors", 6)):
            own = {name for name in found[kind] if name.startswith(("us_", "eu_raw_"))}
            others = found[kind] - own - {"__ASSET_JOB", "default_automation_condition_sensor"}
            assert not others and len(own) == 2 * begin, sorted(found[kind])
        dynamic = {
            definitions.get_assets_def(dg.AssetKey([*path, "found_daily_from_1h"])).partitions_def
            for path in (["us"], ["eu", "raw"])
        }
        assert {each.name for each in dynamic if isinstance(each, dg.DynamicPartitionsDefinition)} == {
            "us_found_symbols",
            "eu_raw_found_symbols",
        }
        for job in ("us_bars_job", "eu_raw_bars_job"):
            config = {**QUIET, "ops": {job.removesuffix("_job"): {"config": {"only": ["1d|NASDAQ:AAPL"]}}}}
            assert definitions.resolve_job_def(job).execute_in_process(instance=instance, run_config=config).success
    materialized = {key for key in instance.get_asset_keys() if instance.get_latest_materialization_event(key)}
    assert materialized == {dg.AssetKey(["us", "bars"]), dg.AssetKey(["eu", "raw", "bars"])}
    for lake in ("lake_us", "lake_eu"):
        assert BarStoreResource(base=str(project.project_root / lake)).store().watermark("NASDAQ:AAPL", "1d")


def test_what_alerts_start_may_be_several_jobs(project: DefsFolderSandbox) -> None:
    """Dagster copies the sensors of a component, and knows of a copy's jobs one by name."""
    runs = ("bars_job", "bars_checks_job", "{assets: [bars]}")
    rules = ", ".join(
        f"{{name: r{number}, symbol: 'A:B', kind: above, level: 1, run: {run}}}" for number, run in enumerate(runs)
    )
    path = write(project, "us", f"groups:\n{GROUP.format(name='bars')}alerts: {{rules: [{rules}]}}\n")
    with project.load_component_and_build_defs(path) as (_, definitions):
        dg.Definitions.validate_loadable(definitions)
        repository = definitions.get_repository_def()
        starts = {each.job_name for each in repository.get_sensor_def("us_alert_runs").targets}
        assert starts == {"bars_job", "bars_checks_job", "us_alert_run_bars"}


def spec_of(definitions: dg.Definitions, key: str) -> dg.AssetSpec:
    [found] = [spec for spec in definitions.resolve_all_asset_specs() if spec.key.to_user_string() == key]
    return found


def test_the_attributes_of_all_assets_come_before_the_translation(project: DefsFolderSandbox) -> None:
    path = write(
        project,
        "us",
        """\
group_name: prices
owners: [team:quants]
kinds: [bars]
tags: {tier: gold}
translation:
  description: "{{ data.kind }} of {{ group.name if group else 'all rules' }}: {{ spec.key.to_user_string() }}"
  group_name: "{{ data.kind }}"
  tags: {desk: rates}
groups:
- {name: bars, symbols: [NASDAQ:AAPL], intervals: [1d, 1h], panel: true, daily_from: 1h}
alerts: {rules: [{name: a, symbol: A:B, kind: above, level: 1}]}
""",
    )
    with project.load_component_and_build_defs(path) as (_, definitions):
        for key, kind, owner in (
            ("bars", "bars", "bars"),
            ("bars_panel", "panel", "bars"),
            ("bars_daily_from_1h", "daily", "bars"),
            ("us_alerts", "alerts", "all rules"),
        ):
            spec = spec_of(definitions, key)
            assert (spec.description, spec.group_name) == (f"{kind} of {owner}: {key}", kind)
            assert (list(spec.owners), spec.kinds) == (["team:quants"], {"bars"})
            assert {"tier": "gold", "desk": "rates"}.items() <= spec.tags.items()


def test_a_translated_key_is_that_of_all_that_belongs_to_the_asset(
    project: DefsFolderSandbox, instance: dg.DagsterInstance, market_url: str
) -> None:
    translation = 'translation: {key: "warehouse/{{ data.kind }}"}\n'
    path = write(
        project, "us", f"ws_url: {market_url}\n{translation}groups:\n{GROUP.format(name='bars')}  panel: true\n"
    )
    with project.load_component_and_build_defs(path) as (_, definitions):
        found = names(definitions)
        assert found["assets"] == {"warehouse/bars", "warehouse/panel", "warehouse/lake"}
        assert all("warehouse" in check for check in found["checks"])
        assert "bars_1d" in found["schedules"]
        job = definitions.resolve_job_def("bars_job")
        assert job.execute_in_process(instance=instance, partition_key="1d|NASDAQ:AAPL", run_config=QUIET).success
    assert instance.get_latest_materialization_event(dg.AssetKey(["warehouse", "bars"])) is not None


def test_partitions_are_no_matter_of_taste(project: DefsFolderSandbox) -> None:
    partitions = "translation: {partitions_def: {type: daily, start_date: '2026-01-01'}}\n"
    write(project, "us", f"{partitions}groups:\n{GROUP.format(name='bars')}")
    with pytest.raises(ComponentTreeException) as caught, project.build_all_defs():
        pass
    assert str(caught.value.__cause__) == "bars: the partitions_def of bars cannot be changed"


def test_post_processing_reaches_every_asset(project: DefsFolderSandbox) -> None:
    path = write(project, "us", f"groups:\n{GROUP.format(name='bars')}  panel: true\n")
    post = 'post_processing:\n  assets:\n  - {target: "key:bars_panel", attributes: {tags: {slow: "yes"}}}\n'
    with (path / "defs.yaml").open("a", encoding="utf-8") as file:
        file.write(post)
    with project.build_all_defs() as definitions:
        tags = {key: spec_of(definitions, key).tags.get("slow") for key in ("bars", "bars_panel")}
        dg.Definitions.validate_loadable(definitions)
    assert tags == {"bars": None, "bars_panel": "yes"}


def test_a_lake_may_have_an_account_and_a_pool_of_its_own(project: DefsFolderSandbox) -> None:
    account = "account: {auth_token_env: US_TOKEN}\npool: us\n"
    path = write(project, "us", f"{account}groups:\n{GROUP.format(name='bars')}")
    with project.load_component_and_build_defs(path) as (_, definitions):
        resource = (definitions.resources or {})["us_tradingview"]
        assert definitions.get_assets_def("bars").op.pool == "us"
    assert resource == TradingViewResource(account=AccountVariables("US_TOKEN"))


@pytest.mark.parametrize(
    ("attributes", "mistake"),
    [
        (
            "account: {token: x}",
            "3:13: account.token: is not a known key; known keys: auth_token_env, session_id_env, ",
        ),
        ("account: {}", "3:12: account: name a variable: auth_token_env, or session_id_env and session_id_sign_env"),
        ("key_prefix: [us/raw]", "3:16: key_prefix.0: String should match pattern"),
    ],
)
def test_mistakes_in_what_is_the_components_own_are_placed_as_well(
    project: DefsFolderSandbox, attributes: str, mistake: str
) -> None:
    write(project, "us", f"{attributes}\ngroups:\n{GROUP.format(name='bars')}")
    assert any(each.startswith(f"defs/us/defs.yaml:{mistake}") for each in mistakes(project)), mistakes(project)


def test_plain_python_stands_beside_a_projects_own_resources(tmp_path: Path) -> None:
    watchlist = Watchlist.model_validate({"groups": [{"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}]})
    own = dg.Definitions(
        resources={"tradingview": 1, "bar_store": 2, "scanner": 3, "notifier": 4}, executor=dg.multiprocess_executor
    )
    lakes: Iterable[dg.Definitions] = [
        build_definitions(watchlist, tmp_path / name, key_prefix=name) for name in ("us", "eu")
    ]
    merged = dg.Definitions.merge(own, *lakes)
    dg.Definitions.validate_loadable(merged)
    assert names(merged)["assets"] == {"us/bars", "eu/bars", "us/lake", "eu/lake"}
    assert {"bar_store", "us_bar_store", "eu_bar_store"} <= set(merged.resources or {})
