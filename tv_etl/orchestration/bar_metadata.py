"""What Dagster shows of a series with its materialization: rows, extent, completeness, a picture of the newest bars."""

import dagster as dg

from tv_etl.collect.answer import facts_of
from tv_etl.collect.collection import Stored, Unchanged
from tv_etl.lake.bars import Bars
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.picture import Candle, markdown
from tv_etl.lake.record import NO_CADENCE, SeriesRecord
from tv_etl.tradingview.printable import printable

_SHOWN_TEXT = 1_000  # characters

Metadata = dict[str, dg.MetadataValue | str | int | float]


def stored_metadata(outcome: Stored, uri: str) -> Metadata:
    """Of a series whose files are at `uri`, after a commit."""
    commit, facts = outcome.commit, facts_of(outcome.answer)
    return {
        **_picture(commit.newest),
        "rows added": commit.added,
        "rows revised": commit.changed,
        "rows in overlap": commit.unchanged,
        "rows in quarantine": commit.quarantined,
        "rows withdrawn": commit.record.withdrawn,
        "reach": facts["fetch.reach"],
        "requests": int(facts["fetch.requests"]),
        "seconds to fetch": float(facts["fetch.seconds"]),
        "seconds to store": round(outcome.seconds, 3),
        **_series_metadata(commit.record, uri, float(facts["fetch.server_time"])),
        **({} if commit.readjustment is None else {"re-adjusted": str(commit.readjustment)}),
        **({} if commit.seam is None else {"seam": f"{commit.seam}; {commit.seam.reason}"}),
    }


def unchanged_metadata(outcome: Unchanged, uri: str, now: float) -> Metadata:
    """Of a series whose files are at `uri` and for which nothing was asked at `now` (UTC seconds)."""
    return {
        **_picture(outcome.newest),
        "rows added": 0,
        "rows revised": 0,
        "requests": 0,
        **_series_metadata(outcome.record, uri, now),
    }


def _series_metadata(record: SeriesRecord, uri: str, now: float) -> Metadata:
    metadata: Metadata = {
        "dagster/partition_row_count": record.rows,
        "dagster/uri": uri,
        "bytes": record.stored_bytes,
        "revisions": record.revisions,
        "completeness": _completeness(record),
    }
    if record.first is not None and record.last is not None:
        metadata["first bar"] = dg.MetadataValue.timestamp(record.first)
        metadata["last bar"] = dg.MetadataValue.timestamp(record.last)
    if record.hours is None and record.has_cadence:
        metadata["trading hours"] = (
            f"cannot be read: {printable(record.hours_problem, _SHOWN_TEXT)}" if record.hours_problem else "not told"
        )
    if record.ratio is not None:
        metadata["gaps"], metadata["missing sessions"] = record.gaps, record.missing_sessions
    if record.audited_at:
        metadata["last audit"] = dg.MetadataValue.timestamp(record.audited_at)
    if record.renamed_to:
        metadata["renamed to"] = record.renamed_to
    deadline = Coverage(record, now).loss_deadline()
    metadata["loss deadline"] = "none" if deadline is None else dg.MetadataValue.timestamp(deadline)
    return metadata


def _completeness(record: SeriesRecord) -> str | float:
    if not record.has_cadence:
        rhythm = "" if record.rhythm is None else f"; points are {record.rhythm} apart as a rule"
        return f"{NO_CADENCE}{rhythm}"
    return "unknown" if record.ratio is None else round(record.ratio, 6)


def _picture(newest: Bars) -> Metadata:
    if not len(newest):
        return {}
    volumes = [
        volume if has else None for volume, has in zip(newest.values[4].tolist(), newest.has_volume, strict=True)
    ]
    rows = zip(newest.times.tolist(), *newest.values[:4].tolist(), volumes, strict=True)
    return {"newest bars": dg.MetadataValue.md(markdown([Candle(*row) for row in rows]))}
