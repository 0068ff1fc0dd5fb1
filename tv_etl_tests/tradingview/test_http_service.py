"""What is sent and what is told; retries, deadlines and bounds are tested with the scanner, which goes through it."""

import asyncio

import pytest

from tv_etl.tradingview.errors import SearchError
from tv_etl.tradingview.http_service import HttpQuestion, HttpService
from tv_etl_tests import own_clock
from tv_etl_tests.tradingview.lying_screener import Liar, http


class Oracle(HttpService):
    _name, _default_url, _url_variable, _error = "oracle", "https://oracle.invalid", "TV_ETL_NO_ORACLE", SearchError

    async def answer(self, question: HttpQuestion, within_s: float) -> bytes:
        deadline = asyncio.get_running_loop().time() + within_s
        async with self._client() as client:
            return await self._ask(client, question, deadline=deadline, late="no oracle")


def ask(liar: Liar, question: HttpQuestion, *, within_s: float = 10.0) -> bytes:
    async def run() -> bytes:
        async with liar.serving():
            return await Oracle(liar.url, try_s=5.0, retry_s=5.0, proxy="").answer(question, within_s)

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


def test_errors_are_of_the_services_class_and_name_it() -> None:
    with pytest.raises(SearchError, match="the oracle's address: expected https://host"):
        Oracle("ftp://x")


def test_the_address_is_the_one_given_or_that_of_the_environment_or_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Oracle().base_url == "https://oracle.invalid"
    monkeypatch.setenv("TV_ETL_NO_ORACLE", "https://elsewhere.invalid/")
    assert Oracle().base_url == "https://elsewhere.invalid"
    assert Oracle("https://here.invalid").base_url == "https://here.invalid"
