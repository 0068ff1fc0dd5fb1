"""What a market server can be told, declared once for code, the command line and the tests' fixture."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tv_etl.market_server.accounts.accounts import ACCOUNT_PLANS, BANS
from tv_etl.market_server.accounts.plans import PLANS
from tv_etl.market_server.accounts.tokens import LIFETIME_S
from tv_etl.market_server.clock import MarketClock

_MAX_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a market is served. Raises ValueError for a value that no server can have.

    `host` is the address to listen on, `port` the WebSocket's port and `http_port` that of the screener and the pages;
    0 takes a free one. `tls` encrypts both, with a certificate made for the run; it needs the extra `tls`. `clock` is
    the market's time, by default this machine's.

    `plan` names the plan of a connection without an account, `account_plan` that of an account whose session names no
    other; its tokens last `token_lifetime_s`. `account_connections` limits the open WebSockets of an account (None: to
    the number in its plan). `ban` turns away everybody ("all"), every account ("user_id") or the address ("ip").

    `max_connections` limits the WebSockets open from one address, `rate_limit` those opened within a minute, and
    `session_rate` the chart sessions created per second on one connection; None is no limit.

    Everything sent is late by `latency_ms` and by up to `jitter_ms` more, at random. Heartbeats are `heartbeat_s`
    apart; changes of live series and quotes are sent every `update_ms` of real time. The first `http_busy` plain
    requests are answered with HTTP 429 and `Retry-After: http_retry_after_s`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    http_port: int = 0
    tls: bool = False
    clock: MarketClock | None = None
    plan: str = "anonymous"
    account_plan: str = "premium"
    account_connections: int | None = None
    token_lifetime_s: float = LIFETIME_S
    ban: str | None = None
    max_connections: int | None = None
    rate_limit: int | None = None
    session_rate: float | None = None
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    heartbeat_s: float = 10.0
    update_ms: float = 1_000.0
    http_busy: int = 0
    http_retry_after_s: int = 1

    def __post_init__(self) -> None:
        _check_choice("plan", self.plan, PLANS)
        _check_choice("account_plan", self.account_plan, ACCOUNT_PLANS)
        if self.ban is not None:
            _check_choice("ban", self.ban, BANS)
        for name in ("port", "http_port"):
            if not 0 <= getattr(self, name) <= _MAX_PORT:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 to {_MAX_PORT}")
        for name in ("token_lifetime_s", "session_rate", "heartbeat_s", "update_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} {value:g}: expected a number above 0")
        for name in (
            "account_connections", "max_connections", "rate_limit", "latency_ms", "jitter_ms", "http_busy",
            "http_retry_after_s",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} {value:g}: expected 0 or more")


def _check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} {value!r}: expected one of {', '.join(choices)}")
