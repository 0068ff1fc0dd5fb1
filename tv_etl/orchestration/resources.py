"""What assets and sensors use: TradingView, the lake, and the outbox of alerts.

Each has a synchronous interface: the client's event loop runs in a thread of its own. They are plain objects, not
Dagster's configurable resources: a run's config, in which anybody who may launch a run can name a variable of the
environment and an address to send it to, sets nothing of them. Secrets are read from the environment where they are
used and are no fields.

Definitions are loaded by every run, tick and code server, so what a resource stands for is imported where it is first
used: pyarrow, numpy, websockets and httpx take as long as half of Dagster.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import SecretStr

from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import WebhookTarget

if TYPE_CHECKING:
    from tv_etl.alerts.outbox import Outbox
    from tv_etl.alerts.webhooks import Webhook
    from tv_etl.lake.store import BarStore
    from tv_etl.orchestration.alert_inputs import AlertInputs
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.history import HistoryResult
    from tv_etl.tradingview.models import HistoryRequest
    from tv_etl.tradingview.scan_request import ScanRequest

Resource = TypeVar("Resource")

# Dagster gives up a sensor evaluation after 60 s and loses its cursor.
SCAN_LIMIT_S = 30.0


@dataclass(frozen=True)
class TradingViewResource:
    """TradingView's chart server, or anything that speaks its protocol.

    `ws_url` is the address of the WebSocket; empty means the environment's TV_ETL_WS_URL, else TradingView. The account
    is that of the environment: see `Account.from_environment`. `proxy` is what everything goes through; empty means the
    environment's TV_ETL_PROXY, else none.
    """

    ws_url: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)

    def fetch(self, requests: "Iterable[HistoryRequest]") -> "Iterator[HistoryResult]":
        """Fetch many series over one connection; yields `(request, table or error)` as each one finishes."""
        from tv_etl.tradingview.blocking import fetch_history

        return fetch_history(requests, ws_url=self.ws_url or None, account=_account(), proxy=self.proxy or None)

    def alert_inputs(self, since_by_symbol: Mapping[str, int | None]) -> "AlertInputs":
        """The quote of each symbol now, and its one-minute bars from the given UTC second on (None: the last few).

        All over one connection and within 20 s, the longest unseen first; a symbol that fails, or is not reached in
        time, has its error in place of bars. Raises TradingViewError if there is no connection or no quote at all.
        """
        from tv_etl.orchestration.alert_inputs import ALERT_QUOTE_LIMIT_S, read_alert_inputs
        from tv_etl.tradingview.loop_thread import LoopThread
        from tv_etl.tradingview.ohlcv import OHLCV

        client = OHLCV(self.ws_url or None, account=_account(), timeout_s=ALERT_QUOTE_LIMIT_S, proxy=self.proxy or None)
        with LoopThread() as loop:
            return loop.run(read_alert_inputs(client, since_by_symbol))


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
class ScannerResource:
    """TradingView's screener, or anything that speaks its protocol.

    `base_url` is its address; empty means the environment's TV_ETL_SCANNER_URL, else TradingView's.
    """

    base_url: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)

    def symbols(self, request: "ScanRequest") -> list[str]:
        """The symbols that are found, in the server's order, within 30 s. Raises ScannerError."""
        from tv_etl.tradingview.loop_thread import LoopThread
        from tv_etl.tradingview.scanner import ScannerService

        service = ScannerService(self.base_url or None, timeout_s=SCAN_LIMIT_S, proxy=self.proxy or None)
        with LoopThread() as loop:
            return loop.run(service.symbols(request))


@dataclass(frozen=True)
class BarStoreResource:
    """The lake: Parquet files in a directory or an object store.

    `base` is the directory of the lake or its address, e.g. s3://bucket/prefix; the dataset is in its folder `ohlcv`.
    Credentials for an object store are read from the environment.
    """

    base: str

    def store(self) -> "BarStore":
        from tv_etl.lake.store import BarStore

        return BarStore(self.base)


@dataclass(frozen=True)
class NotifierResource:
    """The outbox of alerts and the webhooks that they are delivered to.

    `outbox_path` is the SQLite file in which alerts wait until they are delivered. `targets` are webhooks as in
    watchlist.yaml: url_env, kind, allow_private. Their addresses are read from the environment at delivery.
    """

    outbox_path: str
    targets: Sequence[Mapping[str, Any]] = ()

    def outbox(self) -> "Outbox":
        from tv_etl.alerts.outbox import Outbox

        return Outbox(Path(self.outbox_path))

    def webhooks(self) -> "list[Webhook]":
        """Raises ValueError naming the environment variable that is not set."""
        return [_webhook(WebhookTarget.model_validate(target)) for target in self.targets]


def described(error: Exception) -> str:
    """An error that nobody expected, in a line."""
    return f"unexpected {type(error).__name__}: {printable(str(error))}"


def _account() -> "Account":
    from tv_etl.tradingview.accounts import SESSION_SIGN_VARIABLE, SESSION_VARIABLE, TOKEN_VARIABLE

    variables = (TOKEN_VARIABLE, SESSION_VARIABLE, SESSION_SIGN_VARIABLE)
    return _account_of(tuple((name, os.environ.get(name, "")) for name in variables))


@lru_cache(maxsize=4)
def _account_of(values: tuple[tuple[str, str], ...]) -> "Account":
    from tv_etl.tradingview.accounts import Account

    # Kept across the runs and sensor evaluations of a process: a session is not exchanged for a token every 30 s.
    return Account.from_environment(dict(values))


def _webhook(target: WebhookTarget) -> "Webhook":
    from tv_etl.alerts.webhooks import Webhook

    url = os.environ.get(target.url_env)
    if not url:
        raise ValueError(f"environment variable {target.url_env} is not set; it must hold the webhook's address")
    return Webhook(url=SecretStr(url), kind=target.kind, allow_private=target.allow_private)
