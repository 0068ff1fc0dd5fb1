"""The bars asset in a real Dagster instance, on a real market, into a real lake."""

import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from tv_etl.lake.record import Window
from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.partitions import series_partitions
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist.model import Group
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake_runs import FIRST, materializations, minute_rows, replay, run

GROUP = Group(symbols=["NASDAQ:AAPL", "BINANCE:BTCUSDT", "NASDAQ:NDX"], intervals=["1d", "1m"], initial_bars=100)


def test_one_run_stores_and_reports_every_series(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    result = run(instance, tmp_path, market_url, GROUP)
    assert result.success
    reported = materializations(result)
    assert sorted(reported) == sorted(series_partitions(GROUP).get_partition_keys())
    assert instance.get_materialized_partitions(dg.AssetKey("bars")) == set(reported)
    minutes = reported["1m|BINANCE:BTCUSDT"]
    # The newest of the hundred is forming and is not stored.
    assert (minutes["rows added"], minutes["dagster/partition_row_count"], minutes["reach"]) == (99, 99, "complete")
    assert (minutes["completeness"], minutes["gaps"]) == (1.0, 0)
    assert Path(minutes["dagster/uri"]).is_dir()
    closes_before = datetime(2026, 11, 18, 15, 0, tzinfo=timezone.utc)
    watermark = BarStore(tmp_path).watermark("BINANCE:BTCUSDT", "1m")
    assert watermark is not None
    assert watermark < closes_before
    assert BarStore(tmp_path).read("NASDAQ:NDX", "1m")["volume"].null_count == 99


def test_a_run_stores_on_s3_as_well(instance: dg.DagsterInstance, s3_lake: str, market_url: str) -> None:
    group = GROUP.model_copy(update={"symbols": ["BINANCE:BTCUSDT"]})
    for added in (99, 0):
        result = run(instance, s3_lake, market_url, group)
        assert result.success
        minutes = materializations(result)["1m|BINANCE:BTCUSDT"]
        assert minutes["rows added"] == added
        assert minutes["dagster/uri"] == f"{s3_lake}/ohlcv/interval=1m/symbol=BINANCE%3ABTCUSDT"
    assert BarStore(s3_lake).read("BINANCE:BTCUSDT", "1m").num_rows == 99


def test_a_disk_that_is_not_mounted_is_no_new_lake(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    lake, away = tmp_path / "lake", tmp_path / "away"
    run(instance, lake, market_url, GROUP)
    lake.rename(away)
    lake.mkdir()
    result = run(instance, lake, market_url, GROUP)
    assert not result.success
    [failed] = [each for each in result.all_events if each.is_step_failure]
    assert f"there are no bars at {lake}, and Dagster knows that bars had some: " in str(failed.step_failure_data)
    assert list(lake.iterdir()) == []
    lake.rmdir()
    away.rename(lake)
    assert run(instance, lake, market_url, GROUP).success


def test_a_second_run_adds_only_what_is_new(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, later_market_url: str
) -> None:
    run(instance, tmp_path, market_url, GROUP)
    again = materializations(run(instance, tmp_path, market_url, GROUP))
    assert {each["rows added"] for each in again.values()} == {0}
    later = materializations(run(instance, tmp_path, later_market_url, GROUP))
    added = {key: each["rows added"] for key, each in later.items()}
    assert added == {key: 5 if key.startswith("1m") else 0 for key in added}
    assert {each["rows revised"] for each in later.values()} == {0}
    overlaps = {key: each["rows in overlap"] for key, each in later.items() if key.startswith("1m")}
    # Shares are compared back to the bar before this day's open, 14:30Z; what never closes is never split.
    assert overlaps == {"1m|BINANCE:BTCUSDT": 6, "1m|NASDAQ:AAPL": 31, "1m|NASDAQ:NDX": 31}
    files = f"{tmp_path}/ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/*.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT count(*), count(DISTINCT timestamp) FROM '{files}'").fetchall()
    assert rows == [(104, 104)]


def test_expressions_are_partitions_as_any_symbol(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    symbols = ["1/BINANCE:BTCUSDT", "(NASDAQ:AAPL+NASDAQ:MSFT)/2", "2*NASDAQ:AAPL^0.5-NASDAQ:MSFT"]
    group = Group(symbols=symbols, intervals=["1d"], initial_bars=100)
    keys = series_partitions(group).get_partition_keys()
    assert set(keys) == {f"1d|{symbol}" for symbol in symbols}
    result = run(instance, tmp_path, market_url, group)
    assert result.success and {each["rows added"] for each in materializations(result).values()} == {99}
    assert instance.get_materialized_partitions(dg.AssetKey("bars")) == set(keys)
    assert [len(BarStore(tmp_path).read(symbol, "1d")) for symbol in symbols] == [99] * 3


def test_a_bad_symbol_fails_alone_by_name(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    group = GROUP.model_copy(update={"symbols": ["NASDAQ:AAPL", "NASDAQ:NOPE", "FAULT:SERIES_ERROR", "NASDAQ:NDX"]})
    result = run(instance, tmp_path, market_url, group)
    assert not result.success
    good = {f"{interval}|{symbol}" for interval in ("1d", "1m") for symbol in ("NASDAQ:AAPL", "NASDAQ:NDX")}
    assert set(materializations(result)) == good
    assert instance.get_materialized_partitions(dg.AssetKey("bars")) == good
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    reasons = {key: str(each.value) for key, each in failure.user_failure_data.metadata.items()}
    assert set(reasons) == {
        f"{interval}|{symbol}" for interval in ("1d", "1m") for symbol in ("NASDAQ:NOPE", "FAULT:SERIES_ERROR")
    }
    assert reasons["1d|NASDAQ:NOPE"] == "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol"
    assert "internal error" in reasons["1m|FAULT:SERIES_ERROR"]
    # What the server refuses for good is not asked for again.
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert BarStore(tmp_path).series() == [(each.split("|")[1], _interval(each)) for each in sorted(good, key=_order)]


def _interval(key: str) -> Interval:
    return Interval.parse(key.split("|")[0])


def _order(key: str) -> tuple[str, int]:
    return key.split("|")[1], _interval(key).seconds


@pytest.mark.parametrize("fault", ["NULL_BARS", "STRING_BARS", "NAN_BARS", "SHORT_BARS"])
def test_an_answer_with_rows_that_are_not_bars_is_not_stored_as_whole(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, fault: str
) -> None:
    """Row P11: the partition fails, by name, and is not tried again at once."""
    group = GROUP.model_copy(update={"symbols": [f"FAULT:{fault}", "NASDAQ:AAPL"], "intervals": ["1m"]})
    result = run(instance, tmp_path, market_url, group)
    assert set(materializations(result)) == {"1m|NASDAQ:AAPL"}
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    [(key, reason)] = failure.user_failure_data.metadata.items()
    assert key == f"1m|FAULT:{fault}"
    # NaN is not JSON at all.
    assert re.search(r"rows of the answer were not bars|a message is malformed", str(reason.value))
    assert BarStore(tmp_path).read(f"FAULT:{fault}", "1m").num_rows == 0


def test_bars_with_their_high_below_their_low_are_kept_out(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = GROUP.model_copy(update={"symbols": ["FAULT:INVERTED"], "intervals": ["1m"]})
    reported = materializations(run(instance, tmp_path, market_url, group))["1m|FAULT:INVERTED"]
    assert reported["rows added"] + reported["rows in quarantine"] == 99
    assert reported["rows in quarantine"] >= 33
    bars = BarStore(tmp_path).read("FAULT:INVERTED", "1m")
    assert all(row["low"] <= row["high"] for row in bars.to_pylist())


def test_bars_of_the_future_are_counted_and_the_one_that_forms_is_not_stored(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    group = GROUP.model_copy(update={"symbols": ["FAULT:OUTSIDE"], "intervals": ["1m"]})
    reported = materializations(run(instance, tmp_path, market_url, group))["1m|FAULT:OUTSIDE"]
    assert reported["bars of the future"] == 1
    last = BarStore(tmp_path).read("FAULT:OUTSIDE", "1m")["timestamp"][-1].as_py()
    assert f"{last:%H:%M}" == "14:59", "of 15:00:30"


def test_a_backfill_stores_all_from_its_start_on(instance: dg.DagsterInstance, tmp_path: Path, market_url: str) -> None:
    """The server sends everything up to now: cut at the end, it would be an island with one more edge to join."""
    start, end = "2026-11-16T15:00:00Z", "2026-11-16T15:30:00+00:00"
    keys = ["1m|NASDAQ:AAPL", "1m|BINANCE:BTCUSDT"]
    result = run(instance, tmp_path, market_url, GROUP, keys=keys, start=start, end=end)
    assert result.success
    newest = {"NASDAQ:AAPL": "2026-11-18T14:59:00+00:00", "BINANCE:BTCUSDT": "2026-11-18T14:59:00+00:00"}
    for symbol, last in newest.items():
        times = BarStore(tmp_path).read(symbol, "1m")["timestamp"].to_pylist()
        assert (times[0].isoformat(), times[-1].isoformat()) == ("2026-11-16T15:00:00+00:00", last)
        record = BarStore(tmp_path).record(symbol, "1m")
        assert (record.gaps, len(record.asked)) == (0, 1)


def test_scattered_partitions_are_one_run_by_config(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    only = ["1d|NASDAQ:NDX", "1m|NASDAQ:AAPL"]
    result = run(instance, tmp_path, market_url, GROUP, keys=[], only=only)
    assert result.success
    assert sorted(materializations(result)) == only


@pytest.mark.parametrize(
    ("config", "words"),
    [({"start": "yesterday"}, "start: 'yesterday' is not a time"), ({"end": "2026-01-01"}, "not a time with an offset"),
     ({"start": "2026-11-02T00:00:00Z", "end": "2026-11-01T00:00:00Z"}, "is not before end 2026-11-01T00:00:00+00:00"),
     ({"seam": "mend"}, "'mend' resolves no seam; write accept, cut, or scale and a ratio"),
     ({"only": ["1d|NASDAQ:NOPE"]}, "bars has no partition 1d|NASDAQ:NOPE")],
)  # fmt: skip
def test_bad_run_config_is_named_and_not_tried_again(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str, config: dict[str, Any], words: str
) -> None:
    result = run(instance, tmp_path, market_url, GROUP, **config)
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.error is not None
    assert words in failure.error.message
    assert not any(event.is_step_up_for_retry for event in result.all_events)


SPLIT_GROUP = Group(symbols=["NASDAQ:SPLT"], intervals=["1m"])
SPLIT_KEY = "1m|NASDAQ:SPLT"


def test_after_a_split_every_stored_bar_is_the_adjusted_markets(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Also those that the server does not have any more: it serves the last 5,000."""
    lake = tmp_path / "lake"
    before = replay(tmp_path / "before", minute_rows(6_000), "1")
    with serve_in_thread(before, ServerOptions(clock=MarketClock(FIRST + 6_000 * 60, speed=0))) as server:
        first = materializations(run(instance, lake, server.url, SPLIT_GROUP))[SPLIT_KEY]
    assert (first["rows added"], first["reach"]) == (5_000, "limited")
    split = minute_rows(8_000, ratio=0.25, until=6_300)
    with serve_in_thread(
        replay(tmp_path / "after", split, "1"), ServerOptions(clock=MarketClock(FIRST + 8_000 * 60, speed=0))
    ) as server:
        second = materializations(run(instance, lake, server.url, SPLIT_GROUP))[SPLIT_KEY]
        third = materializations(run(instance, lake, server.url, SPLIT_GROUP))[SPLIT_KEY]
    assert (second["rows added"], second["rows revised"], second["reach"]) == (2_000, 0, "limited")
    assert second["re-adjusted"] == "× 0.25 (volume × 4) before 2026-11-16 13:00Z"
    assert (third["rows added"], third["rows revised"]) == (0, 0)
    assert "re-adjusted" not in third
    table = BarStore(lake).read("NASDAQ:SPLT", "1m")
    stored = [tuple(row.values()) for row in table.drop_columns("timestamp").to_pylist()]
    assert stored == [row[1:] for row in split[1_000:]]
    [found] = BarStore(lake).record("NASDAQ:SPLT", "1m").readjustments
    assert found.readjustment.ratio == 0.25


def test_a_backfill_beside_stored_bars_joins_them(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """The whole history is split between them, and the next increment begins among the bars that were there first."""
    lake, group = tmp_path / "lake", SPLIT_GROUP.model_copy(update={"initial_bars": 300})
    clock = MarketClock(FIRST + 6_000 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "before", minute_rows(6_000), "1"), ServerOptions(clock=clock)) as server:
        run(instance, lake, server.url, group)
    first = BarStore(lake).summary("NASDAQ:SPLT", "1m").first
    assert first is not None
    split = minute_rows(8_000, ratio=0.25, until=6_000)
    with serve_in_thread(replay(tmp_path / "after", split, "1"), ServerOptions(clock=clock)) as server:
        backfilled = materializations(run(instance, lake, server.url, group, end=first.isoformat()))[SPLIT_KEY]
        clock.move_to(FIRST + 6_050 * 60)
        increment = materializations(run(instance, lake, server.url, group))[SPLIT_KEY]
    assert backfilled["re-adjusted"].startswith("× 0.25 (volume × 4)")
    assert "re-adjusted" not in increment and increment["rows revised"] == 0
    stored = [tuple(row.values())[1:] for row in BarStore(lake).read("NASDAQ:SPLT", "1m").to_pylist()]
    assert len(stored) > 4_700 and stored == [row[1:] for row in split[6_050 - len(stored) : 6_050]]


def test_after_a_contract_ends_every_stored_bar_is_the_back_adjusted_markets(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, group = tmp_path / "lake", SPLIT_GROUP.model_copy(update={"backadjustment": True})
    before = replay(tmp_path / "before", minute_rows(6_000), "1")
    with serve_in_thread(before, ServerOptions(clock=MarketClock(FIRST + 6_000 * 60, speed=0))) as server:
        run(instance, lake, server.url, group)
    after = minute_rows(8_000, shift=-7.25, until=6_300)
    clock = MarketClock(FIRST + 8_000 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "after", after, "1"), ServerOptions(clock=clock)) as server:
        second = materializations(run(instance, lake, server.url, group))[SPLIT_KEY]
    assert (second["rows added"], second["rows revised"]) == (2_000, 0)
    assert second["re-adjusted"] == "-7.25 before 2026-11-16 13:00Z"
    table = BarStore(lake).read("NASDAQ:SPLT", "1m")
    assert [tuple(row.values())[1:] for row in table.to_pylist()] == [row[1:] for row in after[1_000:]]


def test_a_damaged_file_fails_its_series_and_is_not_read_as_empty(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    run(instance, tmp_path, market_url, GROUP)
    damaged = next(Path(BarStore(tmp_path).uri("NASDAQ:AAPL", "1d")).glob("*.parquet"))
    os.truncate(damaged, damaged.stat().st_size // 2)
    result = run(instance, tmp_path, market_url, GROUP)
    assert len(materializations(result)) == 5
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    reason = failure.user_failure_data.metadata["1d|NASDAQ:AAPL"].value
    assert str(damaged) in str(reason)


def test_a_damaged_file_is_set_aside_and_fetched_again_on_request(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    run(instance, tmp_path, market_url, GROUP)
    store = BarStore(tmp_path)
    whole = store.read("NASDAQ:AAPL", "1m")
    damaged = next(Path(store.uri("NASDAQ:AAPL", "1m")).glob("*.parquet"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-100])
    failure = run(instance, tmp_path, market_url, GROUP, keys=["1m|NASDAQ:AAPL"]).failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "a run with refetch sets the file aside" in str(failure.user_failure_data.metadata["1m|NASDAQ:AAPL"].value)
    assert run(instance, tmp_path, market_url, GROUP, keys=["1m|NASDAQ:AAPL"], refetch=True).success
    assert store.read("NASDAQ:AAPL", "1m").equals(whole)
    [aside] = (tmp_path / ".tv_etl" / "1m" / "NASDAQ%3AAAPL").glob("damaged-*")
    assert aside.read_bytes() == content[:-100]


BACKFILL = {"start": "2026-11-16T15:00:00Z", "end": "2026-11-16T16:00:00Z"}


def test_what_is_stored_or_known_to_be_empty_costs_no_request(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    keys = ["1m|NASDAQ:AAPL", "1m|BINANCE:BTCUSDT"]

    def requests(url: str = market_url, **config: Any) -> list[int]:
        reported = materializations(run(instance, tmp_path, url, GROUP, keys=keys, **config))
        assert sorted(reported) == sorted(keys)
        return [each["requests"] for each in reported.values()]

    assert requests(**BACKFILL) == [1, 1]
    assert BarStore(tmp_path).record("NASDAQ:AAPL", "1m").rows == 2 * 390
    assert requests("ws://127.0.0.1:1/", **BACKFILL) == [0, 0], "nobody need be there"
    assert requests("ws://127.0.0.1:1/", start="2026-11-16T15:10:00Z", end="2026-11-16T15:20:00Z") == [0, 0]
    # Backwards into the night: New York is closed, so there is nothing to ask of AAPL, but of crypto there is.
    assert sorted(requests(start="2026-11-16T03:00:00Z", end="2026-11-16T04:00:00Z")) == [0, 1]
    assert requests(**BACKFILL, refetch=True) == [1, 1]
    # Only what is missing of a range is asked for, and no answer leaves an island.
    assert sorted(requests(start="2026-11-16T14:00:00Z", end="2026-11-16T16:30:00Z")) == [0, 1]
    record = BarStore(tmp_path).record("BINANCE:BTCUSDT", "1m")
    assert (record.rows, len(record.asked), record.gaps) == (2 * 1_440 + 12 * 60, 1, 0)


def test_an_increment_heals_what_was_never_asked_for(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    keys = ["1m|BINANCE:BTCUSDT"]
    at = NOW.replace(minute=0, second=0).replace
    spans = [(at(hour=10), at(hour=11)), (at(hour=13), at(hour=14))]
    requests = [HistoryRequest("BINANCE:BTCUSDT", "1m", start, end) for start, end in spans]
    for request, answer in fetch_history(requests, ws_url=market_url):
        assert isinstance(answer, pa.Table)
        BarStore(tmp_path).upsert(request.symbol, "1m", answer)
    assert BarStore(tmp_path).record("BINANCE:BTCUSDT", "1m").gaps == 1
    reported = materializations(run(instance, tmp_path, market_url, GROUP, keys=keys))["1m|BINANCE:BTCUSDT"]
    record = BarStore(tmp_path).record("BINANCE:BTCUSDT", "1m")
    assert (record.gaps, record.rows, len(record.asked)) == (0, 300, 1)
    assert (reported["rows added"], reported["completeness"]) == (180, 1.0)


def test_a_hole_that_the_server_cannot_fill_is_told_and_asked_for_once(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """The lake slept for longer than the server remembers."""
    lake, rows = tmp_path / "lake", minute_rows(8_000)
    with serve_in_thread(
        replay(tmp_path / "market", rows, "1"), ServerOptions(clock=MarketClock(FIRST + 1_000 * 60, speed=0))
    ) as server:
        run(instance, lake, server.url, SPLIT_GROUP)
    with serve_in_thread(
        replay(tmp_path / "market", rows, "1"), ServerOptions(clock=MarketClock(FIRST + 8_000 * 60, speed=0))
    ) as server:
        late = run(instance, lake, server.url, SPLIT_GROUP)
        again = materializations(run(instance, lake, server.url, SPLIT_GROUP))[SPLIT_KEY]
        seamless = {each.check_name: each for each in late.get_asset_check_evaluations()}["seamless"]
        accepted = materializations(run(instance, lake, server.url, SPLIT_GROUP, seam="accept"))[SPLIT_KEY]
        refused = run(instance, lake, server.url, SPLIT_GROUP, seam="accept")
    [shown] = materializations(late).values()
    # What counts begins where nothing proves that the bars before are of the same scale.
    assert (shown["rows added"], shown["reach"], shown["gaps"], shown["completeness"]) == (5_000, "limited", 0, 1.0)
    assert "no bar is both stored and served" in shown["seam"]
    assert (seamless.passed, seamless.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "seam: accept" in str(seamless.metadata["run config"].value)
    sides = seamless.metadata["both sides"]
    assert isinstance(sides, dg.TableMetadataValue)
    assert [record.data["close"] for record in sides.records] == [f"{rows[at][4]:.10g}" for at in (999, 3_000)]
    assert (again["rows added"], again["reach"], again["requests"]) == (0, "complete", 1)
    assert (accepted["gaps"], accepted["completeness"]) == (1, round(6_000 / 8_000, 6))
    assert not refused.success, "it has no open seam any more"
    record = BarStore(lake).record("NASDAQ:SPLT", "1m")
    assert record.window == Window(5_000, FIRST + 3_000 * 60)
    assert [(start - FIRST) // 60 for start, _ in record.asked[1:]] == [3_000]


def test_symbols_that_would_share_a_path_fail_alone(
    instance: dg.DagsterInstance, tmp_path: Path, market_url: str
) -> None:
    """They differ in case only, which some file systems do not tell apart."""
    run(instance, tmp_path, market_url, GROUP)
    path = Path(BarStore(tmp_path).uri("NASDAQ:AAPL", "1d"))
    path.rename(path.with_name("symbol=NASDAQ%3Aaapl"))
    result = run(instance, tmp_path, market_url, GROUP)
    assert len(materializations(result)) == 5
    failure = result.failure_data_for_node("bars")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "NASDAQ:aapl" in str(failure.user_failure_data.metadata["1d|NASDAQ:AAPL"].value)
