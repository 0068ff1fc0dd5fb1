"""The watch as a whole: what is told of being blind and of targets, once when it begins and once when it ends."""

from typing import Any

import pytest

from tv_etl.alerts.deliveries import TargetHealth
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.state import AlertState, Registry
from tv_etl.alerts.store import Memory
from tv_etl.alerts.targets.webhook import UnusableTarget, Webhook
from tv_etl.alerts.watch import Target, flags, target_alerts, told_targets, watch_alerts

NOW, SILENCE_S = 1_000_000.0, 600.0
ONE = Webhook(url="http://127.0.0.1/one", allow_private=True, name="ONE")  # type: ignore[arg-type]
GONE = UnusableTarget("json GONE", "GONE", "environment variable GONE is not set")


def memory(**changes: Any) -> Memory:
    fields: dict[str, Any] = {"flags": {}, "targets": {}, "untold": {}} | changes
    return Memory(7, Registry(), AlertState(), **fields)


def blind_ticks(*reasons: str, every_s: float = 300.0) -> list[list[tuple[str, str]]]:
    """What is told in ticks one after the other that were blind for these reasons, or were not."""
    kept, told = dict[str, str](), list[list[tuple[str, str]]]()
    for number, blind in enumerate(reasons):
        now = NOW + number * every_s
        told.append([(each.kind, each.text) for each in watch_alerts(memory(flags=kept), blind, now, SILENCE_S)])
        kept = flags(memory(flags=kept), blind, now, SILENCE_S)
    return told


def test_being_blind_is_told_once_it_has_lasted_and_once_it_is_over() -> None:
    blind = ("blind", "no rule has been judged for 10 minutes: no connection")
    seeing = ("seeing", "the rules are judged again, after 20 minutes")
    assert blind_ticks("a", "b", "no connection", "c", "", "") == [[], [], [blind], [], [seeing], []]


def test_being_blind_for_less_is_told_to_nobody() -> None:
    assert blind_ticks("a", "b", "", "a", "b", "") == [[]] * 6
    assert blind_ticks("a", "a", every_s=599.0) == [[], []]
    assert blind_ticks("a", "a", every_s=600.0)[1] != []


def test_each_time_of_being_blind_is_another_alert() -> None:
    ids = [
        each.event_id
        for start in (NOW, NOW + 1)
        for each in watch_alerts(memory(flags={"blind_since": str(start - 600)}), "x", start, SILENCE_S)
    ]
    assert len(set(ids)) == len(ids) == 2


def target_ticks(
    known: TargetHealth, target: Target = ONE, now: float = NOW, **changes: Any
) -> tuple[list[Alert], TargetHealth]:
    before = memory(targets={target.key: known}, **changes)
    alerts = target_alerts(before, [target], now, SILENCE_S)
    return alerts, told_targets(before, [target], now, SILENCE_S)[target.key]


@pytest.mark.parametrize(("for_s", "is_told"), [(0.0, False), (599.0, False), (600.0, True), (6_000.0, True)])
def test_a_target_that_fails_is_told_to_the_others_once_it_has_lasted(for_s: float, is_told: bool) -> None:
    failing = TargetHealth(3, 0.0, NOW - for_s, "ONE: HTTP 500")
    alerts, after = target_ticks(failing)
    assert after == failing._replace(is_told=is_told)
    assert [each.kind for each in alerts] == ["target"] * is_told
    assert all(each.not_to == ONE.key for each in alerts)
    assert target_ticks(after)[0] == []


def test_a_target_that_can_be_reached_again_is_told_only_if_others_were_told_that_it_could_not() -> None:
    [alert], after = target_ticks(TargetHealth(is_told=True))
    assert (alert.kind, alert.text) == ("target_ok", "the target ONE (127.0.0.1) can be reached again")
    assert after == TargetHealth()
    assert target_ticks(TargetHealth()) == ([], TargetHealth())


def test_a_target_without_an_address_is_told_at_once_and_so_is_one_that_has_one_again() -> None:
    [alert], after = target_ticks(TargetHealth(), GONE)
    assert alert.text == "the target GONE cannot be reached: environment variable GONE is not set"
    assert after == TargetHealth(0, 0.0, NOW, GONE.reason, True)
    again, kept = target_ticks(after, GONE, NOW + 30)
    assert (again, kept) == ([], after)
    [alert], after = target_ticks(kept, ONE, NOW + 60)
    assert (alert.kind, after) == ("target_ok", TargetHealth())


def test_what_was_given_up_is_told_with_how_many_and_why() -> None:
    given_up = {ONE.key: (1_200, "ONE: HTTP 410"), "json OLD": (1, "the target is no longer configured")}
    alerts, _ = target_ticks(TargetHealth(), untold=given_up)
    assert [(each.kind, each.text, each.not_to) for each in alerts] == [
        ("dead_letters", "1,200 alerts for the target ONE (127.0.0.1) were given up: ONE: HTTP 410", ONE.key),
        (
            "dead_letters",
            "1 alerts for the target json OLD were given up: the target is no longer configured",
            "json OLD",
        ),
    ]
