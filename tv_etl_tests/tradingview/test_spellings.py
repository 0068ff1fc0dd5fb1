"""Other people's spellings are read as what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview.spellings import Query, queries

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("AAPL", Query("AAPL")),
        (" apple  inc ", Query("APPLE INC")),
        ("nasdaq:aapl", Query("AAPL", "NASDAQ")),
        ("BTC-USD", Query("BTCUSD", type="crypto")),
        ("btc/usdt", Query("BTCUSDT", type="crypto")),
        ("BTC/USDT:USDT", Query("BTCUSDT.P", type="crypto")),
        ("EURUSD=X", Query("EURUSD", type="forex")),
        ("JPY=X", Query("USDJPY", type="forex")),
        ("^GSPC", Query("SPX", type="index")),
        ("^NDX", Query("NDX", type="index")),
        ("ES=F", Query("ES1!", type="futures")),
        ("6E=F", Query("6E1!", type="futures")),
        ("BRK-B", Query("BRK.B")),
        ("BAC-PL", Query("BAC/PL")),
        ("VOD.L", Query("VOD", "LSE")),
        ("SAP.DE", Query("SAP", "XETR")),
        ("0700.HK", Query("700", "HKEX")),
        ("005930.KS", Query("005930", "KRX")),
        ("VOLV-B.ST", Query("VOLV_B", "OMXSTO")),
        ("M&M", Query("M&M")),
    ],
)
def test_a_spelling_is_searched_for_as_what_it_means(text: str, first: Query) -> None:
    assert queries(text)[0] == first


def test_what_stands_there_is_searched_for_at_last() -> None:
    assert queries("BRK.B") == [Query("BRK.B")]  # B is no exchange's suffix
    assert queries("^VIX") == [Query("VIX", type="index"), Query("VIX"), Query("^VIX")]


@pytest.mark.parametrize("text", ["", "  ", ":", "-=/"])
def test_nothing_to_go_by_is_no_search(text: str) -> None:
    assert queries(text) == []


@given(st.text(max_size=40))
def test_any_text_can_be_read(text: str) -> None:
    assert all(query.text.strip() for query in queries(text))
