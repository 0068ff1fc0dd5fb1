"""One tick of the alerts: inputs → fold → store → delivery. A sensor, a command or a test calls it.

Inputs come in rounds, and each is judged, stored and delivered before the next: whoever has answered waits for nobody.
What is found is stored together with the state that it was found from, and delivered from the store; so a tick may be
killed anywhere. Nothing of one symbol, rule or target keeps another from its turn.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tv_etl.alerts import cap, health
from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.former import CursorError, FormerState
from tv_etl.alerts.inputs import AlertInputs, Ask, Wants, Wider
from tv_etl.alerts.rounds import LakeClose, Rounds
from tv_etl.alerts.routes import addressed
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, Registered, Registry
from tv_etl.alerts.store import AlertStore, Memory
from tv_etl.alerts.stored_events import KEPT, StoredEvent, ids_of
from tv_etl.alerts.watch import Target, flags, target_alerts, told_targets, watch_alerts
from tv_etl.alerts.wider_bars import LakeBars, WiderBars
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.printable import described, printable

Gather = Callable[[Mapping[str, Ask], Wants, Wider], Generator[AlertInputs, None, None]]
Keep = Callable[[Sequence[StoredEvent]], object]

PRUNE_EVERY = 100
KEPT_AT_ONCE = 5_000
# The flag with the last generation whose rules were told what their symbols are like: a tick that is killed between two
# rounds has registered all of them.
_TOLD_UP_TO = "told_up_to"


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
    lake_bars: LakeBars | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    silence_s: float = health.SILENCE_S,
    keep: Keep | None = None,
) -> TickReport:
    """Judge the rules once, store what was found, and deliver what is due.

    `gather` asks the server, `clock` is this host's. `cursor` is what a sensor kept; all but what it held before there
    was a store is ignored. `lake_close` and `lake_bars` find what a lake holds, which is then not asked for. `groups`
    are the symbols of each group; of one that is not among them, those of the last tick. What does not come for
    `silence_s` is told, of a symbol, of all, or from a target. Raises StoreBusy while another tick runs, and StoreError
    where the store cannot be used. `keep` writes events into the dataset; what it fails to is tried again.
    """
    with store.exclusive():
        memory, now = store.load(), clock()
        registry = memory.registry.register(rules, now, groups)
        registered = registry.registered(rules)
        problems: list[str] = []
        state = memory.state if memory.tick else _begin(memory.state, registered, cursor, problems)
        told_up_to = int(memory.flags.get(_TOLD_UP_TO, memory.registry.last))
        new = {each.generation for each in registered if each.generation > told_up_to}
        wider = WiderBars(_by_symbol(registered), state, lake_bars)
        rounds = Rounds(wider, state, new, now, silence_s, lake_close, problems)
        desk = _Desk(store, targets, rules, registry, registered, memory, now, clock, silence_s, keep is not None)
        failures: list[str] = []
        for inputs in _asked(gather, rounds, failures):
            alerts = rounds.judge(inputs)
            if alerts is not None:
                desk.write(alerts, rounds.state, told_up_to if rounds.has_left else registry.last)
        problems += failures
        blind = ""
        if not rounds.were_heard or (failures and not rounds.by_symbol):
            blind = failures[0] if failures else rounds.why_blind()
        if blind:
            desk.write([], rounds.state, told_up_to, blind)
        elif rounds.has_left or not desk.has_written:
            desk.write(rounds.judge_left(), rounds.state, registry.last)
        desk.deliver()
        if keep is not None:
            _keep(store, keep, clock(), problems)
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
        self._rules_of: dict[str, list[AlertRule]] = {}
        for each in self.registered:
            self._rules_of.setdefault(each.symbol, []).append(each.rule)

    def write(self, alerts: Iterable[Alert], state: AlertState, told_up_to: int, blind: str = "") -> None:
        """Store in one transaction what was judged and what is to be told of it; deliver that."""
        memory, now, silence_s = self.memory, self.now, self.silence_s
        found, mutes = cap.apply(alerts, memory.mutes, self.registry, now)
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
            mutes,
        )
        self.has_written, self.has_delivered = True, False
        self.told += told
        if self.memory.tick % PRUNE_EVERY == 0:
            self.store.prune(now, is_kept=self.is_kept)
        if told:
            self.deliver()

    def deliver(self) -> None:
        """Hand what is due to the courier, unless nothing can have become due since it was."""
        if not self.has_delivered:
            self.reports.append(deliver(self.store, self.targets, self.clock()))
        self.has_delivered = True


def _keep(store: AlertStore, keep: Keep, now: float, problems: list[str]) -> None:
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
