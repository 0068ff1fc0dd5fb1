"""Files of every form are read as the bars that are in them."""

from pathlib import Path

import pytest

from tv_etl.lake.store import BarStore
from tv_etl_tests.imports.imported import imported, stored
from tv_etl_tests.imports.samples import SAMPLES, Sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_file_of_each_form_has_its_bars(sample: Sample, tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    series, refused = imported(store, sample.write(tmp_path), closed=True, **sample.options)
    assert refused == []
    assert [str(each.error) for each in series if each.error is not None] == []
    found = {str(each): stored(store, each.symbol, each.interval.token) for each in store.series()}
    assert found == sample.bars
