"""What is sent and what is told; retries, deadlines and bounds are tested with the scanner, which goes through it."""

import asyncio

import pytest

from tv_etl.tradingview.errors import ScannerError, SearchError
from tv_etl.tradingview.http_service import HttpQuestion, HttpService
from tv_etl_tests import own_clock
from tv_etl_tests.tradingview.lying_screener import Liar, http


def ask(liar: Liar, question: HttpQuestion, *, within_s: float = 10.0) -> bytes:
    async def run() -> bytes:
        async with liar.serving():
            service = HttpService(liar.url, "oracle", SearchError, try_s=5.0, retry_s=5.0, proxy="")
            deadline = asyncio.get_running_loop().time() + within_s
            async with service.client() as client:
                return await service.ask(client, question, deadline=deadline, late="no oracle")

    return own_clock.run(run())


def test_path_query_and_headers_are_sent() -> None:
    liar = Liar(http(b"yes"))
    question = HttpQuestion("GET", "/a/", 10, query={"text": "M&M é"}, headers={"Origin": "https://x"})
    assert ask(liar, question) == b"yes"
    first, *lines = liar.heads[0].decode().splitlines()
    assert first == "GET /a/?text=M%26M+%C3%A9 HTTP/1.1"
    assert {"Origin: https://x", "Accept-Encoding: gzip", "User-Agent: tv-etl"} <= set(lines)


def test_an_answer_longer_than_the_question_allows_is_not_read() -> None:
    with pytest.raises(SearchError, match="longer than 10 bytes"):
        ask(Liar(http(b"x" * 11)), HttpQuestion("GET", "/", 10))


def test_after_its_deadline_nothing_is_asked() -> None:
    liar = Liar(http(b"yes"))
    with pytest.raises(SearchError, match="no oracle") as caught:
        ask(liar, HttpQuestion("GET", "/", 10), within_s=0.0)
    assert caught.value.retryable
    assert liar.heads == []


def test_errors_are_of_the_callers_class_and_name_its_server() -> None:
    with pytest.raises(ScannerError, match="the oracle's address: expected https://host"):
        HttpService("ftp://x", "oracle", ScannerError, try_s=1.0, retry_s=1.0, proxy=None)
