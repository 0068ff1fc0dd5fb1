"""Proves a lake without Dagster or a server: that what is stored is whole, in its place, and as its record says.

Every byte of every series is read. What is wrong is told with what to do about it; nothing is changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.record import Period, SeriesRecord
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.storage.files import BESIDE, DATASET
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series

_REFETCH = "a run of it with refetch sets the file aside and fetches its span again"
_REWRITE = "the next commit of the series writes its record anew; restore ohlcv and .tv_etl together"
_SEAM = "tv-etl seam {symbol} {interval} shows both sides, and resolves it"


@dataclass(frozen=True)
class Finding:
    """Something wrong with a series, and what to do about it."""

    series: Series
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"{self.series}: {self.problem}; {self.advice}"


@dataclass(frozen=True)
class Verified:
    """One series after every byte of it was read: how much there is, and what is wrong."""

    series: Series
    rows: int
    bytes: int
    findings: tuple[Finding, ...]


def verify_place(store: BarStore) -> str:
    """What is wrong with where a lake is; empty if nothing is. Of an object store nothing can be told."""
    if "://" in store.base:
        return ""
    folders = [path for path in (Path(store.base) / name for name in (DATASET, BESIDE)) if path.exists()]
    if len({path.stat().st_dev for path in folders}) > 1:
        names = " and ".join(map(str, folders))
        return f"{names} lie on two devices: a commit cannot rename from one to the other; keep them on one"
    return ""


def verify(store: BarStore) -> Iterator[Verified]:
    """Read every series and yield what is wrong with it, by symbol and then by width. Raises StoreReadError."""
    for series in store.series():
        yield verify_series(store, series)


def verify_series(store: BarStore, series: Series) -> Verified:
    """Read every byte of a series, as one commit left it."""
    try:
        return store.look(series, _verified)
    except BarStoreError as error:
        return Verified(series, 0, 0, (Finding(series, f"{type(error).__name__}: {error}", _REFETCH),))


def _verified(stored: StoredSeries) -> Verified:
    series, findings = stored.series, list[Finding]()

    def find(problem: str, advice: str) -> None:
        findings.append(Finding(series, problem, advice))

    damaged = stored.damaged_names()
    for name in damaged:
        find(f"{name} cannot be read as what it should be", _REFETCH)
    if damaged:
        return Verified(series, 0, 0, tuple(findings))
    record, rows, size = stored.record(), 0, 0
    written = stored.decoded_record()
    if written is None:
        find("it has no record: spans asked for, revisions and re-adjustments are not known", _REWRITE)
    for name in sorted(set(written.periods if written else ()) - set(stored.periods)):
        find(f"the record tells of {name}, of which there is no file", _REFETCH)
    for name in stored.periods:
        footer = stored.footer(name)
        rows, size = rows + footer.rows, size + footer.bytes
        stored.came_at(name)
        found = _differences(stored, name, record.periods.get(name), footer.bytes) if written else ""
        if found:
            find(f"{name} is not as the record says: {found}", _REWRITE)
    for problem in _log_problems(stored, record):
        find(problem, _REWRITE)
    if record.open_seam is not None:
        advice = _SEAM.format(symbol=series.symbol, interval=series.interval)
        find(f"nothing proves that the bars join at {record.open_seam}", advice)
    return Verified(series, rows, size, tuple(findings))


def _differences(stored: StoredSeries, name: str, told: Period | None, size: int) -> str:
    """What the record says wrongly of a period's file."""
    if told is None:
        return "it is not in it"
    bars = stored.bars(name)
    facts = {
        "bars": (told.rows, len(bars)),
        "first bar": (told.first, int(bars.times[0])),
        "last bar": (told.last, int(bars.times[-1])),
        "bytes": (told.bytes, size),
    }
    wrong = [
        f"{what} {_shown(what, here)} instead of {_shown(what, said)}"
        for what, (said, here) in facts.items()
        if said != here
    ]
    again = Period.of(bars, size, stored.series.interval, stored.record().hours, (told.start, told.end))
    # What was not judged, since its hours could not be read then, is judged by the next commit.
    if not wrong and told.expected is not None and again != told:
        wrong.append(f"{again.missing:,} bars missing instead of {told.missing:,}")
    return ", ".join(wrong)


def _shown(what: str, value: int) -> str:
    return f"{utc(value):%Y-%m-%d %H:%M:%S}Z" if "bar" in what and what != "bars" else f"{value:,}"


def _log_problems(stored: StoredSeries, record: SeriesRecord) -> Iterator[str]:
    """Where the logs do not have what the record counts."""
    counts = {
        "revisions": (record.revisions, stored.revisions().num_rows),
        "bars in quarantine": (record.quarantined, stored.quarantine().num_rows),
        "bars withdrawn": (record.withdrawn, stored.withdrawn()["returned_at"].null_count),
    }
    for what, (told, logged) in counts.items():
        if told != logged:
            yield f"the record counts {told:,} {what}, and the log has {logged:,}"
    for number, found in enumerate(record.readjustments, start=1):
        if found.found_at >= record.logged_from and stored.readjusted(number) is None:
            yield f"the bars from before re-adjustment {number} are gone: as_of cannot read them"
