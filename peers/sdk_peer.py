"""tradingview-sdk on the market server."""

import asyncio
from datetime import datetime, timezone
from typing import Any

import tradingview_sdk.auth
import tradingview_sdk.quotes
import tradingview_sdk.screener
from tradingview_sdk import AsyncTradingView, BarStream, QuoteStream, ScreenerQuery, fetch_bars
from tradingview_sdk.auth import AuthTokenCache, Credentials
from tradingview_sdk.errors import ProtocolError, SymbolNotFoundError

from peers.peer import (
    EXPECTED,
    HTTP_URL,
    LIVE_WS_URL,
    WS_URL,
    check_beyond_the_window,
    check_minutes,
    check_same,
    main,
    scenario,
)

HISTORY, BEYOND_5000, RANGES = EXPECTED["history"], EXPECTED["beyond_5000"], EXPECTED["ranges"]
QUERY = "?from=chart%2F&type=chart"
ANONYMOUS = Credentials()
SIGNED_IN = Credentials(session_id=EXPECTED["session"], session_sign="v3:signature")


def use(url: str) -> None:
    """The addresses that are no arguments."""
    tradingview_sdk.quotes.QUOTE_URL = f"{url}/symbol"
    tradingview_sdk.screener.SCANNER_URL = url + "/{market}/scan"
    tradingview_sdk.auth._QUOTE_TOKEN_URL = f"{url}/quote_token/"
    tradingview_sdk.auth._HOME_URL = f"{url}/"


async def bars_of(symbol: str, interval: str, auth: AuthTokenCache | None = None, **options: Any) -> Any:
    auth = auth or AuthTokenCache(ANONYMOUS)
    return await fetch_bars(symbol=symbol, interval=interval, auth=auth, url=WS_URL + QUERY, strict=True, **options)


def bar_stream_of(url: str) -> Any:
    return BarStream(credentials=ANONYMOUS, reconnect=False, url=url + QUERY)


def quote_stream_of(url: str) -> Any:
    return QuoteStream(credentials=ANONYMOUS, reconnect=False, url=url + QUERY)


def rows(bars: Any) -> list[list[float | None]]:
    return [[bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in bars]


# --- scenarios --------------------------------------------------------------------------------------------------


async def check_count(case: dict[str, Any], name: str) -> None:
    result = await bars_of(case["symbol"], case["interval"], bars=case["count"])
    check_same(rows(result.bars), case["bars"], name)
    assert result.timezone and result.session and result.currency, result


async def check_refused(symbol: str, interval: str, kind: type[Exception], reason: str) -> None:
    try:
        await bars_of(symbol, interval, bars=10)
    except kind as error:
        assert reason in str(error), error
    else:
        raise AssertionError(f"{symbol} {interval} was served")


@scenario("history by count")
async def history_by_count() -> None:
    for name, case in HISTORY.items():
        await check_count(case, name)


@scenario("history beyond 5,000 bars")
async def history_beyond_5000() -> None:
    await check_count(BEYOND_5000, "days")


@scenario("many fetches at once")
async def many_fetches_at_once() -> None:
    await asyncio.gather(*(check_count(case, name) for name, case in HISTORY.items() for _ in range(4)))


@scenario("range")
async def bars_by_range() -> None:
    for name, case in RANGES.items():
        start, end = (datetime.fromtimestamp(case[key], timezone.utc) for key in ("start", "end"))
        result = await bars_of(case["symbol"], case["interval"], start=start, end=end)
        check_same([row for row in rows(result.bars) if (row[0] or 0) < case["end"]], case["bars"], name)


@scenario("bar stream")
async def bar_stream() -> None:
    closed: dict[float, Any] = {}
    async with bar_stream_of(LIVE_WS_URL) as stream:
        updates = stream.updates("BINANCE:BTCUSDT")
        await stream.subscribe("BINANCE:BTCUSDT", "1")
        async for update in updates:
            if update.closed:
                closed[update.bar.time] = rows([update.bar])[0]
            if len(closed) >= 4:
                break
    check_minutes(list(closed.values()), at_least=4)


@scenario("many series over one connection")
async def many_series() -> None:
    intervals = ["1", "5", "15", "30", "60", "240", "1D", "1W", "1M"]
    wanted = {(symbol, interval) for symbol in EXPECTED["quotes"] for interval in intervals}
    seen = set()
    async with bar_stream_of(WS_URL) as stream:
        updates = stream.updates()
        await stream.subscribe(EXPECTED["unknown"], "1")
        await stream.subscribe("NASDAQ:AAPL", "XX")
        for symbol, interval in wanted:
            await stream.subscribe(symbol, interval)
        async for update in updates:
            seen.add((update.symbol, update.interval))
            if seen == wanted:
                break
        assert stream.subscriptions == wanted, "what was refused is still subscribed"


@scenario("quotes of many symbols")
async def quotes_of_many_symbols() -> None:
    wanted = EXPECTED["quotes"]
    async with quote_stream_of(WS_URL) as stream:
        updates = stream.updates()
        await stream.subscribe(*wanted, EXPECTED["unknown"])
        async for _ in updates:
            if {symbol: (stream.snapshot(symbol) or {}).get("lp") for symbol in wanted} == wanted:
                break


@scenario("quote stream")
async def quote_stream() -> None:
    prices: list[float] = []
    async with quote_stream_of(LIVE_WS_URL) as stream:
        updates = stream.updates()
        await stream.subscribe("BINANCE:BTCUSDT")
        async for update in updates:
            if "lp" in update.changes:
                prices.append(update.changes["lp"])
            if len(prices) >= 5:
                break
    assert len(set(prices)) > 1, prices


@scenario("unknown symbol")
async def unknown_symbol() -> None:
    await check_refused(EXPECTED["unknown"], "1D", SymbolNotFoundError, "invalid symbol")


@scenario("denied symbol")
async def denied_symbol() -> None:
    await check_refused(EXPECTED["denied"], "1D", SymbolNotFoundError, "permission denied")


@scenario("denied interval")
async def denied_interval() -> None:
    await check_refused("NASDAQ:AAPL", "10S", ProtocolError, "seconds_not_entitled")


@scenario("unknown interval")
async def unknown_interval() -> None:
    await check_refused("NASDAQ:AAPL", "XX", ProtocolError, "invalid parameters")


@scenario("signed in by cookies")
async def signed_in() -> None:
    auth = AuthTokenCache(SIGNED_IN)
    result = await bars_of("BINANCE:BTCUSDT", "1", auth, bars=6_000)
    assert auth.cached(), "anonymous"
    check_beyond_the_window(rows(result.bars))


@scenario("quote over HTTP")
async def quote_over_http() -> None:
    async with AsyncTradingView(credentials=ANONYMOUS, retries=0) as client:
        quote = await client.get_quote("NASDAQ:AAPL")
    assert quote.fields["close"] == EXPECTED["quotes"]["NASDAQ:AAPL"], quote


@scenario("screener")
async def screener() -> None:
    async with AsyncTradingView(credentials=ANONYMOUS, retries=0) as client:
        result = await client.screen(ScreenerQuery(columns=("name", "close"), sort_by="close"))
    assert result.rows, result


@scenario("screener as the site has it")
async def screener_of_the_site() -> None:
    async with AsyncTradingView(credentials=ANONYMOUS, retries=0) as client:
        result = await client.screen_stocks()
    assert result.rows, result


if __name__ == "__main__":
    use(HTTP_URL)
    main()
