"""What a tick judges of each round, and what it leaves to the end."""

from collections.abc import Sequence

from tv_etl.alerts.inputs import AlertInputs, Ask, Quote
from tv_etl.alerts.rounds import Rounds
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import AlertState, Registered
from tv_etl.alerts.wider_bars import WiderBars
from tv_etl.tradingview.errors import NoBarsError, SymbolError
from tv_etl.tradingview.models import QuoteSymbolData

NOW = 1_796_000_430.0


def rule(name: str) -> AlertRule:
    return read_rule({"name": name, "symbol": f"X:{name.upper()}", "kind": "above", "level": 9.0})


def rounds_of(*names: str, new: Sequence[int] = ()) -> Rounds:
    registered = {f"X:{name.upper()}": [Registered(rule(name), number)] for number, name in enumerate(names)}
    return Rounds(WiderBars(registered, AlertState()), AlertState(), new, NOW, 600.0)


def quotes(*symbols: str) -> dict[str, Quote]:
    return {name: QuoteSymbolData.from_fields(name, {"lp": 10.0, "lp_time": NOW - 1}) for name in symbols}


def told(rounds: Rounds, inputs: AlertInputs) -> list[tuple[str, str]] | None:
    alerts = rounds.judge(inputs)
    return None if alerts is None else [(alert.kind, alert.symbol) for alert in alerts]


def test_the_symbols_of_a_round_are_judged_and_the_others_left_as_they_were() -> None:
    rounds = rounds_of("a", "b")
    assert rounds.asks == {"X:A": Ask(), "X:B": Ask()}
    assert told(rounds, AlertInputs(NOW, quotes("X:A"))) == [("above", "X:A")]
    assert {key.symbol for key in rounds.state.armings} == {"X:A"} and rounds.left
    assert told(rounds, AlertInputs(NOW, quotes("X:B"))) == [("above", "X:B")]
    assert {key.symbol for key in rounds.state.armings} == {"X:A", "X:B"} and not rounds.left
    assert set(rounds.state.symbols) == {"X:A", "X:B"}


def test_minutes_are_wanted_of_none_but_those_whose_quotes_came() -> None:
    rounds = rounds_of("a", "b")
    assert rounds.wants({"X:A": None}, NOW) == {"X:A"}
    assert rounds.wants({"X:B": quotes("X:B")["X:B"]}, NOW) == {"X:B"}


def test_whoever_was_not_heard_is_judged_last() -> None:
    late = NoBarsError("X:B: no quotes within 8 s")
    rounds = rounds_of("a", "b")
    assert told(rounds, AlertInputs(NOW, {"X:B": late}, {"X:B": late}, faults={"X:B": "late"})) is None
    assert not rounds.were_heard
    assert told(rounds, AlertInputs(NOW, quotes("X:A"))) == [("above", "X:A")]
    assert rounds.were_heard and rounds.left
    assert rounds.judge_left() == [] and not rounds.left
    assert rounds.state.symbol("X:B").quote_fault == "late" and rounds.state.symbol("X:B").failures == 1
    assert rounds.problems == ["X:B: X:B: no quotes within 8 s"] * 2


def test_without_any_symbol_nothing_had_to_be_heard() -> None:
    assert rounds_of().were_heard and not rounds_of("a").were_heard


def test_blind_is_told_with_the_first_reason() -> None:
    rounds = rounds_of("a", "b")
    late = NoBarsError("nothing within 8 s")
    assert told(rounds, AlertInputs(NOW, {"X:A": late, "X:B": late})) is None
    assert rounds.why_blind() == "X:A: nothing within 8 s"
    assert rounds_of("a").why_blind() == "nothing was answered"


def test_a_clock_that_is_not_believed_is_a_problem_once() -> None:
    rounds = rounds_of("a", "b")
    for symbol in ("X:A", "X:B"):
        rounds.judge(AlertInputs(NOW, quotes(symbol), doubt="another clock"))
    assert rounds.problems == ["another clock"]


def test_new_rules_are_told_of_what_their_symbol_is_like() -> None:
    gone = SymbolError("X:A", "no such symbol")
    inputs = AlertInputs(NOW, {"X:A": gone}, {"X:A": gone})
    first = rounds_of("a", new=[0])
    assert told(first, inputs) == [("dead", "X:A")]
    for new, expected in (((), []), ((0,), [("dead", "X:A")])):
        rounds = Rounds(first.wider, first.state, new, NOW, 600.0)
        assert told(rounds, inputs) == expected
