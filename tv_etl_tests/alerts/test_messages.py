"""What is sent, and what a row must hold to be sent."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.messages import alert_body, is_event_id, json_message, read_body, slack_message

pytestmark = pytest.mark.pure

ALERT = Alert("id-1", "r", "X:A", "cross_up", 10.0, 10.5, 1_790_000_040, 1_790_000_100.0)


def test_a_stored_alert_is_read_as_it_was() -> None:
    assert read_body(alert_body(ALERT)) == {
        "event_id": "id-1", "rule": "r", "symbol": "X:A", "kind": "cross_up", "level": 10.0, "price": 10.5,
        "touched_at": 1_790_000_040, "detected_at": 1_790_000_100.0,
        "text": "X:A crossed above 10 at 10.5, 2026-09-21 14:14:00 UTC (rule r)",
    }  # fmt: skip


def test_what_is_told_of_a_symbol_has_its_text_and_no_level() -> None:
    told = read_body(alert_body(replace(ALERT, kind="dead", level=None, price=None, reason="X:A: gone")))
    assert told is not None
    assert (told["text"], told["level"], told["price"]) == ("X:A: gone", None, None)


@pytest.mark.parametrize(
    "body",
    [None, b"{}", "", "[]", '{"rule": "r", "text": "t"}', '{"event_id": 1, "rule": "r", "text": "t"}', "[" * 9_999],
)
def test_what_is_no_alert_is_none(body: object) -> None:
    assert read_body(body) is None


@pytest.mark.parametrize(
    ("text", "is_one"), [("a" * 200, True), ("a" * 201, False), ("", False), ("a b", False), ("é", False), (7, False)]
)
def test_an_id_can_be_a_header(text: object, is_one: bool) -> None:
    assert is_event_id(text) is is_one


def alerts(count: int) -> list[dict[str, Any]]:
    return [{"event_id": f"id-{n}", "rule": "r", "text": f"<{n}> & more"} for n in range(count)]


def test_a_group_is_one_json_message() -> None:
    assert json.loads(json_message("g", alerts(1), False)) == alerts(1)[0]
    assert json.loads(json_message("g", alerts(2), True)) == {"event_id": "g", "text": "2 alerts", "alerts": alerts(2)}


def test_slack_gets_a_line_an_alert_and_no_more_than_fifty() -> None:
    assert json.loads(slack_message(alerts(1))) == {"text": "&lt;0&gt; &amp; more [id-0]"}
    lines = json.loads(slack_message(alerts(51)))["text"].split("\n")
    assert (len(lines), lines[0], lines[-1]) == (52, "51 alerts", "... and 1 more")
    assert json.loads(slack_message(alerts(50)))["text"].count("\n") == 50
