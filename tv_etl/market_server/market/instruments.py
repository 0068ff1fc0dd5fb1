"""The named instruments of the synthetic market. Add one by adding a `Listing` to `instruments`.

Among them are, for tests: `NASDAQ:SPLT`, split four for one on 2026-11-16; `NASDAQ:LATE`, split two for one on
2026-11-02, which the server applies ten trading days later; `NASDAQ:PENY`, which costs a dollar and is joined ten to
one on 2026-11-16; `NYSE:NICK`, split two for one on 2026-11-16, whose tick is a tenth of its price; `NYSE:BOTH`, which
splits three for two and pays 1.20 on 2026-11-16; `NASDAQ:HEIR` and `NYSE:TAKE`, tickers of another instrument until
2026-11-16, the one newly listed on that day, the other with a history of its own; `NASDAQ:BUST`, of which trades of
2026-11-13 are taken back on 2026-11-16; `NASDAQ:FIXD`, of which trades of 2026-11-13, of 2026-07-15 and of 2019-03-20
are corrected on 2026-11-16; `NYSE:HOUR`, which opens an hour earlier from 2026-11-16 on, so that its wide bars begin
elsewhere in all of its history; `NYSE:DIVI`, which pays 0.52 on the 13th of every second month of a quarter;
`AMEX:THIN`, traded every few minutes only; `NASDAQ:IPOX`, listed on 2026-10-26; `NASDAQ:GONE`, delisted after
2025-06-30; `NASDAQ:NEWN`, which was `NASDAQ:OLDN`; `LSE:VOD` and `XETR:SAP`, whose feeds are 15 minutes late;
`ECONOMICS:USM2`, which no account may see; `ECONOMICS:USCPI` and `ECONOMICS:USIJC`, figures with a point a month and a
week. Sessions in all of TradingView's spelling: `HKEX:700` and `SSE:600519`
(with auctions), `NSE:RELIANCE` and `ICEEUR:BRN1!` (with versions by date, in parts by day as well).
"""

from dataclasses import replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from tv_etl.market_server.market import everyday, venues
from tv_etl.market_server.market.futures import continuous_futures
from tv_etl.market_server.market.listing import Amendment, Figure, Listing, Source
from tv_etl.market_server.market.sessions import Schedule

_NEW_YORK = ZoneInfo("America/New_York")
_CHANGE = datetime(2026, 11, 16, tzinfo=_NEW_YORK)
_ECONOMICS = Source("ECONOMICS", "Economics", "US", provider="tvc")
_QUARTERLY = tuple((date(year, month, 13), 0.52) for year in range(2020, 2028) for month in (2, 5, 8, 11))


def instruments() -> list[Listing]:
    """Every named instrument."""
    return [
        *_american(),
        *_traded_round_the_clock(),
        *_indices_and_futures(),
        *_european(),
        *_asian(),
        *_figures(),
        *_for_tests(),
        *_changing(),
        *_everyday(),
        *_of_the_document(),
    ]


def _american() -> list[Listing]:
    return [
        us_stock("NASDAQ:AAPL", "Apple Inc.", 310.0, 48_000_000, isin="US0378331005"),
        us_stock("NASDAQ:GOOGL", "Alphabet Inc.", 290.0, 31_000_000, isin="US02079K3059"),
        us_stock("NASDAQ:MSFT", "Microsoft Corporation", 520.0, 22_000_000, isin="US5949181045"),
        us_stock("NASDAQ:TSLA", "Tesla, Inc.", 410.0, 85_000_000, 0.032, isin="US88160R1014"),
        us_stock("NYSE:JNJ", "Johnson & Johnson", 195.0, 7_500_000, 0.010, isin="US4781601046"),
        us_stock("NYSE:BRK.B", "Berkshire Hathaway Inc. New", 495.0, 4_100_000, 0.010, isin="US0846707026"),
        Listing(
            "AMEX:SPY", "SPDR S&P 500 ETF Trust", "fund", ("etf",), "USD", venues.ARCA, venues.US_EQUITY, 690.0, 0.010,
            daily_volume=70_000_000, yearly_growth=0.08, extended=venues.US_EXTENDED, outside=venues.US_OUTSIDE,
        ),
        _stock("BMFBOVESPA:PETR4", "PETROBRAS PN N2", venues.BRAZIL, 31.0, 38_000_000, "BRL", language="pt",
               delay_s=900),
    ]  # fmt: skip


def _traded_round_the_clock() -> list[Listing]:
    return [
        coin("BINANCE:BTCUSDT", "Bitcoin / TetherUS", 98_000.0, 100, 21_000.0, "BTC", "USDT"),
        coin("BINANCE:BTCUSDT.P", "BTCUSDT Perpetual Contract", 98_000.0, 10, 160_000.0, "BTC", "USDT",
             kind="swap", typespecs=("crypto", "perpetual", "defi")),
        coin("BINANCE:ETHUSDT", "Ethereum / TetherUS", 3_600.0, 100, 310_000.0, "ETH", "USDT"),
        coin("BITSTAMP:BTCUSD", "Bitcoin / U.S. dollar", 98_000.0, 1, 1_900.0, "BTC", "USD"),
        coin("COINBASE:ETHUSD", "Ethereum / U.S. dollar", 3_600.0, 100, 120_000.0, "ETH", "USD"),
        coin("DERIBIT:BTC-PERPETUAL", "BTC Perpetual", 98_000.0, 10, 9_000.0, "BTC", "USD",
             kind="swap", typespecs=("crypto", "perpetual")),
        _currency_pair("FX:EURUSD", "Euro / U.S. Dollar", 1.13, 180_000),
        _currency_pair("FOREX:EURUSD", "Euro / U.S. Dollar", 1.13, None),
        _currency_pair("FX_IDC:USDCAD", "U.S. Dollar / Canadian Dollar", 1.37, None),
        _currency_pair("FX_IDC:EURUSD", "Euro / U.S. Dollar", 1.13, None),
        Listing(
            "OANDA:XAUUSD", "Gold Spot / U.S. Dollar", "commodity", ("cfd",), "USD",
            Source("OANDA", "OANDA", provider="oanda"), venues.METALS, 3_400.0, 0.009, pricescale=1_000, minmov=5,
            daily_volume=240_000, yearly_growth=0.05, swing_octaves=10,
        ),
    ]  # fmt: skip


def _indices_and_futures() -> list[Listing]:
    return [
        _index("SP:SPX", "S&P 500", 6_900.0, venues.US_INDEX_LATE, 2_400_000_000),
        _index("TVC:NDX", "US 100 Index", 25_500.0, venues.US_INDEX, None),
        _index("NASDAQ:NDX", "NASDAQ 100", 25_500.0, venues.US_INDEX, None),
        *continuous_futures(),
    ]


def _european() -> list[Listing]:
    return [
        _stock("XETR:SAP", "SAP SE", venues.XETRA, 207.0, 1_900_000, "EUR", language="de", delay_s=900, minmov=5),
        _stock("XETR:MUV2", "Münchener Rückversicherungs-Gesellschaft AG", venues.XETRA, 540.0, 220_000, "EUR",
               language="de"),
        _stock("LSE:VOD", "Vodafone Group Public Limited Company", venues.LONDON, 88.0, 61_000_000, "GBX", delay_s=900),
        _stock("EURONEXT:RÉMY", "Rémy Cointreau SA", venues.EURONEXT, 52.0, 140_000, "EUR", language="fr"),
        _stock("EURONEXT:OR", "L'Oréal S.A.", venues.EURONEXT, 372.0, 310_000, "EUR", language="fr"),
    ]  # fmt: skip


def _asian() -> list[Listing]:
    return [
        _stock("KRX:005930", "Samsung Electronics Co., Ltd.", venues.KOREA, 98_000.0, 16_000_000, "KRW",
               pricescale=1, minmov=100, yearly_growth=0.06, local_description="삼성전자", language="ko"),
        _stock("NSE:M&M", "Mahindra & Mahindra Ltd.", venues.INDIA, 3_500.0, 2_600_000, "INR", minmov=10,
               yearly_growth=0.1, language="hi", extras=MappingProxyType({"isin": "INE101A01026"})),
        _stock("NSE:RELIANCE", "Reliance Industries Ltd.", venues.INDIA_DATED, 1_450.0, 11_000_000, "INR", minmov=10,
               yearly_growth=0.09, language="hi", extras=MappingProxyType({"isin": "INE002A01018"})),
        _stock("TSE:7203", "Toyota Motor Corporation", venues.JAPAN, 2_950.0, 24_000_000, "JPY", pricescale=10,
               minmov=5, local_description="トヨタ自動車", language="ja"),
        _stock("HKEX:700", "Tencent Holdings Limited", venues.HONG_KONG, 620.0, 19_000_000, "HKD", minmov=50,
               local_description="騰訊控股", language="zh", delay_s=900),
        _stock("SSE:600519", "Kweichow Moutai Co., Ltd.", venues.CHINA, 1_480.0, 3_100_000, "CNY",
               local_description="贵州茅台", language="zh"),
        _stock("SET:PTT", "PTT Public Company Limited", venues.THAILAND, 31.5, 41_000_000, "THB", minmov=25,
               local_description="บริษัท ปตท. จำกัด (มหาชน)", language="th"),
    ]  # fmt: skip


def _for_tests() -> list[Listing]:
    return [
        us_stock("NASDAQ:SPLT", "Fourfold Industries Inc.", 62.0, 9_000_000, splits=((date(2026, 11, 16), 4.0),)),
        us_stock("NASDAQ:LATE", "Afterthought Corp.", 48.0, 5_000_000, splits=((date(2026, 11, 2), 2.0),),
                 splits_late=10),
        us_stock("NASDAQ:PENY", "Penny Wise Inc.", 10.4, 2_000_000, 0.02, splits=((date(2026, 11, 16), 0.1),)),
        us_stock("NYSE:NICK", "Nickel and Dime Corp.", 0.5, 8_000_000, 0.03, minmov=5, yearly_growth=0.0,
                 splits=((date(2026, 11, 16), 2.0),)),
        us_stock("NYSE:BOTH", "Split and Pay Inc.", 71.0, 4_000_000, splits=((date(2026, 11, 16), 1.5),),
                 dividends=((date(2026, 11, 16), 1.20),)),
        us_stock("NYSE:DIVI", "Steady Dividends Corp.", 104.0, 3_200_000, 0.010, dividends=_QUARTERLY),
        us_stock("NASDAQ:IPOX", "Newly Listed Inc.", 27.0, 2_400_000, 0.03, first_day=date(2026, 10, 26)),
        us_stock("NASDAQ:GONE", "Formerly Traded Holdings", 8.4, 900_000, 0.03, last_day=date(2025, 6, 30),
                 typespecs=("common", "discontinued")),
        us_stock("NASDAQ:NEWN", "New Name Inc.", 83.0, 6_000_000, former=("NASDAQ:OLDN",)),
        Listing(
            "AMEX:THIN", "Seldom Traded Trust", "fund", ("etf",), "USD", venues.ARCA, venues.US_EQUITY, 24.0, 0.008,
            daily_volume=160, is_thin=True,
        ),
        Listing(
            "ECONOMICS:USM2", "United States Money Supply M2", "economic", ("indicator",), "USD",
            _ECONOMICS, venues.US_FIGURES, 22_400.0, 0.001,
            yearly_growth=0.05, swing_octaves=6, denial="group",
        ),
    ]  # fmt: skip


def _figures() -> list[Listing]:
    """Economic data: points, of which trading hours say nothing."""
    return [
        # The government was shut down when October 2025 would have been measured.
        _figure("ECONOMICS:USCPI", "United States Consumer Price Index (CPI)", 326.0, 1_000, 1, 0.0005, 0.036, 6,
                date(1960, 3, 1), Figure("1M", 13, never=(date(2025, 10, 1),))),
        _figure("ECONOMICS:USIJC", "United States Initial Jobless Claims", 228_000.0, 1, 1_000, 0.02, 0.0, 9,
                date(1967, 1, 2), Figure("1W", 4, is_revised=True)),
    ]  # fmt: skip


def _changing() -> list[Listing]:
    """Those that are served otherwise from the morning of `_CHANGE` on, and not for a split or a dividend."""
    heir = us_stock("NASDAQ:HEIR", "Heir Apparent Inc.", 240.0, 6_000_000, first_day=date(2026, 11, 16))
    testator = us_stock("NASDAQ:HEIR", "Testator Mills Corp.", 13.0, 1_500_000, 0.02, drawn_as="NASDAQ:HEIR before")
    take = us_stock("NYSE:TAKE", "Takeover Holdings Inc.", 85.0, 4_000_000, first_day=date(2012, 5, 18))
    taken = us_stock("NYSE:TAKE", "Taken Over Corp.", 31.0, 2_000_000, 0.02, drawn_as="NYSE:TAKE before")
    bust = us_stock("NASDAQ:BUST", "Clearly Erroneous Inc.", 57.0, 3_500_000)
    fixd = us_stock("NASDAQ:FIXD", "Corrected Figures Inc.", 66.0, 4_500_000)
    hour = us_stock("NYSE:HOUR", "Early Bird Corp.", 44.0, 2_800_000, extended=None, outside=())
    longer = replace(hour, schedule=venues.us_equity("0830-1600", "0830-1300"), drawn_hours=hour.schedule)
    corrected = (
        Amendment(_new_york(2019, 3, 20, 11), _new_york(2019, 3, 20, 12), price=1.01, volume=2),
        Amendment(_new_york(2026, 7, 15, 14, 7), _new_york(2026, 7, 15, 14, 20), price=0.97, volume=2),
        Amendment(_new_york(2026, 11, 13, 14), _new_york(2026, 11, 13, 14, 5), price=1.02, volume=3),
    )
    busted = (Amendment(_new_york(2026, 11, 13, 10, 17), _new_york(2026, 11, 13, 11, 45), volume=0),)
    return [
        replace(heir, formerly=(_CHANGE, testator)),
        replace(take, formerly=(_CHANGE, taken)),
        replace(bust, formerly=(_CHANGE, bust), amendments=busted),
        replace(fixd, formerly=(_CHANGE, fixd), amendments=corrected),
        replace(longer, formerly=(_CHANGE, hour)),
    ]


def _everyday() -> list[Listing]:
    """What is on everybody's watchlist."""
    shares = [
        us_stock(each.symbol, each.name, each.price, each.daily_volume, each.volatility, isin=each.isin,
                 first_day=each.first_day)
        for each in (*everyday.STOCKS, *everyday.FUNDS)
    ]  # fmt: skip
    funds = {each.symbol for each in everyday.FUNDS}
    dollar = _index("TVC:DXY", "U.S. Dollar Index", 99.6, venues.US_DOLLAR, None)
    fear = _index("CBOE:VIX", "Volatility S&P 500 Index", 18.0, venues.CBOE_INDEX, None)
    return [
        *(_as_fund(share) if share.symbol in funds else share for share in shares),
        *map(_listed_coin, everyday.COINS),
        *(_currency_pair(*pair) for pair in everyday.PAIRS),
        replace(dollar, pricescale=1_000, volatility=0.0035, yearly_growth=0.0, swing_octaves=8),
        replace(fear, volatility=0.06, yearly_growth=0.0, swing_octaves=6),
        _index("DJ:DJI", "Dow Jones Industrial Average Index", 47_800.0, venues.US_EQUITY, 480_000_000),
        _index("NASDAQ:IXIC", "Nasdaq Composite Index", 23_100.0, venues.US_EQUITY, 8_200_000_000),
    ]


def _of_the_document() -> list[Listing]:
    """What the user's document writes otherwise than it is listed: the prices are those of the share it means."""
    microsoft = us_stock("NYSE:MSFT", "Microsoft Corporation", 520.0, 22_000_000, isin="US5949181045")
    vodafone = _stock("LSE:VODL", "Vodafone Group PLC", venues.LONDON, 88.0, 61_000_000, "GBX", delay_s=900)
    return [replace(microsoft, drawn_as="NASDAQ:MSFT"), replace(vodafone, drawn_as="LSE:VOD")]


def _as_fund(share: Listing) -> Listing:
    source = venues.ARCA if share.exchange == "AMEX" else share.source
    return replace(share, kind="fund", typespecs=("etf",), source=source, yearly_growth=0.07, local_description="")


def _listed_coin(each: everyday.Coin) -> Listing:
    kind, typespecs = ("swap", ("crypto", "perpetual")) if each.is_perpetual else ("spot", ("crypto",))
    listing = coin(each.symbol, each.name, each.price, each.pricescale, each.volume, each.base, each.quote, kind=kind,
                   typespecs=typespecs)  # fmt: skip
    volume = int(each.volume * 10**each.volume_decimals)
    return replace(listing, first_day=each.first_day, daily_volume=volume, volume_decimals=each.volume_decimals)


def _new_york(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=_NEW_YORK)


def us_stock(
    symbol: str, name: str, price: float, volume: int, volatility: float = 0.016, *, isin: str = "", **more: Any
) -> Listing:
    """A share of the New York exchanges, with trading before and after their hours."""
    extras = {"isin": isin, "isin-displayed": isin} if isin else {}
    settings: dict[str, Any] = {
        "typespecs": ("common",),
        "yearly_growth": 0.09,
        "extended": venues.US_EXTENDED,
        "outside": venues.US_OUTSIDE,
        "local_description": name,
        "extras": MappingProxyType(extras),
    }
    return Listing(
        symbol, name, "stock", currency="USD", source=venues.CBOE_ONE, schedule=venues.US_EQUITY, price=price,
        volatility=volatility, daily_volume=volume, **(settings | more),
    )  # fmt: skip


def _stock(
    symbol: str, name: str, schedule: Schedule, price: float, volume: int, currency: str, **more: Any
) -> Listing:
    source = venues.SOURCES[symbol.partition(":")[0]]
    settings = {"yearly_growth": 0.05} | more
    return Listing(
        symbol, name, "stock", ("common",), currency, source, schedule, price, 0.015, daily_volume=volume, **settings
    )


def coin(
    symbol: str, name: str, price: float, scale: int, volume: float, base: str, quote: str, *, kind: str = "spot",
    typespecs: tuple[str, ...] = ("crypto", "defi"),
) -> Listing:  # fmt: skip
    """A coin, or a contract on one, that trades round the clock; `volume` is in coins a day."""
    exchange = symbol.partition(":")[0]
    country = {"BITSTAMP": "LU"}.get(exchange, "")
    url = f"https://www.{exchange.lower()}.{'net' if exchange == 'BITSTAMP' else 'com'}/"
    return Listing(
        symbol, name, kind, typespecs, quote,
        Source(exchange, exchange.capitalize(), country, url, exchange.lower()),
        venues.CRYPTO, price, 0.028, pricescale=scale, daily_volume=int(volume * 10**5), volume_decimals=5,
        yearly_growth=0.35, first_day=date(2013, 1, 1), base_currency=base,
    )  # fmt: skip


def _currency_pair(
    symbol: str, name: str, price: float, ticks_a_day: int | None, scale: int = 100_000, volatility: float = 0.0045
) -> Listing:
    """Two currencies; the last digit of a price is a tenth of a pip."""
    exchange, _, ticker = symbol.partition(":")
    return Listing(
        symbol, name, "forex", (), ticker[3:], Source(exchange, exchange, provider=exchange.lower()),
        venues.CURRENCIES, price, volatility, pricescale=scale, minmove2=10, daily_volume=ticks_a_day, swing_octaves=8,
        base_currency=ticker[:3],
    )  # fmt: skip


def _index(symbol: str, name: str, price: float, schedule: Schedule, volume: int | None) -> Listing:
    exchange = symbol.partition(":")[0]
    return Listing(
        symbol, name, "index", ("main", "cfd"), "USD", Source(exchange, exchange, "US", provider="tvc"),
        schedule, price, 0.010, daily_volume=volume, yearly_growth=0.08,
    )  # fmt: skip


def _figure(
    symbol: str, name: str, value: float, scale: int, minmov: int, volatility: float, growth: float, octaves: int,
    first_day: date, figure: Figure,
) -> Listing:  # fmt: skip
    return Listing(
        symbol, name, "economic", ("indicator",), "USD", _ECONOMICS, venues.FIGURES, value, volatility,
        pricescale=scale, minmov=minmov, yearly_growth=growth, swing_octaves=octaves, first_day=first_day,
        figure=figure,
    )  # fmt: skip
