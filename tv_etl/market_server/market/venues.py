"""The venues of the synthetic market: their trading hours and what TradingView calls them."""

from types import MappingProxyType

from tv_etl.market_server.market import holiday_lists, holidays
from tv_etl.market_server.market.listing import Source
from tv_etl.market_server.market.sessions import ROUND_THE_CLOCK, Schedule

_NEW_YORK = "America/New_York"


def us_equity(session: str, half_day: str) -> Schedule:
    """Hours on the days of the New York exchanges, with those of their half days."""
    corrections = {half_day: holidays.us_equity_half_days(), "dayoff": holidays.us_equity_days_off()}
    return Schedule(session, _NEW_YORK, holidays.us_equity_holidays(), MappingProxyType(corrections))


US_EQUITY = us_equity("0930-1600", "0930-1300")
US_EXTENDED = us_equity("0400-2000", "0400-1700")
US_OUTSIDE = (Schedule("0400-0930", _NEW_YORK), us_equity("1600-2000", "1300-1700"))
US_INDEX = us_equity("0930-1615", "0930-1300")
US_INDEX_LATE = us_equity("0930-1610", "0930-1300")
US_FUTURES = Schedule(
    "1800-1700",
    _NEW_YORK,
    holidays.us_futures_holidays(),
    MappingProxyType({"1800-1430": holidays.us_futures_half_days()}),
)
CHICAGO = Schedule(
    "1700-1600",
    "America/Chicago",
    holidays.us_futures_holidays(),
    MappingProxyType({"1700-1200": holidays.us_futures_half_days()}),
)
CHICAGO_GRAIN = Schedule(
    "1900-0745,0830-1320",
    "America/Chicago",
    holidays.us_equity_holidays(),
    MappingProxyType({"0830-1205": holidays.us_equity_half_days()}),
)
CBOE_INDEX = Schedule(
    "0215-0826,0830-1516",
    "America/Chicago",
    holidays.us_equity_holidays(),
    MappingProxyType({"0215-0826,0830-1216": holidays.us_equity_half_days(), "dayoff": holidays.us_equity_days_off()}),
)
US_DOLLAR = Schedule("2000-1700|1800-1700:2", _NEW_YORK, holidays.currency_holidays())
US_FIGURES = Schedule("0000-2359", _NEW_YORK, holidays.us_equity_holidays())
FIGURES = Schedule(ROUND_THE_CLOCK, "Etc/UTC")
CURRENCIES = Schedule("1700-1700", _NEW_YORK, holidays.currency_holidays())
METALS = Schedule("1800-1700", _NEW_YORK, holidays.currency_holidays())
CRYPTO = Schedule(ROUND_THE_CLOCK, "Etc/UTC")

XETRA = Schedule("0900-1730", "Europe/Berlin", holidays.xetra_holidays())
LONDON = Schedule(
    "0800-1630",
    "Europe/London",
    holidays.london_holidays(),
    MappingProxyType({"0800-1230": holidays.euronext_half_days()}),
)
EURONEXT = Schedule(
    "0900-1730",
    "Europe/Paris",
    holidays.euronext_holidays(),
    MappingProxyType({"0900-1405": holidays.euronext_half_days()}),
)
BRAZIL = Schedule("1000-1700", "America/Sao_Paulo", holidays.brazil_holidays())
KOREA = Schedule("0900-1530", "Asia/Seoul", holiday_lists.KOREA)
INDIA = Schedule("0915-1530", "Asia/Kolkata", holiday_lists.INDIA, holiday_lists.INDIA_SPECIAL_SESSIONS)
# As TradingView has it since the exchange shortened its day, and the evening of Diwali with it.
INDIA_DATED = Schedule(
    "0915-1530#20260803/0915-1515",
    "Asia/Kolkata",
    (*holiday_lists.INDIA, "20261108"),
    MappingProxyType(
        {hours: days for hours, days in holiday_lists.INDIA_SPECIAL_SESSIONS.items() if "20241101" not in days}
        | {"1800-1900#20260803/1800-1845": ("20241101", "20261108")}
    ),
)
JAPAN = Schedule("0900-1130,1230-1530", "Asia/Tokyo", holiday_lists.JAPAN)
HONG_KONG = Schedule(
    "0930-1200A0900E0920-1206U1300-1600E1300-1611",
    "Asia/Hong_Kong",
    holiday_lists.HONG_KONG,
    MappingProxyType({"0930-1200": holiday_lists.HONG_KONG_EVES}),
)
CHINA = Schedule("0930-1130E0925-1131S1300-1500E1300-1501", "Asia/Shanghai", holiday_lists.CHINA)
THAILAND = Schedule("1000-1230,1400-1630", "Asia/Bangkok", holiday_lists.THAILAND)
# New York's hours in London's time: an hour less while only one of the two has put its clocks back.
BRENT = Schedule(
    "0100-2300|2300F-2300:2#20261026/0000-2200|2200F-2200:2#20261102/0100-2300|2300F-2300:2#20270315/"
    "0000-2200|2200F-2200:2#20270329/0100-2300|2300F-2300:2",
    "Europe/London",
    holidays.currency_holidays(),
)

CBOE_ONE = Source("BATS", "Cboe One", "US", "https://markets.cboe.com/us/equities/overview/")
ARCA = Source("AMEX", "NYSE Arca", "US", "https://www.nyse.com")
SOURCES = MappingProxyType(
    {
        source.id: source
        for source in (
            Source("XETR", "Deutsche Borse Xetra", "DE", "https://www.xetra.com"),
            Source("LSE", "London Stock Exchange", "GB", "https://www.londonstockexchange.com"),
            Source("EURONEXT", "Euronext Paris", "FR", "https://www.euronext.com"),
            Source("BMFBOVESPA", "B3", "BR", "https://www.b3.com.br"),
            Source("KRX", "KRX", "KR", "http://global.krx.co.kr"),
            Source("NSE", "NSE", "IN", "https://www.nseindia.com"),
            Source("TSE", "Tokyo Stock Exchange", "JP", "https://www.jpx.co.jp"),
            Source("HKEX", "Hong Kong Exchange", "HK", "https://www.hkex.com.hk"),
            Source("SSE", "Shanghai Stock Exchange", "CN", "http://english.sse.com.cn"),
            Source("SET", "Stock Exchange of Thailand", "TH", "https://www.set.or.th"),
        )
    }
)
