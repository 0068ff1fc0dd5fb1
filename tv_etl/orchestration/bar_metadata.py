"""What Dagster shows of a series with its materialization: how many rows, what is known of them, and the verdict.

Dagster keeps an event of a run two or three times, and names three classes for each of its metadata. So all of it
stands in one of them, without what is hardly ever other than zero: two such events fit into a page of SQLite's.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import dagster as dg

from tv_etl.collect.answer import facts_of
from tv_etl.collect.collection import Stored, Unchanged
from tv_etl.lake.bars import Bars
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.picture import Candle, markdown
from tv_etl.lake.record import NO_CADENCE, SeriesRecord
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.printable import printable

SERIES = "series"
WRITTEN = "written"  # what a materialization says of the state of the lake that it is of
GOOD = "all checks pass"
_SHOWN_TEXT = 1_000  # characters

Metadata = dict[str, dg.MetadataValue | str | int | float]
_Facts = dict[str, Any]

# What an answer of a test's own need not say.
_FETCH_FACTS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("reach", "fetch.reach", str),
    ("requests", "fetch.requests", int),
    ("seconds to fetch", "fetch.seconds", float),
)


def stored_metadata(outcome: Stored, now: float, verdict: str) -> Metadata:
    """Of a series after a commit, at `now` (UTC seconds)."""
    commit, facts = outcome.commit, facts_of(outcome.answer)
    return _metadata(
        commit.record,
        now,
        verdict,
        {
            "rows added": commit.added,
            "rows revised": commit.changed,
            **_unless_zero({"rows in quarantine": commit.quarantined}),
            **_unless_zero({"bars of the future": int(facts.get("fetch.ahead", "0"))}),
            **({} if commit.readjustment is None else {"re-adjusted": str(commit.readjustment)}),
            **({} if commit.seam is None else {"seam": f"{commit.seam}; {commit.seam.reason}"}),
            "rows in overlap": commit.unchanged,
            **{name: of(facts[fact]) for name, fact, of in _FETCH_FACTS if fact in facts},
        },
    )


def unchanged_metadata(outcome: Unchanged, now: float, verdict: str) -> Metadata:
    """Of a series for which nothing was asked at `now` (UTC seconds)."""
    return _metadata(outcome.record, now, verdict, {"rows added": 0, "rows revised": 0, "requests": 0})


def reported_metadata(record: SeriesRecord, now: float, verdict: str) -> Metadata:
    """Of a series that something else has stored than a run of the asset, as it is at `now` (UTC seconds)."""
    return _metadata(record, now, verdict, {} if record.written is None else {"written by": str(record.written.by)})


def state_of(record: SeriesRecord) -> str:
    """When the bars of a series changed last, which tells one state of it from another; empty if not on record."""
    return "" if record.written is None else f"{utc(record.written.at):%Y-%m-%d %H:%M:%S.%f}Z"


def page_metadata(newest: Bars, uri: str) -> Metadata:
    """For somebody who looks at the page of a partition: where the files of the series are, and its newest bars."""
    if not len(newest):
        return {"dagster/uri": uri}
    volumes = [
        volume if has else None for volume, has in zip(newest.values[4].tolist(), newest.has_volume, strict=True)
    ]
    rows = zip(newest.times.tolist(), *newest.values[:4].tolist(), volumes, strict=True)
    return {"dagster/uri": uri, "newest bars": dg.MetadataValue.md(markdown([Candle(*row) for row in rows]))}


def facts_in(materialization: dg.AssetMaterialization) -> _Facts:
    """What a materialization says of its series."""
    values = {name: each.value for name, each in materialization.metadata.items()}
    series = values.get(SERIES)
    return {**values, **(series if isinstance(series, dict) else {})}


def _metadata(record: SeriesRecord, now: float, verdict: str, outcome: _Facts) -> Metadata:
    return {
        "dagster/partition_row_count": record.rows,
        # What is bad has a line of its own.
        **({"verdict": verdict} if verdict != GOOD else {}),
        SERIES: dg.MetadataValue.json(
            {**({"verdict": verdict} if verdict == GOOD else {}), **outcome, **_series_facts(record, now)}
        ),
    }


def _series_facts(record: SeriesRecord, now: float) -> _Facts:
    facts: _Facts = {"completeness": _completeness(record)}
    if record.ratio is not None:
        facts["gaps"] = record.gaps
    if record.first is not None and record.last is not None:
        facts["first bar"], facts["last bar"] = _moment(record.first), _moment(record.last)
    if record.written is not None:
        facts[WRITTEN] = state_of(record)
    deadline = Coverage(record, now).loss_deadline()
    facts["loss deadline"] = "none" if deadline is None else _moment(deadline)
    facts |= _unless_zero(
        {
            "missing sessions": record.missing_sessions if record.ratio is not None else 0,
            "revisions": record.revisions,
            "rows withdrawn": record.withdrawn,
        }
    )
    if record.hours is None and record.has_cadence:
        facts["trading hours"] = (
            f"cannot be read: {printable(record.hours_problem, _SHOWN_TEXT)}" if record.hours_problem else "not told"
        )
    if record.renamed_to:
        facts["renamed to"] = record.renamed_to
    return facts


def _completeness(record: SeriesRecord) -> str | float:
    if not record.has_cadence:
        rhythm = "" if record.rhythm is None else f"; points are {record.rhythm} apart as a rule"
        return f"{NO_CADENCE}{rhythm}"
    return "unknown" if record.ratio is None else round(record.ratio, 6)


def _unless_zero(counts: dict[str, int]) -> _Facts:
    return {name: count for name, count in counts.items() if count}


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
