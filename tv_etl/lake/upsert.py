"""How an upsert changes a stored series: one commit of all the files that its bars touch.

Theory of operation
===================

An upsert is a function of three things: the series as stored, the closed bars given, and what their table says of
itself (its facts). It reads one snapshot, stages the files that differ and publishes them, in one transaction: under
the series' lock or, in an object store, again from the beginning when somebody else was faster. So it must not have
any effect before `publish`, and must not remember anything between two runs.

    given ──┬── not consistent ──────────────> quarantine (unless a sound version has come since)
            └── sound ──┐
    stored beside it ───┴── of what scale are both?
                              one ratio: what is older is rescaled, and kept as it was
                              not known: a seam, if the update needs proof; nothing is scaled
                              else: as it is
                            merge: the newer value of a bar stands
                              what changed, beyond a re-adjustment ─> log of revisions
                              what is vouched for and not given    ─> log of what was withdrawn
                              files that differ ─> staged;  record ─> staged

Which file a bar belongs to is a pure function of its interval and time, so only the periods of the bars given are
read. There are two exceptions. A re-adjustment concerns every older bar, so then all older periods are read and
rewritten. And the newest period of a series is written for speed, since it is rewritten with every increment; once a
newer period begins, it is written once more, for size, if that is worth it.

The record describes every period (rows, extent, bars missing by the trading hours), so that nobody needs the files to
know what a series holds. What is expected of a period depends on the series' first and last bar and on its trading
hours: if those move, the periods at both ends are described anew, or all of them.

The order of judgement is fixed, and each step relies on the one before. Forming bars are dropped first: no later step
may see one. Inconsistent bars are taken out before anything is compared: a broken price would spoil a ratio. The ratio
is found before bars are compared one by one: what it explains is not a revision. Revisions are counted before merging:
merging forgets the old values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tv_etl.lake.arrivals import merged_arrivals
from tv_etl.lake.bar_file import encode_bars, grows_larger
from tv_etl.lake.bars import Bars, Mask, Times, joined, merge
from tv_etl.lake.cadence import RHYTHM_POINTS, Rhythm, has_cadence
from tv_etl.lake.crossing import Crossing, crossed, reached_across, taken_over
from tv_etl.lake.errors import ReadjustedError
from tv_etl.lake.layout import is_soon_over, period_range, period_runs
from tv_etl.lake.logs import encode_log, quarantined, readjusted_rows, revision_rows
from tv_etl.lake.periods import described_periods
from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.provenance import are_imported, joined_provenance
from tv_etl.lake.readjustment import Readjustment, Unproven, agrees_at_start, find_readjustment, overlap, revised
from tv_etl.lake.record import FoundReadjustment, SeriesRecord
from tv_etl.lake.seam import Seam
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.spans import Span
from tv_etl.lake.spans import merged as merged_spans
from tv_etl.lake.storage.files import Transaction
from tv_etl.lake.update import Update, agreed_facts, file_facts
from tv_etl.lake.withdrawn import counted, logged, overlapped, withdrawn_from
from tv_etl.lake.written import Written
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc


@dataclass(frozen=True)
class Commit:
    """What an upsert did.

    `changed` bars are revisions. `forming` bars were refused because they were not closed. `record` is what is known
    of the series now. `paths` are the data files written, relative to the base of the lake, none where nothing changed.
    With a `readjustment` older bars than those given were rescaled; with a `seam` nothing proved of what scale they
    are, and they were left as they are. `adopted` is the market that bars of an unknown one were taken to be of.
    `newest` are as many of the series' newest bars as the caller wanted to see.
    """

    added: int
    changed: int
    unchanged: int
    forming: int
    record: SeriesRecord
    paths: tuple[str, ...] = ()
    readjustment: Readjustment | None = None
    seam: Seam | None = None
    adopted: str = ""
    newest: Bars = field(default_factory=Bars.none, repr=False, compare=False)

    @property
    def first(self) -> datetime | None:
        """The open of the series' oldest bar."""
        return self.record.first

    @property
    def last(self) -> datetime | None:
        """The open of the series' newest bar."""
        return self.record.last

    @property
    def rows(self) -> int:
        """How many bars the series has."""
        return self.record.rows

    @property
    def quarantined(self) -> int:
        """How many of its bars are kept out of the dataset."""
        return self.record.quarantined


def commit_update(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    given: Update,
    written: Written,
    *,
    needs_proof: bool = False,
    newest: int = 0,
) -> Commit:
    """Merge into the files that the bars belong to, and publish what differs; `stored` is seen in the transaction.

    What changes is `written` now, by whom it says.
    If it `needs_proof`, a seam is made where nothing proves that the bars given are of the stored ones' scale.
    """
    known, now_s = stored.record(), written.at
    is_sound = given.closed.is_consistent()
    sound, broken = given.closed.take(is_sound), given.closed.take(~is_sound)
    beside = _beside(stored, sound)
    scale = None if given.is_fitted else find_scale(stored, sound, given.facts)
    readjustment = scale if isinstance(scale, Readjustment) else None
    if readjustment is not None:
        _refuse_unless_newest(place, stored, sound, readjustment)
    old, new = revised(beside, sound, readjustment)
    seam = None
    if needs_proof and isinstance(scale, Unproven) and _has_older(stored, sound):
        seam = _seam(stored, sound, scale.reason, len(old), now_s)
        _stage_kept(transaction, place.seam_name(len(known.seams) + 1), old, now_s)
        old, new = Bars.none(), Bars.none()  # of another scale, or another instrument: not revised
    is_partial = _has_older(stored, sound) or not len(sound)
    record = _next_record(known, place, given, (readjustment, seam), len(old), now_s, is_partial=is_partial)
    entered = [each if each.entered_at else replace(each, entered_at=now_s) for each in given.imported]
    crossing = Crossing(record.seams)
    if seam is not None:
        crossing = taken_over(record.seams, seam, sound, now_s)
    elif not isinstance(scale, Unproven) or not _has_older(stored, sound):
        crossing = crossed(record.seams, stored, sound, now_s)
    record = replace(
        record,
        seams=crossing.seams,
        imported=joined_provenance(known.imported, entered, beside.times, sound.times),
    )
    gone, has_left = _withdrawn(stored, given, sound, crossing.leaving)
    merged = _merged(place, stored, transaction, sound, record, readjustment, gone.times[has_left], now_s)
    if readjustment is not None:
        _stage_kept(transaction, place.readjusted_name(len(record.readjustments)), joined(*merged.replaced), now_s)
    withdrawn = _stage_withdrawn(place, stored, transaction, known, gone, has_left, given.closed.times, now_s)
    quarantine = _stage_logs(place, stored, transaction, known, sound, broken, (old, new), now_s)
    periods = described_periods(place, stored, known, record, merged.read, merged.sizes)
    record = replace(record, quarantined=quarantine, withdrawn=withdrawn, periods=periods)
    if not record.has_cadence:
        rhythm = Rhythm.of(_newest(stored, merged.read, RHYTHM_POINTS).times)
        record = replace(record, rhythm=rhythm, asked_at=now_s if given.asked else known.asked_at)
    if merged.sizes or record.seams != known.seams:
        record = replace(record, written=written.after(known.written))
    if periods and (merged.sizes or record != known or not stored.has_record):
        transaction.stage(place.record_name, record.encode())
    transaction.publish()
    return Commit(
        added=merged.added,
        changed=len(old),
        unchanged=len(sound) - merged.added - len(old) - (0 if seam is None else seam.replaced),
        forming=given.forming,
        record=record,
        paths=tuple(map(place.period_name, merged.sizes)),
        readjustment=readjustment,
        seam=seam,
        adopted=record.facts.get("market", "") if known.periods and not known.facts.get("market") else "",
        newest=_newest(stored, merged.read, newest),
    )


def find_scale(stored: StoredSeries, sound: Bars, facts: Mapping[str, str]) -> Readjustment | Unproven | None:
    """How the scale of the stored bars differs from that of the bars given, whose facts are the series' own if missing.

    Raises as `BarStore.read` does.
    """
    known = stored.record()

    def fact(name: str) -> str:
        return facts.get(name, known.facts.get(name, ""))

    def highest_older() -> float:
        older = stored.between(known.counted_from, int(sound.times[0]))
        return float(np.abs(older.values[:4]).max()) if len(older) else 0.0

    if not has_cadence(fact("kind"), fact("data_frequency"), stored.series.interval):
        return _scale_of_figures(known, stored, sound)
    return find_readjustment(
        _oldest_beside(known, stored, sound),
        sound,
        highest_older=highest_older,
        is_backadjusted=fact("backadjustment") == "true",
        has_dividends=fact("adjustment") == "dividends",
    )


def _scale_of_figures(known: SeriesRecord, stored: StoredSeries, sound: Bars) -> Unproven | None:
    """What is not traded is not split: what differs was revised, if the oldest point agrees or all were compared."""
    if not _has_older(stored, sound):
        return None
    beside = _oldest_beside(known, stored, sound)
    if not len(overlap(beside, sound)[0]):
        return Unproven("no bar is both stored and served")
    if agrees_at_start(beside, sound):
        return None
    return Unproven("the oldest bar that both have differs, and so may those before it")


def _beside(stored: StoredSeries, sound: Bars) -> Bars:
    """The stored bars of the time of those given."""
    return stored.between(int(sound.times[0]), int(sound.times[-1]) + 1) if len(sound) else Bars.none()


def _oldest_beside(known: SeriesRecord, stored: StoredSeries, sound: Bars) -> Bars:
    """The stored bars that tell the scale: on this side of the oldest seam, where both have any."""
    seams = reached_across(known.seams, sound)
    beside = stored.between(int(sound.times[0]), seams[0].at) if seams else Bars.none()
    return beside if len(overlap(beside, sound)[0]) else _beside(stored, sound)


def _withdrawn(stored: StoredSeries, given: Update, sound: Bars, leaving: tuple[Span, ...]) -> tuple[Bars, Mask]:
    """The stored bars that an update vouches for and has not, and which of them leave the dataset."""
    spans = (*given.asked, *leaving)
    if not spans or stored.first_s is None or given.is_fitted:  # what others have says nothing of the server
        return Bars.none(), np.empty(0, np.bool_)
    around = stored.between(min(start for start, _ in spans), max(end for _, end in spans))
    gone = withdrawn_from(around, given.closed.times, spans)
    has_left = overlapped(gone, sound.times, stored.series.interval.seconds)
    for start, end in leaving:
        has_left |= (gone.times >= start) & (gone.times < end)
    # The server never had what was imported.
    is_told = ~are_imported(gone.times, stored.record().imported) | has_left
    return gone.take(is_told), has_left[is_told]


def _stage_withdrawn(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    known: SeriesRecord,
    gone: Bars,
    has_left: Mask,
    served: Times,
    now_s: float,
) -> int:
    """Write down what the server has no more; return how many bars that are."""
    if not len(gone) and not known.withdrawn:
        return 0
    before = stored.withdrawn()
    parts = [
        stored.came_at(period)[np.isin(stored.bars(period).times, gone.times)] for period in stored.periods_of(gone)
    ]
    came_at = np.concatenate([np.empty(0, np.int64), *parts])
    log = logged(before, gone, came_at, has_left, served, now_s)
    if log is not before:
        transaction.stage(place.withdrawn_name, encode_log(log, transaction.stamp))
    return counted(log)


def _has_older(stored: StoredSeries, sound: Bars) -> bool:
    return len(sound) > 0 and stored.first_s is not None and stored.first_s < int(sound.times[0])


def _seam(stored: StoredSeries, sound: Bars, reason: str, replaced: int, now_s: float) -> Seam:
    at = int(sound.times[0])
    last_s = stored.newest_before(at)
    older = stored.between(last_s, at)
    return Seam(
        at=at,
        found_at=now_s,
        reason=reason,
        older=(int(older.times[-1]), float(older.values[3, -1])),
        newer=(at, float(sound.values[3, 0])),
        replaced=replaced,
    )


class _Merged(NamedTuple):
    """The periods that a commit touches, as they are after it, and what of them was written or re-adjusted."""

    read: dict[str, Bars]
    sizes: dict[str, int]
    replaced: list[Bars]
    added: int


def _merged(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    sound: Bars,
    record: SeriesRecord,
    readjustment: Readjustment | None,
    leaving: Times,
    now_s: float,
) -> _Merged:
    """Stage the data files that differ; the bars at the `leaving` times are in them no more."""
    parts = {name: sound.take(slice(*run)) for name, *run in period_runs(sound.times, place.interval)}
    newest_period = max([*parts, *stored.periods], default="")
    growing = {newest_period} if is_soon_over(place.interval) else set()
    settled = {*stored.periods[-1:]} - {newest_period} if growing else set()  # what grew until now
    left = {name for name, _, _ in period_runs(leaving, place.interval)}
    merged = _Merged({}, {}, [], 0)
    for period in sorted({*parts, *stored.periods}):
        is_older = readjustment is not None and _is_before(period, place.interval, readjustment)
        if not (period in parts or period in settled or period in left or is_older):
            continue
        before = base = stored.bars(period)
        if readjustment is not None:
            # Beyond a seam nothing is known to be of this scale.
            beyond, concerned = before.between(None, record.counted_from), before.between(record.counted_from, None)
            if record.counted_from is None:
                beyond, concerned = Bars.none(), before
            concerned_old = concerned.between(None, readjustment.until)
            if len(concerned_old):
                base = joined(beyond, readjustment.rescale(concerned))
                merged.replaced.append(concerned_old)
        after = merge(base, parts.get(period, Bars.none()))
        stays = ~np.isin(after.bars.times, leaving)
        bars = after.bars if stays.all() else after.bars.take(stays)
        merged.read[period] = bars
        merged = merged._replace(added=merged.added + after.added)
        is_too_large = period in settled and grows_larger(before)
        if after.added or after.changed or base is not before or bars is not after.bars or is_too_large:
            came_at = merged_arrivals(before.times, stored.came_at(period), after.bars.times, int(now_s * 1_000_000))
            content = encode_bars(
                bars,
                place.series,
                file_facts(record),
                transaction.stamp,
                came_at=came_at[stays],
                is_growing=period in growing,
            )
            transaction.stage(place.period_name(period), content)
            merged.sizes[period] = len(content)
    return merged


def _stage_kept(transaction: Transaction, name: str, before: Bars, now_s: float) -> None:
    """Keep bars as they were before a commit replaces them."""
    if len(before):
        transaction.stage(name, encode_log(readjusted_rows(before, now_s), transaction.stamp))


def _newest(stored: StoredSeries, after: Mapping[str, Bars], count: int) -> Bars:
    """So many of the newest bars; `after` are the periods as they are after the commit, as far as it touched them."""
    parts: list[Bars] = []
    for period in sorted({*after, *stored.periods}, reverse=True):
        if count <= 0:
            break
        bars = after[period] if period in after else stored.bars(period)
        parts.insert(0, bars.take(slice(max(0, len(bars) - count), None)))
        count -= len(bars)
    return joined(*parts)


def _next_record(
    known: SeriesRecord,
    place: SeriesPlace,
    given: Update,
    found: tuple[Readjustment | None, Seam | None],
    revisions: int,
    now_s: float,
    *,
    is_partial: bool,
) -> SeriesRecord:
    readjustment, seam = found
    # All that is stored was compared, or all that the server has.
    is_audit = not given.is_fitted and (given.window is not None or not is_partial)
    readjustments = () if readjustment is None else (FoundReadjustment(now_s, readjustment),)
    return replace(
        known,
        facts=agreed_facts(place.series, known.facts, given.facts),
        asked=tuple(merged_spans([*known.asked, *given.asked])),
        window=given.window or known.window,
        readjustments=(*known.readjustments, *readjustments),
        seams=known.seams if seam is None else (*known.seams, seam),
        revisions=known.revisions + revisions,
        logged_from=now_s if known.logged_from == math.inf else known.logged_from,
        audited_at=now_s if is_audit or not known.audited_at else known.audited_at,
        renames=tuple(dict.fromkeys([*known.renames, *given.renames])),
        # What others have says nothing of the server.
        refusal=known.refusal if given.is_fitted or given.imported else None,
    )


def _is_before(period: str, interval: Interval, readjustment: Readjustment) -> bool:
    first, _ = period_range(period, interval)
    return first is None or first < readjustment.until


def _refuse_unless_newest(place: SeriesPlace, stored: StoredSeries, sound: Bars, readjustment: Readjustment) -> None:
    """Raise ReadjustedError where newer stored bars may be concerned, too."""
    _, newest = stored.extent(stored.periods[-1])
    if newest > sound.times[-1] and readjustment.until > sound.times[-1]:
        raise ReadjustedError(str(place.series), str(readjustment), utc(int(sound.times[-1])))


def _stage_logs(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    known: SeriesRecord,
    sound: Bars,
    broken: Bars,
    versions: tuple[Bars, Bars],
    now_s: float,
) -> int:
    """Write down what was revised and what is kept out; return how many bars are in quarantine."""
    old, new = versions
    if len(old):
        log = pa.concat_tables([stored.revisions(), revision_rows(old, new, now_s)])
        transaction.stage(place.revisions_name, encode_log(log, transaction.stamp))
    # Only a record of files tells that nothing is there; without one it was lost, or the files were taken away.
    if not len(broken) and not known.quarantined and known.periods:
        return 0
    kept_out = stored.quarantine()
    after = quarantined(kept_out, sound, broken, now_s)
    if after is not kept_out:
        transaction.stage(place.quarantine_name, encode_log(after, transaction.stamp))
    return len(after)
