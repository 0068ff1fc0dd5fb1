"""The proxy through which goes what is asked of TradingView: the WebSocket, the screener, a session's exchange.

    http://host:8080        HTTP CONNECT
    http://user:password@host:8080
    https://host:8443       the same, encrypted up to the proxy
    socks5h://host:1080     SOCKS 5, the proxy looks names up; socks5:// looks them up here (the extra `socks`)

Only what is given here, or in TV_ETL_PROXY, is used: HTTPS_PROXY and the like may be meant for anything.
"""

import os
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

PROXY_VARIABLE = "TV_ETL_PROXY"
# What OpenSSL reads beside the system's authorities; a company's proxy may present certificates of its own.
CERTIFICATE_ADVICE = "; trust an authority by naming a file of certificates in SSL_CERT_FILE"

_SOCKS = ("socks5", "socks5h")
_SCHEMES = ("http", "https", *_SOCKS)
_NEEDED_BY_SOCKS = ("python_socks", "socksio")


class Proxy:
    """The address of a proxy; its login is in no repr and no error. Raises ValueError for what is none."""

    __slots__ = ("_url", "host")

    def __init__(self, url: str) -> None:
        parts = _parse(url)
        self._url = url
        self.host = parts.netloc.rpartition("@")[2]
        if parts.scheme in _SOCKS and not all(map(find_spec, _NEEDED_BY_SOCKS)):
            raise ValueError(f"proxy {self.host}: SOCKS needs the extra `socks`: pip install 'tv-etl[socks]'")

    @classmethod
    def of(cls, url: str | None) -> "Proxy | None":
        """The proxy at an address, or without one (None) that of TV_ETL_PROXY; none if the text is empty."""
        url = os.environ.get(PROXY_VARIABLE) if url is None else url
        return cls(url) if url else None

    def reveal(self) -> str:
        """The address with its login."""
        return self._url

    def __repr__(self) -> str:
        return f"Proxy({self.host!r})"


def _parse(url: str) -> SplitResult:
    right = "expected http://host:port, with user:password@ before the host if need be, https:// or socks5h://"
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname and parts.port)
    except ValueError:
        raise ValueError(f"the proxy's address is no URL: {right}") from None
    if parts.scheme not in _SCHEMES or not is_whole or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"proxy {_shown(parts)!r}: {right}")
    if parts.username is not None and parts.password is None:
        raise ValueError(f"proxy {_shown(parts)!r}: a user without a password: {right}")
    return parts


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
