"""One run of a `bars` asset: what it wants of each series, and what Dagster is told of the outcome of each."""

import math
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import dagster as dg

from tv_etl.collect.answer import facts_of
from tv_etl.collect.ask import Ask, Want, backfill, increment, refetch, refetch_stored, unless_stored
from tv_etl.collect.collection import AskedAgain, Failed, Resolved, SetAside, Stored, Unchanged, carry_out, plan
from tv_etl.collect.refusal import record_refusal
from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import BarStoreError, DamagedFileError
from tv_etl.lake.picture import SHOWN_BARS
from tv_etl.lake.record import SeriesRecord
from tv_etl.lake.resolution import Resolution
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.bar_metadata import Metadata, page_metadata, stored_metadata, unchanged_metadata
from tv_etl.orchestration.bars_config import MAX_RETRIES, BarsConfig
from tv_etl.orchestration.check_targets import Report
from tv_etl.orchestration.checks import REVISIONS, LastCommit, evaluate, evaluate_stored
from tv_etl.orchestration.dagster_internals import report_planned
from tv_etl.orchestration.outcomes import RunOutcomes, SeriesFailure, nothing_new, run_outcomes, stored_by_parents
from tv_etl.orchestration.partitions import partition_key, series_of, series_partitions
from tv_etl.orchestration.progress import Progress
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.orchestration.verdicts import Standing, verdict_text
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.moments import parse_moment
from tv_etl.tradingview.printable import described, printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

# More would drown the message, or the failure's metadata; each is an observation of its partition as well.
NAMED_FAILURES = 20
EXPLAINED_FAILURES = 200
MAX_REASON = 1_000
# Characters of a wrong value in a run's config.
MAX_QUOTED = 100


@dataclass
class _Tally:
    """What a run has done so far."""

    stored: int = 0
    added: int = 0
    changed: int = 0
    asked_again: int = 0
    nothing_new: int = 0


class BarsRun:
    """One execution of the asset: which series it wants, and the outcome of each."""

    def __init__(self, context: dg.AssetExecutionContext, config: BarsConfig, group: Group, store: BarStore) -> None:
        self._context = context
        self._group = group
        self._asset_key = dg.AssetKey(group.asset_path)
        self._store = store
        self._want = _want(config, group)
        self._mends = config.refetch
        self._is_increment = not (config.start or config.end or config.refetch or config.seam)
        self._resolution = _resolution(config.seam)
        self._now = time.time()
        self._selected = self._selected_keys(config.only)
        self._earlier = self._read_earlier_tries()
        # Refused for good on an earlier try: not asked for again, but named at the end.
        self._failed = {key: each for key, each in self._earlier.failed.items() if not each.retryable}
        done = self._earlier.stored | self._earlier.unchanged | self._failed.keys()
        self._keys = [key for key in self._selected if key not in done]
        # Of what Dagster has planned by partition it expects to hear, whatever comes of it.
        self._planned = frozenset(_planned_keys(context))
        self._checks = {key.name for key in context.selected_asset_check_keys}
        self._standing = Standing(context.instance, group, self._keys)
        self._unchanged: set[str] = set()
        self._by_parents = stored_by_parents(context.instance, context.run, self._asset_key)
        self._progress = Progress(len(self._keys), time.monotonic())
        self._tally = _Tally()
        # Partitions by why their trading hours cannot be read.
        self._unreadable: dict[str, list[str]] = {}

    def fetch_all(self, tradingview: TradingViewResource) -> Iterator[Report]:
        """Fetch and store each series and yield what became of it; raise Failure naming those that failed."""
        started, tally = time.monotonic(), self._tally
        shown_bars = SHOWN_BARS if self._group.pictures and self._is_looked_at else 0
        asks: list[Ask] = []
        steps = plan(
            self._store,
            self._wants(),
            self._now,
            newest=shown_bars,
            mends=self._mends,
            resolution=self._resolution,
            lists=not self._is_increment,
        )
        for planned in steps:
            if isinstance(planned, Ask):
                asks.append(planned)
            else:
                yield from self._report(planned)
        self._context.log.info(
            f"{len(asks):,} of {len(self._selected):,} series to ask for; {tally.stored:,} are already known, "
            f"{len(self._earlier.stored | self._earlier.unchanged):,} stored by an earlier try of this run, "
            f"{len(self._failed):,} failed"
        )
        for outcome in carry_out(self._store, asks, tradingview.fetch, newest=shown_bars):
            yield from self._report(outcome)
        nothing = f"; of {tally.nothing_new:,} there was nothing new" * bool(tally.nothing_new)
        again = f"; {tally.asked_again:,} answers were asked for again, to join what is stored" * bool(
            tally.asked_again
        )
        self._context.log.info(
            f"{tally.stored:,} of {len(self._keys):,} series stored: {tally.added:,} bars added, "
            f"{tally.changed:,} revised{nothing}{again}; {time.monotonic() - started:.1f} s"
        )
        self._tell_unreadable_hours()
        if self._failed:
            if self._unchanged:
                yield nothing_new(self._asset_key, self._unchanged)
            failure = self._failure()
            if not failure.allow_retries:
                yield from self._judge_failed()
            raise failure

    def check_all(self) -> Iterator[Report]:
        """Check what is stored of each series, and fetch nothing."""
        for key in self._keys:
            yield from (each for each in self._evaluate_stored(key) if each.check_name in self._checks)

    def _judge_failed(self) -> Iterator[Report]:
        """What is stored of the series that failed is judged as well: a planned check that nobody evaluates has failed.

        Nothing more is asked of them, and where the server refuses one, the verdict on its page says so.
        """
        for key in self._failed:
            try:
                record = self._store.record(*series_of(key))
                verdicts = evaluate(self._store, self._group, record, now=self._now, last=self._last(key))
            except Exception:  # whatever it is, the verdicts say it
                verdicts = self._evaluate_stored(key)
            told = [each for each in verdicts if each.check_name in self._checks or each.check_name != REVISIONS]
            yield from self._standing.news(told, self._checks, is_materialized=False)

    def _evaluate_stored(self, key: str) -> list[dg.AssetCheckEvaluation]:
        return evaluate_stored(self._store, self._group, series_of(key), now=self._now, last=self._last(key))

    def _last(self, key: str) -> LastCommit:
        return LastCommit.reported(self._context.instance, self._asset_key, key)

    def _wants(self) -> Iterator[tuple[Series, Want]]:
        for key in self._keys:
            yield series_of(key), unless_stored(self._want) if key in self._by_parents else self._want

    def _report(self, outcome: SetAside | Resolved | Unchanged | Stored | AskedAgain | Failed) -> list[Report]:
        """The outcome of a series as Dagster is told."""
        key = partition_key(outcome.series)
        if isinstance(outcome, SetAside):
            self._context.log.warning(f"{key}: damaged files set aside: {', '.join(outcome.names)}")
            return []
        if isinstance(outcome, Resolved):
            self._context.log.warning(f"{key}: the seam of {outcome.seam} was resolved: {outcome.seam.resolved}")
            return []
        if isinstance(outcome, AskedAgain):
            self._tally.asked_again += 1
            return []
        try:
            if isinstance(outcome, Unchanged):
                reports = self._report_unchanged(outcome)
            elif isinstance(outcome, Stored):
                reports = self._report_stored(outcome)
            else:
                is_refused = record_refusal(self._store, outcome.series, outcome.error, self._now)
                reports = self._fail(key, outcome.error, is_refused=is_refused)
        except Exception as error:  # whatever it is, it is this series' alone
            reports = self._fail(key, error)
        line = self._progress.count(len(self._failed), time.monotonic())
        if line is not None:
            self._context.log.info(line)
        return reports

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
        return _planned_keys(context) or list(known)

    def _read_earlier_tries(self) -> RunOutcomes:
        if not self._context.retry_number:
            return RunOutcomes()
        return run_outcomes(self._context.instance, self._context.run.run_id, self._asset_key)

    def _report_unchanged(self, outcome: Unchanged) -> list[Report]:
        """Report a series for which nothing need be asked. Raises as `BarStore.read` does."""
        key, record = partition_key(outcome.record.series), outcome.record
        verdicts = evaluate(self._store, self._group, record, now=self._now, last=LastCommit())
        metadata = unchanged_metadata(outcome, self._now, verdict_text(verdicts))
        if key in self._by_parents:
            # Reported again: this run has planned the partition, and if it fails would leave it as failed.
            metadata["stored by"] = dg.MetadataValue.dagster_run(self._by_parents[key])
        self._tally.stored += 1
        return self._reports(record, metadata, outcome.newest, verdicts, is_new=False)

    def _report_stored(self, outcome: Stored) -> list[Report]:
        """Report what a commit changed. Raises as `BarStore.read` does."""
        commit, now = outcome.commit, float(facts_of(outcome.answer).get("fetch.server_time", self._now))
        verdicts = evaluate(self._store, self._group, commit.record, now=now, last=LastCommit.of(commit))
        reports = self._reports(
            commit.record,
            stored_metadata(outcome, now, verdict_text(verdicts)),
            commit.newest,
            verdicts,
            is_new=bool(commit.paths) or commit.seam is not None,
        )
        if commit.readjustment is not None:
            key = partition_key(outcome.series)
            self._context.log.warning(f"{key}: the history was re-adjusted: {commit.readjustment}")
        if commit.adopted:
            key = partition_key(outcome.series)
            self._context.log.warning(f"{key}: older bars name no market: taken to be of this one, {commit.adopted!r}")
        if commit.seam is not None:
            key = partition_key(outcome.series)
            self._context.log.warning(f"{key}: not proven to join what is stored: {commit.seam}; {commit.seam.reason}")
        self._tally.stored += 1
        self._tally.added += commit.added
        self._tally.changed += commit.changed
        return reports

    def _tell_unreadable_hours(self) -> None:
        for problem, keys in self._unreadable.items():
            more = f" and {len(keys) - NAMED_FAILURES:,} more" if len(keys) > NAMED_FAILURES else ""
            self._context.log.warning(
                f"{', '.join(keys[:NAMED_FAILURES])}{more}: trading hours cannot be read, so that gaps are not known: "
                f"{printable(problem, MAX_REASON)}"
            )

    def _reports(
        self,
        record: SeriesRecord,
        metadata: Metadata,
        newest: Bars,
        verdicts: Sequence[dg.AssetCheckEvaluation],
        *,
        is_new: bool,
    ) -> list[Report]:
        """What Dagster is told of a series: nothing where nothing is new, it knows the series, and did not plan it."""
        key = partition_key(record.series)
        if record.hours_problem:
            self._unreadable.setdefault(record.hours_problem, []).append(key)
        if not is_new:
            self._tally.nothing_new += 1
        if self._is_looked_at:
            metadata = {**metadata, **page_metadata(newest, self._store.uri(*record.series))}
        if is_new or key in self._planned or not self._standing.is_materialized(key):
            return [
                dg.AssetMaterialization(self._asset_key, partition=key, metadata=metadata),
                *self._standing.news(verdicts, self._checks, is_materialized=True),
            ]
        self._unchanged.add(key)
        # The last commit is still the one before, and what it revised stays told.
        others = [each for each in verdicts if each.check_name != REVISIONS]
        return [*self._standing.news(others, self._checks, is_materialized=False)]

    @cached_property
    def _is_looked_at(self) -> bool:
        """True of partitions that were asked for by themselves, and of a first fetch; then there is more to be seen."""
        return bool(self._planned) or not any(map(self._standing.is_materialized, self._keys))

    def _fail(self, key: str, error: Exception, *, is_refused: bool = False) -> list[Report]:
        if isinstance(error, BarStoreError | TradingViewError):
            reason, retryable = f"{type(error).__name__}: {printable(str(error), MAX_REASON)}", error.retryable
        else:
            reason, retryable = described(error), False
            # Without the message, which may be whatever a server sent.
            self._context.log.error(f"{key}: {reason}\n{''.join(traceback.format_tb(error.__traceback__)[-10:])}")
        if isinstance(error, DamagedFileError):
            reason += "; a run with refetch sets the file aside and fetches its span again"
        self._failed[key] = SeriesFailure(reason, retryable)
        # An earlier try may have reported the same.
        is_reported = self._earlier.failed.get(key) == self._failed[key]
        # One that has failed makes the whole asset red until it is stored, which what is refused may never be: it stays
        # missing, or as old as it is, and its check says why.
        if key not in self._planned and key not in self._earlier.failed and not is_refused:
            report_planned(self._context, self._asset_key, key)
        return [] if is_reported else [self._failed[key].observation(self._asset_key, key)]


def _planned_keys(context: dg.AssetExecutionContext) -> list[str]:
    """The partitions that a run was launched for; none where its config names them."""
    return list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []


def _want(config: BarsConfig, group: Group) -> Want:
    """What a run wants of each of its series."""
    settings, initial_bars = group.settings, group.initial_bars
    start, end = _moment("start", config.start), _moment("end", config.end)
    if start is not None and end is not None and start >= end:
        raise dg.Failure(f"start {start.isoformat()} is not before end {end.isoformat()}", allow_retries=False)
    if start is None and end is None:
        if config.refetch:
            return refetch_stored(settings, initial_bars)
        return increment(settings, initial_bars, audit_s=group.audit_days * 86_400 if group.audit_days else math.inf)
    return refetch(settings, start) if config.refetch else backfill(settings, start, end)


def _resolution(text: str | None) -> Resolution | None:
    if not text:
        return None
    try:
        return Resolution.parse(text)
    except ValueError as error:
        raise dg.Failure(f"seam: {printable(str(error), MAX_REASON)}", allow_retries=False) from None


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
