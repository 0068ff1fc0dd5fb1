"""Bars of other intervals that rules look at: taken from the lake where it has them, else asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tv_etl.alerts import health
from tv_etl.alerts.closes import BarsNeeded, closed_bars, is_up_to_date, needs_bars
from tv_etl.alerts.fold import DEFAULT_GRACE_S
from tv_etl.alerts.inputs import AlertInputs, Quote, delay_s, trade_time
from tv_etl.alerts.levels import ClosedBars
from tv_etl.alerts.look import hours_of
from tv_etl.alerts.mutes import HandMute, awake
from tv_etl.alerts.passes import Minutes, SeriesKey
from tv_etl.alerts.state import AlertState, Registered
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory, row_volume
from tv_etl.tradingview.printable import described, printable

# The newest bars of a symbol at an interval that the lake holds, so many: [time, open, high, low, close, volume].
LakeBars = Callable[[str, str, int], Sequence[Sequence[float | None]]]


@dataclass
class WiderBars:
    """What a tick needs of wider bars, where it gets them, and what came."""

    by_symbol: Mapping[str, Sequence[Registered]]
    known: AlertState
    lake_bars: LakeBars | None = None
    problems: list[str] = field(default_factory=list)
    wanted: dict[SeriesKey, BarsNeeded] = field(default_factory=dict)
    closed: dict[str, dict[str, ClosedBars]] = field(default_factory=dict)
    hours: dict[str, str] = field(default_factory=dict)
    hand_mutes: Sequence[HandMute] = ()
    host_now: float = 0.0

    def awake(self, symbol: str, now: float) -> Sequence[Registered]:
        """The rules of a symbol for which bars are worth asking, by the server's clock."""
        return awake(self.by_symbol[symbol], self.known, self.hand_mutes, now, self.host_now)

    def requests(self, quotes: Mapping[str, Quote | None], now: float) -> dict[SeriesKey, HistoryRequest]:
        """What is to be asked for of these symbols, in the light of their quotes: what the lake does not have."""
        found: dict[SeriesKey, HistoryRequest] = {}
        for symbol, quote in quotes.items():
            try:
                found |= self._requests_of(symbol, self.awake(symbol, now), quote, now)
            except Exception as error:  # whatever it is, it is this symbol's alone
                self.problems.append(f"{symbol}: {described(error)}")
        return found

    def _requests_of(
        self, symbol: str, mine: Sequence[Registered], quote: Quote | None, now: float
    ) -> dict[SeriesKey, HistoryRequest]:
        hours = health.read_hours(self.known.symbol(symbol).hours)
        traded_at, feed_now = trade_time(quote, now), now - delay_s(quote)
        found: dict[SeriesKey, HistoryRequest] = {}
        needed: dict[str, BarsNeeded] = {}
        for each in mine:
            try:
                wanted = needs_bars([each], self.known.armings, hours, traded_at, feed_now, DEFAULT_GRACE_S)
            except Exception:  # what is wrong with a rule shows when it is judged
                wanted = {}
            for interval, need in wanted.items():
                needed[interval] = need.joined(needed.get(interval, need))
        for interval, need in needed.items():
            self.wanted[symbol, interval] = need
            rows = self._of_lake(symbol, interval, need)
            if rows:
                bars = closed_bars(interval, rows, hours, feed_now - DEFAULT_GRACE_S)
                if is_up_to_date(interval, bars, hours, traded_at, feed_now - DEFAULT_GRACE_S):
                    self.closed.setdefault(symbol, {})[interval] = bars
                    continue
            found[symbol, interval] = HistoryRequest(symbol, interval, bars_count=need.bars)
        return found

    def _of_lake(self, symbol: str, interval: str, need: BarsNeeded) -> Sequence[Sequence[float | None]]:
        if self.lake_bars is None or need.is_forming:
            return ()
        try:
            rows = self.lake_bars(symbol, interval, need.bars)
        except Exception as error:  # a lake that cannot be read is no reason to judge nothing
            self.problems.append(f"{symbol} {interval}: its bars in the lake: {printable(str(error))}")
            return ()
        return rows if len(rows) >= need.bars else ()

    def take(self, inputs: AlertInputs) -> None:
        """Take what came."""
        for (symbol, interval), answer in inputs.series.items():
            try:
                self._take(symbol, interval, answer, inputs)
            except Exception as error:  # whatever it is, it is this symbol's alone
                self.problems.append(f"{symbol} {interval}: {described(error)}")

    def _take(self, symbol: str, interval: str, answer: Minutes, inputs: AlertInputs) -> None:
        if not isinstance(answer, SeriesHistory):
            text = printable(str(answer))
            self.problems.append(text if text.startswith(symbol) else f"{symbol} {interval}: {text}")
            return
        text = hours_of(answer)
        if text:
            self.hours[symbol] = text
        settled_until = inputs.now - delay_s(inputs.quotes.get(symbol)) - DEFAULT_GRACE_S
        self.closed.setdefault(symbol, {})[interval] = closed_bars(
            interval,
            [[*row[:5], row_volume(row)] for row in answer.rows],
            health.read_hours(text or self.known.symbol(symbol).hours),
            settled_until,
            None if answer.asked is None else answer.asked[1],
            answer.forming_from,
        )

    def needs_overlap(self, symbol: str) -> bool:
        """True if a re-adjustment of the symbol would change what these bars mean to its rules."""
        return any(
            each.rule.interval_watched is not None
            and not each.rule.is_of_volume
            and (symbol, each.rule.interval_watched) in self.wanted
            for each in self.by_symbol[symbol]
        )
