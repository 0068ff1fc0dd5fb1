"""Where a series is: the names of its files, below the base and for people."""

from pathlib import Path

from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.storage.directory import DirectoryStorage
from tv_etl.tradingview.series import Series
from tv_etl_tests.patience import HANG_S


def test_data_files_lie_in_the_dataset_and_all_else_beside_it(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path, lock_timeout_s=HANG_S)
    place = SeriesPlace(Series.of("X:A/B", "1m"), "X%3AA%2FB", storage)
    assert place.data == "ohlcv/interval=1m/symbol=X%3AA%2FB"
    assert place.period_name("2026-11") == f"{place.data}/2026-11.parquet"
    own = {place.record_name, place.revisions_name, place.quarantine_name}
    assert own == {
        f".tv_etl/1m/X%3AA%2FB/{name}" for name in ("series.json", "revisions.parquet", "quarantine.parquet")
    }
    assert not place.files.is_stored
