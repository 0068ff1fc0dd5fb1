"""A rule that fires too often is muted, and that is told."""

from dataclasses import replace

import pytest

from tv_etl.alerts import cap
from tv_etl.alerts.cap import CAP, Mute
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.state import Generation, Registry

pytestmark = pytest.mark.pure

NOW = 1_790_000_000.0
KNOWN = Registry({"r": Generation(7, "", 0.0), "s": Generation(8, "", 0.0)}, 8)


def fired(number: int, rule: str = "r", kind: str = "above") -> Alert:
    return Alert(f"{rule} {number}", rule, "X:A", kind, 1.0, 1.0, None, NOW)  # type: ignore[arg-type]


def apply(
    alerts: list[Alert], mutes: dict[str, Mute] | None = None, at: float = NOW, known: Registry = KNOWN
) -> tuple[list[str], dict[str, Mute]]:
    """What is told, by its kind or as muted, and what is remembered."""
    told, after = cap.apply(alerts, mutes or {}, known, at)
    return ["kept back" if each.is_muted else each.kind for each in told], after


def test_so_many_in_so_short_a_time_are_told_and_no_more() -> None:
    told, mutes = apply([fired(number) for number in range(CAP)])
    assert told == ["above"] * CAP
    told, mutes = apply([fired(99), fired(100)], mutes, NOW + 179)
    assert told == ["muted", "kept back", "kept back"]
    assert mutes["r"] == Mute(7, (), NOW + 179 + 3_600, 2)


def test_what_was_longer_ago_does_not_count() -> None:
    _, mutes = apply([fired(number) for number in range(CAP)])
    assert apply([fired(99)], mutes, NOW + 180)[0] == ["above"]


def test_one_tick_may_bring_too_many() -> None:
    assert apply([fired(number) for number in range(CAP + 5)])[0] == ["above"] * CAP + ["muted"] + ["kept back"] * 5


def test_a_rule_mutes_no_other() -> None:
    _, mutes = apply([fired(number) for number in range(CAP + 1)])
    assert apply([fired(1, "s"), fired(2)], mutes, NOW + 30)[0] == ["above", "kept back"]


def test_the_end_of_a_mute_is_told_once_with_how_many_it_kept_back() -> None:
    _, mutes = apply([fired(number) for number in range(CAP + 3)])
    assert apply([], mutes, NOW + 3_599) == ([], mutes)
    told, after = cap.apply([fired(99)], mutes, KNOWN, NOW + 3_600)
    assert [each.kind for each in told] == ["unmuted", "above"]
    assert told[0].text == "rule r is told again; 3 of its alerts were kept back"
    assert after == {"r": Mute(7, (NOW + 3_600,))}


def test_a_mute_says_how_long_it_is() -> None:
    told, _ = cap.apply([fired(number) for number in range(CAP + 1)], {}, KNOWN, NOW)
    [muted] = [each for each in told if each.kind == "muted"]
    assert muted.rule == "r"
    assert muted.text == (
        "rule r has fired more than 15 times in 3 minutes: muted for 60 minutes, what it finds is kept and not told"
    )


def test_the_same_mute_is_the_same_alert_and_another_is_another() -> None:
    alerts = [fired(number) for number in range(CAP + 1)]
    ids = [
        next(each.event_id for each in cap.apply(alerts, {}, KNOWN, at)[0] if each.kind == "muted")
        for at in (NOW, NOW, NOW + 7_200)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_what_ends_an_alert_does_not_count_but_is_kept_back_with_the_rest() -> None:
    ends = [fired(number, kind="resolved") for number in range(40)]
    assert apply(ends)[0] == ["resolved"] * 40
    _, mutes = apply([fired(number) for number in range(CAP + 1)])
    assert apply(ends[:1], mutes)[0] == ["kept back"]


def test_states_of_symbols_are_never_muted() -> None:
    _, mutes = apply([fired(number) for number in range(CAP + 1)])
    assert apply([fired(1, kind="no_data"), fired(2, kind="check")] * 20, mutes)[0] == ["no_data", "check"] * 20


def test_a_rule_that_begins_anew_is_not_muted() -> None:
    _, mutes = apply([fired(number) for number in range(CAP + 1)])
    edited = Registry({"r": Generation(9, "", 0.0)}, 9)
    assert apply([fired(1)], mutes, known=edited) == (["above"], {"r": Mute(9, (NOW,))})
    assert apply([], mutes, known=Registry({}, 9)) == ([], {})


@pytest.mark.parametrize("ahead_s", [3_601.0, 1e9])
def test_a_clock_that_was_set_back_mutes_nobody_for_long(ahead_s: float) -> None:
    mutes = {"r": Mute(7, (NOW + ahead_s,), NOW + ahead_s + 3_600, 4)}
    assert apply([fired(1)], mutes) == (["unmuted", "above"], {"r": Mute(7, (NOW,))})


def test_what_somebody_has_muted_by_hand_does_not_count() -> None:
    by_hand = [replace(fired(number), is_muted=True) for number in range(CAP + 5)]
    assert apply(by_hand) == (["kept back"] * (CAP + 5), {})
    _, mutes = apply([fired(number) for number in range(CAP + 1)])
    assert apply(by_hand, mutes, NOW + 30)[1] == mutes
