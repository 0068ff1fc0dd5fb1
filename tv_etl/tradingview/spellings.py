"""What to search for when a symbol is written as elsewhere: bare, in small letters, or as yfinance and ccxt have it.

    AAPL  nasdaq:aapl  BRK-B  VOD.L  BTC-USD  BTC/USDT  EURUSD=X  ES=F  ^GSPC

Nothing here decides which symbol is meant: that is for whoever reads what the search finds.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tv_etl.tradingview.symbol_search import SearchType


class Query(NamedTuple):
    """One search."""

    text: str
    exchange: str | None = None
    type: "SearchType | None" = None


# What yfinance appends to a ticker, and TradingView's exchange.
_SUFFIXES = {
    "L": "LSE", "IL": "LSIN", "DE": "XETR", "F": "FWB", "BE": "BER", "SG": "SWB", "PA": "EURONEXT", "AS": "EURONEXT",
    "BR": "EURONEXT", "LS": "EURONEXT", "IR": "EURONEXT", "MI": "MIL", "MC": "BME", "SW": "SIX", "ST": "OMXSTO",
    "CO": "OMXCOP", "HE": "OMXHEX", "IC": "OMXICE", "OL": "OSL", "VI": "VIE", "WA": "GPW", "AT": "ATHEX", "IS": "BIST",
    "TA": "TASE", "JO": "JSE", "SR": "TADAWUL", "ME": "MOEX", "TO": "TSX", "V": "TSXV", "NE": "NEO", "CN": "CSE",
    "SA": "BMFBOVESPA", "MX": "BMV", "BA": "BCBA", "AX": "ASX", "NZ": "NZX", "HK": "HKEX", "T": "TSE", "KS": "KRX",
    "KQ": "KRX", "TW": "TWSE", "TWO": "TPEX", "SS": "SSE", "SZ": "SZSE", "NS": "NSE", "BO": "BSE", "SI": "SGX",
    "JK": "IDX", "KL": "MYX", "BK": "SET",
}  # fmt: skip
_NORDIC = ("OMXSTO", "OMXCOP", "OMXHEX", "OMXICE")
# Indices that the two name otherwise; of the others only the ^ goes.
_INDICES = {
    "GSPC": "SPX", "FTSE": "UKX", "GDAXI": "DAX", "N225": "NI225", "FCHI": "CAC40", "STOXX50E": "SX5E", "STOXX": "SXXP",
    "IBEX": "IBC", "SSMI": "SMI", "AXJO": "XJO", "BSESN": "SENSEX", "NSEI": "NIFTY", "NSEBANK": "BANKNIFTY",
    "KS11": "KOSPI", "TWII": "TAIEX", "BVSP": "IBOV", "MXX": "ME", "GSPTSE": "TSX", "TYX": "US30Y", "TNX": "US10Y",
    "FVX": "US05Y", "SP500TR": "SPXTR",
}  # fmt: skip

_Reading = Callable[[re.Match[str]], Iterator[Query]]


def queries(text: str) -> list[Query]:
    """What to search for, the likeliest reading first; none if there is nothing to go by."""
    text = " ".join(text.split()).upper()
    found: list[Query] = []
    for pattern, read in _READINGS:
        if match := pattern.fullmatch(text):
            found += read(match)
    # The last resort: as it stands.
    return list(dict.fromkeys([*found, Query(text)])) if re.search(r"\w", text) else []


def _index(match: re.Match[str]) -> Iterator[Query]:
    yield Query(_INDICES.get(match["name"], match["name"]), type="index")
    yield Query(_INDICES.get(match["name"], match["name"]))


def _future(match: re.Match[str]) -> Iterator[Query]:
    yield Query(f"{match['root']}1!", type="futures")


def _currencies(match: re.Match[str]) -> Iterator[Query]:
    # JPY=X is what a dollar costs.
    pair = match["pair"]
    yield Query(pair if len(pair) == 6 else f"USD{pair}", type="forex")


def _perpetual(match: re.Match[str]) -> Iterator[Query]:
    yield Query(f"{match['base']}{match['quote']}.P", type="crypto")


def _pair(match: re.Match[str]) -> Iterator[Query]:
    yield Query(f"{match['base']}{match['quote']}", type="crypto")
    yield Query(f"{match['base']}{match['quote']}")


def _preferred(match: re.Match[str]) -> Iterator[Query]:
    yield Query(f"{match['share']}/P{match['series']}")


def _share_class(match: re.Match[str]) -> Iterator[Query]:
    yield Query(f"{match['share']}.{match['series']}")


def _listed_abroad(match: re.Match[str]) -> Iterator[Query]:
    exchange = _SUFFIXES.get(match["suffix"])
    if exchange is not None:
        ticker = match["ticker"].lstrip("0") if exchange == "HKEX" else match["ticker"]
        yield Query(ticker.replace("-", "_") if exchange in _NORDIC else ticker, exchange)


def _with_exchange(match: re.Match[str]) -> Iterator[Query]:
    yield Query(match["ticker"], match["exchange"])
    yield Query(match["ticker"])


_READINGS: tuple[tuple[re.Pattern[str], _Reading], ...] = tuple(
    (re.compile(pattern), read)
    for pattern, read in (
        (r"\^(?P<name>[\w.-]+)", _index),
        (r"(?P<root>[A-Z0-9]{1,4})=F", _future),
        (r"(?P<pair>[A-Z]{3}|[A-Z]{6})=X", _currencies),
        (r"(?P<base>\w+)/(?P<quote>\w+):\w+", _perpetual),
        (r"(?P<base>\w{2,12})[-/](?P<quote>USD|USDT|USDC|EUR|GBP|JPY|BTC|ETH|BNB|TRY|KRW|CHF|CAD|AUD)", _pair),
        (r"(?P<share>[A-Z]{1,5})-P(?P<series>[A-Z])", _preferred),
        (r"(?P<share>[A-Z]{1,5})-(?P<series>[A-Z])", _share_class),
        (r"(?P<ticker>[\w-]+)\.(?P<suffix>[A-Z]{1,3})", _listed_abroad),
        (r"(?P<exchange>\w+) ?: ?(?P<ticker>[^:]+)", _with_exchange),
    )
)
