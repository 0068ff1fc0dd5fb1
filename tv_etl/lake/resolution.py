"""How a person resolves a seam: scale what is older, cut it off, or accept it as it is."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tv_etl.lake.arrivals import merged_arrivals
from tv_etl.lake.bar_file import encode_bars
from tv_etl.lake.bars import Bars, joined
from tv_etl.lake.errors import NoSeamError
from tv_etl.lake.logs import encode_log, readjusted_rows
from tv_etl.lake.periods import described_periods
from tv_etl.lake.place import SeriesPlace
from tv_etl.lake.provenance import clipped_provenance
from tv_etl.lake.readjustment import Readjustment, finest_decimals
from tv_etl.lake.record import FoundReadjustment, SeriesRecord
from tv_etl.lake.seam import Seam
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.spans import without
from tv_etl.lake.storage.files import Transaction
from tv_etl.lake.update import file_facts
from tv_etl.lake.written import Written

Action = Literal["scale", "cut", "accept"]
ACTIONS: tuple[Action, ...] = get_args(Action)

_FORMS = "write accept, cut, or scale and a ratio of prices, e.g. scale 0.25 for a split four for one"
_BEGINNING = -62_135_596_800  # year 1


@dataclass(frozen=True)
class Resolution:
    """What to do about the newest open seam of a series.

    `scale` multiplies the older prices by `ratio` and the older volumes by `volume_ratio`, of a split the inverse;
    `cut` moves the older bars out of the dataset, and keeps them; `accept` joins them as they are. `proof` says what
    proves it, if it is not a person's word. Scaled prices are rounded to so many `decimals`; None is what both sides
    use at most.
    """

    action: Action
    ratio: float = 1.0
    volume_ratio: float = 1.0
    proof: str = ""
    decimals: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Resolution":
        """Read `accept`, `cut`, `scale 0.25` or, with a volume ratio of its own, `scale 0.98 1`. Raises ValueError."""
        action, *numbers = text.split() or [""]
        counts = {"scale": (1, 2), "cut": (0,), "accept": (0,)}
        if action not in ACTIONS or len(numbers) not in counts[action]:
            raise ValueError(f"{text!r} resolves no seam; {_FORMS}")
        try:
            ratio, *volume = (float(number) for number in numbers) if numbers else (1.0,)
        except ValueError:
            raise ValueError(f"{text!r}: a ratio is a number; {_FORMS}") from None
        if not all(0 < each < math.inf for each in (ratio, *volume)):
            raise ValueError(f"{text!r}: a ratio is greater than 0 and finite; {_FORMS}")
        return cls(action, ratio, volume[0] if volume else 1 / ratio)

    def __str__(self) -> str:
        proof = f", {self.proof}" if self.proof else ""
        numbers = f" {self.ratio:.10g} (volume × {self.volume_ratio:.6g})" if self.action == "scale" else ""
        return f"{self.action}{numbers}{proof}"


def resolve_seam(
    place: SeriesPlace, stored: StoredSeries, transaction: Transaction, resolution: Resolution, written: Written
) -> SeriesRecord:
    """Resolve the newest open seam in one commit; return what is known of the series then. Raises NoSeamError."""
    known, now_s = stored.record(), written.at
    seam = known.open_seam
    if seam is None:
        raise NoSeamError(str(place.series))
    done = replace(seam, resolved=str(resolution), resolved_at=now_s)
    seams = tuple(done if each is seam else each for each in known.seams)
    record = replace(known, seams=seams, written=written.after(known.written))
    read, sizes, gone = dict[str, Bars](), dict[str, int](), set[str]()
    if resolution.action == "scale":
        record = _scaled(place, stored, transaction, record, seam, resolution, now_s, read, sizes)
    elif resolution.action == "cut":
        record = replace(
            record,
            asked=tuple(without(record.asked, [(_BEGINNING, seam.at)])),
            imported=clipped_provenance(record.imported, seam.at),
            logged_from=now_s,  # what was known before went with the bars
        )
        gone = _cut(place, stored, transaction, record, seam, now_s, read, sizes)
    record = replace(record, periods=described_periods(place, stored, known, record, read, sizes, gone))
    transaction.stage(place.record_name, record.encode())
    transaction.publish()
    return record


def _scaled(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    record: SeriesRecord,
    seam: Seam,
    resolution: Resolution,
    now_s: float,
    read: dict[str, Bars],
    sizes: dict[str, int],
) -> SeriesRecord:
    decimals = resolution.decimals
    if decimals is None:
        decimals = finest_decimals(stored.between(seam.older[0], None))
    found = Readjustment(resolution.ratio, resolution.volume_ratio, seam.at, decimals)
    replaced: list[Bars] = []
    for period in stored.periods:
        before = stored.bars(period)
        older = before.between(None, seam.at)
        if len(older):
            replaced.append(older)
            _stage_period(place, stored, transaction, record, period, found.rescale(before), now_s, read, sizes)
    record = replace(record, readjustments=(*record.readjustments, FoundReadjustment(now_s, found)))
    log = readjusted_rows(joined(*replaced), now_s)
    transaction.stage(place.readjusted_name(len(record.readjustments)), encode_log(log, transaction.stamp))
    return record


def _cut(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    record: SeriesRecord,
    seam: Seam,
    now_s: float,
    read: dict[str, Bars],
    sizes: dict[str, int],
) -> set[str]:
    """Take what is older out of the data files; whole files keep their bars where they go, the others in a log."""
    gone = set[str]()
    for period in stored.periods:
        before = stored.bars(period)
        older, newer = before.between(None, seam.at), before.between(seam.at, None)
        if not len(older):
            continue
        if len(newer):
            log = readjusted_rows(older, now_s)
            name = place.cut_name(len(record.seams))
            transaction.stage(name, encode_log(log, transaction.stamp))
            _stage_period(place, stored, transaction, record, period, newer, now_s, read, sizes)
        else:
            transaction.set_aside(place.period_name(period))
            gone.add(period)
    return gone


def _stage_period(
    place: SeriesPlace,
    stored: StoredSeries,
    transaction: Transaction,
    record: SeriesRecord,
    period: str,
    bars: Bars,
    now_s: float,
    read: dict[str, Bars],
    sizes: dict[str, int],
) -> None:
    before = stored.bars(period)
    kept = before.times >= bars.times[0]
    came_at = merged_arrivals(before.times[kept], stored.came_at(period)[kept], bars.times, int(now_s * 1_000_000))
    content = encode_bars(bars, place.series, file_facts(record), transaction.stamp, came_at=came_at)
    transaction.stage(place.period_name(period), content)
    read[period], sizes[period] = bars, len(content)
