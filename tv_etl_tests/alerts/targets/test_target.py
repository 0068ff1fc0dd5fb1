"""What all targets have: filters, secrets, addresses, and what an answer means."""

from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.slack import SlackTarget
from tv_etl.alerts.targets.target import (
    Answer,
    Secrets,
    UnusableTarget,
    address_mistake,
    http_verdict,
    read_json,
    read_retry_after,
)

pytestmark = pytest.mark.pure

SECRET = "CANARY5f3a"


def slack(**settings: Any) -> SlackTarget:
    return SlackTarget.model_validate({"type": "slack", "url_env": "HOOK", **settings})


EVENT = Event("id", "r", "X:A", severity="error", tags=("fx", "desk"), groups=("us",))


@pytest.mark.parametrize(
    ("filters", "is_wanted"),
    [
        ({}, True),
        ({"severity": ["critical", "error"]}, True),
        ({"severity": ["critical"]}, False),
        ({"tags": ["fx"]}, True),
        ({"tags": ["fx", "other"]}, True),
        ({"tags": ["other"]}, False),
        ({"groups": ["us"]}, True),
        ({"groups": ["eu"]}, False),
        ({"severity": ["error"], "tags": ["desk"], "groups": ["us"]}, True),
        ({"severity": ["error"], "tags": ["desk"], "groups": ["eu"]}, False),
    ],
)
def test_every_filter_that_is_given_must_let_an_alert_through(filters: dict[str, Any], is_wanted: bool) -> None:
    assert slack(**filters).wants(EVENT) is is_wanted
    assert UnusableTarget("key", "label", "reason", slack(**filters)).wants(EVENT) is is_wanted


def test_what_becomes_of_the_watch_goes_to_every_target() -> None:
    assert slack(severity=["critical"], tags=["fx"], groups=["us"]).wants(Event("id", kind="dead_letters", text="t"))


@pytest.mark.parametrize("settings", [{"severity": ["bad"]}, {"name": "a b"}, {"nothing": 1}, {"url_env": "https://x"}])
def test_a_mistake_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        slack(**settings)


def test_a_target_is_called_by_its_name_or_its_variable() -> None:
    assert (slack().called, slack().key) == ("HOOK", "slack HOOK")
    assert (slack(name="desk").called, slack(name="desk").key) == ("desk", "slack desk")


def test_secrets_are_in_no_repr_and_parts_of_them_are_redacted() -> None:
    secrets = Secrets({"HOOK": f"https://hooks.example/services/{SECRET}?key=p%40ssword", "SHORT": "abc"})
    assert SECRET not in repr(secrets)
    said = f"no /services/{SECRET} for abc at hooks.example: p%40ssword p%2540ssword"
    assert secrets.redact(said) == "no /***/*** for *** at hooks.example: *** ***"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("https://a.example/x", ""),
        ("http://a.example/x", "expected https:// (or allow_private, on your own network)"),
        ("ftp://a.example/x", "expected https://host/..."),
        ("a.example", "expected https://host/..."),
        ("https://", "expected https://host/..."),
        ("", "expected https://host/..."),
        ("https://a:b", "not a URL"),
        ("https://a.example:0/", "expected https://host/..."),
        ("https://[::1", "not a URL"),
        ("https://a.example/ x", "not a URL"),
        ("https://a.example\\@b.example/", "not a URL"),
        ("https://a.example/\n", "not a URL"),
    ],
)
def test_a_url_that_is_not_https_is_refused(url: str, mistake: str) -> None:
    assert address_mistake(url, allow_private=False) == mistake
    assert address_mistake("http://10.0.0.1/", allow_private=True) == ""


@pytest.mark.parametrize(
    ("status", "headers", "is_sent", "is_dead", "wait_s"),
    [
        (200, {}, True, False, None),
        (204, {"retry-after": "9"}, True, False, None),
        (302, {}, False, False, None),
        (404, {}, False, False, None),
        (410, {}, False, True, None),
        (429, {}, False, False, 5.0),
        (429, {"retry-after": "7"}, False, False, 7.0),
        (503, {"retry-after": "9" * 30}, False, False, 3600.0),
        (503, {"retry-after": "soon"}, False, False, None),
        (500, {"retry-after": "7"}, False, False, None),
    ],
)
def test_only_410_says_never_again(
    status: int, headers: dict[str, str], is_sent: bool, is_dead: bool, wait_s: float | None
) -> None:
    verdict = http_verdict(Answer(status, headers, b"said\x1b"))
    assert (verdict.is_sent, verdict.is_dead, verdict.retry_after_s) == (is_sent, is_dead, wait_s)
    assert verdict.answer == f"HTTP {status}: said\ufffd"


def test_a_wait_until_a_date_counts_from_the_answers_own() -> None:
    headers = {"retry-after": "Sun, 22 Nov 2026 10:02:00 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}
    assert read_retry_after(Answer(429, headers)) == 120.0


@pytest.mark.parametrize("body", [b"", b"no", b"[1]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_says_nothing(body: bytes) -> None:
    assert read_json(Answer(400, {}, body)) == {}
