"""Durations, hours, templates and runs, as people write them."""

from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tv_etl.alerts.options import MESSAGE_FIELDS, Active, Duration, Run, check_message, duration_text

pytestmark = pytest.mark.pure


class Holder(BaseModel):
    wait: Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7_200), ("1d", 86_400), ("1w", 604_800), (0, 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: Any, seconds: int) -> None:
    assert Holder(wait=text).wait == seconds


@pytest.mark.parametrize("text", [15, "15", "m", "1.5h", "-1m", "1 h", "1mo", True, None, "9999999s"])
def test_anything_else_is_no_duration(text: Any) -> None:
    with pytest.raises(ValidationError, match="90s, 15m, 2h or 1d"):
        Holder(wait=text)


@pytest.mark.parametrize(("seconds", "text"), [(90, "90s"), (900, "15m"), (86_400, "1d"), (0, "0s"), (1_209_600, "2w")])
def test_a_duration_is_shown_in_its_widest_unit(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text
    read = Holder.model_validate({"wait": text})
    assert (read.wait, read.model_dump()) == (seconds, {"wait": text})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("fields", "moment", "is_active"),
    [
        ({}, "2026-11-18T03:00", True),
        ({"hours": "09:30-16:00"}, "2026-11-18T09:29:59", False),
        ({"hours": "09:30-16:00"}, "2026-11-18T09:30", True),
        ({"hours": "09:30-16:00"}, "2026-11-18T15:59:59", True),
        ({"hours": "09:30-16:00"}, "2026-11-18T16:00", False),
        ({"hours": "09:30-24:00"}, "2026-11-18T23:59", True),
        ({"hours": ["08:00-09:00", "12:00-13:00"]}, "2026-11-18T12:30", True),
        ({"hours": ["08:00-09:00", "12:00-13:00"]}, "2026-11-18T10:30", False),
        ({"hours": "09:30-16:00", "timezone": "America/New_York"}, "2026-11-18T14:29", False),
        ({"hours": "09:30-16:00", "timezone": "America/New_York"}, "2026-11-18T14:30", True),
        ({"hours": "09:30-16:00", "timezone": "America/New_York"}, "2026-07-15T13:30", True),
        ({"days": ["wed"]}, "2026-11-18T00:00", True),
        ({"days": ["wed"]}, "2026-11-19T00:00", False),
        ({"hours": "22:00-02:00", "days": ["wed"]}, "2026-11-18T23:00", True),
        ({"hours": "22:00-02:00", "days": ["wed"]}, "2026-11-19T01:59", True),
        ({"hours": "22:00-02:00", "days": ["wed"]}, "2026-11-18T01:59", False),
        ({"hours": "22:00-02:00", "days": ["wed"]}, "2026-11-19T02:00", False),
        ({"hours": "22:00-02:00", "days": ["sun"]}, "2026-11-23T01:00", True),
    ],
)
def test_hours_and_days_tell_when_to_tell(fields: dict[str, Any], moment: str, is_active: bool) -> None:
    assert Active.model_validate(fields).is_active(at(moment)) is is_active


@pytest.mark.parametrize(
    "fields",
    [
        {"hours": "9:30-16:00"}, {"hours": "09:30"}, {"hours": "09:30-09:30"}, {"hours": "24:00-03:00"},
        {"hours": "09:60-10:00"}, {"days": ["monday"]}, {"timezone": "Mars/Olympus"}, {"timezone": "../etc"},
        {"day": []},
    ],
)  # fmt: skip
def test_hours_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Active.model_validate(fields)


def test_a_message_names_fields_of_an_alert() -> None:
    text = "".join(f"{{{name}}}" for name in MESSAGE_FIELDS)
    assert check_message(text) == text
    assert check_message("{{as it is}}") == "{{as it is}}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{prise}", "is no field of an alert; known fields: event_id"), ("{}", "is no field"),
        ("{rule.name}", "is no field"), ("{price:.2f}", "can have no format"), ("{price!r}", "can have no format"),
        ("{price", "write fields as"), ("a } b", "write fields as"),
    ],
)  # fmt: skip
def test_a_message_that_names_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_message(text)


def test_a_run_is_a_job_or_assets() -> None:
    assert Run.model_validate("refresh").job == "refresh"
    assert Run.model_validate({"assets": ["signals", "reports/daily"]}).assets == ["signals", "reports/daily"]
    for wrong in ({}, {"job": "a", "assets": ["b"]}, {"job": "a b"}, {"assets": ["a b"]}, "", 3):
        with pytest.raises(ValidationError):
            Run.model_validate(wrong)
