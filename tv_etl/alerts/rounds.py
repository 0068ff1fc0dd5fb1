"""What a tick judges, round by round: what has been answered goes through the fold, and shows how its symbols are."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tv_etl.alerts import health
from tv_etl.alerts.fold import Alert, MinuteBar, evaluate, needs_minutes
from tv_etl.alerts.inputs import AlertInputs, Ask, Quote, delay_s
from tv_etl.alerts.look import Look, ask_of, is_extended, quote_now, reach_of, tries_minutes
from tv_etl.alerts.state import AlertState, Registered, SymbolState, without_future
from tv_etl.alerts.wider_bars import WiderBars
from tv_etl.tradingview.printable import described, printable
from tv_etl.tradingview.trading_hours import TradingHours

LakeClose = Callable[[str], "MinuteBar | None"]


@dataclass
class Rounds:
    """The symbols of a tick, each of which is judged once.

    One of which nothing was heard is left to the end: only then is it known whether anything was. `state` is what is to
    be remembered; `new` are the generations that nobody has been told of what their symbols are like.
    """

    wider: WiderBars
    state: AlertState
    new: Collection[int]
    host_now: float
    silence_s: float
    lake_close: LakeClose | None = None
    problems: list[str] = field(default_factory=list)
    asks: dict[str, Ask] = field(init=False)

    def __post_init__(self) -> None:
        registered = [each for mine in self.by_symbol.values() for each in mine]
        self.state = AlertState(
            {each.key: self.state.armings[each.key] for each in registered if each.key in self.state.armings},
            {symbol: self.state.symbol(symbol) for symbol in self.by_symbol},
        )
        self.asks = {name: ask_of(self.state, name, mine, self.host_now) for name, mine in self.by_symbol.items()}
        self._wanted: set[str] = set()
        self._left = set(self.by_symbol)
        self._unheard: list[AlertInputs] = []

    @property
    def by_symbol(self) -> Mapping[str, Sequence[Registered]]:
        return self.wider.by_symbol

    @property
    def were_heard(self) -> bool:
        """True unless there are symbols, and nothing was heard of any."""
        return not self.by_symbol or len(self._left) < len(self.by_symbol)

    @property
    def left(self) -> Collection[str]:
        """The symbols that are not judged yet."""
        return self._left

    def wants(self, quotes: Mapping[str, Quote | None], now: float) -> set[str]:
        """Those of the symbols whose minutes matter, in the light of their quotes."""
        for symbol, quote in quotes.items():
            state, mine = self.state.symbol(symbol), self.by_symbol[symbol]
            if not state.served and not tries_minutes(state, self.host_now):
                continue
            try:
                # A quote may say nothing of what is traded before and after the regular hours.
                latest = None if is_extended(mine) else quote_now(quote, now)
                reach = reach_of(quote, health.read_hours(state.hours), now)
                is_wanted = needs_minutes(
                    self.wider.awake(symbol, now), self.state, symbol, latest, reach, now - delay_s(quote)
                )
            except Exception:  # what is wrong with the symbol or a rule shows when they are judged
                is_wanted = True
            if is_wanted or self.wider.needs_overlap(symbol):
                self._wanted.add(symbol)
        return self._wanted.intersection(quotes)

    def judge(self, inputs: AlertInputs) -> list[Alert] | None:
        """What is to be told of the symbols that were heard; None where none was."""
        looks = {symbol: self._look(symbol, inputs) for symbol in inputs.symbols}
        heard = {symbol: look for symbol, look in looks.items() if look.was_heard}
        self._unheard.append(inputs.only([symbol for symbol in looks if symbol not in heard]))
        self._note_problems(inputs, heard)
        return self._judge(inputs.only(heard), heard) if heard else None

    def judge_left(self) -> list[Alert]:
        """What is to be told of those of which nothing was heard although something was of others."""
        inputs, looks = self._looks_left()
        self._note_problems(inputs, looks)
        return self._judge(inputs, looks)

    def why_blind(self) -> str:
        """The first reason why nothing was heard; all of them are problems."""
        self._note_problems(*self._looks_left())
        return self.problems[0] if self.problems else "nothing was answered"

    def _looks_left(self) -> tuple[AlertInputs, dict[str, Look]]:
        inputs = AlertInputs.joined(self._unheard)
        return inputs, {symbol: self._look(symbol, inputs) for symbol in self.by_symbol if symbol in self._left}

    def _look(self, symbol: str, inputs: AlertInputs) -> Look:
        is_wanted = symbol in self._wanted
        return Look.of(symbol, self.state.symbol(symbol), inputs, self.asks[symbol], is_wanted, self.host_now)

    def _note_problems(self, inputs: AlertInputs, looks: Mapping[str, Look]) -> None:
        self.problems += [*([inputs.doubt] if inputs.doubt and inputs.doubt not in self.problems else [])]
        self.problems += [text for look in looks.values() for text in look.problems]

    def _judge(self, inputs: AlertInputs, looks: Mapping[str, Look]) -> list[Alert]:
        self.wider.take(inputs)
        state = without_future(self._part(looks), inputs.now)
        bars = {symbol: look.bars for symbol, look in looks.items() if look.bars}
        quotes = {symbol: look.quote for symbol, look in looks.items() if look.quote is not None}
        for symbol, look in looks.items():
            # The lake has the last word where nothing else has one.
            if state.watermark(symbol) is None and not look.bars and (look.quote is None or look.quote.time_s is None):
                last = self._last_of_lake(symbol)
                if last is not None:
                    bars[symbol] = [last]
        alerts, after, broken = evaluate(
            [each for symbol in looks for each in self.by_symbol[symbol]],
            state,
            bars,
            quotes,
            inputs.now,
            delays_s={symbol: look.facts.delay_s for symbol, look in looks.items()},
            closed=self.wider.closed,
            hours=self._regular_hours(state, looks),
        )
        self.problems += [f"rule {each.rule.name}: {described(error)}" for each, error in broken]
        symbols: dict[str, SymbolState] = {}
        for symbol, look in looks.items():
            mine, known = self.by_symbol[symbol], after.symbol(symbol)
            try:
                known = look.learned(known, inputs, self.host_now)
                known = replace(known, hours=known.hours or self.wider.hours.get(symbol, ""))
                to_check = known.check_up_to is not None and any(each.generation <= known.check_up_to for each in mine)
                judged = health.judge(known, look.facts, health.read_hours(known.hours), to_check, self.silence_s)
                new = [each for each in mine if each.generation in self.new]
                alerts += health.tell(symbol, known.health, judged.health, mine, new, inputs.now)
                symbols[symbol] = judged
            except Exception as error:  # whatever it is, it is this symbol's alone
                self.problems.append(f"{symbol}: {described(error)}")
                symbols[symbol] = known
        self._left.difference_update(looks)
        others = {key: arming for key, arming in self.state.armings.items() if key.symbol not in looks}
        self.state = AlertState({**others, **after.armings}, {**self.state.symbols, **symbols})
        return alerts

    def _part(self, symbols: Collection[str]) -> AlertState:
        mine = [each.key for symbol in symbols for each in self.by_symbol[symbol]]
        return AlertState(
            {key: self.state.armings[key] for key in mine if key in self.state.armings},
            {symbol: self.state.symbol(symbol) for symbol in symbols},
        )

    def _regular_hours(self, state: AlertState, looks: Mapping[str, Look]) -> dict[str, TradingHours]:
        """The hours of those symbols of which more is asked for than what was traded in them."""
        found: dict[str, TradingHours] = {}
        for symbol, look in looks.items():
            if is_extended(self.by_symbol[symbol]):
                hours = health.read_hours(look.info_hours or state.symbol(symbol).hours)
                if hours is not None:
                    found[symbol] = hours
        return found

    def _last_of_lake(self, symbol: str) -> MinuteBar | None:
        if self.lake_close is None:
            return None
        try:
            return self.lake_close(symbol)
        except Exception as error:  # a lake that cannot be read is no reason to judge nothing
            self.problems.append(f"{symbol}: its last close in the lake: {printable(str(error))}")
            return None
