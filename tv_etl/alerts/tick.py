"""One tick of the alerts: inputs → fold → store → delivery. A sensor, a command or a test calls it.

What is found is stored together with the state that it was found from, and delivered from the store; so a tick may be
killed anywhere. Nothing of one symbol, rule or target keeps another from its turn.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tv_etl.alerts import health
from tv_etl.alerts.courier import deliver
from tv_etl.alerts.fold import DEFAULT_GRACE_S, Alert, HealthKind, MinuteBar, QuoteNow, Reach, evaluate, needs_minutes
from tv_etl.alerts.former import CursorError, FormerState
from tv_etl.alerts.inputs import DAY_S, AlertInputs, Ask, Minutes, Quote, delay_s, is_empty, trade_time
from tv_etl.alerts.rules import AlertRule, digest
from tv_etl.alerts.state import AlertState, Registered, SymbolState, without_future
from tv_etl.alerts.store import AlertStore, Memory, TargetHealth
from tv_etl.alerts.targets.webhook import UnusableTarget, Webhook
from tv_etl.tradingview.damage import dropped
from tv_etl.tradingview.errors import SeriesError, SymbolError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import QuoteSymbolData, SeriesHistory
from tv_etl.tradingview.printable import described, printable
from tv_etl.tradingview.trading_hours import TradingHours, TradingHoursError

Wants = Callable[[Mapping[str, Quote], float], "set[str]"]
Gather = Callable[[Mapping[str, Ask], Wants], AlertInputs]
LakeClose = Callable[[str], "MinuteBar | None"]
Target = Webhook | UnusableTarget

# A symbol that failed is asked again after so long, and half as often each time.
FIRST_RETRY_S = 15.0
LAST_RETRY_S = 300.0
PRUNE_EVERY = 100
_MINUTE_S = 60
DAY = Interval.parse("1d")


@dataclass(frozen=True)
class TickReport:
    """What a tick did. `blind` says why nothing at all could be judged."""

    tick: int
    found: tuple[Alert, ...] = ()
    sent: int = 0
    retried: int = 0
    dead: int = 0
    problems: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    blind: str = ""

    @property
    def summary(self) -> str:
        """One line for people."""
        text = f"{len(self.found)} alerts found, {self.sent} delivered"
        if self.retried or self.dead:
            text += f", {self.retried} to be retried, {self.dead} given up"
        if self.problems:
            text += f"; {len(self.problems):,} problems: {printable(self.problems[0])}"
        return text


def run_tick(
    rules: Sequence[AlertRule],
    store: AlertStore,
    targets: Sequence[Target],
    gather: Gather,
    clock: Callable[[], float],
    *,
    cursor: str = "",
    lake_close: LakeClose | None = None,
) -> TickReport:
    """Judge the rules once, store what was found, and deliver what is due.

    `gather` asks the server, `clock` is this host's. `cursor` is what a sensor kept; all but what it held before there
    was a store is ignored. Raises StoreBusy while another tick runs, and StoreError where the store cannot be used.
    """
    with store.exclusive():
        memory, now = store.load(), clock()
        registry = memory.registry.register(rules, now)
        registered = registry.registered(rules)
        problems: list[str] = []
        before = memory.state if memory.tick else _begin(memory.state, registered, cursor, problems)
        known = {each.generation for each in memory.registry.rules.values()}
        new = [each for each in registered if each.generation not in known]
        judged = _look(registered, before, gather, new, now, lake_close)
        found = judged.alerts
        told = [*found, *_watch_alerts(memory, judged.blind, now), *_target_alerts(memory, targets, now)]
        tick = store.commit(
            memory,
            rules,
            registry,
            judged.state,
            told,
            [target.key for target in targets],
            now,
            _flags(memory, judged.blind, now),
            _told_targets(memory, targets, now),
        )
        if tick % PRUNE_EVERY == 0:
            store.prune(now)
        report = deliver(store, targets, clock())
    return TickReport(
        tick,
        tuple(told),
        report.sent,
        report.retried,
        report.dead,
        (*problems, *judged.problems),
        report.errors,
        judged.blind,
    )


def _begin(state: AlertState, registered: Iterable[Registered], cursor: str, problems: list[str]) -> AlertState:
    """The state of the first tick of a store: that of the cursor before it, if there was one."""
    if not cursor or cursor.isdecimal():
        return state
    try:
        return FormerState.decode(cursor).state(registered)
    except CursorError as error:
        problems.append(f"{error}: the rules begin anew")
        return state


@dataclass
class _Judged:
    alerts: list[Alert] = field(default_factory=list)
    state: AlertState = field(default_factory=AlertState)
    problems: list[str] = field(default_factory=list)
    blind: str = ""


def _look(
    registered: Sequence[Registered],
    before: AlertState,
    gather: Gather,
    just_registered: Collection[Registered],
    host_now: float,
    lake_close: LakeClose | None,
) -> _Judged:
    by_symbol: dict[str, list[Registered]] = {}
    for each in registered:
        by_symbol.setdefault(each.rule.symbol, []).append(each)
    known = AlertState(
        {each.key: before.armings[each.key] for each in registered if each.key in before.armings},
        {symbol: before.symbol(symbol) for symbol in by_symbol},
    )
    asks = {symbol: _ask(known, symbol, mine, host_now) for symbol, mine in by_symbol.items()}
    wanted: set[str] = set()

    def wants(quotes: Mapping[str, Quote], now: float) -> set[str]:
        for symbol, mine in by_symbol.items():
            state, quote = known.symbol(symbol), quotes.get(symbol)
            if not state.served and not _tries_minutes(state, host_now):
                continue
            try:
                reach = _reach(quote, health.read_hours(state.hours), now)
                is_wanted = needs_minutes(mine, known, symbol, _quote_now(quote, now), reach, now - delay_s(quote))
            except Exception:  # what is wrong with the symbol or a rule shows when they are judged
                is_wanted = True
            if is_wanted:
                wanted.add(symbol)
        return wanted

    try:
        inputs = gather(asks, wants)
    except TradingViewError as error:
        return _Judged(state=known, problems=[str(error)], blind=str(error))
    except Exception as error:  # what was found earlier must still be delivered
        return _Judged(state=known, problems=[described(error)], blind=described(error))
    looks = {
        symbol: _Look.of(symbol, known.symbol(symbol), inputs, ask, symbol in wanted, host_now)
        for symbol, ask in asks.items()
    }
    problems = [*([inputs.doubt] if inputs.doubt else []), *(text for each in looks.values() for text in each.problems)]
    if looks and not any(each.was_heard for each in looks.values()):
        return _Judged(state=known, problems=problems, blind=problems[0] if problems else "nothing was answered")
    return _judge(
        by_symbol, without_future(known, inputs.now), inputs, looks, problems, just_registered, host_now, lake_close
    )


def _judge(
    by_symbol: Mapping[str, Sequence[Registered]],
    state: AlertState,
    inputs: AlertInputs,
    looks: "Mapping[str, _Look]",
    problems: list[str],
    just_registered: Collection[Registered],
    host_now: float,
    lake_close: LakeClose | None,
) -> _Judged:
    bars = {symbol: look.bars for symbol, look in looks.items() if look.bars}
    quotes = {symbol: look.quote for symbol, look in looks.items() if look.quote is not None}
    for symbol, look in looks.items():
        # The lake has the last word where nothing else has one.
        if state.watermark(symbol) is None and not look.bars and (look.quote is None or look.quote.time_s is None):
            last = _last_of_lake(lake_close, symbol, problems)
            if last is not None:
                bars[symbol] = [last]
    registered = [each for mine in by_symbol.values() for each in mine]
    delays = {symbol: look.facts.delay_s for symbol, look in looks.items()}
    alerts, after, broken = evaluate(registered, state, bars, quotes, inputs.now, delays_s=delays)
    problems += [f"rule {each.rule.name}: {described(error)}" for each, error in broken]
    symbols: dict[str, SymbolState] = {}
    for symbol, mine in by_symbol.items():
        look, known = looks[symbol], after.symbol(symbol)
        try:
            known = look.learned(known, inputs, host_now)
            to_check = known.check_up_to is not None and any(each.generation <= known.check_up_to for each in mine)
            judged = health.judge(known, look.facts, health.read_hours(known.hours), to_check)
            new = [each for each in mine if each in just_registered]
            alerts += health.tell(symbol, known.health, judged.health, mine, new, inputs.now)
            symbols[symbol] = judged
        except Exception as error:  # whatever it is, it is this symbol's alone
            problems.append(f"{symbol}: {described(error)}")
            symbols[symbol] = known
    return _Judged(alerts, AlertState(after.armings, symbols), problems)


def _last_of_lake(lake_close: LakeClose | None, symbol: str, problems: list[str]) -> MinuteBar | None:
    if lake_close is None:
        return None
    try:
        return lake_close(symbol)
    except Exception as error:  # a lake that cannot be read is no reason to judge nothing
        problems.append(f"{symbol}: its last close in the lake: {printable(str(error))}")
        return None


def _ask(known: AlertState, name: str, mine: Sequence[Registered], host_now: float) -> Ask:
    symbol = known.symbol(name)
    tries_minutes = _tries_minutes(symbol, host_now)
    since = symbol.closes[0].time if symbol.closes else symbol.watermark
    if since is None:
        # No minute has come yet, but rules that began by a quote are to miss none from there on.
        since = min((known.armings[each.key].since for each in mine if each.key in known.armings), default=None)
    is_due = symbol.retry_at <= host_now or symbol.retry_at > host_now + LAST_RETRY_S
    return Ask(
        since=since if tries_minutes is (symbol.served == "1m") else None,
        interval="1m" if tries_minutes else "1d",
        quote_fault=symbol.quote_fault,
        minutes_failed=symbol.minutes_missing_since is not None and symbol.failures > 0,
        is_due=is_due,
    )


def _tries_minutes(symbol: SymbolState, host_now: float) -> bool:
    """True unless it is known that there are none; that is tried once a day."""
    return symbol.served == "1m" or not 0 <= host_now - symbol.minutes_asked_at < DAY_S


@dataclass(frozen=True)
class _Look:
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
    ) -> "_Look":
        quote, minutes = inputs.quotes.get(symbol), inputs.minutes.get(symbol)
        problems: list[str] = []
        bars: list[MinuteBar] = []
        now_quote, hours, served = None, "", known.served
        try:
            now_quote = _quote_now(quote, inputs.now)
            if isinstance(minutes, SeriesHistory):
                is_daily = minutes.request.width == DAY
                bars = _bars(minutes, int(DAY_S) if is_daily else _MINUTE_S)
                hours = _hours(minutes)
                served = "1d" if is_daily else "1m"
            has_none = (not known.served and not bars) or (ask.since is None and is_empty(minutes))
            if has_none and now_quote is not None:
                bars, served = [_sample(now_quote, inputs.now - delay_s(quote))], ""
        except Exception as error:  # whatever it is, it is this symbol's alone
            problems.append(f"{symbol}: {described(error)}")
        if isinstance(minutes, SeriesHistory) and minutes.reach == "limited" and known.watermark is not None:
            problems.append(f"{symbol}: the server's one-minute bars begin too late; earlier crossings are missed")
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
        tried_minutes = minutes is not None and _tries_minutes(known, host_now)
        facts = _facts(quote, minutes, bars, now_quote, inputs.now, is_wanted)
        return cls(symbol, bars, now_quote, facts, problems, hours, served, tried_minutes)

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
    now_quote: QuoteNow | None,
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
    traded = [time for time in (now_quote.time_s if now_quote else None, *(bar.timestamp for bar in bars[-1:])) if time]
    errors = [str(each) for each in (quote, minutes) if isinstance(each, Exception) and not is_empty(each)]
    return health.Facts(
        now=now,
        delay_s=delay_s(quote),
        unknown=unknown,
        refusal=refusal,
        answered=now_quote is not None or bool(bars) or isinstance(quote, QuoteSymbolData),
        has_price=now_quote is not None,
        error=printable(errors[0]) if errors else "nothing came",
        minutes_error=missing,
        minutes_came=came and bool(bars),
        traded_at=max(traded) if traded else None,
    )


def _bars(minutes: SeriesHistory, width_s: int) -> list[MinuteBar]:
    return [MinuteBar(int(row[0]), row[1], row[2], row[3], row[4], width_s) for row in minutes.rows]


def _sample(quote: QuoteNow, feed_now: float) -> MinuteBar:
    """The quote as the bar of a minute that is over: what an instrument without bars is committed by."""
    minute = int((feed_now - DEFAULT_GRACE_S) // _MINUTE_S - 1) * _MINUTE_S
    return MinuteBar(minute, quote.price, quote.price, quote.price, quote.price)


def _hours(minutes: SeriesHistory) -> str:
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


def _quote_now(quote: Quote | None, now: float) -> QuoteNow | None:
    price = quote.current_price if isinstance(quote, QuoteSymbolData) else None
    return None if price is None else QuoteNow(price, trade_time(quote, now))


def _reach(quote: Quote | None, hours: TradingHours | None, now: float) -> Reach | None:
    """Between which prices the quote's trading day has been; None where it does not say, or the day is unknown."""
    traded_at = trade_time(quote, now)
    if not isinstance(quote, QuoteSymbolData) or traded_at is None or hours is None or quote.current_price is None:
        return None
    high, low = quote.symbol_info.get("high_price"), quote.symbol_info.get("low_price")
    if not isinstance(high, int | float) or not isinstance(low, int | float):
        return None
    prices = (float(high), float(low), quote.current_price)
    return Reach(health.session_open(hours, traded_at)[1], min(prices), max(prices))


# --- the watch itself


def _flags(memory: Memory, blind: str, now: float) -> dict[str, str]:
    if not blind:
        return {"blind_since": "", "blind_told": ""}
    since = memory.flags.get("blind_since") or str(now)
    is_told = now - float(since) >= health.BLIND_S
    return {"blind_since": since, "blind_told": "yes" if is_told or memory.flags.get("blind_told") else ""}


def _watch_alerts(memory: Memory, blind: str, now: float) -> list[Alert]:
    flags = _flags(memory, blind, now)
    since, was_told = memory.flags.get("blind_since", ""), bool(memory.flags.get("blind_told"))
    if flags["blind_told"] and not was_told:
        minutes = (now - float(flags["blind_since"])) / 60
        text = f"no rule has been judged for {minutes:.0f} minutes: {printable(blind)}"
        return [_watch_alert("blind", text, now, flags["blind_since"])]
    if was_told and not blind:
        text = f"the rules are judged again, after {(now - float(since)) / 60:.0f} minutes"
        return [_watch_alert("seeing", text, now, since)]
    return []


def _target_alerts(memory: Memory, targets: Sequence[Target], now: float) -> list[Alert]:
    alerts: list[Alert] = []
    after = _told_targets(memory, targets, now)
    labels = {target.key: target.label for target in targets}
    for key, told in after.items():
        was = memory.targets.get(key, TargetHealth())
        if told.is_told and not was.is_told:
            minutes = (now - (told.failing_since or now)) / 60
            since = f" for {minutes:.0f} minutes" if minutes >= 1 else ""
            text = f"the target {labels[key]} cannot be reached{since}: {told.error}"
            alerts.append(_watch_alert("target", text, now, key, told.failing_since, about=key))
        elif was.is_told and not told.is_told:
            text = f"the target {labels[key]} can be reached again"
            alerts.append(_watch_alert("target_ok", text, now, key, was.failing_since, about=key))
    for key, (number, error) in memory.untold.items():
        text = f"{number:,} alerts for the target {labels.get(key, key)} were given up: {error}"
        alerts.append(_watch_alert("dead_letters", text, now, key, memory.tick, about=key))
    return alerts


def _told_targets(memory: Memory, targets: Sequence[Target], now: float) -> dict[str, TargetHealth]:
    """How the targets are doing, with who has been told of it from this tick on."""
    after: dict[str, TargetHealth] = {}
    for target in targets:
        known = memory.targets.get(target.key, TargetHealth())
        since = known.failing_since
        if isinstance(target, UnusableTarget):
            known = known._replace(failing_since=now if since is None else since, error=target.reason, is_told=True)
        elif since is not None and not known.failures:  # it could not be used, and now can
            known = TargetHealth()
        elif since is None:
            known = known._replace(is_told=False)
        elif now - since >= health.TARGET_S:
            known = known._replace(is_told=True)
        after[target.key] = known
    return after


def _watch_alert(kind: HealthKind, text: str, now: float, *parts: object, about: str = "") -> Alert:
    event_id = digest((kind, *parts, now), size=16)
    return Alert(event_id, "", "", kind, None, None, None, now, text, not_to=about)
