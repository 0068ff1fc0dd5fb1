"""Instruments computed from others: `1/BINANCE:BTCUSDT`, `(NASDAQ:AAPL+NASDAQ:MSFT)/2`, `A-B`, `A*2`, `A^2`.

Grammar, with `^` binding the tightest, from the right:

    sum      product (("+" | "-") product)*
    product  power (("*" | "/") power)*
    power    value ("^" power)?
    value    number | symbol | "(" sum ")"

Tickers may contain what is elsewhere an operator (`DERIBIT:BTC-PERPETUAL`, `NYSE:BAC/PL`): a sign is one only before a
number, a parenthesis or another `EXCHANGE:`, or after a blank.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tv_etl.market_server.market.bar_source import Bars, BarSource, Floats
from tv_etl.market_server.market.sessions import Calendar, Integers
from tv_etl.tradingview.intervals import Interval

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_EXCHANGE = r"[A-Z0-9_]+:"
_TICKER = rf"(?:[^\s()+*/^-]|[-+*/^](?!\(|{_EXCHANGE}|{_NUMBER}(?:[-+*/^)]|$)))+"
_TOKEN = re.compile(rf"\s*(?:(?P<symbol>{_EXCHANGE}{_TICKER})|(?P<number>{_NUMBER})|(?P<sign>[-+*/^()]))")
_DEEPEST = 50  # parentheses and powers
_LEAST_DECIMALS, _MOST_DECIMALS = 4, 12
_SIGNIFICANT = 6  # so that what moves a leg by its tick moves the result, mostly

Values = Any  # a number, or an array of them
_SIGNS: Mapping[str, Callable[[Values, Values], Values]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power,
}  # fmt: skip
_LEVELS = ("+-", "*/")  # from the loosest on


@dataclass(frozen=True)
class Expression:
    """What is computed from the prices of `legs`, in the order in which they occur first."""

    legs: tuple[str, ...]
    value: Callable[[Mapping[str, Values]], Values]


def parse_expression(text: str) -> Expression | None:
    """Read an expression; None for what is none, or names no symbol."""
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        tokens.append((str(match.lastgroup), match[0].strip()))
        at = match.end()
    reader = _Reader(tokens)
    try:
        value = reader.sum(0)
    except _Malformed:
        return None
    legs = tuple(dict.fromkeys(word for kind, word in tokens if kind == "symbol"))
    return Expression(legs, value) if legs and reader.is_at_end and len(tokens) > 1 else None


def legs_of(text: str) -> tuple[str, ...]:
    """The symbols of an expression; none of what is no expression."""
    expression = parse_expression(text)
    return () if expression is None else expression.legs


def computed_bars(symbol: str, find: Callable[[str], BarSource | None]) -> "ExpressionBars | None":
    """The bars of an expression, None if it is none or a leg cannot be had."""
    expression = parse_expression(symbol)
    if expression is None:
        return None
    legs: dict[str, BarSource] = {}
    for name in expression.legs:
        leg = find(name)
        if leg is None or leg.listing.denial:
            return None
        legs[name] = leg
    return ExpressionBars(symbol, expression, legs)


class _Malformed(Exception):
    """What was read is no expression."""


class _Reader:
    """Reads tokens into nested functions of the prices of the legs."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [*tokens, ("end", "")]
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """True if every token has been read."""
        return self._tokens[self._at][0] == "end"

    def sum(self, depth: int, level: int = 0) -> Callable[[Mapping[str, Values]], Values]:
        """A sum or, at level 1, a product."""
        if level == len(_LEVELS):
            return self._power(depth)
        result = self.sum(depth, level + 1)
        while self._word in tuple(_LEVELS[level]):
            result = _applied(self._take(), result, self.sum(depth, level + 1))
        return result

    def _power(self, depth: int) -> Callable[[Mapping[str, Values]], Values]:
        if depth > _DEEPEST:
            raise _Malformed
        base = self._value(depth)
        return _applied(self._take(), base, self._power(depth + 1)) if self._word == "^" else base

    def _value(self, depth: int) -> Callable[[Mapping[str, Values]], Values]:
        kind, word = self._tokens[self._at]
        if kind == "symbol":
            self._take()
            return lambda prices: prices[word]
        if kind == "number":
            number = float(self._take())
            return lambda prices: number
        if word != "(":
            raise _Malformed
        self._take()
        inner = self.sum(depth + 1)
        if self._take() != ")":
            raise _Malformed
        return inner

    @property
    def _word(self) -> str:
        return self._tokens[self._at][1]

    def _take(self) -> str:
        if self.is_at_end:
            raise _Malformed
        self._at += 1
        return self._tokens[self._at - 1][1]


def _applied(
    sign: str, left: Callable[[Mapping[str, Values]], Values], right: Callable[[Mapping[str, Values]], Values]
) -> Callable[[Mapping[str, Values]], Values]:
    return lambda prices: _SIGNS[sign](left(prices), right(prices))


class ExpressionBars:
    """The bars of an expression, where all of its legs have one.

    A bar is made of the legs' bars of the same interval, open of opens and so on: it does not show in which order they
    moved. Days and wider bars belong together by their date, at whatever hour their exchanges open. It is open while
    the leg with the fewest hours is. Where nothing finite comes out, as of a division by zero, there is no bar.
    """

    has_volume = False

    def __init__(self, symbol: str, expression: Expression, legs: Mapping[str, BarSource]) -> None:
        self._value = expression.value
        self._legs = dict(legs)
        timed = min(self._legs.values(), key=lambda leg: _hours_a_week(leg.calendar))
        self._timed = next(name for name, leg in self._legs.items() if leg is timed)
        self.calendar = timed.calendar
        first = self._legs[expression.legs[0]].listing
        level = self._computed({name: np.array(leg.listing.price) for name, leg in self._legs.items()})
        self._decimals = _decimals(float(level))
        self.listing = replace(
            first, symbol=symbol, description=symbol, kind="expression", typespecs=(), schedule=timed.listing.schedule,
            pricescale=10**self._decimals, minmov=1, minmove2=0, is_fractional=False, pointvalue=1.0, daily_volume=None,
            extended=None, outside=(), local_description="", base_currency="", figure=None, splits=(), dividends=(),
            formerly=None, amendments=(), former=(), legs=expression.legs, extras={},
            delay_s=max(leg.listing.delay_s for leg in self._legs.values()),
        )  # fmt: skip

    def supports(self, interval: Interval) -> bool:
        """True if all legs have bars of this interval."""
        return all(leg.supports(interval) for leg in self._legs.values())

    def edition(self, now: float) -> int:
        """See BarSource."""
        return sum(leg.edition(now) for leg in self._legs.values())

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        rows = self.bars(interval, now, count=count).rows
        return int(rows[0, 0]) if len(rows) == count else None

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        if start is not None:
            # The bar of a date may open earlier at another exchange.
            early = start if interval.is_intraday else start - interval.seconds
            late = before if before is None or interval.is_intraday else before + interval.seconds
            found = [leg.bars(interval, now, start=early, before=late) for leg in self._legs.values()]
            return _between(self._joined(interval, found), start, before)
        assert count is not None
        asked = count
        while True:
            late = before if before is None or interval.is_intraday else before + interval.seconds
            found = [leg.bars(interval, now, count=asked, before=late) for leg in self._legs.values()]
            common = _between(self._joined(interval, found), None, before)
            if len(common) >= count or any(leg.is_start for leg in found):
                return Bars(
                    common.rows[len(common) - min(count, len(common)) :], common.is_start and len(common) <= count
                )
            asked *= 2

    def _joined(self, interval: Interval, found: list[Bars]) -> Bars:
        by_leg = dict(zip(self._legs, found, strict=True))
        labels = {name: _labels(self._legs[name].calendar, interval, bars.times) for name, bars in by_leg.items()}
        common = labels[self._timed]
        for each in labels.values():
            common = np.intersect1d(common, each)
        rows = {name: bars.rows[np.searchsorted(labels[name], common)] for name, bars in by_leg.items()}
        result = np.empty((len(common), 5))
        result[:, 0] = rows[self._timed][:, 0]
        for column in range(1, 5):
            result[:, column] = self._computed({name: each[:, column] for name, each in rows.items()})
        result = result[np.isfinite(result).all(axis=1)]
        result[:, 1:] = np.round(result[:, 1:], self._decimals) + 0.0  # a 0 without a sign
        result[:, 2], result[:, 3] = result[:, 1:5].max(axis=1), result[:, 1:5].min(axis=1)
        return Bars(result, any(bars.is_start for bars in found))

    def _computed(self, prices: Mapping[str, Floats]) -> Values:
        with np.errstate(all="ignore"):
            return self._value(prices)


def _between(bars: Bars, start: int | None, before: int | None) -> Bars:
    first = 0 if start is None else int(np.searchsorted(bars.rows[:, 0], start))
    end = len(bars) if before is None else int(np.searchsorted(bars.rows[:, 0], before))
    return Bars(bars.rows[first:end], bars.is_start and not first)


def _labels(calendar: Calendar, interval: Interval, times: Integers) -> Integers:
    """What bars that belong together have in common: their open, or the date, week or month they begin with."""
    if interval.is_intraday or (interval.unit == "d" and interval.count > 1):
        return times
    days = calendar.days[np.searchsorted(calendar.opens, times, side="right") - 1]
    if interval.unit == "d":
        return np.asarray(days, np.int64)
    if interval.unit == "w":
        return np.asarray((days + 3) // 7 // interval.count, np.int64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return np.asarray(months // interval.count, np.int64)


def _hours_a_week(calendar: Calendar) -> float:
    days = len(calendar.days)
    return float(calendar.minutes.sum()) / max(int(calendar.days[-1] - calendar.days[0]), 1) if days else 0.0


def _decimals(level: float) -> int:
    """Decimals that leave a price of this level six digits at least, as far as there may be so many."""
    if not math.isfinite(level) or level == 0:
        return _LEAST_DECIMALS
    return min(max(_SIGNIFICANT - 1 - math.floor(math.log10(abs(level))), _LEAST_DECIMALS), _MOST_DECIMALS)
