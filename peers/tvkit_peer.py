"""tvkit on the market server."""

import re
import warnings
from datetime import datetime, timezone
from typing import Any

import httpx
import tvkit.api.chart.ohlcv as tvkit_ohlcv
import tvkit.api.utils.symbol_validator as tvkit_validator
import tvkit.auth.token_provider as tvkit_tokens
from tvkit.api.chart import OHLCV
from tvkit.api.chart.exceptions import SeriesError
from tvkit.api.scanner import Market, ScannerService, create_scanner_request
from tvkit.batch import BatchDownloadRequest, batch_download

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
    zero_for_none,
)

HISTORY, BEYOND_5000, RANGES = EXPECTED["history"], EXPECTED["beyond_5000"], EXPECTED["ranges"]
ODD = re.compile(r"[^A-Z0-9:._!]")  # in M&M and the like
COOKIES = {"sessionid": EXPECTED["session"], "sessionid_sign": "v3:signature"}

# --- the address ------------------------------------------------------------------------------------------------


def use(url: str) -> None:
    tvkit_ohlcv._STANDARD_WS_URL = tvkit_ohlcv._PRO_WS_URL = f"{url}?from=chart%2F"


class Redirected(httpx.AsyncHTTPTransport):
    """Sends what is meant for www.tradingview.com, which tvkit has inside functions, to the market server."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "www.tradingview.com", request.url
        target = httpx.URL(HTTP_URL)
        request.url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
        return await super().handle_async_request(request)


class RedirectedClient(httpx.AsyncClient):
    def __init__(self, **options: Any) -> None:
        super().__init__(transport=Redirected(), **options)


class RedirectedHttpx:
    AsyncClient = RedirectedClient

    def __getattr__(self, name: str) -> Any:
        return getattr(httpx, name)


# --- scenarios --------------------------------------------------------------------------------------------------


def rows(bars: Any) -> list[list[float]]:
    return [[int(bar.timestamp), bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in bars]


async def check_count(case: dict[str, Any], name: str, count: int = 0) -> None:
    async with OHLCV() as client:
        bars = await client.get_historical_ohlcv(case["symbol"], case["interval"], bars_count=count or case["count"])
    check_same(rows(bars), zero_for_none(case["bars"]), name)


async def check_range(case: dict[str, Any], segments: bool) -> None:
    start, end = (datetime.fromtimestamp(case[key], timezone.utc) for key in ("start", "end"))
    async with OHLCV() as client:
        assert client._needs_segmentation(start, end, case["interval"]) is segments
        bars = await client.get_historical_ohlcv(case["symbol"], case["interval"], start=start, end=end)
    inside = [row for row in rows(bars) if row[0] < case["end"]]  # tvkit's end is inclusive
    check_same(inside, case["bars"], case["symbol"])


async def check_refused(symbol: str, interval: str, kind: type[Exception], reason: str) -> None:
    try:
        async with OHLCV() as client:
            await client.get_historical_ohlcv(symbol, interval, bars_count=10)
    except kind as error:
        assert reason in str(error), error
    else:
        raise AssertionError(f"{symbol} {interval} was served")


@scenario("history by count")
async def history_by_count() -> None:
    for name, case in HISTORY.items():
        if not ODD.search(case["symbol"]):
            await check_count(case, name)


@scenario("history of odd symbols")
async def history_of_odd_symbols() -> None:
    for name, case in HISTORY.items():
        if ODD.search(case["symbol"]):
            await check_count(case, name)


@scenario("history beyond 5,000 bars")
async def history_beyond_5000() -> None:
    await check_count(BEYOND_5000, "days")


@scenario("history beyond the plan's window")
async def history_beyond_the_window() -> None:
    await check_count(HISTORY["minutes"], "minutes", 6_000)  # an anonymous account sees 5,000


@scenario("range")
async def range_in_one_segment() -> None:
    await check_range(RANGES["minutes"], segments=False)


@scenario("range over several segments")
async def range_over_segments() -> None:
    await check_range(RANGES["days"], segments=True)


@scenario("batch with an unknown symbol")
async def batch() -> None:
    cases = [BEYOND_5000, HISTORY["Korean days"]]
    symbols = [*(case["symbol"] for case in cases), EXPECTED["unknown"]]
    summary = await batch_download(
        BatchDownloadRequest(symbols=symbols, interval="1D", bars_count=300, concurrency=3, max_attempts=1)
    )
    results = {result.symbol: result for result in summary.results}
    failed = {symbol: result.error.message for symbol, result in results.items() if result.error}
    assert list(failed) == [EXPECTED["unknown"]], failed
    for case in cases:
        check_same(rows(results[case["symbol"]].bars), case["bars"][-300:], case["symbol"])


@scenario("bar stream")
async def bar_stream() -> None:
    use(LIVE_WS_URL)
    try:
        seen: dict[float, list[float]] = {}
        async with OHLCV() as client:
            async for bar in client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=10):
                row = rows([bar])[0]
                seen[row[0]] = row
                if len(seen) >= 14:
                    break
        check_minutes([seen[time] for time in sorted(seen)[:-1]], at_least=13)
    finally:
        use(WS_URL)


@scenario("quotes")
async def quotes() -> None:
    async with OHLCV() as client:
        async for quote in client.get_quote_data("NASDAQ:AAPL"):
            if quote.current_price is not None:
                assert quote.current_price == EXPECTED["quotes"]["NASDAQ:AAPL"], quote
                return
    raise AssertionError("no price came")


@scenario("quotes of many symbols")
async def quotes_of_many_symbols() -> None:
    wanted = {symbol: price for symbol, price in EXPECTED["quotes"].items() if not ODD.search(symbol)}
    got: dict[str, float] = {}
    async with OHLCV() as client:
        async for message in client.get_latest_trade_info(list(wanted)):
            if message.get("m") == "qsd" and "lp" in message["p"][1]["v"]:
                got[message["p"][1]["n"]] = message["p"][1]["v"]["lp"]
            if set(wanted) <= set(got):
                break
    assert {symbol: got.get(symbol) for symbol in wanted} == wanted, got


@scenario("unknown symbol")
async def unknown_symbol() -> None:
    await check_refused(EXPECTED["unknown"], "1D", ValueError, "Invalid exchange or symbol")


@scenario("denied symbol")
async def denied_symbol() -> None:
    await check_refused(EXPECTED["denied"], "1D", SeriesError, "permission denied")


@scenario("denied interval")
async def denied_interval() -> None:
    await check_refused("NASDAQ:AAPL", "10S", SeriesError, "seconds_not_entitled")
    await check_refused("NASDAQ:AAPL", "7", SeriesError, "custom_resolution")


@scenario("signed in by cookies")
async def signed_in() -> None:
    async with OHLCV(cookies=COOKIES) as client:
        assert client.account is not None, "anonymous"
        bars = await client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", bars_count=6_000)
    check_beyond_the_window(rows(bars))


async def check_scan(**options: Any) -> None:
    service = ScannerService(base_url=HTTP_URL, max_retries=1)
    response = await service.scan_market(Market.AMERICA, create_scanner_request(**options))
    assert response.data, response


@scenario("screener")
async def screener() -> None:
    await check_scan(columns=["name", "close", "volume"])


@scenario("screener with all columns")
async def screener_with_all_columns() -> None:
    await check_scan()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tvkit_validator.httpx = tvkit_tokens.httpx = RedirectedHttpx()
    use(WS_URL)
    main()
