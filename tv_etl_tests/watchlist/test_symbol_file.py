"""Symbols are read from lists and tables; every wrong line is named."""

from pathlib import Path

import pytest

from tv_etl.watchlist.symbol_file import SymbolFileError, read_symbols


def write(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_list_has_one_symbol_per_line_and_comments(tmp_path: Path) -> None:
    path = write(tmp_path, "symbols.txt", "# mine\nNASDAQ:AAPL # Apple\n\n  COMEX:GC1!\r\nX:A#1\n")
    assert read_symbols(path) == ["NASDAQ:AAPL", "COMEX:GC1!", "X:A#1"]


def test_a_table_has_a_column_of_symbols(tmp_path: Path) -> None:
    path = write(tmp_path, "list.CSV", '\ufeffname,symbol\n"Apple, Inc.",NASDAQ:AAPL\nnone,\nJ&J,NYSE:JNJ\n')
    assert read_symbols(path) == ["NASDAQ:AAPL", "NYSE:JNJ"]


@pytest.mark.parametrize(
    ("name", "text", "mistakes"),
    [
        (
            "a.txt",
            "aapl\nA:B\nA:B\n",
            [r"a\.txt:1: .*'aapl'.* expected EXCHANGE:TICKER.*", r"a\.txt:3: A:B is already listed on line 2"],
        ),
        ("a.txt", "# none\n", [r"a\.txt: no symbols"]),
        ("a.txt", b"A:B\n\xff", [r"a\.txt: not UTF-8 at byte 4"]),
        ("a.csv", "ticker,name\nA:B,x\n", [r"a\.csv:1: expected a column named symbol; the columns are: ticker, name"]),
        ("a.csv", "", [r"a\.csv:1: .* the columns are: none"]),
        ("a.csv", "symbol\nA:B\nb\n", [r"a\.csv:3: .*'b'"]),
    ],
)
def test_every_wrong_line_is_named(tmp_path: Path, name: str, text: str | bytes, mistakes: list[str]) -> None:
    with pytest.raises(SymbolFileError, match="; .*".join(mistakes)) as caught:
        read_symbols(write(tmp_path, name, text))
    assert len(caught.value.mistakes) == len(mistakes)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SymbolFileError, match=r"nowhere\.txt: No such file"):
        read_symbols(tmp_path / "nowhere.txt")
