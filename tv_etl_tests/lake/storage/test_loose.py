"""Files of a lake that belong to no series."""

from pathlib import Path

import pytest

from tv_etl.lake.storage.loose import LooseFiles
from tv_etl.lake.store import BarStore


@pytest.fixture(params=["directory", "bucket"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "lake") if request.param == "directory" else request.getfixturevalue("s3_lake")


def test_what_is_written_is_read(base: str) -> None:
    files = LooseFiles(base, "things")
    assert files.names() == [] and files.read("a/b.bin") is None
    files.write("a/b.bin", b"1")
    files.write("a/b.bin", memoryview(b"22"))
    files.write("c.bin", b"3")
    assert files.names() == ["a/b.bin", "c.bin"]
    assert [files.read(name) for name in files.names()] == [b"22", b"3"]
    assert (files.uri("c.bin"), files.uri()) == (f"{base}/things/c.bin", f"{base}/things")


def test_a_lake_with_such_files_has_no_more_series(base: str) -> None:
    LooseFiles(base, "things").write("a/b.parquet", b"1")
    assert BarStore(base).series() == []


def test_an_address_of_no_lake_is_refused() -> None:
    with pytest.raises(ValueError, match="ftp://"):
        LooseFiles("ftp://host/lake", "things")
