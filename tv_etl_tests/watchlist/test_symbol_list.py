"""Symbols in every form that people have them in; every mistake has its place."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.watchlist.symbol_list import read_symbol_list

pytestmark = pytest.mark.pure

TRADINGVIEW = (
    "###TECH & CO # 1,NASDAQ:AAPL,NASDAQ:MSFT,###CRYPTO,BINANCE:BTCUSDT,BINANCE:BTCUSDT.P,###,"
    "NASDAQ:AAPL/NASDAQ:MSFT,COMEX:GC1!,###MINE,NASDAQ:AAPL"
)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("NASDAQ:AAPL", "NASDAQ:AAPL"),
        ("# mine\nNASDAQ:AAPL # Apple, of course\n\n  COMEX:GC1!\r\nX:A#1\n", "NASDAQ:AAPL COMEX:GC1! X:A#1"),
        ("###A,NASDAQ:AAPL\nNASDAQ:MSFT", "NASDAQ:AAPL NASDAQ:MSFT"),
        ("NASDAQ:AAPL, ###B C, NASDAQ:MSFT,\n###D", "NASDAQ:AAPL NASDAQ:MSFT"),
        ("### what, I like\n#### too, ###\n# A:B\nC:D", "C:D"),
        ("A:B, C:D;E:F;\tG:H ; ###I;J,K:L", "A:B C:D E:F G:H K:L"),
        ('"A:B","C:D"', "A:B C:D"),
        ("A:B\nA:B,C:D,A:B\n", "A:B C:D"),
        ("(NASDAQ:AAPL+NASDAQ:MSFT)/2\n1/BINANCE:BTCUSDT", "(NASDAQ:AAPL+NASDAQ:MSFT)/2 1/BINANCE:BTCUSDT"),
        ("\ufeffKRX:삼성전자\nEURONEXT:RÉMY", "KRX:삼성전자 EURONEXT:RÉMY"),
        ('\ufeffname,symbol\n"Apple, Inc.",NASDAQ:AAPL\nnone,\nJ&J,NYSE:JNJ\n', "NASDAQ:AAPL NYSE:JNJ"),
        ("Ticker;Name;Exchange\nAAPL;Apple;NASDAQ\n;;\n\n700;Tencent;HKEX\n", "NASDAQ:AAPL HKEX:700"),
        ("No.\tSymbol\tExchange\n1\tAAPL\tNASDAQ\n2\tNYSE:JNJ\t\n", "NASDAQ:AAPL NYSE:JNJ"),
        ('# of today\nSYMBOL,"Text"\nA:B,"6"" of it, at least"\n# A:X,\nC:D,6" more\n', "A:B C:D"),
        ("symbol\nA:B\n", "A:B"),
        ("Exchange,Symbol\nNASDAQ,AAPL", "NASDAQ:AAPL"),
        ("Ticker,Symbol\nAAPL,NASDAQ:AAPL", "NASDAQ:AAPL"),
    ],
)
def test_every_form_is_read(text: str, symbols: str) -> None:
    found = read_symbol_list(text)
    assert (found.symbols, found.mistakes) == (symbols.split(), [])


def test_the_export_of_a_watchlist_is_read_whole() -> None:
    assert read_symbol_list(TRADINGVIEW).symbols == [
        "NASDAQ:AAPL", "NASDAQ:MSFT", "BINANCE:BTCUSDT", "BINANCE:BTCUSDT.P", "NASDAQ:AAPL/NASDAQ:MSFT", "COMEX:GC1!",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("", ["1:1 no symbols; write one per line, e.g. NASDAQ:AAPL"]),
        ("# none", ["1:1 no symbols"]),
        ("symbol,name\n,x\n", ["1:1 no symbols"]),
        ("A:B\n  aapl\n", ["2:3 symbol 'aapl': expected EXCHANGE:TICKER"]),
        ("AAPL,MSFT", ["1:1 symbol 'AAPL'", "1:6 symbol 'MSFT'"]),
        ("###A,A:B,  b # c, d\nE", ["1:12 symbol 'b'", "2:1 symbol 'E'"]),
        ("NASDAQ:AA PL", ["1:1 symbol 'NASDAQ:AA PL'"]),
        ("name,Ticker\nApple,AAPL\n", ["2:7 symbol 'AAPL'"]),
        ("Ticker;Exchange\nAAPL;Nasdaq\n", ["2:1 symbol 'Nasdaq:AAPL'"]),
        (
            "x,symbol\n1,A:B\n2\n3,c\n",
            ["3:1 the row has 1 column: expected 2, as the first line has", "4:3 symbol 'c'"],
        ),
        ('x,symbol\n"1,A:B\n', ['2:1 a " is not closed on its line']),
        (
            "code;name\nA:B;x\n",
            ["1:1 expected a column Symbol, or Ticker and Exchange; the columns are: code, name"],
        ),
    ],
)
def test_every_mistake_has_its_line_and_column(text: str, mistakes: list[str]) -> None:
    found = [f"{each.place.line}:{each.place.column} {each.text}" for each in read_symbol_list(text).mistakes]
    assert len(found) == len(mistakes)
    assert all(each.startswith(words) for each, words in zip(found, mistakes, strict=True)), found


SYMBOLS = st.from_regex(r"[A-Z]{1,4}:[A-Z0-9.!&]{1,6}", fullmatch=True).filter(lambda text: ".." not in text)


@given(st.lists(SYMBOLS, min_size=1, max_size=20), st.sampled_from(["\n", ",", ", ", ";", "\r\n", ",###S T,"]))
def test_what_was_written_is_read_in_its_order(symbols: list[str], separator: str) -> None:
    found = read_symbol_list(separator.join(symbols))
    assert (found.symbols, found.mistakes) == (list(dict.fromkeys(symbols)), [])


@given(st.text(alphabet='A:b,;\t" #\n', max_size=60))
def test_any_text_gives_symbols_or_mistakes(text: str) -> None:
    found = read_symbol_list(text)
    assert found.symbols or found.mistakes
    lines = text.splitlines() or [""]
    assert all(each.place.column <= len(lines[each.place.line - 1]) + 1 for each in found.mistakes)


@pytest.mark.parametrize("separator", [",", "\n", ";"])
def test_the_cost_grows_with_the_length_alone(separator: str) -> None:
    def cost_s(count: int) -> float:
        text = separator.join(f"NASDAQ:A{number}" for number in range(count))
        began = time.process_time()
        assert len(read_symbol_list(text).symbols) == count
        return time.process_time() - began

    assert cost_s(40_000) < 16 * max(min(cost_s(5_000) for _ in range(3)), 0.01)
