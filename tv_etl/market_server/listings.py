"""The instruments of the synthetic market, and how `symbol_resolved` describes them.

Add an instrument by adding a `Listing` to `_listings`. Keys, their order and their types are those of the
recordings `symbol_resolved` of AAPL (2026-08-21), BITSTAMP:BTCUSD (2026-06-07) and SP:SPX (2023-06-11).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from types import MappingProxyType
from typing import Any

from tv_etl.market_server import holidays
from tv_etl.market_server.identifiers import cusip_of, figi_of
from tv_etl.market_server.sessions import ROUND_THE_CLOCK, Schedule

_LOCAL_KINDS = frozenset({"stock", "fund", "index"})  # those that have a country and a language
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Source:
    """Where the data of an instrument comes from: the exchange as TradingView names it."""

    id: str
    name: str
    country: str = ""
    url: str = ""
    provider: str = "ice"


@dataclass(frozen=True)
class Listing:
    """One instrument: what the wire says of it, and what its synthetic prices look like.

    `price` is the level in late 2026, `volatility` the typical daily change. `daily_volume` counts units of
    10**-`volume_decimals`; None where there is no volume. `swing_days` is how long the slowest swing of the price
    lasts (2**n days): a currency must not wander like a coin. `delay_s` is how late the feed is. `denial` names what
    refuses the account the symbol (`group` or `symbol`), "" where nothing does.
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
    daily_volume: int | None = None
    volume_decimals: int = 0
    yearly_growth: float = 0.0
    swing_octaves: int = 12
    first_day: date = date(2000, 1, 3)
    extended: Schedule | None = None
    local_description: str = ""
    base_currency: str = ""
    delay_s: int = 0
    denial: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def ticker(self) -> str:
        """The symbol without its exchange."""
        return self.symbol.partition(":")[2]

    @property
    def exchange(self) -> str:
        """The symbol's exchange."""
        return self.symbol.partition(":")[0]

    @property
    def first_day_number(self) -> int:
        """The first trading day, in days since 1970-01-01."""
        return self.first_day.toordinal() - _EPOCH_ORDINAL

    def schedule_of(self, session: str) -> Schedule:
        """The hours of the regular or the extended session; regular where there is no extended one."""
        return self.extended if session == "extended" and self.extended is not None else self.schedule


def denied_name(listing: Listing) -> str:
    """What an account would need to be let in: the name of a permission group, or the symbol."""
    return f"{listing.exchange.lower()}_paid" if listing.denial == "group" else listing.symbol


def update_mode(delay_s: int) -> str:
    """How the wire calls a feed that is so late."""
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
        "pointvalue": 1.0,
        "minmov": listing.minmov,
        "session": schedule.session,
        "session_display": schedule.session,
        "subsessions": _subsessions(listing),
        "type": listing.kind,
        "typespecs": list(listing.typespecs),
        "has_intraday": True,
        "fractional": False,
        "listed_exchange": listing.exchange,
        "legs": [source_symbol],
        "is_tradable": listing.kind != "index",
        "minmove2": 0,
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
        "variable_tick_size": "",
    }
    if isin := listing.extras.get("isin"):
        info |= ({"cusip": cusip} if (cusip := cusip_of(isin)) else {}) | {"isin": isin}
    if listing.kind in _LOCAL_KINDS:
        info["language"] = "en"
    if listing.local_description:
        info["local_description"] = listing.local_description
    return info


def _source_symbol(listing: Listing) -> str:
    """The symbol as the source of the data has it; a delayed feed is one of its own."""
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
            ("premarket", "Premarket", True, _PRE_MARKET),
            *described,
            ("postmarket", "Postmarket", True, _POST_MARKET),
            ("extended", "Extended Trading Hours", False, listing.extended),
        ]
    subsessions = []
    for name, description, is_private, schedule in described:
        subsession = {"description": description, "id": name, "private": is_private, "session": schedule.session}
        if schedule.corrections:
            subsession["session-correction"] = schedule.correction_text
        subsessions.append(subsession | {"session-display": schedule.session})
    return subsessions


# --- trading hours --------------------------------------------------------------------------------------------

_NEW_YORK = "America/New_York"


def _us_equity(session: str, half_day: str) -> Schedule:
    corrections = {half_day: holidays.us_equity_half_days(), "dayoff": holidays.us_equity_days_off()}
    return Schedule(session, _NEW_YORK, holidays.us_equity_holidays(), MappingProxyType(corrections))


_US_EQUITY = _us_equity("0930-1600", "0930-1300")
_US_EXTENDED = _us_equity("0400-2000", "0400-1700")
_PRE_MARKET = Schedule("0400-0930", _NEW_YORK)
_POST_MARKET = _us_equity("1600-2000", "1300-1700")
_US_FUTURES = Schedule(
    "1800-1700",
    _NEW_YORK,
    holidays.us_futures_holidays(),
    MappingProxyType({"1800-1430": holidays.us_futures_half_days()}),
)
_CURRENCIES = Schedule("1700-1700", _NEW_YORK, holidays.currency_holidays())
_METALS = Schedule("1800-1700", _NEW_YORK, holidays.currency_holidays())
_CRYPTO = Schedule(ROUND_THE_CLOCK, "Etc/UTC")
_KOREA = Schedule("0900-1530", "Asia/Seoul", holidays.KOREA)
_INDIA = Schedule("0915-1530", "Asia/Kolkata", holidays.INDIA)

# --- instruments ----------------------------------------------------------------------------------------------

_CBOE = Source("BATS", "Cboe One", "US", "https://markets.cboe.com/us/equities/overview/")
_ARCA = Source("AMEX", "NYSE Arca", "US", "https://www.nyse.com")


def _us_stock(symbol: str, name: str, price: float, volume: int, isin: str, volatility: float = 0.016) -> Listing:
    return Listing(
        symbol, name, "stock", ("common",), "USD", _CBOE, _US_EQUITY, price, volatility,
        daily_volume=volume, yearly_growth=0.09, extended=_US_EXTENDED, local_description=name,
        extras=MappingProxyType({"isin": isin, "isin-displayed": isin}),
    )  # fmt: skip


def _coin(symbol: str, name: str, price: float, scale: int, volume: float, base: str, quote: str) -> Listing:
    exchange = symbol.partition(":")[0]
    country = {"BITSTAMP": "LU"}.get(exchange, "")
    url = f"https://www.{exchange.lower()}.{'net' if exchange == 'BITSTAMP' else 'com'}/"
    return Listing(
        symbol, name, "spot", ("crypto", "defi"), quote,
        Source(exchange, exchange.capitalize(), country, url, exchange.lower()),
        _CRYPTO, price, 0.028, pricescale=scale, daily_volume=int(volume * 10**5), volume_decimals=5,
        yearly_growth=0.35, first_day=date(2013, 1, 1), base_currency=base,
    )  # fmt: skip


def _currency_pair(symbol: str, name: str, price: float, ticks_a_day: int | None) -> Listing:
    exchange, _, ticker = symbol.partition(":")
    return Listing(
        symbol, name, "forex", (), ticker[3:], Source(exchange, exchange, provider=exchange.lower()),
        _CURRENCIES, price, 0.0045, pricescale=100_000, daily_volume=ticks_a_day, swing_octaves=8,
        base_currency=ticker[:3],
    )  # fmt: skip


def _index(symbol: str, name: str, price: float, session: str, volume: int | None) -> Listing:
    exchange = symbol.partition(":")[0]
    schedule = Schedule(session, _NEW_YORK, holidays.us_equity_holidays(), _US_EQUITY.corrections)
    return Listing(
        symbol, name, "index", ("main", "cfd"), "USD", Source(exchange, exchange, "US", provider="tvc"),
        schedule, price, 0.010, daily_volume=volume, yearly_growth=0.08,
    )  # fmt: skip


def _future(symbol: str, name: str, price: float, scale: int, volume: int) -> Listing:
    exchange = symbol.partition(":")[0]
    return Listing(
        symbol, name, "futures", ("continuous", "synthetic"), "USD",
        Source(f"{exchange}_DLY", exchange, "US", "https://www.cmegroup.com", "cme"),
        _US_FUTURES, price, 0.014, pricescale=scale, daily_volume=volume, yearly_growth=0.03, swing_octaves=10,
        extras=MappingProxyType({"root": symbol.partition(":")[2][:-2], "is_continuous": True}),
    )  # fmt: skip


def _listings() -> list[Listing]:
    return [
        _us_stock("NASDAQ:AAPL", "Apple Inc.", 310.0, 48_000_000, "US0378331005"),
        _us_stock("NASDAQ:GOOGL", "Alphabet Inc.", 290.0, 31_000_000, "US02079K3059"),
        _us_stock("NASDAQ:MSFT", "Microsoft Corporation", 520.0, 22_000_000, "US5949181045"),
        _us_stock("NASDAQ:TSLA", "Tesla, Inc.", 410.0, 85_000_000, "US88160R1014", 0.032),
        _us_stock("NYSE:JNJ", "Johnson & Johnson", 195.0, 7_500_000, "US4781601046", 0.010),
        Listing(
            "AMEX:SPY", "SPDR S&P 500 ETF Trust", "fund", ("etf",), "USD", _ARCA, _US_EQUITY, 690.0, 0.010,
            daily_volume=70_000_000, yearly_growth=0.08, extended=_US_EXTENDED,
        ),
        _coin("BINANCE:BTCUSDT", "Bitcoin / TetherUS", 98_000.0, 100, 21_000.0, "BTC", "USDT"),
        _coin("BINANCE:ETHUSDT", "Ethereum / TetherUS", 3_600.0, 100, 310_000.0, "ETH", "USDT"),
        _coin("BITSTAMP:BTCUSD", "Bitcoin / U.S. dollar", 98_000.0, 1, 1_900.0, "BTC", "USD"),
        _coin("COINBASE:ETHUSD", "Ethereum / U.S. dollar", 3_600.0, 100, 120_000.0, "ETH", "USD"),
        _currency_pair("FX:EURUSD", "Euro / U.S. Dollar", 1.13, 180_000),
        _currency_pair("FOREX:EURUSD", "Euro / U.S. Dollar", 1.13, None),
        _currency_pair("FX_IDC:USDCAD", "U.S. Dollar / Canadian Dollar", 1.37, None),
        _currency_pair("FX_IDC:EURUSD", "Euro / U.S. Dollar", 1.13, None),
        Listing(
            "OANDA:XAUUSD", "Gold Spot / U.S. Dollar", "commodity", ("cfd",), "USD",
            Source("OANDA", "OANDA", provider="oanda"), _METALS, 3_400.0, 0.009, pricescale=1_000, minmov=5,
            daily_volume=240_000, yearly_growth=0.05, swing_octaves=10,
        ),
        _index("SP:SPX", "S&P 500", 6_900.0, "0930-1600", 2_400_000_000),
        _index("TVC:NDX", "US 100 Index", 25_500.0, "0930-1615", None),
        _index("NASDAQ:NDX", "NASDAQ 100", 25_500.0, "0930-1615", None),
        _future("COMEX:GC1!", "Gold Futures", 3_400.0, 10, 190_000),
        _future("COMEX:SI1!", "Silver Futures", 42.0, 1_000, 80_000),
        _future("NYMEX:CL1!", "Light Crude Oil Futures", 68.0, 100, 320_000),
        Listing(
            "KRX:005930", "Samsung Electronics Co., Ltd.", "stock", ("common",), "KRW",
            Source("KRX", "KRX", "KR", "http://global.krx.co.kr", "ice"), _KOREA, 98_000.0, 0.015,
            pricescale=1, minmov=100, daily_volume=16_000_000, yearly_growth=0.06, local_description="삼성전자",
        ),
        Listing(
            "NSE:M&M", "Mahindra & Mahindra Ltd.", "stock", ("common",), "INR",
            Source("NSE", "NSE", "IN", "https://www.nseindia.com"), _INDIA, 3_500.0, 0.015,
            minmov=10, daily_volume=2_600_000, yearly_growth=0.1, extras=MappingProxyType({"isin": "INE101A01026"}),
        ),
    ]  # fmt: skip


@cache
def listings() -> Mapping[str, Listing]:
    """Every instrument by its symbol."""
    return MappingProxyType({listing.symbol: listing for listing in _listings()})


def plain_listing(symbol: str, pricescale: int = 100, *, has_volume: bool = True) -> Listing:
    """An instrument nobody described: traded round the clock, in UTC."""
    exchange, _, ticker = symbol.partition(":")
    return Listing(
        symbol, ticker, "spot", ("crypto",), "USD", Source(exchange, exchange, provider=exchange.lower()),
        _CRYPTO, 100.0, 0.02, pricescale=pricescale, daily_volume=10**9 if has_volume else None, volume_decimals=2,
        first_day=date(2020, 1, 1),
    )  # fmt: skip
