"""What rules would have told of a lake, as people see it."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.alerts.stored_history import StoredHistory
from tv_etl.cli.rehearsal import RehearsalError, chosen_rules, rehearse, span_of
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.watchlist.model import Watchlist
from tv_etl_tests.command import call

BEGIN = datetime(2026, 11, 18, 15, 0, tzinfo=timezone.utc)
RULES = """\
groups:
  - {name: us, symbols: [NASDAQ:AAPL], intervals: [1m]}
  - {name: found, symbols: {scanner: {}}, intervals: [1m]}
alerts:
  rules:
    - {name: high, symbol: NASDAQ:AAPL, kind: cross_up, level: 11, cooldown: 0s}
    - {name: scanned, symbols: {group: found}, kind: cross_down, level: 11, cooldown: 0s}
    - {name: daily, symbol: NASDAQ:AAPL, kind: pct_day, pct: 5}
"""


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    closes = [10.0, 10.0, 12.0, 10.0, 12.0, 10.0]
    times = [BEGIN + timedelta(minutes=number) for number in range(len(closes))]
    columns = [pa.array(times, pa.timestamp("us", "UTC")), *[pa.array(closes)] * 4, pa.array([1.0] * len(closes))]
    BarStore(tmp_path / "lake").upsert("NASDAQ:AAPL", "1m", pa.table(columns, schema=BAR_SCHEMA))
    (tmp_path / "watchlist.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path


def run(lake: Path, *options: str) -> tuple[int, str, str]:
    span = ("--from", "2026-11-18T15:01", "--to", "2026-11-18T15:06")
    done = call("alerts", "test", str(lake / "watchlist.yaml"), "--lake", str(lake / "lake"), *span, *options)
    return done.returncode, done.stdout, done.stderr


def test_the_table_has_what_would_have_been_told_and_stderr_what_could_not(lake: Path) -> None:
    code, printed, errors = run(lake)
    assert code == 0
    rows = [line.split() for line in printed.splitlines() if line.startswith("2026")]
    assert rows == [
        ["2026-11-18", "15:02", "high", "NASDAQ:AAPL", "cross_up", "11", "12"],
        ["2026-11-18", "15:03", "scanned", "NASDAQ:AAPL", "cross_down", "11", "10"],
        ["2026-11-18", "15:04", "high", "NASDAQ:AAPL", "cross_up", "11", "12"],
        ["2026-11-18", "15:05", "scanned", "NASDAQ:AAPL", "cross_down", "11", "10"],
    ]
    assert printed.splitlines()[-1] == "4 alerts of 3 rules"
    assert errors.splitlines() == ["rule daily: NASDAQ:AAPL: no bars of 1d are stored"]


def test_a_picture_is_written_for_each_rule_and_symbol(lake: Path) -> None:
    code, printed, _ = run(lake, "--rule", "high", "--pictures", str(lake / "pictures"))
    [picture] = sorted((lake / "pictures").iterdir())
    assert (code, picture.name) == (0, "high_NASDAQ_AAPL.png")
    assert picture.read_bytes().startswith(b"\x89PNG") and str(picture) in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rule", "low"), "no rule is named low; there are: daily, high, scanned"),
        (("--from", "2026-11-19"), "is not before --to"),
        (("--from", "yesterday"), "--from"),
    ],
)
def test_what_makes_no_sense_is_named(lake: Path, options: tuple[str, ...], words: str) -> None:
    code, _, errors = run(lake, *options)
    assert code == 1 and words in errors


def test_a_mistake_in_the_watchlist_has_its_line(lake: Path) -> None:
    (lake / "watchlist.yaml").write_text(RULES.replace("cross_up", "cross_upp"), encoding="utf-8")
    code, _, errors = run(lake)
    assert code == 1 and ":6:" in errors and "expected above, below" in errors


def test_a_watchlist_without_rules_has_nothing_to_test() -> None:
    empty = Watchlist.model_validate({"groups": [{"symbols": ["A:B"], "intervals": ["1d"]}]})
    with pytest.raises(RehearsalError, match="no rules"):
        chosen_rules(empty, [])


def test_by_default_the_last_thirty_days_are_tested() -> None:
    assert span_of(None, None, BEGIN) == (BEGIN - timedelta(days=30), BEGIN)
    assert span_of(None, BEGIN - timedelta(days=1), BEGIN)[0] == BEGIN - timedelta(days=31)


def test_nothing_is_written_beside_the_lake(lake: Path) -> None:
    before = sorted((lake / "lake").rglob("*"))
    listed = Watchlist.model_validate(
        {
            "groups": [{"symbols": ["NASDAQ:AAPL"], "intervals": ["1m"]}],
            "alerts": {"rules": [{"name": "r", "symbol": "NASDAQ:AAPL", "kind": "above", "level": 9}]},
        }
    )
    history = StoredHistory(BarStore(lake / "lake"), BEGIN, BEGIN + timedelta(minutes=6))
    replayed = rehearse(listed, chosen_rules(listed, []), history, BEGIN, BEGIN + timedelta(minutes=6))
    assert [alert.kind for alert in replayed.alerts] == ["above"]
    assert sorted((lake / "lake").rglob("*")) == before
