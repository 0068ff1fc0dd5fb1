"""One instrument of the synthetic market, and how `symbol_resolved` describes it.

Keys, their order and their types are those of the recordings `symbol_resolved` of AAPL (2026-08-21),
BITSTAMP:BTCUSD (2026-06-07) and SP:SPX (2023-06-11).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from tv_etl.market_server.market.identifiers import cusip_of, figi_of
from tv_etl.market_server.market.sessions import Schedule

_LOCAL_KINDS = frozenset({"stock", "fund", "index"})  # those that have a country and a language
_FIGURES = frozenset({"index", "economic", "expression"})  # nobody can buy one
_MOST_DECIMALS = 12
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Source:
    """Where the data of an instrument comes from: the exchange as TradingView names it."""

    id: str
    name: str
    country: str = ""
    url: str = ""
    provider: str = "ice"


class Amendment(NamedTuple):
    """What was traded from `start` up to `end`, two whole minutes, counts at other prices and with another volume.

    With a `volume` of 0 it does not count at all.
    """

    start: datetime
    end: datetime
    price: float = 1.0
    volume: int = 1


class Figure(NamedTuple):
    """How an economic figure comes: a point for every week (`1W`) or month (`1M`), `lag_days` after that is over.

    Of the times that begin on the days `never` no point was published. One that `is_revised` has its final value only
    when the next point comes.
    """

    every: str
    lag_days: int
    never: tuple[date, ...] = ()
    is_revised: bool = False


@dataclass(frozen=True)
class Listing:
    """One instrument: what the wire says of it, and what its synthetic prices look like.

    `price` is the level in late 2026, `volatility` the typical daily change. `daily_volume` counts units of
    10**-`volume_decimals`; None where there is no volume. The slowest swing of the price lasts 2**`swing_octaves` days:
    a currency must not wander like a coin. `delay_s` is how late the feed is. `denial` says what denies the symbol to
    every account (`group` or `symbol`), "" if nothing does. `outside` are the hours before and after the regular
    session, if the extended one has any. Nothing is traded after `last_day`.

    The tick is `minmov` / `pricescale`. Prices that are `is_fractional` are shown in fractions: 112'01 of 32nds. With a
    `minmove2` these have parts of their own: 112'015 of 64ths with 2 is one 32nd and a half.

    `splits` are (ex-date, new shares for an old one), `dividends` are (ex-date, amount a share): from the ex-date on
    all earlier bars are adjusted; by splits only `splits_late` trading days later, as a data vendor does that hears of
    them late. In an instrument that `is_thin`, minutes without a trade have no bar. `former` are symbols that it had.

    A `figure` is not traded: it has points, and the server says how often (`data_frequency`).

    `formerly` is (moment, what the symbol stood for before it): from the moment on nothing is served of that any more.
    `amendments` say what is served otherwise than it was traded. Prices are drawn for the hours `drawn_hours` if these
    are not those of the schedule, which then opens earlier; and from the name `drawn_as` if that is not the symbol.
    """

    symbol: str
    description: str
    kind: str
    typespecs: tuple[str, ...]
    currency: str
    source: Source
    schedule: Schedule
    price: float
    volatility: float
    pricescale: int = 100
    minmov: int = 1
    minmove2: int = 0
    is_fractional: bool = False
    pointvalue: float = 1.0
    daily_volume: int | None = None
    volume_decimals: int = 0
    yearly_growth: float = 0.0
    swing_octaves: int = 12
    first_day: date = date(2000, 1, 3)
    last_day: date | None = None
    extended: Schedule | None = None
    outside: tuple[Schedule, ...] = ()
    local_description: str = ""
    base_currency: str = ""
    delay_s: int = 0
    denial: str = ""
    is_thin: bool = False
    former: tuple[str, ...] = ()
    figure: Figure | None = None
    splits: tuple[tuple[date, float], ...] = ()
    splits_late: int = 0
    dividends: tuple[tuple[date, float], ...] = ()
    formerly: "tuple[datetime, Listing] | None" = None
    amendments: tuple[Amendment, ...] = ()
    drawn_hours: Schedule | None = None
    drawn_as: str = ""
    language: str = "en"
    variable_tick_size: str = ""
    legs: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def ticker(self) -> str:
        """The symbol without its exchange; an expression's is all of it."""
        return self.symbol if self.kind == "expression" else self.symbol.partition(":")[2]

    @property
    def exchange(self) -> str:
        """The symbol's exchange; an expression has none."""
        return "" if self.kind == "expression" else self.symbol.partition(":")[0]

    @property
    def first_day_number(self) -> int:
        """The first trading day, in days since 1970-01-01."""
        return self.first_day.toordinal() - _EPOCH_ORDINAL

    @property
    def last_day_number(self) -> int | None:
        """The last trading day, in days since 1970-01-01; None while it is traded."""
        return None if self.last_day is None else self.last_day.toordinal() - _EPOCH_ORDINAL

    @property
    def decimals(self) -> int:
        """How many decimals a price takes: two for hundredths, six for 64ths."""
        return next((count for count in range(_MOST_DECIMALS) if 10**count % self.pricescale == 0), _MOST_DECIMALS)

    def schedule_of(self, session: str) -> Schedule:
        """The hours of the regular or the extended session; regular where there is no extended one."""
        return self.extended if session == "extended" and self.extended is not None else self.schedule


def denied_name(listing: Listing) -> str:
    """What an account would need to be let in: the name of a permission group, or the symbol."""
    return f"{listing.exchange.lower()}_paid" if listing.denial == "group" else listing.symbol


def update_mode(delay_s: int) -> str:
    """What the wire calls a feed with this delay."""
    return f"delayed_streaming_{delay_s}" if delay_s else "streaming"


def symbol_info(listing: Listing, session: str = "regular", *, has_volume: bool | None = None) -> dict[str, Any]:
    """The third parameter of `symbol_resolved`. `has_volume` overrides the listing, for replayed bars."""
    schedule = listing.schedule_of(session)
    with_volume = listing.daily_volume is not None if has_volume is None else has_volume
    subsession = "extended" if session == "extended" and listing.extended is not None else "regular"
    source_symbol = _source_symbol(listing)
    isin = listing.extras.get("isin")
    is_listed = listing.kind in ("stock", "fund")
    return _origin_fields(listing, schedule, subsession, with_volume) | {
        "name": listing.ticker,
        "full_name": source_symbol,
        "pro_name": listing.symbol,
        "base_name": [source_symbol if listing.delay_s else listing.symbol],
        "description": listing.description,
        "exchange": listing.source.name,
        "pricescale": listing.pricescale,
        "pointvalue": listing.pointvalue,
        "minmov": listing.minmov,
        "session": schedule.session,
        "session_display": schedule.session,
        "subsessions": _subsessions(listing),
        "type": listing.kind,
        "typespecs": list(listing.typespecs),
        "has_intraday": listing.figure is None,
        "fractional": listing.is_fractional,
        "listed_exchange": listing.exchange,
        "legs": list(listing.legs) or [source_symbol],
        "is_tradable": listing.kind not in _FIGURES and "discontinued" not in listing.typespecs,
        "minmove2": listing.minmove2,
        "timezone": schedule.time_zone,
        "aliases": [],
        "alternatives": [f"{listing.source.id}_DLY:{listing.ticker}"] if is_listed and not listing.delay_s else [],
        "is_replayable": True,
        "has_adjustment": is_listed,
        "has_extended_hours": listing.extended is not None,
        "bar_source": "trade",
        "bar_transform": "none",
        "bar_fillgaps": False,
        "visible_plots_set": "ohlcv" if with_volume else "ohlc",
        "is-tickbars-available": True,
        "exchange_listed_name": listing.exchange,
        **({"isin-displayed": isin, "figi": _figi(listing)} if isin else {}),
        **({"data_frequency": listing.figure.every} if listing.figure else {}),
        **listing.extras,
    }


def _origin_fields(listing: Listing, schedule: Schedule, subsession: str, has_volume: bool) -> dict[str, Any]:
    """The first half of `symbol_info`: where the data comes from, its money and its holidays."""
    source = listing.source
    info: dict[str, Any] = {
        "source2": {
            "country": source.country,
            "description": source.name,
            "exchange-type": "exchange",
            "id": source.id,
            "name": source.name,
            "url": source.url,
        },
        "currency_code": listing.currency,
        "source_id": source.id,
    }
    if schedule.holidays:
        info["session_holidays"] = ",".join(schedule.holidays)
    info |= {
        "subsession_id": subsession,
        "provider_id": source.provider,
    }
    if listing.base_currency:
        info |= {"base_currency_id": _currency_id(listing.base_currency), "base_currency": listing.base_currency}
    info["currency_id"] = _currency_id(listing.currency)
    if listing.kind == "spot":
        info |= {"format": "price", "formatter": "price"}
    if listing.kind in _LOCAL_KINDS:
        info["country"] = source.country
    info["pro_perm"] = ""
    if has_volume and listing.base_currency:
        info["volume_type"] = "base" if listing.volume_decimals else "tick"
    info |= {
        "measure": "price",
        "allowed_adjustment": "any" if listing.kind in ("stock", "fund") else "none",
        "short_description": listing.description,
        "variable_tick_size": listing.variable_tick_size,
    }
    if isin := listing.extras.get("isin"):
        info |= ({"cusip": cusip} if (cusip := cusip_of(isin)) else {}) | {"isin": isin}
    if listing.kind in _LOCAL_KINDS:
        info["language"] = listing.language
    if listing.local_description:
        info["local_description"] = listing.local_description
    return info


def _source_symbol(listing: Listing) -> str:
    """The symbol as the source of the data has it; a delayed feed is one of its own."""
    if listing.kind == "expression":
        return listing.symbol
    source_id = listing.source.id.removesuffix("_DLY")
    return f"{source_id}_DLY:{listing.ticker}" if listing.delay_s else f"{listing.source.id}:{listing.ticker}"


def _figi(listing: Listing) -> dict[str, str]:
    country, exchange = f"{listing.source.country}:{listing.ticker}", listing.symbol
    return {"country-composite": figi_of(country), "exchange-level": figi_of(exchange)}


def _currency_id(code: str) -> str:
    return f"XTVC{code}" if code in ("BTC", "ETH", "USDT", "XRP") else code


def _subsessions(listing: Listing) -> list[dict[str, Any]]:
    described = [("regular", "Regular Trading Hours", False, listing.schedule)]
    if listing.extended is not None:
        described = [
            *(("premarket", "Premarket", True, schedule) for schedule in listing.outside[:1]),
            *described,
            *(("postmarket", "Postmarket", True, schedule) for schedule in listing.outside[1:]),
            ("extended", "Extended Trading Hours", False, listing.extended),
        ]
    subsessions = []
    for name, description, is_private, schedule in described:
        subsession = {"description": description, "id": name, "private": is_private, "session": schedule.session}
        if schedule.corrections:
            subsession["session-correction"] = schedule.correction_text
        subsessions.append(subsession | {"session-display": schedule.session})
    return subsessions
