"""What has to be said of files beside what they say of themselves; checked before any is opened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tv_etl.imports.names import SymbolIndex
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.symbols import SeriesSettings, check_symbol, is_symbol
from tv_etl.tradingview.trading_hours import TradingHours

FIELDS = ("time", "open", "high", "low", "close", "volume", "symbol", "interval")
NEEDED = FIELDS[:5]

Decimal = Literal[".", ","]


@dataclass(frozen=True)
class ImportOptions:
    """What the files of one call have in common; what is left out is taken from each file, or asked for.

    `symbol` is that of all, `symbols` those of the names in files and file names (`AAPL`, `BTC_USDT`), and `exchange`
    that of names without one. `timezone` is that of times without a zone. `adjustment` and `session` say of what scale
    and of which hours the bars are. `columns` are the names of columns by field (`FIELDS`). With `closed` the newest
    bar of each series is imported whatever the form of its file, without (False) it never is. `decimal` is the sign
    before decimals, and `hours` the regular trading hours of all symbols. Bars that are `sparse` may be further apart
    than their interval. If symbols are `listed`, every name has to be that of one of them. Raises ValueError,
    SymbolError, IntervalError or TradingHoursError.
    """

    symbol: str | None = None
    symbols: Mapping[str, str] = field(default_factory=dict)
    exchange: str | None = None
    interval: Interval | None = None
    timezone: str | None = None
    adjustment: str | None = None
    session: str = "regular"
    columns: Mapping[str, str] = field(default_factory=dict)
    closed: bool | None = None
    decimal: Decimal | None = None
    hours: TradingHours | None = None
    sparse: bool = False
    listed: Sequence[str] = ()

    def __post_init__(self) -> None:
        for each in (self.symbol, *self.symbols.values(), *self.listed):
            if each is not None:
                check_symbol(each)
        if self.symbol is not None and self.symbols:
            raise ValueError("give one symbol for all files, or symbols by name, not both")
        if self.listed and (self.symbol is not None or self.exchange is not None):
            other = "one symbol for all files" if self.symbol is not None else "an exchange for all names"
            raise ValueError(f"give {other}, or a list of symbols, not both")
        if self.exchange is not None:
            check_symbol(f"{self.exchange}:A")
        if self.timezone is not None:
            _zone(self.timezone)
        if self.adjustment == "none":
            raise ValueError(
                "adjustment 'none': prices as they were traded are of another scale on each side of a split, and no "
                "lake holds them; adjust them for splits first, and give splits. What never splits is of that scale"
            )
        SeriesSettings(self.adjustment or "splits", self.session)  # type: ignore[arg-type]
        for name in self.columns:
            if name not in FIELDS:
                raise ValueError(f"column {name!r}: expected {', '.join(FIELDS)}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal {self.decimal!r}: expected '.' or ','")

    @classmethod
    def of_texts(
        cls,
        symbols: Iterable[str] = (),
        interval: str | None = None,
        columns: Iterable[str] = (),
        hours: str | None = None,
        listed: Sequence[str] = (),
        **others: "str | bool | None",
    ) -> "ImportOptions":
        """Read what a person types: a symbol or `NAME=SYMBOL`s, `FIELD=COLUMN`s, hours such as `0930-1600@ZONE`."""
        whole, by_name = [], dict[str, str]()
        for text in symbols:
            name, sign, symbol = text.rpartition("=")
            if is_symbol(text) or not sign:
                whole.append(text)
            else:
                by_name[name] = symbol
        if len(whole) > 1:
            raise ValueError(f"--symbol {whole[1]}: one symbol is that of all files; else give NAME=SYMBOL for each")
        by_field = dict[str, str]()
        for text in columns:
            name, sign, column = text.partition("=")
            if not sign or not column:
                raise ValueError(f"--column {text!r}: expected FIELD=COLUMN, e.g. close=last")
            by_field[name.strip()] = column
        width = None if interval is None else Interval.parse(interval)
        read = None if hours is None else parse_hours(hours)
        given = {name: value for name, value in others.items() if value is not None}
        return cls(
            whole[0] if whole else None,
            by_name,
            listed=listed,
            interval=width,
            columns=by_field,
            hours=read,
            **given,  # type: ignore[arg-type]
        )

    @cached_property
    def index(self) -> SymbolIndex | None:
        """What finds the listed symbols; None without a list."""
        return SymbolIndex(self.listed) if self.listed else None

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of times that have none."""
        return None if self.timezone is None else _zone(self.timezone)


def parse_hours(text: str) -> TradingHours:
    """Read regular trading hours such as `24x7` or `0930-1600@America/New_York`; UTC unless a zone is named."""
    session, _, zone = text.partition("@")
    return TradingHours(session, zone or "Etc/UTC")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone {name!r} is not known: expected UTC or e.g. America/New_York") from None
