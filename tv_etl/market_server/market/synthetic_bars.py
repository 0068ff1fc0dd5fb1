"""The bars of one listing, at any interval and any moment, made of the parts that `prices` cuts its days into."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tv_etl.market_server.market.adjustments import Adjustments
from tv_etl.market_server.market.bar_source import Bars, Floats
from tv_etl.market_server.market.listing import Listing
from tv_etl.market_server.market.prices import LEVELS, PricePaths, Ticks
from tv_etl.market_server.market.sessions import Hours, Integers, calendar_of
from tv_etl.tradingview.intervals import Interval

Span = tuple[int, int]

_NO_TICKS = Ticks(*(np.empty(0, np.int64) for _ in Ticks._fields))
_CHUNK_DAYS = 256  # so that a chunk of minutes stays in the processor's cache
_CACHED_DAYS = 2
_SECONDS = frozenset({1, 5, 10, 15, 30, 45})
_CONVERTED = 10_000  # the price scale of what is converted

# What a unit of each currency is worth in US dollars: one rate for all times, so that bars stay those of their listing.
DOLLARS = {
    "USD": 1.0, "EUR": 1.13, "GBP": 1.31, "GBX": 0.0131, "JPY": 0.0065, "KRW": 0.0007, "INR": 0.0112, "HKD": 0.1285,
    "CNY": 0.14, "THB": 0.031, "BRL": 0.186, "CAD": 0.73, "CHF": 1.24, "AUD": 0.65, "USX": 0.01,
}  # fmt: skip


class SyntheticBars:
    """The bars of one listing in one session."""

    def __init__(
        self, listing: Listing, seed: int, session: str = "regular", *, adjustment: str = "splits", currency: str = ""
    ) -> None:
        self.has_volume = listing.daily_volume is not None
        bounds = (listing.first_day_number, listing.last_day_number)
        self.calendar = calendar_of(listing.schedule_of(session), *bounds)
        self._regular = calendar_of(listing.drawn_hours or listing.schedule, *bounds)
        self._is_extended = session == "extended" or listing.drawn_hours is not None
        self._path = PricePaths([listing], seed, self._regular)
        self._is_thin = listing.is_thin
        self._actions = Adjustments(listing, self._regular, adjustment, self._path)
        self._rate = 1.0
        if currency not in ("", listing.currency):
            self._rate = DOLLARS[listing.currency] / DOLLARS[currency]
        self._tick = (listing.minmov, listing.pricescale)
        self.listing = listing if self._rate == 1.0 else replace(
            listing, currency=currency, pricescale=_CONVERTED, minmov=1, minmove2=0, is_fractional=False
        )  # fmt: skip
        self._minutes_of_day: OrderedDict[int, Ticks] = OrderedDict()
        self._seconds_of_minute: tuple[int, int, Ticks] | None = None

    def supports(self, interval: Interval) -> bool:
        """True but for ticks, ranges and unusual numbers of seconds."""
        return interval.unit in ("m", "d", "w", "mo") or (interval.unit == "s" and interval.count in _SECONDS)

    def edition(self, now: float) -> int:
        """See BarSource."""
        return self._actions.edition(now)

    def open_back(self, interval: Interval, now: float, count: int) -> int | None:
        """See BarSource."""
        if self._is_thin:
            rows = self.bars(interval, now, count=count).rows
            return int(rows[0, 0]) if len(rows) == count else None
        return self.calendar.open_back(interval, now, count)

    def bars(
        self, interval: Interval, now: float, *, count: int | None = None, start: int | None = None,
        before: int | None = None,
    ) -> Bars:  # fmt: skip
        """See BarSource."""
        limit = now if before is None else min(now, before - 1)
        last = self.calendar.last_opened(limit)
        if last < 0 or (count is not None and count < 1):
            return Bars(np.empty((0, 6 if self.has_volume else 5)), is_start=last < 0)
        if start is not None:
            return self._between(interval, now, self.calendar.last_opened(start), last, start, limit)
        assert count is not None
        if interval.is_intraday:
            return self._newest_intraday(interval, now, count, last, limit)
        back = count
        while True:
            first = self.calendar.days_back(interval, last, back)
            bars = self._between(interval, now, first, last, None, limit)
            if len(bars) >= count or first == 0:
                return Bars(bars.rows[-count:], bars.is_start and len(bars) <= count)
            back += 1  # the newest day has no trade yet

    def _newest_intraday(self, interval: Interval, now: float, count: int, last: int, limit: float) -> Bars:
        slots = count
        while True:
            opened = self.calendar.open_back(interval, limit, slots)
            first = 0 if opened is None else self.calendar.last_opened(opened)
            bars = self._between(interval, now, first, last, opened, limit)
            if len(bars) >= count or opened is None:
                return Bars(bars.rows[-count:], bars.is_start and len(bars) <= count)
            slots *= 4  # many have no trade

    def _between(self, interval: Interval, now: float, first: int, last: int, start: int | None, limit: float) -> Bars:
        """Bars of the trading days `first` to `last` (indices), those that open in [start, limit]."""
        first = max(first, 0)
        if not interval.is_intraday:
            times, ticks = self._grouped(interval, first, last, now)
        elif interval.unit == "s":
            times, ticks = self._split_minutes(interval, first, last, start, min(limit, now), now)
        else:
            times, ticks = self._intraday(interval, first, last, now)
        keep = slice(
            0 if start is None else int(np.searchsorted(times, start)), int(np.searchsorted(times, limit, "right"))
        )
        rows = self._rows(times[keep], ticks.take(keep))
        is_start = first == 0 and keep.start == 0 and (start is None or start <= self.calendar.opens[0])
        return Bars(rows, is_start)

    def _rows(self, times: Integers, ticks: Ticks) -> Floats:
        rows = np.empty((len(times), 6 if self.has_volume else 5))
        rows[:, 0] = times
        minmov, pricescale = self._tick
        for column, values in enumerate(ticks[:4], start=1):
            rows[:, column] = values * minmov / pricescale
        if self._rate != 1.0:
            rows[:, 1:5] = np.maximum(np.rint(rows[:, 1:5] * (self._rate * _CONVERTED)), 1) / _CONVERTED
        if self.has_volume:
            rows[:, 5] = ticks.volume / 10**self.listing.volume_decimals
        return rows

    # --- days and wider ---------------------------------------------------------------------------------------

    def _grouped(self, interval: Interval, first: int, last: int, now: float) -> tuple[Integers, Ticks]:
        """Daily and wider bars, from the start of the group that `first` is in."""
        groups = self.calendar.groups(interval)
        first = int(np.searchsorted(groups, groups[first]))
        # What has begun by `now` is in the newest bar, even if only older bars were asked for.
        end = int(np.searchsorted(groups, groups[last], side="right"))
        last = min(end - 1, self.calendar.last_opened(now))
        is_forming = bool(now < self.calendar.closes[last])
        index = np.arange(first, last + 1 - is_forming, dtype=np.int64)
        parts = [self._actions.adjust(self._whole_days(index), index, now)] if len(index) else []
        if is_forming:
            _, minutes = self._forming_day(last, now)
            if len(minutes.open):
                parts.append(minutes.merged(np.zeros(1, np.int64)))
                index = np.append(index, last)
        if not parts:
            return index, _NO_TICKS
        days = Ticks.joined(parts)
        starts = np.flatnonzero(np.diff(groups[index], prepend=-1))
        return self.calendar.opens[index[starts]], days.merged(starts)

    def _whole_days(self, index: Integers) -> Ticks:
        days = self._path.days(index).reshape(-1)
        if not self._is_extended:
            return days
        blocks = [block for block, _ in self._blocks(int(index[0]))]
        parts = [days if each == "regular" else self._path.outside_hours(index, each).reshape(-1) for each in blocks]
        return Ticks(
            parts[0].open,
            np.max([part.high for part in parts], axis=0),
            np.min([part.low for part in parts], axis=0),
            parts[-1].close,
            np.sum([part.volume for part in parts], axis=0),
        )

    # --- parts of days ----------------------------------------------------------------------------------------

    def _intraday(self, interval: Interval, first: int, last: int, now: float) -> tuple[Integers, Ticks]:
        """Bars of whole minutes."""
        times: list[Integers] = []
        parts: list[Ticks] = []
        closed = last if now < self.calendar.closes[last] else last + 1
        for begin in range(first, closed, _CHUNK_DAYS):
            end = min(begin + _CHUNK_DAYS, closed)
            for kind in np.unique(self.calendar.kinds[begin:end]).tolist():
                days = begin + np.flatnonzero(self.calendar.kinds[begin:end] == kind)
                offsets, ticks = self._leaves(days, self._level(interval, kind))
                ticks = self._actions.adjust(ticks, days, now)
                bar_offsets = self.calendar.hours[kind].bar_offsets(interval)
                midnights = self.calendar.midnights[days][:, None]
                opens, merged = self._merged(
                    ticks.reshape(-1), (midnights + offsets).ravel(), (midnights + bar_offsets).ravel()
                )
                times.append(opens)
                parts.append(merged)
        if closed == last:
            opens, minutes = self._forming_day(last, now)
            bar_opens = self.calendar.bar_opens(last, interval)
            opens, merged = self._merged(minutes, opens, bar_opens[bar_opens <= now])
            times.append(opens)
            parts.append(merged)
        all_times = np.concatenate(times)
        order = np.argsort(all_times)
        return all_times[order], Ticks.joined(parts).take(order)

    def _split_minutes(
        self, interval: Interval, first: int, last: int, start: int | None, limit: float, now: float
    ) -> tuple[Integers, Ticks]:
        """Bars of seconds: of each day, only what opens in [start, limit] is cut so fine."""
        times, parts = [np.empty(0, np.int64)], [_NO_TICKS]
        for day in range(first, last + 1):
            bar_opens = self.calendar.bar_opens(day, interval)
            bar_opens = bar_opens[(bar_opens >= (start or 0)) & (bar_opens <= limit)]
            if not len(bar_opens):
                continue
            midnight, level = int(self.calendar.midnights[day]), self._level(interval, self.calendar.kinds[day])
            until = int(bar_opens[-1]) + interval.count
            if until > now + 1:  # what is not yet over counts second by second
                until, level = int(now) + 1, 1
            index = np.array([day])
            offsets, ticks = self._leaves(index, level, (int(bar_opens[0]) - midnight, until - midnight))
            ticks, opens = self._actions.adjust(ticks, index, now).reshape(-1), midnight + offsets
            kept = (opens >= bar_opens[0]) & (opens < until)
            opens, merged = self._merged(ticks.take(kept), opens[kept], bar_opens)
            times.append(opens)
            parts.append(merged)
        return np.concatenate(times), Ticks.joined(parts)

    def _merged(self, parts: Ticks, opens: Integers, bar_opens: Integers) -> tuple[Integers, Ticks]:
        """The bars that open at `bar_opens`, made of the parts that open at `opens`; none of parts without a trade."""
        if self._is_thin:
            traded = parts.volume > 0
            parts, opens = parts.take(traded), opens[traded]
            slots = np.searchsorted(bar_opens, opens, side="right") - 1
            starts = np.flatnonzero(np.diff(slots, prepend=-1))
            bar_opens = bar_opens[slots[starts]]
        else:
            starts = np.searchsorted(opens, bar_opens)
        if not len(starts):
            return bar_opens, parts.take(slice(0, 0))
        return bar_opens, parts.merged(starts) if len(starts) < len(opens) else parts

    def _forming_day(self, day: int, now: float) -> tuple[Integers, Ticks]:
        """The minutes of a day up to `now`; the newest holds what its seconds so far amount to."""
        index = np.array([day])
        hours = self.calendar.hours[self.calendar.kinds[day]]
        if day not in self._minutes_of_day:
            if len(self._minutes_of_day) >= _CACHED_DAYS:
                self._minutes_of_day.popitem(last=False)
            self._minutes_of_day[day] = self._leaves(index, 60)[1].reshape(-1)
        opens = self.calendar.midnights[day] + 60 * hours.clock_minutes()
        count = int(np.searchsorted(opens, now, side="right"))
        minutes = self._minutes_of_day[day].take(slice(0, count))
        elapsed = int(now - opens[count - 1]) + 1
        if elapsed < 60:
            seconds = self._seconds(day, int(opens[count - 1])).take(slice(0, elapsed))
            newest = seconds.merged(np.zeros(1, np.int64))
            if self._is_thin:
                traded = seconds.take(seconds.volume > 0)
                newest = traded.merged(np.zeros(1, np.int64)) if len(traded.open) else newest
            minutes = Ticks.joined([minutes.take(slice(0, -1)), newest])
        if self._is_thin:
            kept = minutes.volume > 0
            return opens[:count][kept], minutes.take(kept)
        return opens[:count], minutes

    def _seconds(self, day: int, minute: int) -> Ticks:
        if self._seconds_of_minute is None or self._seconds_of_minute[:2] != (day, minute):
            offset = minute - int(self.calendar.midnights[day])
            ticks = self._leaves(np.array([day]), 1, (offset, offset + 60))[1].reshape(-1)
            self._seconds_of_minute = (day, minute, ticks)
        return self._seconds_of_minute[2]

    def _leaves(self, days: Integers, level: int, window: Span | None = None) -> tuple[Integers, Ticks]:
        """The parts, `level` seconds wide, of trading days of one kind: their offsets, and a row of them a day.

        Offsets are in seconds after midnight. With a window of such seconds only the parts that hold any of them.
        """
        offsets: list[Integers] = []
        ticks: list[Ticks] = []
        for block, spans in self._blocks(int(days[0])):
            sizes: Sequence[int] = [end - start for start, end in spans]
            first, end = (0, sum(sizes)) if window is None else (traded_seconds(spans, edge) for edge in window)
            if first >= end:
                continue
            parts = self._path.as_one_part(days, block, sum(sizes))
            for width in LEVELS:
                if width < level:
                    break
                parts = self._path.cut(parts, width, sizes)
                parts, sizes = parts if window is None else parts.window(first, end), ()
            offsets.append(_clock(spans, parts.positions))
            ticks.append(parts.bars)
        return np.concatenate(offsets), Ticks.joined(ticks, axis=1)

    def _blocks(self, day: int) -> list[tuple[str, list[Span]]]:
        """What a trading day is drawn from, and the seconds after midnight that each block spans."""
        regular = spans_of(self._regular.hours[self._regular.kinds[day]])
        if not self._is_extended:
            return [("regular", regular)]
        (start, end), *_ = spans_of(self.calendar.hours[self.calendar.kinds[day]])
        opens, closes = regular[0][0], regular[-1][1]
        after = [("post", [(closes, end)])] if closes < end else []
        return [("pre", [(start, opens)]), ("regular", regular), *after]

    def _level(self, interval: Interval, kind: int) -> int:
        """The widest parts that the bars of an interval can be made of."""
        edges = [0]
        if self._is_extended:
            day = int(np.argmax(self.calendar.kinds == kind))
            start = self._blocks(day)[0][1][0][0]
            edges = [span[0] - start for _, spans in self._blocks(day) for span in spans]
        return next(width for width in LEVELS if all(each % width == 0 for each in (interval.seconds, *edges)))


def spans_of(hours: Hours) -> list[Span]:
    """The segments of a trading day, in seconds after midnight."""
    return [(60 * start, 60 * end) for start, end in hours.segments]


def traded_seconds(spans: list[Span], offset: int) -> int:
    """How many seconds of some spans lie before an offset."""
    return sum(min(max(offset - start, 0), end - start) for start, end in spans)


def _clock(spans: list[Span], positions: Integers) -> Integers:
    """The offset of each traded second: the opposite of `traded_seconds`."""
    begins = np.cumsum([0, *(end - start for start, end in spans)])[:-1]
    place = np.searchsorted(begins, positions, side="right") - 1
    return np.asarray(np.array([start for start, _ in spans], np.int64)[place] + positions - begins[place], np.int64)
