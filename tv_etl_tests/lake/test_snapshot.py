"""What a snapshot holds of a series, where the store itself would never have left it so."""

from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.storage.directory import DirectoryStorage
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.series import Series
from tv_etl_tests.patience import HANG_S

MIDNIGHT = datetime(2026, 11, 1, tzinfo=timezone.utc)


@pytest.fixture
def series(tmp_path: Path) -> SeriesPlace:
    columns = {"timestamp": [MIDNIGHT], **{name: [1.0] for name in BAR_SCHEMA.names[1:]}}
    facts = {"tv_etl.forming_from": "", "tv_etl.currency": "USD", "tv_etl.trading_hours": "?"}
    BarStore(tmp_path).upsert("X", "1m", pa.table(columns, schema=BAR_SCHEMA.with_metadata(facts)))
    return SeriesPlace(Series.of("X", "1m"), "X", DirectoryStorage(tmp_path, lock_timeout_s=HANG_S))


def stored(series: SeriesPlace) -> StoredSeries:
    return series.files.reading(lambda snapshot: StoredSeries(series, snapshot))


def test_a_series_is_read_by_period(series: SeriesPlace) -> None:
    assert stored(series).periods == ["2026-11"]
    assert len(stored(series).bars("2026-11")) == 1
    assert len(stored(series).bars("2026-10")) == 0
    [footer] = stored(series).footers()
    assert (footer.rows, footer.first_s) == (1, MIDNIGHT.timestamp())


def test_the_newest_file_speaks_where_no_record_does(series: SeriesPlace) -> None:
    assert stored(series).record().facts == {"currency": "USD", "trading_hours": "?"}
    Path(series.storage.address(series.record_name)).unlink()
    assert not stored(series).has_record
    assert stored(series).record().facts == {"currency": "USD"}


def test_a_file_that_vanishes_while_it_is_read_is_no_empty_one(series: SeriesPlace) -> None:
    listed = stored(series)
    assert listed.periods == ["2026-11"]
    Path(series.storage.address(series.period_name("2026-11"))).unlink()
    with pytest.raises(DamagedFileError, match=r"2026-11\.parquet: vanished while it was read"):
        listed.bars("2026-11")
