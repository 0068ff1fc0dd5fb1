"""One run of a `bars` asset: which series it asks for what, and what became of each."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone

import dagster as dg
import pyarrow as pa
from pydantic import Field

from tv_etl.bar_store import BarStore, Commit, Readjustment
from tv_etl.checks import evaluate
from tv_etl.coverage import closed_until, loss_deadline, missing_spans, overlap_start, unasked
from tv_etl.partitions import partition_key, series_of, series_partitions
from tv_etl.resources import TradingViewResource
from tv_etl.series_record import SeriesRecord
from tv_etl.store_errors import BarStoreError, DamagedFileError
from tv_etl.tradingview.errors import ProtocolError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.watchlist import Group

# An increment asks for bars that are stored already: it proves that nothing lies between, and shows revisions.
OVERLAP_BARS = 5
# A line in the run's log costs Dagster milliseconds: one for so many series, or for so many seconds.
PROGRESS_EVERY = 50
PROGRESS_EVERY_S = 10.0


Metadata = dict[str, dg.MetadataValue | str | int | float]
Report = dg.AssetMaterialization | dg.AssetCheckEvaluation


class BarsConfig(dg.Config):
    """What a run asks for; empty means an increment of every selected partition."""

    start: str | None = Field(default=None, description="Backfill from this time on, ISO 8601 with a time zone.")
    end: str | None = Field(default=None, description="Backfill up to this time (exclusive), ISO 8601.")
    refetch: bool = Field(
        default=False,
        description=(
            "Ask also for what is stored, or known to be empty, and set damaged files aside first. Without start and "
            "end: for all that is stored."
        ),
    )
    only: list[str] = Field(
        default_factory=list,
        description="Fetch just these partition keys, e.g. 1d|NASDAQ:AAPL, in a run launched without a partition.",
    )


class BarsRun:
    """One execution of the asset: which series it fetches, and what became of each."""

    def __init__(self, context: dg.AssetExecutionContext, config: BarsConfig, group: Group, store: BarStore) -> None:
        self._context = context
        self._group = group
        self._asset_key = dg.AssetKey(group.name)
        self._store = store
        self._start, self._end = _moment("start", config.start), _moment("end", config.end)
        self._refetch = config.refetch
        self._now = time.time()
        self._keys = self._selected_keys(config.only)
        self._failed: dict[str, str] = {}
        self._can_retry = False
        self._started = time.monotonic()
        # Series whose stored bars differ from the fetched ones right back to the oldest: to be fetched deeper.
        self._deeper: list[HistoryRequest] = []

    def fetch_all(self, tradingview: TradingViewResource) -> Iterator[Report]:
        """Fetch and store each series and yield what became of it; raise Failure naming those that failed."""
        requests: list[HistoryRequest] = []
        for key in self._keys:
            try:
                request = self._request(*series_of(key))
                if request is None:
                    yield from self._report_as_it_is(key)
                else:
                    requests.append(request)
            except (BarStoreError, TradingViewError) as error:
                self._fail(key, error, retryable=error.retryable)
        yield from self._fetch(tradingview, requests)
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

    def _request(self, symbol: str, interval: str) -> HistoryRequest | None:
        """What to ask for the series; None if all of it is known already. Raises as `BarStore.read` does."""
        settings = self._group.settings
        if self._refetch:
            aside = self._store.set_aside_damaged(symbol, interval)
            if aside:
                self._context.log.warning(f"{interval}|{symbol}: damaged, set aside: {', '.join(aside)}")
        if self._start is not None or self._end is not None:
            return self._backfill(symbol, interval)
        watermark = self._store.watermark(symbol, interval)
        if watermark is None:
            return HistoryRequest(symbol, interval, bars_count=self._group.initial_bars, settings=settings)
        width = Interval.parse(interval)
        start = overlap_start(self._store, symbol, width, watermark, OVERLAP_BARS)
        record = self._store.record(symbol, width)
        holes = unasked(record, width, record.trading_hours(width), self._now)
        # A hole that the server has no bars of any more is not asked for again and again.
        within_reach = [hole[0] for hole in holes if record.window is None or hole[1] > record.window.start]
        if within_reach:
            start = min(start, _at(within_reach[0]))
        if self._refetch:
            start = self._store.summary(symbol, interval).first or start
        return HistoryRequest(symbol, interval, start=start, settings=settings)

    def _backfill(self, symbol: str, interval: str) -> HistoryRequest | None:
        settings = self._group.settings
        if self._refetch:
            return HistoryRequest(symbol, interval, start=self._start, end=self._end, settings=settings)
        width = Interval.parse(interval)
        missing = missing_spans(self._store.record(symbol, width), width, self._start, self._end, self._now)
        if not missing:
            return None
        start = _at(missing[0][0]) if self._start is not None else None
        # What is missing up to now is missing up to the server's now, which may be a little later.
        end = self._end if missing[-1][1] >= closed_until(width, self._now) else _at(missing[-1][1])
        return HistoryRequest(symbol, interval, start=start, end=end, settings=settings)

    def _report_as_it_is(self, key: str) -> Iterator[Report]:
        symbol, interval = series_of(key)
        record = self._store.record(symbol, interval)
        width = Interval.parse(interval)
        metadata = {"rows added": 0, "requests": 0, **self._series_metadata(symbol, width, record, self._now)}
        evaluations = evaluate(self._store, self._asset_key, symbol, interval)
        yield dg.AssetMaterialization(asset_key=self._asset_key, partition=key, metadata=metadata)
        yield from evaluations

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
        if isinstance(error, DamagedFileError):
            self._failed[key] += "; a run with refetch sets it aside and fetches its time again"
        self._can_retry = self._can_retry or retryable

    def _metadata(self, request: HistoryRequest, commit: Commit, facts: Mapping[str, str]) -> Metadata:
        metadata: Metadata = {
            "rows added": commit.added,
            "rows revised": commit.changed,
            "rows in overlap": commit.unchanged,
            "rows in quarantine": commit.quarantined,
            "reach": facts["fetch.reach"],
            "requests": int(facts["fetch.requests"]),
            "seconds into the run": round(time.monotonic() - self._started, 2),
            **self._series_metadata(request.symbol, request.width, commit.record, float(facts["fetch.server_time"])),
        }
        if commit.readjustment is not None:
            metadata["re-adjusted"] = _readjusted(commit.readjustment)
        return metadata

    def _series_metadata(self, symbol: str, interval: Interval, record: SeriesRecord, now: float) -> Metadata:
        metadata: Metadata = {
            "dagster/partition_row_count": record.rows,
            "dagster/uri": self._store.uri(symbol, interval),
            "bytes": record.stored_bytes,
            "completeness": "unknown" if record.ratio is None else round(record.ratio, 6),
        }
        if record.first is not None and record.last is not None:
            metadata["first bar"] = dg.MetadataValue.timestamp(record.first)
            metadata["last bar"] = dg.MetadataValue.timestamp(record.last)
        if record.ratio is not None:
            metadata["gaps"], metadata["missing sessions"] = record.gaps, record.missing_sessions
        deadline = loss_deadline(record, interval, record.trading_hours(interval), now)
        metadata["loss deadline"] = "none" if deadline is None else dg.MetadataValue.timestamp(deadline)
        return metadata


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, tz=timezone.utc)


def _readjusted(readjustment: Readjustment) -> str:
    until = _at(readjustment.until)
    return f"× {readjustment.ratio:.6g} (volume × {readjustment.volume_ratio:.6g}) before {until:%Y-%m-%d %H:%M}Z"


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
