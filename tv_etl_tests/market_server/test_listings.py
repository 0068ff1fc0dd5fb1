from dataclasses import replace

import pytest

from tv_etl.market_server.listings import listings, plain_listing, symbol_info
from tv_etl.tradingview.symbols import check_symbol
from tv_etl_tests.market_server.samples import sample

# Keys of the recordings that say nothing of a synthetic instrument, and are documented as optional.
AAPL_ONLY = {"exchange_traded_night_name", "exchange_traded_night", "night_symbol"}
SPX_2023_ONLY = {"resolutions"}


def types(info: dict[str, object]) -> dict[str, type]:
    return {key: type(value) for key, value in info.items()}


@pytest.mark.parametrize(
    ("symbol", "recording", "index", "missing", "added"),
    [
        ("NASDAQ:AAPL", "mktcli-20260821-history-ok", 2, AAPL_ONLY, set()),
        ("BITSTAMP:BTCUSD", "hm-symbol_resolved-BTCUSD", 0, set(), set()),
        (
            "SP:SPX", "tvrs2023-20-symbol_resolved", 0, SPX_2023_ONLY,
            {"source2", "source_id", "measure", "is-tickbars-available", "exchange_listed_name"},
        ),
    ],
)  # fmt: skip
def test_symbol_info_has_the_recorded_keys_and_types(
    symbol: str, recording: str, index: int, missing: set[str], added: set[str]
) -> None:
    recorded = sample(recording, index)["p"][2]
    ours = symbol_info(listings()[symbol])
    assert set(recorded) - set(ours) == missing
    assert set(ours) - set(recorded) == added
    common = set(ours) & set(recorded)
    assert {key: types(ours)[key] for key in common} == {key: types(recorded)[key] for key in common}
    order = [key for key in recorded if key in common]
    assert [key for key in ours if key in common] == order


def test_symbol_info_of_apple_is_the_recorded_one_where_it_matters() -> None:
    recorded, ours = sample("mktcli-20260821-history-ok", 2)["p"][2], symbol_info(listings()["NASDAQ:AAPL"])
    for key in ("name", "full_name", "pro_name", "pricescale", "minmov", "session", "timezone", "type", "typespecs",
                "currency_code", "visible_plots_set", "isin", "source2", "has_extended_hours"):  # fmt: skip
        assert ours[key] == recorded[key], key
    hours = {each["id"]: each["session"] for each in recorded["subsessions"]}
    assert {each["id"]: each["session"] for each in ours["subsessions"]}.items() <= hours.items()


@pytest.mark.parametrize("symbol", sorted(listings()))
def test_every_listing_has_a_symbol_and_a_tick(symbol: str) -> None:
    info = symbol_info(listings()[check_symbol(symbol)])
    assert info["pro_name"] == symbol
    assert info["pricescale"] >= info["minmov"] >= 1 or symbol == "KRX:005930"


def test_the_promised_instruments_exist() -> None:
    promised = """NASDAQ:AAPL NASDAQ:GOOGL NASDAQ:MSFT NYSE:JNJ NASDAQ:TSLA AMEX:SPY BINANCE:BTCUSDT BINANCE:ETHUSDT
        BITSTAMP:BTCUSD FX:EURUSD FOREX:EURUSD FX_IDC:USDCAD OANDA:XAUUSD SP:SPX TVC:NDX NASDAQ:NDX COMEX:GC1!
        NYMEX:CL1! KRX:005930 NSE:M&M"""
    assert set(promised.split()) <= set(listings())
    assert symbol_info(listings()["KRX:005930"])["local_description"] == "삼성전자"


def test_the_extended_session_says_so() -> None:
    info = symbol_info(listings()["NASDAQ:AAPL"], "extended")
    assert (info["subsession_id"], info["session"]) == ("extended", "0400-2000")
    info = symbol_info(listings()["BINANCE:BTCUSDT"], "extended")
    assert (info["subsession_id"], info["session"], info["has_extended_hours"]) == ("regular", "24x7", False)


def test_a_plain_listing_trades_round_the_clock() -> None:
    info = symbol_info(plain_listing("BINANCE:XRPETH", 10**8, has_volume=False))
    assert (info["session"], info["timezone"], info["pricescale"]) == ("24x7", "Etc/UTC", 10**8)
    assert info["visible_plots_set"] == "ohlc"


def test_a_delayed_feed_is_a_source_of_its_own() -> None:
    """Recorded: NASDAQ:NDX comes from NASDAQ_DLY:NDX, XETR:SAP has the base name XETR_DLY:SAP."""
    info = symbol_info(replace(listings()["NASDAQ:NDX"], delay_s=900))
    assert (info["pro_name"], info["full_name"]) == ("NASDAQ:NDX", "NASDAQ_DLY:NDX")
    assert info["base_name"] == info["legs"] == ["NASDAQ_DLY:NDX"]
    future = symbol_info(replace(listings()["NYMEX:CL1!"], delay_s=600))
    assert future["full_name"] == "NYMEX_DLY:CL1!"
