"""What is told of troubles: what belongs together, in which words, and to whom."""

import pytest

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.messages import MAX_LINE, line
from tv_etl.alerts.notices import Routing, notices
from tv_etl.alerts.targets.slack import SlackTarget
from tv_etl.alerts.targets.target import ReadyTarget, Secrets
from tv_etl.alerts.troubles import TOPICS, Sighting, Subject, Topic, fold

pytestmark = pytest.mark.pure

NOW = 1_790_000_000.0


def seen(name: str, is_bad: bool, at: float, reason: str = "", **more: str) -> Sighting:
    return Sighting(Subject("runs", "bars", name), is_bad, at, reason, group="bars", page="runs/r1", **more)


def told(sightings: list[Sighting], routing: Routing | None = None) -> list[Alert]:
    return notices(fold({}, 0, sightings).turns, routing or Routing(), NOW)


def test_many_series_are_one_alert_with_the_first_few_and_the_count() -> None:
    [alert] = told([seen(f"1d|X:S{n}", True, 1, "TimeoutError: no answer") for n in range(200)])
    assert alert.text == ("bars: 200 series failed: 1d|X:S0, 1d|X:S1, 1d|X:S2 and 197 more: TimeoutError: no answer")
    assert (alert.kind, alert.symbol, alert.groups, alert.status) == ("run_failed", "", ("bars",), "firing")


def test_other_reasons_are_told_with_their_series_on_a_line_that_is_not_cut() -> None:
    [alert] = told([seen(f"1d|X:{n * 'S'}", True, 1, f"Error{chr(65 + n)}: {'word ' * 99}") for n in range(9, 69)])
    assert len(line(alert.event)) <= MAX_LINE and "… (" in alert.text and alert.text.endswith("and 57 more")


def test_one_series_is_told_by_its_symbol() -> None:
    [alert] = told([seen("1d|NASDAQ:AAPL", True, 1, "SymbolError: gone")])
    assert (alert.text, alert.symbol) == ("bars: 1d|NASDAQ:AAPL failed: SymbolError: gone", "NASDAQ:AAPL")


def test_entries_and_exits_are_told_apart_and_in_order() -> None:
    first, *rest = told(
        [seen("1d|X:A", True, 1, "x"), seen("1d|X:B", True, 1, "x"), seen("1d|X:A", False, 2), seen("1d|X:B", False, 3)]
    )
    [over] = rest
    assert (first.text, over.text) == (
        "bars: 2 series failed: 1d|X:A, 1d|X:B: x",
        "bars: 2 series succeeded again: 1d|X:A, 1d|X:B",
    )
    assert (over.status, over.incident) == ("resolved", first.incident) and over.event_id != first.event_id


def test_the_end_of_some_is_no_end_of_the_incident() -> None:
    _, over = told([seen("1d|X:A", True, 1, "x"), seen("1d|X:B", True, 1, "x"), seen("1d|X:A", False, 2)])
    assert (over.text, over.status) == ("bars: 1d|X:A succeeded again; 1 is not", "firing")


def test_another_trouble_of_the_same_series_is_another_alert() -> None:
    found = told([seen("1d|X:A", bad, at, "x" if bad else "") for at, bad in enumerate([True, False, True, False])])
    assert [each.kind for each in found] == ["run_failed", "run_ok", "run_failed", "run_ok"]
    assert len({each.event_id for each in found}) == 4 and len({each.incident for each in found}) == 2


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_has_its_words_its_severity_and_its_page(topic: Topic) -> None:
    routing = Routing({topic: "critical"}, ui="https://dagster.example/")
    subject = Subject(topic, "a scope")
    sightings = [Sighting(subject, True, 1, "why", page="a/page"), Sighting(subject, False, 2)]
    begins, ends = told(sightings, routing)
    assert begins.text.startswith("a scope ") and begins.text.endswith(": why") and "why" not in ends.text
    assert begins.severity == ends.severity == "critical"
    assert begins.link == ends.link == "https://dagster.example/a/page"
    assert (begins.event.is_of_watch, ends.event.is_of_watch) == (False, False)
    assert told(sightings)[0].link == "", "where the address is not known"


def test_it_goes_to_those_that_want_it_or_to_those_that_are_named() -> None:
    secrets = Secrets({"A": "https://hooks.example/a", "B": "https://hooks.example/b"})
    all_of_it = ReadyTarget(SlackTarget(type="slack", url_env="A"), secrets)
    pager = ReadyTarget(SlackTarget(type="slack", url_env="B", severity=["critical"]), secrets)
    [alert] = told([seen("1d|X:A", True, 1, "x")])
    assert Routing().not_to(alert.event, [all_of_it, pager]) == (pager.key,)
    assert Routing(targets=[pager.key]).not_to(alert.event, [all_of_it, pager]) == (all_of_it.key,)
    [whole] = told([Sighting(Subject("sensors", "sensor s"), True, 1, "x")])
    assert Routing().not_to(whole.event, [all_of_it, pager]) == (pager.key,), "although it is of no symbol"
