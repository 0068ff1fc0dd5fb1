"""The checks of the bars asset, on bars that a market really served."""

import logging
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tv_etl.collect.renaming import Moved, rename_symbol
from tv_etl.lake.record import Period, SeriesRecord, Window
from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.checks import LastCommit, evaluate, evaluate_stored
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests.collect.served_market import PLAIN, SERIES, table
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake_runs import (
    FIRST,
    QUIET,
    UNSEEN,
    UNSEEN_PROBLEM,
    UNSEEN_SESSION,
    market_of_unseen_hours,
    materializations,
    minute_rows,
    replay,
    run,
)
from tv_etl_tests.yardstick import cpu_ratio

GROUP = Group(symbols=["NASDAQ:SPLT"], intervals=["1m"], initial_bars=100, check_each_run=True)
KEY = "1m|NASDAQ:SPLT"
# 09:30 in New York on the Wednesday of NOW, and the hours of the market there.
OPEN = int(datetime(2026, 11, 18, 14, 30, tzinfo=timezone.utc).timestamp())
NYSE = '{"session": "0930-1600", "timezone": "America/New_York", "session_holidays": "20261126"}'
DAY = 86_400
PERIOD = Period(390, OPEN, OPEN + 389 * 60, 9_000, OPEN, OPEN + 390 * 60, expected=390)
# A whole day of minutes, stored after its close.
WHOLE = SeriesRecord(
    Series.of("NASDAQ:AAPL", "1m"),
    {"trading_hours": NYSE},
    ((OPEN, OPEN + 390 * 60),),
    Window(5_000, OPEN - 20 * DAY),
    periods={"2026-11": PERIOD},
)


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """By name; fails if a check was evaluated twice."""
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert len(found) == len(result.get_asset_check_evaluations())
    return found


def failing(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckSeverity]:
    return {name: each.severity for name, each in outcomes(result).items() if not each.passed}


def judged(tmp_path: Path, record: SeriesRecord, now: float, last: LastCommit | None = None) -> dict[str, Any]:
    """Evaluations of AAPL's minutes by name, as its record says."""
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1m"])
    store = BarStore(tmp_path / "empty")
    found = evaluate(store, group, record, now=now, last=last or LastCommit())
    assert tuple(each.check_name for each in found) == CHECKS
    return {each.check_name: each for each in found}


def verdict(evaluation: dg.AssetCheckEvaluation) -> str:
    return "PASS" if evaluation.passed else evaluation.severity.value


def pasted(evaluation: dg.AssetCheckEvaluation, name: str = "bars") -> dict[str, Any]:
    """The config of the asset that is shown to be pasted."""
    text = evaluation.metadata["run config"].value
    assert isinstance(text, str)
    config = yaml.safe_load(text.removeprefix("```yaml").removesuffix("```"))
    found: dict[str, Any] = config["ops"][name]["config"]
    return found


def test_a_broken_bar_fails_the_check_of_its_partition(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    rows = minute_rows(300)
    broken = [*rows[:200], (rows[200][0], 100.0, 90.0, 110.0, 100.0, 5.0), *rows[201:]]
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "broken", broken, "1"), ServerOptions(clock=clock)) as server:
        result = run(instance, lake, server.url, GROUP)
    assert materializations(result)[KEY]["rows in quarantine"] == 1
    assert failing(result) == {"ohlc_consistent": dg.AssetCheckSeverity.ERROR}
    evaluation = outcomes(result)["ohlc_consistent"]
    assert evaluation.partition == KEY
    shown = evaluation.metadata["the first 1"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert (shown.records[0].data["high"], shown.records[0].data["low"]) == ("90.0", "110.0")
    with serve_in_thread(replay(tmp_path / "sound", rows, "1"), ServerOptions(clock=clock)) as server:
        result = run(instance, lake, server.url, GROUP, keys=[], **pasted(evaluation))
    assert materializations(result)[KEY]["rows added"] == 1
    assert not failing(result)


def run_checks(instance: dg.DagsterInstance, lake: Path, *names: str) -> dg.ExecuteInProcessResult:
    """The checks alone, with nobody to ask."""
    definitions = build_definitions(Watchlist(groups=[GROUP]), lake, ws_url="ws://127.0.0.1:1/")
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetCheckKey(dg.AssetKey("bars"), name) for name in names}
    checks = job.get_subset(asset_check_selection=keys)
    return checks.execute_in_process(instance=instance, tags=range_tags([KEY]), run_config=QUIET)


def states(instance: dg.DagsterInstance) -> dict[str, str]:
    """What the web interface shows of each check of the partition; nothing unless it judges the newest bars."""
    keys = [dg.AssetCheckKey(dg.AssetKey("bars"), name) for name in CHECKS]
    found = instance.event_log_storage.get_asset_check_partition_info(keys)
    return {each.check_key.name: each.latest_execution_status.value for each in found if each.is_current}


def test_checks_alone_fetch_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "market", minute_rows(300), "1"), ServerOptions(clock=clock)) as server:
        fetched = run(instance, tmp_path / "lake", server.url, GROUP)
    assert states(instance) == dict.fromkeys(CHECKS, "SUCCEEDED")
    done = run_checks(instance, tmp_path / "lake", "ohlc_consistent", "fresh")
    assert done.success
    log = [entry.message for each in (fetched, done) for entry in instance.all_logs(each.run_id)]
    assert not [message for message in log if "did not yield" in message], "Dagster misses a check"
    assert not done.get_asset_materialization_events()
    assert {each.partition for each in outcomes(done).values()} == {KEY}
    # The bars are of another time than this machine's, and no run fetched them since.
    assert {name: verdict(each) for name, each in outcomes(done).items()} == {
        "ohlc_consistent": "PASS",
        "fresh": "WARN",
    }
    assert states(instance) == {**dict.fromkeys(CHECKS, "SUCCEEDED"), "fresh": "FAILED"}
    assert "but one of" in (outcomes(done)["fresh"].description or "")


def test_a_damaged_file_is_reported_by_the_checks_alone(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "market", minute_rows(300), "1"), ServerOptions(clock=clock)) as server:
        run(instance, lake, server.url, GROUP)
        [path] = lake.glob("ohlcv/**/*.parquet")
        sound = path.read_bytes()
        table = pq.read_table(path)
        pq.write_table(table.take(pa.array([*range(50), *range(40, table.num_rows)])), path)
        assert set(failing(run_checks(instance, lake, *CHECKS)).values()) == {dg.AssetCheckSeverity.ERROR}
        path.write_bytes(sound[: len(sound) // 2])
        done = outcomes(run_checks(instance, lake, "ordered_and_unique"))["ordered_and_unique"]
        assert "DamagedFileError" in (done.description or "")
        assert not failing(run(instance, lake, server.url, GROUP, keys=[], **pasted(done)))


def test_revised_bars_are_shown_until_the_next_commit(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake, rows = tmp_path / "lake", minute_rows(300)
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "before", rows, "1"), ServerOptions(clock=clock)) as server:
        run(instance, lake, server.url, GROUP)
    moment, opened, high, low, close, volume = rows[297]
    revised = [*rows[:297], (moment, opened, high + 9.0, low, close, volume), *rows[298:]]
    with serve_in_thread(replay(tmp_path / "after", revised, "1"), ServerOptions(clock=clock)) as server:
        result = run(instance, lake, server.url, GROUP)
        assert failing(result) == {"revisions": dg.AssetCheckSeverity.WARN}
        shown = outcomes(result)["revisions"].metadata["the first 1"]
        assert isinstance(shown, dg.TableMetadataValue)
        assert (shown.records[0].data["old_high"], shown.records[0].data["high"]) == (str(high), str(high + 9.0))
        assert "revisions" in failing(run_checks(instance, lake, "revisions"))
        assert not failing(run(instance, lake, server.url, GROUP))
        assert not failing(run_checks(instance, lake, "revisions"))


def test_a_split_is_reported_with_its_ratio(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "before", minute_rows(300), "1"), ServerOptions(clock=clock)) as server:
        run(instance, tmp_path / "lake", server.url, GROUP)
    split = minute_rows(300, ratio=0.25, until=300)
    with serve_in_thread(replay(tmp_path / "after", split, "1"), ServerOptions(clock=clock)) as server:
        result = run(instance, tmp_path / "lake", server.url, GROUP)
    assert failing(result) == {"revisions": dg.AssetCheckSeverity.WARN}
    assert "re-adjusted: × 0.25" in (outcomes(result)["revisions"].description or "")


def test_every_check_passes_on_a_market_whose_feeds_are_late_or_closed(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    symbols = ["NASDAQ:AAPL", "XETR:SAP", "HKEX:700", "BINANCE:BTCUSDT", "NASDAQ:NDX", "FX:EURUSD"]
    group = Group(symbols=symbols, intervals=["1m", "1h", "1d"], initial_bars=300, check_each_run=True)
    result = run(instance, tmp_path, market_url, group)
    failed = [
        (each.partition, each.check_name, each.description)
        for each in result.get_asset_check_evaluations()
        if not each.passed
    ]
    assert failed == []
    assert len(result.get_asset_check_evaluations()) == len(CHECKS) * len(series_partitions(group).get_partition_keys())


def test_hours_that_cannot_be_read_are_told_in_the_check_the_metadata_and_once_in_the_log(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    group = Group(symbols=["NASDAQ:AAPL", UNSEEN], intervals=["1h", "5m"], initial_bars=100, check_each_run=True)
    with market_of_unseen_hours() as server:
        result = run(instance, tmp_path, server.url, group)
    assert result.success
    found = {each.partition: each for each in result.get_asset_check_evaluations() if each.check_name == "gap_free"}
    for interval in ("1h", "5m"):
        told, other = found[f"{interval}|{UNSEEN}"], found[f"{interval}|NASDAQ:AAPL"]
        assert verdict(told) == "WARN" and UNSEEN_PROBLEM in (told.description or "")
        assert UNSEEN_SESSION in str(told.metadata["trading hours"].value)
        assert verdict(other) == "PASS"
        shown = materializations(result)
        assert shown[f"{interval}|{UNSEEN}"]["trading hours"] == f"cannot be read: {UNSEEN_PROBLEM}"
        assert shown[f"{interval}|{UNSEEN}"]["completeness"] == "unknown"
        assert "trading hours" not in shown[f"{interval}|NASDAQ:AAPL"]
    noted = [each for each in result.get_asset_check_evaluations() if each.check_name in ("fresh", "loss_deadline")]
    for each in noted:
        is_unseen = (each.partition or "").endswith(UNSEEN)
        assert (
            "trading hours cannot be read, so the market is taken never to close" in str(each.description)
        ) == is_unseen
    [line] = [each.user_message for each in instance.all_logs(result.run_id) if "cannot be read" in each.user_message
              and each.level == logging.WARNING]  # fmt: skip
    assert f"1h|{UNSEEN}" in line and f"5m|{UNSEEN}" in line and line.endswith(UNSEEN_PROBLEM)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"facts": {}}, "not known: the server told no trading hours"),
        ({"periods": {"2026-11": PERIOD._replace(expected=None)}}, "could not be read when the bars were stored"),
        ({"periods": {}}, "not known: nothing is stored yet"),
        ({"series": Series.of("NASDAQ:AAPL", "2d"), "periods": {"all": PERIOD._replace(expected=None)}},
         "do not say which bars of 2d to expect"),
    ],
)  # fmt: skip
def test_what_is_not_known_of_gaps_says_why(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    found = judged(tmp_path, replace(WHOLE, **change), OPEN + 391 * 60)["gap_free"]
    assert (verdict(found), words in (found.description or "")) == ("PASS", True), found.description


def test_a_renamed_symbol_warns_until_it_has_its_new_name(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = Group(symbols=["NASDAQ:OLDN", "NASDAQ:NEWN"], intervals=["1h"], initial_bars=50)
    result = run(instance, tmp_path, market_url, group)
    failed = {(each.partition, each.check_name) for each in result.get_asset_check_evaluations() if not each.passed}
    assert failed == {("1h|NASDAQ:OLDN", "fresh")}
    shown = {key: each.get("renamed to") for key, each in materializations(result).items()}
    assert shown == {"1h|NASDAQ:OLDN": "NASDAQ:NEWN", "1h|NASDAQ:NEWN": None}
    assert all(isinstance(each, Moved) for each in rename_symbol(BarStore(tmp_path), *group.symbols))
    after = run(instance, tmp_path, market_url, group, keys=["1h|NASDAQ:NEWN"])
    assert materializations(after)["1h|NASDAQ:NEWN"]["dagster/partition_row_count"] == 49
    assert failing(after) == {}


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        ({"missing": 1, "gaps": 1, "rows": 389}, "PASS", "1 bars are missing, and the server had none of them"),
        ({"missing": 39, "gaps": 9, "rows": 351}, "WARN", "10.0% of the expected bars"),
        ({"expected": 780, "missing": 390, "gaps": 1, "sessions": 1}, "ERROR", "1 whole trading days are missing"),
        ({"expected": None}, "PASS", "not known"),
    ],
)
def test_holes_are_judged_by_what_is_missing(tmp_path: Path, change: dict[str, Any], expected: str, words: str) -> None:
    record = replace(WHOLE, periods={"2026-11": PERIOD._replace(**change)})
    found = judged(tmp_path, record, OPEN + 391 * 60)["gap_free"]
    assert (verdict(found), words in (found.description or "")) == (expected, True), found.description


def test_a_span_that_nobody_asked_for_is_an_error_with_its_backfill(tmp_path: Path) -> None:
    record = replace(WHOLE, asked=((OPEN, OPEN + 600), (OPEN + 1_200, OPEN + 390 * 60)))
    found = judged(tmp_path, record, OPEN + 391 * 60)["gap_free"]
    assert verdict(found) == "ERROR"
    assert pasted(found) == {
        "only": ["1m|NASDAQ:AAPL"],
        "start": datetime.fromtimestamp(OPEN + 600, tz=timezone.utc).isoformat(),
        "end": datetime.fromtimestamp(OPEN + 1_200, tz=timezone.utc).isoformat(),
    }


def test_an_empty_table_with_the_span_accepts_a_loss(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    span = (OPEN + 60, OPEN + 660)
    for opened in (OPEN, OPEN + 660):
        facts = {"trading_hours": NYSE, "asked_from": str(opened), "asked_until": str(opened + 60)}
        store.upsert("NASDAQ:AAPL", "1m", closed_bars([opened], facts))
    window = {"window_bars": "1", "window_from": str(span[1])}
    store.upsert("NASDAQ:AAPL", "1m", closed_bars([], window))
    found = judged(tmp_path, store.record("NASDAQ:AAPL", "1m"), OPEN + 721)
    assert [verdict(found[name]) for name in ("gap_free", "loss_deadline")] == ["ERROR", "ERROR"]
    assert "lost: the server no longer has bars" in found["loss_deadline"].description
    accepted = {"asked_from": str(span[0]), "asked_until": str(span[1])}
    store.upsert("NASDAQ:AAPL", "1m", closed_bars([], accepted))
    found = judged(tmp_path, store.record("NASDAQ:AAPL", "1m"), OPEN + 721)
    # Ten of twelve minutes are missing, and nobody can be asked for them any more.
    assert "the server had none of them" in found["gap_free"].description
    assert "lost: " not in found["loss_deadline"].description


def closed_bars(opens: list[int], facts: dict[str, str]) -> pa.Table:
    columns = [pa.array([each * 1_000_000 for each in opens], pa.int64()).view(BAR_SCHEMA.field(0).type)]
    columns += [pa.array([1.0] * len(opens), pa.float64())] * 5
    metadata = {"tv_etl.forming_from": "", **{f"tv_etl.{name}": text for name, text in facts.items()}}
    return pa.Table.from_arrays(columns, schema=BAR_SCHEMA.with_metadata(metadata))


@pytest.mark.parametrize(
    ("minutes_later", "delay_s", "expected"),
    [
        (390, 0, "PASS"),
        (24 * 60, 0, "PASS"),  # before the next open: the market was closed
        (24 * 60 + 6, 0, "PASS"),  # a schedule of five minutes has not had its time
        (24 * 60 + 15, 0, "WARN"),
        (24 * 60 + 15, 900, "PASS"),
        (24 * 60 + 30, 900, "WARN"),
    ],
)
def test_a_series_is_fresh_by_hours_delay_and_schedule(
    tmp_path: Path, minutes_later: int, delay_s: int, expected: str
) -> None:
    record = replace(WHOLE, facts={**WHOLE.facts, "feed_delay_s": str(delay_s)})
    found = judged(tmp_path, record, OPEN + minutes_later * 60)["fresh"]
    assert verdict(found) == expected, found.description


def test_a_symbol_that_is_silent_for_days_is_reported(tmp_path: Path) -> None:
    now = OPEN + 7 * DAY + 3_600
    found = judged(tmp_path, replace(WHOLE, asked=((OPEN, now - 60),)), now)["fresh"]
    assert verdict(found) == "WARN"
    assert "halted or delisted" in (found.description or "")


def test_a_symbol_that_has_another_name_now_is_reported_with_what_to_do(tmp_path: Path) -> None:
    named = {**WHOLE.facts, "resolved_as": "NASDAQ:NEWN"}
    found = judged(tmp_path, replace(WHOLE, facts=named), OPEN + 391 * 60)["fresh"]
    assert verdict(found) == "WARN"
    assert "is stored; NASDAQ:AAPL is named NASDAQ:NEWN now: run `tv-etl rename NASDAQ:AAPL NASDAQ:NEWN`" in str(
        found.description
    )
    assert found.metadata["command"].value == "tv-etl rename NASDAQ:AAPL NASDAQ:NEWN"
    now = OPEN + 7 * DAY + 3_600
    silent = judged(tmp_path, replace(WHOLE, facts=named, asked=((OPEN, now - 60),)), now)["fresh"]
    assert "halted or delisted?; NASDAQ:AAPL is named" in (silent.description or "")
    same = {**WHOLE.facts, "resolved_as": "NASDAQ:AAPL"}
    assert verdict(judged(tmp_path, replace(WHOLE, facts=same), OPEN + 391 * 60)["fresh"]) == "PASS"


def test_a_loss_is_reported_a_day_ahead_and_when_it_happens(tmp_path: Path) -> None:
    # A window of 780 minutes is two trading days.
    record = replace(WHOLE, window=Window(780, OPEN - DAY))
    words = {}
    for days, minutes in ((0, 391), (1, 391), (4, 391), (5, 60)):
        found = judged(tmp_path, record, OPEN + days * DAY + minutes * 60)["loss_deadline"]
        words[days] = verdict(found)
    assert words == {0: "PASS", 1: "PASS", 4: "WARN", 5: "ERROR"}
    lost = replace(record, window=Window(780, OPEN + 5 * DAY))
    found = judged(tmp_path, lost, OPEN + 5 * DAY + 3_600)["loss_deadline"]
    assert (verdict(found), "lost: the server no longer has bars" in (found.description or "")) == ("ERROR", True)


def test_files_in_the_wrong_period_are_out_of_order(tmp_path: Path) -> None:
    for periods in ({"2026-10": PERIOD}, {"2026-11": PERIOD._replace(last=OPEN - 60)}):
        found = judged(tmp_path, replace(WHOLE, periods=periods), OPEN + 391 * 60)["ordered_and_unique"]
        assert verdict(found) == "ERROR"
        assert pasted(found)["refetch"] is True


def test_a_series_never_stored_is_judged_without_an_error(tmp_path: Path) -> None:
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1m"])
    found = evaluate_stored(
        BarStore(tmp_path), group, Series.of("NASDAQ:AAPL", "1m"), now=float(OPEN), last=LastCommit()
    )
    assert [each.check_name for each in found if not each.passed] == ["fresh"]


def test_all_checks_of_a_partition_cost_a_few_milliseconds(tmp_path: Path) -> None:
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1m"])
    store = BarStore(tmp_path)

    def judge() -> None:
        for number in range(200):
            # Every series is fetched at a moment of its own.
            record = replace(WHOLE, asked=((OPEN, OPEN + 390 * 60 + number),))
            now = OPEN + 391 * 60.0 + number
            evaluate(store, group, record, now=now, last=LastCommit())

    assert cpu_ratio(judge) / 200 < 0.5


def test_a_second_witness_looks_at_what_is_stored(tmp_path: Path) -> None:
    """Bars of an older lake, of which a stretch was never scaled: no join tells of it any more."""
    group, store, aapl = Group(symbols=["NASDAQ:SPLT"], intervals=["1m"]), BarStore(tmp_path), SERIES
    calm = [(row[0], *(100 + price / 1_000 for price in row[1:5]), row[5]) for row in PLAIN]
    quartered = [(row[0], *(price / 4 for price in row[1:5]), row[5] * 4) for row in calm]
    for rows in (calm[:300], quartered[300:700], calm[700:]):
        store.upsert(*aapl, table(rows))
    found = evaluate_stored(store, group, aapl, now=float(OPEN), last=LastCommit())
    seamless = {each.check_name: each for each in found}["seamless"]
    assert (verdict(seamless), seamless.description is not None) == ("WARN", True)
    assert "prices step by nearly × 0.25 at " in str(seamless.description)
    assert "and 1 more times" in str(seamless.description)


# --- series without a cadence ------------------------------------------------------------------------------------

FIGURES = Group(
    symbols=["ECONOMICS:USCPI", "ECONOMICS:USIJC"], intervals=["1d", "1mo"], initial_bars=None, check_each_run=True
)
CPI = Series.of("ECONOMICS:USCPI", "1d")


def test_figures_have_no_gaps_and_raise_no_alarm(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, later_market_url: str
) -> None:
    first = run(instance, tmp_path, market_url, FIGURES)
    assert first.success and [each for each in first.get_asset_check_evaluations() if not each.passed] == []
    said = {(each.partition, each.check_name): each.description for each in first.get_asset_check_evaluations()}
    assert said["1d|ECONOMICS:USCPI", "gap_free"] == (
        "no cadence: no trading hours tell which points there must be, so none is missing"
    )
    assert said["1d|ECONOMICS:USCPI", "fresh"] == (
        "the newest point is of 2026-10-01 00:00Z, and points are 31 days apart as a rule"
    )
    assert said["1d|ECONOMICS:USIJC", "fresh"] == (
        "the newest point is of 2026-11-02 00:00Z, and points are 7 days apart as a rule"
    )
    assert "nothing is lost" in str(said["1d|ECONOMICS:USCPI", "loss_deadline"])
    shown = materializations(first)["1d|ECONOMICS:USCPI"]
    assert shown["completeness"] == (
        "no cadence: no trading hours tell which points there must be; points are 31 days apart as a rule"
    )
    assert shown["dagster/partition_row_count"] == 799 and not {"gaps", "trading hours"} & set(shown)
    again = run(instance, tmp_path, later_market_url, FIGURES)
    assert again.success and not [each for each in again.get_asset_check_evaluations() if not each.passed]
    assert materializations(again)["1d|ECONOMICS:USCPI"]["rows in overlap"] == 6


def found_at(tmp_path: Path, market_url: str, days: float, **fields: Any) -> dict[str, dg.AssetCheckEvaluation]:
    """Verdicts on the prices of consumers so many days after they were fetched, with another record if need be."""
    store = BarStore(tmp_path, clock=NOW.timestamp)
    [(_, answer)] = fetch_history([HistoryRequest(*CPI)], ws_url=market_url)
    assert isinstance(answer, pa.Table)
    record = replace(store.upsert(*CPI, answer).record, **fields)
    found = evaluate(store, FIGURES, record, now=NOW.timestamp() + days * DAY, last=LastCommit())
    return {each.check_name: each for each in found}


@pytest.mark.parametrize(
    ("days", "asked_days", "expected", "words"),
    [
        (0, 0, "PASS", "points are 31 days apart"),
        (1.5, 0, "WARN", "and nobody asked for more after 2026-11-18 15:00Z; is the schedule on"),
        (1.5, 1.4, "PASS", "points are 31 days apart"),
        (100, 100, "PASS", "points are 31 days apart"),
        (110, 110, "WARN", "159 days ago, though points are 31 days apart as a rule: discontinued?"),
    ],
)
def test_figures_are_fresh_if_somebody_asks_and_they_keep_their_rhythm(
    tmp_path: Path, market_url: str, days: float, asked_days: float, expected: str, words: str
) -> None:
    found = found_at(tmp_path, market_url, days, asked_at=NOW.timestamp() + asked_days * DAY)["fresh"]
    assert verdict(found) == expected and words in str(found.description), found.description
    assert "halted or delisted" not in str(found.description)


def test_of_few_figures_nothing_is_claimed(tmp_path: Path, market_url: str) -> None:
    found = found_at(tmp_path, market_url, 2_000, rhythm=None, asked_at=NOW.timestamp() + 2_000 * DAY)["fresh"]
    assert verdict(found) == "PASS" and "too few to tell when the next one is due" in str(found.description)


def test_a_span_of_figures_that_nobody_asked_for_is_an_error(tmp_path: Path, market_url: str) -> None:
    until = int(NOW.timestamp())
    found = found_at(tmp_path, market_url, 0, asked=((0, 1_000 * DAY), (2_000 * DAY, until)))["gap_free"]
    assert verdict(found) == "ERROR" and "nobody asked for 1972-09-27 00:00Z to" in str(found.description)
    assert "market is taken never to close" not in str(found.description)


@pytest.mark.parametrize(("facts", "expected"), [({"kind": "economic"}, "PASS"), ({"kind": "index"}, "WARN")])
def test_a_rate_that_doubles_is_no_split(tmp_path: Path, facts: dict[str, str], expected: str) -> None:
    group, store = Group(symbols=[SERIES.symbol], intervals=["1m"]), BarStore(tmp_path)
    rows = [(row[0], *[0.25 if place < 500 else 0.5] * 4, 0.0) for place, row in enumerate(PLAIN)]
    store.upsert(*SERIES, table(rows, **facts))
    found = evaluate_stored(store, group, SERIES, now=float(OPEN), last=LastCommit())
    assert verdict({each.check_name: each for each in found}["seamless"]) == expected
