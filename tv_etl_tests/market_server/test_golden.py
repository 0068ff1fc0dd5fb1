"""Our messages beside the recordings: keys, JSON types, key order, order of messages, number format.

Each situation says to the server what the recorded client said, as far as that is known. What still differs is listed
in DIFFERENCES with its reason; anything else that differs fails, and so does an entry that no longer differs.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pytest

from tv_etl.market_server.accounts.plans import ANONYMOUS
from tv_etl.market_server.market.listings import listings
from tv_etl.tradingview.frames import PacketDecoder
from tv_etl_tests.market_server.talk import MarketWith, Talk
from tv_etl_tests.recordings import exact_recordings, recording

PAID = replace(ANONYMOUS, series_per_session=8, rt_update_period=0, has_custom_intervals=True)

# When the recordings were made, UTC seconds.
IN_2023, IN_DECEMBER_2025, IN_JUNE_2026, IN_AUGUST_2026 = 1_686_475_613, 1_766_031_047, 1_781_042_003, 1_787_292_487

# --- what differs, and why ------------------------------------------------------------------------------------


def _lines(recording: str, difference: str, names: str) -> set[str]:
    """One line per name."""
    return {f"{recording}: {difference.format(name)}" for name in names.split()}


DIFFERENCES: dict[str, set[str]] = {
    "a synthetic company publishes nothing": _lines(
        "har-20251218-qsd-snapshot",
        "missing p[1].v.{}",
        "beta_1_year business_description ceo dividends_availability dps_common_stock_prim_issue_fy"
        " earnings_availability earnings_per_share_basic_ttm earnings_per_share_fq earnings_release_date"
        " earnings_release_next_date financials_availability founded fund_view_mode fundamental_currency_code industry"
        " last_report_frequency market_cap_basic market_cap_calc price_earnings price_earnings_ttm rates_fy rates_mc"
        " rates_ttm recommendation_mark sector total_revenue total_shares_outstanding_calculated web_site_url",
    ),
    "what brokers and readers of the site do is not ours to say": _lines(
        "har-20251218-qsd-snapshot", "missing p[1].v.{}", "broker_names popularity"
    ),
    "names of pictures of the site; nothing offline answers to them": {
        f"{name}: missing p[1].v.logoid"
        for name in (
            "har-20251218-qsd-delayed-stock",
            "har-20251218-qsd-simple",
            "har-20251218-qsd-snapshot",
            "tvrs2023-22-qsd",
            "tvrs2023-24-qsd",
            "tvrs2023-30-qsd",
        )
    },
    "a whole number was due that day": {
        "har-20251218-qsd-snapshot: p[1].v.price_52_week_high is int, ours float",
    },
    "without set fields the live order is that of a hash; the order of sessions with fields is kept instead": {
        "har-20251218-qsd-snapshot: key order at p[1].v",
    },
    "volume was an int in 2023; we send the float of 2025 (har-20251218-qsd-simple)": {
        f"{name}: p[1].v.volume is int, ours float" for name in ("tvrs2023-24-qsd", "tvrs2023-30-qsd")
    },
    "the fields of 2023; we send those of 2025 and 2026": {
        "tvrs2023-20-symbol_resolved: missing p[2].resolutions",
        *_lines(
            "tvrs2023-20-symbol_resolved",
            "extra p[2].{}",
            "exchange_listed_name is-tickbars-available measure source2 source_id",
        ),
    },
    "in 2023 the first bar's mark weighed 10 and most weeks that began on a Tuesday 40; we do as har-20251218-*": {
        "tvrs2023-34-timescale_update: value of marks"
    },
    "the index's half days were not told in 2023": {
        "tvrs2023-20-symbol_resolved: extra p[2].subsessions[].session-correction"
    },
    "other names of this one instrument": {
        f"{name}: missing p[2].aliases[]" for name in ("har-20251218-symbol_resolved", "tvrs2023-20-symbol_resolved")
    },
    "night trading, which the synthetic exchange does not have": _lines(
        "mktcli-20260821-history-ok",
        "missing p[2].{}",
        "exchange_traded_night exchange_traded_night_name night_symbol",
    ),
    "isin-displayed stands elsewhere in mktcli-20260821-history-ok, whose order is kept": {
        "har-20251218-symbol_resolved: key order at p[2]"
    },
    "a spot coin has them (hm-symbol_resolved-BTCUSD), the recorded swap has not": _lines(
        "genesis-20260609-symbol_resolved", "extra p[2].{}", "format formatter"
    ),
}

# --- shapes ---------------------------------------------------------------------------------------------------

# Lists whose items each have a meaning of their own; of others, all items are of one kind.
_POSITIONAL = re.compile(r"(^|\.)(p|v|marks\[\]|index_diff\[\])$")
# Objects whose keys are ids that the client chose.
_KEYED_BY_ID = ("p[1]", "p[2].last_session_switches")
_ID = re.compile(r"(sds_\w+|st_?\d+|\w{6})")

Shape = dict[str, set[str]]


class Number(str):
    """A number as its text: an int, a float or the wire's "no value"."""

    @property
    def kind(self) -> str:
        if self == "1e+100":
            return "no value"
        return "int" if re.fullmatch(r"-?\d+", self) else "float"


def parsed(payload: str) -> Any:
    """A message with its numbers as text."""
    return json.loads(payload, parse_float=Number, parse_int=Number)


def _name(path: str, key: str) -> str:
    name = "<id>" if path in _KEYED_BY_ID and _ID.fullmatch(key) else key
    return f"{path}.{name}" if path else name


def _places(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything in a value."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, _name(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, path + (f"[{index}]" if _POSITIONAL.search(path) else "[]"))


def _kind(value: Any) -> str:
    if isinstance(value, Number):
        return value.kind
    return {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}[type(value)]


def shape_of(payloads: list[str]) -> Shape:
    """The kinds of value at each place of some messages."""
    found: Shape = {}
    for payload in payloads:
        for path, value in _places(parsed(payload)):
            found.setdefault(path, set()).add(_kind(value))
    return found


def key_orders(payload: str) -> dict[str, list[str]]:
    """The keys of each object of a message, in order."""
    return {path: list(value) for path, value in _places(parsed(payload)) if isinstance(value, dict)}


def differences(theirs: list[str], ours: list[str], *, has_order: bool = True) -> Iterator[str]:
    """What differs in keys, kinds and key order; below a difference nothing more is told."""
    if not ours:
        yield "we send none"
        return
    live, mine = shape_of(theirs), shape_of(ours)
    for path in sorted({*live, *mine}):
        parent = re.sub(r"(\.[^.\[]+|\[\d*\])$", "", path)
        is_below = bool(parent) and (parent not in live or parent not in mine)
        if path not in mine and not is_below:
            yield f"missing {path}"
        elif path not in live and not is_below:
            yield f"extra {path}"
        elif path in mine and path in live and not mine[path] <= live[path]:
            yield f"{path} is {'/'.join(sorted(live[path]))}, ours {'/'.join(sorted(mine[path]))}"
    if has_order:
        live_orders, my_orders = key_orders(theirs[0]), key_orders(ours[0])
        for path in sorted(live_orders.keys() & my_orders.keys()):
            live_keys = [key for key in live_orders[path] if key in my_orders[path]]
            if live_keys != [key for key in my_orders[path] if key in live_orders[path]]:
                yield f"key order at {path or 'top'}"


# --- recordings and talks -------------------------------------------------------------------------------------


def recorded(name: str) -> tuple[list[str], bool]:
    """The messages of a recording, and whether their text is the live server's own."""
    content = recording(name)
    if content.get("framing_exact") is True:
        decoder = PacketDecoder()
        return [payload for frame in content["frames"] for payload in decoder.feed(frame)], True
    frames = content["frames"]
    texts = [frame if isinstance(frame, str) else json.dumps(frame) for frame in frames]
    payloads = [payload for text in texts for payload in re.split(r"~m~\d+~m~", text) if payload]
    return payloads, all(isinstance(frame, str) for frame in frames)


def method_of(payload: str) -> str:
    """The method of a message; the hello has none."""
    return str(json.loads(payload).get("m", "hello")) if payload.startswith("{") else "heartbeat"


def of(payloads: list[str], method: str) -> list[str]:
    return [payload for payload in payloads if method_of(payload) == method]


def said(talk: Talk, *commands: tuple[Any, ...]) -> list[str]:
    """The texts that answer some commands."""
    known = len(talk.payloads)
    talk.say(*commands)
    return talk.payloads[known:]


def chart(talk: Talk, symbol: str, interval: str, count: Any, *frame: str, session: str = "cs_1") -> list[str]:
    known = len(talk.payloads)
    talk.open_chart(symbol, interval, count, *frame, session=session)
    return talk.payloads[known:]


def quotes(talk: Talk, symbol: str, *fields: str) -> list[str]:
    commands: list[tuple[Any, ...]] = [("quote_create_session", "qs_1")]
    commands += [("quote_set_fields", "qs_1", *fields)] if fields else []
    return said(talk, *commands, ("quote_add_symbols", "qs_1", symbol))


def quote_like(name: str, talk: Talk, symbol: str) -> list[str]:
    """The qsd that answer a subscription to the fields that a recording has."""
    payloads, _ = recorded(name)
    fields = {key for payload in of(payloads, "qsd") for key in json.loads(payload)["p"][1]["v"]}
    return of(quotes(talk, symbol, *sorted(fields)), "qsd")


# Loads of as many bars of the same calendar up to the same moment: their times can be compared.
SAME_BARS = (
    "mktcli-20260821-history-ok", "genesis-20260609-timescale_update", "tvrs2023-34-timescale_update",
)  # fmt: skip

Situation = Iterator[tuple[str, list[str]]]


# --- situations: (recording, our messages) --------------------------------------------------------------------


def days_of_a_stock() -> Situation:
    talk = Talk(now=IN_AUGUST_2026)
    talk.wait(0.0)
    hello = list(talk.payloads)
    yield "har-20251218-frame00-hello", hello
    ours = hello + chart(talk, "NASDAQ:AAPL", "1D", 5)
    yield "mktcli-20260821-history-ok", ours


def quarter_hours_of_a_coin() -> Situation:
    talk = Talk(plan=PAID, now=IN_JUNE_2026)
    ours = chart(talk, "BINANCE:BTCUSDT", "15", 300)
    for method in ("series_loading", "symbol_resolved", "timescale_update", "series_completed"):
        yield f"genesis-20260609-{method}", of(ours, method)
    yield "hm-symbol_resolved-BTCUSD", of(chart(talk, "BITSTAMP:BTCUSD", "1D", 2, session="cs_2"), "symbol_resolved")
    ours = said(talk, ("create_study", "cs_1", "st_1", "st1", "sds_1", "Volume@tv-basicstudies-246", {"length": 20}))
    for method in ("study_loading", "study_completed"):
        yield f"genesis-20260609-{method}", of(ours, method)
    yield "har-20251218-study_deleted", said(talk, ("remove_study", "cs_1", "st_1"))


def the_site_opens_an_indian_stock() -> Situation:
    talk = Talk(plan=PAID, now=IN_DECEMBER_2025)
    said(talk, ("chart_create_session", "cs_1", ""), ("switch_timezone", "cs_1", "Asia/Kolkata"))
    ours = said(
        talk,
        ("resolve_symbol", "cs_1", "sym_1", '={"adjustment":"dividends","currency-id":"INR","symbol":"NSE:M&M"}'),
        ("create_series", "cs_1", "sds_2", "s1", "sym_1", "188", 300, ""),
    )
    yield "har-20251218-symbol_resolved", of(ours, "symbol_resolved")
    yield "har-20251218-series_loading", of(ours, "series_loading")
    yield "har-20251218-timescale_update-188-initial", of(ours, "timescale_update")
    yield "har-20251218-series_completed", of(ours, "series_completed")
    marks = said(talk, ("request_more_tickmarks", "cs_1", "sds_2", 10))
    yield "har-20251218-timescale_update-future-tickmarks", marks
    said(talk, ("create_study", "cs_1", "st1", "st1", "sds_2", "Dividends@tv-basicstudies-262", {}))
    more = said(talk, ("request_more_data", "cs_1", "sds_2", 232))
    yield "har-20251218-timescale_update-188-more", of(more, "timescale_update")
    frame = said(talk, ("modify_series", "cs_1", "sds_2", "s1", "sym_1", "188", "r,1732838400:1766016000"))
    yield "har-20251218-frame63-modify_series-range-batch", frame


def an_index_in_time_frames() -> Situation:
    late = replace(listings()["NASDAQ:NDX"], delay_s=900)
    talk = Talk(MarketWith(late), now=IN_2023)
    ours = chart(talk, "SP:SPX", "1D", 368, "12M")
    yield "tvrs2023-20-symbol_resolved", of(ours, "symbol_resolved")
    yield "tvrs2023-34-timescale_update", of(ours, "timescale_update")
    yield "tvrs2023-32-series_timeframe", of(ours, "series_timeframe")[:1]
    yield "tvrs2023-35-series_timeframe", of(ours, "series_timeframe")[1:]
    ours = chart(talk, "NASDAQ:NDX", "1", 2_637, "LASTSESSION", session="cs_2")
    yield "tvrs2023-05-series_timeframe", of(ours, "series_timeframe")[1:]
    yield "tvrs2023-06-series_completed", of(ours, "series_completed")
    yield (
        "hm-timescale_update-2-daily-novolume",
        of(chart(talk, "FX_IDC:EURUSD", "1D", 2, session="cs_3"), "timescale_update"),
    )


def a_bar_forms() -> Situation:
    talk = Talk(now=IN_JUNE_2026)
    chart(talk, "BINANCE:BTCUSDT", "1", 10)
    known = len(talk.payloads)
    talk.wait(1.0, market_seconds=5)
    yield "mnwato-du-BTCUSDT", talk.payloads[known:]


def quotes_of_fields() -> Situation:
    late = replace(listings()["NASDAQ:NDX"], delay_s=900)
    yield "har-20251218-qsd-simple", quote_like("har-20251218-qsd-simple", Talk(now=IN_DECEMBER_2025), "NSE:M&M")
    yield "tvrs2023-22-qsd", quote_like("tvrs2023-22-qsd", Talk(MarketWith(late), now=IN_2023), "NASDAQ:NDX")
    for name, symbol in {
        "tvrs2023-24-qsd": "SP:SPX", "tvrs2023-26-qsd": "BITSTAMP:BTCUSD", "tvrs2023-30-qsd": "NASDAQ:TSLA",
    }.items():  # fmt: skip
        yield name, quote_like(name, Talk(now=IN_2023), symbol)
    late = replace(listings()["NSE:M&M"], symbol="XETR:SAP", delay_s=900)
    name = "har-20251218-qsd-delayed-stock"
    yield name, quote_like(name, Talk(MarketWith(late), now=IN_DECEMBER_2025), "XETR:SAP")
    talk = Talk(now=IN_JUNE_2026)
    ours = quotes(talk, "BINANCE:BTCUSDT", "lp", "lp_time", "ch", "chp", "volume")
    yield "har-20251218-quote_completed", of(ours, "quote_completed")
    known = len(talk.payloads)
    talk.wait(1.0, market_seconds=5)
    yield "mnwato-qsd-BTCUSDT", talk.payloads[known:]
    talk = Talk(now=IN_JUNE_2026)
    quotes(talk, "BINANCE:BTCUSDT", "lp", "description", "update_mode")
    known = len(talk.payloads)
    talk.wait(1.0, market_seconds=5)
    yield "har-20251218-qsd-delta-lp-index", talk.payloads[known:]


def quotes_of_everything() -> Situation:
    ours = quotes(Talk(now=IN_DECEMBER_2025), "NSE:M&M")
    names = ("metrics_loaded", "trade_loaded", "snapshot")
    for name, payload in zip(names, of(ours, "qsd")[:3], strict=True):
        yield f"har-20251218-qsd-{name}", [payload]


def refusals() -> Situation:
    denied = replace(listings()["NASDAQ:AAPL"], symbol="ECONOMICS:USM2", denial="group")
    talk = Talk(MarketWith(denied), now=IN_AUGUST_2026)
    for name, symbol, interval in (
        ("custom", "NASDAQ:AAPL", "7"), ("seconds", "NASDAQ:AAPL", "10S"), ("resolve", "NASDAQ:NOSUCH", "1D"),
    ):  # fmt: skip
        ours = chart(talk, symbol, interval, 10, session=f"cs_{name}")
        yield f"tvkit-series_error-{name}", of(ours, "series_error")
    yield "tvkit-symbol_error-invalid", of(ours, "symbol_error")
    yield "tvkit-study_error", said(talk, ("create_study", "cs_resolve", "st1", "st1", "sds_1", "Volume@tv-x-1", {}))
    ours = chart(talk, "ECONOMICS:USM2", "1D", 10, session="cs_denied")
    yield "tvkit-symbol_error-permission", of(ours, "symbol_error")
    yield "tvkit-qsd-permission_denied", of(quotes(talk, "ECONOMICS:USM2"), "qsd")
    said(talk, ("chart_create_session", "cs_1", ""), ("resolve_symbol", "cs_1", "sds_sym_1", "NASDAQ:AAPL"))
    ours = said(talk, ("create_series", "cs_1", "sds_1", "s1", "sds_sym_1", "s1", 1, ""))
    yield "hm-critical_error-invalid-parameters", ours
    ours = said(talk, ("quote_add_symbols", "qs_1", "NASDAQ:AAPL", {"flags": ["force_permission"]}))
    yield "kotlin2024-critical_error-quote-flags", ours
    chart(talk, "BINANCE:BTCUSDT", "1", 5_000, session="cs_limit")
    ours = said(talk, ("request_more_data", "cs_limit", "sds_1", 1_000))
    yield "hm-series_completed-limit", of(ours, "series_completed")
    yield "hm-protocol_error-bad-auth", said(talk, ("set_auth_token", "nonsense"))


SITUATIONS: list[Callable[[], Situation]] = [
    days_of_a_stock, quarter_hours_of_a_coin, the_site_opens_an_indian_stock, an_index_in_time_frames, a_bar_forms,
    quotes_of_fields, quotes_of_everything, refusals,
]  # fmt: skip


# --- tests ----------------------------------------------------------------------------------------------------


@cache
def _pairs() -> list[tuple[str, list[str], list[str], bool]]:
    """(recording, their messages, ours, whether the recording has the live order of keys)."""
    pairs = [(name, ours, *recorded(name)) for situation in SITUATIONS for name, ours in situation()]
    return [(name, theirs, ours, has_order) for name, ours, theirs, has_order in pairs]


def _found() -> Iterator[str]:
    for name, theirs, ours, has_order in _pairs():
        live_methods, my_methods = ([method_of(payload) for payload in payloads] for payloads in (theirs, ours))
        if live_methods != my_methods:
            yield f"{name}: the messages are {', '.join(live_methods)}; ours {', '.join(my_methods)}"
        for method in dict.fromkeys(live_methods):
            for difference in differences(of(theirs, method), of(ours, method), has_order=has_order):
                yield f"{name}: {difference}"
        if name in SAME_BARS:
            live, mine = (of(payloads, "timescale_update")[0] for payloads in (theirs, ours))
            for difference in _time_differences(live, mine):
                yield f"{name}: {difference}"


def _time_differences(theirs: str, ours: str) -> Iterator[str]:
    """What differs in the times, the marks and the scale of two loads of the same bars."""
    live, mine = (json.loads(payload)["p"] for payload in (theirs, ours))
    for key in ("index", "zoffset", "changes", "marks", "index_diff"):
        if live[2][key] != mine[2][key]:
            yield f"value of {key}"
    live_series, my_series = (next(iter(p[1].values())) for p in (live, mine))
    if [point["v"][0] for point in live_series["s"]] != [point["v"][0] for point in my_series["s"]]:
        yield "times of bars"
    if live_series["lbs"] != my_series["lbs"]:
        yield "value of lbs"


def test_only_the_listed_differences_are_left() -> None:
    found, listed = set(_found()), {line for lines in DIFFERENCES.values() for line in lines}
    assert sorted(found - listed) == [], "not listed"
    assert sorted(listed - found) == [], "listed, but no longer so"


@pytest.mark.parametrize(
    ("name", "index"),
    [("hm-critical_error-invalid-parameters", 1), ("kotlin2024-critical_error-quote-flags", 1),
     ("hm-protocol_error-bad-auth", 0), ("tvkit-symbol_error-invalid", 2), ("tvkit-symbol_error-permission", 2),
     ("tvrs2023-06-series_completed", 2), ("har-20251218-qsd-metrics_loaded", 2)],
)  # fmt: skip
def test_words_are_the_recorded_ones(name: str, index: int) -> None:
    (pair,) = [pair for pair in _pairs() if pair[0] == name]
    live, mine = (json.loads(payloads[0])["p"][index:] for payloads in pair[1:3])
    assert mine == live


@pytest.mark.parametrize("name", ["custom", "seconds", "resolve"])
def test_reasons_are_the_recorded_ones(name: str) -> None:
    (pair,) = [pair for pair in _pairs() if pair[0] == f"tvkit-series_error-{name}"]
    live, mine = (json.loads(payloads[0])["p"] for payloads in pair[1:3])
    assert mine[3] == live[3]
    assert (mine[4] == "undefined") == (live[4] == "undefined")


def test_every_recorded_number_is_printed_as_the_live_server_does() -> None:
    texts: set[str] = set()
    for name, frames in exact_recordings().items():
        if "2019" in name:  # twenty digits then
            continue
        payloads = [payload for frame in frames for payload in PacketDecoder().feed(frame)]
        for payload in payloads:
            if payload.startswith("{"):
                json.loads(payload, parse_float=texts.add)
    assert len(texts) > 2_000
    assert {text for text in texts if msgspec.json.encode(float(text)).decode() != text} <= {"1e+100"}
