"""Every change of bars goes on record with its time and its writer, and no two look the same."""

from dataclasses import replace
from pathlib import Path

from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.resolution import Resolution
from tv_etl.lake.store import BarStore
from tv_etl.lake.written import Writer, Written
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import PLAIN, table

SERIES = ("NASDAQ:AAPL", "1m")
ALICE, BOB = Writer("fetch", "alice"), Writer("dagster", "bob", "7f", "bars")


def store_at(base: str | Path, moment: float, writer: Writer = ALICE) -> BarStore:
    return BarStore(base, clock=lambda: moment, writer=writer)


def test_a_commit_that_changes_bars_is_on_record_and_no_other(base: str) -> None:
    def put(store: BarStore, count: int) -> Written | None:
        rows = PLAIN[:count]
        facts = {"asked_from": int(rows[0][0]), "asked_until": int(rows[-1][0]) + 60, "forming_from": ""}
        return store.upsert(*SERIES, table(rows, **facts)).record.written

    assert put(store_at(base, 2e9), 5) == (2e9, ALICE)
    assert put(store_at(base, 2e9 + 1, BOB), 5) == (2e9, ALICE)
    assert put(store_at(base, 2e9 + 2, BOB), 6) == (2e9 + 2, BOB)
    assert BarStore(base).record(*SERIES).written == Written(2e9 + 2, BOB)
    # The same instant again, as a clock that stands still has it.
    assert put(store_at(base, 2e9 + 2, BOB), 7) == (2e9 + 2.000001, BOB)


def test_what_was_only_asked_for_changes_nothing(base: str) -> None:
    store_at(base, 2e9).upsert(*SERIES, table(PLAIN[:5], forming_from=""))
    until = int(PLAIN[4][0]) + 3_600
    empty = BAR_SCHEMA.empty_table().replace_schema_metadata(
        {"tv_etl.forming_from": "", "tv_etl.asked_from": str(int(PLAIN[0][0])), "tv_etl.asked_until": str(until)}
    )
    record = store_at(base, 2e9 + 5, BOB).upsert(*SERIES, empty).record
    assert (record.asked[-1][1], record.written) == (until, (2e9, ALICE))


def test_a_seam_that_is_resolved_is_a_change(tmp_path: Path) -> None:
    store = store_at(tmp_path, 2e9)
    store.upsert(*SERIES, table(PLAIN[:5], forming_from=""))
    series = Series.of(*SERIES)
    update = store.update_of(series, table(PLAIN[10:15], forming_from=""))
    store.commit(series, update, judge=lambda stored: update, needs_proof=True)
    assert store.record(*SERIES).open_seam is not None
    record = store_at(tmp_path, 2e9 + 9, BOB).resolve_seam(*SERIES, Resolution.parse("accept"))
    assert record.written == (2e9 + 9, BOB)


def test_a_record_from_before_has_none(tmp_path: Path) -> None:
    series = Series.of(*SERIES)
    record = SeriesRecord(series, written=Written(2e9, BOB))
    assert SeriesRecord.decode(record.encode(), "", series) == record
    before = replace(record, written=None)
    assert b"written" not in before.encode()
    assert SeriesRecord.decode(before.encode(), "", series).written is None


def test_a_writer_is_named_by_its_run_or_its_program() -> None:
    assert (str(ALICE), str(BOB)) == ("fetch on alice", "run 7f of bars on bob")
    assert Writer.here("tv-etl fetch").program == "tv-etl fetch"
    assert Writer.here().program and Writer.here().host
