"""What the client hands to its users: bars, quotes, instruments, and what a history request asks for."""

import gc
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import repeat
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tv_etl.tradingview.bar_rows import BarRows
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import ASSUMED_WINDOW_BARS as ASSUMED_WINDOW_BARS
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import SeriesSettings, check_symbol, is_symbol

# How far an answer reaches: to what was asked, to the start of history, or to the plan's window.
Reach = Literal["complete", "exhausted", "limited"]

# The server's "no value" (PROTOCOL.md §2).
NO_VALUE = 1e100

ANSWER_LIMIT_S = 30.0  # the documented limit of get_historical_ohlcv


class OHLCVBar(BaseModel):
    """One bar, stamped at its open.

    `timestamp` is in UTC seconds. `volume` is None where the instrument has none (most indices), and fractional for
    crypto: so it is a float, where the documented API has an `int`.
    """

    model_config = ConfigDict(frozen=True)

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None

    @classmethod
    def from_row(cls, row: list[float]) -> "OHLCVBar":
        """Build a bar from `[time, open, high, low, close]` or the same with volume."""
        return cls.model_construct(
            timestamp=int(row[0]),
            open=float(row[1]),
            high=float(row[2]),
            low=float(row[3]),
            close=float(row[4]),
            volume=row_volume(row),
        )


# The parts that every instance of a pydantic model has.
_SET_DICT, _SET_FIELDS, _SET_EXTRA, _SET_PRIVATE = (
    BaseModel.__dict__[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
# One set for all: the bars are frozen, and pydantic copies it before it changes a copy of a bar.
_GIVEN = set(OHLCVBar.model_fields)


def bars_of(rows: Sequence[Sequence[float]]) -> list[OHLCVBar]:
    """The rows as bars: what validation would make of each, in half the time and less than half the memory."""
    values = BarRows.of(rows).values
    volumes: list[float | None] = values[:, 5].tolist()
    if not (values[:, 5] < NO_VALUE).all():
        volumes = [volume if volume is not None and volume < NO_VALUE else None for volume in volumes]
    columns = zip(values[:, 0].astype(np.int64).tolist(), *values[:, 1:5].T.tolist(), volumes, strict=True)
    with _collector_paused():
        bars = list(map(object.__new__, repeat(OHLCVBar, len(values))))
        fields = [
            {"timestamp": time, "open": first, "high": high, "low": low, "close": last, "volume": volume}
            for time, first, high, low, last, volume in columns
        ]
        # Not a frame of Python for each bar.
        for setter, each in (
            (_SET_DICT, fields),
            (_SET_FIELDS, repeat(_GIVEN)),
            (_SET_EXTRA, repeat(None)),
            (_SET_PRIVATE, repeat(None)),
        ):
            deque(map(setter, bars, each), maxlen=0)
    return bars


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Thousands of objects that all stay, made in a few milliseconds: to look for garbage meanwhile takes as long."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class QuoteSymbolData(BaseModel):
    """The state of one symbol's quote after the latest delta.

    A field the server has not sent is None; once sent it stays. `symbol_info` holds every raw field seen,
    among them `lp_time`, `bid`, `ask`, `description`, `currency_code`.
    """

    model_config = ConfigDict(frozen=True)

    symbol: str = ""
    current_price: float | None = None
    symbol_info: dict[str, Any] = Field(default_factory=dict)
    volume: float | None = None
    change: float | None = None
    change_percent: float | None = None

    @classmethod
    def from_fields(cls, symbol: str, fields: Mapping[str, Any]) -> "QuoteSymbolData":
        """Read the documented values out of the merged raw fields."""
        return cls(
            symbol=symbol,
            current_price=_number(fields.get("lp")),
            symbol_info=dict(fields),
            volume=_number(fields.get("volume")),
            change=_number(fields.get("ch")),
            change_percent=_number(fields.get("chp")),
        )


@dataclass(frozen=True)
class SymbolInfo:
    """The instrument as `symbol_resolved` describes it.

    `raw` is the server's dict. Every key in it is optional: the properties fall back to what TradingView means by
    leaving the key out. `update_mode` is the feed's ("streaming", "delayed_streaming_900", "endofday"), empty if it
    was not asked for.
    """

    raw: Mapping[str, Any] = field(repr=False)
    update_mode: str = ""

    def _text(self, key: str, default: str = "") -> str:
        value = self.raw.get(key)
        return value if isinstance(value, str) else default

    @property
    def symbol(self) -> str:
        """The symbol as the site writes it, `NASDAQ:AAPL`."""
        return self._text("pro_name") or self._text("full_name")

    def name_of(self, asked: str) -> str:
        """The name that the instrument has now, which is the one asked for unless it was renamed or moved.

        `NASDAQ:META` where `NASDAQ:FB` was asked for. A name of the same instrument by the source of its data, such as
        `BATS:AAPL` or `NSE_DLY:JUNIPER`, is no former one; of an expression such as `A:B/C:D` nothing is told.
        """
        listed, name = self._text("listed_exchange"), self._text("name")
        own = self._text("pro_name") or (f"{listed}:{name}" if listed and name else "")
        if not is_symbol(own) or self.kind == "expression" or _plain_name(own) == _plain_name(asked):
            return asked
        # A source spells its own name as it likes, but the ticker is the same.
        is_of_source = asked in self._sources_names() and _plain_name(asked)[1] == _plain_name(own)[1]
        return asked if is_of_source else own

    def _sources_names(self) -> set[str]:
        """The instrument's names by the sources of its data."""
        lists = (self.raw.get(key) for key in ("aliases", "alternatives", "base_name", "legs"))
        names = [name for each in lists if isinstance(each, list) for name in each if isinstance(name, str)]
        return {self._text("full_name"), *names}

    @property
    def description(self) -> str:
        return self._text("description")

    @property
    def kind(self) -> str:
        """TradingView's `type`: stock, spot, swap, index, futures, forex..."""
        return self._text("type")

    @property
    def data_frequency(self) -> str:
        """How often new data come, as an interval: `1M` for a monthly figure; empty where the server does not say."""
        return self._text("data_frequency")

    @property
    def time_zone(self) -> str:
        """IANA name of the exchange's time zone."""
        return self._text("timezone", "Etc/UTC")

    @property
    def currency(self) -> str:
        return self._text("currency_code")

    @property
    def session(self) -> str:
        """Regular trading hours as a session string, e.g. `0930-1600`."""
        return self._text("session", "24x7")

    @property
    def holidays(self) -> str:
        """Days without a session, `YYYYMMDD,YYYYMMDD`."""
        return self._text("session_holidays")

    @property
    def price_scale(self) -> int | None:
        """Prices are multiples of `minmov / price_scale`."""
        value = _number(self.raw.get("pricescale"))
        return None if value is None else int(value)

    @property
    def delay_s(self) -> float | None:
        """Seconds by which the feed lags; 0 for a live one, None if unknown."""
        return feed_delay_s(self.update_mode)

    @property
    def has_volume(self) -> bool:
        return self._text("visible_plots_set", "ohlcv").endswith("v")

    @property
    def tick(self) -> float | None:
        """Smallest price step."""
        minmov, pricescale = _number(self.raw.get("minmov")), _number(self.raw.get("pricescale"))
        return minmov / pricescale if minmov and pricescale else None


@dataclass(frozen=True)
class StreamGap:
    """A span that the consumer of a live subscription did not see because the connection was down.

    `start` and `end` are UTC seconds, half-open. `interval` is a token such as "1m", empty for quotes.
    """

    symbol: str
    interval: str
    start: float
    end: float

    def __str__(self) -> str:
        span = f"{convert_timestamp_to_iso(self.start)} to {convert_timestamp_to_iso(self.end)}"
        return f"{self.symbol} {self.interval or 'quotes'}: nothing was seen from {span}"


@dataclass(frozen=True)
class HistoryRequest:
    """One series and how much of it: the newest `bars_count` bars, or `start` <= open < `end`, or all there is.

    `start` and `end` must be aware datetimes; `bars_count` counts back from `end` if both are given. With `up_to_now`
    the answer holds the bars from `end` on as well, which come in any case. Raises
    SymbolError, IntervalError or ValueError on construction, before anything is sent.
    """

    symbol: str
    interval: str | Interval
    start: datetime | None = None
    end: datetime | None = None
    bars_count: int | None = None
    settings: SeriesSettings = field(default_factory=SeriesSettings)
    up_to_now: bool = False

    def __post_init__(self) -> None:
        check_symbol(self.symbol)
        Interval.parse(self.interval)
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and not isinstance(moment, datetime):
                raise ValueError(
                    f"{name} {moment!r} is no datetime: pass e.g. datetime(2026, 11, 2, tzinfo=timezone.utc)"
                )
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name} {moment.isoformat()} has no time zone: pass an aware datetime")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start.isoformat()} is not before end {self.end.isoformat()}")
        if self.bars_count is not None and (isinstance(self.bars_count, bool) or not isinstance(self.bars_count, int)):
            raise ValueError(f"bars_count {self.bars_count!r} is not a whole number")
        if self.bars_count is not None and self.bars_count < 1:
            raise ValueError(f"bars_count {self.bars_count} is less than 1")
        if self.bars_count is not None and self.start is not None:
            raise ValueError("pass start or bars_count, not both")

    @property
    def width(self) -> Interval:
        """The interval, parsed."""
        return Interval.parse(self.interval)

    @property
    def series(self) -> Series:
        """The symbol at the interval."""
        return Series(self.symbol, self.width)

    def __str__(self) -> str:
        return str(self.series)


@dataclass(frozen=True)
class SeriesHistory:
    """A finished answer: `rows` ascending and unique in time, each `[time, o, h, l, c]` or with volume (`BarRows`).

    `forming_from` is the open of the newest bar if that is not closed yet by the server's own clock, else None.
    `rejected` counts rows that were not bars, `requests` the pages requested. `server_time` is the server's clock (UTC
    seconds) at the end of the answer. `asked` is the half-open span of opens (UTC seconds) of which the rows hold every
    closed bar that the server has, None if there is no such span; it starts at -62135596800, year 1, if history begins
    later. `window` is (how many bars the server still had, the open of the oldest), if it had no older ones to give.
    """

    request: HistoryRequest
    info: SymbolInfo
    rows: Sequence[list[float]]
    reach: Reach
    forming_from: int | None
    update_mode: str
    requests: int
    rejected: int
    server_time: float = 0.0
    asked: tuple[int, int] | None = None
    window: tuple[int, int] | None = None


def row_volume(row: Sequence[float | None]) -> float | None:
    """The volume of a wire row: None where it is absent or the server's 1e+100 for "no value"."""
    volume = row[5] if len(row) > 5 else None
    return None if volume is None or volume >= NO_VALUE else float(volume)


def feed_delay_s(update_mode: str) -> float | None:
    """By how many seconds a feed with this `update_mode` lags; None where it does not say."""
    match = re.fullmatch(r"delayed(?:_[a-z]+)*_([0-9]+)", update_mode)
    if match:
        return float(match[1])
    return 0.0 if update_mode == "streaming" else None


def convert_timestamp_to_iso(timestamp: float) -> str:
    """Render UTC seconds as ISO 8601, e.g. `2026-08-21T13:30:00+00:00`."""
    return datetime.fromtimestamp(timestamp, tz=timezone.utc).isoformat()


def _plain_name(symbol: str) -> tuple[str, str]:
    """The exchange and ticker of a symbol in one case, whether its feed is live, delayed or of the end of the day."""
    exchange, _, ticker = symbol.casefold().partition(":")
    return re.sub("_(dly?|eod)$", "", exchange), ticker


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= NO_VALUE:
        return None
    return float(value)
