"""The scanner on the market server's screener, and on servers that no screener should be."""

import asyncio
import gzip
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listings import find_listing, listings
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer, serve_in_thread
from tv_etl.tradingview.errors import ScannerError
from tv_etl.tradingview.scanner import ScanFilter, ScannerService, ScanRequest, ScanRow, ScanSort
from tv_etl_tests import own_clock
from tv_etl_tests.conftest import NOW
from tv_etl_tests.tradingview.lying_screener import Liar, http, page

EVERYTHING = ScanRequest(market="global", limit=None)
LISTED = Market(7).listed_symbols()
FUNDS_AND_PAIRS = [symbol for symbol, each in listings().items() if each.kind in ("fund", "forex")]
SOME = EVERYTHING.model_copy(
    update={"filters": (ScanFilter(left="type", operation="in_range", right=("fund", "forex")),)}
)


@pytest.fixture(scope="module")
def server() -> Iterator[MarketServer]:
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(NOW.timestamp(), speed=0))) as running:
        yield running


async def collect(service: ScannerService, request: ScanRequest = EVERYTHING) -> list[ScanRow]:
    return [row async for row in service.scan(request)]


def scan(url: str, request: ScanRequest = EVERYTHING, **limits: Any) -> list[ScanRow]:
    return own_clock.run(collect(ScannerService(url, **limits), request))


# --- a screener as it should be ---------------------------------------------------------------------------------


def test_rows_have_their_symbol_and_the_values_of_the_columns(server: MarketServer) -> None:
    wanted = ScanRequest(columns=("close", "type"), filters=(ScanFilter(left="name", operation="equal", right="AAPL"),))
    (row,) = scan(server.http_url, wanted)
    assert row.symbol == "NASDAQ:AAPL"
    assert row.values["type"] == "stock"
    assert row.values["close"] > 0


def test_filters_and_sort_reach_the_server(server: MarketServer) -> None:
    wanted = ScanRequest(
        market="global",
        columns=("volume",),
        filters=(
            ScanFilter(left="type", operation="in_range", right=("stock", "fund")),
            ScanFilter(left="volume", operation="nempty"),
            ScanFilter(left="close", operation="egreater", right="low"),
        ),
        sort=ScanSort(by="volume", order="desc"),
        limit=None,
    )
    volumes = [row.values["volume"] for row in scan(server.http_url, wanted)]
    assert len(volumes) == sum(each.kind in ("stock", "fund") for symbol in LISTED if (each := find_listing(symbol)))
    assert volumes == sorted(volumes, reverse=True)


@pytest.mark.parametrize("page", [1, 5, 1_000])
def test_pages_of_any_size_give_every_row_once(server: MarketServer, page: int) -> None:
    service = ScannerService(server.http_url, page_rows=page)
    assert names(own_clock.run(collect(service, SOME))) == FUNDS_AND_PAIRS
    assert names(own_clock.run(collect(service, SOME.model_copy(update={"limit": 7})))) == FUNDS_AND_PAIRS[:7]


def test_thousands_of_rows_come_in_pages(server: MarketServer) -> None:
    assert names(own_clock.run(collect(ScannerService(server.http_url, page_rows=2_500)))) == LISTED


def test_symbols_alone_are_a_list(server: MarketServer) -> None:
    wanted = ScanRequest(market="futures", sort=ScanSort(by="name"), limit=3)
    found = own_clock.run(ScannerService(server.http_url).symbols(wanted))
    assert found == ["CME:6E1!", "CME:6EH2027", "CME:6EM2027"]


def test_the_environment_names_the_server(server: MarketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TV_ETL_SCANNER_URL", server.http_url + "/")
    assert ScannerService().base_url == server.http_url
    assert ScannerService("http://127.0.0.1:1").base_url == "http://127.0.0.1:1"
    monkeypatch.delenv("TV_ETL_SCANNER_URL")
    assert ScannerService().base_url == "https://scanner.tradingview.com"


def test_proxies_of_the_environment_are_not_used(server: MarketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert len(scan(server.http_url)) == len(LISTED)


def test_a_refusal_has_the_servers_reason_and_is_not_tried_again(server: MarketServer) -> None:
    for wanted, words in (
        (ScanRequest(columns=("change.5",)), r'HTTP 400: Unknown field "change\.5"'),
        (ScanRequest(market="moon"), 'HTTP 400: Unknown market "moon"'),
    ):
        with pytest.raises(ScannerError, match=words) as caught:
            scan(server.http_url, wanted)
        assert (caught.value.status, caught.value.retryable) == (400, False)


def test_a_busy_server_is_asked_again_after_what_it_wishes() -> None:
    with serve_in_thread(Market(7), ServerOptions(http_busy=2, http_retry_after_s=0)) as busy:
        assert len(scan(busy.http_url)) == len(LISTED)


def test_a_wish_beyond_the_budget_is_told_at_once() -> None:
    with (
        serve_in_thread(Market(7), ServerOptions(http_busy=1, http_retry_after_s=30)) as busy,
        pytest.raises(ScannerError, match="HTTP 429") as caught,
    ):
        scan(busy.http_url)
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after_s) == (429, True, 30.0)


@pytest.mark.parametrize(
    "address",
    ["scanner.tradingview.com", "ftp://x", "http://", "https://x:port", "https://user:SECRET@x", "http://x?t=SECRET"],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address: str) -> None:
    with pytest.raises(ScannerError, match="scanner's address") as caught:
        ScannerService(address)
    assert "SECRET" not in str(caught.value)


# --- a server that does what it likes ---------------------------------------------------------------------------


def scan_of(liar: Liar, request: ScanRequest = EVERYTHING, **limits: Any) -> list[ScanRow]:
    async def run() -> list[ScanRow]:
        async with liar.serving():
            return await collect(ScannerService(liar.url, **limits), request)

    return own_clock.run(run())


def names(rows: list[ScanRow]) -> list[str]:
    return [row.symbol for row in rows]


def test_a_symbol_that_moves_between_pages_comes_once() -> None:
    liar = Liar(page(5, "A:A", "A:B"), page(5, "A:B", "A:C"), page(5, "A:D"))
    assert names(scan_of(liar)) == ["A:A", "A:B", "A:C", "A:D"]
    assert [first for first, _ in liar.ranges] == [0, 2, 4]


def test_more_rows_than_asked_for_are_not_passed_on() -> None:
    liar = Liar(page(3, "A:A", "A:B", "A:C"))
    assert names(scan_of(liar, EVERYTHING.model_copy(update={"limit": 2}))) == ["A:A", "A:B"]


@pytest.mark.parametrize("second", [page(9), page(9, "A:A", "A:B")])
def test_pages_that_end_early_or_repeat_are_no_whole_answer(second: bytes) -> None:
    with pytest.raises(ScannerError, match=r"no new row after \d of 9"):
        scan_of(Liar(page(9, "A:A", "A:B"), second))


@pytest.mark.parametrize(
    "failure",
    [http(b"", "500 Internal Server Error"), http(b"busy", "503 Service Unavailable", "Retry-After: 0"), b"",
     b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
     http(gzip.compress(b'{"totalCount":0}')[:-4], "200 OK", "Content-Encoding: gzip")],
)  # fmt: skip
def test_what_may_pass_is_tried_again(failure: bytes, caplog: pytest.LogCaptureFixture) -> None:
    liar = Liar(failure, page(1, "A:A"))
    with caplog.at_level(logging.WARNING):
        assert names(scan_of(liar)) == ["A:A"]
    assert len(liar.ranges) == 2
    assert "trying again" in caplog.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(b"", "302 Found", "Location: http://127.0.0.1:1/"), "HTTP 302"),
        (http(b'{"error":"no such page"}', "404 Not Found"), "HTTP 404: no such page"),
        (http(b"<html>"), "the answer is not a scan result"),
        (http(b"{}"), "the answer is not a scan result"),
        (http(b'{"totalCount":1,"data":' + b"[" * 60_000), "the answer is not a scan result"),
        (http(b'{"error":' + b"[" * 60_000, "404 Not Found"), "HTTP 404"),
        (http(b'{"error":"\\u001b]0;title"}', "404 Not Found"), "HTTP 404: \ufffd]0;title"),
        (http(b'{"totalCount":1,"data":[{"s":5,"d":[]}]}'), "the answer is not a scan result"),
        (http(b'{"totalCount":0,"error":"Unknown field \\"x\\"","data":null}'), 'refused: Unknown field "x"'),
        (page(1, "A:A", columns=4), "a row of the answer has other than 5 columns"),
        (http(b"x", "200 OK", "Content-Encoding: br"), "compressed with 'br'"),
        (http(b"no gzip at all", "200 OK", "Content-Encoding: gzip"), "cannot be decompressed"),
        (
            http(gzip.compress(bytes(17 * 1024**2)), "200 OK", "Content-Encoding: gzip"),
            "too long for what was asked for",
        ),
        (http(bytes(17 * 1024**2)), "too long for what was asked for"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_will_not_pass_is_told_at_once(answer: bytes, words: str) -> None:
    liar = Liar(answer)
    with pytest.raises(ScannerError, match=words) as caught:
        scan_of(liar)
    assert not caught.value.retryable
    assert len(liar.ranges) == 1


def test_a_packed_answer_is_read_and_only_gzip_is_asked_for() -> None:
    body = gzip.compress(b'{"totalCount":1,"data":[{"s":"A:A","d":[1,2,3,4,5]}]}')
    liar = Liar(http(body, "200 OK", "Content-Encoding: gzip"))
    assert scan_of(liar)[0].values["name"] == 1
    assert b"accept-encoding: gzip\r\n" in liar.heads[0].lower()
    assert b"cookie" not in liar.heads[0].lower()


def test_a_server_that_drips_or_says_nothing_ends_at_the_deadline() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    for answer in (drip, silence):
        liar = Liar(answer)
        with pytest.raises(ScannerError, match=r"no complete answer within 0\.1 s") as caught:
            scan_of(liar, try_s=0.1, timeout_s=0.3)
        assert caught.value.retryable
        assert 1 <= len(liar.ranges) <= 3


def test_the_budget_of_retries_ends() -> None:
    liar = Liar(http(b"", "502 Bad Gateway"))
    with pytest.raises(ScannerError, match="HTTP 502"):
        scan_of(liar, retry_s=0.8)
    assert 2 <= len(liar.ranges) <= 4


def test_the_deadline_is_for_the_scan_as_a_whole_but_not_for_its_consumer() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.12)
        writer.write(page(9, f"A:{len(liar.ranges)}"))

    liar = Liar(late)
    with pytest.raises(ScannerError, match="within"):
        scan_of(liar, timeout_s=0.5)
    assert 3 <= len(liar.ranges) <= 5

    async def dawdle() -> list[str]:
        seen = []
        async with slow.serving():
            async for row in ScannerService(slow.url, timeout_s=0.3).scan(EVERYTHING):
                seen.append(row.symbol)
                await asyncio.sleep(0.2)
        return seen

    slow = Liar(page(3, "A:A"), page(3, "A:B"), page(3, "A:C"))
    assert own_clock.run(dawdle()) == ["A:A", "A:B", "A:C"]


def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(ScannerError, match=r"127\.0\.0\.1:1: ConnectError") as caught:
        scan("http://127.0.0.1:1", retry_s=0.0)
    assert caught.value.retryable
