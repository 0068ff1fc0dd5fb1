"""What the alert sensor judges the rules on: quotes and minutes of each symbol, and whose clock is believed."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tv_etl.orchestration.resources import described
from tv_etl.tradingview.errors import SymbolError, TradingViewError
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory, feed_delay_s
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.ohlcv import OHLCV

# Dagster gives up a sensor evaluation after 60 s and loses its cursor; delivery needs its share, too.
ALERT_INPUT_LIMIT_S = 20.0
ALERT_QUOTE_LIMIT_S = 8.0
# How far back a rule seen for the first time looks, to learn on which side of its level the price is.
FIRST_S = 600
DAY_S = 86_400.0
CENTURY_S = 36_525 * DAY_S


@dataclass(frozen=True)
class AlertInputs:
    """What the alert rules are judged on.

    `now` is the server's clock in UTC seconds; this host's where the server's is not believed, and `doubt` says so.
    """

    now: float
    quotes: dict[str, QuoteSymbolData | SymbolError]
    minutes: dict[str, SeriesHistory | TradingViewError]
    doubt: str = ""


async def read_alert_inputs(client: OHLCV, since_by_symbol: Mapping[str, int | None]) -> AlertInputs:
    """As `TradingViewResource.alert_inputs` promises; the client is opened and closed."""
    ends_at = time.monotonic() + ALERT_INPUT_LIMIT_S
    async with client:
        quotes = await client.get_quotes(list(since_by_symbol))
        now, doubt = _believe(client.server_now(), time.time(), quotes.values())
        minutes: dict[str, SeriesHistory | TradingViewError] = {}
        requests: list[HistoryRequest] = []
        for symbol, since in sorted(since_by_symbol.items(), key=lambda item: item[1] or 0):
            start_s = now - delay_s(quotes.get(symbol)) - FIRST_S if since is None else since
            try:
                requests.append(HistoryRequest(symbol, "1m", start=utc(start_s)))
            except Exception as error:  # whatever it is, it is this symbol's alone
                minutes[symbol] = _expected(error)
        answers = await client.fetch_each(requests, timeout_s=ends_at - time.monotonic())
    minutes |= {request.symbol: _expected(answer) for request, answer in answers.items()}
    return AlertInputs(now, quotes, minutes, doubt)


def _expected(answer: SeriesHistory | Exception) -> SeriesHistory | TradingViewError:
    if isinstance(answer, SeriesHistory | TradingViewError):
        return answer
    return TradingViewError(described(answer))


def delay_s(quote: QuoteSymbolData | SymbolError | None) -> float:
    """How late the feed of a symbol is, as far as its quote says so; a day at most."""
    if not isinstance(quote, QuoteSymbolData):
        return 0.0
    return min(feed_delay_s(str(quote.symbol_info.get("update_mode", ""))) or 0.0, DAY_S)


def trade_time(quote: QuoteSymbolData | SymbolError | None, now: float) -> float | None:
    """When the quote's last trade was, in UTC seconds; None where it does not say, or says what cannot be."""
    value = quote.symbol_info.get("lp_time") if isinstance(quote, QuoteSymbolData) else None
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= now + DAY_S
    return float(value) if is_time and value is not None else None


def _believe(server: float, host: float, quotes: Iterable[QuoteSymbolData | SymbolError]) -> tuple[float, str]:
    """The clock to judge by, and why it is not the server's where it is not.

    One that is more than a day from this host's is believed only if trades are as far away: a market that is replayed.
    """
    if abs(server - host) <= DAY_S:
        return server, ""
    latest = min(max(server, host), host + CENTURY_S)
    trades = [traded for quote in quotes if (traded := trade_time(quote, latest)) is not None]
    if trades and abs(max(trades) - server) < abs(max(trades) - host):
        return server, ""
    days = min(abs(server - host) / DAY_S, 1e6)
    way = "ahead of" if server > host else "behind"
    return host, f"the server's clock is {days:,.0f} days {way} this host's, which is used instead"
