"""A lake is proven without Dagster and without a server, and what is wrong with it is named with what to do."""

import json
import shutil
from pathlib import Path

import pytest

from tv_etl.lake.store import BarStore
from tv_etl.lake.verify import Verified, verify, verify_place
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SPLIT, enter, second, table
from tv_etl_tests.command import call
from tv_etl_tests.lake_files import files_of

HOURS = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})
DATA = "ohlcv/interval=1m/symbol=NASDAQ%3ASPLT/2026-11.parquet"
OWN = ".tv_etl/1m/NASDAQ%3ASPLT"


@pytest.fixture
def store(base: str) -> BarStore:
    """A series with a revision, a re-adjustment, a bar in quarantine and one withdrawn."""
    store = BarStore(base, clock=lambda: float(second(1_000)))
    facts = {"trading_hours": HOURS, "asked_from": second(0)}
    store.upsert(*SERIES, table(PLAIN[:500], **facts, asked_until=second(500)))
    broken = (second(500), 100.0, 1.0, 99.0, 100.0, 5.0)
    revised = (PLAIN[400][0], *PLAIN[400][1:5], 1.0)
    store.upsert(*SERIES, table([*PLAIN[:400], revised, *PLAIN[402:500], broken], **facts, asked_until=second(501)))
    store.upsert(*SERIES, table([*SPLIT[:401], *SPLIT[402:500], *SPLIT[501:900]], **facts, asked_until=second(900)))
    return store


def verified(store: BarStore) -> Verified:
    [found] = verify(store)
    return found


def problems(store: BarStore) -> str:
    return "\n".join(map(str, verified(store).findings))


def test_a_whole_lake_is_whole(store: BarStore) -> None:
    found = verified(store)
    assert (found.series, found.rows, found.findings) == (SERIES, 899, ())
    assert found.bytes == store.record(*SERIES).stored_bytes
    assert verify_place(store) == ""


@pytest.mark.parametrize(
    "name", [DATA, f"{OWN}/series.json", f"{OWN}/revisions.parquet", f"{OWN}/readjusted-1.parquet"]
)
def test_what_is_damaged_is_named(store: BarStore, name: str) -> None:
    files_of(store).write(name, b"?")
    assert f"{name} cannot be read as what it should be" in problems(store) or "DamagedFileError" in problems(store)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (DATA, "the record tells of 2026-11, of which there is no file"),
        (f"{OWN}/series.json", "it has no record"),
        (f"{OWN}/revisions.parquet", "the record counts 1 revisions, and the log has 0"),
        (f"{OWN}/withdrawn.parquet", "bars withdrawn, and the log has 0"),
        (f"{OWN}/readjusted-1.parquet", "the bars from before re-adjustment 1 are gone"),
    ],
)
def test_what_somebody_took_away_is_missed(store: BarStore, name: str, problem: str) -> None:
    # A second series, so that the first one stays one.
    store.upsert(*SERIES, table([(row[0] - 40 * 86_400, *row[1:]) for row in PLAIN[:3]]))
    files_of(store).remove(name)
    assert problem in problems(store)


def test_a_backup_restored_in_the_wrong_order_is_found(tmp_path: Path) -> None:
    """Data of yesterday under the record of today: it claims bars that are not there."""
    store = BarStore(tmp_path / "lake", clock=lambda: float(second(1_000)))
    store.upsert(*SERIES, table(PLAIN[:100]))
    shutil.copytree(tmp_path / "lake" / "ohlcv", tmp_path / "backup")
    store.upsert(*SERIES, table(PLAIN[:900]))
    shutil.rmtree(tmp_path / "lake" / "ohlcv")
    shutil.copytree(tmp_path / "backup", tmp_path / "lake" / "ohlcv")
    assert "2026-11 is not as the record says: bars 100 instead of 900" in problems(store)
    done = call("verify", "--lake", store.base)
    assert done.returncode == 1
    assert "bars 100 instead of 900" in done.stderr and "1 things are wrong" in done.stdout


def test_an_open_seam_is_told(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for start in (0, 500):
        enter(store, store.update_of(SERIES, table(PLAIN[start : start + 50])))
    assert "nothing proves that the bars join at" in problems(store)
    assert "tv-etl seam NASDAQ:SPLT 1m shows both sides" in problems(store)
