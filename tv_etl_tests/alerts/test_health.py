"""The states of a symbol: each entered and left once, by the symbol's own hours."""

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from tv_etl.alerts import health
from tv_etl.alerts.health import Facts, judge, read_hours, session_open, tell
from tv_etl.alerts.state import Health, Registered, SymbolState
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.alerts.test_fold import make_rule

pytestmark = pytest.mark.pure

HOURS = TradingHours("0930-1600", "America/New_York")


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-{text}+00:00").timestamp()


OPEN = at("11-18T15:00:00")  # a Wednesday; it has been open since 14:30
KNOWN = SymbolState(int(OPEN) - 180, fine_at=OPEN - 30)


def facts(**changes: Any) -> Facts:
    well = Facts(now=OPEN, answered=True, has_price=True, minutes_came=True, traded_at=OPEN - 5)
    return replace(well, **changes)


def state_of(symbol: SymbolState, seen: Facts, hours: TradingHours | None = HOURS, to_check: bool = False) -> str:
    return judge(symbol, seen, hours, to_check).health.state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        pytest.param({}, "ok", id="all is well"),
        pytest.param({"unknown": "no_such_symbol", "answered": False}, "dead", id="unknown"),
        pytest.param({"unknown": "a", "refusal": "b"}, "dead", id="unknown counts before refused"),
        pytest.param({"refusal": "permission_denied", "answered": False}, "refused", id="refused"),
        pytest.param({"refusal": "b", "traded_at": OPEN - 1_700}, "refused", id="refused counts before no data"),
        pytest.param({"traded_at": OPEN - 600}, "ok", id="traded ten minutes ago"),
        pytest.param({"traded_at": OPEN - 601}, "no_data", id="not traded for longer"),
        pytest.param({"traded_at": OPEN - 86_400}, "no_data", id="not traded since it opened"),
        pytest.param({"delay_s": 900.0, "traded_at": OPEN - 905}, "late", id="delayed"),
        pytest.param({"delay_s": 900.0, "traded_at": OPEN - 1_501}, "no_data", id="delayed, and not traded"),
        pytest.param({"traded_at": None}, "ok", id="a quote that does not say when"),
        pytest.param({"answered": False, "traded_at": None, "error": "x"}, "ok", id="once nothing came"),
    ],
)
def test_the_state_of_a_symbol_that_is_known(changes: dict[str, Any], state: str) -> None:
    assert state_of(KNOWN, facts(**changes)) == state


def test_a_symbol_that_has_just_opened_is_not_without_data() -> None:
    opened = at("11-18T14:35:00")
    yesterday = at("11-17T21:00:00")
    assert state_of(KNOWN, facts(now=opened, traded_at=yesterday)) == "ok"
    assert state_of(KNOWN, facts(now=opened + 301, traded_at=yesterday)) == "no_data"


def test_a_symbol_is_not_without_data_while_its_market_is_shut() -> None:
    saturday = at("11-21T15:00:00")
    shut = facts(now=saturday, traded_at=at("11-20T21:00:00"), minutes_came=False)
    assert state_of(KNOWN, shut) == "ok"
    silent = facts(now=saturday, answered=False, traded_at=None)
    assert state_of(replace(KNOWN, fine_at=saturday - 86_400), silent) == "ok"


def test_silence_of_ten_minutes_is_no_data_and_the_first_answer_ends_it() -> None:
    silent = facts(answered=False, has_price=False, minutes_came=False, traded_at=None, error="no quotes within 8 s")
    assert state_of(replace(KNOWN, fine_at=OPEN - 599), silent) == "ok"
    after = judge(replace(KNOWN, fine_at=OPEN - 600), silent, HOURS, False)
    assert after.health == Health("no_data", OPEN, "no quotes within 8 s")
    later = judge(after, replace(silent, now=OPEN + 30), HOURS, False)
    assert later.health == after.health and later.fine_at == OPEN - 600
    assert judge(later, facts(now=OPEN + 60, traded_at=OPEN + 55), HOURS, False).health == Health("ok", OPEN + 60, "")


def test_silence_of_hours_that_nobody_knows_is_no_data() -> None:
    silent = facts(answered=False, traded_at=None)
    assert state_of(replace(KNOWN, fine_at=OPEN - 600), silent, hours=None) == "no_data"
    assert state_of(KNOWN, facts(traded_at=OPEN - 86_400), hours=None) == "ok"


def test_minutes_that_do_not_come_for_ten_minutes_are_told_although_the_quote_comes() -> None:
    """What crosses between two quotes is not seen."""
    without = facts(minutes_came=False, minutes_error="no answer in time")
    symbol = judge(KNOWN, without, HOURS, False)
    assert (symbol.minutes_missing_since, symbol.health.state) == (OPEN, "ok")
    late = replace(without, now=OPEN + 600, traded_at=OPEN + 599)
    symbol = judge(symbol, late, HOURS, False)
    assert (symbol.health.state, symbol.health.detail) == ("no_data", "its bars do not come: no answer in time")
    symbol = judge(symbol, facts(now=OPEN + 630, traded_at=OPEN + 629), HOURS, False)
    assert (symbol.minutes_missing_since, symbol.health.state) == (None, "ok")


def test_a_thin_symbol_is_given_its_usual_pauses() -> None:
    thin = replace(KNOWN, pause_s=500.0)
    assert state_of(thin, facts(traded_at=OPEN - 1_500)) == "ok"
    assert state_of(thin, facts(traded_at=OPEN - 1_501)) == "no_data"


def test_an_answer_without_a_price_and_bars_is_no_reference_only_for_a_symbol_that_never_had_any() -> None:
    bare = facts(has_price=False, minutes_came=False, traded_at=None)
    assert state_of(SymbolState(), bare) == "no_reference"
    assert state_of(KNOWN, bare) == "ok"
    assert state_of(SymbolState(), facts(has_price=False, traded_at=None)) == "ok"


def test_rules_to_be_checked_count_before_a_delay() -> None:
    assert state_of(KNOWN, facts(delay_s=900.0, traded_at=OPEN - 905), to_check=True) == "readjusted"


def test_bars_that_begin_too_late_are_told_once_and_over_with_the_next_answer() -> None:
    missed = judge(KNOWN, facts(missed="the server's bars begin at noon"), HOURS, False)
    assert missed.health == Health("limited", OPEN, "the server's bars begin at noon")
    silent = judge(missed, facts(now=OPEN + 30, answered=False), HOURS, False)
    assert silent.health == missed.health
    assert judge(silent, facts(now=OPEN + 60), HOURS, False).health.state == "ok"
    assert state_of(KNOWN, facts(missed="x", delay_s=900.0, traded_at=OPEN - 905), to_check=True) == "limited"


def test_how_long_nothing_may_come_can_be_set() -> None:
    silent = facts(answered=False, traded_at=None)
    assert judge(replace(KNOWN, fine_at=OPEN - 60), silent, HOURS, False, 60.0).health.state == "no_data"
    assert judge(replace(KNOWN, fine_at=OPEN - 59), silent, HOURS, False, 60.0).health.state == "ok"
    assert judge(KNOWN, facts(traded_at=OPEN - 61), HOURS, False, 60.0).health.state == "no_data"
    without = facts(minutes_came=False, minutes_error="late")
    assert judge(replace(KNOWN, minutes_missing_since=OPEN - 60), without, HOURS, False, 60.0).health.state == "no_data"


@pytest.mark.parametrize(
    ("seconds", "text"), [(30.0, "30 seconds"), (119.0, "119 seconds"), (120.0, "2 minutes"), (600.0, "10 minutes")]
)
def test_a_length_of_time_is_told_in_its_own_measure(seconds: float, text: str) -> None:
    assert health.duration(seconds) == text


def test_a_state_keeps_its_beginning_and_takes_the_newest_detail() -> None:
    symbol = replace(KNOWN, health=Health("refused", 5.0, "one reason"))
    assert judge(symbol, facts(refusal="another"), HOURS, False).health == Health("refused", 5.0, "another")


# --- what is told

ONE, TWO = Registered(make_rule(name="one"), 1), Registered(make_rule(name="two"), 2)
DEAD, WELL = Health("dead", OPEN, "no_such_symbol"), Health("ok", OPEN, "")


def test_a_state_is_told_on_entry_and_on_exit_and_not_between() -> None:
    [entry] = tell("X:A", Health(), DEAD, [ONE], [], OPEN)
    assert (entry.kind, entry.rule, entry.symbol) == ("dead", "one", "X:A")
    assert entry.text == "X:A: no_such_symbol: the server does not know it; no longer watched (rule one)"
    assert tell("X:A", DEAD, DEAD, [ONE], [], OPEN + 30) == []
    [leave] = tell("X:A", DEAD, Health("ok", OPEN + 60), [ONE, TWO], [], OPEN + 60)
    assert (leave.kind, leave.rule, leave.text) == ("ok", "", "X:A: all is well again (2 rules: one, two)")
    [again] = tell("X:A", Health(), DEAD, [ONE], [], OPEN + 90)
    assert len({entry.event_id, leave.event_id, again.event_id}) == 3


def test_a_new_rule_that_its_symbol_cannot_serve_is_told_once() -> None:
    [told] = tell("X:A", DEAD, DEAD, [ONE, TWO], [TWO], OPEN)
    assert told.rule == "two"
    late = Health("late", OPEN, "its feed is delayed by 15 minutes")
    assert tell("X:A", late, late, [ONE, TWO], [TWO], OPEN) == []


def test_ten_rules_are_named_and_the_others_are_not() -> None:
    many = [Registered(make_rule(name=f"r{number}"), number) for number in range(11)]
    [told] = tell("X:A", Health(), DEAD, many, [], OPEN)
    assert "(11 rules: r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, ...)" in told.text


def test_each_rule_of_a_readjusted_symbol_has_an_alert_of_its_own_already() -> None:
    assert tell("X:A", WELL, Health("readjusted", OPEN), [ONE], [], OPEN) == []


# --- hours


def test_a_trading_day_begins_with_its_first_session() -> None:
    tokyo = TradingHours("0900-1130,1230-1530", "Asia/Tokyo")
    opened = at("11-18T00:00:00")
    assert session_open(tokyo, at("11-18T05:00:00")) == (True, opened)
    assert session_open(tokyo, at("11-18T03:00:00")) == (False, opened)
    assert session_open(tokyo, at("11-18T10:00:00")) == (False, opened)
    assert session_open(tokyo, at("11-18T23:59:59.9")) == (False, opened)
    assert session_open(
        TradingHours("0930-0931:2", "UTC", holidays="20261116,20261109,20261102"), at("11-18T00:00:00")
    ) == (
        False,
        float("-inf"),
    )


def test_hours_that_cannot_be_read_are_unknown() -> None:
    assert read_hours(HOURS.to_json()) == HOURS
    assert read_hours("") is read_hours("{") is read_hours('{"session": "?"}') is None
    assert session_open(None, OPEN) == (True, float("-inf"))
    assert datetime.fromtimestamp(OPEN, timezone.utc).weekday() == 2
    assert health.SILENCE_S == 600


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_140, "119 minutes"),
        (7_200, "2 hours"),
        (3e5, "3 days"),
    ],
)
def test_a_length_of_time_is_in_its_widest_unit(seconds: float, text: str) -> None:
    assert health.duration(seconds) == text
