"""What assets and sensors use: TradingView, the lake, and the outbox of alerts.

Each has a synchronous interface: the client's event loop runs in a thread of its own. They are plain objects, not
Dagster's configurable resources: a run's config, in which anybody who may launch a run can name a variable of the
environment and an address to send it to, sets nothing of them. Secrets are read from the environment where they are
used and are no fields.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr

from tv_etl.alerts.outbox import Outbox
from tv_etl.alerts.webhooks import Webhook
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.accounts import SESSION_SIGN_VARIABLE, SESSION_VARIABLE, TOKEN_VARIABLE, Account
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.errors import SymbolError, TradingViewError
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory, feed_delay_s
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.scanner import ScannerService, ScanRequest
from tv_etl.watchlist.model import WebhookTarget

Resource = TypeVar("Resource")

# Of the environment: whose account is used.
VARIABLES = (TOKEN_VARIABLE, SESSION_VARIABLE, SESSION_SIGN_VARIABLE)

# Dagster gives up a sensor evaluation after 60 s and loses its cursor; delivery needs its share, too.
ALERT_INPUT_LIMIT_S = 20.0
ALERT_QUOTE_LIMIT_S = 8.0
SCAN_LIMIT_S = 30.0
# How far back a rule seen for the first time looks, to learn on which side of its level the price is.
FIRST_S = 600
DAY_S = 86_400.0
CENTURY_S = 36_525 * DAY_S


@dataclass(frozen=True)
class TradingViewResource:
    """TradingView's chart server, or anything that speaks its protocol.

    `ws_url` is the address of the WebSocket; empty means the environment's TV_ETL_WS_URL, else TradingView. The account
    is that of the environment: see `Account.from_environment`.
    """

    ws_url: str = field(default="", repr=False)

    def fetch(self, requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        """Fetch many series over one connection; yields `(request, table or error)` as each one finishes."""
        return fetch_history(requests, ws_url=self.ws_url or None, account=_account())

    def alert_inputs(self, since_by_symbol: Mapping[str, int | None]) -> "AlertInputs":
        """The quote of each symbol now, and its one-minute bars from the given UTC second on (None: the last few).

        All over one connection and within 20 s, the longest unseen first; a symbol that fails, or is not reached in
        time, has its error in place of bars. Raises TradingViewError if there is no connection or no quote at all.
        """
        with LoopThread() as loop:
            return loop.run(self._alert_inputs(since_by_symbol))

    async def _alert_inputs(self, since_by_symbol: Mapping[str, int | None]) -> "AlertInputs":
        ends_at = time.monotonic() + ALERT_INPUT_LIMIT_S
        client = OHLCV(self.ws_url or None, account=_account(), timeout_s=ALERT_QUOTE_LIMIT_S)
        async with client:
            quotes = await client.get_quotes(list(since_by_symbol))
            now, doubt = _believe(client.server_now(), time.time(), quotes.values())
            minutes: dict[str, SeriesHistory | TradingViewError] = {}
            requests: list[HistoryRequest] = []
            for symbol, since in sorted(since_by_symbol.items(), key=lambda item: item[1] or 0):
                start_s = now - delay_s(quotes.get(symbol)) - FIRST_S if since is None else since
                try:
                    requests.append(HistoryRequest(symbol, "1m", start=utc(start_s)))
                except Exception as error:  # whatever it is, it is this symbol's alone
                    minutes[symbol] = _expected(error)
            answers = await client.fetch_each(requests, timeout_s=ends_at - time.monotonic())
        minutes |= {request.symbol: _expected(answer) for request, answer in answers.items()}
        return AlertInputs(now, quotes, minutes, doubt)


@dataclass(frozen=True)
class LakeResources:
    """The keys of a lake's resources in its code location; where there are several lakes, each has its own scope."""

    scope: str = ""

    def key(self, name: str) -> str:
        return f"{self.scope}_{name}" if self.scope else name

    def keys(self, *names: str) -> set[str]:
        return {self.key(name) for name in names}

    def tradingview(self, context: "_HasResources") -> "TradingViewResource":
        return _get_resource(context, self.key("tradingview"), TradingViewResource)

    def scanner(self, context: "_HasResources") -> "ScannerResource":
        return _get_resource(context, self.key("scanner"), ScannerResource)

    def bar_store(self, context: "_HasResources") -> "BarStoreResource":
        return _get_resource(context, self.key("bar_store"), BarStoreResource)

    def notifier(self, context: "_HasResources") -> "NotifierResource":
        return _get_resource(context, self.key("notifier"), NotifierResource)


class _HasResources(Protocol):
    @property
    def resources(self) -> Any: ...


def _get_resource(context: _HasResources, key: str, kind: type[Resource]) -> Resource:
    resource = getattr(context.resources, key)
    assert isinstance(resource, kind), key
    return resource


@dataclass(frozen=True)
class AlertInputs:
    """What the alert rules are judged on.

    `now` is the server's clock in UTC seconds; this host's where the server's is not believed, and `doubt` says so.
    """

    now: float
    quotes: dict[str, QuoteSymbolData | SymbolError]
    minutes: dict[str, SeriesHistory | TradingViewError]
    doubt: str = ""


@dataclass(frozen=True)
class ScannerResource:
    """TradingView's screener, or anything that speaks its protocol.

    `base_url` is its address; empty means the environment's TV_ETL_SCANNER_URL, else TradingView's.
    """

    base_url: str = field(default="", repr=False)

    def symbols(self, request: ScanRequest) -> list[str]:
        """The symbols that are found, in the server's order, within 30 s. Raises ScannerError."""
        service = ScannerService(self.base_url or None, timeout_s=SCAN_LIMIT_S)
        with LoopThread() as loop:
            return loop.run(service.symbols(request))


@dataclass(frozen=True)
class BarStoreResource:
    """The lake: Parquet files in a directory or an object store.

    `base` is the directory of the lake or its address, e.g. s3://bucket/prefix; the dataset is in its folder `ohlcv`.
    Credentials for an object store are read from the environment.
    """

    base: str

    def store(self) -> BarStore:
        return BarStore(self.base)


@dataclass(frozen=True)
class NotifierResource:
    """The outbox of alerts and the webhooks that they are delivered to.

    `outbox_path` is the SQLite file in which alerts wait until they are delivered. `targets` are webhooks as in
    watchlist.yaml: url_env, kind, allow_private. Their addresses are read from the environment at delivery.
    """

    outbox_path: str
    targets: Sequence[Mapping[str, Any]] = ()

    def outbox(self) -> Outbox:
        return Outbox(Path(self.outbox_path))

    def webhooks(self) -> list[Webhook]:
        """Raises ValueError naming the environment variable that is not set."""
        return [_webhook(WebhookTarget.model_validate(target)) for target in self.targets]


def _expected(answer: SeriesHistory | Exception) -> SeriesHistory | TradingViewError:
    if isinstance(answer, SeriesHistory | TradingViewError):
        return answer
    return TradingViewError(described(answer))


def delay_s(quote: QuoteSymbolData | SymbolError | None) -> float:
    """How late the feed of a symbol is, as far as its quote says so; a day at most."""
    if not isinstance(quote, QuoteSymbolData):
        return 0.0
    return min(feed_delay_s(str(quote.symbol_info.get("update_mode", ""))) or 0.0, DAY_S)


def trade_time(quote: QuoteSymbolData | SymbolError | None, now: float) -> float | None:
    """When the quote's last trade was, in UTC seconds; None where it does not say, or says what cannot be."""
    value = quote.symbol_info.get("lp_time") if isinstance(quote, QuoteSymbolData) else None
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= now + DAY_S
    return float(value) if is_time and value is not None else None


def described(error: Exception) -> str:
    """An error that nobody expected, in a line."""
    return f"unexpected {type(error).__name__}: {printable(str(error))}"


def _believe(server: float, host: float, quotes: Iterable[QuoteSymbolData | SymbolError]) -> tuple[float, str]:
    """The clock to judge by, and why it is not the server's where it is not.

    One that is more than a day from this host's is believed only if trades are as far away: a market that is replayed.
    """
    if abs(server - host) <= DAY_S:
        return server, ""
    latest = min(max(server, host), host + CENTURY_S)
    trades = [traded for quote in quotes if (traded := trade_time(quote, latest)) is not None]
    if trades and abs(max(trades) - server) < abs(max(trades) - host):
        return server, ""
    days = min(abs(server - host) / DAY_S, 1e6)
    way = "ahead of" if server > host else "behind"
    return host, f"the server's clock is {days:,.0f} days {way} this host's, which is used instead"


def _account() -> Account:
    return _account_of(tuple((name, os.environ.get(name, "")) for name in VARIABLES))


@lru_cache(maxsize=4)
def _account_of(values: tuple[tuple[str, str], ...]) -> Account:
    # Kept across the runs and sensor evaluations of a process: a session is not exchanged for a token every 30 s.
    return Account.from_environment(dict(values))


def _webhook(target: WebhookTarget) -> Webhook:
    url = os.environ.get(target.url_env)
    if not url:
        raise ValueError(f"environment variable {target.url_env} is not set; it must hold the webhook's address")
    return Webhook(url=SecretStr(url), kind=target.kind, allow_private=target.allow_private)
