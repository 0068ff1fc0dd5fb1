"""One tick of the alerts: inputs → fold → store → delivery. A sensor, a command or a test calls it.

Inputs come in rounds, and each is judged, stored and delivered before the next: whoever has answered waits for nobody.
What is found is stored together with the state that it was found from, and delivered from the store; so a tick may be
killed anywhere. Nothing of one symbol, rule or target keeps another from its turn.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tv_etl.alerts import cap, health, mutes, reminders
from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.former import CursorError, FormerState
from tv_etl.alerts.inputs import AlertInputs, Ask, Wants, Wider
from tv_etl.alerts.pinging import Pinging
from tv_etl.alerts.rounds import LakeClose, Rounds
from tv_etl.alerts.routes import addressed
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, Registered, Registry
from tv_etl.alerts.store import AlertStore, Handled, Memory
from tv_etl.alerts.stored_events import KEPT, StoredEvent, ids_of
from tv_etl.alerts.targets.ping import ReadyPing
from tv_etl.alerts.watch import Target, flags, target_alerts, told_targets, watch_alerts
from tv_etl.alerts.wider_bars import LakeBars, WiderBars
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.printable import counted, described, printable

Gather = Callable[[Mapping[str, Ask], Wants, Wider], Generator[AlertInputs, None, None]]
Keep = Callable[[Sequence[StoredEvent]], object]

PRUNE_EVERY = 100
KEPT_AT_ONCE = 5_000
# The flag with the last generation whose rules were told what their symbols are like: a tick that is killed between two
# rounds has registered all of them.
_TOLD_UP_TO = "told_up_to"


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
        text = f"{counted(len(self.found), 'alert')} found, {self.sent:,} delivered"
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
        state = memory.state if memory.tick else _begin(memory.state, registered, cursor, problems)
        told_up_to = int(memory.flags.get(_TOLD_UP_TO, memory.registry.last))
        new = {each.generation for each in registered if each.generation > told_up_to}
        wider = WiderBars(_by_symbol(registered), state, lake_bars, hand_mutes=memory.hand_mutes, host_now=now)
        rounds = Rounds(wider, state, new, now, silence_s, lake_close, problems)
        desk = _Desk(store, targets, rules, registry, registered, memory, now, clock, silence_s, keep is not None)
        failures: list[str] = []
        for inputs in _asked(gather, rounds, failures):
            alerts = rounds.judge(inputs)
            if alerts is not None:
                desk.write(alerts, rounds, told_up_to if rounds.left else registry.last)
        problems += failures
        blind = ""
        if not rounds.were_heard or (failures and not rounds.by_symbol):
            blind = failures[0] if failures else rounds.why_blind()
        if blind:
            desk.write([], rounds, told_up_to, blind)
        elif rounds.left or not desk.has_written:
            desk.write(rounds.judge_left(), rounds, registry.last)
        desk.deliver()
        pinging = None if ping is None or blind else Pinging.begin(ping, memory.flags, clock())
        if keep is not None:
            keep_events(store, keep, clock(), problems)
        unreached = "" if pinging is None else pinging.end(store)
    sent = desk.reports
    return TickReport(
        desk.memory.tick,
        tuple(desk.told),
        sum(each.sent for each in sent),
        sum(each.retried for each in sent),
        sum(each.dead for each in sent),
        tuple(dict.fromkeys([*problems, *wider.problems])),
        tuple(dict.fromkeys(error for each in sent for error in each.errors)),
        blind,
        unreached,
    )


def _asked(gather: Gather, rounds: Rounds, failures: list[str]) -> Iterator[AlertInputs]:
    """What comes; why no more does, where it ends early, is one of the failures: what was found is still delivered."""
    try:
        with closing(gather(rounds.asks, rounds.wants, rounds.wider.requests)) as found:
            yield from found
    except TradingViewError as error:
        failures.append(str(error))
    except Exception as error:
        failures.append(described(error))


@dataclass
class _Desk:
    """Where what was judged is written down, round by round, and handed to the courier."""

    store: AlertStore
    targets: Sequence[Target]
    rules: Sequence[AlertRule]
    registry: Registry
    registered: Sequence[Registered]
    memory: Memory
    now: float
    clock: Callable[[], float]
    silence_s: float
    is_kept: bool
    has_written: bool = False
    has_delivered: bool = False
    told: list[Alert] = field(default_factory=list)
    reports: list[DeliveryReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_name = {rule.name: rule for rule in self.rules}
        self._rules_of: dict[str, list[AlertRule]] = {"": list(self.rules)}
        for each in self.registered:
            self._rules_of.setdefault(each.symbol, []).append(each.rule)

    def write(self, alerts: Iterable[Alert], rounds: Rounds, told_up_to: int, blind: str = "") -> None:
        """Store in one transaction what was judged and what is to be told of it; deliver that."""
        memory, now, silence_s, state = self.memory, self.now, self.silence_s, rounds.state
        found, capped, handled = self._handle(alerts, rounds, blind)
        raw = [*found, *watch_alerts(memory, blind, now, silence_s)]
        of_targets = {}
        if not self.has_written:  # how they were before this tick
            raw += target_alerts(memory, self.targets, now, silence_s)
            of_targets = told_targets(memory, self.targets, now, silence_s)
        told = addressed(raw, self._rules_of, self.targets)
        self.memory = self.store.commit(
            memory,
            self.rules,
            self.registry,
            state,
            told,
            [target.key for target in self.targets],
            now,
            flags(memory, blind, now, silence_s) | {_TOLD_UP_TO: str(told_up_to)},
            of_targets,
            capped,
            handled,
        )
        self.has_written, self.has_delivered = True, False
        self.told += told
        if self.memory.tick % PRUNE_EVERY == 0:
            self.store.prune(now, is_kept=self.is_kept)
        if told:
            self.deliver()

    def _handle(
        self, alerts: Iterable[Alert], rounds: Rounds, blind: str
    ) -> tuple[list[Alert], dict[str, cap.Mute], Handled]:
        """What is told of what was found, in the light of what rules are muted for, and of what was acknowledged."""
        memory, hand, now = self.memory, self.memory.hand_mutes, self.now
        marked, kept_back = mutes.apply(alerts, hand, self._by_name, now)
        found, capped = cap.apply(marked, memory.mutes, self.registry, now)
        # What the cap says of a rule that is muted by hand is not told either.
        found, _ = mutes.apply(found, hand, {}, now)

        def is_silent(rule: str, symbol: str) -> bool:
            # What is not judged yet may be over.
            waits = not blind and symbol in rounds.left
            return waits or (rule in capped and capped[rule].until > now) or mutes.is_muted(hand, rule, symbol, now)

        due, remembered = reminders.look(self.registered, rounds.state, memory.reminders, memory.acks, is_silent, now)
        waiting = [event_id for event_id, ack in memory.acks.items() if ack.told_at is None]
        bodies = self.store.bodies([*waiting, *(each.event_id for each in due)]) if waiting or due else {}
        found += [reminders.reminder(each, bodies.get(each.event_id), now) for each in due]
        acks = [reminders.acknowledgement(each, bodies[each], now) for each in waiting if each in bodies]
        found += [ack for ack in acks if any(target.wants(ack.event) for target in self.targets)]
        # While a rule is not judged, what was touched in a mute may not be found yet.
        told, ended = ([], []) if blind or rounds.left else mutes.end(hand, kept_back, now)
        return [*found, *told], capped, Handled(kept_back, ended, waiting, remembered)

    def deliver(self) -> None:
        """Hand what is due to the courier, unless nothing can have become due since it was."""
        if not self.has_delivered:
            self.reports.append(deliver(self.store, self.targets, self.clock()))
        self.has_delivered = True


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


def _by_symbol(registered: Iterable[Registered]) -> dict[str, list[Registered]]:
    found: dict[str, list[Registered]] = {}
    for each in registered:
        found.setdefault(each.symbol, []).append(each)
    return found
