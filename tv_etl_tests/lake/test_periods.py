"""The record describes each file as it is after a commit, and only those anew that it concerns."""

import json
from pathlib import Path

from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import verify
from tv_etl_tests.collect.served_market import PLAIN, SERIES, enter, table

HOURS = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})
MONTH = 30 * 86_400


def test_what_is_expected_of_a_file_ends_with_the_series(tmp_path: Path) -> None:
    """Bars of October and of November; what lies between them is missing in both files."""
    store = BarStore(tmp_path)
    older = [(row[0] - MONTH, *row[1:]) for row in PLAIN[:10]]
    store.upsert(*SERIES, table(PLAIN[:10], trading_hours=HOURS))
    [alone] = store.record(*SERIES).periods.values()
    assert (alone.rows, alone.expected, alone.missing) == (10, 10, 0)
    store.upsert(*SERIES, table(older, trading_hours=HOURS))
    october, november = (store.record(*SERIES).periods[name] for name in ("2026-10", "2026-11"))
    assert october.expected is not None and november.expected is not None
    assert (october.missing, november.missing) == (october.expected - 10, november.expected - 10)
    assert october.expected + november.expected == MONTH // 60 + 10
    assert (october.gaps, november.gaps) == (1, 1)


def test_hours_that_can_be_read_by_now_judge_the_files_of_before(tmp_path: Path) -> None:
    """The record is as a version left it that could not read these hours."""
    store = BarStore(tmp_path)
    older = [(row[0] - MONTH, *row[1:]) for row in PLAIN[:10]]
    store.upsert(*SERIES, table([*older, *PLAIN[:10]], trading_hours=HOURS))
    judged = store.record(*SERIES).periods
    path = tmp_path / ".tv_etl" / "1m" / "NASDAQ%3ASPLT" / "series.json"
    content = json.loads(path.read_bytes())
    for period in content["periods"].values():
        period[6:] = [None, 0, 0, 0]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert store.record(*SERIES).ratio is None
    [verified] = verify(store)
    assert verified.findings == ()
    store.upsert(*SERIES, table(PLAIN[10:11], trading_hours=HOURS))
    again = store.record(*SERIES).periods
    assert again["2026-10"] == judged["2026-10"] and again["2026-10"].expected is not None
    assert again["2026-11"].missing == judged["2026-11"].missing


def test_before_a_seam_nothing_is_expected(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    older = [(row[0] - MONTH, *row[1:]) for row in PLAIN[:10]]
    for rows in (older, PLAIN[:10]):
        update = store.update_of(SERIES, table(rows, trading_hours=HOURS))
        enter(store, update)
    record = store.record(*SERIES)
    assert (record.periods["2026-10"].expected, record.periods["2026-11"].expected) == (0, 10)
    assert (record.ratio, record.gaps, record.rows) == (1.0, 0, 20)
