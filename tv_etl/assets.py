"""The `bars` assets: every series of a watchlist group, fetched over one connection, stored as it arrives."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone

import dagster as dg
import pyarrow as pa
from pydantic import Field

from tv_etl.bar_store import BarStore, Commit, Readjustment
from tv_etl.checks import check_specs, evaluate
from tv_etl.coverage import completeness, overlap_start
from tv_etl.partitions import partition_key, series_of, series_partitions
from tv_etl.resources import BarStoreResource, TradingViewResource
from tv_etl.store_errors import BarStoreError
from tv_etl.tradingview.errors import ProtocolError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist import Group

# An increment asks for bars that are stored already: it proves that nothing lies between, and shows revisions.
OVERLAP_BARS = 5
# All runs of all hosts together respect the server's limits through this pool.
POOL = "tradingview"
# A line in the run's log costs Dagster milliseconds: one for so many series, or for so many seconds.
PROGRESS_EVERY = 50
PROGRESS_EVERY_S = 10.0


Report = dg.AssetMaterialization | dg.AssetCheckEvaluation

_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("timestamp", "timestamp[us, UTC]", description="Open of the bar."),
        dg.TableColumn("open", "double"),
        dg.TableColumn("high", "double"),
        dg.TableColumn("low", "double"),
        dg.TableColumn("close", "double"),
        dg.TableColumn("volume", "double", description="Null where the instrument has no volume."),
    ]
)


class BarsConfig(dg.Config):
    """What a run asks for; empty means an increment of every selected partition."""

    start: str | None = Field(default=None, description="Backfill from this time on, ISO 8601 with a time zone.")
    end: str | None = Field(default=None, description="Backfill up to this time (exclusive), ISO 8601.")
    only: list[str] = Field(
        default_factory=list,
        description="Fetch just these partition keys, e.g. 1d|NASDAQ:AAPL, in a run launched without a partition.",
    )


def build_bars_asset(group: Group) -> dg.AssetsDefinition:
    """The asset of one group."""
    spec = dg.AssetSpec(
        group.name,
        partitions_def=series_partitions(group),
        skippable=True,
        kinds={"parquet"},
        metadata={"dagster/column_schema": _COLUMNS},
        description=(
            f"OHLCV bars of {_symbols_text(group)} at {', '.join(group.intervals)}, closed bars only, UTC. "
            "A run fetches what is new since the watermark of each selected series over one connection; "
            "a series that fails is named, and the others stay materialized."
        ),
    )

    with warnings.catch_warnings():
        # Beta in Dagster 1.13, and the only way to give one run many partitions.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)

        # A multi_asset of one: only so are its checks optional, as they must be where a partition may fail.
        @dg.multi_asset(
            name=group.name,
            specs=[spec],
            check_specs=check_specs(group),
            can_subset=True,
            backfill_policy=dg.BackfillPolicy.single_run(),
            pool=POOL,
            retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL),
        )
        def bars(
            context: dg.AssetExecutionContext,
            config: BarsConfig,
            tradingview: TradingViewResource,
            bar_store: BarStoreResource,
        ) -> Iterator[Report]:
            # Yielded one by one, each is durable at once, and no output remains to claim the partitions that failed.
            run = _Run(context, config, group, bar_store.store())
            yield from run.fetch_all(tradingview) if context.selected_asset_keys else run.check_all()

    return bars


class _Run:
    """One execution of the asset: which series it fetches, and what became of each."""

    def __init__(self, context: dg.AssetExecutionContext, config: BarsConfig, group: Group, store: BarStore) -> None:
        self._context = context
        self._group = group
        self._asset_key = dg.AssetKey(group.name)
        self._store = store
        self._start, self._end = _moment("start", config.start), _moment("end", config.end)
        self._keys = self._selected_keys(config.only)
        self._failed: dict[str, str] = {}
        self._can_retry = False
        self._started = time.monotonic()
        # Series whose stored bars differ from the fetched ones right back to the oldest: to be fetched deeper.
        self._deeper: list[HistoryRequest] = []

    def fetch_all(self, tradingview: TradingViewResource) -> Iterator[Report]:
        """Fetch and store each series and yield what became of it; raise Failure naming those that failed."""
        yield from self._fetch(tradingview, [request for key in self._keys if (request := self._request(key))])
        deeper, self._deeper = self._deeper, []
        if deeper:
            self._context.log.info(f"{len(deeper)} series differ from what is stored: fetching all that there is")
            yield from self._fetch(tradingview, deeper)
        if self._failed:
            raise dg.Failure(
                f"{len(self._failed)} of {len(self._keys)} series failed: {', '.join(sorted(self._failed))}",
                metadata={key: dg.MetadataValue.text(reason) for key, reason in sorted(self._failed.items())},
                allow_retries=self._can_retry,
            )

    def check_all(self) -> Iterator[Report]:
        """Judge what is stored of each series, and fetch nothing."""
        for key in self._keys:
            yield from evaluate(self._store, self._asset_key, *series_of(key))

    def _fetch(self, tradingview: TradingViewResource, requests: list[HistoryRequest]) -> Iterator[Report]:
        started = reported = time.monotonic()
        for done, (request, result) in enumerate(tradingview.fetch(requests), start=1):
            yield from self._finish(request, result)
            now = time.monotonic()
            if done % PROGRESS_EVERY == 0 or now - reported > PROGRESS_EVERY_S or done == len(requests):
                reported = now
                rate = done / (now - started)
                self._context.log.info(
                    f"{done} of {len(requests)} series, {len(self._failed)} failed, {rate:.1f}/s, "
                    f"{(len(requests) - done) / rate:.0f} s left"
                )

    def _selected_keys(self, only: Sequence[str]) -> list[str]:
        context = self._context
        known = series_partitions(self._group).get_partition_keys(dynamic_partitions_store=context.instance)
        unknown = sorted(set(only) - set(known))
        if unknown:
            raise dg.Failure(f"only: {', '.join(unknown)} is no partition of {self._group.name}", allow_retries=False)
        if only:
            keys = list(only)
        elif context.has_partition_key or context.has_partition_key_range:
            keys = list(context.partition_keys)
        else:
            keys = list(known)
        done = self._materialized_before() if context.retry_number else set()
        return [key for key in keys if key not in done]

    def _materialized_before(self) -> set[str]:
        """Partitions that an earlier try of this run has reported."""
        records = self._context.instance.get_records_for_run(
            self._context.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        events = [record.event_log_entry.asset_materialization for record in records]
        return {event.partition for event in events if event is not None and event.partition is not None}

    def _request(self, key: str) -> HistoryRequest | None:
        """What to ask for the series; None if the store cannot say, which fails the series alone."""
        symbol, interval = series_of(key)
        settings = self._group.settings
        if self._start is not None or self._end is not None:
            return HistoryRequest(symbol, interval, start=self._start, end=self._end, settings=settings)
        try:
            watermark = self._store.watermark(symbol, interval)
        except (BarStoreError, TradingViewError) as error:
            self._fail(key, error, retryable=error.retryable)
            return None
        if watermark is None:
            return HistoryRequest(symbol, interval, bars_count=self._group.initial_bars, settings=settings)
        start = overlap_start(self._store, symbol, Interval.parse(interval), watermark, OVERLAP_BARS)
        return HistoryRequest(symbol, interval, start=start, settings=settings)

    def _finish(self, request: HistoryRequest, result: "pa.Table | TradingViewError") -> Iterator[Report]:
        key = partition_key(request.symbol, request.width.token)
        if isinstance(result, pa.Table):
            facts = {name.decode(): text.decode() for name, text in (result.schema.metadata or {}).items()}
            if facts["fetch.rejected"] != "0":
                result = ProtocolError(f"{request}: {facts['fetch.rejected']} rows of the answer were no bars")
        if isinstance(result, TradingViewError):
            self._fail(key, result, retryable=result.retryable)
            return
        try:
            if self._wants_deeper(request, result):
                return
            commit = self._store.upsert(request.symbol, request.interval, result)
            metadata = self._metadata(request, commit, facts)
            evaluations = evaluate(self._store, self._asset_key, request.symbol, request.width.token)
        except (BarStoreError, TradingViewError) as error:
            self._fail(key, error, retryable=error.retryable)
            return
        if commit.readjustment is not None:
            self._context.log.warning(f"{key}: the history was re-adjusted, {_readjusted(commit.readjustment)}")
        yield dg.AssetMaterialization(asset_key=self._asset_key, partition=key, metadata=metadata)
        yield from evaluations

    def _wants_deeper(self, request: HistoryRequest, table: pa.Table) -> bool:
        """True if the series is put off until all that the server has of the stored time was fetched."""
        first = self._store.summary(request.symbol, request.interval).first
        if first is None or self._store.agrees(request.symbol, request.interval, table):
            return False
        if request.end is None and request.start is not None and request.start <= first:
            return False
        start = first if request.start is None else min(first, request.start)
        self._deeper.append(HistoryRequest(request.symbol, request.interval, start=start, settings=request.settings))
        return True

    def _fail(self, key: str, error: Exception, *, retryable: bool) -> None:
        self._failed[key] = f"{type(error).__name__}: {error}"
        self._can_retry = self._can_retry or retryable

    def _metadata(
        self, request: HistoryRequest, commit: Commit, facts: Mapping[str, str]
    ) -> dict[str, dg.MetadataValue | str | int | float]:
        measured = completeness(self._store, request.symbol, request.width, start=request.start)
        metadata: dict[str, dg.MetadataValue | str | int | float] = {
            "rows added": commit.added,
            "rows revised": commit.changed,
            "rows in overlap": commit.unchanged,
            "rows in quarantine": commit.quarantined,
            "reach": facts["fetch.reach"],
            "requests": int(facts["fetch.requests"]),
            "seconds into the run": round(time.monotonic() - self._started, 2),
            "dagster/partition_row_count": commit.rows,
            "dagster/uri": str(self._store.path(request.symbol, request.width).absolute()),
        }
        if commit.first is not None and commit.last is not None:
            metadata["first bar"] = dg.MetadataValue.timestamp(commit.first)
            metadata["last bar"] = dg.MetadataValue.timestamp(commit.last)
        metadata["completeness"] = "unknown" if measured is None else round(measured.ratio, 6)
        if measured is not None:
            metadata["gaps"] = len(measured.gaps)
        if commit.readjustment is not None:
            metadata["re-adjusted"] = _readjusted(commit.readjustment)
        return metadata


def _readjusted(readjustment: Readjustment) -> str:
    until = datetime.fromtimestamp(readjustment.until, tz=timezone.utc)
    return f"× {readjustment.ratio:.6g} (volume × {readjustment.volume_ratio:.6g}) before {until:%Y-%m-%d %H:%M}Z"


def _symbols_text(group: Group) -> str:
    return "the symbols that the scanner finds" if group.scanner else f"{len(group.symbols)} symbols"


def _moment(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise dg.Failure(
            f"{name}: {text!r} is no time with a zone; write e.g. 2026-11-02T14:30:00+00:00", allow_retries=False
        )
    return moment
