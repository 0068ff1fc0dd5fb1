"""The status of a lake as people read it."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from tv_etl.cli.main import main
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.cli.test_status_table import printed
from tv_etl_tests.collect.served_market import PLAIN, table
from tv_etl_tests.command import call
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake.test_status import stored
from tv_etl_tests.lake_runs import UNSEEN_PROBLEM, UNSEEN_SESSION


def test_each_series_is_one_row(tmp_path: Path, market_url: str) -> None:
    store = BarStore(tmp_path)
    requests = [
        HistoryRequest(symbol, interval, bars_count=1_500)
        for symbol in ("BINANCE:BTCUSDT", "NASDAQ:AAPL")
        for interval in ("1d", "1m")
    ]
    for request, answer in TradingViewResource(ws_url=market_url).fetch(requests):
        assert isinstance(answer, pa.Table)
        store.upsert(request.symbol, request.interval, answer)
    lines = printed(lake_status(store, NOW), NOW)
    assert len(lines) == 2 + len(requests)
    row = next(line for line in lines if "BINANCE:BTCUSDT" in line and " 1m " in line)
    times = ["2026-11-17", "14:01", "2026-11-18", "14:59"]
    # 5,000 minutes after the next one to close: 3 days, 11 hours and 20 minutes.
    assert row.split() == ["BINANCE:BTCUSDT", "1m", "1,499", *times, "100.00%", "0", "0", "in", "3", "d", "11", "h"]
    assert all("never" in line for line in lines if " 1d " in line)


def test_gaps_are_counted_and_missing_sessions_among_them(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    minute, days = NOW.replace(second=0), timedelta(days=2)
    stored(store, "X:Y", [minute, minute + timedelta(minutes=1), minute + days], minute + days)
    row = printed(lake_status(store, NOW + days), NOW + days)[2]
    assert "0.10%" in row
    assert "1 (1 session)" in row


def test_a_symbol_shows_which_gaps_and_what_else_by_time(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    minute = NOW.replace(second=0)
    for start in (60, 30):
        begins = minute - timedelta(minutes=start)
        stored(store, "X:Y", [begins, begins + timedelta(minutes=5)], begins + timedelta(minutes=6))
    stored(store, "X:Z", [minute], minute)
    done = call("status", "X:Y", "1m", "--lake", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert not any("X:Z" in line for line in lines)
    assert "gap 2026-11-18 14:01 2026-11-18 14:05 4 the server had none" in lines
    assert any(line.startswith("gap 2026-11-18 14:06 2026-11-18 14:30 24 not wholly asked for") for line in lines)
    told = [line.partition(" 2026")[0] for line in lines if line.startswith(("asked", "gap", "never"))]
    assert told == ["asked", "gap", "gap", "never asked", "asked", "gap", "never asked"]
    few = call("status", "X:Y", "--limit", "2", "--lake", str(tmp_path)).stdout
    assert "5 older ones are not shown; --limit 0 shows all" in few
    [series] = json.loads(call("status", "X:Y", "--json", "--lake", str(tmp_path)).stdout)
    assert [entry["kind"] for entry in series["entries"]] == told
    assert "entries" not in json.loads(call("status", "--json", "--lake", str(tmp_path)).stdout)[0]


def test_trading_hours_that_cannot_be_read_are_told_with_their_text(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    hours = json.dumps({"session": UNSEEN_SESSION, "timezone": "Asia/Hong_Kong"})
    for symbol in ("HKEX:9", "HKEX:8"):
        for interval in ("1m", "1d"):
            store.upsert(symbol, interval, table(PLAIN[:3], trading_hours=hours))
    stored(store, "X:Y", [NOW], NOW)
    listed = printed(lake_status(store, NOW), NOW)
    assert ["no hours" in line for line in listed if "HKEX:" in line and "never" in line] == [True] * 4
    told = f"HKEX:8, HKEX:9: no calendar, so gaps are not known: {UNSEEN_PROBLEM}"
    assert " ".join(" ".join(listed).split()).endswith(told)
    one = " ".join(call("status", "HKEX:9", "1m", "--lake", str(tmp_path)).stdout.split())
    assert "not judged 2026-11-12 09:00 2026-11-12 09:03 3 no calendar says which bars are missing:" in one
    assert UNSEEN_SESSION in one
    [series] = json.loads(call("status", "HKEX:9", "1m", "--json", "--lake", str(tmp_path)).stdout)
    assert (series["unreadable_hours"], series["completeness"], series["gaps"]) == (UNSEEN_PROBLEM, None, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("X:A",), "'X:A' is not stored in "),
        (("X:Y", "1d"), "'X:Y' is not stored at 1d, but at 1m"),
        (("X:Y", "soon"), "interval 'soon': expected e.g. 1m"),
    ],
)
def test_a_series_that_is_not_there_is_named(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    stored(BarStore(tmp_path), "X:Y", [NOW], NOW)
    done = call("status", *arguments, "--lake", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr


def test_a_damaged_series_says_so_in_place_of_its_entries(tmp_path: Path) -> None:
    stored(BarStore(tmp_path), "X:Y", [NOW], NOW)
    (tmp_path / ".tv_etl" / "1m" / "X%3AY" / "series.json").write_text("{}", encoding="utf-8")
    done = call("status", "X:Y", "--lake", str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.count("DamagedFileError") == 2


def test_what_the_server_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    store, now = BarStore(tmp_path), datetime.now(timezone.utc)
    for interval in ("1d", "1h"):
        store.refuse("NASDAQ:NOPE", interval, "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol", now.timestamp())
    lines = [" ".join(line.split()) for line in call("status", "--lake", str(tmp_path)).stdout.splitlines()]
    assert "NASDAQ:NOPE 1d 0 refused never" in lines
    reason = "SymbolError: symbol 'NASDAQ:NOPE': invalid symbol"
    assert f"NASDAQ:NOPE 1h, NASDAQ:NOPE 1d: refused by the server since {now:%Y-%m-%d %H:%M}Z: {reason}" in lines


def test_an_empty_lake_has_no_rows(tmp_path: Path) -> None:
    assert lake_status(BarStore(tmp_path), NOW) == []


def test_figures_have_no_cadence_and_no_gaps(tmp_path: Path, market_url: str) -> None:
    lake, symbol = str(tmp_path / "lake"), "ECONOMICS:USCPI"
    arguments = ("--interval", "1d", "--start", "1960-01-01", "--out", str(tmp_path / "out.csv"), "--lake", lake)
    assert call("fetch", symbol, *arguments, url=market_url).returncode == 0
    [row] = [line for line in printed(lake_status(BarStore(lake), NOW), NOW) if symbol in line]
    times = ["1960-03-01", "00:00", "2026-10-01", "00:00"]
    assert row.split() == [symbol, "1d", "799", *times, "no", "cadence", "0", "never"]
    [series] = json.loads(call("status", symbol, "1d", "--json", "--lake", lake).stdout)
    assert (series["has_cadence"], series["completeness"], series["gaps"]) == (False, None, None)
    assert (series["missing_sessions"], series["unreadable_hours"], series["loss_deadline"]) == (None, None, None)
    told = {entry["kind"]: entry for entry in series["entries"]}
    assert sorted(told) == ["asked", "no cadence"]
    assert (told["no cadence"]["bars"], told["no cadence"]["start"][:10]) == (799, "1960-03-01")
    one = " ".join(call("status", symbol, "1d", "--lake", lake).stdout.split())
    assert "no cadence 1960-03-01 00:00 2026-10-02 00:00 799 the newest are 31 days apart as a rule" in one


def test_an_empty_lake_has_an_empty_status(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--lake", str(tmp_path)])
    assert result.exit_code == 0
    assert "symbol" in result.output


def test_a_lake_on_s3_has_a_status(s3_lake: str) -> None:
    columns = {"timestamp": [NOW], **{name: [1.0] for name in BAR_SCHEMA.names[1:]}}
    table = pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))
    BarStore(s3_lake).upsert("NASDAQ:AAPL", "1d", table)
    result = CliRunner().invoke(main, ["status", "--json"], env={"TV_ETL_LAKE": s3_lake})
    assert result.exit_code == 0, result.output
    [status] = json.loads(result.output)
    assert (status["symbol"], status["bars"], status["error"]) == ("NASDAQ:AAPL", 1, None)


@pytest.mark.parametrize(
    ("lake", "reason"),
    [("s3://no-such-lakes/lake", "NoSuchBucket"), ("ftp://host/lake", "begins with file://, s3://, gs://, az://")],
)
@pytest.mark.usefixtures("s3_lake")
def test_a_lake_that_cannot_be_reached_is_reported_in_a_line(lake: str, reason: str) -> None:
    result = CliRunner().invoke(main, ["status", "--lake", lake])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith(f"Error: {lake}") and reason in result.output
