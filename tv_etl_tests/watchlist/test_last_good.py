"""What is kept of a watchlist gives the same watchlist again, whatever has become of its files."""

from pathlib import Path
from typing import Any

import pytest

from tv_etl.watchlist.last_good import LastGood
from tv_etl.watchlist.model import Watchlist, read_document, read_watchlist

TEXT = """\
groups:
- {name: listed, symbols: {file: symbols.txt}, intervals: [60, 1d], schedules: {60: 7 * * * *}}
- {name: found, symbols: {scanner: {market: crypto, limit: 5}, interval_s: 120}, intervals: [1d]}
alerts:
  rules:
  - {name: a, symbol: A:B, kind: above, level: {of: prev_close, pct: 3}, expires_at: 2030-01-01T00:00:00Z}
  targets: [{type: slack, url_env: HOOK}]
"""


def read(file: Path) -> tuple[Watchlist, Any]:
    document = read_document(file)
    return read_watchlist(Watchlist, document.content, file, document), document.content


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "symbols.txt").write_text("NASDAQ:AAPL\nXETR:ÄÖ\n", encoding="utf-8")
    path = tmp_path / "watchlist.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_it_needs_no_file_but_its_own(file: Path, tmp_path: Path) -> None:
    kept, (watchlist, content) = LastGood(tmp_path / "state", file), read(file)
    kept.keep(watchlist, content)
    for path in (file, file.with_name("symbols.txt")):
        path.unlink()
    assert LastGood(tmp_path / "state", file).load() == watchlist


def test_nothing_kept_is_nothing(file: Path, tmp_path: Path) -> None:
    assert LastGood(tmp_path, file).load() is None
    kept = LastGood(tmp_path, file)
    kept.keep(*read(file))
    kept.path.write_text("groups: 5", encoding="utf-8")
    assert kept.load() is None


def test_what_has_not_changed_is_not_written_again(file: Path, tmp_path: Path) -> None:
    kept = LastGood(tmp_path, file)
    kept.keep(*read(file))
    before = kept.path.stat().st_ino
    kept.keep(*read(file))
    assert kept.path.stat().st_ino == before
    file.write_text(TEXT.replace("A:B", "A:C"), encoding="utf-8")
    kept.keep(*read(file))
    watchlist = kept.load()
    assert watchlist is not None and watchlist.alerts.rules[0].symbol == "A:C"
    assert [path.name for path in kept.path.parent.iterdir()] == [kept.path.name]


def test_two_files_are_kept_apart_and_a_folder_in_the_way_is_told(file: Path, tmp_path: Path) -> None:
    assert LastGood(tmp_path, file).path != LastGood(tmp_path, file.with_name("other.yaml")).path
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="state"):
        LastGood(tmp_path / "state", file).keep(*read(file))
