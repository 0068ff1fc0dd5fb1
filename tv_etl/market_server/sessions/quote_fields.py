"""What a quote says about an instrument, by field. Pure.

Names and JSON types are those of the recordings of 2025-12-18 (har-20251218-qsd-*); days are stamped with their date's
00:00 UTC, unlike bars.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tv_etl.market_server.market.listings import Listing, symbol_info, update_mode
from tv_etl.market_server.market.market import BarSource, Floats, quote_interval
from tv_etl.market_server.market.sessions import DAY_S, calendar_of
from tv_etl.market_server.sessions.ranges import BEGINNING
from tv_etl.market_server.sessions.series import first_bar_time
from tv_etl.market_server.sessions.world import AnyMarket
from tv_etl.tradingview.intervals import Interval

BOOK = frozenset({"trade_loaded", "bid", "bid_size", "ask", "ask_size"})
HISTORY = frozenset({
    "all_time_high", "all_time_high_day", "all_time_low", "all_time_low_day", "average_volume", "price_52_week_high",
    "price_percent_change_52_week", "first_bar_time_1s", "first_bar_time_1m", "first_bar_time_1d",
})  # fmt: skip

_NO_VALUE = msgspec.Raw(b"1e+100")
_DAY = Interval(1, "d")
_FIRST_BARS = {"first_bar_time_1s": Interval(1, "s"), "first_bar_time_1m": Interval(1, "m")}
_YEAR_DAYS, _AVERAGED_DAYS = 365, 10
_COPIED = ("description", "pro_name", "type", "typespecs", "pricescale", "minmov", "minmove2", "fractional",
           "listed_exchange", "exchange", "currency_code", "currency_id", "base_currency_id", "is_tradable", "language",
           "local_description", "timezone", "session_holidays", "subsessions", "subsession_id", "source2",
           "provider_id", "pro_perm", "short_description", "variable_tick_size", "measure", "base_name",
           "allowed_adjustment", "source_id", "isin", "isin-displayed", "figi", "format", "data_frequency")  # fmt: skip
# The same once more under the names that the data feeds use, as the last delta of a first state has them.
_FEED_NAMES = {
    "symbol": "name", "symbol-fullname": "full_name", "symbol-proname": "pro_name",
    "exchange-listed": "listed_exchange", "exchange-listed-symbol": "name", "exchange-traded": "source_id",
    "exchange_listed_name": "exchange_listed_name", "currency": "currency_code", "currency-id": "currency_id",
    "minmovement": "minmov", "minmovement2": "minmove2", "allowed-adjustment": "allowed_adjustment",
    "session-regular": "session", "session-display": "session_display", "session-holidays": "session_holidays",
    "short-description": "short_description", "source-id": "source_id", "provider-id": "provider_id",
    "pro-perm": "pro_perm", "subsession-id": "subsession_id", "variable-tick-size": "variable_tick_size",
    "has-intraday": "has_intraday", "has-adjustment": "has_adjustment", "is-tradable": "is_tradable",
    "is-replayable": "is_replayable", "is-tickbars-available": "is-tickbars-available",
}  # fmt: skip


def newest_rows(market: AnyMarket, sources: Sequence[BarSource], now: float) -> list[Floats]:
    """The newest two bars of each source that its feed shows; what the market lists is drawn all at once."""
    listed = [place for place, each in enumerate(sources) if market.listing(each.listing.symbol) is each.listing]
    days = dict(zip(listed, market.newest_days([sources[place].listing for place in listed], now), strict=True))
    found = []
    for place, source in enumerate(sources):
        if place in days:
            rows = days[place][~np.isnan(days[place][:, 0]), : 6 if source.has_volume else 5]
        else:
            rows = source.bars(quote_interval(source), now - source.listing.delay_s, count=2).rows
        found.append(rows)
    return found


def moving_values(source: BarSource, rows: Floats, now: float) -> dict[str, Any]:
    """The fields that follow the market, of the newest two bars that the feed shows."""
    listing, calendar = source.listing, source.calendar
    known = now - listing.delay_s
    interval = quote_interval(source)
    if not len(rows):
        return {"current_session": "out_of_session"}
    last = rows[-1].tolist()
    previous = float(rows[-2, 4]) if len(rows) > 1 else last[1]
    decimals = listing.decimals
    change = round(last[4] - previous, decimals)
    is_open = calendar.is_open(known)
    closes = [calendar.bar_close(interval, int(moment)) for moment in rows[:, 0]]
    # The last session that is over: while one runs it is the one before.
    over = [(close, float(row[4])) for close, row in zip(closes, rows, strict=True) if close <= known]
    return {
        "lp": last[4],
        "lp_time": int(known) if is_open and listing.figure is None else min(closes[-1], int(known)),
        "ch": change,
        "chp": round(100 * change / abs(previous), 2) if previous else None,
        "volume": last[5] if source.has_volume else _NO_VALUE,
        "open_price": last[1],
        "high_price": last[2],
        "low_price": last[3],
        "prev_close_price": previous,
        "open_time": _date_of(source, int(last[0])),
        "regular_close": over[-1][1] if over else None,
        "regular_close_time": over[-1][0] if over else None,
        "rtc": None,
        "rtc_time": None,
        "rch": None,
        "rchp": None,
        "current_session": _current_session(source, now),
        **_book(listing, last[4], decimals),
    }


def static_values(source: BarSource) -> dict[str, Any]:
    """The fields that describe the instrument."""
    listing = source.listing
    info = symbol_info(listing, has_volume=source.has_volume)
    pointvalue = info["pointvalue"]
    values = {key: info[key] for key in _COPIED if key in info} | {
        "short_name": info["name"],
        "original_name": info["full_name"],
        "update_mode": update_mode(listing.delay_s),
        "visible-plots-set": info["visible_plots_set"],
        "pointvalue": int(pointvalue) if pointvalue == int(pointvalue) else pointvalue,
        "hub_rt_loaded": True,
        "source-logoid": f"source/{info['source_id']}",
        "currency-logoid": _currency_logo(info["currency_id"]),
    }
    if listing.base_currency:
        values["base-currency-logoid"] = _currency_logo(info["base_currency_id"])
    if "country" in info:
        values["country_code"] = info["country"]
    if listing.kind == "stock":
        values |= {"symbol-primaryname": info["pro_name"], "days_to_maturity": None}
    return values


def history_values(source: BarSource, newest: Floats, now: float) -> dict[str, Any]:
    """The fields that need every daily bar, of which the `newest` are known."""
    values: dict[str, Any] = {}
    for name, interval in _FIRST_BARS.items():
        if source.supports(interval):
            values[name] = first_bar_time(source, interval, now - source.listing.delay_s)
    if not source.supports(_DAY) or not len(newest):
        return values
    # What is forming is not worked out again.
    closed = source.bars(_DAY, now - source.listing.delay_s, start=BEGINNING, before=int(newest[-1, 0])).rows
    rows = np.concatenate([closed, newest[-1:]])
    highest, lowest = int(np.argmax(rows[:, 2])), int(np.argmin(rows[:, 3]))
    year = rows[np.searchsorted(rows[:, 0], rows[-1, 0] - _YEAR_DAYS * DAY_S) :]
    values |= {
        "all_time_high": float(rows[highest, 2]),
        "all_time_high_day": _date_of(source, int(rows[highest, 0])),
        "all_time_low": float(rows[lowest, 3]),
        "all_time_low_day": _date_of(source, int(rows[lowest, 0])),
        "price_52_week_high": _shortest(float(year[:, 2].max())),
        "price_percent_change_52_week": float(100 * (rows[-1, 4] / year[0, 1] - 1)),
        "first_bar_time_1d": _date_of(source, int(rows[0, 0])),
    }
    if source.has_volume:
        values["average_volume"] = float(rows[-_AVERAGED_DAYS:, 5].mean())
    return values


def feed_values(source: BarSource) -> Mapping[str, Any]:
    """The last delta of a first state: whether there are fundamental data, and what feeds call things."""
    info = symbol_info(source.listing, has_volume=source.has_volume)
    values = {name: info[key] for name, key in _FEED_NAMES.items() if key in info}
    # A synthetic company publishes nothing.
    return values | {"has-no-volume": not source.has_volume, "has-dwm": True, "fundamental_data": False}


def _book(listing: Listing, price: float, decimals: int) -> dict[str, Any]:
    """The best bid and ask; nobody bids for an index, a figure or a sum."""
    if listing.kind in ("index", "economic", "expression"):
        return {"trade_loaded": True}
    tick = listing.minmov / listing.pricescale
    return {
        "trade_loaded": True,
        "bid": round(price - tick, decimals),
        "bid_size": 1.0,
        "ask": round(price + tick, decimals),
        "ask_size": 1.0,
    }


def _date_of(source: BarSource, moment: int) -> int:
    """00:00 UTC of the date of the trading day that a bar belongs to."""
    index = source.calendar.last_opened(moment)
    is_inside = index >= 0 and moment < source.calendar.closes[index]
    return int(source.calendar.days[index]) * DAY_S if is_inside else moment // DAY_S * DAY_S


def _currency_logo(currency_id: str) -> str:
    return f"crypto/{currency_id}" if currency_id.startswith("XTVC") else f"country/{currency_id[:2]}"


def _shortest(value: float) -> int | float:
    """A whole number is an int, as the live server prints it."""
    return int(value) if value.is_integer() else value


def _current_session(source: BarSource, now: float) -> str:
    if source.calendar.is_open(now):
        return "market"
    listing = source.listing
    if listing.extended is None or not calendar_of(listing.extended, listing.first_day_number).is_open(now):
        return "out_of_session"
    opened = source.calendar.last_opened(now)
    is_today = now - source.calendar.opens[opened] < DAY_S / 2
    return "post_market" if is_today else "pre_market"
