from dataclasses import replace

import pytest

from tv_etl.market_server.market.listing import denied_name, symbol_info, update_mode
from tv_etl.market_server.market.listings import listings, plain_listing
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


def test_the_extended_session_says_so() -> None:
    info = symbol_info(listings()["NASDAQ:AAPL"], "extended")
    assert (info["subsession_id"], info["session"]) == ("extended", "0400-2000")
    info = symbol_info(listings()["BINANCE:BTCUSDT"], "extended")
    assert (info["subsession_id"], info["session"], info["has_extended_hours"]) == ("regular", "24x7", False)


def test_a_plain_listing_trades_round_the_clock() -> None:
    info = symbol_info(plain_listing("BINANCE:XRPETH", 10**8, has_volume=False))
    assert (info["session"], info["timezone"], info["pricescale"]) == ("24x7", "Etc/UTC", 10**8)
    assert info["visible_plots_set"] == "ohlc"


def test_a_late_feed_and_a_denial_have_names() -> None:
    assert (update_mode(0), update_mode(900)) == ("streaming", "delayed_streaming_900")
    assert denied_name(listings()["ECONOMICS:USM2"]) == "economics_paid"


def test_names_of_other_scripts_stay_as_they_are() -> None:
    info = symbol_info(listings()["SET:PTT"])
    assert (info["local_description"], info["language"]) == ("บริษัท ปตท. จำกัด (มหาชน)", "th")
    assert symbol_info(listings()["EURONEXT:RÉMY"])["name"] == "RÉMY"
    assert symbol_info(listings()["XETR:MUV2"])["description"].startswith("Münchener")


def test_hours_before_and_after_the_session_are_described() -> None:
    info = symbol_info(listings()["NASDAQ:AAPL"])
    assert [each["id"] for each in info["subsessions"]] == ["premarket", "regular", "postmarket", "extended"]
    assert [each["id"] for each in symbol_info(listings()["XETR:SAP"])["subsessions"]] == ["regular"]


def test_special_sessions_are_those_tradingview_sends() -> None:
    (regular,) = symbol_info(listings()["NSE:M&M"])["subsessions"]
    assert regular["session-correction"] == (
        "0915-1530:20150228,20200201,20240120,20240302,20240518,20250201;0915-1700:20210224;1345-1445:20251021;"
        "1800-1900:20241101;1800-1945:20191027,20201114,20211104;1815-1945:20221024,20231112"
    )


@pytest.mark.parametrize(
    ("symbol", "session"),
    [
        ("HKEX:700", "0930-1200A0900E0920-1206U1300-1600E1300-1611"),
        ("SSE:600519", "0930-1130E0925-1131S1300-1500E1300-1501"),
        ("NSE:RELIANCE", "0915-1530#20260803/0915-1515"),
        ("ICEEUR:BRN1!", listings()["ICEEUR:BRN1!"].schedule.session),
    ],
)
def test_sessions_are_announced_as_tradingview_writes_them(symbol: str, session: str) -> None:
    info = symbol_info(listings()[symbol])
    (regular,) = info["subsessions"]
    assert info["session"] == regular["session"] == session


def test_corrections_have_versions_by_date() -> None:
    (regular,) = symbol_info(listings()["NSE:RELIANCE"])["subsessions"]
    assert "1800-1900#20260803/1800-1845:20241101,20261108;" in regular["session-correction"]


def test_a_delayed_feed_is_a_source_of_its_own() -> None:
    """Recorded: NASDAQ:NDX comes from NASDAQ_DLY:NDX, XETR:SAP has the base name XETR_DLY:SAP."""
    info = symbol_info(replace(listings()["NASDAQ:NDX"], delay_s=900))
    assert (info["pro_name"], info["full_name"]) == ("NASDAQ:NDX", "NASDAQ_DLY:NDX")
    assert info["base_name"] == info["legs"] == ["NASDAQ_DLY:NDX"]
    future = symbol_info(replace(listings()["NYMEX:CL1!"], delay_s=600))
    assert future["full_name"] == "NYMEX_DLY:CL1!"
