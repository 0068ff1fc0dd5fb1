"""What a table of bars brings into a series: its closed bars, and what its schema metadata says of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from tv_etl.lake.bar_file import PREFIX
from tv_etl.lake.bars import Bars, check_bars, merge
from tv_etl.lake.errors import BadBarsError, SettingsError
from tv_etl.lake.place import UNSPECIFIED
from tv_etl.lake.provenance import Imported
from tv_etl.lake.record import RESOLVED_AS, Rename, SeriesRecord, Window
from tv_etl.lake.spans import Span
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

SETTINGS = ("market", "adjustment", "session", "currency", "backadjustment")  # different ones never mix in a series
_UNKNOWN = (UNSPECIFIED, "")

_FILE_FACTS = ("source", *SETTINGS, "time_zone")
# What a table says of itself, not of the series.
_NOT_FACTS = frozenset(
    {"forming_from", "asked_from", "asked_until", "window_bars", "window_from", "schema_version", "symbol", "interval"}
)


@dataclass(frozen=True)
class Update:
    """What an upsert was given: closed bars, and what their table says of itself and of the series.

    `renames` are those by which the bars come from a series of another name.
    """

    closed: Bars
    forming: int
    facts: Mapping[str, str]
    asked: tuple[Span, ...]
    window: Window | None
    imported: tuple[Imported, ...] = ()  # what of its bars came from elsewhere than the server
    is_fitted: bool = False  # to the scale of the stored bars
    renames: tuple[Rename, ...] = ()

    @classmethod
    def of(cls, bars: pa.Table, interval: Interval, now_s: float) -> "Update":
        """Check a table of bars. Raises BadBarsError."""
        return cls.of_bars(check_bars(bars), _facts_of(bars.schema), interval, now_s)

    @classmethod
    def of_bars(
        cls,
        given: Bars,
        facts: Mapping[str, str],
        interval: Interval,
        now_s: float,
        imported: tuple[Imported, ...] = (),
    ) -> "Update":
        """Bars that are checked, and what is said of them. Raises BadBarsError for a fact that is no number."""
        closed = given.between(None, _forming_from(facts, interval, now_s))
        return cls(closed, len(given) - len(closed), facts, _asked_in(facts), _window_in(facts), imported)

    @classmethod
    def of_stored(cls, bars: Bars, kept_out: Bars, record: SeriesRecord) -> "Update":
        """All that is known of a series but its name: what would make another one the same."""
        facts = {key: value for key, value in record.facts.items() if key != RESOLVED_AS}
        return cls(merge(kept_out, bars).bars, 0, facts, record.asked, record.window, record.imported)


def file_facts(record: SeriesRecord) -> dict[str, str]:
    """What a data file says of its series."""
    return {key: record.facts.get(key, UNSPECIFIED) for key in _FILE_FACTS}


def _facts_of(schema: pa.Schema) -> dict[str, str]:
    raw: dict[bytes, bytes] = schema.metadata or {}
    ours = {key: value for key, value in raw.items() if key.startswith(PREFIX.encode())}
    try:
        return {key.decode().removeprefix(PREFIX): value.decode() for key, value in ours.items()}
    except UnicodeDecodeError as error:
        raise BadBarsError("timestamp", None, f"the schema metadata is not UTF-8: {error}") from None


def _forming_from(facts: Mapping[str, str], interval: Interval, now_s: float) -> int | None:
    """UTC seconds of the first bar that is not closed; None when all are."""
    if "forming_from" not in facts:
        # Better a monthly bar a few days late than one half formed.
        return math.floor(now_s - interval.longest_s) + 1
    return _second(facts, "forming_from")


def _asked_in(facts: Mapping[str, str]) -> tuple[Span, ...]:
    start, until = _second(facts, "asked_from"), _second(facts, "asked_until")
    return () if start is None or until is None else ((start, until),)


def _window_in(facts: Mapping[str, str]) -> Window | None:
    bars, start = _second(facts, "window_bars"), _second(facts, "window_from")
    return None if bars is None or start is None else Window(bars, start)


def _second(facts: Mapping[str, str], key: str) -> int | None:
    text = facts.get(key, "")
    try:
        return int(text) if text else None
    except ValueError:
        raise BadBarsError("timestamp", None, f"tv_etl.{key} {text!r} is not a whole number") from None


def agreed_facts(series: Series, stored: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The facts of a series after an update; those that are missing stay. Raises SettingsError."""
    facts = dict(stored)
    for key, value in given.items():
        if key in _NOT_FACTS or value in _UNKNOWN:
            continue
        if key in SETTINGS and stored.get(key, value) not in (value, *_UNKNOWN):
            raise SettingsError(str(series), key, stored[key], value)
        facts[key] = value
    return facts
