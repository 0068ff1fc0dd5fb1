"""What is sent, and what a row must hold to be sent."""

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.alerts.events import Event, Severity
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.messages import (
    alert_body,
    by_severity,
    fitted,
    is_event_id,
    json_message,
    line,
    read_body,
    read_event,
    utf16_length,
)

pytestmark = pytest.mark.pure

ALERT = Alert("id-1", "r", "X:A", "cross_up", 10.0, 10.5, 1_790_000_040, 1_790_000_100.0)


def test_a_stored_alert_is_read_as_it_was() -> None:
    assert read_body(alert_body(ALERT)) == {
        "event_id": "id-1", "rule": "r", "symbol": "X:A", "kind": "cross_up", "level": 10.0, "price": 10.5,
        "touched_at": 1_790_000_040, "detected_at": 1_790_000_100.0,
        "text": "X:A crossed above 10 at 10.5, 2026-09-21 14:14:00 UTC (rule r)",
        "severity": "warning", "tags": [], "groups": [], "message": "", "status": "firing", "incident": "id-1",
        "link": "",
    }  # fmt: skip


def test_a_stored_alert_is_an_event() -> None:
    assert read_event(alert_body(ALERT)) == ALERT.event
    assert read_event('{"event_id": "a", "rule": "", "text": "t"}') == Event("a", text="t")
    assert read_event("no") is None


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


def events(*texts: str) -> list[Event]:
    return [Event(f"id-{number}", text=text) for number, text in enumerate(texts)]


def test_a_group_is_one_json_message() -> None:
    one, two = events("a", "b")
    assert json.loads(json_message("g", [one], False))["event_id"] == "id-0"
    group = json.loads(json_message("g", [one, two], True))
    assert (group["event_id"], group["text"]) == ("g", "2 alerts")
    assert [each["text"] for each in group["alerts"]] == ["a", "b"]


def test_a_line_says_what_the_rule_wants_said_and_how_bad_it_is() -> None:
    assert line(Event("x", text="what\nhappened ")) == "what happened"
    assert line(Event("x", text="what", message="mine\x1b", severity="error")) == "ERROR: mine\ufffd"
    assert line(Event("x", text="a" * 600)) == "a" * 500 + "… (600 characters)"


def test_the_most_severe_come_first_in_their_order() -> None:
    found = by_severity([Event(name, severity=severity) for name, severity in SEVERE])
    assert "".join(each.event_id for each in found) == "dbeacf"


SEVERE: list[tuple[str, Severity]] = [
    ("a", "warning"), ("b", "error"), ("c", "warning"), ("d", "critical"), ("e", "error"), ("f", "info"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "limit", "text"),
    [
        (["ab", "cd"], 5, "ab\ncd"),
        (["ab"] * 40, 44, "ab\nab\nand 38 more, see the alerts in Dagster"),
        (["ab"] * 40, 43, "ab\nand 39 more, see the alerts in Dagster"),
        (["abcdef"], 6, "abcdef"),
        (["abcdef"], 5, "abcd…"),
        (["abcdefgh" * 9] * 3, 43, "abcd…\nand 2 more, see the alerts in Dagster"),
    ],
)
def test_what_does_not_fit_is_told(lines: list[str], limit: int, text: str) -> None:
    assert fitted(lines, limit) == text


@given(
    st.lists(st.text(alphabet="a&\U0001f680\u6771", max_size=40), min_size=1, max_size=30),
    st.integers(60, 400),
    st.sampled_from([len, utf16_length, lambda text: len(text.encode())]),
    st.sampled_from([str, html.escape]),
)
def test_whatever_is_counted_and_escaped_it_fits_and_all_is_accounted_for(
    lines: list[str], limit: int, length: Callable[[str], int], escape: Callable[[str], str]
) -> None:
    text = fitted(lines, limit, length, escape)
    assert length(text) <= limit
    shown = text.split("\n")
    more = re.fullmatch(r"and ([\d,]+) more, see the alerts in Dagster", shown[-1])
    told = len(shown) - 1 + int(more[1]) if more else len(shown)
    assert told == len(lines)
    whole = shown[: -1 if more else None]
    assert all(
        part == escape(each) or part.endswith("…") for part, each in zip(whole, lines[: len(whole)], strict=True)
    )
