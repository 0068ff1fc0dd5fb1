"""Asset checks of the `bars` assets: what is wrong with a stored series, and what to do about it.

Each is evaluated for a partition by the run that stores it, from what the commit says, or alone on what is stored.
docs/checks.md tells users what to do about each.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from tv_etl.lake.bars import Bars
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.layout import period_range
from tv_etl.lake.record import HOURS_NOT_TOLD, NO_CADENCE, Period, SeriesRecord
from tv_etl.lake.spans import Span
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit
from tv_etl.lake.witness import Step, suspicious_steps
from tv_etl.orchestration.bar_metadata import facts_in
from tv_etl.orchestration.check_specs import CHECKS, SMALL_SHARE
from tv_etl.orchestration.dagster_internals import reverse_cron_string_iterator
from tv_etl.orchestration.partitions import partition_key
from tv_etl.orchestration.schedules import schedule_name
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.trading_hours import GapRun, TradingHours
from tv_etl.watchlist.model import Group

# Sessions without any bar, after which a symbol seems halted or delisted.
QUIET_SESSIONS = 3
NEAR_LOSS = timedelta(days=1)

REVISIONS, LOSS_DEADLINE = "revisions", "loss_deadline"
_SHOWN_ROWS = 20
_SHOWN_TEXT = 1_000  # characters
Metadata = dict[str, dg.MetadataValue | str | int | float]


@dataclass(frozen=True)
class LastCommit:
    """What the last commit of a series changed; `readjusted` says how the history was re-adjusted, empty if not."""

    changed: int = 0
    readjusted: str = ""

    @classmethod
    def of(cls, commit: Commit) -> "LastCommit":
        return cls(commit.changed, "" if commit.readjustment is None else str(commit.readjustment))

    @classmethod
    def reported(cls, instance: dg.DagsterInstance, asset_key: dg.AssetKey, key: str) -> "LastCommit":
        """As the partition's latest materialization reports it."""
        found = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[key]), limit=1
        )
        for record in found.records:
            materialization = record.asset_materialization
            if materialization is not None:
                facts = facts_in(materialization)
                return cls(int(str(facts.get("rows revised", 0))), str(facts.get("re-adjusted", "")))
        return cls()


def evaluate(
    store: BarStore, group: Group, record: SeriesRecord, *, now: float, last: LastCommit
) -> list[dg.AssetCheckEvaluation]:
    """Judge a series by what is known of it at `now` (UTC seconds). Raises as `BarStore.read` does."""
    series = _Judged(store, group, record, now)
    return [
        _ordered(series),
        _consistent(series),
        _gap_free(series),
        _named(series, _fresh(series)),
        _loss_deadline(series),
        _seamless(series),
        _revisions(series, last),
    ]


def evaluate_stored(
    store: BarStore, group: Group, series: Series, *, now: float, last: LastCommit
) -> list[dg.AssetCheckEvaluation]:
    """Judge a series alone, on demand: every bar is read. What cannot be read fails every check."""
    try:
        record = store.record(*series)
        bars = store.read(*series)
        rest = evaluate(store, group, record, now=now, last=last)[1:]
    except Exception as error:  # whatever it is, it is this series' alone
        unknown = _Judged(store, group, SeriesRecord(series), now)
        reason = f"cannot be checked: {type(error).__name__}: {printable(str(error), 1_000)}"
        advice = unknown.run_config(refetch=True)
        return [unknown.verdict(name, reason, dg.AssetCheckSeverity.ERROR, advice) for name in CHECKS]
    judged = _Judged(store, group, record, now)
    by_reading = {"ordered_and_unique": _ordered(judged, bars), "seamless": _seamless(judged, bars)}
    return [by_reading["ordered_and_unique"], *(by_reading.get(each.check_name, each) for each in rest)]


@dataclass(frozen=True)
class _Judged:
    """A series to judge, and how a verdict on it is worded."""

    store: BarStore
    group: Group
    record: SeriesRecord
    now: float

    @property
    def key(self) -> str:
        return partition_key(self.record.series)

    @property
    def interval(self) -> Interval:
        return self.record.series.interval

    @property
    def coverage(self) -> Coverage:
        return Coverage(self.record, self.now)

    @property
    def hours_note(self) -> str:
        """What to add to a verdict that takes the market to be always open, since nobody knows better."""
        if self.record.hours is not None or not self.record.has_cadence:
            return ""
        why = "cannot be read" if self.record.hours_problem else "are not known"
        return f"; trading hours {why}, so the market is taken never to close"

    def verdict(
        self,
        check: str,
        description: str,
        severity: dg.AssetCheckSeverity | None = None,
        metadata: Metadata | None = None,
    ) -> dg.AssetCheckEvaluation:
        """Passed unless there is a severity."""
        return dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(self.group.asset_path),
            check_name=check,
            partition=self.key,
            passed=severity is None,
            severity=severity or dg.AssetCheckSeverity.WARN,
            description=description,
            metadata=metadata or {},
        )

    def run_config(
        self, start: int | None = None, end: int | None = None, *, refetch: bool = False, seam: str = ""
    ) -> Metadata:
        """What to paste into the launchpad of the group's job."""
        config: dict[str, object] = {"only": [self.key]}
        if start is not None:
            config["start"] = utc(start).isoformat()
        if end is not None:
            config["end"] = utc(end).isoformat()
        if refetch:
            config["refetch"] = True
        if seam:
            config["seam"] = seam
        text = yaml.safe_dump({"ops": {self.group.qualified_name: {"config": config}}}, sort_keys=False)
        return {"run config": dg.MetadataValue.md(f"```yaml\n{text}```")}


def _ordered(series: _Judged, bars: pa.Table | None = None) -> dg.AssetCheckEvaluation:
    """By what is on record of each file; by every bar as well, if bars are given."""
    name, problem, before = "ordered_and_unique", "", -(10**15)
    for period, file in sorted(series.record.periods.items()):
        start, end = period_range(period, series.interval)
        is_inside = (start is None or start <= file.first) and (end is None or file.last < end)
        if not (before < file.first <= file.last and is_inside):
            problem = f"the bars of {period} ({_format_time(file.first)} to {_format_time(file.last)}) are out of place"
            break
        before = file.last
    if not problem and bars is not None and bars.num_rows > 1:
        seconds = bars["timestamp"].combine_chunks().cast(pa.int64())
        steps = pc.min(pc.subtract(seconds[1:], seconds[:-1])).as_py()
        if steps <= 0:
            problem = "times do not ascend, or one occurs twice"
    if problem:
        return series.verdict(name, problem, dg.AssetCheckSeverity.ERROR, series.run_config(refetch=True))
    rows = series.record.rows if bars is None else bars.num_rows
    how = "by the record of each file" if bars is None else "by reading each"
    return series.verdict(name, f"{rows:,} bars ascend, judged {how}")


def _consistent(series: _Judged) -> dg.AssetCheckEvaluation:
    name = "ohlc_consistent"
    if not series.record.quarantined:
        return series.verdict(name, "no bar is in quarantine")
    kept_out = series.store.quarantine(*series.record.series)
    seconds = [int(moment.timestamp()) for moment in kept_out["timestamp"].to_pylist()]
    metadata: Metadata = {
        "bars in quarantine": kept_out.num_rows,
        **_table("the first", kept_out.slice(0, _SHOWN_ROWS)),
        **series.run_config(seconds[0], seconds[-1] + 1, refetch=True),
    }
    description = f"{kept_out.num_rows:,} bars are kept out of the dataset: low and high do not enclose open and close"
    return series.verdict(name, description, dg.AssetCheckSeverity.ERROR, metadata)


def _gap_free(series: _Judged) -> dg.AssetCheckEvaluation:
    name, record = "gap_free", series.record
    until = record.last
    holes: list[Span] = []
    if until is not None:
        holes = [hole for hole in series.coverage.unasked() if hole[0] < until.timestamp()]
    if holes:
        metadata: Metadata = {
            "never asked for": dg.MetadataValue.table(_records(holes)),
            **series.run_config(holes[0][0], holes[-1][1]),
        }
        description = (
            f"nobody asked for {_spans_text(holes)}; run this backfill while the server still has the bars"
            f"{series.hours_note}"
        )
        return series.verdict(name, description, dg.AssetCheckSeverity.ERROR, metadata)
    if not record.has_cadence:
        return series.verdict(name, f"{NO_CADENCE}, so none is missing")
    if record.hours_problem:
        description = (
            "not known: the server's trading hours cannot be read, so that no calendar says which bars to expect: "
            f"{printable(record.hours_problem, _SHOWN_TEXT)}"
        )
        told: Metadata = {"trading hours": printable(record.facts["trading_hours"], _SHOWN_TEXT)}
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN, told)
    if record.ratio is None or record.hours is None:
        return series.verdict(name, f"not known: {_why_unjudged(series)}")
    missing = sum(period.missing for period in record.periods.values())
    facts: Metadata = {"missing bars": missing, "gaps": record.gaps, "completeness": round(record.ratio, 6)}

    def asked_all() -> Metadata:  # built where it is shown: writing YAML takes longer than all the judging
        return {**facts, **series.run_config(_first(record), _last(record) + 1, refetch=True)}

    if record.missing_sessions and series.interval.is_intraday:
        description = (
            f"{record.missing_sessions:,} whole trading days are missing; if the exchange was open, fetch them again, "
            "and compare with another source what the server does not have"
        )
        return series.verdict(name, description, dg.AssetCheckSeverity.ERROR, asked_all())
    if 1.0 - record.ratio > SMALL_SHARE:
        description = f"{1.0 - record.ratio:.1%} of the expected bars are missing, and the server had none of them"
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN, asked_all())
    if missing:
        return series.verdict(name, f"{missing:,} bars are missing, and the server had none of them", metadata=facts)
    return series.verdict(name, "no expected bar is missing")


def _why_unjudged(series: _Judged) -> str:
    """Why nothing is known of missing bars, though no trading hours are unreadable."""
    if series.record.hours is None:
        return HOURS_NOT_TOLD
    if not series.record.periods:
        return "nothing is stored yet"
    if not Period.can_be_judged(series.interval, series.record.hours):
        return f"trading hours do not say which bars of {series.interval.token} to expect"
    return "the trading hours could not be read when the bars were stored; the next run that stores bars counts anew"


def _fresh(series: _Judged) -> dg.AssetCheckEvaluation:
    name, record, hours = "fresh", series.record, series.record.hours
    if record.refusal is not None:
        stored = "nothing is stored" if record.last is None else f"the newest bar is of {_format_time(_last(record))}"
        description = (
            f"{stored}; {record.refusal}. It is asked for once a day; take it off the watchlist if that is how it stays"
        )
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN, series.run_config())
    if record.last is None:
        return series.verdict(name, "nothing is stored yet", dg.AssetCheckSeverity.WARN, series.run_config())
    since = tick_before_last(series.group.cron(series.interval.token), int(series.now), series.interval.seconds)
    if not record.has_cadence:
        return _fresh_by_rhythm(series, since)
    found = Coverage(record, since).closing()
    if found.newest is None:
        return series.verdict(name, "the market has not been open for weeks")
    if not series.coverage.is_known(found.newest):
        description = (
            f"the newest bar is of {_format_time(_last(record))}, but one of {_format_time(found.newest)} has closed; "
            f"is the schedule on, and do its runs succeed?{series.hours_note}"
        )
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN, series.run_config())
    quiet = _quiet_sessions(series.interval, hours, _last(record), found.newest)
    if quiet > QUIET_SESSIONS:
        description = (
            f"the server has had no bar for {quiet} sessions after {_format_time(_last(record))}: halted or delisted?"
        )
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN)
    return series.verdict(name, f"all that closed by {_format_time(int(since))} is stored{series.hours_note}")


def _fresh_by_rhythm(series: _Judged, since: float) -> dg.AssetCheckEvaluation:
    """Of a series without a cadence, by what somebody asked, and by how far apart its points are."""
    name, record = "fresh", series.record
    newest = f"the newest point is of {_format_time(_last(record))}"
    if Coverage(record, since).is_awaited:
        asked = f" after {_format_time(int(record.asked_at))}" if record.asked_at else ""
        description = f"{newest}, and nobody asked for more{asked}; is the schedule on, and do its runs succeed?"
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN, series.run_config())
    if record.rhythm is None:
        return series.verdict(name, f"{newest}; points are too few to tell when the next one is due")
    apart = f"points are {record.rhythm} apart as a rule"
    if series.coverage.is_late:
        days = (series.now - _last(record)) / 86_400
        description = f"{newest}, {days:,.0f} days ago, though {apart}: discontinued?"
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN)
    return series.verdict(name, f"{newest}, and {apart}")


def _named(series: _Judged, fresh: dg.AssetCheckEvaluation) -> dg.AssetCheckEvaluation:
    """A verdict on freshness, with the new name of the instrument: the old one may bring no bar any more."""
    old, new = series.record.series.symbol, series.record.renamed_to
    if not new:
        return fresh
    advice = f"tv-etl rename {old} {new}"
    description = f"{fresh.description}; {old} is named {new} now: run `{advice}` and change the watchlist"
    metadata: Metadata = {"renamed to": new, "command": advice}
    severity = dg.AssetCheckSeverity.WARN if fresh.passed else fresh.severity
    return series.verdict(fresh.check_name, description, severity, {**fresh.metadata, **metadata})


def _loss_deadline(series: _Judged) -> dg.AssetCheckEvaluation:
    name, lost = LOSS_DEADLINE, series.coverage.lost()
    if lost.spans:
        spans = {"never asked for in time": dg.MetadataValue.table(_records(lost.spans))}
        gone = _spans_text(lost.spans)
        if lost.is_certain:
            description = (
                f"lost: the server no longer has bars of {gone}; take them from another source{series.hours_note}"
            )
            return series.verdict(name, description, dg.AssetCheckSeverity.ERROR, {**spans})
        why = f"{series.hours_note}{_why_left_alone(series)}"
        description = f"bars of {gone} are leaving the server's window: fetch them now{why}"
        return series.verdict(name, description, dg.AssetCheckSeverity.ERROR, {**spans, **series.run_config()})
    deadline = series.coverage.loss_deadline()
    if deadline is None:
        return series.verdict(name, "nothing is lost: the server keeps these bars, or nothing was asked for yet")
    left = deadline - utc(int(series.now))
    facts: Metadata = {"loss deadline": dg.MetadataValue.timestamp(deadline)}
    if left < NEAR_LOSS:
        description = (
            f"the next bar will be lost in {left}: fetch it before {deadline:%Y-%m-%d %H:%M}Z{series.hours_note}"
            f"{_why_left_alone(series)}"
        )
        return series.verdict(name, description, dg.AssetCheckSeverity.WARN, {**facts, **series.run_config()})
    description = f"the next bar would be lost on {deadline:%Y-%m-%d %H:%M}Z{series.hours_note}"
    return series.verdict(name, description, metadata=facts)


def _why_left_alone(series: _Judged) -> str:
    """Empty where something fetches the series."""
    if not series.coverage.is_left_alone:
        return ""
    token, asked_until = series.interval.token, _format_time(series.record.asked[-1][1])
    is_scheduled = series.group.cron(token) is not None
    name = schedule_name(series.group, token)
    question = f"is the schedule {name} on, and do its runs succeed?" if is_scheduled else "it has no schedule"
    return f"; nothing has fetched it since {asked_until}: {question}"


def _seamless(series: _Judged, bars: pa.Table | None = None) -> dg.AssetCheckEvaluation:
    """By the record; where bars are given, also by a second witness, who knows nothing of joins."""
    name, seam = "seamless", series.record.open_seam
    if seam is None:
        # What is not traded is not split: a rate that doubles is no sign of anything.
        steps = [] if bars is None or not series.record.has_cadence else suspicious_steps(Bars.from_stored(bars))
        if steps:
            return _stepped(series, steps)
        resolved = len(series.record.seams)
        earlier = f"; {resolved:,} seams were resolved" if resolved else ""
        return series.verdict(name, f"every answer joined what was stored{earlier}")
    older, newer = ({"open": _format_time(at), "close": f"{close:.10g}"} for at, close in (seam.older, seam.newer))
    metadata: Metadata = {
        "both sides": dg.MetadataValue.table(
            [dg.TableRecord({"side": "older", **older}), dg.TableRecord({"side": "newer", **newer})]
        ),
        "reason": seam.reason,
        "command": f"tv-etl seam {series.record.series.symbol} {series.interval} scale RATIO | cut | accept",
        **series.run_config(seam="accept"),
    }
    description = f"not proven to join at {seam}; {seam.reason}. Scale what is older, cut it off, or accept it"
    return series.verdict(name, description, dg.AssetCheckSeverity.ERROR, metadata)


def _stepped(series: _Judged, steps: list[Step]) -> dg.AssetCheckEvaluation:
    rows = [
        {"from": _format_time(time), "before": f"{before:.10g}", "after": f"{after:.10g}"}
        for time, before, after, _ in steps[:_SHOWN_ROWS]
    ]
    more = f" and {len(steps) - 1:,} more times" if len(steps) > 1 else ""
    description = (
        f"prices step by nearly × {steps[0].ratio:.4g} at {_format_time(steps[0].time)}{more}, as where a split was "
        "not applied to one side, and nothing around explains it; compare with another source, or fetch it all again"
    )
    table = dg.MetadataValue.table([dg.TableRecord(row) for row in rows])
    metadata: Metadata = {"steps": table, **series.run_config(refetch=True)}
    return series.verdict("seamless", description, dg.AssetCheckSeverity.WARN, metadata)


def _revisions(series: _Judged, last: LastCommit) -> dg.AssetCheckEvaluation:
    name = REVISIONS
    if not last.changed and not last.readjusted:
        earlier = f"{series.record.revisions:,} changed earlier"
        return series.verdict(name, f"the last commit changed no stored bar; {earlier}")
    metadata: Metadata = {"bars revised": last.changed}
    if last.changed:
        log = series.store.revisions(*series.record.series)
        rows = log.slice(max(0, log.num_rows - last.changed), min(last.changed, _SHOWN_ROWS))
        metadata.update(_table("the first", rows))
    description = f"{last.changed:,} stored bars came again with different values"
    if last.readjusted:
        metadata["re-adjusted"] = last.readjusted
        description = f"the history was re-adjusted: {last.readjusted}; {description}"
    return series.verdict(name, description, dg.AssetCheckSeverity.WARN, metadata)


@lru_cache(maxsize=256)
def tick_before_last(cron: str | None, now: int, width_s: int) -> float:
    """What closed before this has had an interval of the schedule to be stored; without one, a day or a bar's width."""
    if cron is None:
        return now - max(86_400, width_s)
    ticks = reverse_cron_string_iterator(now, cron, "UTC")
    next(ticks)
    return next(ticks).timestamp()


@lru_cache(maxsize=256)
def _quiet_sessions(interval: Interval, hours: TradingHours | None, last: int, newest: int) -> int:
    if hours is None or newest <= last:
        return 0
    silent = hours.expected_between(interval, last + 1, newest + 1) if not interval.is_intraday else None
    if silent is not None:
        return int(silent.size)
    return hours.whole_sessions(interval, GapRun(last + interval.seconds, newest, 0))


def _table(label: str, rows: pa.Table) -> Metadata:
    records = [
        dg.TableRecord({name: str(value) for name, value in row.items() if value is not None})
        for row in rows.to_pylist()
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in rows.schema.names])
    return {f"{label} {rows.num_rows}": dg.MetadataValue.table(records, schema=schema)}


def _records(spans: list[Span]) -> list[dg.TableRecord]:
    return [
        dg.TableRecord({"from": _format_time(start), "until": _format_time(end)}) for start, end in spans[:_SHOWN_ROWS]
    ]


def _spans_text(spans: list[Span]) -> str:
    more = f" and {len(spans) - 1:,} more spans" if len(spans) > 1 else ""
    return f"{_format_time(spans[0][0])} to {_format_time(spans[0][1])}{more}"


def _first(record: SeriesRecord) -> int:
    return min(period.first for period in record.periods.values())


def _last(record: SeriesRecord) -> int:
    return max(period.last for period in record.periods.values())


def _format_time(second: int) -> str:
    return f"{utc(second):%Y-%m-%d %H:%M}Z"
