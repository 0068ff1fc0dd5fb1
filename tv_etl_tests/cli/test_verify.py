"""`tv-etl verify`: what it says of a lake."""

from pathlib import Path

from tv_etl.lake.store import BarStore
from tv_etl_tests.collect.served_market import PLAIN, SERIES, table
from tv_etl_tests.command import call


def test_the_command_says_that_nothing_is_wrong(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    store.upsert(*SERIES, table(PLAIN[:100]))
    done = call("verify", "--lake", store.base)
    assert (done.returncode, done.stderr) == (0, "")
    size = store.record(*SERIES).stored_bytes
    assert done.stdout == f"{store.base}: 1 series, 100 bars, {size:,} bytes read; nothing is wrong\n"
