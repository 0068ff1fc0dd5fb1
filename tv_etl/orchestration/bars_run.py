"""One run of a `bars` asset: what it asks for of each series, and the outcome of each."""

import math
import time
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import pyarrow as pa

from tv_etl.collect.join import OVERLAP_BARS, deeper, reaching
from tv_etl.lake.coverage import closed_until, loss_deadline, missing_spans, overlap_start, urgency, within_reach
from tv_etl.lake.errors import BarStoreError, DamagedFileError
from tv_etl.lake.picture import SHOWN_BARS, Candle, markdown
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit
from tv_etl.orchestration.check_targets import Report
from tv_etl.orchestration.checks import LastCommit, evaluate, evaluate_stored
from tv_etl.orchestration.outcomes import RunOutcomes, SeriesFailure, run_outcomes, stored_by_parents
from tv_etl.orchestration.partitions import partition_key, series_of, series_partitions
from tv_etl.orchestration.progress import Progress
from tv_etl.orchestration.resources import TradingViewResource, described
from tv_etl.tradingview.errors import ProtocolError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.moments import parse_moment, utc
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Group

# How often a run retries by itself.
MAX_RETRIES = 2
# More would drown the message, or the failure's metadata; each is an observation of its partition as well.
NAMED_FAILURES = 20
EXPLAINED_FAILURES = 200
MAX_REASON = 1_000
# Characters of a wrong value in a run's config.
MAX_QUOTED = 100

Metadata = dict[str, dg.MetadataValue | str | int | float]


# Plain types: a `dg.Config` would take {"env": NAME} for any text, and so hand a run the code server's environment.
CONFIG_SCHEMA = {
    "start": dg.Field(
        dg.Noneable(str), default_value=None, description="Backfill from this time on; ISO 8601 with an offset."
    ),
    "end": dg.Field(
        dg.Noneable(str),
        default_value=None,
        description="Backfill up to this time (exclusive); ISO 8601 with an offset. "
        "Beside stored bars, all bars up to now are fetched: they join where they overlap.",
    ),
    "refetch": dg.Field(
        bool,
        default_value=False,
        description=(
            "Set damaged files aside, then ask also for what is already stored or known to be empty. Without start and "
            "end: for all that is stored."
        ),
    ),
    "only": dg.Field(
        [str],
        default_value=[],
        description="Fetch just these partition keys, e.g. 1d|NASDAQ:AAPL, in a run launched without a partition.",
    ),
}


@dataclass(frozen=True)
class BarsConfig:
    """What a run asks for, as CONFIG_SCHEMA describes it; empty means an increment of every selected partition."""

    start: str | None = None
    end: str | None = None
    refetch: bool = False
    only: Sequence[str] = ()


class BarsRun:
    """One execution of the asset: which series it fetches, and the outcome of each."""

    def __init__(self, context: dg.AssetExecutionContext, config: BarsConfig, group: Group, store: BarStore) -> None:
        self._context = context
        self._group = group
        self._asset_key = dg.AssetKey(group.name)
        self._store = store
        self._start, self._end = _moment("start", config.start), _moment("end", config.end)
        self._refetch = config.refetch
        self._now = time.time()
        self._selected = self._selected_keys(config.only)
        self._started = time.monotonic()
        self._earlier = self._read_earlier_tries()
        # Refused for good on an earlier try: not asked for again, but named at the end.
        self._failed = {key: each for key, each in self._earlier.failed.items() if not each.retryable}
        self._keys = [key for key in self._selected if key not in self._earlier.stored | self._failed.keys()]
        self._progress = Progress(len(self._keys), self._started)
        self._stored = self._added = self._changed = 0
        self._urgency: dict[tuple[str, str], float] = {}
        # Series whose answers did not join what is stored: to be fetched deeper.
        self._deeper: list[HistoryRequest] = []

    def fetch_all(self, tradingview: TradingViewResource) -> Iterator[Report]:
        """Fetch and store each series and yield what became of it; raise Failure naming those that failed."""
        yield from self._fetch(tradingview, (yield from self._requests()))
        while self._deeper:
            requests, self._deeper = self._deeper, []
            self._context.log.info(f"answers for {len(requests)} series do not join what is stored: fetching deeper")
            yield from self._fetch(tradingview, requests)
        self._context.log.info(
            f"{self._stored:,} of {len(self._keys):,} series stored: {self._added:,} bars added, "
            f"{self._changed:,} revised; {time.monotonic() - self._started:.1f} s"
        )
        if self._failed:
            raise self._failure()

    def check_all(self) -> Iterator[Report]:
        """Check what is stored of each series, and fetch nothing."""
        for key in self._keys:
            last = LastCommit.reported(self._context.instance, self._asset_key, key)
            yield from evaluate_stored(self._store, self._group, *series_of(key), now=self._now, last=last)

    def _requests(self) -> Generator[Report, None, list[HistoryRequest]]:
        """What to ask for; yields what is known without asking, and what cannot be asked for."""
        by_parents = stored_by_parents(self._context.instance, self._context.run, self._asset_key)
        reports: list[Report] = []
        requests: list[HistoryRequest] = []
        for key in self._keys:
            try:
                if key in by_parents and self._store.watermark(*series_of(key)) is not None:
                    # Reported again: this run has planned the partition, and if it fails would leave it as failed.
                    reports += self._report_unchanged(key, {"stored by": dg.MetadataValue.dagster_run(by_parents[key])})
                elif (request := self._request(*series_of(key))) is not None:
                    requests.append(request)
                else:
                    reports += self._report_unchanged(key)
            except Exception as error:  # whatever it is, it is this series' alone
                reports = self._fail(key, error)
            yield from reports
            reports.clear()
        self._context.log.info(
            f"{len(requests):,} of {len(self._selected):,} series to ask for; {self._stored:,} are already known, "
            f"{len(self._earlier.stored):,} stored by an earlier try of this run, {len(self._failed):,} failed"
        )
        # After a pause, what would be lost next comes first.
        return sorted(requests, key=lambda each: self._urgency.get((each.symbol, each.width.token), math.inf))

    def _fetch(self, tradingview: TradingViewResource, requests: list[HistoryRequest]) -> Iterator[Report]:
        left = dict.fromkeys(requests)
        try:
            for request, result in tradingview.fetch(requests):
                left.pop(request, None)
                yield from self._handle(request, result)
        except Exception as error:  # what ended the answers is the failure of those that are left
            for request in left:
                yield from self._fail(partition_key(request.symbol, request.width.token), error)

    def _failure(self) -> dg.Failure:
        names = sorted(self._failed)
        more = f" and {len(names) - NAMED_FAILURES:,} more" if len(names) > NAMED_FAILURES else ""
        # One retry too many, and Dagster would put "Exceeded max_retries" in place of all that is said here.
        can_retry = self._context.retry_number < MAX_RETRIES and any(each.retryable for each in self._failed.values())
        return dg.Failure(
            f"{len(names):,} of {len(self._selected):,} series failed: {', '.join(names[:NAMED_FAILURES])}{more}",
            metadata={
                **{key: dg.MetadataValue.text(self._failed[key].reason) for key in names[:EXPLAINED_FAILURES]},
                **({"and more": len(names) - EXPLAINED_FAILURES} if len(names) > EXPLAINED_FAILURES else {}),
            },
            allow_retries=can_retry,
        )

    def _count_finished(self) -> None:
        """Count one more series as finished, stored or failed."""
        line = self._progress.count(len(self._failed), time.monotonic())
        if line is not None:
            self._context.log.info(line)

    def _selected_keys(self, only: Sequence[str]) -> list[str]:
        context = self._context
        known = series_partitions(self._group).get_partition_keys(dynamic_partitions_store=context.instance)
        unknown = sorted(set(only) - set(known))
        if unknown:
            more = f" and {len(unknown) - NAMED_FAILURES:,} more" if len(unknown) > NAMED_FAILURES else ""
            names = ", ".join(printable(key, MAX_QUOTED) for key in unknown[:NAMED_FAILURES]) + more
            raise dg.Failure(
                f"only: {self._group.name} has no partition {names}; write keys such as 1d|NASDAQ:AAPL",
                allow_retries=False,
            )
        if only:
            return list(dict.fromkeys(only))
        if context.has_partition_key or context.has_partition_key_range:
            return list(context.partition_keys)
        return list(known)

    def _read_earlier_tries(self) -> RunOutcomes:
        if not self._context.retry_number:
            return RunOutcomes(frozenset(), {})
        return run_outcomes(self._context.instance, self._context.run.run_id, self._asset_key)

    def _request(self, symbol: str, interval: str) -> HistoryRequest | None:
        """What to ask for of the series; None if all of it is already known. Raises as `BarStore.read` does."""
        settings = self._group.settings
        if self._refetch:
            damaged = self._store.set_aside_damaged(symbol, interval)
            if damaged:
                self._context.log.warning(f"{interval}|{symbol}: damaged files set aside: {', '.join(damaged)}")
        if self._start is not None or self._end is not None:
            return self._backfill(symbol, interval)
        watermark = self._store.watermark(symbol, interval)
        if watermark is None:
            return HistoryRequest(symbol, interval, bars_count=self._group.initial_bars, settings=settings)
        width = Interval.parse(interval)
        start = overlap_start(self._store, symbol, width, watermark, OVERLAP_BARS)
        record = self._store.record(symbol, width)
        hours = record.trading_hours(width)
        self._urgency[symbol, interval] = urgency(record, width, hours, self._now)
        # A hole that the server no longer has bars for is not asked for again and again.
        holes = within_reach(record, width, hours, self._now)
        if holes:
            start = min(start, utc(holes[0][0]))
        if self._refetch:
            start = self._store.summary(symbol, interval).first or start
        return HistoryRequest(symbol, interval, start=start, settings=settings)

    def _backfill(self, symbol: str, interval: str) -> HistoryRequest | None:
        settings = self._group.settings
        if self._refetch:
            wanted = HistoryRequest(symbol, interval, start=self._start, end=self._end, settings=settings)
            return reaching(self._store, wanted)
        width = Interval.parse(interval)
        missing = missing_spans(self._store.record(symbol, width), width, self._start, self._end, self._now)
        if not missing:
            return None
        start = utc(missing[0][0]) if self._start is not None else None
        # What is missing up to now is missing up to the server's now, which may be a little later.
        end = self._end if missing[-1][1] >= closed_until(width, self._now) else utc(missing[-1][1])
        return reaching(self._store, HistoryRequest(symbol, interval, start=start, end=end, settings=settings))

    def _report_unchanged(self, key: str, more: Metadata | None = None) -> list[Report]:
        """Report a series for which nothing need be asked. Raises as `BarStore.read` does."""
        symbol, interval = series_of(key)
        record, width = self._store.record(symbol, interval), Interval.parse(interval)
        metadata: Metadata = self._picture(symbol, width, record)
        metadata |= {"rows added": 0, "rows revised": 0, "requests": 0, **(more or {})}
        metadata |= self._series_metadata(symbol, width, record, self._now)
        reports: list[Report] = [dg.AssetMaterialization(self._asset_key, partition=key, metadata=metadata)]
        reports += self._evaluate(symbol, interval, record, self._now, LastCommit())
        self._stored += 1
        self._count_finished()
        return reports

    def _handle(self, request: HistoryRequest, result: "pa.Table | TradingViewError") -> Iterator[Report]:
        key, started = partition_key(request.symbol, request.width.token), time.monotonic()
        if isinstance(result, TradingViewError):
            yield from self._fail(key, result)
            return
        try:
            facts = {name.decode(): text.decode() for name, text in (result.schema.metadata or {}).items()}
            if facts["fetch.rejected"] != "0":
                raise ProtocolError(f"{request}: {facts['fetch.rejected']} rows of the answer were not bars")
            further = deeper(self._store, request, result)
            if further is not None:
                self._deeper.append(further)
                return
            commit = self._store.upsert(request.symbol, request.interval, result)
            metadata = self._metadata(request, commit, facts, started)
            now = float(facts["fetch.server_time"])
            evaluations = self._evaluate(request.symbol, request.width.token, commit.record, now, LastCommit.of(commit))
        except Exception as error:  # whatever it is, it is this series' alone
            yield from self._fail(key, error)
            return
        if commit.readjustment is not None:
            self._context.log.warning(f"{key}: the history was re-adjusted: {commit.readjustment}")
        self._stored += 1
        self._added += commit.added
        self._changed += commit.changed
        self._count_finished()
        yield dg.AssetMaterialization(asset_key=self._asset_key, partition=key, metadata=metadata)
        yield from evaluations

    def _evaluate(
        self, symbol: str, interval: str, record: SeriesRecord, now: float, last: LastCommit
    ) -> list[dg.AssetCheckEvaluation]:
        return evaluate(self._store, self._group, symbol, interval, now=now, record=record, last=last)

    def _fail(self, key: str, error: Exception) -> list[Report]:
        if isinstance(error, BarStoreError | TradingViewError):
            reason, retryable = f"{type(error).__name__}: {printable(str(error), MAX_REASON)}", error.retryable
        else:
            reason, retryable = described(error), False
            # Without the message, which may be whatever a server sent.
            self._context.log.error(f"{key}: {reason}\n{''.join(traceback.format_tb(error.__traceback__)[-10:])}")
        if isinstance(error, DamagedFileError):
            reason += "; a run with refetch sets the file aside and fetches its span again"
        self._failed[key] = SeriesFailure(reason, retryable)
        self._count_finished()
        # An earlier try may have reported the same.
        is_reported = self._earlier.failed.get(key) == self._failed[key]
        return [] if is_reported else [self._failed[key].observation(self._asset_key, key)]

    def _metadata(
        self, request: HistoryRequest, commit: Commit, facts: Mapping[str, str], storing_since: float
    ) -> Metadata:
        metadata: Metadata = {
            **self._picture(request.symbol, request.width, commit.record),
            "rows added": commit.added,
            "rows revised": commit.changed,
            "rows in overlap": commit.unchanged,
            "rows in quarantine": commit.quarantined,
            "reach": facts["fetch.reach"],
            "requests": int(facts["fetch.requests"]),
            "seconds to fetch": float(facts["fetch.seconds"]),
            "seconds to store": round(time.monotonic() - storing_since, 3),
            **self._series_metadata(request.symbol, request.width, commit.record, float(facts["fetch.server_time"])),
        }
        if commit.readjustment is not None:
            metadata["re-adjusted"] = str(commit.readjustment)
        return metadata

    def _series_metadata(self, symbol: str, interval: Interval, record: SeriesRecord, now: float) -> Metadata:
        metadata: Metadata = {
            "dagster/partition_row_count": record.rows,
            "dagster/uri": self._store.uri(symbol, interval),
            "bytes": record.stored_bytes,
            "revisions": record.revisions,
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

    def _picture(self, symbol: str, interval: Interval, record: SeriesRecord) -> Metadata:
        """The newest bars, read from as few files as hold them."""
        if not (self._group.pictures and record.periods):
            return {}
        names, count = sorted(record.periods, reverse=True), 0
        for name in names:
            count += record.periods[name].rows
            if count >= SHOWN_BARS:
                break
        table = self._store.read(symbol, interval, utc(record.periods[name].first))
        columns = table.slice(max(0, table.num_rows - SHOWN_BARS)).to_pydict()
        columns["timestamp"] = [int(moment.timestamp()) for moment in columns["timestamp"]]
        candles = [Candle(*row) for row in zip(*columns.values(), strict=True)]
        return {"newest bars": dg.MetadataValue.md(markdown(candles))}


def _moment(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return parse_moment(text)
    except ValueError:
        raise dg.Failure(
            f"{name}: {printable(text, MAX_QUOTED)!r} is not a time with an offset; "
            "write e.g. 2026-11-02T14:30:00+00:00",
            allow_retries=False,
        ) from None
