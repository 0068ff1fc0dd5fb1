"""What assets and sensors use: TradingView, the lake, and the store of the alerts.

Each has a synchronous interface: the client's event loop runs in a thread of its own. They are plain objects, not
Dagster's configurable resources: a run's config, in which anybody who may launch a run can name a variable of the
environment and an address to send it to, sets nothing of them. Secrets are read from the environment where they are
used and are no fields.

Definitions are loaded by every run, tick and code server, so what a resource stands for is imported where it is first
used: pyarrow, numpy, websockets and httpx take as long as half of Dagster.
"""

import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import dagster as dg

from tv_etl.watchlist.model import Alerts

if TYPE_CHECKING:
    from tv_etl.alerts.inputs import AlertInputs, Ask, Wants, Wider
    from tv_etl.alerts.store import AlertStore
    from tv_etl.alerts.targets.ping import Ping, ReadyPing
    from tv_etl.alerts.targets.target import ReadyTarget, UnusableTarget
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.accounts import Account
    from tv_etl.tradingview.history import HistoryResult
    from tv_etl.tradingview.models import HistoryRequest
    from tv_etl.tradingview.scan_request import ScanRequest

Resource = TypeVar("Resource")

# The database of the alerts, if it is not a file; its password is no field.
ALERTS_URL_VARIABLE = "TV_ETL_ALERTS_URL"

# Dagster gives up a sensor evaluation after 60 s.
SCAN_LIMIT_S = 30.0


class AccountVariables(NamedTuple):
    """Names of the environment variables that hold an account: its token, or the cookies of a session; empty for none.

    Each is what the variable TV_ETL_AUTH_TOKEN, TV_ETL_SESSION_ID or TV_ETL_SESSION_ID_SIGN is by default. Raises
    AuthError where it is used, if one that is named is not set.
    """

    auth_token: str = ""
    session_id: str = ""
    session_id_sign: str = ""


@dataclass(frozen=True)
class TradingViewResource:
    """TradingView's chart server, or anything that speaks its protocol.

    `ws_url` is the address of the WebSocket; empty means the environment's TV_ETL_WS_URL, else TradingView. The account
    is that of the environment, in the variables that `account` names: see `Account.from_environment`. `proxy` is what
    everything goes through; empty means the environment's TV_ETL_PROXY, else none.
    """

    ws_url: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)
    account: "AccountVariables | None" = None

    def fetch(self, requests: "Iterable[HistoryRequest]") -> "Iterator[HistoryResult]":
        """Fetch many series over one connection; yields `(request, table or error)` as each one finishes."""
        from tv_etl.tradingview.blocking import fetch_history

        return fetch_history(
            requests, ws_url=self.ws_url or None, account=_account(self.account), proxy=self.proxy or None
        )

    def alert_inputs(
        self, asks: "Mapping[str, Ask]", wants: "Wants | None" = None, wider: "Wider | None" = None
    ) -> "Generator[AlertInputs, None, None]":
        """The quote of each symbol now, and the one-minute bars of those that are wanted then (None: all), within 35 s.

        With them come the bars of other intervals that `wider` asks for. It comes in rounds, as it is answered.

        A symbol that fails has its error in place of what it failed to give. Raises TradingViewError if no connection
        can be opened.
        """
        from tv_etl.alerts.inputs import gather
        from tv_etl.tradingview.loop_thread import LoopThread
        from tv_etl.tradingview.ohlcv import OHLCV

        address, account, proxy = self.ws_url or None, _account(self.account), self.proxy or None
        with LoopThread() as loop:
            yield from loop.iterate(
                gather(lambda limits: OHLCV(address, account=account, limits=limits, proxy=proxy), asks, wants, wider)
            )


@dataclass(frozen=True)
class LakeResources:
    """The keys of a lake's resources in its code location; where there are several lakes, each has its own scope.

    With a `key_prefix` all else that is defined has names of its own as well, so that two lakes may have equal groups.
    """

    scope: str = ""
    key_prefix: tuple[str, ...] = ()

    def asset_key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([*self.key_prefix, name])

    def name(self, name: str) -> str:
        """The name of a job, schedule, sensor or dimension of partitions."""
        return re.sub(r"[^A-Za-z0-9_]", "_", "_".join([*self.key_prefix, name]))

    def only(self, name: str) -> str:
        """As `name`, of what a lake has once, whatever its groups are."""
        return self.name(name) if self.key_prefix else self.key(name)

    @property
    def alerts_key(self) -> dg.AssetKey:
        """The key of the asset `alerts`."""
        return self._only_key("alerts")

    @property
    def lake_key(self) -> dg.AssetKey:
        """The key of the asset `lake`."""
        return self._only_key("lake")

    def _only_key(self, name: str) -> dg.AssetKey:
        return self.asset_key(name) if self.key_prefix else dg.AssetKey(self.key(name))

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

    def store(self, *, run: str = "", asset: str = "") -> "BarStore":
        """The lake; where a `run` writes into it, on record as by that run of the asset."""
        from tv_etl.lake.store import BarStore
        from tv_etl.lake.written import Writer

        return BarStore(self.base, writer=Writer.here(run=run, asset=asset))


@dataclass(frozen=True)
class NotifierResource:
    """The store of the alerts, and the targets that they are delivered to.

    `store_path` is the SQLite file of the store, unless the environment's TV_ETL_ALERTS_URL names a PostgreSQL
    database, in which each `scope` has its own schema. `outbox_path` is the file in which alerts waited before there
    was a store. `targets` and `ping` are those of watchlist.yaml; their secrets are read from the environment when they
    are called.
    """

    store_path: str
    targets: Sequence[Mapping[str, Any]] = ()
    outbox_path: str = ""
    scope: str = ""
    ping: "Ping | None" = None

    def store(self) -> "AlertStore":
        """Raises StoreError if it cannot be used."""
        from tv_etl.alerts.former import bring_in_outbox
        from tv_etl.alerts.store import AlertStore

        store = AlertStore(os.environ.get(ALERTS_URL_VARIABLE) or Path(self.store_path), self.scope)
        if self.outbox_path:
            bring_in_outbox(store, Path(self.outbox_path), self.usable())
        return store

    def usable(self) -> "list[ReadyTarget | UnusableTarget]":
        """The targets; one whose variable is not set, or holds what it should not, says so."""
        from tv_etl.alerts.targets.target import ready

        return [ready(spec, os.environ) for spec in Alerts.model_validate({"targets": self.targets}).targets]

    def ready_ping(self) -> "ReadyPing | None":
        """The dead man's switch, if there is one."""
        from tv_etl.alerts.targets.ping import ready_ping

        return None if self.ping is None else ready_ping(self.ping, os.environ)


def _account(named: AccountVariables | None = None) -> "Account":
    from tv_etl.tradingview.accounts import SESSION_SIGN_VARIABLE, SESSION_VARIABLE, TOKEN_VARIABLE
    from tv_etl.tradingview.errors import AuthError

    variables = (TOKEN_VARIABLE, SESSION_VARIABLE, SESSION_SIGN_VARIABLE)
    if named is None:
        return _account_of(tuple((name, os.environ.get(name, "")) for name in variables))
    # Never anonymous where an account is meant.
    if missing := [name for name in named if name and not os.environ.get(name)]:
        raise AuthError(f"the account is to be read from {', '.join(missing)}, which the environment does not have")
    return _account_of(
        tuple((name, os.environ[own] if own else "") for name, own in zip(variables, named, strict=True))
    )


@lru_cache(maxsize=4)
def _account_of(values: tuple[tuple[str, str], ...]) -> "Account":
    from tv_etl.tradingview.accounts import Account

    # Kept across the runs and sensor evaluations of a process: a session is not exchanged for a token every 30 s.
    return Account.from_environment(dict(values))
