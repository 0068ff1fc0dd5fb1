"""Discord's answers and address; its messages are tried in test_configured."""

import json
from typing import Any

import pytest

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.discord import DiscordTarget
from tv_etl.alerts.targets.target import Answer, Envelope

pytestmark = pytest.mark.pure

SPEC = DiscordTarget(type="discord", url_env="HOOK")


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, json.dumps(body).encode())


def test_a_webhook_that_was_deleted_is_not_called_again() -> None:
    assert SPEC.judge(answer(404, {"message": "Unknown Webhook", "code": 10015})).is_dead
    assert not SPEC.judge(answer(404, {"message": "404: Not Found", "code": 0})).is_dead
    assert not SPEC.judge(Answer(404, {}, b"<html>")).is_dead


def test_the_last_call_that_is_free_is_followed_by_a_rest() -> None:
    spent = SPEC.judge(answer(200, {}, x_ratelimit_remaining="0", x_ratelimit_reset_after="1.5"))
    assert (spent.is_sent, spent.retry_after_s) == (True, 1.5)
    free = SPEC.judge(answer(200, {}, x_ratelimit_remaining="4", x_ratelimit_reset_after="1.5"))
    assert (free.is_sent, free.retry_after_s) == (True, None)
    odd = SPEC.judge(answer(200, {}, x_ratelimit_remaining="0", x_ratelimit_reset_after="nan"))
    assert (odd.is_sent, odd.retry_after_s) == (True, None)


@pytest.mark.parametrize(("said", "wait_s"), [(64.57, 64.57), (1e12, 3600.0), (-5, 0.0), ("x", 5.0), (True, 5.0)])
def test_the_wait_in_the_body_is_kept_within_reason(said: object, wait_s: float) -> None:
    assert SPEC.judge(answer(429, {"retry_after": said})).retry_after_s == wait_s


def test_the_thread_of_an_address_is_kept() -> None:
    found = SPEC.address({"HOOK": "https://discord.com/api/webhooks/1/x?thread_id=7&wait=false"})
    assert found == "https://discord.com/api/webhooks/1/x?thread_id=7&wait=true"


@pytest.mark.parametrize("count", [1, 2])
def test_the_link_of_an_alert_is_one_and_what_looks_like_another_is_text(count: int) -> None:
    """Not escaped as the text is, and without a preview of the page."""
    said = "a_b: see https://elsewhere.example"
    events = [Event(str(number), text=said, link="http://dagster:3000/runs/a_b") for number in range(count)]
    request = SPEC.request({"HOOK": "https://discord.com/api/webhooks/1/x"}, Envelope("id", events, count > 1, 0.0))
    message = json.loads(request.content)
    text = message["embeds"][0]["description"] if count > 1 else message["content"]
    line = r"a\_b\: see https\://elsewhere.example <http://dagster:3000/runs/a_b>"
    assert text.split("\n")[:count] == [line] * count
