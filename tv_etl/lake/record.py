"""What is known of a stored series beside its bars: the file `series.json`, changed in the same commit as they are.

It says how the bars were made (facts), which spans were asked for and answered, how far back the server reaches, how
the history was re-adjusted, and of each period file what `status` shows, so that nobody need read the bars for that.
The bars themselves are the truth: a record that does not fit them any more is judged by them, not they by it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tv_etl.lake.bars import Bars, Times
from tv_etl.lake.cadence import Rhythm, has_cadence
from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.provenance import Imported
from tv_etl.lake.readjustment import Readjustment
from tv_etl.lake.seam import Seam
from tv_etl.lake.spans import Span, merged
from tv_etl.lake.written import Writer, Written
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.trading_hours import GapRun, TradingHours, TradingHoursError, gap_runs

# 2: seams. Whoever does not know of them would scale across one.
RECORD_VERSION = 2

# In place of a problem with the trading hours, where there are none to have one.
HOURS_NOT_TOLD = "the server told no trading hours"
NO_CADENCE = "no cadence: no trading hours tell which points there must be"
RESOLVED_AS = "resolved_as"  # the fact of a series that is its symbol, or the one that its instrument has now

_LOGGED = "logged_from"

_KEPT_HOURS = 512  # texts that tell a symbol's hours, which are read for every commit
_KEPT_PERIODS = 8  # a year of five minutes around the clock takes a megabyte; series of one market follow each other
_NEVER = 2**62


@dataclass(frozen=True)
class Window:
    """How much of the series the server still had, when it last had no older bars to give: `bars` from `start` on."""

    bars: int
    start: int


@dataclass(frozen=True)
class FoundReadjustment:
    """A re-adjustment, and when it was found (UTC seconds)."""

    found_at: float
    readjustment: Readjustment


class Rename(NamedTuple):
    """A symbol gave its series to another one, the instrument's new name; `at` is when (UTC seconds)."""

    old: str
    new: str
    at: float

    def __str__(self) -> str:
        return f"{self.old} to {self.new}, {utc(self.at):%Y-%m-%d %H:%M}Z"


@dataclass(frozen=True)
class Refusal:
    """The server will not give the series, whoever asks again: its reason, since when, and when it last said so.

    Both in UTC seconds. Any later answer lifts it.
    """

    reason: str
    since: float
    at: float

    def __str__(self) -> str:
        return f"refused by the server since {utc(self.since):%Y-%m-%d %H:%M}Z: {self.reason}"


class Removal(NamedTuple):
    """All of a series was removed by somebody, `at` a time (UTC seconds); its `bars`, None where nobody knew."""

    at: float
    bars: int | None
    by: str


class Period(NamedTuple):
    """One period file: its bars, and how they compare with the trading hours between `start` and `end` (UTC seconds).

    `expected` is None where the trading hours are not known; `gaps` are runs of `missing` bars, `sessions` the trading
    days that are missing whole. In the file a period is a list: a long history has hundreds, read at each commit.
    """

    rows: int
    first: int
    last: int
    bytes: int
    start: int
    end: int
    expected: int | None = None
    missing: int = 0
    gaps: int = 0
    sessions: int = 0

    @staticmethod
    def can_be_judged(interval: Interval, hours: TradingHours | None) -> bool:
        """True if the hours say which bars of the interval there must be."""
        if hours is None or interval.is_intraday:
            return hours is not None
        try:
            hours.expected_between(interval, 0, 0)
        except IntervalError:
            return False
        return True

    @classmethod
    def of(
        cls,
        bars: Bars,
        size: int,
        interval: Interval,
        hours: TradingHours | None,
        span: Span,
        period: tuple[int | None, int | None] = (None, None),
    ) -> "Period":
        """Judge the bars of a file of `size` bytes by what is expected in the span, which lies in the period."""
        plain = cls(len(bars), int(bars.times[0]), int(bars.times[-1]), size, *span)
        if hours is None or not cls.can_be_judged(interval, hours):
            return plain
        expected, runs, long_runs = _missing(bars, hours, interval, span, period)
        return plain._replace(
            expected=expected,
            missing=sum(run.bars for run in runs),
            gaps=len(runs),
            sessions=sum(hours.whole_sessions(interval, run) for run in long_runs),
        )


@dataclass(frozen=True)
class SeriesRecord:
    """The content of `series.json`; that of a series never stored is empty.

    `asked` are spans of opens (UTC seconds) in which no bar is missing that the server had; the bars of the spans
    `imported` came from elsewhere. `revisions` and
    `quarantined` count the rows of the logs, `withdrawn` the bars that the server has no more; `periods` describe the
    data files by name. From `logged_from` (UTC seconds) on it is known what came when; inf if that is not known of any
    moment before the next commit. At `audited_at` (UTC seconds) all was last compared that the server has. `renames`
    tell from which names bars came here, and to which they went. Of a series without a cadence `rhythm` is that of its
    points, None where they are too few, and `asked_at` is when it was asked for last; of others neither is kept.
    `written` says when bars changed last, or how they join, and by whom; None before that was kept. A `refusal` is the
    server's last answer, if it was one. `removals` tell when all that was stored before was removed.
    """

    series: Series
    facts: Mapping[str, str] = field(default_factory=dict)
    asked: tuple[Span, ...] = ()
    window: Window | None = None
    readjustments: tuple[FoundReadjustment, ...] = ()
    seams: tuple[Seam, ...] = ()
    imported: tuple[Imported, ...] = ()
    revisions: int = 0
    quarantined: int = 0
    withdrawn: int = 0
    periods: Mapping[str, Period] = field(default_factory=dict)
    logged_from: float = -math.inf
    audited_at: float = 0.0
    renames: tuple[Rename, ...] = ()
    rhythm: Rhythm | None = None
    asked_at: float = 0.0
    written: Written | None = None
    refusal: Refusal | None = None
    removals: tuple[Removal, ...] = ()

    @property
    def has_cadence(self) -> bool:
        """False for figures that are published and not traded: no trading hours tell which points there must be."""
        facts = self.facts
        return has_cadence(facts.get("kind", ""), facts.get("data_frequency", ""), self.series.interval)

    @property
    def renamed_to(self) -> str:
        """The name that the instrument has now by the last answer, if that is another one; else empty."""
        name = self.facts.get(RESOLVED_AS, "")
        return "" if name == self.series.symbol else name

    @property
    def open_seam(self) -> Seam | None:
        """The newest seam that nothing has resolved yet."""
        return max((seam for seam in self.seams if seam.is_open), key=lambda seam: seam.at, default=None)

    @property
    def counted_from(self) -> int | None:
        """From where on completeness and gaps count: the newest open seam (UTC seconds); None for the first bar."""
        return None if self.open_seam is None else self.open_seam.at

    @property
    def rows(self) -> int:
        """How many bars are stored."""
        return sum(period.rows for period in self.periods.values())

    @property
    def stored_bytes(self) -> int:
        """What the data files take."""
        return sum(period.bytes for period in self.periods.values())

    @property
    def first(self) -> datetime | None:
        """The open of the oldest stored bar."""
        return utc(self.periods[min(self.periods)].first) if self.periods else None

    @property
    def last(self) -> datetime | None:
        """The open of the newest stored bar."""
        return utc(self.periods[max(self.periods)].last) if self.periods else None

    @property
    def ratio(self) -> float | None:
        """Share of the bars expected between the first and the last that is stored; None if that is not known."""
        expected = [period.expected for period in self.periods.values() if period.expected is not None]
        if not expected or len(expected) < len(self.periods):
            return None
        missing = sum(period.missing for period in self.periods.values())
        return 1.0 - missing / sum(expected) if sum(expected) else 1.0

    @property
    def gaps(self) -> int:
        """How many runs of expected bars are missing; one that crosses from file to file counts in each."""
        return sum(period.gaps for period in self.periods.values())

    @property
    def missing_sessions(self) -> int:
        """How many trading days are missing whole."""
        return sum(period.sessions for period in self.periods.values())

    @property
    def feed_delay_s(self) -> float:
        """How late the feed is; 0 where nothing is known of it."""
        try:
            return max(0.0, float(self.facts.get("feed_delay_s") or 0.0))
        except ValueError:
            return 0.0

    @property
    def hours(self) -> TradingHours | None:
        """The hours that the bars follow; None if they follow none, or the server told none, or none can be read."""
        return self._hours_read[0]

    @property
    def hours_problem(self) -> str:
        """Why the hours that the server told cannot be read, with their text; empty if they can, or if there are none.

        Without hours there is no calendar: no gap is claimed, and bars are expected as if the market never closed.
        """
        return self._hours_read[1]

    @property
    def regular_hours(self) -> TradingHours | None:
        """The regular session's hours, by which days are counted; None as for `hours`."""
        return self._regular_hours_read[0]

    @property
    def regular_hours_problem(self) -> str:
        """As `hours_problem`, of `regular_hours`."""
        return self._regular_hours_read[1]

    @property
    def dating_hours(self) -> TradingHours | None:
        """The hours that tell the trading day of a bar, and of a point that follows none; None as for `hours`."""
        return self.hours if self.has_cadence else self.regular_hours

    @cached_property
    def _hours_read(self) -> tuple[TradingHours | None, str]:
        if not self.has_cadence:
            return None, ""
        # A day is the regular session's whatever hours the series was asked for.
        is_extended = self.series.interval.is_intraday and self.facts.get("session", "regular") != "regular"
        return self._read_hours(self.facts["session"]) if is_extended else self._regular_hours_read

    @cached_property
    def _regular_hours_read(self) -> tuple[TradingHours | None, str]:
        return self._read_hours("regular")

    def _read_hours(self, session: str) -> tuple[TradingHours | None, str]:
        """The hours of a session, or why they cannot be read."""
        told = self.facts.get("trading_hours")
        return _hours_in(told, session) if told else (None, "")

    def encode(self) -> bytes:
        """The file's content."""
        content = {
            "schema_version": RECORD_VERSION,
            "symbol": self.series.symbol,
            "interval": self.series.interval.token,
            "facts": dict(self.facts),
            "asked": [list(span) for span in self.asked],
            "window": None if self.window is None else asdict(self.window),
            "readjustments": [{"found_at": each.found_at, **asdict(each.readjustment)} for each in self.readjustments],
            "seams": [asdict(each) for each in self.seams],
            "imported": [asdict(each) for each in self.imported],
            "revisions": self.revisions,
            "quarantined": self.quarantined,
            "withdrawn": self.withdrawn,
            "audited_at": self.audited_at,
            **({"renames": [list(each) for each in self.renames]} if self.renames else {}),
            **({"rhythm": asdict(self.rhythm)} if self.rhythm else {}),
            **({"asked_at": self.asked_at} if self.asked_at else {}),
            **({"written": [self.written.at, *self.written.by]} if self.written else {}),
            **({"refusal": asdict(self.refusal)} if self.refusal else {}),
            **({"removals": [list(each) for each in self.removals]} if self.removals else {}),
            "periods": dict(self.periods),
            **({} if self.logged_from == math.inf else {_LOGGED: _finite(self.logged_from)}),
        }
        return msgspec.json.encode(content, order="sorted")

    @classmethod
    def decode(cls, content: bytes, path: str, series: Series) -> "SeriesRecord":
        """Read a file's content. Raises DamagedFileError or NewerFormatError naming `path`."""
        try:
            fields: dict[str, Any] = msgspec.json.decode(content)
            version, found = int(fields["schema_version"]), (fields["symbol"], fields["interval"])
            if version <= RECORD_VERSION:
                record = cls._of(series, fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedFileError(path, f"not the record of a series: {error!r}") from error
        if version > RECORD_VERSION:
            raise NewerFormatError(path, f"schema version {version}, known is {RECORD_VERSION}; upgrade tv_etl")
        if found != (series.symbol, series.interval.token):
            raise DamagedFileError(path, f"describes {found[0]!r} {found[1]!r}")
        return record

    @classmethod
    def _of(cls, series: Series, fields: Mapping[str, Any]) -> "SeriesRecord":
        window = fields.get("window")
        return cls(
            series,
            facts={str(key): str(value) for key, value in fields["facts"].items()},
            asked=tuple(merged((int(start), int(end)) for start, end in fields.get("asked", ()))),
            window=None if window is None else Window(int(window["bars"]), int(window["start"])),
            readjustments=tuple(map(_found, fields.get("readjustments", ()))),
            seams=tuple(map(_seam, fields.get("seams", ()))),
            imported=tuple(Imported(**each) for each in fields.get("imported", ())),
            revisions=int(fields.get("revisions", 0)),
            quarantined=int(fields.get("quarantined", 0)),
            withdrawn=int(fields.get("withdrawn", 0)),
            periods={str(name): Period(*period) for name, period in fields.get("periods", {}).items()},
            audited_at=float(fields.get("audited_at", 0.0)),
            renames=tuple(Rename(str(old), str(new), float(at)) for old, new, at in fields.get("renames", ())),
            rhythm=Rhythm(**fields["rhythm"]) if fields.get("rhythm") else None,
            asked_at=float(fields.get("asked_at", 0.0)),
            written=_written(*fields["written"]) if fields.get("written") else None,
            refusal=_refusal(fields["refusal"]) if fields.get("refusal") else None,
            removals=tuple(_removal(*each) for each in fields.get("removals", ())),
            logged_from=_moment(fields[_LOGGED]) if _LOGGED in fields else math.inf,
        )


@lru_cache(maxsize=_KEPT_HOURS)
def _hours_in(told: str, session: str) -> tuple[TradingHours | None, str]:
    """The hours of a session of the symbol described, or why they cannot be read."""
    try:
        return TradingHours.of_symbol(json.loads(told), session), ""
    except TradingHoursError as error:
        return None, str(error)
    except (ValueError, AttributeError, RecursionError):
        return None, f"trading hours {told!r}: not a description of a symbol"


@lru_cache(maxsize=_KEPT_PERIODS)
def _hours_of_period(hours: TradingHours, interval: Interval, start: int, end: int) -> tuple[Times, Times, Times]:
    """The opens of the bars that are expected of a period, and opens and closes of its sessions."""
    sessions = hours.sessions(start, end)
    return hours.expected_between(interval, start, end), sessions.opens, sessions.closes


def _missing(
    bars: Bars, hours: TradingHours, interval: Interval, span: Span, period: tuple[int | None, int | None]
) -> tuple[int, list[GapRun], list[GapRun]]:
    """How many bars are expected in a span of a period, the runs that are missing, and those to hold whole sessions."""
    first, after = period
    if first is None or after is None or not interval.is_intraday:
        expected = hours.expected_between(interval, *span)
        runs = gap_runs(expected, bars.times)
        return len(expected), runs, runs
    whole, opens, closes = _hours_of_period(hours, interval, first, after)
    expected = whole[np.searchsorted(whole, span[0]) : np.searchsorted(whole, span[1])]
    runs = gap_runs(expected, bars.times)
    # Of a thinly traded symbol thousands are missing, and few of them a session.
    ends = np.append(closes, _NEVER)[np.searchsorted(opens, [run.first for run in runs])]
    long = [run for run, end in zip(runs, ends.tolist(), strict=True) if end <= run.last + interval.seconds]
    return len(expected), runs, long


def _finite(moment: float) -> float | None:
    """As JSON has it: null is the beginning of time."""
    return None if moment == -math.inf else moment


def _moment(field: float | None) -> float:
    return -math.inf if field is None else float(field)


def _refusal(fields: Mapping[str, Any]) -> Refusal:
    return Refusal(str(fields["reason"]), float(fields["since"]), float(fields["at"]))


def _removal(at: float, bars: int | None, by: str) -> Removal:
    return Removal(float(at), None if bars is None else int(bars), str(by))


def _seam(record: Mapping[str, Any]) -> Seam:
    fields = dict(record)
    older, newer = ((int(time), float(price)) for time, price in (fields.pop("older"), fields.pop("newer")))
    return Seam(older=older, newer=newer, **fields)


def _written(at: float, *by: str) -> Written:
    return Written(float(at), Writer(*map(str, by)))


def _found(record: Mapping[str, Any]) -> FoundReadjustment:
    fields = dict(record)
    return FoundReadjustment(float(fields.pop("found_at")), Readjustment(**fields))
