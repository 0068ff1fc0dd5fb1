"""One tick of the alerts: inputs → fold → store → delivery. A sensor, a command or a test calls it.

What is found is stored together with the state that it was found from, and delivered from the store; so a tick may be
killed anywhere. Nothing of one symbol, rule or target keeps another from its turn.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tv_etl.alerts import cap, health, mutes, reminders
from tv_etl.alerts.courier import deliver
from tv_etl.alerts.fold import Alert, MinuteBar, evaluate, needs_minutes
from tv_etl.alerts.former import CursorError, FormerState
from tv_etl.alerts.inputs import AlertInputs, Ask, Quote, delay_s
from tv_etl.alerts.look import Look, ask_of, is_extended, quote_now, reach_of, tries_minutes
from tv_etl.alerts.pinging import Pinging
from tv_etl.alerts.routes import addressed
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, Registered, Registry, SymbolState, without_future
from tv_etl.alerts.store import AlertStore, Handled, Memory
from tv_etl.alerts.stored_events import KEPT, StoredEvent, ids_of
from tv_etl.alerts.targets.ping import ReadyPing
from tv_etl.alerts.watch import Target, flags, target_alerts, told_targets, watch_alerts
from tv_etl.alerts.wider_bars import LakeBars, SeriesKey, WiderBars
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.printable import described, printable
from tv_etl.tradingview.trading_hours import TradingHours

Wants = Callable[[Mapping[str, Quote], float], "set[str]"]
Wider = Callable[[Mapping[str, Quote], float], Mapping[SeriesKey, HistoryRequest]]
Gather = Callable[[Mapping[str, Ask], Wants, Wider], AlertInputs]
LakeClose = Callable[[str], "MinuteBar | None"]
Keep = Callable[[Sequence[StoredEvent]], object]

PRUNE_EVERY = 100
KEPT_AT_ONCE = 5_000


@dataclass(frozen=True)
class TickReport:
    """What a tick did.

    `blind` says why nothing at all could be judged, `ping` why the dead man's switch was not reached.
    """

    tick: int
    found: tuple[Alert, ...] = ()
    sent: int = 0
    retried: int = 0
    dead: int = 0
    problems: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    blind: str = ""
    ping: str = ""

    @property
    def summary(self) -> str:
        """One line for people."""
        text = f"{len(self.found)} alerts found, {self.sent} delivered"
        if self.retried or self.dead:
            text += f", {self.retried} to be retried, {self.dead} given up"
        if self.ping:
            text += f"; {printable(self.ping)}"
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
    lake_bars: LakeBars | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    silence_s: float = health.SILENCE_S,
    keep: Keep | None = None,
    ping: ReadyPing | None = None,
) -> TickReport:
    """Judge the rules once, store what was found, and deliver what is due.

    `gather` asks the server, `clock` is this host's. `cursor` is what a sensor kept; all but what it held before there
    was a store is ignored. `lake_close` and `lake_bars` find what a lake holds, which is then not asked for. `groups`
    are the symbols of each group; of one that is not among them, those of the last tick. What does not come for
    `silence_s` is told, of a symbol, of all, or from a target. Raises StoreBusy while another tick runs, and StoreError
    where the store cannot be used. `keep` writes events into the dataset; what it fails to is tried again. `ping` is
    called once the rules were judged, what was found is stored, and what was due has been tried.
    """
    with store.exclusive():
        memory, now = store.load(), clock()
        registry = memory.registry.register(rules, now, groups)
        registered = registry.registered(rules)
        problems: list[str] = []
        before = memory.state if memory.tick else _begin(memory.state, registered, cursor, problems)
        known = {each for rule in memory.registry.rules.values() for each in rule.generations}
        new = {each.generation for each in registered} - known
        wider = WiderBars(_by_symbol(registered), before, lake_bars, hand_mutes=memory.hand_mutes, host_now=now)
        judged = _look(registered, before, gather, wider, new, now, lake_close, silence_s)
        found, capped, handled = _handle(store, memory, rules, registered, registry, judged, targets, now)
        raw = [
            *found,
            *watch_alerts(memory, judged.blind, now, silence_s),
            *target_alerts(memory, targets, now, silence_s),
        ]
        rules_of: dict[str, list[AlertRule]] = {"": list(rules)}
        for each in registered:
            rules_of.setdefault(each.key.symbol, []).append(each.rule)
        told = addressed(raw, rules_of, targets)
        tick = store.commit(
            memory,
            rules,
            registry,
            judged.state,
            told,
            [target.key for target in targets],
            now,
            flags(memory, judged.blind, now, silence_s),
            told_targets(memory, targets, now, silence_s),
            capped,
            handled,
        )
        if tick % PRUNE_EVERY == 0:
            store.prune(now, is_kept=keep is not None)
        report = deliver(store, targets, clock())
        pinging = None if ping is None or judged.blind else Pinging.begin(ping, memory.flags, clock())
        if keep is not None:
            keep_events(store, keep, clock(), problems)
        unreached = "" if pinging is None else pinging.end(store)
    return TickReport(
        tick,
        tuple(told),
        report.sent,
        report.retried,
        report.dead,
        (*problems, *judged.problems),
        report.errors,
        judged.blind,
        unreached,
    )


def _handle(
    store: AlertStore,
    memory: Memory,
    rules: Sequence[AlertRule],
    registered: Sequence[Registered],
    registry: Registry,
    judged: "_Judged",
    targets: Sequence[Target],
    now: float,
) -> tuple[list[Alert], dict[str, cap.Mute], Handled]:
    """What is told of what was found, in the light of what rules have been muted for, and of what was acknowledged."""
    by_name, hand = {rule.name: rule for rule in rules}, memory.hand_mutes
    marked, kept_back = mutes.apply(judged.alerts, hand, by_name, now)
    found, capped = cap.apply(marked, memory.mutes, registry, now)
    # What the cap says of a rule that is muted by hand is not told either.
    found, _ = mutes.apply(found, hand, {}, now)

    def is_silent(rule: str, symbol: str) -> bool:
        return (rule in capped and capped[rule].until > now) or mutes.is_muted(hand, rule, symbol, now)

    due, remembered = reminders.look(registered, judged.state, memory.reminders, memory.acks, is_silent, now)
    waiting = [event_id for event_id, ack in memory.acks.items() if ack.told_at is None]
    bodies = store.bodies([*waiting, *(each.event_id for each in due)]) if waiting or due else {}
    found += [reminders.reminder(each, bodies.get(each.event_id), now) for each in due]
    acks = [reminders.acknowledgement(each, bodies[each], now) for each in waiting if each in bodies]
    found += [ack for ack in acks if any(target.wants(ack.event) for target in targets)]
    # While no rule is judged, what was touched in a mute may not be found yet.
    told, ended = ([], []) if judged.blind else mutes.end(hand, kept_back, now)
    return [*found, *told], capped, Handled(kept_back, ended, waiting, remembered)


def keep_events(store: AlertStore, keep: Keep, now: float, problems: list[str]) -> None:
    """Write into the dataset what it lacks; why it cannot be is added to the problems."""
    events = store.to_keep(KEPT_AT_ONCE)
    if not events:
        return
    try:
        keep(events)
    except Exception as error:  # nothing of it is lost: the store has it until the dataset does
        problems.append(f"the dataset of the alerts: {printable(str(error))}")
        return
    # Before the deliveries that were written: one that ended since is written next time.
    store.mark(KEPT, ids_of(events), now)


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
    wider: WiderBars,
    just_registered: Collection[int],
    host_now: float,
    lake_close: LakeClose | None,
    silence_s: float,
) -> _Judged:
    by_symbol = wider.by_symbol
    known = AlertState(
        {each.key: before.armings[each.key] for each in registered if each.key in before.armings},
        {symbol: before.symbol(symbol) for symbol in by_symbol},
    )
    asks = {symbol: ask_of(known, symbol, mine, host_now) for symbol, mine in by_symbol.items()}
    wanted: set[str] = set()

    def wants(quotes: Mapping[str, Quote], now: float) -> set[str]:
        for symbol, mine in by_symbol.items():
            state, quote = known.symbol(symbol), quotes.get(symbol)
            if not state.served and not tries_minutes(state, host_now):
                continue
            try:
                # A quote may say nothing of what is traded before and after the regular hours.
                latest = None if is_extended(mine) else quote_now(quote, now)
                reach = reach_of(quote, health.read_hours(state.hours), now)
                is_wanted = needs_minutes(wider.awake(symbol, now), known, symbol, latest, reach, now - delay_s(quote))
            except Exception:  # what is wrong with the symbol or a rule shows when they are judged
                is_wanted = True
            if is_wanted or wider.needs_overlap(symbol):
                wanted.add(symbol)
        return wanted

    try:
        inputs = gather(asks, wants, wider.requests)
        wider.take(inputs)
    except TradingViewError as error:
        return _Judged(state=known, problems=[str(error)], blind=str(error))
    except Exception as error:  # what was found earlier must still be delivered
        return _Judged(state=known, problems=[described(error)], blind=described(error))
    looks = {
        symbol: Look.of(symbol, known.symbol(symbol), inputs, ask, symbol in wanted, host_now)
        for symbol, ask in asks.items()
    }
    problems = [*([inputs.doubt] if inputs.doubt else []), *(text for each in looks.values() for text in each.problems)]
    problems += wider.problems
    if looks and not any(each.was_heard for each in looks.values()):
        return _Judged(state=known, problems=problems, blind=problems[0] if problems else "nothing was answered")
    known = without_future(known, inputs.now)
    return _judge(wider, known, inputs, looks, problems, just_registered, host_now, lake_close, silence_s)


def _by_symbol(registered: Iterable[Registered]) -> dict[str, list[Registered]]:
    found: dict[str, list[Registered]] = {}
    for each in registered:
        found.setdefault(each.symbol, []).append(each)
    return found


def _judge(
    wider: WiderBars,
    state: AlertState,
    inputs: AlertInputs,
    looks: "Mapping[str, Look]",
    problems: list[str],
    just_registered: Collection[int],
    host_now: float,
    lake_close: LakeClose | None,
    silence_s: float,
) -> _Judged:
    bars = {symbol: look.bars for symbol, look in looks.items() if look.bars}
    quotes = {symbol: look.quote for symbol, look in looks.items() if look.quote is not None}
    for symbol, look in looks.items():
        # The lake has the last word where nothing else has one.
        if state.watermark(symbol) is None and not look.bars and (look.quote is None or look.quote.time_s is None):
            last = _last_of_lake(lake_close, symbol, problems)
            if last is not None:
                bars[symbol] = [last]
    by_symbol = wider.by_symbol
    registered = [each for mine in by_symbol.values() for each in mine]
    delays = {symbol: look.facts.delay_s for symbol, look in looks.items()}
    hours = _regular_hours(by_symbol, state, looks)
    alerts, after, broken = evaluate(
        registered, state, bars, quotes, inputs.now, delays_s=delays, closed=wider.closed, hours=hours
    )
    problems += [f"rule {each.rule.name}: {described(error)}" for each, error in broken]
    symbols: dict[str, SymbolState] = {}
    for symbol, mine in by_symbol.items():
        look, known = looks[symbol], after.symbol(symbol)
        try:
            known = look.learned(known, inputs, host_now)
            known = replace(known, hours=known.hours or wider.hours.get(symbol, ""))
            to_check = known.check_up_to is not None and any(each.generation <= known.check_up_to for each in mine)
            judged = health.judge(known, look.facts, health.read_hours(known.hours), to_check, silence_s)
            new = [each for each in mine if each.generation in just_registered]
            alerts += health.tell(symbol, known.health, judged.health, mine, new, inputs.now)
            symbols[symbol] = judged
        except Exception as error:  # whatever it is, it is this symbol's alone
            problems.append(f"{symbol}: {described(error)}")
            symbols[symbol] = known
    return _Judged(alerts, AlertState(after.armings, symbols), problems)


def _regular_hours(
    by_symbol: Mapping[str, Sequence[Registered]], state: AlertState, looks: "Mapping[str, Look]"
) -> dict[str, TradingHours]:
    """The hours of those symbols of which more is asked for than what was traded in them."""
    found: dict[str, TradingHours] = {}
    for symbol, mine in by_symbol.items():
        hours = health.read_hours(looks[symbol].info_hours or state.symbol(symbol).hours) if is_extended(mine) else None
        if hours is not None:
            found[symbol] = hours
    return found


def _last_of_lake(lake_close: LakeClose | None, symbol: str, problems: list[str]) -> MinuteBar | None:
    if lake_close is None:
        return None
    try:
        return lake_close(symbol)
    except Exception as error:  # a lake that cannot be read is no reason to judge nothing
        problems.append(f"{symbol}: its last close in the lake: {printable(str(error))}")
        return None
