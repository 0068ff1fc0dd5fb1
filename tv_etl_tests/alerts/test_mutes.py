"""Rules that are muted by hand: what is kept back, what is told when that is over, and what is not asked for."""

from typing import Any

import pytest

from tv_etl.alerts import mutes
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.mutes import HandMute
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import AlertState, ArmingKey, Registered, RuleState, SymbolState

pytestmark = pytest.mark.pure

NOW = 1_790_000_040.0 // 60 * 60
MUTE = HandMute("r", "", NOW, NOW + 7_200)


def rule(**fields: Any) -> AlertRule:
    return read_rule({"name": "r", "symbol": "X:A", "kind": "above", "level": 1.0} | fields)


VOLUME = read_rule({"name": "r", "symbol": "X:A", "kind": "bar_volume", "volume": 5.0, "interval": "5m"})


def fired(touched_at: float | None, at: float, symbol: str = "X:A", name: str = "r", kind: Any = "above") -> Alert:
    return Alert("0" * 32, name, symbol, kind, 1.0, 1.0, None if touched_at is None else int(touched_at), at)


def is_kept_back(alert: Alert, *known: HandMute, by: AlertRule | None = None) -> bool:
    rules = {"r": by or rule()}
    [marked], counts = mutes.apply([alert], known, rules, alert.detected_at)
    assert counts == ({known[0].key: 1} if marked.is_muted else {})
    return marked.is_muted


@pytest.mark.parametrize(
    ("touched_s", "found_s", "expected"),
    [
        (-60, -1, False),
        (-60, 0, True),  # found while it lasts
        (-60, 7_200, False),  # before it, and found after it
        (0, 7_200, True),  # within it, and found after it
        (7_199, 86_400, True),
        (7_200, 7_200, False),
        (None, 7_199, True),
        (None, 7_200, False),
    ],
)
def test_what_is_found_or_was_touched_while_it_lasts_is_kept_back(
    touched_s: int | None, found_s: int, expected: bool
) -> None:
    known = [MUTE] if found_s >= 0 else []
    assert is_kept_back(fired(None if touched_s is None else NOW + touched_s, NOW + found_s), *known) is expected


def test_a_volume_counts_when_it_is_found_since_only_its_bar_is_known() -> None:
    assert not is_kept_back(fired(NOW + 7_199, NOW + 7_300, kind="bar_volume"), MUTE, by=VOLUME)
    assert is_kept_back(fired(NOW + 60, NOW + 90, kind="bar_volume"), MUTE, by=VOLUME)


def test_one_symbol_of_a_rule_may_be_muted_alone() -> None:
    only = HandMute("r", "X:A", NOW, NOW + 60)
    assert is_kept_back(fired(NOW, NOW), only)
    assert not is_kept_back(fired(NOW, NOW, symbol="X:B"), only)
    assert not is_kept_back(fired(NOW, NOW, name="other"), only)


def test_what_becomes_of_symbols_is_never_muted() -> None:
    assert not is_kept_back(fired(NOW, NOW, kind="no_data"), MUTE)
    assert not is_kept_back(fired(NOW, NOW, kind="check"), MUTE)
    assert is_kept_back(fired(NOW, NOW, kind="resolved"), MUTE)


def test_what_another_keeps_back_is_not_counted_twice() -> None:
    marked = Alert("0" * 32, "r", "X:A", "above", 1.0, 1.0, int(NOW), NOW, is_muted=True)
    assert mutes.apply([marked], [MUTE], {"r": rule()}, NOW) == ([marked], {})


def test_a_market_that_is_replayed_has_times_of_its_own() -> None:
    years_ago = fired(NOW - 1e8 + 60, NOW - 1e8 + 7_290)
    [marked], _ = mutes.apply([years_ago], [MUTE], {"r": rule()}, NOW + 7_290)
    assert marked.is_muted
    [told], _ = mutes.apply([fired(NOW - 1e8 + 7_260, NOW - 1e8 + 7_290)], [MUTE], {"r": rule()}, NOW + 7_290)
    assert not told.is_muted


def test_the_end_is_one_line_with_how_many_were_kept_back_and_none_where_none_were() -> None:
    kept = MUTE._replace(kept_back=2)
    assert mutes.end([kept], {}, NOW + 7_199) == ([], [])
    [line], ended = mutes.end([kept], {kept.key: 1}, NOW + 7_200)
    assert (line.kind, line.rule, line.symbol) == ("unmuted", "r", "")
    assert line.text == "rule r, muted by hand, is told again; 3 of its alerts were kept back"
    assert ended == [kept]
    assert mutes.end([MUTE], {}, NOW + 7_200) == ([], [MUTE])
    assert mutes.end([kept._replace(is_told=True)], {}, NOW + 7_200) == ([], [])
    [of_one], _ = mutes.end([kept._replace(symbol="X:A")], {}, NOW + 7_200)
    assert of_one.text == "rule r for X:A, muted by hand, is told again; 2 of its alerts were kept back"


def test_a_mute_that_goes_on_as_another_has_no_end_yet() -> None:
    first, second = MUTE._replace(until=NOW + 60, kept_back=2), MUTE._replace(since=NOW + 60, kept_back=3)
    assert mutes.end([first, second], {}, NOW + 90) == ([], [])
    [line], ended = mutes.end([first, second], {}, NOW + 7_200)
    assert "; 5 of its alerts" in line.text and ended == [first, second]


def test_a_clock_that_was_far_ahead_mutes_nobody() -> None:
    assert not mutes.is_muted([HandMute("r", "", NOW + 1e8, NOW + 2e8)], "r", "X:A", NOW)
    assert mutes.is_muted([HandMute("r", "", NOW + 60, NOW + 2e8)], "r", "X:A", NOW)  # that of another host


def is_awake(
    arming: RuleState | None, watermark: float, *known: HandMute, at: float, by: AlertRule | None = None
) -> bool:
    registered = Registered(by or rule(), 7)
    state = AlertState(
        {} if arming is None else {ArmingKey("r", 7, "X:A"): arming}, {"X:A": SymbolState(int(watermark))}
    )
    return list(mutes.awake([registered], state, known, at, at)) == [registered]


def test_nothing_is_asked_for_a_muted_rule_once_all_before_its_mute_is_judged() -> None:
    known = RuleState(0)
    assert is_awake(known, NOW, at=NOW + 90)
    assert is_awake(known, NOW - 60, MUTE, at=NOW + 90)
    assert not is_awake(known, NOW, MUTE, at=NOW + 90)
    assert is_awake(known, NOW, MUTE, at=NOW + 7_200)
    assert is_awake(known, NOW, HandMute("r", "X:B", NOW, NOW + 60), at=NOW + 30)


def test_a_muted_rule_is_asked_for_once_a_day_lest_the_server_forget() -> None:
    long = HandMute("r", "", NOW, NOW + 9 * 86_400)
    assert not is_awake(RuleState(0), NOW, long, at=NOW + 86_400)
    assert is_awake(RuleState(0), NOW, long, at=NOW + 86_401)


def test_a_rule_that_has_not_begun_or_has_no_moments_is_judged_as_it_comes() -> None:
    assert is_awake(None, NOW, MUTE, at=NOW + 90)
    assert is_awake(RuleState(0, seen=int(NOW)), NOW, MUTE, at=NOW + 90, by=VOLUME)
    hourly = rule(on="close", interval="1h")
    assert is_awake(RuleState(0, seen=int(NOW) - 60), NOW, MUTE, at=NOW + 90, by=hourly)
    assert not is_awake(RuleState(0, seen=int(NOW)), NOW, MUTE, at=NOW + 90, by=hourly)


def test_a_mute_is_of_whole_minutes() -> None:
    assert mutes.span(NOW + 10, 60.0) == (NOW, NOW + 120)
    assert mutes.span(NOW, 60.0) == (NOW, NOW + 60)
