"""The fields of an alert, their defaults, and templates that name them."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from tv_etl.alerts.events import FIELDS, Event, check_template, render, render_document

pytestmark = pytest.mark.pure

EVENT = Event(
    "id-1", "r", "X:A", "cross_up", 10.0, 10.123456789012, 1_790_000_040, 1_790_000_100.5, "text", "critical",
    ("a", "b"), ("us",), "", "firing", "",
)  # fmt: skip


def test_what_a_template_may_name_is_what_there_is() -> None:
    assert set(FIELDS) == set(EVENT.values())
    assert all(FIELDS.values())


def test_an_event_is_read_as_it_was_stored() -> None:
    assert Event.of_fields(json.loads(json.dumps(asdict(EVENT)))) == EVENT


@pytest.mark.parametrize(
    "odd",
    [
        {"severity": "loud"}, {"severity": ["info"]}, {"tags": "a"}, {"tags": [1]}, {"level": "10"}, {"level": True},
        {"price": float("inf")}, {"symbol": None}, {"status": 7}, {"later": "field"}, {"message": {}},
    ],
)  # fmt: skip
def test_what_is_not_what_it_should_be_has_its_default(odd: dict[str, Any]) -> None:
    assert Event.of_fields({"event_id": "x", "rule": "r", "text": "t", **odd}) == Event("x", "r", text="t")


def test_an_event_is_its_own_incident_unless_it_says() -> None:
    assert Event("x").incident == "x"
    assert Event("x", incident="y").incident == "y"


@pytest.mark.parametrize(
    ("touched_at", "detected_at", "time"),
    [(60, 90.0, "1970-01-01T00:01:00Z"), (None, 90.0, "1970-01-01T00:01:30Z"), (None, None, ""), (10**15, 0.0, "")],
)
def test_the_time_is_of_the_touch_else_of_its_finding(touched_at: Any, detected_at: Any, time: str) -> None:
    assert Event("x", touched_at=touched_at, detected_at=detected_at).time == time


def test_a_template_has_values_as_people_write_them() -> None:
    text = check_template("{symbol} {{is}} at {price} ({level}) {tags} [{message}] {time} {detected_at}")
    assert render(text, EVENT) == "X:A {is} at 10.12345679 (10) a, b [] 2026-09-21T14:14:00Z 1790000100"


def test_a_document_has_values_as_json_has_them() -> None:
    document = {"n": "{price}", "t": ["{tags}", " {tags}", 7, None, True], "{symbol}": "{{symbol}}"}
    found = render_document(document, EVENT)
    assert found == {"n": 10.123456789012, "t": [["a", "b"], " a, b", 7, None, True], "{symbol}": "{symbol}"}


@pytest.mark.parametrize(
    "text", ["{nothing}", "{}", "{0}", "{symbol.x}", "{symbol[0]}", "{symbol!r}", "{price:.2f}", "{", "}"]
)
def test_a_template_that_names_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"field|format|brace"):
        check_template(text)
