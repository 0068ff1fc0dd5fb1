"""Bars from CSV files, served as they are instead of the synthetic ones.

A file is named `EXCHANGE_TICKER_INTERVAL.csv` (`NASDAQ_AAPL_1D.csv`; the ticker may hold `_` itself) and begins with
`timestamp,open,high,low,close` or with `,volume` behind. Every number arrives as `float(text)` reads it.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from tv_etl.market_server.listings import Listing, listings, plain_listing
from tv_etl.market_server.market import Bars, BarSource, Floats, Market
from tv_etl.market_server.sessions import calendar_of
from tv_etl.tradingview.errors import IntervalError
from tv_etl.tradingview.intervals import Interval

_COLUMNS = ["timestamp", "open", "high", "low", "close"]
_MAX_DECIMALS = 10


class ReplayError(ValueError):
    """A file that cannot be replayed; the message names it and says why."""


class ReplayMarket:
    """A market whose replayed symbols have the bars of their files and no others; the rest is synthetic."""

    def __init__(self, folder: Path, market: Market) -> None:
        self._market = market
        self._sources: dict[str, ReplayedBars] = {}
        paths = sorted(folder.glob("*.csv"))
        if not paths:
            raise ReplayError(f"{folder}: no CSV files to replay")
        for path in paths:
            symbol, interval = _name_parts(path)
            source = self._sources.setdefault(symbol, ReplayedBars(symbol))
            source.add(interval, _read(path))
        for source in self._sources.values():
            source.describe()

    @property
    def symbols(self) -> list[str]:
        """The replayed symbols."""
        return sorted(self._sources)

    def listed(self) -> list[str]:
        """Every symbol: the synthetic ones, then those that only a file has."""
        return list(dict.fromkeys([*self._market.listed(), *self.symbols]))

    def find(self, symbol: str, session: str = "regular") -> BarSource | None:
        """The bars of a symbol, None if the symbol is unknown. Replayed bars have one session."""
        return self._sources.get(symbol) or self._market.find(symbol, session)

    def source_of(self, listing: Listing, session: str = "regular") -> BarSource:
        """The synthetic bars of a listing."""
        return self._market.source_of(listing, session)


class ReplayedBars:
    """The bars of one symbol, by interval."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._rows: dict[Interval, Floats] = {}
        self.has_volume = True
        self.listing = plain_listing(symbol)
        self.calendar = calendar_of(self.listing.schedule, self.listing.first_day_number)

    def add(self, interval: Interval, rows: Floats) -> None:
        """Take the rows of one file."""
        self._rows[interval] = rows

    def describe(self) -> None:
        """Find out what the wire says of the instrument."""
        self.has_volume = any(rows.shape[1] > 5 for rows in self._rows.values())
        known = listings().get(self._symbol)
        if known is None:
            prices = np.concatenate([rows[:, 1:5].ravel() for rows in self._rows.values()])
            known = plain_listing(self._symbol, _pricescale(prices), has_volume=self.has_volume)
        first = int(min(rows[0, 0] for rows in self._rows.values())) // 86_400
        self.listing = replace(known, extended=None)
        self.calendar = calendar_of(known.schedule, min(first, known.first_day_number))

    @property
    def intervals(self) -> list[Interval]:
        """The intervals there are files of, the narrowest first."""
        return sorted(self._rows, key=lambda interval: interval.seconds)

    def supports(self, interval: Interval) -> bool:
        """True for the intervals there are files of."""
        return interval in self._rows

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        times = self._rows[interval][:, 0]
        end = int(np.searchsorted(times, now, side="right"))
        return int(times[end - count]) if end >= count else None

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        rows = self._rows[interval]
        end = int(np.searchsorted(rows[:, 0], now, side="right"))
        if before is not None:
            end = min(end, int(np.searchsorted(rows[:, 0], before)))
        if start is not None:
            first = int(np.searchsorted(rows[:, 0], start))
        else:
            assert count is not None
            first = max(end - count, 0)
        return Bars(rows[min(first, end) : end], is_start=first == 0)


def _name_parts(path: Path) -> tuple[str, Interval]:
    exchange, _, rest = path.stem.partition("_")
    ticker, _, interval = rest.rpartition("_")
    try:
        if not (exchange and ticker):
            raise IntervalError(path.stem, "the name has fewer than three parts")
        return f"{exchange}:{ticker}", Interval.parse(interval)
    except IntervalError as error:
        raise ReplayError(f"{path}: expected a name like NASDAQ_AAPL_1D.csv: {error}") from None


def _read(path: Path) -> Floats:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header not in (_COLUMNS, [*_COLUMNS, "volume"]):
            raise ReplayError(f"{path}: the first line is {','.join(header)!r}, not {','.join(_COLUMNS)}[,volume]")
        try:
            rows = np.array([[float(value) for value in line] for line in reader], np.float64)
        except ValueError as error:
            raise ReplayError(f"{path}: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != len(header) or not np.isfinite(rows).all():
        raise ReplayError(f"{path}: no bars, or a line without {len(header)} numbers")
    if (np.diff(rows[:, 0]) <= 0).any():
        raise ReplayError(f"{path}: the timestamps do not ascend")
    return rows


def _pricescale(prices: Floats) -> int:
    for decimals in range(_MAX_DECIMALS):
        if np.allclose(prices, np.round(prices, decimals), rtol=0, atol=10.0 ** -(decimals + 4)):
            return int(10**decimals)
    return int(10**_MAX_DECIMALS)
