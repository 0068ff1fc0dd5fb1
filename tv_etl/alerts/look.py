"""One symbol in a tick: what is asked of it, what came, and what that shows of how it is to be asked next time."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tv_etl.alerts import health
from tv_etl.alerts.fold import DEFAULT_GRACE_S, MinuteBar, QuoteNow, Reach, first_minute
from tv_etl.alerts.inputs import DAY_S, AlertInputs, Ask, Quote, delay_s, trade_time
from tv_etl.alerts.passes import Minutes, is_empty
from tv_etl.alerts.state import AlertState, Registered, SymbolState
from tv_etl.tradingview.damage import dropped
from tv_etl.tradingview.errors import SeriesError, SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import QuoteSymbolData, SeriesHistory
from tv_etl.tradingview.printable import described, printable
from tv_etl.tradingview.trading_hours import TradingHours, TradingHoursError

# A symbol that failed is asked again after so long, and half as often each time.
FIRST_RETRY_S = 15.0
LAST_RETRY_S = 300.0
_MINUTE_S = 60
_DAY = Interval.parse("1d")


def ask_of(known: AlertState, name: str, mine: Sequence[Registered], host_now: float) -> Ask:
    """What to ask of a symbol, in the light of what is known of it and of its rules."""
    symbol = known.symbol(name)
    wants_minutes = tries_minutes(symbol, host_now)
    since = first_minute(mine, known, name)
    is_due = symbol.retry_at <= host_now or symbol.retry_at > host_now + LAST_RETRY_S
    return Ask(
        since=since if wants_minutes is (symbol.served == "1m") else None,
        interval="1m" if wants_minutes else "1d",
        quote_fault=symbol.quote_fault,
        minutes_failed=symbol.minutes_missing_since is not None and symbol.failures > 0,
        is_due=is_due,
        session="extended" if is_extended(mine) else "regular",
    )


def is_extended(mine: Iterable[Registered]) -> bool:
    """True if a rule of a symbol watches the minutes before and after its regular hours."""
    return any(each.rule.active.session == "extended" for each in mine)


def tries_minutes(symbol: SymbolState, host_now: float) -> bool:
    """True unless it is known that there are none; that is tried once a day."""
    return symbol.served == "1m" or not 0 <= host_now - symbol.minutes_asked_at < DAY_S


@dataclass(frozen=True)
class Look:
    """What came of one symbol, in the words of the fold and of its health."""

    symbol: str
    bars: list[MinuteBar]
    quote: QuoteNow | None
    facts: health.Facts
    problems: list[str]
    info_hours: str
    served: str
    tried_minutes: bool

    @classmethod
    def of(
        cls, symbol: str, known: SymbolState, inputs: AlertInputs, ask: Ask, is_wanted: bool, host_now: float
    ) -> "Look":
        quote, minutes = inputs.quotes.get(symbol), inputs.minutes.get(symbol)
        problems: list[str] = []
        bars: list[MinuteBar] = []
        latest, hours, served = None, "", known.served
        try:
            latest = quote_now(quote, inputs.now)
            if isinstance(minutes, SeriesHistory):
                is_daily = minutes.request.width == _DAY
                bars = _bars(minutes, int(DAY_S) if is_daily else _MINUTE_S)
                hours = hours_of(minutes)
                served = "1d" if is_daily else "1m"
            has_none = (not known.served and not bars) or (ask.since is None and is_empty(minutes))
            if has_none and latest is not None:
                bars, served = [_sample(latest, inputs.now - delay_s(quote))], ""
        except Exception as error:  # whatever it is, it is this symbol's alone
            problems.append(f"{symbol}: {described(error)}")
        if isinstance(minutes, SeriesHistory) and minutes.damage:
            problems.append(f"{symbol}: {dropped(minutes.damage)}")
        problems += [
            f"{symbol}: {printable(str(each))}"
            for each in (quote, minutes)
            if isinstance(each, Exception) and not is_empty(each)
        ]
        if served != "1m":
            bases = "quotes and its daily closes" if served else "quotes alone"
            problems.append(f"{symbol}: it has no one-minute bars; judged by its {bases}")
        tried_minutes = minutes is not None and tries_minutes(known, host_now)
        facts = _facts(quote, minutes, bars, latest, inputs.now, is_wanted)
        facts = replace(facts, missed=_missed(minutes, bars, known.watermark))
        if not facts.minutes_error:
            facts = replace(facts, minutes_error=_wider_error(symbol, inputs, ask))
        return cls(symbol, bars, latest, facts, problems, hours, served, tried_minutes)

    @property
    def was_heard(self) -> bool:
        """True if the server said anything about the symbol, be it that there is none."""
        return bool(self.facts.answered or self.facts.unknown or self.facts.refusal)

    def learned(self, symbol: SymbolState, inputs: AlertInputs, host_now: float) -> SymbolState:
        """The symbol with what this tick has shown of how it is to be asked."""
        name = self.symbol
        fault = inputs.faults.get(name)
        quote_fault = symbol.quote_fault
        if name in inputs.quotes:
            quote_fault = fault if fault in ("late", "broke") else ""
        was_asked = name in inputs.quotes or name in inputs.minutes
        failures, retry_at = symbol.failures, symbol.retry_at
        if fault is not None:
            failures = symbol.failures + 1
            retry_at = host_now + min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(symbol.failures, 10))
        elif was_asked and not quote_fault and not self.facts.minutes_error:
            failures, retry_at = 0, 0.0
        return replace(
            symbol,
            failures=failures,
            retry_at=retry_at,
            quote_fault=quote_fault,
            hours=self.info_hours or symbol.hours,
            pause_s=_longest_pause(self.bars, self.info_hours) if len(self.bars) > 2 else symbol.pause_s,
            served=self.served,
            minutes_asked_at=host_now if self.tried_minutes and self.served != "1m" else symbol.minutes_asked_at,
        )


def _facts(
    quote: Quote | None,
    minutes: Minutes | None,
    bars: Sequence[MinuteBar],
    latest: QuoteNow | None,
    now: float,
    is_wanted: bool,
) -> health.Facts:
    refusal = unknown = ""
    came = isinstance(minutes, SeriesHistory) or is_empty(minutes)
    if isinstance(minutes, SeriesError) and not minutes.retryable:
        refusal = printable(f"its minutes: {minutes.reason}")
    elif isinstance(quote, SymbolError) and not came and "permission" in quote.reason:
        refusal = printable(quote.reason)
    elif isinstance(minutes, SymbolError) and not isinstance(quote, QuoteSymbolData):
        unknown = printable(minutes.reason if not isinstance(quote, SymbolError) else quote.reason)
    is_refused = bool(refusal or unknown) or isinstance(minutes, SymbolError)
    missing = "" if came or is_refused or not is_wanted else printable(str(minutes or "not asked again yet"))
    traded = [time for time in (latest.time_s if latest else None, *(bar.timestamp for bar in bars[-1:])) if time]
    errors = [str(each) for each in (quote, minutes) if isinstance(each, Exception) and not is_empty(each)]
    return health.Facts(
        now=now,
        delay_s=delay_s(quote),
        unknown=unknown,
        refusal=refusal,
        answered=latest is not None or bool(bars) or isinstance(quote, QuoteSymbolData),
        has_price=latest is not None,
        error=printable(errors[0]) if errors else "nothing came",
        minutes_error=missing,
        minutes_came=came and bool(bars),
        traded_at=max(traded) if traded else None,
    )


def _wider_error(symbol: str, inputs: AlertInputs, ask: Ask) -> str:
    """Why its bars of other intervals did not come, where it is at fault; it stays so until it is asked again."""
    if ask.minutes_failed and not ask.is_due:
        return "not asked again yet"
    if inputs.faults.get(symbol) != "minutes":
        return ""
    series = (each for (name, _), each in inputs.series.items() if name == symbol)
    return printable(next((str(each) for each in series if isinstance(each, Exception)), ""))


def _missed(minutes: Minutes | None, bars: Sequence[MinuteBar], watermark: int | None) -> str:
    """Which bars came too late to be judged: those between the last one that is known and the first that came."""
    is_limited = isinstance(minutes, SeriesHistory) and minutes.reach == "limited"
    if not is_limited or watermark is None or not bars or bars[0].timestamp <= watermark + bars[0].width_s:
        return ""
    first = health.moment(bars[0].timestamp)
    return f"the server's bars begin at {first}, the last one before is of {health.moment(watermark)}"


def _bars(minutes: SeriesHistory, width_s: int) -> list[MinuteBar]:
    return [MinuteBar(int(row[0]), row[1], row[2], row[3], row[4], width_s) for row in minutes.rows]


def _sample(quote: QuoteNow, feed_now: float) -> MinuteBar:
    """The quote as the bar of a minute that is over: what an instrument without bars is committed by."""
    minute = int((feed_now - DEFAULT_GRACE_S) // _MINUTE_S - 1) * _MINUTE_S
    return MinuteBar(minute, quote.price, quote.price, quote.price, quote.price)


def hours_of(minutes: SeriesHistory) -> str:
    """The trading hours that come with an answer, as JSON; empty where they cannot be read."""
    try:
        return TradingHours.of_symbol(minutes.info.raw).to_json()
    except (TradingHoursError, ValueError, TypeError):
        return ""


def _longest_pause(bars: Sequence[MinuteBar], hours: str) -> float:
    """The longest time without a bar while the symbol was open."""
    known = health.read_hours(hours)
    times = [bar.timestamp for bar in bars]
    if known is None or bars[0].width_s != _MINUTE_S:
        return 0.0
    opens = known.sessions(times[0], times[-1] + 1).opens.tolist()
    pauses = [b - a - _MINUTE_S for a, b in pairwise(times) if bisect_right(opens, a) == bisect_right(opens, b)]
    return float(max(pauses, default=0))


def quote_now(quote: Quote | None, now: float) -> QuoteNow | None:
    """The last trade as a quote has it; None where it has no price."""
    price = quote.current_price if isinstance(quote, QuoteSymbolData) else None
    if price is None or not isinstance(quote, QuoteSymbolData):
        return None
    volume = quote.symbol_info.get("volume")
    is_volume = isinstance(volume, int | float) and not isinstance(volume, bool) and math.isfinite(volume)
    return QuoteNow(price, trade_time(quote, now), float(volume) if is_volume and volume is not None else None)


def reach_of(quote: Quote | None, hours: TradingHours | None, now: float) -> Reach | None:
    """Between which prices the quote's trading day has been; None where it does not say, or the day is unknown."""
    traded_at = trade_time(quote, now)
    if not isinstance(quote, QuoteSymbolData) or traded_at is None or hours is None or quote.current_price is None:
        return None
    high, low = quote.symbol_info.get("high_price"), quote.symbol_info.get("low_price")
    if not isinstance(high, int | float) or not isinstance(low, int | float):
        return None
    prices = (float(high), float(low), quote.current_price)
    return Reach(health.session_open(hours, traded_at)[1], min(prices), max(prices))
