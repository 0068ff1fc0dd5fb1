"""One symbol in a tick: what is asked of it, what its answers say, and what is remembered of how to ask it."""

from dataclasses import replace
from typing import Any

import pytest

from tv_etl.alerts.inputs import AlertInputs, Ask, Fault, Quote
from tv_etl.alerts.look import FIRST_RETRY_S, LAST_RETRY_S, Look, ask_of, reach_of, tries_minutes
from tv_etl.alerts.passes import Minutes
from tv_etl.alerts.state import AlertState, Close, Registered, RuleState, SymbolState
from tv_etl.tradingview.errors import NoBarsError, SeriesError, SymbolError, TradingViewError
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory, SymbolInfo
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.alerts.test_fold import make_rule

NOW = 1_795_014_030.0  # a Wednesday, 15:00:30 in London: New York has been open for half an hour
MINUTE = int(NOW) // 60 * 60
NEW_YORK = {"session": "0930-1600", "timezone": "America/New_York"}
RULE = Registered(make_rule(symbol="X:A"), 1)
KNOWN = SymbolState(MINUTE - 180, (Close(MINUTE - 300, 10.0), Close(MINUTE - 180, 10.0)))


def quote(**fields: Any) -> Quote:
    return QuoteSymbolData.from_fields("X:A", {"lp": 10.0, "lp_time": NOW - 5, **fields})


def minutes(*times: float, interval: str = "1m", **changes: Any) -> SeriesHistory:
    rows = [[time, 10.0, 11.0, 9.0, 10.0, 1.0] for time in times]
    request = HistoryRequest("X:A", interval, bars_count=12)
    return replace(SeriesHistory(request, SymbolInfo(NEW_YORK), rows, "complete", None, "streaming", 1, 0), **changes)


def look_at(
    said: Quote | None = None, came: Minutes | None = None, known: SymbolState = KNOWN, ask: Ask | None = None
) -> Look:
    inputs = AlertInputs(NOW, {} if said is None else {"X:A": said}, {} if came is None else {"X:A": came})
    return Look.of("X:A", known, inputs, ask or Ask(MINUTE - 300), True, NOW)


# --- what is asked


def asked(symbol: SymbolState, arming: RuleState | None = None) -> Ask:
    armings = {} if arming is None else {RULE.key: arming}
    return ask_of(AlertState(armings, {"X:A": symbol}), "X:A", [RULE], NOW)


def test_a_symbol_is_asked_from_its_oldest_known_close_on() -> None:
    assert asked(KNOWN) == Ask(MINUTE - 300)
    assert asked(replace(KNOWN, closes=())) == Ask(MINUTE - 180)
    assert asked(SymbolState()) == Ask(None)


def test_rules_that_began_by_a_quote_miss_no_minute_from_there_on() -> None:
    """Nor one that was young when they began: its close may arm them."""
    assert asked(SymbolState(), RuleState(MINUTE - 600)).since == MINUTE - 720


@pytest.mark.parametrize("served", ["1d", ""])
def test_a_symbol_without_minutes_is_asked_for_days_and_once_a_day_for_minutes(served: str) -> None:
    known = replace(KNOWN, served=served, minutes_asked_at=NOW - 86_399)
    assert not tries_minutes(known, NOW) and asked(known) == Ask(MINUTE - 300, "1d")
    again = replace(known, minutes_asked_at=NOW - 86_400)
    assert tries_minutes(again, NOW) and asked(again) == Ask(None, "1m")
    assert tries_minutes(replace(known, minutes_asked_at=NOW + 60), NOW)  # the clock was set back
    assert tries_minutes(replace(known, served="1m"), NOW)


@pytest.mark.parametrize(
    ("retry_at", "is_due"), [(0.0, True), (NOW, True), (NOW + 1, False), (NOW + 300, False), (NOW + 301, True)]
)
def test_a_symbol_that_failed_is_due_at_its_time_or_if_that_cannot_be(retry_at: float, is_due: bool) -> None:
    known = replace(KNOWN, quote_fault="broke", failures=2, minutes_missing_since=NOW, retry_at=retry_at)
    assert asked(known) == Ask(MINUTE - 300, "1m", "broke", True, is_due)
    assert not asked(replace(known, failures=0)).minutes_failed
    assert not asked(replace(known, minutes_missing_since=None)).minutes_failed


# --- what came


def test_bars_and_a_quote_are_what_the_fold_judges() -> None:
    seen = look_at(quote(), minutes(MINUTE - 60, MINUTE))
    assert [bar.timestamp for bar in seen.bars] == [MINUTE - 60, MINUTE]
    assert seen.quote is not None and (seen.quote.price, seen.quote.time_s) == (10.0, NOW - 5)
    assert (seen.problems, seen.served, seen.was_heard) == ([], "1m", True)
    assert seen.facts.answered and seen.facts.has_price and seen.facts.minutes_came
    assert seen.facts.traded_at == NOW - 5


def test_days_are_bars_of_a_day() -> None:
    seen = look_at(quote(), minutes(MINUTE - 86_400, interval="1d"))
    assert (seen.bars[0].width_s, seen.served) == (86_400, "1d")
    assert seen.problems == ["X:A: it has no one-minute bars; judged by its quotes and its daily closes"]


def test_the_newest_bar_tells_of_a_trade_where_the_quote_does_not() -> None:
    assert look_at(None, minutes(MINUTE - 120, MINUTE - 60)).facts.traded_at == MINUTE - 60
    assert look_at(quote(lp_time=None), minutes(MINUTE - 60)).facts.traded_at == MINUTE - 60
    assert look_at(quote(lp_time=None)).facts.traded_at is None


def test_nothing_at_all_is_not_heard() -> None:
    assert not look_at().was_heard
    assert not look_at(TradingViewError("a"), NoBarsError("b")).was_heard
    assert look_at(SymbolError("X:A", "permission_denied"), NoBarsError("b")).was_heard
    assert look_at(TradingViewError("a"), SymbolError("X:A", "no_such_symbol")).was_heard


@pytest.mark.parametrize(
    ("said", "came", "unknown", "refusal"),
    [
        (SymbolError("X:A", "no_such_symbol"), SymbolError("X:A", "invalid symbol"), "no_such_symbol", ""),
        (TradingViewError("late"), SymbolError("X:A", "invalid symbol"), "invalid symbol", ""),
        (quote(), SymbolError("X:A", "invalid symbol"), "", ""),
        (SymbolError("X:A", "permission_denied"), NoBarsError("late"), "", "permission_denied"),
        (SymbolError("X:A", "permission_denied"), minutes(MINUTE), "", ""),
        (SymbolError("X:A", "internal_error"), NoBarsError("late"), "", ""),
        (quote(), SeriesError("X:A", "1m", "no"), "", "its minutes: no"),
        (quote(), SeriesError("X:A", "1m", "soon", retryable=True), "", ""),
    ],
)
def test_what_the_server_has_said_of_a_symbol(said: Quote, came: Minutes, unknown: str, refusal: str) -> None:
    facts = look_at(said, came).facts
    assert (facts.unknown, facts.refusal) == (unknown, refusal)


def test_minutes_that_matter_and_do_not_come_have_their_reason() -> None:
    assert look_at(quote(), NoBarsError("no answer in time")).facts.minutes_error == "no answer in time"
    assert look_at(quote()).facts.minutes_error == "not asked again yet"
    assert look_at(quote(), minutes(MINUTE)).facts.minutes_error == ""
    assert look_at(quote(), NoBarsError("none", is_empty_answer=True)).facts.minutes_error == ""
    assert look_at(quote(), SymbolError("X:A", "invalid symbol")).facts.minutes_error == ""
    inputs = AlertInputs(NOW, {"X:A": quote()})
    assert Look.of("X:A", KNOWN, inputs, Ask(), False, NOW).facts.minutes_error == ""


def test_other_bars_that_do_not_come_have_their_reason_until_they_are_asked_for_again() -> None:
    """They broke the connection of the others in each tick."""
    late: dict[tuple[str, str], Minutes] = {("X:A", "1h"): NoBarsError("X:A 1h: no answer in time")}

    def error(ask: Ask, faults: dict[str, Fault]) -> str:
        inputs = AlertInputs(NOW, {"X:A": quote()}, faults=faults, series=late)
        return Look.of("X:A", KNOWN, inputs, ask, False, NOW).facts.minutes_error

    assert error(Ask(MINUTE - 300), {"X:A": "minutes"}) == "X:A 1h: no answer in time"
    assert error(Ask(MINUTE - 300), {}) == error(Ask(MINUTE - 300), {"X:A": "late"}) == ""
    assert error(Ask(minutes_failed=True, is_due=False), {}) == "not asked again yet"
    assert error(Ask(minutes_failed=True), {}) == ""


def test_what_cannot_be_read_is_a_problem_of_its_symbol() -> None:
    broken = minutes(MINUTE, rows=[[MINUTE]])
    assert look_at(quote(), broken).problems == ["X:A: unexpected IndexError: list index out of range"]


# --- instruments without minutes


def test_a_quote_stands_in_for_the_bars_of_an_instrument_that_has_none() -> None:
    seen = look_at(quote(), NoBarsError("none", is_empty_answer=True), SymbolState(), Ask())
    assert [(bar.timestamp, bar.close) for bar in seen.bars] == [(MINUTE - 120, 10.0)]
    assert (seen.served, seen.problems) == ("", ["X:A: it has no one-minute bars; judged by its quotes alone"])
    # Bars that are only not there from the watermark on say nothing of the instrument.
    assert look_at(quote(), NoBarsError("none", is_empty_answer=True)).served == "1m"


def test_an_instrument_that_had_no_bars_is_judged_by_them_once_they_come() -> None:
    without = replace(KNOWN, served="")
    assert look_at(quote(), None, without).served == ""
    assert look_at(quote(), minutes(MINUTE), without).served == "1m"


# --- bars that begin too late


def test_bars_that_begin_after_the_last_known_one_are_told_with_both() -> None:
    late = minutes(MINUTE - 60, MINUTE, reach="limited")
    assert look_at(quote(), late).facts.missed == (
        "the server's bars begin at 2026-11-18 14:59 UTC, the last one before is of 2026-11-18 14:57 UTC"
    )
    assert look_at(quote(), minutes(MINUTE - 120, MINUTE, reach="limited")).facts.missed == ""
    assert look_at(quote(), minutes(MINUTE - 60, MINUTE)).facts.missed == ""
    assert look_at(quote(), late, SymbolState()).facts.missed == ""


# --- what is learned


def learned(known: SymbolState, said: Quote | None, came: Minutes | None, fault: Fault | None = None) -> SymbolState:
    inputs = AlertInputs(
        NOW,
        {} if said is None else {"X:A": said},
        {} if came is None else {"X:A": came},
        faults={} if fault is None else {"X:A": fault},
    )
    return Look.of("X:A", known, inputs, Ask(MINUTE - 300), True, NOW).learned(known, inputs, NOW)


def test_a_symbol_at_fault_is_left_alone_for_longer_each_time() -> None:
    known, waits = KNOWN, []
    for _ in range(7):
        known = learned(known, quote(), NoBarsError("late"), "minutes")
        waits.append(known.retry_at - NOW)
    assert waits == [FIRST_RETRY_S * 2**number for number in range(5)] + [LAST_RETRY_S] * 2
    assert (known.failures, known.quote_fault) == (7, "")


@pytest.mark.parametrize("fault", ["late", "broke"])
def test_the_fault_of_a_quote_is_kept_until_it_comes(fault: Fault) -> None:
    known = learned(KNOWN, NoBarsError("late"), minutes(MINUTE), fault)
    assert (known.quote_fault, known.failures) == (fault, 1)
    waiting = learned(known, None, minutes(MINUTE))
    assert (waiting.quote_fault, waiting.failures, waiting.retry_at) == (fault, 1, known.retry_at)
    well = learned(known, quote(), minutes(MINUTE))
    assert (well.quote_fault, well.failures, well.retry_at) == ("", 0, 0.0)


def test_a_symbol_whose_minutes_are_still_missing_has_not_recovered() -> None:
    known = replace(KNOWN, failures=2, retry_at=NOW + 60)
    assert learned(known, quote(), None).failures == 2
    assert learned(known, quote(), minutes(MINUTE)).failures == 0
    inputs = AlertInputs(NOW, {"X:A": quote()})
    unneeded = Look.of("X:A", known, inputs, Ask(), False, NOW)
    assert unneeded.learned(known, inputs, NOW).failures == 0


def test_hours_and_the_longest_pause_are_those_of_the_answer() -> None:
    well = learned(KNOWN, quote(), minutes(MINUTE - 600, MINUTE - 180, MINUTE - 120))
    assert well.hours == TradingHours.of_symbol(NEW_YORK).to_json()
    assert well.pause_s == 360.0
    kept = learned(well, quote(), minutes(MINUTE - 60, MINUTE))
    assert (kept.hours, kept.pause_s) == (well.hours, 360.0)


def test_a_night_is_no_pause() -> None:
    opened = MINUTE - 1_800
    assert learned(KNOWN, quote(), minutes(opened - 66_600 - 60, opened, opened + 120)).pause_s == 60.0


def test_hours_that_cannot_be_read_leave_those_that_are_known() -> None:
    known = replace(KNOWN, hours="{}", pause_s=5.0)
    odd = minutes(MINUTE - 600, MINUTE - 180, MINUTE, info=SymbolInfo({"session": "?"}))
    assert learned(known, quote(), odd).hours == "{}"


def test_when_minutes_were_last_tried_is_noted_where_there_are_none() -> None:
    daily = minutes(MINUTE - 86_400, interval="1d")
    assert learned(KNOWN, quote(), daily).minutes_asked_at == NOW
    known = replace(KNOWN, served="1d", minutes_asked_at=NOW - 60)
    assert learned(known, quote(), daily).minutes_asked_at == NOW - 60
    assert learned(KNOWN, quote(), minutes(MINUTE)).minutes_asked_at == 0.0


# --- how far prices have been


HOURS = TradingHours.of_symbol(NEW_YORK)


def test_a_quote_tells_between_which_prices_its_day_has_been() -> None:
    said = quote(high_price=12, low_price=9.5)
    reach = reach_of(said, HOURS, NOW)
    assert reach is not None and (reach.since, reach.low, reach.high) == (MINUTE - 1_800, 9.5, 12.0)
    last = reach_of(quote(lp=13.0, high_price=12.0, low_price=9.5), HOURS, NOW)
    assert last is not None and last.high == 13.0


@pytest.mark.parametrize(
    "said",
    [
        None,
        TradingViewError("late"),
        quote(high_price=12.0),
        quote(low_price=9.0),
        quote(high_price="12", low_price=9.0),
        quote(high_price=12.0, low_price=9.0, lp_time=None),
    ],
)
def test_a_quote_that_does_not_say_has_no_reach(said: Quote | None) -> None:
    assert reach_of(said, HOURS, NOW) is None
    assert reach_of(quote(high_price=12.0, low_price=9.0), None, NOW) is None
