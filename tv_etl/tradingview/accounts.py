"""Who a connection signs in as: nobody, the holder of a token, or a browser session.

The chart server takes a token. A session cookie is exchanged for one at the site, as the site's own pages do, and again
once the token has expired. Secrets appear in no repr, log or error; nothing here falls back to anonymous.
"""

import asyncio
import base64
import binascii
import contextvars
import ipaddress
import json
import logging
import os
import re
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from tv_etl.tradingview.errors import AuthError, ConnectionFailedError, TradingViewError
from tv_etl.tradingview.protocol import ANONYMOUS_TOKEN
from tv_etl.tradingview.proxy import CERTIFICATE_ADVICE, Proxy
from tv_etl.tradingview.retry_after import read_retry_after
from tv_etl.tradingview.tls import tls_context

TOKEN_VARIABLE = "TV_ETL_AUTH_TOKEN"  # a name  # nosec B105
SESSION_VARIABLE = "TV_ETL_SESSION_ID"
SESSION_SIGN_VARIABLE = "TV_ETL_SESSION_ID_SIGN"

SITE_URL = "https://www.tradingview.com/"

# The site's page is about 1 MB; the token is in its first tenth.
MAX_PAGE_BYTES = 8 * 1024 * 1024
MAX_TOKEN_LENGTH = 8_192

# A token this close to its expiry may expire on its way.
_EXPIRY_MARGIN_S = 30.0

_AUTH_TOKEN = re.compile(rb'"auth_token"\s*:\s*"([^"\\]{1,%d})"' % MAX_TOKEN_LENGTH)
_MARK_LENGTH = len('"auth_token" : ""') + 64
_SECRET_TEXT = re.compile(r"[!#-+\--:<-\[\]-~]+")  # RFC 6265 §4.1.1: what a cookie's value may hold

_is_exchanging = contextvars.ContextVar("_is_exchanging", default=False)


class _DropWhileExchanging(logging.Filter):
    # httpcore logs the headers of an answer at DEBUG, and a cookie may be in them; other users keep their logs.
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_exchanging.get()


for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_DropWhileExchanging())


class Secret:
    """Text that only `reveal` shows; it cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def hide_in(self, text: str) -> str:
        """The text with asterisks for every character of the secret, so that its length stays the same."""
        return text.replace(self._text, "*" * len(self._text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"

    def __reduce__(self) -> Any:
        raise TypeError("a secret cannot be pickled")


class AuthToken(Secret):
    """What `set_auth_token` takes; most are JWTs, whose claims are read but not verified."""

    __slots__ = ("expires_at", "has_plan")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        claims = _claims(text)
        expires_at = claims.get("exp")
        is_number = isinstance(expires_at, int | float) and not isinstance(expires_at, bool)
        self.expires_at: float | None = expires_at if is_number else None
        self.has_plan = bool(claims.get("plan"))

    @property
    def is_anonymous(self) -> bool:
        return self._text == ANONYMOUS_TOKEN

    def lasts(self, until: float) -> bool:
        """True unless the token is known to have expired by then (UTC seconds)."""
        return self.expires_at is None or self.expires_at > until

    def check(self, now: float) -> None:
        """Raise AuthError if the token has expired at `now`."""
        if self.expires_at is not None and not self.lasts(now):
            raise AuthError(f"the account's token expired {_moment(self.expires_at)}: get a new one")


class Account:
    """The account of `auth_token` or of the cookie `session_id` (`sessionid` on the site); anonymous without either.

    `session_id_sign` is the cookie `sessionid_sign`, which the site also wants for some accounts. Raises AuthError if
    both a token and a session are given, or if a value contains what no token or cookie can.
    """

    def __init__(
        self,
        auth_token: str | None = None,
        *,
        session_id: str | None = None,
        session_id_sign: str | None = None,
        site_url: str = SITE_URL,
    ) -> None:
        if auth_token and session_id:
            raise AuthError("pass auth_token or session_id, not both")
        if session_id_sign and not session_id:
            raise AuthError("session_id_sign needs a session_id")
        if session_id and not is_private(site_url, "https"):
            raise AuthError(f"{_host(site_url)}: a session is only sent over https")
        self._token = AuthToken(_checked("auth_token", auth_token)) if auth_token else None
        self._session_id = Secret(_checked("session_id", session_id)) if session_id else None
        self._sign = Secret(_checked("session_id_sign", session_id_sign)) if session_id_sign else None
        self._site_url = site_url

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Account":
        """The account of TV_ETL_AUTH_TOKEN, or of TV_ETL_SESSION_ID (and TV_ETL_SESSION_ID_SIGN); else anonymous."""
        return cls(
            environment.get(TOKEN_VARIABLE),
            session_id=environment.get(SESSION_VARIABLE),
            session_id_sign=environment.get(SESSION_SIGN_VARIABLE),
        )

    def __repr__(self) -> str:
        kind = "session" if self._session_id else "anonymous" if self.is_anonymous else "token"
        return f"Account({kind})"

    @property
    def is_anonymous(self) -> bool:
        return self._session_id is None and (self._token is None or self._token.is_anonymous)

    async def token(self, limit_s: float, proxy: Proxy | None = None) -> AuthToken:
        """The token to connect with now; a session is exchanged for one, through a proxy, unless one is at hand.

        Raises AuthError if the token has expired or the site does not know the session, ConnectionFailedError if the
        site does not answer within `limit_s`.
        """
        now = time.time()
        if self._session_id is None:
            token = self._token or AuthToken(ANONYMOUS_TOKEN)
            token.check(now)
            return token
        if self._token is None or not self._token.lasts(now + _EXPIRY_MARGIN_S):
            self._token = await self._exchange(limit_s, proxy)
            self._token.check(now)
        return self._token

    def reject(self, token: AuthToken) -> None:
        """Forget a token that the server refused: a session is exchanged for a new one next time."""
        if self._session_id is not None and self._token is token:
            self._token = None

    async def _exchange(self, limit_s: float, proxy: Proxy | None) -> AuthToken:
        host = _host(self._site_url)
        reset = _is_exchanging.set(True)
        try:
            return await asyncio.wait_for(self._read_token(host, proxy), limit_s)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            failure = ConnectionFailedError(f"{host}: no token for the session within {limit_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            way = "" if proxy is None else f" through proxy {proxy.host}"
            advice = CERTIFICATE_ADVICE if _is_untrusted(error) else ""
            failure = ConnectionFailedError(f"{host}: no token for the session{way}: {type(error).__name__}{advice}")
            failure.retryable = not _is_untrusted(error)
        finally:
            _is_exchanging.reset(reset)
        # Not within the handlers: the library's error, which quotes what was sent, would hang on ours.
        raise failure

    async def _read_token(self, host: str, proxy: Proxy | None) -> AuthToken:
        assert self._session_id is not None
        cookie = f"sessionid={self._session_id.reveal()}"
        if self._sign is not None:
            cookie += f"; sessionid_sign={self._sign.reveal()}"
        # Identity: a compressed page could grow without bound while it is unpacked.
        headers = {"Cookie": cookie, "Accept-Encoding": "identity", "User-Agent": "tv-etl"}
        async with (
            httpx.AsyncClient(
                verify=tls_context(),
                trust_env=False,
                proxy=None if proxy is None else proxy.reveal(),
                follow_redirects=False,
                timeout=None,  # the caller's deadline is for the whole exchange  # nosec B113
            ) as client,
            client.stream("GET", self._site_url, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise _refusal(host, response)
            return await _find_token(host, response)


def account_of(auth_token: str | None, account: Account | None) -> Account:
    """The given account, or that of the token; anonymous without either. Raises AuthError if both are given."""
    if auth_token and account is not None:
        raise AuthError("pass auth_token or account, not both")
    return account or Account(auth_token)


def is_private(url: str, *secure_schemes: str) -> bool:
    """True if nobody on the way can read what is sent to the address: it is encrypted or stays on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme in secure_schemes or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _find_token(host: str, response: httpx.Response) -> AuthToken:
    tail, received = b"", 0
    # An iterator by its type, a generator in fact: left alone, it would end after the log is open again.
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_raw())) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            tail += chunk
            found = _AUTH_TOKEN.search(tail)
            if found is not None:
                return _page_token(host, found[1])
            if received > MAX_PAGE_BYTES:
                break
            tail = tail[-(MAX_TOKEN_LENGTH + _MARK_LENGTH) :]
    raise AuthError(f"{host}: the session was not accepted: the page holds no token; sign in again")


def _page_token(host: str, found: bytes) -> AuthToken:
    text = found.decode("latin-1")
    if text == ANONYMOUS_TOKEN:
        raise AuthError(f"{host}: the session was not accepted: the page is an anonymous visitor's; sign in again")
    if not _SECRET_TEXT.fullmatch(text):
        raise AuthError(f"{host}: the page's auth_token is not a token")
    return AuthToken(text)


def _refusal(host: str, response: httpx.Response) -> TradingViewError:
    status = response.status_code
    if status in (401, 403):
        return AuthError(f"{host}: refused the session with HTTP {status}")
    error = ConnectionFailedError(
        f"{host}: HTTP {status} instead of a token for the session",
        retry_after_s=read_retry_after(response.headers.get("Retry-After", ""), response.headers.get("Date", "")),
    )
    error.retryable = status in (408, 425, 429) or status >= 500
    return error


def _is_untrusted(error: BaseException) -> bool:
    linked: BaseException | None = error
    while linked is not None and not isinstance(linked, ssl.SSLCertVerificationError):
        linked = linked.__cause__ or linked.__context__
    return linked is not None


def _checked(name: str, text: str) -> str:
    text = text.strip()
    if not _SECRET_TEXT.fullmatch(text) or len(text) > MAX_TOKEN_LENGTH:
        raise AuthError(f"{name}: expected 1 to {MAX_TOKEN_LENGTH} characters that a cookie may hold (RFC 6265)")
    return text


def _claims(token: str) -> dict[str, Any]:
    """The payload of a JWT; empty for any other token, which the server may accept all the same."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def _moment(seconds: float) -> str:
    try:
        return f"at {datetime.fromtimestamp(seconds, tz=timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return "long ago"


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "the site"
    except ValueError:
        return "the site"
