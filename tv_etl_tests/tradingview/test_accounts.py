"""Accounts against a real site and a real chart server on loopback: what is sent, refused, and never shown."""

import asyncio
import base64
import copy
import json
import pickle
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.tradingview import services
from tv_etl.tradingview.accounts import MAX_PAGE_BYTES, Account, AuthToken, Secret, is_private
from tv_etl.tradingview.errors import AuthError, ConnectionFailedError, TradingViewError
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import NOW, Line, bars, raw_server, scripted_server, series_completed

QUICK = Limits(open_s=1.0, progress_s=0.5)
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


def jwt(**claims: Any) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS512", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"signature"))


class Site:
    """What the site was asked, and its address."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []


@asynccontextmanager
async def site(answer: Callable[[Writer], Awaitable[None]]) -> AsyncIterator[Site]:
    """A site whose answer the test writes byte by byte."""
    seen = Site()

    async def serve(reader: Reader, writer: Writer) -> None:
        seen.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await answer(writer)
        await writer.drain()

    async with raw_server(serve) as url:
        seen.url = url.replace("ws://", "http://")
        yield seen


def page(body: str, status: str = "200 OK", *headers: str) -> Callable[[Writer], Awaitable[None]]:
    async def answer(writer: Writer) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n".encode() + "".join(f"{each}\r\n" for each in headers).encode())
        writer.write(b"Connection: close\r\n\r\n" + body.encode())

    return answer


def home(token: str) -> str:
    return f'<html><script>window.user = {{"id":1,"auth_token":"{token}","username":"é"}};</script>{"x" * 9_000}</html>'


async def chart(line: Line, method: str, params: list[Any]) -> None:
    """A chart server that answers a series and takes any token."""
    if method == "create_series":
        row = [float(NOW), 1.0, 2.0, 0.5, 1.5, 10.0]
        await line.say(bars(params[0], row), series_completed(params[0]))


def tokens(server: Any) -> list[str]:
    return [each["p"][0] for line in server.lines for each in line.received if each["m"] == "set_auth_token"]


async def fetch(connection: ConnectionService) -> None:
    await MessageService(connection).fetch(HistoryRequest("NASDAQ:AAPL", "1D", bars_count=1))


def refusal_of(account: Account, answer: Callable[[Line, str, list[Any]], Awaitable[None]] = chart) -> TradingViewError:
    """The error a fetch ends with; the chart server must have seen no token but the account's."""

    async def run() -> TradingViewError:
        async with scripted_server(answer) as server:
            connection = ConnectionService(server.url, account=account, limits=QUICK)
            with pytest.raises(TradingViewError) as error:
                await fetch(connection)
            await connection.close()
            assert "unauthorized_user_token" not in tokens(server)
            return error.value

    return own_clock.run(run())


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({}, "unauthorized_user_token"),
        ({"auth_token": "abc"}, "abc"),
        ({"account": Account()}, "unauthorized_user_token"),
        ({"account": Account("abc\n")}, "abc"),
    ],
)
def test_the_accounts_token_is_what_the_server_gets(arguments: dict[str, Any], sent: str) -> None:
    async def run() -> None:
        async with scripted_server(chart) as server:
            async with ConnectionService(server.url, limits=QUICK, **arguments) as connection:
                await fetch(connection)
            assert tokens(server) == [sent]

    own_clock.run(run())


def test_an_expired_token_is_refused_before_anything_is_sent() -> None:
    token = jwt(exp=1_795_000_000, plan="pro")

    async def run() -> None:
        async with scripted_server(chart) as server:
            with pytest.raises(AuthError) as error:
                await ConnectionService(server.url, auth_token=token, limits=QUICK).connect()
            assert not server.requests
            assert not error.value.retryable
            assert "expired at 2026-11-18 11:06:40 UTC" in str(error.value)
            assert token.split(".")[1] not in str(error.value)

    own_clock.run(run())


def test_a_token_with_time_left_is_used() -> None:
    token = AuthToken(jwt(exp=time.time() + 60))
    token.check(time.time())
    assert token.lasts(time.time())
    with pytest.raises(AuthError):
        token.check(time.time() + 61)


@pytest.mark.parametrize(
    "token",
    ["widget_user_token", "a.b.c", "..", jwt(exp="soon"), jwt(exp=True), jwt(exp=None), jwt(), "a." + "W10" + ".c"],
)
def test_a_token_without_a_readable_expiry_is_for_the_server_to_judge(token: str) -> None:
    assert AuthToken(token).expires_at is None
    AuthToken(token).check(time.time())


@given(st.text(), st.binary())
def test_no_token_can_break_the_reading_of_its_claims(text: str, claims: bytes) -> None:
    AuthToken(text).lasts(0.0)
    AuthToken(f"a.{base64.urlsafe_b64encode(claims).decode()}.c").lasts(0.0)


@pytest.mark.parametrize("expires_at", [-1e300, -1.0, 0.0, 1.0])
def test_a_token_may_have_expired_before_any_calendar(expires_at: float) -> None:
    with pytest.raises(AuthError, match="expired"):
        AuthToken(jwt(exp=expires_at)).check(time.time())


def test_a_rejected_token_is_an_error_and_no_downgrade() -> None:
    async def reject(line: Line, method: str, params: list[Any]) -> None:
        if method == "set_auth_token":
            # A server may quote what it rejects.
            await line.say({"m": "protocol_error", "p": [f"bad auth token {params[0]}"]})
            await line.close(1000)

    error = refusal_of(Account("CANARY"), reject)
    assert isinstance(error, AuthError)
    assert not error.retryable
    assert "bad auth token ******" in str(error)


@pytest.mark.parametrize(
    ("plan", "is_paid"), [("pro_premium", True), ("", False), (None, False)], ids=["paid", "free", "no claim"]
)
def test_a_paid_plan_uses_its_own_host(plan: str | None, is_paid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TV_ETL_WS_URL", raising=False)
    assert services.PAID_WS_URL.startswith("wss://prodata.tradingview.com/socket.io/websocket")

    async def run() -> None:
        async with scripted_server(chart) as free, scripted_server(chart) as paid, scripted_server(chart) as own:
            monkeypatch.setattr(services, "DEFAULT_WS_URL", free.url)
            monkeypatch.setattr(services, "PAID_WS_URL", paid.url)
            token = jwt(plan=plan, exp=time.time() + 600)
            for url in (None, own.url):
                async with ConnectionService(url, auth_token=token, limits=QUICK) as connection:
                    await fetch(connection)
            assert (len(free.lines), len(paid.lines), len(own.lines)) == (not is_paid, is_paid, 1)

    own_clock.run(run())


def test_a_token_is_not_sent_in_the_clear_over_a_network() -> None:
    async def run() -> None:
        with pytest.raises(AuthError, match=r"192\.0\.2\.1: an account's token is only sent over wss://"):
            await ConnectionService("ws://192.0.2.1/", auth_token="abc", limits=QUICK).connect()

    own_clock.run(run())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://192.0.2.1/", True),
        ("ws://192.0.2.1/", False),
        ("ws://127.0.0.9:80/", True),
        ("ws://[::1]:80/", True),
        ("ws://localhost/", True),
        ("ws://localhost.example.org/", False),
        ("ws://127.0.0.1@192.0.2.1/", False),
        ("ws://[::1", False),
        ("", False),
    ],
)
def test_loopback_and_tls_are_private(url: str, expected: bool) -> None:
    assert is_private(url, "wss") is expected


# --- sessions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "cookie"), [(None, "sessionid=s3ss10n"), ("v1:abc=", "sessionid=s3ss10n; sessionid_sign=v1:abc=")]
)
def test_a_session_is_exchanged_for_a_token(sign: str | None, cookie: str) -> None:
    token = jwt(exp=time.time() + 600)

    async def run() -> None:
        async with site(page(home(token))) as pages, scripted_server(chart) as server:
            account = Account(session_id="s3ss10n", session_id_sign=sign, site_url=pages.url)
            connection = ConnectionService(server.url, account=account, limits=QUICK)
            for _ in range(2):
                async with connection:
                    await fetch(connection)
            assert tokens(server) == [token, token]
            # It lasts: one exchange does for both connections.
            assert len(pages.requests) == 1
            assert f"Cookie: {cookie}\r\n" in pages.requests[0]

    own_clock.run(run())


@pytest.mark.parametrize(("left_s", "exchanges"), [(10.0, 2), (600.0, 1)])
def test_a_token_that_ends_soon_is_renewed(left_s: float, exchanges: int) -> None:
    async def run() -> None:
        async with site(page(home(jwt(exp=time.time() + left_s)))) as pages:
            account = Account(session_id="s3ss10n", site_url=pages.url)
            for _ in range(2):
                await account.token(1.0)
            assert len(pages.requests) == exchanges

    own_clock.run(run())


def test_a_rejected_token_of_a_session_is_exchanged_anew() -> None:
    async def reject_first(line: Line, method: str, params: list[Any]) -> None:
        if method == "set_auth_token" and len(line.server.lines) == 1:
            await line.say({"m": "protocol_error", "p": ["bad auth token"]})
        await chart(line, method, params)

    async def run() -> None:
        async with site(page(home("opaque"))) as pages, scripted_server(reject_first) as server:
            account = Account(session_id="s3ss10n", site_url=pages.url)
            connection = ConnectionService(server.url, account=account, limits=QUICK)
            with pytest.raises(AuthError, match="bad auth token"):
                await fetch(connection)
            await fetch(connection)
            await connection.close()
            assert len(pages.requests) == 2

    own_clock.run(run())


def site_refusal(answer: Callable[[Writer], Awaitable[None]]) -> TradingViewError:
    async def run() -> TradingViewError:
        async with site(answer) as pages:
            with pytest.raises(TradingViewError) as error:
                await Account(session_id="CANARY", site_url=pages.url).token(0.5)
            assert len(pages.requests) == 1
            assert "CANARY" not in str(error.value)
            return error.value

    return own_clock.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        page("<html>Sign in</html>"),
        page(home("unauthorized_user_token")),
        page(home("")),
        page(home("two words")),
        page(home("x" * 10_000)),
        page(home(jwt(exp=1))),
        page("", "403 Forbidden"),
        page("", "401 Unauthorized"),
    ],
    ids=["no token", "anonymous", "empty", "no token's text", "endless", "expired", "403", "401"],
)
def test_a_session_that_is_not_accepted_is_no_anonymous_account(answer: Callable[[Writer], Awaitable[None]]) -> None:
    error = site_refusal(answer)
    assert isinstance(error, AuthError)
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "retryable"), [("429 Too Many", True), ("503 Busy", True), ("404 Gone", False), ("204 None", False)]
)
def test_a_site_in_trouble_says_nothing_about_the_session(status: str, retryable: bool) -> None:
    error = site_refusal(page("", status, "Retry-After: 7"))
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable is retryable
    assert error.retry_after_s == 7


def test_a_cookie_does_not_follow_a_redirect() -> None:
    async def run() -> None:
        async with site(page(home("abc"))) as other, site(page("", "302 Found", f"Location: {other.url}")) as pages:
            with pytest.raises(ConnectionFailedError, match="302") as error:
                await Account(session_id="s3ss10n", site_url=pages.url).token(1.0)
            assert not error.value.retryable
            assert not other.requests

    own_clock.run(run())


def test_a_site_that_drips_ends_in_time() -> None:
    async def drip(writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    error = site_refusal(drip)
    assert isinstance(error, ConnectionFailedError)
    assert error.retryable
    assert "within 0.5 s" in str(error)


def test_an_endless_page_is_cut_off() -> None:
    sent = 0

    async def pour(writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" " * 65_536)
            await writer.drain()
            sent += 65_536

    async def run() -> None:
        async with site(pour) as pages:
            with pytest.raises(AuthError, match="no token"):
                await Account(session_id="s3ss10n", site_url=pages.url).token(5.0)

    own_clock.run(run())
    # What the sockets hold comes on top of what is read.
    assert MAX_PAGE_BYTES <= sent < 4 * MAX_PAGE_BYTES


@pytest.mark.parametrize("pieces", [1, 7, 1_000])
def test_a_token_may_arrive_in_pieces(pieces: int) -> None:
    async def slowly(writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        text = ("x" * 30_000 + home("abc.def")).encode()
        size = -(-len(text) // pieces)
        for start in range(0, len(text), size):
            writer.write(text[start : start + size])
            await writer.drain()

    async def run() -> str:
        async with site(slowly) as pages:
            return (await Account(session_id="s3ss10n", site_url=pages.url).token(2.0)).reveal()

    assert own_clock.run(run()) == "abc.def"


def test_a_site_that_is_not_there_is_worth_another_try() -> None:
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:1: no token for the session") as error:
        own_clock.run(Account(session_id="s3ss10n", site_url="http://127.0.0.1:1/").token(1.0))
    assert error.value.retryable


def test_a_session_is_not_sent_to_whom_nobody_vouches_for() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def run() -> None:
        async with scripted_server(chart, tls=context) as server:
            account = Account(session_id="s3ss10n", site_url=server.url.replace("wss://", "https://"))
            with pytest.raises(ConnectionFailedError, match="ConnectError") as error:
                await account.token(5.0)
            assert not error.value.retryable
            assert not server.requests

    own_clock.run(run())


def test_a_session_is_not_sent_in_the_clear_over_a_network() -> None:
    with pytest.raises(AuthError, match="only sent over https"):
        Account(session_id="s3ss10n", site_url="http://192.0.2.1/")


# --- where accounts come from, and what they show -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "Account(anonymous)"),
        ({"TV_ETL_AUTH_TOKEN": "", "TV_ETL_SESSION_ID": ""}, "Account(anonymous)"),
        ({"TV_ETL_AUTH_TOKEN": "abc"}, "Account(token)"),
        ({"TV_ETL_SESSION_ID": "abc"}, "Account(session)"),
        ({"TV_ETL_SESSION_ID": "abc", "TV_ETL_SESSION_ID_SIGN": "v1:x="}, "Account(session)"),
    ],
)
def test_the_environment_says_whose_account(environment: dict[str, str], shown: str) -> None:
    account = Account.from_environment(environment)
    assert repr(account) == shown
    assert account.is_anonymous is (shown == "Account(anonymous)")


@pytest.mark.parametrize(
    "arguments",
    [
        {"auth_token": "CANARY", "session_id": "x"},
        {"session_id_sign": "CANARY"},
        {"auth_token": "CANARY\r\nX: y"},
        {"session_id": "CANARY; other=1"},
        {"session_id": "CANARÿ"},
        {"auth_token": " "},
        {"auth_token": "CANARY" * 2_000},
    ],
)
def test_what_cannot_be_an_account_is_refused_without_quoting_it(arguments: dict[str, Any]) -> None:
    with pytest.raises(AuthError) as error:
        Account(**arguments)
    assert "CANAR" not in str(error.value)


def test_a_connection_has_one_account() -> None:
    with pytest.raises(AuthError, match="not both"):
        ConnectionService("ws://127.0.0.1:1/", auth_token="abc", account=Account("def"))


@pytest.mark.parametrize("secret", [Secret("CANARY"), AuthToken("CANARY")])
def test_a_secret_shows_itself_to_nobody(secret: Secret) -> None:
    assert secret.reveal() == "CANARY"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, repr({"a": [secret]})):  # noqa: UP031
        assert "CANARY" not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.deepcopy(secret)


def test_a_secret_is_hidden_in_foreign_text_without_changing_its_length() -> None:
    text = "~m~6~m~CANARY~m~2~m~{}"
    assert Secret("CANARY").hide_in(text) == "~m~6~m~******~m~2~m~{}"
