"""Symbols are read from files; what is wrong is named with the file, its line and column."""

import subprocess
import sys
from pathlib import Path

import pytest

from tv_etl.watchlist.symbol_file import SymbolFileError, read_symbols
from tv_etl_tests.patience import HANG_S


def write(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_text_says_what_it_is_and_not_the_name(tmp_path: Path) -> None:
    assert read_symbols(write(tmp_path, "list.csv", "NASDAQ:AAPL\nCOMEX:GC1!\n")) == ["NASDAQ:AAPL", "COMEX:GC1!"]
    assert read_symbols(write(tmp_path, "table.txt", "\ufeffname,symbol\nApple,NASDAQ:AAPL\n")) == ["NASDAQ:AAPL"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_a_spreadsheet_saves_is_read(tmp_path: Path, encoding: str) -> None:
    text = "Ticker\tExchange\r\nRÉMY\tEURONEXT\r\n"
    assert read_symbols(write(tmp_path, "a.txt", text.encode(encoding))) == ["EURONEXT:RÉMY"]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (
            "aapl\nA:B\nC\n",
            [r"a\.txt:1:1: symbol 'aapl': expected EXCHANGE:TICKER.*", r"a\.txt:3:1: symbol 'C': expected .*"],
        ),
        ("# none\n", [r"a\.txt:1:1: no symbols"]),
        (b"A:B\n\xff", [r"a\.txt:2: not UTF-8 at byte 4; save it as UTF-8"]),
        (b"\xff\xfeA", [r"a\.txt:1: not UTF-16 at byte 2; save it as UTF-8"]),
    ],
)
def test_every_wrong_line_is_named(tmp_path: Path, text: str | bytes, mistakes: list[str]) -> None:
    with pytest.raises(SymbolFileError, match="\n.*".join(mistakes)) as caught:
        read_symbols(write(tmp_path, "a.txt", text))
    assert len(caught.value.mistakes) == len(mistakes)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SymbolFileError, match=r"nowhere\.txt: No such file"):
        read_symbols(tmp_path / "nowhere.txt")


def test_stdin_is_read_like_a_file() -> None:
    code = "from tv_etl.watchlist.symbol_file import read_stdin_symbols as read; print(read())"

    def read(content: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, timeout=HANG_S)

    assert read(b"###S,NASDAQ:AAPL\n").stdout == b"['NASDAQ:AAPL']\n"
    assert b"stdin:1:1: symbol 'x': expected" in read(b"x").stderr
