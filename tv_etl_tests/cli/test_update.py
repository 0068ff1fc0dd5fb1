"""`tv-etl fetch --update`: a file of bars brought up to date."""

from pathlib import Path

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl_tests.cli.test_fetch import rows_of
from tv_etl_tests.command import call, told
from tv_etl_tests.lake_runs import FIRST, minute_rows, replay


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_file_is_brought_up_to_date(form: str, tmp_path: Path) -> None:
    """To what a fetch of all its span has, whatever has been re-adjusted since."""
    name = f"bars.{form}"
    arguments = ("fetch", "NASDAQ:SPLT", "--interval", "1m", "--out")
    rows, halved = minute_rows(300), minute_rows(360, ratio=0.5, until=360)
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "before", rows, "1"), ServerOptions(clock=clock)) as server:
        assert call(*arguments, name, "--bars", "200", url=server.url, cwd=tmp_path).returncode == 0
    clock = MarketClock(FIRST + 360 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "after", halved, "1"), ServerOptions(clock=clock)) as server:
        done = call("fetch", "--update", "--out", name, url=server.url, cwd=tmp_path)
        assert (done.returncode, told(done)) == (0, [])
        assert done.stderr.startswith("wrote 260 bars of 1 series in ")
        assert call(*arguments, f"whole.{form}", "--bars", "260", url=server.url, cwd=tmp_path).returncode == 0
        again = call("fetch", "--update", "--out", name, "--quiet", url=server.url, cwd=tmp_path)
    assert again.stderr == ""
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole.{form}").read_bytes()


def test_what_is_not_proven_to_join_a_file_leaves_its_series_as_it_was(tmp_path: Path) -> None:
    clock = MarketClock(FIRST + 300 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "before", minute_rows(300), "1"), ServerOptions(clock=clock)) as server:
        written = call("fetch", "NASDAQ:SPLT", "--interval", "1m", "--out", "bars.csv", url=server.url, cwd=tmp_path)
    assert written.returncode == 0
    before = (tmp_path / "bars.csv").read_bytes()
    later = minute_rows(6_000)[5_000:]
    clock = MarketClock(FIRST + 6_000 * 60, speed=0)
    with serve_in_thread(replay(tmp_path / "after", later, "1"), ServerOptions(clock=clock)) as server:
        done = call("fetch", "--update", "--out", "bars.csv", url=server.url, cwd=tmp_path)
    assert done.returncode == 1
    assert "NASDAQ:SPLT 1m: its bars are not proven to join those in the file at " in done.stderr
    assert (tmp_path / "bars.csv").read_bytes() == before


def test_a_series_that_a_file_lacks_is_added_to_it(tmp_path: Path, market_url: str) -> None:
    assert call("fetch", "NASDAQ:AAPL", "--bars", "5", "--out", "a.csv", url=market_url, cwd=tmp_path).returncode == 0
    added = ("NYSE:JNJ", "NASDAQ:NOPE", "--bars", "3")
    done = call("fetch", *added, "--update", "--out", "a.csv", url=market_url, cwd=tmp_path)
    assert done.returncode == 1 and told(done)[0].startswith("Error: NASDAQ:NOPE 1d: ")
    rows = rows_of((tmp_path / "a.csv").read_text(encoding="utf-8"))
    assert [row["symbol"] for row in rows] == ["NASDAQ:AAPL"] * 5 + ["NYSE:JNJ"] * 3


def test_a_file_that_cannot_be_read_is_not_touched(tmp_path: Path, market_url: str) -> None:
    (tmp_path / "a.csv").write_text("no bars\n", encoding="utf-8")
    done = call("fetch", "--update", "--out", "a.csv", url=market_url, cwd=tmp_path)
    told = "a.csv is damaged, or not as tv-etl fetch writes it, which --update takes: tv-etl import says what is wrong"
    assert (done.returncode, told in done.stderr) == (1, True)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "no bars\n"
