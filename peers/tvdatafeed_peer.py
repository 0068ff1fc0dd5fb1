"""tvDatafeed on the market server."""

import os
import time
from typing import Any

os.environ["TZ"] = "UTC"  # it stamps bars with the local time of the machine
time.tzset()

import tvDatafeed.main  # noqa: E402
from tvDatafeed import Interval, TvDatafeed  # noqa: E402

from peers.peer import EXPECTED, HTTP_URL, WS_URL, check_beyond_the_window, check_same, main, scenario, zero_for_none  # noqa: E402

ADDRESS, ORIGIN = "wss://data.tradingview.com/socket.io/websocket", "https://data.tradingview.com"
INTERVALS = {"60": "1H", "120": "2H", "180": "3H", "240": "4H"}

create_connection = tvDatafeed.main.create_connection


def connect(url: str, **options: Any) -> Any:
    # Its WebSocket library makes the Origin of the address, which would be ours.
    assert url == ADDRESS, url
    return create_connection(WS_URL, origin=ORIGIN, **options)


# --- scenarios --------------------------------------------------------------------------------------------------


def history(client: Any, symbol: str, interval: str, count: int) -> list[Any]:
    exchange, _, ticker = symbol.partition(":")
    frame = client.get_hist(ticker, exchange, Interval(INTERVALS.get(interval, interval)), count)
    assert frame is not None, f"{symbol}: no data"
    times = [int(moment.timestamp()) for moment in frame.index]
    columns = [frame[column].tolist() for column in ("open", "high", "low", "close", "volume")]
    return list(zip(times, *columns, strict=True))


def check_count(case: dict[str, Any], name: str) -> None:
    bars = history(TvDatafeed(), case["symbol"], case["interval"], case["count"])
    check_same(bars, zero_for_none(case["bars"]), name)


@scenario("history by count")
async def history_by_count() -> None:
    for name, case in EXPECTED["history"].items():
        check_count(case, name)


@scenario("history beyond 5,000 bars")
async def history_beyond_5000() -> None:
    check_count(EXPECTED["beyond_5000"], "days")


async def check_none(symbol: str) -> None:
    exchange, _, ticker = symbol.partition(":")
    assert TvDatafeed().get_hist(ticker, exchange, Interval.in_daily, 10) is None


@scenario("unknown symbol")
async def unknown_symbol() -> None:
    await check_none(EXPECTED["unknown"])


@scenario("denied symbol")
async def denied_symbol() -> None:
    await check_none(EXPECTED["denied"])


@scenario("signed in by name")
async def signed_in_by_name() -> None:
    client = TvDatafeed(EXPECTED["session"], "password")
    assert client.token != "unauthorized_user_token", "anonymous"
    check_beyond_the_window(history(client, "BINANCE:BTCUSDT", "1", 6_000))


if __name__ == "__main__":
    tvDatafeed.main.create_connection = connect
    TvDatafeed._TvDatafeed__sign_in_url = f"{HTTP_URL}/accounts/signin/"
    main()
