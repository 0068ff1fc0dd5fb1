"""`tv-etl rename`: what moves, and what stays as it was."""

import json
from pathlib import Path

from tv_etl.lake.store import BarStore
from tv_etl_tests.collect.served_market import PLAIN, table
from tv_etl_tests.command import call


def test_a_renamed_symbol_is_told_and_moved_by_a_command(tmp_path: Path, market_url: str) -> None:
    lake = ("--lake", str(tmp_path))
    intervals = ("--interval", "1d", "--interval", "1h")
    fetched = call("fetch", "NASDAQ:OLDN", "NASDAQ:AAPL", *intervals, "--bars", "20", *lake, url=market_url)
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stderr.count("it is named NASDAQ:NEWN now: tv-etl rename NASDAQ:OLDN NASDAQ:NEWN") == 2
    told = call("status", *lake).stdout
    assert told.count("is named") == 1
    assert "NASDAQ:OLDN is named NASDAQ:NEWN now: tv-etl rename NASDAQ:OLDN NASDAQ:NEWN\n" in told
    names = {each["symbol"]: each["renamed_to"] for each in json.loads(call("status", "--json", *lake).stdout)}
    assert names == {"NASDAQ:AAPL": None, "NASDAQ:OLDN": "NASDAQ:NEWN"}
    done = call("rename", "NASDAQ:OLDN", "NASDAQ:NEWN", *lake)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "NASDAQ:OLDN 1h is NASDAQ:NEWN 1h now: 20 bars, 20 of them from NASDAQ:OLDN",
        "NASDAQ:OLDN 1d is NASDAQ:NEWN 1d now: 20 bars, 20 of them from NASDAQ:OLDN",
        "Write NASDAQ:NEWN in place of NASDAQ:OLDN in your watchlist, or NASDAQ:OLDN will be collected again.",
    ]
    again = call("rename", "NASDAQ:OLDN", "NASDAQ:NEWN", *lake)
    assert (again.returncode, again.stdout) == (0, "all series of NASDAQ:OLDN are those of NASDAQ:NEWN already\n")
    assert "is named" not in call("status", *lake).stdout
    assert "NASDAQ:OLDN to NASDAQ:NEWN" in call("status", "NASDAQ:NEWN", *lake).stdout
    gone = call("status", "NASDAQ:OLDN", *lake)
    assert gone.returncode == 1 and "it was renamed: NASDAQ:OLDN to NASDAQ:NEWN, 20" in gone.stderr
    assert call("verify", *lake).returncode == 0


def test_what_cannot_be_renamed_is_named(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert("X:OLD", "1m", table(PLAIN[:100]))
    store.upsert("X:NEW", "1m", table(PLAIN[500:600]))
    done = call("rename", "X:OLD", "X:NEW", "--lake", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: X:OLD 1m was not moved: ") and "do not join the stored ones" in done.stderr
    for names, reason in (
        (("X:NO", "X:NEW"), "'X:NO' is not stored in "),
        (("X:OLD", "X:OLD"), "'X:OLD': is the name"),
    ):
        refused = call("rename", *names, "--lake", str(tmp_path))
        assert refused.returncode == 1 and reason in refused.stderr
