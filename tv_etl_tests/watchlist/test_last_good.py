"""What is kept of a watchlist gives the same watchlist again, whatever has become of its files."""

from pathlib import Path
from typing import Any

import pytest

from tv_etl.watchlist.last_good import LastGood, with_symbols
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
    watchlist = read_watchlist(Watchlist, document.content, file, document)
    return watchlist, with_symbols(document.content, watchlist.groups)


def kept_of(directory: Path, file: Path) -> LastGood:
    return LastGood(directory, str(file))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "symbols.txt").write_text("NASDAQ:AAPL\nXETR:ÄÖ\n", encoding="utf-8")
    path = tmp_path / "watchlist.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_it_needs_no_file_but_its_own(file: Path, tmp_path: Path) -> None:
    watchlist, content = read(file)
    kept_of(tmp_path / "state", file).keep(content)
    for path in (file, file.with_name("symbols.txt")):
        path.unlink()
    assert Watchlist.model_validate(kept_of(tmp_path / "state", file).load()) == watchlist


def test_nothing_kept_is_nothing(file: Path, tmp_path: Path) -> None:
    kept = kept_of(tmp_path, file)
    assert kept.load() is None
    kept.keep(read(file)[1])
    kept.path.write_text("groups", encoding="utf-8")
    assert kept.load() is None


def test_a_template_is_kept_as_it_is_written(file: Path) -> None:
    groups = read(file)[0].groups
    whole: dict[str, Any] = {"lake": "{{ env.LAKE }}", "groups": "{{ env.GROUPS }}"}
    assert with_symbols(whole, groups) == whole
    part: list[Any] = [{"symbols": "{{ env.SYMBOLS }}", "intervals": ["1d"]}, "{{ env.GROUP }}"]
    assert with_symbols({"groups": part}, groups) == {"groups": part}


def test_what_has_not_changed_is_not_written_again(file: Path, tmp_path: Path) -> None:
    kept = kept_of(tmp_path, file)
    kept.keep(read(file)[1])
    before = kept.path.stat().st_ino
    kept.keep(read(file)[1])
    assert kept.path.stat().st_ino == before
    file.write_text(TEXT.replace("A:B", "A:C"), encoding="utf-8")
    kept.keep(read(file)[1])
    assert Watchlist.model_validate(kept.load()).alerts.rules[0].symbol == "A:C"
    assert [path.name for path in kept.path.parent.iterdir()] == [kept.path.name]


def test_two_files_are_kept_apart_and_a_folder_in_the_way_is_told(file: Path, tmp_path: Path) -> None:
    assert kept_of(tmp_path, file).path != kept_of(tmp_path, file.with_name("other.yaml")).path
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="state"):
        kept_of(tmp_path / "state", file).keep(read(file)[1])
