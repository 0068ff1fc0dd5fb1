"""What ntfy is told beside the text; its limits are tried in test_configured."""

import json
from typing import Any

import pytest

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.ntfy import NtfyTarget
from tv_etl.alerts.targets.target import Envelope

pytestmark = pytest.mark.pure


def published(*events: Event, token: bool = False) -> tuple[dict[str, Any], Any]:
    more = {"token_env": "TOKEN"} if token else {}
    spec = NtfyTarget.model_validate({"type": "ntfy", "topic_env": "TOPIC", **more})
    request = spec.request({"TOPIC": "mine", "TOKEN": "tk_1"}, Envelope("id", events, len(events) > 1, 0.0))
    return json.loads(request.content), request


def test_priority_title_and_tags_tell_how_bad_it_is() -> None:
    event = Event("id", "r", "X:A", text="down", severity="critical", tags=("fx", "desk"))
    message, _ = published(event)
    assert message == {
        "topic": "mine", "title": "X:A", "priority": 5, "tags": ["rotating_light", "fx", "desk"],
        "message": "CRITICAL: down\n[id]",
    }  # fmt: skip


def test_a_group_is_as_urgent_as_its_worst() -> None:
    events = [Event("a", text="a", severity="info"), Event("b", text="b", severity="error")]
    message, _ = published(*events)
    assert (message["title"], message["priority"]) == ("2 alerts", 4)
    assert message["message"] == "ERROR: b\na\n[id]"


def test_a_token_is_a_header_and_no_part_of_the_message() -> None:
    _, request = published(Event("id", text="t"), token=True)
    assert request.headers["Authorization"] == "Bearer tk_1"
    assert b"tk_1" not in request.content
    assert "Authorization" not in published(Event("id", text="t"))[1].headers


def test_a_message_of_quotes_alone_still_fits_into_a_request() -> None:
    events = [Event(str(number), text='"' * 400) for number in range(30)]
    message, request = published(*events)
    assert len(request.content) <= 8192
    assert "more, see the alerts in Dagster" in message["message"]
