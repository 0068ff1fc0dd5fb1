"""Mutes and acknowledgements in the store, beside the ticks that write to it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tv_etl.alerts.by_hand import (
    MOST_MUTED_S,
    Ack,
    ByHandError,
    UnknownEventError,
    UnknownRuleError,
    UnknownSymbolError,
)
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.mutes import REMEMBERED_S, HandMute
from tv_etl.alerts.reminders import Reminder
from tv_etl.alerts.rules import read_rule
from tv_etl.alerts.state import AlertState
from tv_etl.alerts.store import KEEP_S, AlertStore, Handled
from tv_etl.alerts.stored_events import KEPT

NOW = 1_790_000_040.0 // 60 * 60


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    """One that knows two rules."""
    one = AlertStore(tmp_path / "alerts.sqlite")
    rules = [
        read_rule({"name": "btc_high", "symbol": "X:A", "kind": "above", "level": 1}),
        read_rule({"name": "crash", "symbols": ["X:A", "X:B"], "kind": "below", "level": 1}),
    ]
    memory = one.load()
    registry = memory.registry.register(rules, NOW)
    one.commit(memory, rules, registry, AlertState(), [], [], NOW, {}, {})
    return one


def tick(store: AlertStore, *alerts: Alert, now: float = NOW, handled: Handled | None = None) -> None:
    memory = store.load()
    store.commit(memory, [], memory.registry, memory.state, alerts, ["t"], now, {}, {}, memory.mutes, handled)


def alert(event_id: str, **fields: Any) -> Alert:
    return replace(Alert(event_id, "btc_high", "X:A", "above", 1.0, 2.0, int(NOW), NOW), **fields)


# --- mutes


def test_a_mute_is_read_back_whole_however_long_it_is(store: AlertStore) -> None:
    assert store.mute("btc_high", "", 3 * 86_400, NOW + 10) == HandMute("btc_high", "", NOW, NOW + 3 * 86_400 + 60)
    store.mute("crash", "X:B", 1_800, NOW)
    assert store.load().hand_mutes == (
        HandMute("btc_high", "", NOW, NOW + 3 * 86_400 + 60),
        HandMute("crash", "X:B", NOW, NOW + 1_800),
    )


def test_a_mute_that_lasts_is_made_longer_or_shorter(store: AlertStore) -> None:
    store.mute("crash", "", 7_200, NOW)
    assert store.mute("crash", "", 600, NOW + 60) == HandMute("crash", "", NOW, NOW + 660)
    assert store.hand_mutes() == [HandMute("crash", "", NOW, NOW + 660)]
    store.mute("crash", "", 600, NOW + 660)  # over by then: it is another
    assert [each.since for each in store.hand_mutes()] == [NOW, NOW + 660]


def test_unmuting_ends_all_mutes_of_the_rule_or_that_of_one_symbol(store: AlertStore) -> None:
    for symbol in ("X:A", "X:B"):
        store.mute("crash", symbol, 7_200, NOW)
    assert [each.symbol for each in store.unmute("crash", "X:B", NOW + 130)] == ["X:B"]
    assert [each.is_on(NOW + 130) for each in store.hand_mutes()] == [True, False]
    assert [each.symbol for each in store.unmute("crash", "", NOW + 130)] == ["X:A"]
    assert store.unmute("crash", "", NOW + 130) == []
    store.mute("crash", "", 7_200, NOW + 600)
    with pytest.raises(ByHandError, match="rule crash is muted for all its symbols: unmute the rule"):
        store.unmute("crash", "X:A", NOW + 600)


def test_an_unknown_rule_is_answered_with_those_that_are_called_alike(store: AlertStore) -> None:
    with pytest.raises(UnknownRuleError, match=r"no rule is called 'btc_hihg'; did you mean btc_high\?"):
        store.mute("btc_hihg", "", 60, NOW)
    with pytest.raises(UnknownRuleError, match="no rule is called 'zzz'; there are btc_high, crash"):
        store.unmute("zzz", "", NOW)
    with pytest.raises(UnknownSymbolError, match="rule crash does not watch 'X:C'; it watches X:A, X:B"):
        store.mute("crash", "X:C", 60, NOW)
    with pytest.raises(UnknownSymbolError, match="rule btc_high does not watch 'Y:Z'; it watches X:A"):
        store.mute("btc_high", "Y:Z", 60, NOW)
    assert store.hand_mutes() == []


def test_a_rule_that_is_gone_can_still_be_unmuted(store: AlertStore) -> None:
    store.mute("crash", "", 7_200, NOW)
    memory = store.load()
    store.commit(memory, [], memory.registry.register([], NOW), AlertState(), [], [], NOW, {}, {})
    assert len(store.unmute("crash", "", NOW + 60)) == 1
    with pytest.raises(UnknownRuleError, match="none was judged yet"):
        store.mute("crash", "", 60, NOW)


@pytest.mark.parametrize("seconds", [0, -1, MOST_MUTED_S + 1])
def test_a_time_that_is_none_is_refused(store: AlertStore, seconds: float) -> None:
    with pytest.raises(ValueError, match="at most 366d"):
        store.mute("crash", "", seconds, NOW)


def test_a_tick_and_a_person_do_not_undo_what_the_other_does(store: AlertStore) -> None:
    mute = store.mute("crash", "", 600, NOW)
    memory = store.load()
    store.mute("crash", "", 7_200, NOW + 60)
    handled = Handled({mute.key: 3}, ended=[mute])
    store.commit(memory, [], memory.registry, memory.state, [], [], NOW, {}, {}, memory.mutes, handled)
    assert store.hand_mutes() == [HandMute("crash", "", NOW, NOW + 7_260, kept_back=3)]


def test_a_mute_that_was_told_and_begins_again_within_a_minute_counts_anew(store: AlertStore) -> None:
    mute = store.mute("crash", "", 600, NOW)
    store.unmute("crash", "", NOW + 10)
    tick(store, handled=Handled({mute.key: 3}, ended=store.hand_mutes()))
    assert store.mute("crash", "", 600, NOW + 20).kept_back == 0
    assert store.hand_mutes() == [HandMute("crash", "", NOW, NOW + 660)]


def test_mutes_that_are_over_are_forgotten_once_nothing_of_them_can_be_found(store: AlertStore) -> None:
    store.mute("crash", "", 600, NOW)
    store.prune(NOW + 600 + REMEMBERED_S)
    assert len(store.hand_mutes()) == 1
    store.prune(NOW + 601 + REMEMBERED_S)
    assert store.hand_mutes() == []


# --- acknowledgements


def test_the_beginning_of_an_id_is_enough_if_it_is_the_only_one(store: AlertStore) -> None:
    tick(store, alert("abcdef" + "0" * 26), alert("abcdef" + "1" * 26), alert("fedcba" + "0" * 26))
    with pytest.raises(UnknownEventError, match="'abcde' is too short: write 6 characters of an alert's id or more"):
        store.acknowledge("abcde", NOW)
    with pytest.raises(UnknownEventError, match=f"begin with 'abcdef': abcdef{'0' * 26}, abcdef{'1' * 26}$"):
        store.acknowledge("abcdef", NOW)
    with pytest.raises(UnknownEventError, match="no alert has an id that begins with 'ab%def'"):
        store.acknowledge("ab%def", NOW)
    found = store.acknowledge("fedcba", NOW + 5)
    assert (found.event_id, found.at, found.is_new) == ("fedcba" + "0" * 26, NOW + 5, True)
    again = store.acknowledge("fedcba00", NOW + 9)
    assert (again.at, again.is_new) == (NOW + 5, False)
    assert store.load().acks == {found.event_id: Ack(NOW + 5)}
    assert store.newest(9)[-1].acked_at == NOW + 5


def test_a_reminder_stands_for_what_it_reminds_of(store: AlertStore) -> None:
    first = alert("a" * 32)
    tick(store, first)
    tick(store, alert("b" * 32, kind="reminder", incident=first.event_id))
    assert store.acknowledge("b" * 8, NOW).event_id == first.event_id


def test_what_is_over_cannot_be_acknowledged(store: AlertStore) -> None:
    tick(store, alert("a" * 32))
    tick(store, alert("b" * 32, kind="resolved", ends="a" * 32))
    for prefix in ("aaaaaa", "bbbbbb"):
        with pytest.raises(ByHandError, match=f"{prefix}.* is over: X:A"):
            store.acknowledge(prefix, NOW)
    # A symbol's state has one incident, time and again.
    tick(store, alert("c" * 32, kind="no_data", incident="i"))
    tick(store, alert("d" * 32, kind="ok", incident="i", status="resolved"))
    tick(store, alert("e" * 32, kind="no_data", incident="i"))
    with pytest.raises(ByHandError, match="is over"):
        store.acknowledge("cccccc", NOW)
    assert store.acknowledge("eeeeee", NOW).is_new


def test_an_acknowledgement_is_kept_with_its_alert_and_forgotten_with_it(store: AlertStore) -> None:
    tick(store, alert("a" * 32))
    store.mark_sent(store.pending(NOW), NOW)
    store.mark(KEPT, ["a" * 32], NOW + 1)
    assert store.to_keep(9) == []
    store.acknowledge("aaaaaa", NOW + 2)
    assert store.to_keep(9) == []  # a tick has not seen it yet
    tick(store, now=NOW + 30, handled=Handled(acks_told=["a" * 32], reminders={"a" * 32: Reminder(NOW, 2)}))
    assert [each.acked_at for each in store.to_keep(9)] == [NOW + 2]
    assert store.load().reminders == {"a" * 32: Reminder(NOW, 2)}
    assert store.prune(NOW + 2 * KEEP_S) == 0  # people are reminded of it
    assert len(store.load().acks) == 1
    tick(store, now=NOW + 60)
    assert store.prune(NOW + 2 * KEEP_S) == 1
    assert (store.load().acks, store.load().reminders) == ({}, {})
