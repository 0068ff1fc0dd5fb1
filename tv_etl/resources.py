"""What assets and sensors use: TradingView, the lake, and the outbox of alerts.

Each is a synchronous face: the event loop of the client runs in a thread of its own.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, SecretStr

from tv_etl.alerts import MinuteBar
from tv_etl.bar_store import BarStore
from tv_etl.notify import Webhook
from tv_etl.outbox import Outbox
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.errors import NoBarsError, SymbolError, TradingViewError
from tv_etl.tradingview.history import WINDOW, HistoryResult
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.watchlist import WebhookTarget

# A sensor evaluation must end within 60 s whatever the server does.
ALERT_INPUT_LIMIT_S = 20.0
# A rule seen for the first time looks back so far to learn on which side of its level the price is.
FIRST_MINUTES = 10


class TradingViewResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # its parameter only types IO managers
    """TradingView's chart server, or anything that speaks its protocol."""

    ws_url: str = Field(
        default="",
        description="Address of the WebSocket; empty means the environment's TV_ETL_WS_URL, else TradingView.",
    )
    auth_token: str = Field(
        default="",
        description="Token of a TradingView account, as an EnvVar; empty means anonymous.",
    )

    def fetch(self, requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        """Fetch many series over one connection; yields `(request, table or error)` as each one finishes."""
        return fetch_history(requests, ws_url=self.ws_url or None, auth_token=self.auth_token or None)

    def alert_inputs(self, since_by_symbol: Mapping[str, int | None]) -> "AlertInputs":
        """The quote of each symbol now, and its one-minute bars from the given UTC second on (None: the last few).

        All over one connection and within 20 s; a symbol that fails has its error in place of data.
        """
        with LoopThread() as loop:
            return loop.run(self._alert_inputs(since_by_symbol))

    async def _alert_inputs(self, since_by_symbol: Mapping[str, int | None]) -> "AlertInputs":
        client = OHLCV(self.ws_url or None, auth_token=self.auth_token or None, timeout_s=ALERT_INPUT_LIMIT_S)
        async with client:
            quotes = await client.get_quotes(list(since_by_symbol))
            now = client.server_now()
            # One window for all: a market open for an hour costs sixty bars, and answers come in parallel.
            window = asyncio.Semaphore(WINDOW)
            minutes = await asyncio.gather(
                *(_minutes(client, window, symbol, since, now) for symbol, since in since_by_symbol.items())
            )
        return AlertInputs(now, quotes, dict(zip(since_by_symbol, minutes, strict=True)))


@dataclass(frozen=True)
class AlertInputs:
    """What the alert rules are judged on; `now` is the server's clock in UTC seconds."""

    now: float
    quotes: dict[str, QuoteSymbolData | SymbolError]
    minutes: dict[str, list[MinuteBar] | TradingViewError]


class BarStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake: a directory of Parquet files."""

    base: str = Field(description="Directory of the lake; the dataset lies in its folder `ohlcv`.")

    def store(self) -> BarStore:
        return BarStore(self.base)


class NotifierResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The outbox of alerts and the webhooks that it is delivered to.

    The addresses are read from the environment at delivery and stand in no configuration.
    """

    outbox_path: str = Field(description="SQLite file in which alerts wait until they are delivered.")
    targets: list[dict[str, Any]] = Field(
        default_factory=list, description="Webhook targets as in watchlist.yaml: url_env, kind, allow_private."
    )

    def outbox(self) -> Outbox:
        return Outbox(Path(self.outbox_path))

    def webhooks(self) -> list[Webhook]:
        """Raises ValueError naming the environment variable that is not set."""
        return [_webhook(WebhookTarget.model_validate(target)) for target in self.targets]


async def _minutes(
    client: OHLCV, window: asyncio.Semaphore, symbol: str, since: int | None, now: float
) -> list[MinuteBar] | TradingViewError:
    start = datetime.fromtimestamp(now - FIRST_MINUTES * 60 if since is None else since, tz=timezone.utc)
    async with window:
        try:
            bars = await client.get_historical_ohlcv(symbol, "1", start=start)
        except NoBarsError as error:
            # A closed market has no new minutes; an answer that did not come is another matter.
            return [] if error.is_empty_answer else error
        except TradingViewError as error:
            return error
    return [MinuteBar(bar.timestamp, bar.open, bar.high, bar.low, bar.close) for bar in bars]


def _webhook(target: WebhookTarget) -> Webhook:
    url = os.environ.get(target.url_env)
    if not url:
        raise ValueError(f"environment variable {target.url_env} is not set: alerts have no address to go to")
    return Webhook(url=SecretStr(url), kind=target.kind, allow_private=target.allow_private)
