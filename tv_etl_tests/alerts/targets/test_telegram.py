"""Telegram's answers and chats; its messages are tried in test_configured."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.target import Answer, Envelope
from tv_etl.alerts.targets.telegram import TelegramTarget

pytestmark = pytest.mark.pure


def telegram(chat_id: Any = 42, **more: Any) -> TelegramTarget:
    return TelegramTarget.model_validate({"type": "telegram", "token_env": "TOKEN", "chat_id": chat_id, **more})


def test_a_group_that_moved_is_told_with_its_new_number() -> None:
    body = {"ok": False, "description": "Bad Request: upgraded", "parameters": {"migrate_to_chat_id": -1001234}}
    verdict = telegram().judge(Answer(400, {}, json.dumps(body).encode()))
    assert verdict.error == "HTTP 400: Bad Request: upgraded; the chat_id is -1001234 now"
    assert not verdict.is_dead


@pytest.mark.parametrize("body", [b"", b"[]", b'{"parameters": 7}', b'{"parameters": {"retry_after": "x"}}'])
def test_a_429_without_a_wait_has_the_usual_one(body: bytes) -> None:
    assert telegram().judge(Answer(429, {}, body)).retry_after_s == 5.0


@pytest.mark.parametrize(("chat_id", "every_s"), [(42, 1.0), (-100, 3.0), ("@channel", 3.0)])
def test_a_group_is_written_to_less_often(chat_id: Any, every_s: float) -> None:
    assert telegram(chat_id).limit.every_s == every_s


def test_two_chats_of_one_bot_are_two_targets() -> None:
    assert len({telegram(chat).key for chat in (42, -42, "@chat", "-43")}) == 4


@pytest.mark.parametrize("chat_id", ["", "chat", "@x", "1 2", "@a/../b", 1.5, None])
def test_what_is_no_chat_is_refused(chat_id: Any) -> None:
    with pytest.raises(ValidationError):
        telegram(chat_id)


def test_what_is_merely_information_makes_no_sound() -> None:
    def is_silent(severity: Any) -> bool:
        event = Event("id", text="t", severity=severity)
        request = telegram().request({"TOKEN": "1:x"}, Envelope("id", [event], False, 0.0))
        return bool(json.loads(request.content)["disable_notification"])

    assert [is_silent(each) for each in ("info", "warning", "critical")] == [True, False, False]


@pytest.mark.parametrize(
    "url", ["http://api.example", "https://u:p@a.example", "https://a.example/?q=1", "ftp://a.example", "x"]
)
def test_another_address_is_checked_when_it_is_read(url: str) -> None:
    with pytest.raises(ValidationError, match="expected"):
        telegram(url=url)
    assert telegram(url="http://10.0.0.1:8081/api", allow_private=True).url == "http://10.0.0.1:8081/api"
