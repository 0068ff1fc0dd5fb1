"""Symbols are checked for form; specs carry the settings both ways."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.symbols import (
    SeriesSettings,
    check_symbol,
    decode_spec,
    encode_spec,
    is_symbol,
    told_malformed,
)

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "symbol",
    ["NASDAQ:AAPL", "COMEX:GC1!", "BINANCE:BTCUSDT.P", "NSE:M&M", "NYSE:BRK.B", "KRX:005930", "FX_IDC:USDCAD",
     "NASDAQ:AAPL/NYSE:JNJ", "BME:ÉÑ", "KRX:삼성전자", "CME_MINI:ESZ2026", "OPRA:AAPL261218C310.0", "NYSE:BAC/PL",
     "1/BINANCE:BTCUSDT", "(NASDAQ:AAPL+NASDAQ:MSFT)/2", "NASDAQ:AAPL-NASDAQ:MSFT", "NASDAQ:AAPL*2", "SP:SPX/1000",
     "0.5*NSE:M&M+0.5*COMEX:GC1!", "((2*DERIBIT:BTC-PERPETUAL)^2-BINANCE:BTCUSDT.P)/100"],
)  # fmt: skip
def test_real_symbols_pass_unchanged(symbol: str) -> None:
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAPL",
        ":AAPL",
        "NASDAQ:",
        "nasdaq:AAPL",
        "NASDAQ:AA PL",
        "A:B|C",
        "A:[B]",
        "A:B,C",
        'A:"B',
        "A:B\n",
        "A:A...B",
        "A:B\x85",
        "A:B\u202eC",
        "A:B\u200bC",
        "A:\ufeffB",
        "A:B\u2028",
        "A:B\ud800",
        "A:\ue000",
        "A:B\x9b",
        "1/",
        "1/2",
        "(A:B",
        "(A:B+C:D",
        "()/A:B",
        "+A:B",
        "(A:B)(C:D)",
        "1//A:B",
        "(nasdaq:AAPL)/2",
        "(A:B,C:D)",
        "1/A:B|C",
        "S+A:B",
        "(" * 5_000,
    ],
)
def test_a_malformed_symbol_is_named(text: str) -> None:
    with pytest.raises(SymbolError, match="EXCHANGE:TICKER") as error:
        check_symbol(text)
    assert error.value.symbol == text


def test_an_expression_with_blanks_is_shown_without_them() -> None:
    for text in ("NASDAQ:AAPL / NYSE:JNJ", "NASDAQ:AAPL/ NYSE:JNJ "):
        with pytest.raises(SymbolError, match=r"expected an expression without spaces: NASDAQ:AAPL/NYSE:JNJ$"):
            check_symbol(text)


def test_a_symbol_too_long_for_a_path_is_refused() -> None:
    with pytest.raises(SymbolError, match="200 bytes"):
        check_symbol("KRX:" + "삼" * 30)


@given(
    st.builds(
        SeriesSettings,
        st.sampled_from(["splits", "dividends"]),
        st.sampled_from(["regular", "extended"]),
        st.none() | st.sampled_from(["USD", "EUR"]),
        st.booleans(),
    )
)
def test_a_spec_carries_symbol_and_settings(settings: SeriesSettings) -> None:
    spec = decode_spec(encode_spec("NSE:M&M", settings))
    assert spec["symbol"] == "NSE:M&M"
    assert (spec["adjustment"], spec["session"]) == (settings.adjustment, settings.session)
    assert spec.get("currency-id") == settings.currency
    assert ("backadjustment" in spec) is settings.backadjustment


@pytest.mark.parametrize(
    ("field", "value", "choices"),
    [
        ("session", "Extended", "'regular' or 'extended'"),
        ("session", None, "'regular' or 'extended'"),
        ("adjustment", "dividend", "'splits' or 'dividends'"),
        ("adjustment", "none", "'splits' or 'dividends'"),
        ("backadjustment", "default", "False or True"),
        ("currency", "eur", "a code of ISO 4217 such as EUR"),
        ("currency", "XXX", "a code of ISO 4217 such as EUR"),
        ("currency", "", "a code of ISO 4217 such as EUR"),
        ("currency", 978, "a code of ISO 4217 such as EUR"),
    ],
)
def test_a_setting_that_there_is_not_is_refused_with_the_choices(field: str, value: object, choices: str) -> None:
    """The server takes it for another: its answer would be other data."""
    settings: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=re.escape(f"{field} {value!r}: expected {choices}")):
        SeriesSettings(**settings)


def test_a_plain_symbol_is_a_spec_too() -> None:
    assert decode_spec("NASDAQ:AAPL") == {"symbol": "NASDAQ:AAPL"}


def test_the_symbol_inside_a_chart_type_is_found() -> None:
    spec = '={"symbol":{"symbol":"NASDAQ:AAPL","adjustment":"splits"},"type":"BarSetRenko@tv-prostudies-40!"}'
    assert decode_spec(spec) == {"symbol": "NASDAQ:AAPL", "adjustment": "splits"}


DEEP = ["=" + opening * 200_000 for opening in ("[", '{"symbol":')]


@pytest.mark.parametrize(
    "text", ["={", "=[]", *DEEP, '={"adjustment":"splits"}', '={"symbol":7}'], ids=lambda text: text[:20]
)
def test_a_spec_without_symbol_is_refused(text: str) -> None:
    with pytest.raises(SymbolError):
        decode_spec(text)


@given(st.lists(st.text(max_size=20).filter(lambda text: not is_symbol(text)), max_size=3))
def test_a_message_tells_which_symbols_are_malformed(texts: list[str]) -> None:
    messages = []
    for text in texts:
        with pytest.raises(SymbolError) as caught:
            check_symbol(text)
        messages.append(f"list.txt:1: {caught.value}")
    message = "\n".join(messages)
    told = told_malformed(message)
    assert [symbol for symbol, _, _ in told] == texts
    assert all(message[start:end].startswith("expected EXCHANGE:TICKER") for _, start, end in told)
